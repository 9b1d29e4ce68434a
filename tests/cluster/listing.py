"""Everything of a host that a run could leave changed, as lines that can be compared.

`take` reads it in one ssh call; RULES say what is left out, each with its reason: only what a login, a
daemon or the clock changes by itself.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tests.lab.hosts import Host

Listing = Mapping[str, tuple[str, ...]]
"""Section → its lines."""

_SCRIPT = r"""
part() { echo "== $1"; }
part files
find / \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /var/lib/docker -o -path /var/lib/containerd \
  -o -path '/var/lib/bootstrap-docker/*/*' \) -prune -o ! -type d -printf '%p|%y|%m|%U:%G|%s|%TY-%Tm-%TdT%TT|%l\n' \
  -o -type d -printf '%p|d|%m|%U:%G\n' 2>/dev/null
part contents
find /etc /root /home /opt /srv /usr/local /var/lib -path /var/lib/docker -prune -o -path /var/lib/containerd -prune \
  -o -path /var/lib/bootstrap-docker -prune -o -path /var/lib/kubelet/pods -prune \
  -o -type f -size -1024k -print0 2>/dev/null | xargs -0 sha256sum 2>/dev/null
part run; find /run -mindepth 1 -maxdepth 2 -printf '%p|%y|%m|%U:%G\n' 2>/dev/null
part docker-root; find /var/lib/docker /var/lib/bootstrap-docker -mindepth 1 -maxdepth 1 -printf '%p\n' 2>/dev/null
for d in docker docker-bootstrap; do
  s=/run/$d.sock; [ -S $s ] || continue
  d1="timeout 20 docker -H unix://$s"
  part "$d options"; $d1 info --format '{{.Driver}} {{.CgroupDriver}} {{.LoggingDriver}} {{.LiveRestoreEnabled}}
{{json .RegistryConfig.InsecureRegistryCIDRs}} {{.HTTPProxy}} {{.NoProxy}} {{.DefaultRuntime}}' 2>&1
  pid=$(systemctl show $d -p MainPID --value); tr '\0' ' ' < /proc/$pid/cmdline; echo
  tr '\0' '\n' < /proc/$pid/environ | grep -i -e proxy -e flannel -e multinode
  c=$($d1 ps -aq --no-trunc)
  part "$d containers"; [ -z "$c" ] || $d1 inspect --format '{{.Name}} {{.Config.Image}} {{.State.Status}}
{{- range $k, $v := .NetworkSettings.Networks}} {{$k}}={{$v.IPAddress}}/{{$v.IPPrefixLen}} gateway {{$v.Gateway}}{{end}}
{{- range .Mounts}} {{.Source}}:{{.Destination}}{{end}} {{.HostConfig.RestartPolicy.Name}} {{json .Config.Cmd}}' $c
  part "$d identity"; [ -z "$c" ] || $d1 inspect \
    --format '{{.Name}} {{.Id}} {{.State.StartedAt}} {{.RestartCount}} {{.State.Status}}' $c
  echo "dockerd $pid $(stat -c %Y /proc/$pid)"
  part "$d images"; $d1 images -a --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}'
  part "$d networks"; n=$($d1 network ls -q); $d1 network inspect --format \
    '{{.Name}} {{.Driver}} {{.Scope}} {{json .IPAM.Config}} {{json .Options}}' $n
  part "$d volumes"; $d1 volume ls --format '{{.Name}} {{.Driver}}'
done
part containerd; command -v ctr >/dev/null && for n in $(timeout 10 ctr namespaces ls -q); do
  echo "$n containers $(timeout 10 ctr -n $n containers ls -q | sort | xargs)"
  echo "$n leases $(timeout 10 ctr -n $n leases ls -q | wc -l) images $(timeout 10 ctr -n $n images ls -q | wc -l)"
done
part units; systemctl list-units --all --no-legend --plain | awk '{print $1, $2, $3, $4}'
part unit-files; systemctl list-unit-files --no-legend --plain | awk '{print $1, $2}'
part mounts; awk '{o=""; for (i=7; $i!="-"; i++) o=o" "$i; gsub(/[0-9]+/, "", o); print $5, $(i+1), o}' \
  /proc/self/mountinfo
part links; ip -o -d link | awk -F': ' '{print $2": "$3}'
part addresses; ip -o addr | awk '{print $2, $3, $4, $5, $6}'
part routes; ip route show table all; ip rule
for c in iptables ip6tables; do for t in raw mangle nat filter security; do
  part "$c $t"; $c-save -t $t 2>/dev/null; done; done
part sysctls
for k in net/ipv4/ip_forward net/ipv4/conf/all/route_localnet net/ipv4/conf/docker0/route_localnet \
  net/ipv4/conf/all/rp_filter \
  net/ipv4/conf/default/rp_filter \
  net/ipv4/tcp_keepalive_time net/ipv4/tcp_keepalive_intvl \
  net/ipv6/conf/all/forwarding net/ipv4/vs/conntrack net/bridge/bridge-nf-call-iptables \
  net/bridge/bridge-nf-call-ip6tables net/netfilter/nf_conntrack_tcp_timeout_established \
  net/netfilter/nf_conntrack_tcp_timeout_close_wait net/netfilter/nf_conntrack_tcp_be_liberal \
  vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
  kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  [ ! -r /proc/sys/$k ] || echo "$k $(cat /proc/sys/$k)"; done
part cgroups; find /sys/fs/cgroup -maxdepth 2 -type d -name 'kubepods*' 2>/dev/null | sort
part modules; awk '{print $1}' /proc/modules
part listening; ss -Hltnup | awk '{print $1, $5, $7}' | sed 's/users:((//; s/,pid.*//'
part processes; ps -e -o user=,comm= | awk '{print $1, $2}' | sort -u
part users; getent passwd; getent group
true
"""


@dataclass(frozen=True)
class Rule:
    """What is not compared."""

    sections: str
    """Regular expression of the sections it is for."""
    pattern: str
    """What it takes out: the whole line, where `instead` is None, else what matches."""
    reason: str
    instead: str | None = None


_ID = r"[0-9a-f]{64}"
_OF_A_CONTAINER = re.compile(r"-A PREROUTING -d \S+ ! -i \S+ -j DROP")
_OF_A_NETWORK = re.compile(r"-A (?P<chain>\S+) .*?\b(?P<bridge>docker0|br-[0-9a-f]{12})\b")

RULES: tuple[Rule, ...] = (
    # ---- what a login changes
    Rule("files|contents", r"/var/log/(wtmp|btmp|lastlog|wtmp\.db|faillog)\b", "each login is written there"),
    Rule("files|contents|run", r"/run/(user|sudo|sshd|utmp|systemd/(sessions|users|inhibit))\b", "a login's session"),
    Rule("units", r"^(session-\S+\.scope|user@|user-\S+\.slice|user-runtime-dir@|run-user-|sshd?@|ssh-\S+@)",
         "a login's session"),
    Rule("mounts", r"^/run/user/", "a login's session"),
    Rule("processes", r" (sshd|sshd-session|\(sd-pam\)|bash|sh|ps|awk|sort|find|xargs|sudo)$",
         "the connection that asks"),
    # ---- what systemd and the clock change
    Rule("files|contents", r"/var/log/journal/|/var/log/[^/|]+\.log", "daemons write their log"),
    Rule("files|contents", r"/var/lib/systemd/|/var/lib/private/|/var/cache/(private|ldconfig)|/var/lib/dbus",
         "systemd's own stamps and seeds"),
    Rule("files", r"^/var/backups/", "Debian's dpkg keeps copies of its lists there, at midnight"),
    Rule("files", r"^(/var)?/tmp(/systemd-private-\S+)?\|d|^(/var)?/tmp/systemd-private-", "a unit's private /tmp"),
    Rule("files|contents", r"^[^|]*/etc/(mtab|\.updated)\b|/var/\.updated", "systemd writes it at boot"),
    Rule("units", r"^\S+\.(device|scope|slice|timer|target|path|swap) |^run-\S+\.(scope|service) |\.mount |"
         r"^(systemd-|modprobe@|apt-|dpkg-|e2scrub|fstrim|logrotate|man-db|getty|console|emergency|rescue|initrd|"
         r"plymouth|kmod|rc-local|ldconfig|networking|auditd|display|syslog|sshd|ssh-access|polkit)",
         "started by timers, on demand or at boot, not by a run; what is mounted is a section of its own"),
    Rule("run", r"/run/(systemd|lock|log|udev|dbus|credentials|initctl|shm|mount|tmpfiles\.d|blkid|network|motd|"
         r"agetty|ssh\b|ssh\.pid|ssh-unix-local|host|varlink|nologin|\.containerenv)", "systemd's and its units' own"),
    Rule("processes", r" (systemd\S*|init|agetty|dbus-daemon|login|unattended\S*|apt\S*)$",
         "systemd's own and its timers'"),
    Rule("mounts", r"^/run/(credentials|lock|systemd)|^/proc|^/sys|^/dev", "systemd's and the container's own"),
    # ---- what Docker and containerd change by themselves
    Rule("run", r"/run/(docker|containerd)/", "a daemon's own, with random names"),
    Rule("docker-root", r"/(tmp|runtimes|plugins|swarm|buildkit|engine-id|network|trust|builder|rootfs)$",
         "dockerd makes it at its first start"),
    Rule("docker images", r"^<none>:<none> ", "layers without a name; the named ones hold them"),
    Rule("containerd", r"leases", "content that containerd's own collector takes away"),
    Rule("mounts", r"^/run/docker/netns/default ", "Docker mounts it for the first container on the host's network"),
    Rule("run", r"^/run/xtables.lock\|", "iptables' own lock, empty, gone at boot; another program may hold it by now"),
    Rule("mounts", r"/run/docker/netns/\S+", "a random name a container, anew at each start", "/run/docker/netns/N"),
    Rule("mounts", r"/overlay2/[0-9a-z]+/", "a container's layer", "/overlay2/N/"),
    Rule("mounts", rf"/containers/{_ID}/", "a container's own", "/containers/N/"),
    Rule("links|addresses|routes", r"\bveth\w+(@if\d+)?", "a random name, anew at each start of a container", "veth"),
    Rule("addresses", r" inet6 fe80:", "made of a random MAC address"),
    Rule("routes", r" fe80::|^fe80|ff00::|local fe80", "made of a random MAC address"),
    Rule("links|routes", r"\b(state|linkdown)\b( \w+)?|,?(NO-CARRIER|LOWER_UP),?",
         "whether a container is plugged in", ""),
    Rule("links", r"[0-9a-f]{2}(:[0-9a-f]{2}){5}|link-netnsid \d+|\b(\w*timer|gc_timer|tcn_timer|hello_timer|"
         r"topology_change_timer) +[\d.]+|bridge_id \S+|designated_root \S+|root_id \S+|port_id \S+|port_no \S+|"
         r"designated_\w+ \S+|if\d+\b|fdb_n_learned \d+", "random, a clock, or what a bridge has heard of", "*"),
    Rule("processes", r" (docker-proxy|containerd-shim\S*|runc\S*|docker-init)$",
         "one a container; containers are a section of their own"),
    Rule("listening", r'127\.0\.0\.1:\d+ "containerd"$', "containerd's streaming server, on a random port"),
    # ---- what is the machine's, not the host's
    Rule("files", r"^/etc/(hostname|hosts|resolv\.conf)\|", "outer Docker writes them at each start of a host"),
    Rule("files", r"^/var/lib/(bootstrap-docker|kubelet|docker)\|d", "a mount point of the lab: its directory stays"),
    Rule("listening", r" 127\.0\.0\.11:", "outer Docker's name server, on random ports"),
    Rule("iptables nat", r"DOCKER_OUTPUT|DOCKER_POSTROUTING", "outer Docker's name server, on random ports"),
    Rule("sysctls", r"^(vm|kernel)/", "the lab's hosts share one kernel: another host's kubelet sets it too"),
    Rule("modules", r".*", "the lab's hosts share one kernel: another host's Docker loads modules too"),
)  # fmt: skip


def take(host: Host) -> dict[str, tuple[str, ...]]:
    """The host's listing, not normalised."""
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in host.run(_SCRIPT, timeout=180).stdout.splitlines():
        if line.startswith("== "):
            lines = sections.setdefault(line[3:], [])
        else:
            lines.append(line)
    return {name: tuple(found) for name, found in sections.items()}


def normalised(listing: Listing, rules: Collection[Rule] = RULES) -> dict[str, tuple[str, ...]]:
    """The lines that are compared; in order where the order means something."""
    result = {}
    for section, lines in listing.items():
        if section.endswith("identity"):
            continue  # `identity` compares it, where nothing may restart
        kept = [new for line in lines if (new := _kept(section, line, rules)) is not None]
        if section.startswith(("iptables ", "ip6tables ")):
            kept = _rules_of_table(kept)
        elif section != "routes":
            kept.sort()
        result[section] = tuple(kept)
    return result


def _kept(section: str, line: str, rules: Collection[Rule]) -> str | None:
    for rule in rules:
        if not re.fullmatch(rule.sections, section.removeprefix("docker-bootstrap ").removeprefix("docker ")) and (
            not re.fullmatch(rule.sections, section)
        ):
            continue
        if rule.instead is not None:
            line = re.sub(rule.pattern, rule.instead, line)
        elif re.search(rule.pattern, line):
            return None
    return line


def _rules_of_table(lines: list[str]) -> list[str]:
    """Without counters and dates; nothing for a table that holds no rule, for looking at it makes it."""
    kept = [re.sub(r"\[\d+:\d+\]", "", line).strip() for line in lines if not line.startswith("#")]
    empty = all(line.startswith("*") or line == "COMMIT" or re.fullmatch(r":[A-Z]+ ACCEPT", line) for line in kept)
    return [] if empty else _in_any_order([line for line in kept if line != "COMMIT"])


def _in_any_order(lines: list[str]) -> list[str]:
    """With Docker's rules of containers sorted, and its rules of networks sorted by network within a chain, those of
    one network as they are: Docker comes to containers and networks in any order at its start (measured on 26.1.5
    and 28.5.2 by plain stops and starts)."""
    places: dict[str, list[tuple[str, int]]] = {}
    for place, line in enumerate(lines):
        if _OF_A_CONTAINER.fullmatch(line):
            places.setdefault("", []).append((line, place))
        elif match := _OF_A_NETWORK.match(line):
            places.setdefault(match["chain"], []).append((match["bridge"], place))
    result = list(lines)
    for group in places.values():
        for (_, place), (_, source) in zip(group, sorted(group), strict=True):
            result[place] = lines[source]
    return result


def difference(before: Listing, after: Listing, without: Collection[str] = ()) -> list[str]:
    """What differs between two listings, as `section: +line` and `section: -line`; empty for nothing.

    :param without: regular expressions of lines (as they are returned) that may differ.
    """
    old, new = normalised(before), normalised(after)
    result = []
    for section in sorted({*old, *new}):
        lines = difflib.unified_diff(old.get(section, ()), new.get(section, ()), n=0, lineterm="")
        result += [f"{section}: {line}" for line in list(lines)[2:] if not line.startswith("@@")]
    return [line for line in result if not any(re.search(pattern, line) for pattern in without)]


def assert_same(before: Listing, after: Listing, without: Collection[str] = ()) -> None:
    """Nothing differs between two listings.

    :param without: as of `difference`.
    :raises AssertionError: it says every line in full; pytest itself would cut them.
    """
    left = difference(before, after, without)
    assert not left, "\n".join(["the listings differ:", *left])


def identity(listing: Listing) -> dict[str, tuple[str, ...]]:
    """Ids and start times of containers, pids of both daemons: what no restart leaves alone.

    A kubelet's containers that have ended are not in it: they lie there until it collects them, at any minute.
    """
    return {
        name: tuple(sorted(line for line in lines if not line.startswith("/k8s_") or line.endswith(" running")))
        for name, lines in listing.items()
        if name.endswith("identity")
    }


def managed_files(host: Host) -> list[str]:
    """Each file that the product wrote, with mode, owner, size, mtime and inode."""
    command = "xargs -d '\\n' stat -c '%n %a %u:%g %s %y %i' < /var/lib/docker-multinode/files"
    return host.run(command).stdout.splitlines()
