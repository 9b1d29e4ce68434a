"""The files that we wrote on a host, and what else lies in our places. One execution."""

from __future__ import annotations

import base64
import gzip
import io
import re
import tarfile
import zlib
from dataclasses import dataclass

from pyinfra.api import FactProcessError
from typing_extensions import override

from ..record import FILES, FLANNEL_RUN, KUBELET_CLIENT, OWN_PLACES
from .sections import END, Bundle, Sections, number, shown, variables, whole

# Keys, and what else is for root alone, are never read: only that they are there, and their mode. Certificates are no
# secrets, also where somebody has hardened their modes. Foreign files: only their names.
_SCRIPT = rf"""
ours() {{ grep -a '^/' {FILES} 2>/dev/null | while IFS= read -r f; do if [ -f "$f" ] || [ -L "$f" ]; then
  printf '%s\n' "$f"; fi; done; }}
echo "== stat"
{{ find {" ".join(OWN_PLACES)} \( -type f -o -type l \) -exec stat -c '%a %u:%g %s %n' {{}} + 2>/dev/null
  ours | tr '\n' '\0' | xargs -0r stat -c '%a %u:%g %s %n' 2>/dev/null; }} | sort -u
echo "== ours"; ours
echo "== contents"
if [ -s {FILES} ]; then
  ours | grep -v -e '\.key$' -e '\.pem$' | tr '\n' '\0' |
    xargs -0r sh -c 'find "$@" -maxdepth 0 \( -perm /044 -o -name "*.crt" -o -name "*.pub" \)' find |
    sed 's/^/./' | (cd / && tar -czf - -T - 2>/dev/null) | base64
fi
echo "== changed"; ours | tr '\n' '\0' | xargs -0r stat -c '%Z %n' 2>/dev/null
echo "== subnet.env"; {whole(f"{FLANNEL_RUN}/subnet.env")}
echo "== kubelet-client"; sed -n '/-BEGIN CERT/,/-END CERT/p' {KUBELET_CLIENT} 2>/dev/null
{END}
"""


_STAT = re.compile(r"([0-7]{1,4}) ([0-9]+:[0-9]+) ([0-9]+) (/.*)")


@dataclass(frozen=True)
class FileState:
    """A file as it is."""

    mode: str
    """Octal, like 644."""
    owner: str
    """uid:gid"""
    size: int
    ours: bool
    content: str | None
    """None for keys, for what root alone may read, and for foreign files: they are not read."""
    changed: int = 0
    """When it was last written or replaced, in seconds since 1970; 0 for foreign files."""


@dataclass(frozen=True)
class Files:
    """All files of ours, and foreign ones in our places."""

    files: dict[str, FileState]
    subnet_env: dict[str, str]
    """What flannel wrote at run time; {} where it has not."""
    kubelet_client: str
    """The kubelet's current client certificate as PEM, without its key."""

    def ours(self, path: str) -> FileState | None:
        """The file at that path, if it is there and ours."""
        found = self.files.get(path)
        return found if found and found.ours else None

    def below(self, directory: str) -> list[str]:
        """Paths of the files of ours below a directory."""
        return sorted(p for p, found in self.files.items() if found.ours and p.startswith(f"{directory}/"))

    def content(self, path: str) -> str:
        """Content of a file of ours, or an empty string."""
        found = self.ours(path)
        return found.content or "" if found else ""


def _contents(lines: list[str]) -> dict[str, str]:
    if not lines:
        return {}
    try:
        # all of it: its checksum tells of a line that is lost
        packed = gzip.decompress(base64.b64decode("".join(lines)))
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as archive:
            found = {}
            for member in archive:
                data = archive.extractfile(member) if member.isfile() else None
                if data:
                    found[member.name.removeprefix(".")] = data.read().decode(errors="replace")
            return found
    except (ValueError, tarfile.TarError, zlib.error, OSError, EOFError) as error:
        raise FactProcessError(f"the host's tar gave no archive: {error}") from error


class HostFiles(Bundle[Files]):
    """The files that we wrote, with contents (never keys), and the names of foreign ones beside them."""

    script = _SCRIPT

    @override
    def read(self, sections: Sections) -> Files:
        ours = set(sections.get("ours", []))
        contents = _contents(sections.get("contents", []))
        times = (line.partition(" ") for line in sections["changed"])
        changed = {path: number(time) or 0 for time, _, path in times}
        files = {}
        for line in sections.get("stat", []):
            found = _STAT.fullmatch(line)
            size = number(found[3]) if found else None
            if not found or size is None:
                raise FactProcessError(f"the host's stat gave {shown(line)} instead of a file")
            mode, owner, path = found[1], found[2], found[4]
            files[path] = FileState(mode, owner, size, path in ours, contents.get(path), changed.get(path, 0))
        env = variables(sections.get("subnet.env", []))
        return Files(files, env, "\n".join(sections.get("kubelet-client", [])))
