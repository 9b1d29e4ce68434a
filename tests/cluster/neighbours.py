"""What was on a host before us and is not ours: it must outlive us, as it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.lab.hosts import Host

from .cluster import BUSYBOX

WITH_POLICY = ("diary", "shop", "site-back-1", "site-front-1")
"""The user's own containers on each host that Docker starts by itself."""
WITHOUT_POLICY = "errand"
"""And one that it does not: after a reboot it is down, as it would be without us."""
CONTAINERS = (*WITH_POLICY, WITHOUT_POLICY)

_RUN = "docker run -d"
_IDLE = "trap exit TERM; sleep infinity & wait"


def _www(text: str) -> str:
    return f"mkdir -p /www; echo {text} > /www/index.html; trap exit TERM; httpd -f -p 8000 -h /www & wait"


def _compose(service: str, address: str) -> str:
    """What `docker compose up` makes of a service of the project `site`, as far as Docker knows of it."""
    labels = {"project": "site", "service": service, "container-number": "1", "oneoff": "False"}
    words = " ".join(f"--label com.docker.compose.{key}={value}" for key, value in labels.items())
    return (
        f"{_RUN} --name site-{service}-1 --network site_default --network-alias {service} --ip {address} "
        f"--restart=unless-stopped {words} {BUSYBOX} sh -c '{_www(service)}'"
    )


_CONTAINERS = (
    f"docker pull -q {BUSYBOX}",
    "docker network create own --subnet 192.168.77.0/24",
    "docker network create site_default --subnet 192.168.78.0/24 --label com.docker.compose.project=site",
    f"{_RUN} --name shop --restart=always -p 8000:8000 {BUSYBOX} sh -c '{_www('open')}'",
    f"{_RUN} --name diary --restart=unless-stopped --network own -v diary:/diary {BUSYBOX} "
    f"sh -c 'date >> /diary/starts; {_IDLE}'",
    f"{_RUN} --name {WITHOUT_POLICY} {BUSYBOX} sh -c '{_IDLE}'",
    _compose("back", "192.168.78.10"),
    _compose("front", "192.168.78.11"),
)

_FIREWALL = """[Unit]
Description=Firewall rules of the user, there again after each boot
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/iptables -w -A INPUT -s 192.0.2.1/32 -j DROP
ExecStart=/usr/sbin/iptables -w -t mangle -A POSTROUTING -d 192.0.2.2/32 -j ACCEPT
ExecStart=/usr/sbin/iptables -w -t nat -I PREROUTING -d 192.0.2.4/32 -p tcp --dport 80 -j DNAT --to 192.168.77.9
[Install]
WantedBy=multi-user.target
"""

_AGENT = """[Unit]
Description=A program of the user that needs Docker, and his rule for containers
Requires=docker.service
After=docker.service
[Service]
ExecStartPre=/bin/sh -c 'iptables -w -C DOCKER-USER -s 192.0.2.3/32 -j DROP || iptables -w -A DOCKER-USER \
-s 192.0.2.3/32 -j DROP'
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""


def settle(host: Host) -> None:
    """Give the host a life of its own: containers, networks, a volume, firewall rules, units, files."""
    host.run(" && ".join(f"{command} >/dev/null" for command in _CONTAINERS))
    host.write("/etc/systemd/system/their-firewall.service", _FIREWALL)
    host.write("/etc/systemd/system/their-agent.service", _AGENT)
    host.write("/etc/systemd/system/docker.service.d/their-own.conf", "[Service]\nEnvironment=THEIRS=1\n")
    host.write("/etc/sysctl.d/10-their-own.conf", "# theirs\n")
    host.run("systemctl daemon-reload && systemctl restart docker && systemctl enable --quiet --now their-firewall")
    host.run("systemctl enable --quiet --now their-agent")
    run_errand(host)


def run_errand(host: Host) -> None:
    """Start what a reboot or a stop of Docker leaves down, as its owner would."""
    host.run(f"docker start {WITHOUT_POLICY} && systemctl start their-agent")


def run_on(host: Host) -> bool:
    """Whether the user's containers run and answer, by name where they have one.

    :raises Exception: one does not answer.
    """
    names = set(host.run("docker ps --format '{{.Names}}'").stdout.split())
    by_name = host.run("docker exec site-front-1 wget -T 5 -qO- http://back:8000/").stdout
    published = host.run("curl -fsS -m 5 http://127.0.0.1:8000/").stdout
    return set(WITH_POLICY) <= names and (by_name, published) == ("back\n", "open\n")


def belongings(host: Host) -> list[str]:
    """What is theirs and must be the same one afterwards: ids of containers and networks, volumes, rules, units."""
    script = (
        f"docker inspect --format '{{{{.Name}}}} {{{{.Id}}}} {{{{.Created}}}}' {' '.join(CONTAINERS)}; "
        "docker network inspect --format '{{.Name}} {{.Id}} {{json .IPAM.Config}}' own site_default; "
        "docker volume inspect --format '{{.Name}} {{.Mountpoint}}' diary; "
        "head -n 1 /var/lib/docker/volumes/diary/_data/starts; "
        "for t in filter mangle nat; do iptables-save -t $t | grep -e '-[sd] 192.0.2'; done; "
        "systemctl is-enabled their-firewall their-agent; systemctl is-active their-firewall their-agent; true"
    )
    return host.run(script).stdout.splitlines()


# ---- whether the published port answers all the time


@dataclass(frozen=True)
class Answers:
    """What a client saw that asked a published port all the time, some times a second."""

    requests: int
    lost: int
    gaps: int
    """How often there was no answer for a while."""
    seconds: float
    """How long, from the last answer before a gap to the first after it, all gaps together."""


_ASK = (
    "while :; do t=$EPOCHREALTIME; curl -fs -m 2 -o /dev/null http://{address}:8000/; echo $t $?; sleep 0.1; done "
    "> /tmp/answers"
)


@contextmanager
def probed(hosts: Sequence[Host]) -> Iterator[dict[str, Answers]]:
    """Ask the published port of each host by the host before it, for as long as the block takes.

    :returns: host → what was seen, filled when the block ends.
    """
    found: dict[str, Answers] = {}
    pairs = list(zip(hosts, (*hosts[1:], hosts[0]), strict=True))
    for client, server in pairs:
        ask = _ASK.format(address=server.address)
        client.run(f"systemd-run -q --collect --unit=answers bash -c '{ask}'")
    try:
        yield found
    finally:
        for client, server in pairs:
            lines = client.run("systemctl stop answers; cat /tmp/answers; rm /tmp/answers").stdout.splitlines()
            found[server.name] = _answers([line.split() for line in lines])


def _answers(rows: Sequence[Sequence[str]]) -> Answers:
    """Of `time status` rows; status 0 is an answer."""
    lost, gaps, seconds, since = 0, 0, 0.0, 0.0
    begin = float(rows[0][0])
    last, answered = begin, True
    for time, status in rows:
        now, ok = float(time), status == "0"
        lost += not ok
        if ok and not answered:
            seconds += now - since
        if not ok and answered:
            gaps, since = gaps + 1, last
        answered = ok
        last = now if ok else last
    if not answered:
        seconds += float(rows[-1][0]) - since
    return Answers(len(rows), lost, gaps, seconds)
