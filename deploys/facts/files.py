"""The files that we wrote on a host, and what else lies in our places. One execution."""

from __future__ import annotations

import base64
import io
import tarfile
import zlib
from dataclasses import dataclass

from pyinfra.api import FactBase, FactProcessError, StringCommand
from typing_extensions import override

from ..record import FILES, FLANNEL_RUN, KUBELET_CLIENT, OWN_PLACES
from .sections import split

# Keys, and what else is for root alone, are never read: only that they are there, and their mode. Foreign files:
# only their names.
_SCRIPT = rf"""
p=$( {{ ls -d {" ".join(OWN_PLACES)}; cat {FILES}; }} 2>/dev/null )
echo "== stat"
[ -z "$p" ] || find $p \( -type f -o -type l \) -exec stat -c '%a %u:%g %s %n' {{}} + 2>/dev/null | sort -u
echo "== ours"; cat {FILES} 2>/dev/null
echo "== contents"
if [ -s {FILES} ]; then
  grep -v -e '\.key$' -e '\.pem$' {FILES} | while read -r f; do
    [ -f "$f" ] && [ "$(stat -c %a "$f")" != 600 ] && echo ".$f"; done |
    (cd / && tar -czf - -T - 2>/dev/null) | base64
fi
echo "== changed"; xargs -r -d '\n' -a {FILES} stat -c '%Z %n' 2>/dev/null
echo "== subnet.env"; cat {FLANNEL_RUN}/subnet.env 2>/dev/null
echo "== kubelet-client"; sed -n '/-BEGIN CERT/,/-END CERT/p' {KUBELET_CLIENT} 2>/dev/null
true
"""


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

    def content(self, path: str) -> str:
        """Content of a file of ours, or an empty string."""
        found = self.ours(path)
        return found.content or "" if found else ""


def _contents(lines: list[str]) -> dict[str, str]:
    if not lines:
        return {}
    try:
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode("".join(lines)))) as archive:
            found = {}
            for member in archive:
                data = archive.extractfile(member) if member.isfile() else None
                if data:
                    found[member.name.removeprefix(".")] = data.read().decode(errors="replace")
            return found
    except (ValueError, tarfile.TarError, zlib.error, OSError, EOFError) as error:
        raise FactProcessError(f"the host's tar gave no archive: {error}") from error


class HostFiles(FactBase[Files]):
    """The files that we wrote, with contents (never keys), and the names of foreign ones beside them."""

    @override
    def command(self) -> StringCommand:
        return StringCommand(_SCRIPT.strip())

    @staticmethod
    @override
    def default() -> Files:  # no output at all: nothing is known
        return HostFiles().process([])

    @override
    def process(self, output: list[str]) -> Files:
        sections = split(output)
        ours = set(sections.get("ours", []))
        contents = _contents(sections.get("contents", []))
        times = (line.partition(" ") for line in sections.get("changed", []))
        changed = {path: int(time) for time, _, path in times if time.isascii() and time.isdigit()}
        files = {}
        for line in sections.get("stat", []):
            words = line.split(" ", 3)
            if len(words) == 4 and words[2].isascii() and words[2].isdigit():
                mode, owner, size, path = words
                files[path] = FileState(mode, owner, int(size), path in ours, contents.get(path), changed.get(path, 0))
        env = dict(line.split("=", 1) for line in sections.get("subnet.env", []) if "=" in line)
        return Files(files, env, "\n".join(sections.get("kubelet-client", [])))
