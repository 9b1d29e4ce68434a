"""What was on a host before us and is not ours: it must outlive us, as it was."""

from __future__ import annotations

from tests.lab.hosts import Host

from .cluster import BUSYBOX

CONTAINERS = ("diary", "shop")
"""The user's own containers on each host."""


def run_on(host: Host) -> bool:
    """Whether the user's containers run, and answer.

    :raises Exception: one does not answer.
    """
    names = set(host.run("docker ps --format '{{.Names}}'").stdout.split())
    return set(CONTAINERS) <= names and host.run("curl -fsS -m 5 http://127.0.0.1:8000/").stdout == "open\n"


_FIREWALL = """[Unit]
Description=Firewall rules of the user, there again after each boot
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/iptables -w -A INPUT -s 192.0.2.1/32 -j DROP
ExecStart=/usr/sbin/iptables -w -t mangle -A POSTROUTING -d 192.0.2.2/32 -j ACCEPT
[Install]
WantedBy=multi-user.target
"""


def settle(host: Host) -> None:
    """Give the host a life of its own: containers, a network, a volume, firewall rules, files."""
    host.run(
        f"docker pull -q {BUSYBOX} >/dev/null && docker network create own --subnet 192.168.77.0/24 >/dev/null && "
        f"docker run -d --name shop --restart=always -p 8000:8000 {BUSYBOX} "
        "sh -c 'mkdir -p /www; echo open > /www/index.html; trap exit TERM; httpd -f -p 8000 -h /www & wait' "
        ">/dev/null && "
        f"docker run -d --name diary --restart=unless-stopped --network own -v diary:/diary {BUSYBOX} "
        "sh -c 'date >> /diary/starts; trap exit TERM; sleep infinity & wait' >/dev/null"
    )
    host.write("/etc/systemd/system/their-firewall.service", _FIREWALL)
    host.run("systemctl enable --quiet --now their-firewall")
    host.write("/etc/systemd/system/docker.service.d/their-own.conf", "[Service]\nEnvironment=THEIRS=1\n")
    host.write("/etc/sysctl.d/10-their-own.conf", "# theirs\n")
    host.run("systemctl daemon-reload && systemctl restart docker")
