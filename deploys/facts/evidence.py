"""What a host can say of itself when something is wrong: one script, which only reads. One execution.

A row is a file of the archive and the command that fills it. No row reads a key, a Secret, a ConfigMap or the
environment or command line of a container: what is not read can't leak.
"""

from __future__ import annotations

import base64
import gzip
import re
import shlex
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from ..record import (
    BACKUPS,
    BOOTSTRAP,
    ETCD_CONTAINER,
    FLANNEL_CONTAINER,
    FLANNEL_RUN,
    KUBELET,
    KUBELET_CLIENT,
    KUBELET_CONTAINER,
    KUBERNETES,
    MAIN,
    OWN_PLACES,
    PKI,
    RECORD,
    SOCKETS,
)
from .hiding import NO_ENVIRONMENT
from .kernel import KUBELET_SYSCTLS, PROXY_SYSCTLS, SYSCTLS
from .sections import parts

CERTIFICATES = "certificates.txt"
"""The row that holds certificates as PEM; the archive has their names and dates instead."""
BYTES = 1_000_000
"""Of each row at most so much, from its end."""
PATIENCE = 240
"""After so many seconds a host's remaining rows are left out."""


@dataclass(frozen=True)
class Row:
    """A file of the archive."""

    file: str
    command: str
    lines: int = 500
    """At most so many, from the end."""
    seconds: int = 20


# A daemon is asked only while its unit is active: a docker command at a socket-activated one would start it.
# Of a program the newest container comes first; the one before says why it ended.
_PRELUDE = f"""
at() {{ unit=$1 socket=$2; shift 2; s=$(systemctl is-active $unit 2>/dev/null)
  [ "$s" = active ] || {{ echo "$unit is ${{s:-not known to systemd}}"; return 1; }}; docker -H unix://$socket "$@"; }}
main() {{ at {MAIN} {SOCKETS["main"]} "$@"; }}
bootstrap() {{ at {BOOTSTRAP} {SOCKETS["bootstrap"]} "$@"; }}
kubectl() {{ c={KUBERNETES}/super-admin.conf; [ -e $c ] || {{ echo "only the master is asked"; return; }}
  main exec {KUBELET_CONTAINER} kubectl --kubeconfig $c --request-timeout=15s "$@"; }}
pod() {{ l=label=io.kubernetes; ids=$(main ps -aq --filter $l.pod.namespace=kube-system \\
    --filter $l.docker.type=container --filter $l.container.name=$1) || {{ echo "$ids"; return 1; }}
  [ -n "$ids" ] || echo "no container of $1 here"
  set -- $ids; for id in $1 $2; do main ps -a --filter id=$id --format '=== {{{{.Names}}}}: {{{{.Status}}}}'
    main logs --timestamps --tail 240 $id; done; }}
""".strip()

_SYSCTLS = " ".join((*SYSCTLS, *KUBELET_SYSCTLS, *PROXY_SYSCTLS))
_UNITS = f"{MAIN} docker.socket {BOOTSTRAP} containerd"
_SHOW = "Id,LoadState,ActiveState,SubState,Result,NRestarts,ExecMainStatus,ActiveEnterTimestamp,UnitFileState"
# without the command, which may hold what a user passed to a container
_PS = "table {{.ID}}\\t{{.Names}}\\t{{.Image}}\\t{{.Status}}\\t{{.Ports}}\\t{{.CreatedAt}}"
_LISTING = (
    f"for p in {' '.join(OWN_PLACES)} {KUBELET}/pki; do [ ! -e $p ] || "
    "find $p -exec stat -c '%A %a %u:%g %s %y %n' {} +; done"
)
_CERTIFICATES = (
    f"for f in $(find {PKI} -name '*.crt' | sort) {KUBELET_CLIENT}; do [ ! -e $f ] || "
    "{ echo \"$f\"; sed -n '/-BEGIN CERT/,/-END CERT/p' $f; }; done"
)

_SYSTEM = (
    Row("system/os-release.txt", "cat /etc/os-release"),
    Row("system/kernel.txt", "uname -a; uptime; date -u"),
    Row("system/memory.txt", "nproc; free -m; head -n 5 /proc/meminfo"),
    Row("system/disks.txt", "df -h; df -i"),
    Row("system/mounts.txt", "cat /proc/mounts", lines=2000),
    Row("system/sysctls.txt", f"for k in {_SYSCTLS}; do sysctl $k; done"),
    Row("system/modules.txt", "cat /proc/modules | cut -d ' ' -f 1,4"),
    Row("network/addresses.txt", "ip addr"),
    Row("network/links.txt", "ip -d link"),
    Row("network/routes.txt", "ip rule; ip route show table all"),
    Row("network/listening.txt", "ss -ltnu"),
    Row("network/iptables.txt", "iptables-save", lines=5000),
    Row(
        "network/nft.txt", "if command -v nft >/dev/null; then nft list ruleset; else echo no nft here; fi", lines=5000
    ),
)
_OURS = (
    Row(
        "ours/record.txt",
        f"find {RECORD} -type f -size -64k ! -path '*/.*' ! -path '{BACKUPS}/*' -exec tail -v -n +1 {{}} +",
        lines=3000,
    ),
    Row("ours/subnet.env.txt", f"cat {FLANNEL_RUN}/subnet.env"),
    Row("ours/files.txt", _LISTING, lines=2000),
    Row(CERTIFICATES, _CERTIFICATES, lines=5000),
)
_UNIT_ROWS = (
    Row("units/state.txt", f"systemctl show --no-pager -p {_SHOW} {_UNITS}; systemctl --no-pager --failed"),
    Row("units/text.txt", f"systemctl cat --no-pager {_UNITS} | {NO_ENVIRONMENT}", lines=2000),
    *(Row(f"units/{u}.log", f"journalctl -q --no-pager -o short-iso -n 500 -u {u}")
      for u in (MAIN, BOOTSTRAP, "containerd")),
)  # fmt: skip
_DOCKER = tuple(
    Row(f"docker/{daemon}-{name}.txt", f"{daemon} {words}")
    for daemon in ("main", "bootstrap")
    for name, words in (
        ("version", "version"),
        ("info", "info"),
        ("containers", f"ps -a --format '{_PS}'"),
        ("images", "images -a --digests"),
        ("networks", "network ls"),
    )
)
_LOGS = (
    Row("logs/kubelet.log", f"main logs --timestamps --tail 500 {KUBELET_CONTAINER}"),
    Row("logs/etcd.log", f"bootstrap logs --timestamps --tail 500 {ETCD_CONTAINER}"),
    Row("logs/flannel.log", f"bootstrap logs --timestamps --tail 500 {FLANNEL_CONTAINER}"),
    *(Row(f"logs/{name}.log", f"pod {name}") for name in (
        "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns", "metrics-server")),
)  # fmt: skip
_KUBERNETES = (
    Row("kubernetes/nodes.txt", "kubectl get nodes -o wide", seconds=30),
    Row("kubernetes/pods.txt", "kubectl get pods -A -o wide", lines=2000, seconds=30),
    Row("kubernetes/events.txt", "kubectl get events -A --sort-by=.lastTimestamp", lines=2000, seconds=30),
    Row("kubernetes/describe-nodes.txt", "kubectl describe nodes", lines=2000, seconds=30),
)

ROWS: tuple[Row, ...] = (*_SYSTEM, *_OURS, *_UNIT_ROWS, *_DOCKER, *_LOGS, *_KUBERNETES)

# base64, so that no log can look like the beginning of another row, and no byte breaks the run
_ONE = f"""
one() {{ echo "== $1"
  {{ if [ $(($(date +%s) - begin)) -ge {PATIENCE} ]; then echo "[left out: the host took too long]"
    else timeout -k 5 $2 sh -c "$prelude
$4" 2>&1 </dev/null || {{ rc=$?
      [ $rc = 124 ] && echo "[not done in $2 s]" || echo "[exit status $rc]"; }}; fi
  }} | tail -n $3 | tail -c {BYTES} | gzip -c | base64; }}
""".strip()


def script(rows: Iterable[Row] = ROWS) -> str:
    """The shell script that answers all rows."""
    calls = (f"one {row.file} {row.seconds} {row.lines} {shlex.quote(row.command)}" for row in rows)
    begin = f"begin=$(date +%s) prelude={shlex.quote(_PRELUDE)}"
    return "\n".join((begin, _ONE, *calls, "true"))


# a host that lies must not lead out of the archive
_FILE = re.compile(r"([a-z][a-z-]*/)?[a-z][a-z.-]*")


def answers(output: str) -> dict[str, str]:
    """File → text, of what the script printed."""
    found = {}
    for file, lines in parts(output.splitlines()).items():
        if not _FILE.fullmatch(file):
            continue
        try:
            packed = base64.b64decode("".join(lines), validate=True)
            if not packed:
                raise EOFError
            found[file] = gzip.decompress(packed).decode(errors="replace")
        except (ValueError, OSError, EOFError, zlib.error):
            found[file] = "[the answer was cut off]\n"
    return found
