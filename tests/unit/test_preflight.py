"""Each check passes a healthy host and stops at what it is for."""

from __future__ import annotations

import base64
import inspect
import json
import time
from dataclasses import replace
from typing import Any

import pytest

from deploys.checks import cluster, docker, machine, networks
from deploys.checks.docker import REFUSED_KEYS
from deploys.facts.daemons import DaemonsFact
from deploys.facts.docker import Other
from deploys.facts.etcd import EtcdSubnets, Subnets
from deploys.facts.files import HostFiles
from deploys.facts.hiding import HIDDEN
from deploys.facts.leftovers import Leftovers
from deploys.operations.files import File
from deploys.phases import pki
from deploys.phases.preflight import CHECKS, REMOVE_CHECKS, RESTORE_CHECKS, Check
from deploys.record import BEFORE_PATHS, BOOTSTRAP_UNIT, PKI, SUBNET_ENV
from deploys.run_nodes import will_bring_up_masters

from . import machines
from .harness import World
from .known import daemons, host_files, left

NODE_RECORD = {"name": "m1", "role": "master", "address": "10.0.0.11"}
BY_NAME: dict[str, Check] = {check.__name__: check for check in (*CHECKS, *RESTORE_CHECKS, *REMOVE_CHECKS)}


def problem(check: Check, data: dict[str, Any] | None = None, etcd: Subnets | None = None, **told: Any) -> str | None:
    """What a check says of a master on such a machine."""
    main = {"command": told.pop("command")} if "command" in told else {}
    both = daemons(
        "daemons-fresh",
        main={"others": frozenset(told.pop("others", ())), "running_others": told.pop("running", ()), **main},
        bootstrap=told.pop("bootstrap", {}),
    )
    facts = {
        DaemonsFact: replace(both, docker0_before=told.pop("docker0_before", "")),
        EtcdSubnets: etcd or Subnets(False, ""),
        HostFiles: host_files(*told.pop("files", ())),
        Leftovers: left(),
    }
    world = World(data=data or {}, platforms={"m1": machines.found("m1", "10.0.0.11", **told)}, facts=facts)
    with world.on():
        return check(world.node())


@pytest.mark.parametrize("check", BY_NAME.values(), ids=BY_NAME)
@pytest.mark.parametrize("sample", ["platform-fresh-docker26", "platform-fresh-docker28"])
def test_a_healthy_host_passes(check: Check, sample: str) -> None:
    assert problem(check, sample=sample) is None


DNS_OF_DATA = base64.b64encode(b'{"dns_server_ip": "10.96.0.10"}').decode()
RECORD = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.1.1/24"
DROP_IN = "# /etc/systemd/system/docker.service.d/zz-docker-multinode.conf"
OURS = "-H\nfd://\n--bip=10.1.1.1/24"
"""What the main Docker runs with on the pod network."""
ON_PODS = {"command": ("--bip=10.1.1.1/24",), "files": [File(SUBNET_ENV, "FLANNEL_SUBNET=10.1.1.1/24\n")]}
"""The same, for a turndown, which goes by the record's file."""
OLD = "172.17.0.1/16"
"""docker0's address before the first run, and now."""

AUTHORITIES = [File(path, "x") for path in pki.authority_files()]
KEPT = File(f"{PKI}/ca.key", "", "600", secret=True)

SSH = "-A ufw-user-input -p tcp --dport 22 -j ACCEPT"

FAILS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("root", {}, {"user": "1000"}, "_sudo = True"),
    ("tools", {}, {"without_tools": ("docker",)}, "install Docker"),
    ("tools", {}, {"without_tools": ("tar", "iptables")}, "iptables, tar"),
    ("docker_runs", {}, {"docker_version": "", "docker_unit": ""}, "no docker.service"),
    ("docker_runs", {}, {"docker_version": "Cannot connect to the Docker daemon"}, "systemctl status docker"),
    (
        "docker_runs",
        {},
        {
            "docker_version": "",
            "docker_unit": f"{DROP_IN}\nExecStart=/d --log-opt=max-size=10m",
            "daemon_json": {"log-opts": {"max-size": "1m"}, "userland-proxy": False},
        },
        "daemon.json sets log-opts, as does our drop-in by a flag; take it out and run: systemctl restart docker.",
    ),
    (
        "docker_runs",
        {},
        {
            "docker_version": "",
            "docker_unit": f"{DROP_IN}\nExecStart=/usr/sbin/dockerd --log-driver=json-file",
            "daemon_json": {"log-opts": {}},
        },
        "systemctl status docker",
    ),
    (
        "docker_runs",
        {},
        {"docker_version": "", "docker_unit": f"{DROP_IN}\nExecStart=/usr/bin/dockerd --bip=${{X}}"},
        "our drop-in runs /usr/bin/dockerd, where this host has /usr/sbin/dockerd: was its package replaced? Run: "
        f"rm {DROP_IN[2:]}; ",
    ),
    (
        "docker_runs",
        {},
        {"docker_version": "", "docker_unit": f"{DROP_IN}\nExecStart=-/usr/sbin/dockerd --bip=${{X}}"},
        "systemctl status docker",
    ),
    (
        "docker_runs",
        {},
        {
            "docker_version": "",
            "docker_unit": "# /usr/lib/systemd/system/docker.service\nExecStart=/d --log-opt=max-size=10m",
            "daemon_json": {"log-opts": {}},
        },
        "systemctl status docker",
    ),
    ("root", {}, {"user": "uid=0(root)"}, "what id -u says there can't be read"),
    ("readable", {}, {"links": "Welcome!", "iptables": "$(reboot)"}, "what iptables --version, ip link says there"),
    ("record_readable", {}, {"subnet__env": "FLANNEL_SUBNET=x"}, "/var/lib/docker-multinode/subnet.env, which has"),
    ("docker_api", {}, {"docker": "new"}, "its version 'new'"),
    ("docker_api", {}, {"docker": "24.0.9", "api": "1.43"}, "Docker 25 or newer"),
    ("docker_api", {}, {"docker": "28.0.0", "api": "1.48"}, "28.2 or newer"),
    ("docker_api", {}, {"docker": "28.1.1+dfsg1", "api": "1.49"}, "28.2 or newer"),
    ("docker_api", {"flannel_backend": "host-gw"}, {"docker": "28.2.0", "api": "1.50"}, "vxlan"),
    ("daemon_json", {}, {"daemon_json": "{"}, "not a JSON object"),
    ("daemon_json", {}, {"daemon_json": {"bip": "10.0.0.1/24"}}, "sets bip"),
    ("daemon_json", {}, {"daemon_json": {"selinux-enabled": True}}, "selinux-enabled"),
    ("docker_unit", {}, {"docker_unit": "# /x\nExecStart=/usr/bin/dockerd --selinux-enabled"}, "read its keys"),
    ("docker_unit", {}, {"docker_unit": ""}, "ExecStart"),
    ("docker_unit", {}, {"docker_unit": "# /x\nExecStart=/usr/bin/dockerd --mtu 1400"}, "--mtu"),
    ("docker_unit", {}, {"docker_unit": "# /x\nExecStart=/usr/bin/dockerd -b br0"}, "-b"),
    ("docker_unit", {}, {"docker_unit": "# /x\nExecStart=/usr/bin/dockerd --log-driver journald"}, "log-driver"),
    ("docker_unit", {}, {"docker_unit": "# /x\nExecStart=/usr/bin/dockerd --iptables=false"}, "iptables"),
    ("docker_unit", {}, {"docker_unit": "# /x\nExecStart=/usr/bin/dockerd 'unclosed"}, "can't be read"),
    ("docker_unit", {}, {"docker_unit": f"# /x\nExecStart=/d --http-proxy=http://{HIDDEN}p"}, "Environment="),
    ("swarm", {}, {"swarm": "yes"}, "docker swarm leave"),
    ("docker_root", {}, {"docker_root": "/var/lib"}, "data-root is /var/lib"),
    ("readable", {}, {"docker_root": "/srv/my docker"}, "what dockerd's data-root says there"),
    ("arch_exists", {}, {"machine": "armv7l"}, "is arm, for which Kubernetes"),
    ("arch_exists", {}, {"machine": "aarch64", "docker_arch": "arm"}, "is arm, for which Kubernetes"),
    ("cgroups", {}, {"cgroup_controllers": "cpu io"}, "cgroup_enable=memory"),
    (
        "modules",
        {},
        {"missing_modules": "vxlan", "kernel": "6.8.0-1-raspi"},
        "install linux-modules-extra-6.8.0-1-raspi",
    ),
    ("modules", {"flannel_backend": "host-gw"}, {"missing_modules": "br_netfilter\nvxlan"}, "module br_netfilter;"),
    (
        "modules",
        {},
        {"missing_modules": "vxlan\n== modules-gone", "kernel": "6.1.0-9-amd64"},
        "running kernel 6.1.0-9-amd64 are gone from /lib/modules, and it has not loaded vxlan; reboot",
    ),
    ("resolvers", {}, {"resolvers": ""}, "has no /etc/resolv.conf"),
    ("resolvers", {"kubelet_extra_args": {"resolv-conf": "/proc/1/root/etc/x"}}, {"resolvers": ""}, "make one"),
    ("resolvers", {}, {"resolvers": "there\n10.0.0.1\n127.0.0.1"}, "/etc/resolv.conf names 127.0.0.1,"),
    ("resolvers", {}, {"resolvers": "there", "search": "yes"}, "no nameserver, and pods would ask none"),
    ("resolvers", {}, {"resolvers": "there\n::1"}, '{"resolv-conf": "/proc/1/root/etc/'),
    ("resolvers", {}, {"resolvers": "there\nfe80::1%eth0\n2001:db8::53"}, "fe80::1%eth0 and no IPv4 address"),
    ("resolvers", {}, {"resolvers": "there\n2001:db8::53"}, 'set kubelet_extra_args = {"resolv-conf": "/proc/1/root/'),
    (
        "resolvers",
        {},
        {"resolvers": "there\n127.0.0.1", "resolv__conf": "/run/systemd/resolve/resolv.conf"},
        "/run/systemd/resolve/resolv.conf names",
    ),
    ("shared_mounts", {}, {"propagation": "/ private"}, "mount --make-rshared /"),
    ("clock", {}, {"time": "0"}, "NTP"),
    ("clock", {}, {"time": str(int(time.time()) + 3600)}, "ahead of"),
    ("memory", {}, {"memory": "900000"}, "a master needs"),
    ("room", {}, {"disks": "1 900000 70000 9 9000 /var/lib/docker"}, "install as master needs 1500"),
    ("firewall", {}, {"active": "docker\nfirewalld"}, "firewalld"),
    ("ufw", {}, {"ufw": "policy DROP"}, "2379/tcp, 6443/tcp, 10250/tcp, 8472/udp"),
    (
        "ufw",
        {},
        {"ufw": f"policy REJECT\n{SSH}\n-A ufw-user-input -p tcp --dport 6443 -j ACCEPT"},
        "ufw allow from 10.0.0.0/24 && ufw allow from 10.1.0.0/16",
    ),
    ("foreign_kubernetes", {}, {"foreign_kubernetes": "/etc/kubernetes/admin.conf"}, "kubeadm reset"),
    ("etcd_has_its_authority", {}, {"etcd_data": "yes"}, "/etc/kubernetes/pki/ca.crt"),
    *(
        ("etcd_has_its_authority", {}, {"etcd_data": "yes", "files": [f for f in AUTHORITIES if f.path != lost]}, lost)
        for lost in pki.authority_files()
    ),
    ("etcd_data_are_ours", {}, {"there_before": "/var/lib/etcd/member"}, "/var/lib/etcd/member"),
    ("etcd_data_are_ours", {}, {"files": [File(BEFORE_PATHS, "/x\n/var/lib/etcd/member\n")]}, "/var/lib/etcd/member"),
    ("same_node", {}, {"record": {**NODE_RECORD, "name": "old"}}, "old"),
    ("takes_nobodys_place", {"node_name": "kubernetes.default.svc"}, {}, "one of the apiserver's"),
    ("takes_nobodys_place", {"node_name": "kubernetes.default.svc.cluster.local"}, {}, "set another node_name"),
    ("takes_nobodys_place", {"flannel_network": "10.0.0.0/16"}, {"routes": "default dev eth0"}, "in flannel_network"),
    ("takes_nobodys_place", {"service_network": "10.0.0.0/16", "dns_server_ip": "10.0.0.10"}, {}, "in service_network"),
    (
        "beyond_the_routes",
        {},
        {"resolvers": "there\n10.1.9.53\nfe80::1"},
        "has the host's name server in it, 10.1.9.53",
    ),
    (
        "name_server",
        {},
        {"resolvers": "there\n10.0.0.11", "running": (Other("pihole", "always", False, name_server=True),)},
        "names 10.0.0.11, where the container pihole answers",
    ),
    ("beyond_the_routes", {}, {"resolvers": "there\n10.96.0.10"}, "service_network 10.96.0.0/12 has"),
    (
        "same_services",
        {"service_network": "10.222.0.0/16"},
        {"record": {"service_network": "10.96.0.0/12"}},
        "purge_data=true",
    ),
    ("same_services", {"dns_server_ip": "10.96.0.53"}, {"record": {"dns_server_ip": "10.96.0.10"}}, "10.96.0.53"),
    (
        "same_services",
        {"dns_server_ip": "10.96.0.53"},
        {"data_record": DNS_OF_DATA, "etcd_data": "yes", "ca": "yes"},
        "has the data of a cluster with the dns_server_ip 10.96.0.10",
    ),
    ("recorded_network", {}, {"subnet__env": "FLANNEL_NETWORK=10.9.0.0/16"}, "10.9.0.0/16"),
    ("routes", {}, {"routes": "default via 10.0.0.1 dev eth0\n10.1.0.0/24 dev tun0"}, "by tun0"),
    ("routes", {}, {"routes": "default via 10.0.0.1 dev eth0\n10.96.3.0/24 dev docker0"}, "service_network"),
    ("routes", {}, {"routes": "default via 10.0.0.1 dev eth0\n0.0.0.0/2 dev tun0"}, "0.0.0.0/2 by tun0"),
    ("docker_names", {}, {"others": {"web", "kubelet"}}, "docker rename kubelet"),
    (
        "purges_no_other_kubernetes",
        {"purge_data": True},
        {"foreign_kubernetes": "/etc/kubernetes/kubelet.conf", "files": [KEPT]},
        "/etc/kubernetes/kubelet.conf is there, and not from us",
    ),
    ("bootstrap_name", {}, {"bootstrap": {"active": True}}, "systemctl disable --now docker-bootstrap"),
    ("bootstrap_name", {}, {"bootstrap": {"down": True}}, "is not of docker-multinode"),
    ("ports", {}, {"listening": "192B"}, "6443"),
    ("ports", {}, {"listening": "280A"}, "10250"),
    ("ports", {}, {"listening": "192B", "subnet__env": RECORD}, "6443"),
    ("docker_restart", {}, {"running": (Other("web", "no", False),)}, "web"),
    ("docker_restart", {}, {"running": (Other("web", "on-failure", False),)}, "web"),
    ("docker_restart_back", {}, {"running": (Other("web", "no", False),), **ON_PODS}, "web"),
    # Docker runs without us, and docker0 has not got its old address
    ("docker_restart_back", {}, {"running": (Other("web", "no", False),), "docker0_before": "172.18.0.1/16"}, "web"),
    (
        "docker_restart_back",
        {},
        {"running": (Other("web", "no", False),), "docker0_before": OLD, "command": (f"--bip={OLD}",)},
        "web",
    ),
]


@pytest.mark.parametrize(("name", "data", "told", "says"), FAILS)
def test_a_check_stops_at_what_it_is_for(name: str, data: dict[str, Any], told: dict[str, Any], says: str) -> None:
    found = problem(BY_NAME[name], data, **told)
    assert found is not None
    assert says in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("data", "told", "refused"),
    [
        ({}, {}, False),
        ({"node_name": "m1"}, {}, True),
        ({"node_name": "n-1"}, {}, False),  # which --data gives to the master, too
        ({}, {"addresses": "2: eth0 inet 10.0.0.11/24 x"}, True),
        ({"node_name": "api.lan"}, {}, True),
    ],
)
def test_a_worker_can_not_be_the_master(data: dict[str, Any], told: dict[str, str], refused: bool) -> None:
    here = World(
        masters={"m1": {"node_name": data.get("node_name")}},
        workers={"w1": {"apiserver_cert_sans": "api.lan", **data}},
        platforms={
            "m1": machines.found("m1", "10.0.0.11", record={"name": "m1"}),
            "w1": machines.found("w1", "10.0.0.12", **told),
        },
    )
    here.state.limit_hosts = [here.host("w1")]
    here.state.active_hosts = {here.host("w1")}
    with here.on("w1"):
        assert bool(cluster.takes_nobodys_place(here.node("w1"))) is refused


def test_every_check_has_a_host_that_it_stops() -> None:
    tested = {name for name, *_ in FAILS} | {
        "version_change",
        "subnet_left",
        "same_backend",
        "master_answers",
        "master_is_theirs",
        "has_a_master",
        "name_is_free",
        "address_is_free",
        "joins_as_it_is",
        "keeps_no_other_authority",
    }  # of their own, or in test_deploys.py
    assert set(BY_NAME) <= tested


def test_every_check_there_is_is_run() -> None:
    for module in (machine, docker, cluster):
        there = [
            thing
            for name, thing in vars(module).items()
            if inspect.isfunction(thing) and thing.__module__ == module.__name__ and not name.startswith("_")
        ]
        assert len(there) > 5
        assert [f.__name__ for f in there if f not in BY_NAME.values()] == ["cluster_problems"] * (module is cluster)


def test_no_other_check_is_made_of_a_host_whose_login_is_not_root() -> None:
    assert CHECKS[0] is REMOVE_CHECKS[0] is machine.root


PASSES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("docker_api", {}, {"docker": "25.0.0", "api": "1.44"}),
    ("docker_api", {}, {"docker": "27.5.1", "api": "1.47"}),
    ("docker_api", {}, {"docker": "28.2.0", "api": "1.50"}),
    ("docker_api", {"flannel_backend": "host-gw"}, {"docker": "27.5.1", "api": "1.47"}),
    ("shared_mounts", {}, {"propagation": "/ private\n/var/lib/kubelet shared"}),
    ("cgroups", {}, {"cgroup_controllers": ""}),
    ("modules", {"flannel_backend": "host-gw"}, {"missing_modules": "vxlan"}),
    ("modules", {}, {"missing_modules": "\n== modules-gone"}),
    ("resolvers", {}, {"resolvers": "there"}),
    ("resolvers", {}, {"resolvers": "there\nfe80::1%eth0\n10.0.0.1\n<any>"}),
    ("resolvers", {}, {"resolvers": "there\n<any>"}),
    ("resolvers", {"kubelet_extra_args": {"resolv-conf": "/proc/1/root/etc/x"}}, {"resolvers": "there\n127.0.0.1"}),
    ("memory", {}, {"memory": ""}),
    ("etcd_has_its_authority", {}, {"etcd_data": "yes", "ca": "yes", "files": AUTHORITIES}),
    ("etcd_has_its_authority", {}, {"files": []}),
    ("etcd_data_are_ours", {}, {"etcd_data": "yes", "there_before": "/var/lib/etcd"}),
    ("same_node", {}, {"record": NODE_RECORD}),
    ("same_services", {}, {"record": NODE_RECORD}),
    ("same_services", {}, {"record": {"service_network": "10.96.0.0/12", "dns_server_ip": "10.96.0.10"}}),
    ("same_services", {"dns_server_ip": "10.96.0.53"}, {"data_record": DNS_OF_DATA}),
    ("ports", {}, {"listening": "192B\n280A", "record": NODE_RECORD}),
    ("ports", {}, {"listening": "192B", "files": [File(BOOTSTRAP_UNIT, "")]}),
    ("routes", {"flannel_network": "172.17.0.0/16"}, {}),
    ("routes", {}, {"routes": "default dev eth0\n10.0.0.0/8 dev wg0", "subnet__env": RECORD}),
    ("beyond_the_routes", {}, {"resolvers": "there\n10.1.9.53", "subnet__env": RECORD}),
    ("beyond_the_routes", {}, {"resolvers": "there\n127.0.0.53\n10.0.0.1"}),
    ("routes", {}, {"routes": "default dev eth0\nunreachable 10.1.0.0/16\nblackhole 10.96.0.0/12\ngarbage"}),
    ("routes", {}, {"routes": "default dev eth0\n0.0.0.0/1 via 10.8.0.1 dev tun0\n128.0.0.0/1 via 10.8.0.1 dev tun0"}),
    ("ufw", {}, {"ufw": "policy ACCEPT"}),
    ("ufw", {}, {"ufw": f"policy DROP\n{SSH}\n-A ufw-user-input -s 10.0.0.0/24 -j ACCEPT\n"
                 "-A ufw-user-input -s 10.1.0.0/16 -j ACCEPT"}),
    ("ufw", {}, {"ufw": "policy DROP\n-A ufw-user-input -p tcp -m multiport --dports 2379:2380,6443,10250 -j ACCEPT\n"
                 "-A ufw-user-input -p udp --dport 8472 -j ACCEPT"}),
    ("ufw", {"flannel_backend": "host-gw"}, {"ufw": "policy DROP\n-A ufw-user-input -p tcp -j ACCEPT"}),
    ("docker_restart", {"allow_docker_restart": True}, {"running": (Other("web", "no", False),)}),
    ("docker_restart", {}, {"running": (Other("web", "always", False),)}),
    ("docker_restart_back", {}, {"running": (Other("web", "no", False),)}),
    ("docker_restart_back", {}, {"running": (Other("web", "no", False),), "command": ("--bip=10.1.1.1/24",)}),
    ("docker_restart_back", {},
     {"running": (Other("web", "always", False),), **ON_PODS}),
    ("docker_restart_back", {"allow_docker_restart": True},
     {"running": (Other("web", "no", False),), **ON_PODS}),
    ("docker_unit", {}, {"docker_unit": "# /x\nExecStart=/usr/bin/dockerd --data-root=/srv/docker -H fd://"}),
    ("docker_unit", {}, {"docker_unit": "# /x\nExecStart=/usr/bin/dockerd --log-driver=json-file --iptables=true"}),
    ("docker_unit", {}, {"docker_unit": f"# /x\nEnvironment=HTTP_PROXY=http://{HIDDEN}p\nExecStart=/d -H fd://"}),
    ("docker_unit", {}, {"docker_flags": f"-H\nfd://\n--http-proxy=http://{HIDDEN}p"}),
    ("docker_unit", {}, {"docker_unit": "# /x\nExecStart=/usr/bin/dockerd", "docker_flags": ""}),
    ("bootstrap_name", {}, {"bootstrap": {"active": True}, "files": [File(BOOTSTRAP_UNIT, "")]}),
    ("purges_no_other_kubernetes", {"purge_data": True}, {"foreign_kubernetes": "/etc/kubernetes/kubelet.conf"}),
    ("purges_no_other_kubernetes", {}, {"foreign_kubernetes": "/etc/kubernetes/kubelet.conf", "files": [KEPT]}),
    ("purges_no_other_kubernetes", {"purge_data": True}, {"files": [KEPT]}),
    ("bootstrap_name", {}, {"bootstrap": {"down": True}, "files": [File(BEFORE_PATHS, "")]}),
    ("docker_root", {}, {"docker_root": "/srv/docker"}),
    ("docker_root", {}, {"docker_root": "/var/lib/docker/"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "told"), PASSES)
def test_a_check_lets_through_what_works(name: str, data: dict[str, Any], told: dict[str, Any]) -> None:
    assert problem(BY_NAME[name], data, **told) is None


def of_ufw(*rules: str, prefix: int = 24, worker: str = "10.0.0.12", **data: Any) -> str | None:
    """What the check says of a master beside a worker, where ufw has these rules."""
    address = {"addresses": f"24: eth0    inet 10.0.0.11/{prefix} scope global eth0"}
    told = "\n".join(("policy DROP", *(f"-A ufw-user-input {rule} -j ACCEPT" for rule in rules)))
    platforms = {"m1": machines.found("m1", "10.0.0.11", ufw=told, **address), "w1": machines.found("w1", worker)}
    world = World(workers=["w1"], platforms=platforms, data=data)
    with world.on():
        return machine.ufw(world.node())


PODS, VXLAN_PORT = "-s 10.1.0.0/16", "-p udp --dport 8472"
ALL, API = "2379/tcp, 6443/tcp, 10250/tcp, 8472/udp", "6443/tcp, 10250/tcp"


@pytest.mark.parametrize(
    ("rules", "shut"),
    [
        (("-s 10.0.0.0/24", PODS), None),
        (("-s 10.0.0.12", PODS), None),
        (("-i eth0", "-i docker0"), None),
        (("-i eth+ -s 10.0.0.0/24", "-i docker0 -s 10.0.0.0/8"), None),
        (("-d 10.0.0.11",), None),
        (("-i tailscale0", PODS), ALL),
        (("-s 10.0.0.13", PODS), ALL),
        (("-s nobody", PODS), ALL),
        (("-d 10.0.0.99", PODS), ALL),
        (("-s 10.0.0.0/24",), API),
        (("-i eth0",), API),
        (("-s 10.0.0.0/24", "-s 10.1.0.0/24"), API),
        (("-s 10.0.0.0/24 -p tcp", PODS, f"-i wg0 {VXLAN_PORT}"), "8472/udp"),
    ],
)
def test_ufw_is_open_for_those_who_come_in_by_the_interface_and_from_the_addresses_of_a_rule(
    rules: tuple[str, ...], shut: str | None
) -> None:
    said = of_ufw(*rules)
    assert (said is None) is (shut is None)
    assert not shut or f"in on {shut}; run there: ufw allow from 10.0.0.0/24 && ufw allow from 10.1.0.0/16" in str(said)


def test_a_ufw_need_not_let_pods_ask_the_kubelet_where_there_is_no_metrics_server() -> None:
    open_to_nodes = ("-s 10.0.0.0/24", f"{PODS} -p tcp --dport 6443")
    assert "in on 10250/tcp;" in str(of_ufw(*open_to_nodes))
    assert of_ufw(*open_to_nodes, addons="coredns") is None


def test_the_advice_on_ufw_names_nodes_that_are_not_in_the_hosts_own_network() -> None:
    assert str(of_ufw(prefix=32)).endswith(": ufw allow from 10.0.0.12 && ufw allow from 10.1.0.0/16")
    beyond = "ufw allow from 10.0.0.0/24 && ufw allow from 192.168.7.2 && ufw allow from 10.1.0.0/16"
    assert beyond in str(of_ufw(worker="192.168.7.2"))


def test_a_master_that_takes_no_part_is_let_in_by_a_workers_ufw() -> None:
    told = "policy DROP\n-A ufw-user-input -s 10.1.0.0/16 -j ACCEPT"
    for data, shut in (({}, True), ({"master_ip": "203.0.113.9"}, False)):
        platforms = {"m1": machines.found("m1", "192.168.7.1"), "w1": machines.found("w1", "10.0.0.12", ufw=told)}
        world = World(workers=["w1"], platforms=platforms, data=data)
        world.state.limit_hosts = [world.host("w1")]
        world.state.active_hosts = {world.host("w1")}
        with world.on("w1") as host:
            said = machine.ufw(world.node(host.name))
        assert (said is not None) is shut
        assert not said or "ufw allow from 192.168.7.1 &&" in said


HOST_GW = """default via 10.0.0.1 dev eth0
10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.11
10.1.1.0/24 dev docker0 proto kernel scope link src 10.1.1.1
10.1.2.0/24 via 10.0.0.12 dev eth0"""
VXLAN = HOST_GW.replace("via 10.0.0.12 dev eth0", "via 10.1.2.0 dev flannel.1 onlink")


@pytest.mark.parametrize(("backend", "routes"), [("vxlan", VXLAN), ("host-gw", HOST_GW)])
def test_flannels_own_routes_do_not_stop_a_second_run(backend: str, routes: str) -> None:
    assert problem(networks.routes, {"flannel_backend": backend}, routes=routes, subnet__env=RECORD) is None
    assert problem(networks.routes, {"flannel_backend": backend}, routes=HOST_GW) is not None


@pytest.mark.parametrize("key", REFUSED_KEYS)
def test_each_key_of_daemon_json_is_refused_or_allowed_by_its_value(key: str) -> None:
    why, allowed = REFUSED_KEYS[key]
    said = problem(docker.daemon_json, daemon_json={key: "something else"})
    assert said is not None
    assert key in said
    assert why in said
    for value in allowed:
        assert problem(docker.daemon_json, daemon_json={key: value}) is None


def test_all_flags_that_can_not_stay_are_named_at_once_and_where_they_come_from() -> None:
    unit = "# /x\nExecStart=/usr/bin/dockerd --mtu=1400 $OPTIONS"
    said = str(
        problem(docker.docker_unit, docker_unit=unit, docker_flags="--mtu=1400\n--log-driver=journald\n--icc=false")
    )
    assert said.startswith(
        "docker.service runs dockerd with --mtu=1400, but docker0's MTU follows flannel's; take it out and run: "
        "systemctl restart docker; "
    )
    for flag in ("--log-driver=journald", "--icc=False"):
        assert (
            f"and with {flag} (by a variable, of Environment= or of a file that EnvironmentFile= names, or since"
            in said
        )


@pytest.mark.parametrize("flag", ["--config-file=/etc/dockerd.json", "--config-file /etc/dockerd.json"])
def test_a_configuration_in_another_place_is_refused(flag: str) -> None:
    said = str(problem(docker.docker_unit, docker_unit=f"# /x\nExecStart=/usr/bin/dockerd {flag}"))
    assert said.startswith("docker.service runs dockerd with --config-file=/etc/dockerd.json; move what that says into")
    usual = "# /x\nExecStart=/usr/bin/dockerd --config-file=/etc/docker/daemon.json"
    assert problem(docker.docker_unit, docker_unit=usual) is None


def test_a_route_by_several_ways_is_a_route() -> None:
    many = "10.1.0.0/16 proto bird metric 32\n\tnexthop via 10.0.0.1 dev eth0 weight 1\n\tnexthop via 10.0.0.2 dev eth1"
    default = "default proto static\n\tnexthop via 10.0.0.1 dev eth0 weight 1\n10.0.0.0/24 dev eth0"
    said = str(problem(networks.routes, routes=f"{default}\n{many}"))
    assert "overlaps the host's route to 10.1.0.0/16 by eth0" in said
    found = machines.found("m1", "10.0.0.11", routes=default)
    assert (found.default_interface, found.routes) == ("eth0", ("10.0.0.0/24 eth0",))


def test_live_restore_is_switched_off_before_docker_is_restarted() -> None:
    said = str(problem(docker.daemon_json, daemon_json={"live-restore": True}))
    assert said.endswith("set it to false there and run: systemctl reload docker; after that you may take it out")
    said = str(problem(docker.docker_unit, docker_flags="-H\nfd://\n--live-restore"))
    assert said.endswith("leaves containers with the restart policy unless-stopped down: start them again")


def test_daemon_json_may_say_anything_else() -> None:
    harmless = {"registry-mirrors": ["https://m"], "data-root": "/srv", "log-opts": {"max-size": "1m"}, "debug": True}
    assert problem(docker.daemon_json, daemon_json=harmless) is None


@pytest.mark.parametrize(("key", "value"), [("log-driver", "journald"), ("live-restore", "true"), ("mtu", "1400")])
def test_a_flag_that_dockerd_runs_with_is_as_good_as_one_in_its_unit_until_it_is_ours(key: str, value: str) -> None:
    said = problem(docker.docker_unit, docker_flags=f"-H\nfd://\n--{key}={value}")
    assert said is not None
    assert f"--{key}=" in said
    assert REFUSED_KEYS[key][0] in said
    assert problem(docker.docker_unit, docker_flags=OURS, subnet__env=RECORD) is None
    for ours in ("", "\n--bip=10.1.1.1/24\n--mtu=1450\n--ip-masq=false"):  # after a turndown, and at work
        told: dict[str, Any] = {"docker_flags": f"-H\nfd://\n--{key}={value}{ours}", "subnet__env": RECORD}
        assert f"--{key}=" in str(problem(docker.docker_unit, **told))


def test_flags_of_ours_are_known_also_where_the_record_does_not_tell() -> None:
    unit = "# /lib/docker.service\nExecStart=/d\n# /etc/systemd/system/docker.service.d/zz-docker-multinode.conf\n"
    known: tuple[dict[str, Any], ...] = ({"docker_unit": unit}, {"docker0_before": "10.1.1.1/24"})
    for told in known:
        assert problem(docker.docker_unit, docker_flags=f"{OURS}\n--mtu=1450", **told) is None
    assert "--bip=" in str(problem(docker.docker_unit, docker_flags=OURS))


def test_a_turndown_works_on_a_broken_host_too() -> None:
    broken: dict[str, Any] = {"daemon_json": "{", "docker_version": "", "active": "", "memory": "1",
              "record": {**NODE_RECORD, "name": "old"}, "time": "0", "docker_unit": ""}  # fmt: skip
    for check in REMOVE_CHECKS:
        assert problem(check, **broken) is None
    assert machine.root in REMOVE_CHECKS


@pytest.mark.parametrize("have", ["v1.36.4", "v1.38.0"])
def test_another_minor_version_is_no_change_of_a_setting(have: str) -> None:
    record = {**NODE_RECORD, "kubernetes": have}
    said = str(problem(cluster.version_change, etcd_data="yes", record=record))
    assert "upgrade" in said
    assert "turn" not in said
    same = {**NODE_RECORD, "kubernetes": "v1.37.0"}
    assert problem(cluster.version_change, etcd_data="yes", record=same) is None
    assert problem(cluster.version_change, etcd_data="yes", record=NODE_RECORD) is None


def test_a_version_of_which_etcd_has_no_data_yet_is_changed_as_a_first_run_may_have_ended_early() -> None:
    record = {**NODE_RECORD, "kubernetes": "v1.36.4"}
    assert problem(cluster.version_change, record=record) is None
    assert problem(cluster.version_change, record=record, subnet__env=RECORD) is not None, "its disk is not mounted"


def test_a_worker_of_another_minor_version_is_told_to_leave_first() -> None:
    record = {"name": "w1", "role": "worker", "kubernetes": "v1.36.4"}
    world = World(workers=["w1"], platforms={"w1": machines.found("w1", "10.0.0.12", record=record)})
    said = str(cluster.version_change(world.node("w1")))
    assert "Set k8s_version to a v1.36 version, or turn this host down first: deploys/turndown.py --limit w1" in said


@pytest.mark.parametrize("have", ["v1.36.4", "v1.38.0"])
def test_data_that_a_turndown_kept_is_of_one_minor_version(have: str) -> None:
    data = base64.b64encode(json.dumps({"kubernetes": have}).encode()).decode()
    said = problem(cluster.version_change, data_record=data, etcd_data="yes")
    assert f"has the data of Kubernetes {have}" in str(said)
    assert problem(cluster.version_change, data_record=data) is None, "it was moved away"


def test_a_newcomer_to_a_full_pod_network_is_told_who_has_it() -> None:
    full = Subnets(True, "", {"gone": "10.1.1.0/24", "w1": "10.1.2.0/24", "w2": "10.1.3.0/24"})
    said = str(problem(networks.subnet_left, {"flannel_network": "10.1.0.0/22"}, full))
    assert "10.1.0.0/22 has no /24 left for m1" in said
    assert "gone, w1, w2" in said
    assert "purge_data=true" in said
    record = {"files": [File(SUBNET_ENV, RECORD)]}
    taken = str(problem(networks.subnet_left, {}, Subnets(True, "", {"w1": "10.1.1.0/24"}), **record))
    assert "10.1.1.0/24, which etcd has reserved for node w1; turn this host down" in taken
    mine = replace(full, reservations={"m1": "10.1.1.0/24", "w1": "10.1.2.0/24", "w2": "10.1.3.0/24"})
    assert problem(networks.subnet_left, {"flannel_network": "10.1.0.0/22"}, mine) is None


def test_two_hosts_with_one_subnet_in_their_records_are_refused() -> None:
    told = {name: machines.found(name, f"10.0.0.1{name[1]}", subnet__env=RECORD) for name in ("m1", "w2")}
    world = World(workers=["w2"], platforms=told, facts={EtcdSubnets: Subnets(False, ""), HostFiles: host_files()})
    for name, other in (("m1", "w2"), ("w2", "m1")):
        with world.on(name):
            said = str(networks.subnet_left(world.node(name)))
        assert f"its record and that of {other} have the same subnet 10.1.1.0/24" in said


@pytest.mark.parametrize(
    ("whole", "config", "refused"),
    [
        (False, '{"Backend": {"Type": "vxlan"}}', True),
        (False, '{"Backend": {"Type": "host-gw"}}', False),
        (False, "", False),
        (False, "[", False),
        (True, '{"Backend": {"Type": "vxlan"}}', False),
    ],
)
@pytest.mark.parametrize("limited", [True, False])
def test_a_worker_alone_does_not_change_the_backend(whole: bool, config: str, refused: bool, limited: bool) -> None:
    world = World(workers=["w1"], data={"flannel_backend": "host-gw"}, facts={EtcdSubnets: Subnets(True, config)})
    if limited and not whole:
        world.state.limit_hosts = [world.host("w1")]
        world.state.active_hosts = {world.host("w1")}
    with world.on("w1") as host:
        if whole:
            will_bring_up_masters()
        said = networks.same_backend(world.node(host.name))
        assert networks.same_backend(world.node("m1")) is None, "it writes the backend"
    assert (said is not None) is refused
    assert not said or "deploys/cluster.py" in said


def newcomer(
    record: dict[str, str] | None = None, etcd: str = "", *, mine: dict[str, str] | None = None, masters: bool = False
) -> str | None:
    """What is said to a worker that joins a master with this record and this network in etcd.

    :param mine: the worker's own record.
    :param masters: whether the run brings up the master, too.
    """
    told = {
        "m1": machines.found("m1", "10.0.0.11", record={**NODE_RECORD, **(record or {})}),
        "w1": machines.found("w1", "10.0.0.12", record=mine),
    }
    world = World(workers=["w1"], platforms=told, facts={EtcdSubnets: Subnets(bool(etcd), etcd)})
    with world.on("w1"):
        if masters:
            will_bring_up_masters()
        assert cluster.joins_as_it_is(world.node("m1")) is None, "it joins nobody"
        return cluster.joins_as_it_is(world.node("w1"))


@pytest.mark.parametrize(
    ("record", "etcd", "says"),
    [
        ({"kubernetes": "v1.36.4"}, "", "whose k8s_version is v1.36.4, with v1.37.2: a kubelet of another minor"),
        ({"service_network": "10.222.0.0/16"}, "", "whose service_network is 10.222.0.0/16, with 10.96.0.0/12"),
        ({"dns_server_ip": "10.96.0.53"}, "", "whose dns_server_ip is 10.96.0.53, with 10.96.0.10: pods would ask"),
        ({}, '{"Network": "10.244.0.0/16"}', "whose flannel_network is 10.244.0.0/16, with 10.1.0.0/16"),
    ],
)
def test_a_worker_that_joins_with_other_settings_than_the_clusters_is_told_them(
    record: dict[str, str], etcd: str, says: str
) -> None:
    said = str(newcomer(record, etcd))
    assert says in said
    assert "would join the cluster of m1" in said
    assert "in group_data/all.py" in said
    assert newcomer(record, etcd, masters=True) is None, "the master's own checks say it"
    assert newcomer(record, etcd, mine={"name": "w1"}) is None, "it is a node already"


@pytest.mark.parametrize(
    ("record", "etcd"),
    [
        ({"kubernetes": "v1.37.0", "service_network": "10.96.0.0/12", "dns_server_ip": "10.96.0.10"}, ""),
        ({}, '{"Network": "10.1.0.0/16"}'),
        ({}, "["),
        ({}, '["Network"]'),
        ({}, ""),  # of an older version, and etcd does not answer
    ],
)
def test_a_worker_with_the_clusters_settings_joins(record: dict[str, str], etcd: str) -> None:
    assert newcomer(record, etcd) is None


@pytest.mark.parametrize(
    ("check", "kept"),
    [
        (networks.recorded_network, {"subnet__env": "FLANNEL_NETWORK=10.9.0.0/16"}),
        (cluster.same_services, {"record": {"dns_server_ip": "10.96.0.53"}}),
    ],
)
def test_only_a_master_is_told_to_turn_the_cluster_down(check: Check, kept: dict[str, Any]) -> None:
    told = {name: machines.found(name, f"10.0.0.1{name[1]}", **kept) for name in ("m1", "w2")}
    world = World(workers=["w2"], platforms=told)
    for name, what in (("m1", "the cluster"), ("w2", "this host")):
        assert f"turn {what} down with purge_data=true" in str(check(world.node(name)))
