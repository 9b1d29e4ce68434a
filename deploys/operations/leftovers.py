"""What containers and daemons leave on a host: directories, links, iptables chains, mounts, pods, control groups."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pyinfra import host
from pyinfra.api import StringCommand

from .. import busy
from ..facts.docker import NAMESPACE, POD, SYSTEM
from ..facts.files import HostFiles
from ..facts.leftovers import BELOW, Leftovers
from ..observe import observe
from ..operation import Commands, operation, removal
from ..plan import say
from ..record import BEFORE_PATHS, RECORD
from .files import EMPTY_DIRECTORIES, File, announce, write

POD_GRACE = 30
"""Seconds between SIGTERM and SIGKILL that a pod's containers get, as by terminationGracePeriodSeconds' default."""

# the jumps to our chains first, then all chains of a table in one call; rules of others there are not touched
_NO_CHAINS = r"""
for c in iptables ip6tables; do for t in $($c-save 2>/dev/null | sed -n 's/^[*]//p'); do
  $c-save -t $t | awk '/^-A/ && !/^-A (PATTERN)/ && / -[jg] (PATTERN)/' | sed 's/^-A/-D/; s/[$`]/\\&/g' |
    while read -r rule; do eval "$c -w -t $t $rule"; done
  $c-save -t $t | awk -v t=$t '/^:(PATTERN)/{f = f "-F " substr($1,2) "\n"; x = x "-X " substr($1,2) "\n"}
    END{if (f) print "*" t "\n" f x "COMMIT"}' | $c-restore -w -n || exit 1
done; done
""".strip()


# rm goes down into what is bound from the same file system, so nothing is removed while anything is mounted below.
# Subvolumes, as Docker's btrfs driver makes them, look like other file systems and are none.
# The kernel names mounts without links; the last part of a path is not followed, for rm takes a link alone
_NO_DIRECTORIES = f"""
old() {{ grep -qsxF -e "$1" {BEFORE_PATHS}; }}
{BELOW}
gone() {{ r=$(readlink -e -- "${{1%/*}}") || return 0; r=${{r%/}}/${{1##*/}}
  below "$r" | sort -r | while IFS= read -r m; do umount "$m" || umount -l "$m"; done
  m=$(below "$r") || exit 1; [ -z "$m" ] || {{ printf '%s\\n' \
    "$1 stays, for these can't be unmounted; do that by hand and run again:" "$m" >&2; exit 1; }}
  rm -rf --one-file-system "$1" 2>/dev/null || {{ [ -z "$(below "$r")" ] && rm -rf "$1"; }} || exit 1; }}
for p in "$@"; do if mountpoint -q "$p" || old "$p"; then
  find -H "$p" -mindepth 1 -maxdepth 1 | while read -r c; do old "$c" || gone "$c"; done || exit 1
else gone "$p"; fi; done
""".strip()


@removal
def no_directories(paths: Sequence[str]) -> Commands:
    """
    Ensure that paths of ours are gone. What is mounted below them is unmounted first, never emptied. A path that is
    a mount itself, or was there before us, as a link too, stays and is emptied of all that was not in it before us.

    + paths: absolute paths of ours
    """
    found = observe(Leftovers)
    there = [p for p in paths if p in found.paths]
    if not there:
        host.noop("these paths are not there")
        return
    old = [p for p in observe(HostFiles).content(BEFORE_PATHS).splitlines() if f"{p}/".startswith(_below(there))]
    theirs = _below([p for p in old if p not in there])
    mounts = [m for m in found.mounts if not f"{m}/".startswith(theirs)]
    say("Will remove with all that is in it:", *(line for path in there for line in (path, *_inside(path, mounts))))
    if old:
        say("But not these, which were there before us:", *old)
    yield StringCommand(f"set -- {shlex.join(there)}; {_NO_DIRECTORIES}")


@operation
def paths_recorded(there: Sequence[str]) -> Commands:
    """
    Ensure that the record says what lay in the places of any Kubernetes before us: a turndown leaves it.

    + there: paths
    """
    if observe(HostFiles).ours(BEFORE_PATHS):
        host.noop("the record knows what was there before")
        return
    record = File(BEFORE_PATHS, "".join(f"{path}\n" for path in there))
    announce(None, record)
    yield write([record])


def _below(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{path}/" for path in paths)


def _inside(path: str, mounts: Sequence[str]) -> list[str]:
    return [f"  unmounted before: {mount}" for mount in mounts if mount.startswith(f"{path}/")]


@removal
def no_links(links: Sequence[str]) -> Commands:
    """
    Ensure that network links of ours are gone.

    + links: their names
    """
    there = [link for link in links if link in observe(Leftovers).links]
    if not there:
        host.noop("these links are not there")
        return
    say(f"Will delete the links {', '.join(there)}")
    yield StringCommand(
        f"for l in {' '.join(there)}; do [ ! -e /sys/class/net/$l ] || ip link delete $l || exit 1; done"
    )


@removal
def no_routes() -> Commands:
    """
    Ensure that routes to other nodes' subnets are gone: with host-gw flannel leaves them (backend/route_network.go).
    """
    there = observe(Leftovers).routes
    if not there:
        host.noop("no routes of ours are there")
        return
    say("Will delete the routes:", *there)
    deletes = (f'[ -z "$(ip -4 route show {route})" ] || ip -4 route delete {route} || exit 1' for route in there)
    yield StringCommand("; ".join(deletes))


@removal
def no_chains(prefixes: Sequence[str]) -> Commands:
    """
    Ensure that iptables chains of ours and the rules that jump there are gone; nothing is flushed.

    + prefixes: what the chains' names begin with
    """
    found = observe(Leftovers).chains
    there = [c for c in found if c.split(" ", 1)[1].startswith(tuple(prefixes))]
    if not there:
        host.noop("these chains are not there")
        return
    say("Will delete iptables chains and the rules that jump to them:", *there)
    yield StringCommand(_NO_CHAINS.replace("PATTERN", "|".join(prefixes)))


@removal
def no_rules() -> Commands:
    """
    Ensure that single iptables rules of ours, in chains of others, are gone.
    """
    there = observe(Leftovers).rules
    if not there:
        host.noop("no rules of ours are there")
        return
    say("Will delete the iptables rules:", *there)
    yield StringCommand("; ".join(map(_no_rule, there)))


def _no_rule(line: str) -> str:
    table, _, *rule = shlex.split(line)
    there, gone = (shlex.join(["iptables", "-w", "-t", table, do, *rule]) for do in ("-C", "-D"))
    return f"! {there} 2>/dev/null || {gone} || exit 1"


@removal
def no_pods() -> Commands:
    """
    Ensure that the containers that the kubelet made are gone.
    """
    there = observe(Leftovers).pods
    if not there:
        host.noop("no pods are there")
        return
    say(f"Will remove {len(there)} containers of pods:", *there)
    say(f"Those of pods outside of {SYSTEM} may end by themselves before, for {POD_GRACE} s")
    # the kubelet, which would end them so, is gone by now
    form = shlex.quote(f'{{{{.ID}}}} {{{{.Label "{NAMESPACE}"}}}}')
    yield StringCommand(
        f"docker ps --filter label={POD}=container --format {form} | awk '$2 != \"{SYSTEM}\" {{print $1}}' | "
        f"xargs -r timeout {2 * POD_GRACE} docker stop -t {POD_GRACE} >/dev/null; "
        f"docker ps -aq --filter label={POD} | xargs -r docker rm -f -v >/dev/null"
    )


@removal
def no_cgroups() -> Commands:
    """
    Ensure that the control groups are gone that the kubelet made for pods; with systemd they are slices.
    """
    there = observe(Leftovers).cgroups
    if not there:
        host.noop("no control groups of pods are there")
        return
    say("Will remove the control groups of pods:", *there)
    # one goes a moment after its last process
    yield StringCommand(
        "systemctl stop kubepods.slice 2>/dev/null; "
        f"for p in {shlex.join(there)}; do i=0; while [ -d $p ] && [ $((i+=1)) -le 50 ]; do "
        "find $p -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1; done; done"
    )


@removal
def no_record() -> Commands:
    """
    Ensure that the record is gone, and with it the directories that we made, where they are empty by now.
    """
    found = observe(Leftovers)
    if RECORD not in found.paths:
        host.noop("no record is there")
        return
    with_it = ", and with it the backups:" if found.backups else ""
    say(f"Will remove {RECORD} and the directories that it says we made, where they are empty{with_it}", *found.backups)
    if mounts := _inside(RECORD, found.mounts):
        say("But not what is mounted in it:", *mounts)
    # where it is a link, what it leads to goes too: keys may be in it. What is mounted in it is unmounted before.
    # The last command of a run: nothing needs the locks after it
    yield StringCommand(
        f'{EMPTY_DIRECTORIES}; set -- "$(readlink -f {RECORD})"; {_NO_DIRECTORIES}\n'
        f"[ ! -L {RECORD} ] || rm -f {RECORD}; rm -rf {busy.RUN_LOCK} {busy.BUSY}"
    )
