"""Files of ours: written as a set, in one execution, each put in place by a rename."""

from __future__ import annotations

import base64
import gzip
import io
import shlex
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import StringCommand

from ..facts.files import Files, FileState, HostFiles
from ..observe import observe
from ..operation import Commands, operation, removal
from ..plan import fail, say, say_diff
from ..record import DIRECTORIES, FILES, RECORD

NEW = ".docker-multinode.new"
"""Name of a file before its rename, in its own directory; what reads these passes over names that begin with a dot."""
# of any file of ours, as a power cut left it
_SWEEP = rf"sed 's|[^/]*$|{NEW}|' {FILES} 2>/dev/null | tr '\n' '\0' | xargs -0r rm -f --"

# Contents come through stdin, never through argv or a temporary file that others can read. What is
# about to be made is written down first, so that an interrupted run can be taken away exactly. What one had
# begun when the power went is swept: it may hold keys. What gets its name by a rename is on the disk by then, and the
# record's own rename, too: the files may lie on another disk.
WRITE = rf"""set -e; umask 077
mkdirs() {{ [ -d "$1" ] || {{ mkdirs "$(dirname "$1")"; [ -z "$made" ] || {{
 echo "$1" >> {DIRECTORIES}; sync {DIRECTORIES}; }}; mkdir -m 0755 "$1"; }}; }}
made=; mkdirs {RECORD}; made=yes
for t in {RECORD}/.new.* {RECORD}/.laid.* {RECORD}/.restore.*; do [ "$t" = "${{laid-}}" ] || rm -rf "$t"; done
t=; new=$(mktemp -d {RECORD}/.new.XXXXXX); trap 'rm -rf "$new" "$new".* "$t"' EXIT
base64 -d | tar -xzpmf - -C "$new"
chown -R 0:0 "$new"; (cd "$new" && find . -type f | cut -c2- | sort) > "$new.list"
touch {FILES}; sort -u {FILES} "$new.list" > "$new.all"; sync "$new.all"; mv -f "$new.all" {FILES}; sync {RECORD}
{_SWEEP}
while read -r f; do mkdirs "${{f%/*}}"; t=${{f%/*}}/{NEW}; cp -p "$new$f" "$t"; sync "$t"; mv -f "$t" "$f"
done < "$new.list"
"""


@dataclass(frozen=True)
class File:
    """A file as it should be.

    :param mode: octal, like 644.
    :param secret: its content is shown nowhere.
    """

    path: str
    content: str
    mode: str = "644"
    secret: bool = False


def archive(files: Iterable[File]) -> str:
    """The files as a gzipped tar, base64: what :data:`WRITE` reads."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for file in files:
            data = file.content.encode()
            member = tarfile.TarInfo("." + file.path)
            member.size, member.mode = len(data), int(file.mode, 8)
            tar.addfile(member, io.BytesIO(data))
    return base64.encodebytes(gzip.compress(packed.getvalue(), mtime=0)).decode()


def write(files: Sequence[File], after: str = "") -> StringCommand:
    """The command that writes these files, all of them, as root's.

    :param after: shell commands that belong to it, a line each: they run also where the connection breaks.
    """
    return StringCommand((WRITE + after).strip(), _stdin=archive(files))


def make_directories(directories: Iterable[str]) -> StringCommand:
    """The command that makes these directories where they are missing, and records which it made."""
    return write([], _mkdirs(directories))


def _mkdirs(directories: Iterable[str]) -> str:
    return "".join(f"mkdirs {shlex.quote(path)}\n" for path in directories)


def note(path: str, text: str) -> str:
    """The command that writes a small file beside the lists of the record: whole or not at all, also where the power
    goes."""
    new, directory = f"{path}.new", path.rpartition("/")[0]
    return (
        f"mkdir -p {directory} && printf '%s\\n' {shlex.quote(text)} > {new} && sync {new} && mv -f {new} {path} && "
        f"sync {directory}"
    )


# deepest first; one that is not empty stays, and stays recorded
EMPTY_DIRECTORIES = (
    f"{_SWEEP}; [ ! -f {DIRECTORIES} ] || sort -ru {DIRECTORIES} | "
    'while read -r d; do rmdir "$d" 2>/dev/null; done; true'
)


def remove_files(paths: Sequence[str]) -> StringCommand:
    """The command that removes these files, strikes them from the record, and removes directories that we
    made and that are empty then. Where one can't be removed, or the record can't be written, the record stays as it
    was and the command fails."""
    quoted = " ".join(map(shlex.quote, paths))
    # grep ends with 1 where no line is left, and with 2 where it could not write them all
    return StringCommand(
        f"rm -f -- {quoted} && {{ {EMPTY_DIRECTORIES}; [ ! -f {FILES} ] || {{ printf '%s\\n' {quoted} | "
        f"grep -vxFf - {FILES} > {FILES}.new; [ $? -le 1 ] && sync {FILES}.new && mv -f {FILES}.new {FILES}; }} || "
        f"{{ rm -f {FILES}.new; echo \"{FILES} can't be written and stays as it was: "
        'free space on its disk and run again" >&2; false; }; }'
    )


def differs(have: FileState | None, want: File) -> bool:
    """Whether a file must be written."""
    return (
        have is None
        or (have.mode, have.owner) != (want.mode, "0:0")
        or (not want.secret and have.content != want.content)
    )


def unread(reads: Iterable[File], since: int) -> list[str]:
    """Paths of those files that a program which was started at that time has not read as they should be.

    It reads them at its start only. They are about to be written, or were since: somebody may have changed them
    in between and started the program by hand.

    :param reads: the files as they should be.
    :param since: seconds since 1970; 0 where it does not run, or that is not known.
    """
    return [f.path for f in reads if differs(have := observe(HostFiles).ours(f.path), f) or _newer(have, since)]


def changed_since(paths: Iterable[str], since: int) -> list[str]:
    """Those of these files of ours that were written or replaced after that time.

    :param since: seconds since 1970; 0 where it is not known: then none was.
    """
    return [path for path in paths if _newer(observe(HostFiles).ours(path), since)]


def _newer(have: FileState | None, since: int) -> bool:
    return have is not None and 0 < since < have.changed


def announce(have: FileState | None, want: File) -> None:
    """Say in the plan what will become of one file."""
    if want.secret:
        say(f"Will write {want.path} (mode {want.mode}, secret: content not shown)")
    elif have is None:
        say_diff(f"Will create {want.path} (mode {want.mode})", [], want.content.splitlines())
    elif have.content != want.content:
        say_diff(f"Will change {want.path}", (have.content or "").splitlines(), want.content.splitlines())
    if have and (have.mode, have.owner) != (want.mode, "0:0"):
        say(f"Will set {want.path} from {have.owner} {have.mode} to 0:0 {want.mode}")


def foreign(found: Files, paths: Iterable[str]) -> str | None:
    """The sentence about the first of these paths where a file lies that is not ours."""
    taken = next((path for path in paths if path in found.files and not found.files[path].ours), None)
    return f"{taken} is there and was not written by docker-multinode; move it away first" if taken else None


@operation
def files(wanted: Sequence[File], directories: Sequence[str] = (), since: int = 0) -> Commands:
    """
    Ensure these files are exactly so, owned by root.

    + wanted: the files as they should be; a secret one is not read, and written where another of them differs
    + directories: made together with the files, though nothing lies in them yet
    + since: a secret file that changed after that time, in seconds since 1970, is written again; 0: none is
    """
    found = observe(HostFiles)
    if taken := foreign(found, (f.path for f in wanted)):
        yield fail(taken)
        return
    changed = [f for f in wanted if differs(have := found.ours(f.path), f) or (f.secret and _newer(have, since))]
    if changed:
        changed = [f for f in wanted if f.secret or f in changed]
    for file in changed:
        announce(found.ours(file.path), file)
    if changed:
        yield write(changed, _mkdirs(directories))
    else:
        host.noop(f"{len(wanted)} files are as they should be")


@removal
def no_files(paths: Sequence[str]) -> Commands:
    """
    Ensure that files of ours are gone; one that we did not write stays.

    + paths: theirs
    """
    found = observe(HostFiles)
    there = [path for path in paths if found.ours(path)]
    if not there:
        host.noop("these files are not there")
        return
    for path in there:
        say(f"Will remove {path}")
    yield remove_files(there)
