"""What users get wrong: settings, inventories, hosts; and the words of the one sentence that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .runs import ROOT, Groups, H, master, worker

PAIR: Groups = {"masters": (master(),), "workers": (worker(),)}


@dataclass(frozen=True)
class Row:
    """One mistake.

    :param says: words that the sentence must hold: what is wrong, where, what to write instead.
    :param cli: also run by the pyinfra command.
    """

    title: str
    says: tuple[str, ...]
    groups: Groups = field(default_factory=lambda: PAIR)
    data: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    entry: str = "cluster"
    limit: str | None = None
    cli: bool = False


def setting(name: str, value: object, *says: str, cli: bool = False) -> Row:
    """A wrong value of a setting, by --data."""
    return Row(f"{name} = {value!r}", (name, *says), data={name: value}, cli=cli)


def host(title: str, *says: str, cli: bool = False, data: Mapping[str, Any] | None = None, **machine: Any) -> Row:
    """A worker with which something is wrong, beside a good master."""
    groups = {"masters": (master(),), "workers": (worker(machine, **(data or {})),)}
    return Row(title, ("@fake/w1", *says), groups, cli=cli)


LONG = "a" * 64

SETTINGS = (
    setting("k8s_version", 1.3, "number 1.3", "v1.37.2", cli=True),
    setting("k8s_version", 2, "number 2", "v1.37.2"),
    setting("k8s_version", "v1.37", "full version", "'v1.37'"),
    setting("k8s_version", "latest", "full version", "v1.37.2"),
    setting("k8s_version", "v1.37.99", "not in the catalogue", "v1.37.0 to v1.37."),
    setting("k8s_version", "v1.99.0", "not in the catalogue", "v1.34.0"),
    setting("k8s_version", "v1.37.02", "'v1.37.02'"),
    setting("k8s_version", "v1.37.2-beta.1", "full version"),
    setting("k8s_version", "v1.37.2\n", "full version"),
    setting("k8s_version", True, "True"),
    setting("etcd_version", 3.6, "3.6", "text"),
    setting("etcd_version", "3.6:5", "image tag"),
    setting("flannel_version", 0.28, "0.28", "text"),
    setting("flannel_version", "v0.28.10 ", "image tag"),
    setting("flannel_network", "10.1.0.0", "10.1.0.0/16"),
    setting("flannel_network", "10.1.2.0/16", "host part is not zero", "10.1.0.0/16"),
    setting("flannel_network", "10.1.0.0/24", "/22"),
    setting("flannel_network", "10.0.0.0/7", "/8"),
    setting("flannel_network", "8.8.0.0/16", "10.0.0.0/8", "192.168.0.0/16"),
    setting("flannel_network", "fd00::/48", "IPv4"),
    setting("flannel_network", "10.1.0.0/33", "IPv4 network"),
    setting("flannel_network", "127.0.0.0/16", "127.0.0.0/16"),
    setting("flannel_network", "169.254.0.0/16", "169.254.0.0/16"),
    setting("flannel_network", ["10.1.0.0/16"], "IPv4 network"),
    setting("flannel_backend", "udp", "vxlan, host-gw", "'udp'"),
    setting("flannel_backend", True, "vxlan"),
    setting("flannel_ipmasq", "yes", "true or false", "'yes'"),
    setting("flannel_ipmasq", 1, "true or false"),
    setting("service_network", "10.96.0.0/8", "host part is not zero", "10.0.0.0/8"),
    setting("service_network", "10.0.0.0/8", "/12", "/28"),
    setting("service_network", "10.96.0.0/30", "/28"),
    setting("service_network", "10.1.0.0/16", "flannel_network", "overlap", cli=True),
    setting("dns_domain", "Cluster.Local", "lower-case"),
    setting("dns_domain", "cluster_local", "lower-case"),
    setting("dns_domain", ".cluster.local", "lower-case"),
    setting("dns_domain", "10.0.0.1", "10.0.0.1"),
    setting("dns_server_ip", "10.0.0.10", "service_network 10.96.0.0/12", "10.96.0.10"),
    setting("dns_server_ip", "10.96.0.1", "not a free address", "10.96.0.10"),
    setting("dns_server_ip", "10.96.0", "IPv4 address"),
    setting("restart_policy", "no", "unless-stopped, always"),
    setting("restart_policy", "on-failure", "unless-stopped, always"),
    setting("master_ip", "master.example.org", "IPv4 address", "192.168.1.10"),
    setting("master_ip", "127.0.0.1", "no address that other hosts can reach"),
    setting("master_ip", "10.1.0.5", "flannel_network"),
    setting("master_ip", "10.96.0.5", "service_network"),
    setting("image_registry", "http://registry.lan:5000", "without the scheme", "registry.lan:5000", cli=True),
    setting("image_registry", "registry lan", "registry.lan:5000"),
    setting("image_registry", "registry.lan:99999", "registry.lan:99999"),
    setting("node_image", "registry.lan/node", "tag or a digest"),
    setting("node_image", "-v:latest", "must be an image"),
    setting("binaries_url", "ftp://mirror.lan", "http"),
    setting("binaries_url", "http://mirror.lan/$(reboot)", "http"),
    setting("http_proxy", "http://user:secret@proxy.lan:3128", "password"),
    setting("http_proxy", "proxy.lan:3128", "http://"),
    setting("https_proxy", 3128, "http://"),
    setting("no_proxy", "localhost 10.0.0.0/8", "comma-separated"),
    setting("apiserver_cert_sans", "k8s.example.org,*.example.org", "*.example.org"),
    setting("apiserver_cert_sans", {"a": 1}, "list of names"),
    setting("certificate_days", 0, "1 to 3650"),
    setting("certificate_days", "365d", "1 to 3650"),
    setting("apiserver_extra_args", "v=4", "mapping", '{"v": "4"}'),
    setting("apiserver_extra_args", ["--v=4"], "mapping"),
    setting("kubelet_extra_args", {"--v": "4"}, "without dashes"),
    setting("kubelet_extra_args", {"v": None}, "one line of text"),
    setting("kubelet_extra_args", {"node-ip": "10.0.0.9"}, "--node-ip", "leave it out"),
    setting("apiserver_extra_args", {"oidc-issuer-url": "https://id.lan"}, "--oidc-issuer-url", "leave it out"),
    setting("apiserver_extra_args", {"authorization-config": "/etc/x"}, "--authorization-config", "leave it out"),
    setting("etcd_extra_args", {"data-dir": "/data"}, "--data-dir", "leave it out"),
    setting("scheduler_extra_args", {"kubeconfig": "/x"}, "--kubeconfig"),
    setting("controller_manager_extra_args", {"root-ca-file": "/x"}, "--root-ca-file"),
    setting("kubelet_paths", "/srv,data", "'data'", "absolute paths like /srv"),
    setting("kubelet_paths", ["/var/lib"], "'/var/lib'", "leave it out"),
    setting("kube_proxy_extra_args", {"v": 0.5}, "0.5", "text"),
    setting("kube_proxy_extra_args", {"proxy-mode": "ipvs"}, "--proxy-mode", "ignores", "leave it out"),
    setting("kube_proxy_extra_args", {"hostname-override": "x"}, "--hostname-override", "leave it out"),
    setting("etcd_extra_args", {"cert-file": "/x"}, "--cert-file", "leave it out"),
    setting("kubelet_extra_args", {"root-dir": "/x"}, "--root-dir", "leave it out"),
    setting("addons", "coredns,dashboard", "'dashboard'", "headlamp"),
    setting("addons", "coredns,coredns", "twice"),
    setting("allow_docker_restart", "maybe", "true or false"),
    setting("timeout_for_services", "3m", "1 to 86400"),
    setting("timeout_for_services", -1, "1 to 86400"),
    setting("timeout_for_images", 1.5, "1 to 86400"),
    setting("timeout_for_drain", 0, "1 to 86400"),
    setting("kubeconfig_path", "", "one line"),
    setting("kubeconfig_server", "https://k8s.example.org:6443", "kubeconfig_server"),
    setting("purge_data", "1", "true or false"),
    setting("backup_path", "", "one line"),
    setting("restore_from", 7, "text"),
    Row("a restore of nothing", ("@fake/m1", "restore_from names no backup", "--data restore_from=PATH"),
        entry="restore", cli=True),
    Row("a restore of what is nowhere", ("@fake/m1", "/no/such.tar.gz", "neither there nor on this machine"),
        entry="restore", data={"restore_from": "/no/such.tar.gz"}),
    Row("a restore of what is no backup", ("@fake/m1", "pyproject.toml", "is not a backup"),
        entry="restore", data={"restore_from": str(ROOT / "pyproject.toml")}, cli=True),
    Row("a restore without a master", ("masters",), {"workers": (worker(),)}, entry="restore"),
    Row("a backup without a master", ("masters",), {"workers": (worker(),)}, entry="backup"),
    Row("a misspelt name", ("flanel_network", "did you mean flannel_network"), data={"flanel_network": "10.2.0.0/16"},
        cli=True),
    Row("an upper-case name by --data", ("K8S_VERSION", "did you mean k8s_version"), data={"K8S_VERSION": "v1.36.0"}),
    Row("a name with dashes", ("k8s-version", "did you mean k8s_version"), data={"k8s-version": "v1.36.0"}),
    Row("a wrong value in the environment", ("environment variable K8S_VERSION", "'1.37'"),
        environment={"K8S_VERSION": "1.37"}, cli=True),
    Row("one address for all hosts", ("IP_ADDRESS", "all 2 hosts", "host data"),
        environment={"IP_ADDRESS": "10.0.0.11"}, cli=True),
    Row("one interface for all hosts", ("NET_INTERFACE", "all 2 hosts"), environment={"NET_INTERFACE": "eth0"}),
    Row("MASTER_IP is a name", ("MASTER_IP", "IPv4 address"), environment={"MASTER_IP": "master.lan"}),
)  # fmt: skip

TWO = (master(), H("m2", "10.0.0.13"))

INVENTORIES = (
    Row("no master, a worker's run", ("no group `masters`", 'masters = ["192.168.1.10"]'),
        {"workers": (worker(),)}, entry="worker", cli=True),
    Row("no master, both roles' run", ("masters",), {"workers": (worker(),)}),
    Row("no master, a master's run", ("masters",), {"workers": (worker(),)}, entry="master"),
    Row("no worker, a worker's run", ("workers",), {"masters": (master(),)}, entry="worker"),
    Row("two masters", ("2 masters", "@fake/m1, @fake/m2", "not supported yet", "workers"), {"masters": TWO}, cli=True),
    Row("a host in no group", ("@fake/x1", "none of the groups", "masters"),
        {"masters": (master(),), "hosts": (H("x1", "10.0.0.20"),)}, cli=True),
    Row("a misspelt group", ("@fake/w1", "none of the groups"), {"masters": (master(),), "worker": (worker(),)}),
    Row("a host in both groups", ("@fake/m1", "both groups"), {"masters": (master(),), "workers": (master(),)}),
    Row("two hosts with one hostname", ("@fake/m1", "@fake/w1", "name", "node_name"),
        {"masters": (master({"name": "debian"}),), "workers": (worker({"name": "debian"}),)}, cli=True),
    Row("two hosts with one address", ("@fake/m1", "@fake/w1", "address 10.0.0.11", "ip_address"),
        {"masters": (master(),), "workers": (worker({"address": "10.0.0.11"}),)}),
    Row("two hosts with one node_name", ("@fake/m1", "@fake/w1", "node_name"), data={"node_name": "pi"}),
    Row("ip_address of another host", ("@fake/w1", "10.0.0.99", "10.0.0.12 on eth0"),
        {"masters": (master(),), "workers": (worker(ip_address="10.0.0.99"),)}, cli=True),
    Row("ip_address and net_interface that do not fit", ("@fake/w1", "eth0", "docker0"),
        {"masters": (master(),), "workers": (worker(ip_address="10.0.0.12", net_interface="docker0"),)}),
    Row("net_interface that is not there", ("@fake/w1", "enp3s0", "10.0.0.12 on eth0"),
        {"masters": (master(),), "workers": (worker(net_interface="enp3s0"),)}),
    Row("net_interface lo", ("@fake/w1", "lo"),
        {"masters": (master(),), "workers": (worker(net_interface="lo"),)}),
    Row("net_interface docker0", ("@fake/w1", "docker0"),
        {"masters": (master(),), "workers": (worker(net_interface="docker0"),)}),
    Row("net_interface with a space", ("@fake/w1", "net_interface", "eth0"),
        {"masters": (master(),), "workers": (worker(net_interface="eth 0"),)}),
    Row("ip_address as a number", ("@fake/w1", "ip_address", "IPv4"),
        {"masters": (master(),), "workers": (worker(ip_address=10),)}),
    Row("ip_address of IPv6", ("@fake/w1", "ip_address", "IPv4"),
        {"masters": (master(),), "workers": (worker(ip_address="fe80::1"),)}),
    Row("node_name in upper case", ("@fake/w1", "node_name", "lower-case"),
        {"masters": (master(),), "workers": (worker(node_name="Pi-1"),)}),
    Row("node_name with an underscore", ("@fake/w1", "node_name", "lower-case"),
        {"masters": (master(),), "workers": (worker(node_name="pi_1"),)}),
    Row("node_name too long for a certificate", ("@fake/w1", "node_name"),
        {"masters": (master(),), "workers": (worker(node_name=LONG[:60]),)}),
    Row("arch that the host is not", ("@fake/w1", "arm64", "x86_64"),
        {"masters": (master(),), "workers": (worker(arch="arm64"),)}),
    Row("arch by another name", ("@fake/w1", "arch", "amd64"),
        {"masters": (master(),), "workers": (worker(arch="x86_64"),)}),
    Row("another Kubernetes on one host", ("k8s_version", "v1.36.0", "v1.37.2"),
        {"masters": (master(),), "workers": (worker(k8s_version="v1.36.0"),)}, cli=True),
    Row("another pod network on one host", ("flannel_network", "10.2.0.0/16"),
        {"masters": (master(),), "workers": (worker(flannel_network="10.2.0.0/16"),)}),
    Row("another pod network on the master, a worker alone", ("flannel_network", "10.2.0.0/16"),
        {"masters": (master({"ca": "yes"}, flannel_network="10.2.0.0/16"),), "workers": (worker(),)}, entry="worker",
        limit="w1"),
    Row("a worker that joins with another Kubernetes", ("@fake/w1", "cluster of @fake/m1", "v1.36.4", "v1.37.2"),
        {"masters": (master({"ca": "yes", "record": {"name": "m1", "role": "master", "kubernetes": "v1.36.4"}}),),
         "workers": (worker(),)}, entry="worker", limit="w1"),
    Row("a worker that joins with another DNS address", ("@fake/w1", "dns_server_ip", "10.96.0.53", "10.96.0.10"),
        {"masters": (master({"ca": "yes", "record": {"name": "m1", "role": "master", "dns_server_ip": "10.96.0.53"}}),),
         "workers": (worker(),)}, entry="worker"),
    Row("workers before their master", ("its master @fake/m1 is none yet", "deploys/master.py", "deploys/cluster.py"),
        PAIR, entry="worker"),
    Row("more nodes than the pod network has subnets", ("10.1.0.0/22",),
        {"masters": (master(),), "workers": tuple(H(f"w{n}", f"10.0.0.{20 + n}") for n in range(4))},
        data={"flannel_network": "10.1.0.0/22"}),
    Row("turning down a host in no group", ("@fake/x1", "none of the groups"),
        {"masters": (master(),), "hosts": (H("x1", "10.0.0.20"),)}, entry="turndown"),
    *(
        Row(f"{what} of a worker alone", ("@fake/m1", "takes no part in the run", "--limit"), PAIR, entry=what,
            limit="w1", data={"restore_from": "/b"} if what == "restore" else {})
        for what in ("backup", "restore", "kubeconfig")
    ),
    Row("a kubeconfig without a master", ("masters",), {"workers": (worker(),)}, entry="kubeconfig"),
)  # fmt: skip

RUNNING = {"name": "/web", "restart": "no", "remove": False}

HOSTS = (
    host("no docker", "docker", "install Docker", cli=True, without_tools=("docker", "dockerd"), docker_version=""),
    host("no iptables", "iptables", "install", without_tools=("iptables",)),
    host("no iproute2", "ip", without_tools=("ip",), addresses="", links="", routes=""),
    host("fish", "chsh -s /bin/bash", quoting="\\"),
    host("no procps", "sysctl", "install", without_tools=("sysctl",)),
    host("no tar and no base64", "tar, base64", without_tools=("tar", "base64")),
    host("Docker is stopped", "Docker does not answer", "systemctl status docker", cli=True,
         docker_version="Cannot connect to the Docker daemon", active=""),
    host("Docker 20.10", "20.10.24", "API 1.41", "Docker 25", docker="20.10.24+dfsg1", api="1.41"),
    host("Docker 24", "24.0.9", "Docker 25", docker="24.0.9", api="1.43"),
    host("Docker 28.0", "28.0.4", "28.2", docker="28.0.4", api="1.48"),
    host("Docker 28.1", "28.1.1", "28.2", docker="28.1.1", api="1.49"),
    host("Docker says nonsense of its API", "API", docker="26.1.5", api="new"),
    Row("host-gw on Docker 28.5", ("@fake/m1", "28.5.2", "vxlan"),
        {"masters": (master({"docker": "28.5.2", "api": "1.51"}),)}, data={"flannel_backend": "host-gw"}),
    host("32-bit x86", "i686", "32-bit", machine="i686"),
    host("big-endian POWER", "ppc64", "ppc64le", machine="ppc64"),
    host("s390x", "s390x", machine="s390x"),
    host("riscv64", "riscv64", machine="riscv64"),
    host("an unknown machine", "vax", "amd64", machine="vax"),
    host("an arch without binaries", "arm", "not built", "amd64", machine="armv7l"),
    host("OpenRC", "OpenRC", "systemd", init="openrc"),
    host("sysvinit", "sysvinit", "systemd", init="sysvinit"),
    host("upstart", "upstart", "systemd", init="upstart"),
    host("no known init", "init", "systemd", init="unknown"),
    host("not root", "root", "_sudo", cli=True, user="1000"),
    host("a hostname that is none", "Debian_12", "node_name", name="Debian_12"),
    host("an empty hostname", "node_name", name=""),
    host("a hostname too long for a certificate", "node_name", name=LONG[:60]),
    host("no default route", "default route", "ip_address", routes="10.0.0.0/24 dev eth0 scope link"),
    host("a default route without an address", "ppp0", "10.0.0.12 on eth0", routes="default dev ppp0"),
    host("the LAN is in the pod network", "flannel_network", "10.1.0.0/16", "move", address="10.1.5.12"),
    host("the LAN is in the service network", "service_network", "10.96.0.0/12", address="10.100.0.12"),
    host("a VPN's route in the pod network", "flannel_network", "10.1.0.0/16", "tun0",
         routes="default via 10.0.0.1 dev eth0\n10.0.0.0/24 dev eth0\n10.1.0.0/16 via 10.8.0.1 dev tun0"),
    host("too little memory", "MiB", "needs", memory="450000"),
    host("the memory cgroup is off", "memory", "cgroup_enable=memory", cgroup_controllers="cpuset cpu io pids"),
    host("a name server on the host itself", "127.0.0.1", "/etc/resolv.conf", 'kubelet_extra_args = {"resolv-conf"',
         resolvers="there\n127.0.0.1"),
    host("name servers with IPv6 addresses alone", "2001:db8::53", "no IPv4 address", "kubelet_extra_args",
         resolvers="there\n2001:db8::53"),
    host("a kernel that was upgraded and still runs", "6.1.0-9-amd64", "vxlan", "reboot",
         missing_modules="vxlan\n== modules-gone", kernel="6.1.0-9-amd64"),
    host("a ufw that is open on another interface", "8472/udp", "ufw allow from 10.0.0.0/24",
         ufw="policy DROP\n-A ufw-user-input -i tailscale0 -j ACCEPT"),
    host("live-restore by DOCKER_OPTS after a turndown", "--live-restore", "take it out",
         docker_flags="-H\nfd://\n--live-restore",
         subnet__env="FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.1.1/24"),
    host("no resolv.conf", "/etc/resolv.conf", "make one", resolvers=""),
    host("a kernel without vxlan", "vxlan", "linux-modules-extra-5.15.0-1-raspi", missing_modules="vxlan",
         kernel="5.15.0-1-raspi"),
    host("firewalld runs", "firewalld", active="docker\nfirewalld"),
    host("/ is private", "mount --make-rshared", propagation="/ private"),
    host("a busy kubelet port", "10250", "ss -ltnp", listening="0016\n280A", cli=True),
    Row("a busy apiserver port", ("@fake/m1", "6443", "kube-apiserver"),
        {"masters": (master({"listening": "0016\n192B"}),), "workers": (worker(),)}),
    Row("a busy etcd port", ("@fake/m1", "2379", "etcd"),
        {"masters": (master({"listening": "0016\n094B"}),), "workers": (worker(),)}),
    host("another Kubernetes", "/etc/kubernetes/admin.conf", "kubeadm reset",
         foreign_kubernetes="/etc/kubernetes/admin.conf\n/etc/kubernetes/pki"),
    Row("etcd data without its authority", ("@fake/m1", "/var/lib/etcd", "/etc/kubernetes/pki/ca.crt"),
        {"masters": (master({"etcd_data": "yes"}),), "workers": (worker(),)}),
    Row("a new master under an old worker", ("w1", "@fake/m1 has neither", "deploys/restore.py", "purge_data=true"),
        {"masters": (master(),), "workers": (worker({"record": {"name": "w1", "role": "worker"}, "ca": "yes"}),)}),
    Row("a new master alone under an old worker", ("w1", "@fake/m1 has neither", "deploys/restore.py"),
        {"masters": (master(),), "workers": (worker({"record": {"name": "w1", "role": "worker"}, "ca": "yes"}),)},
        entry="master", limit="m1"),
    host("a full disk", "/var/lib/docker is full: 3 of 976 MiB", "docker system df",
         disks="1 1000000 4000 9000 9000 /var/lib/docker"),
    host("a node under another name", "name", "w1", "pi-7", record={"name": "pi-7"}),
    host("a master that became a worker", "role", "master", record={"name": "w1", "role": "master"}),
    host("a node at another address", "address", "10.0.0.77", record={"name": "w1", "address": "10.0.0.77"}),
    host("a node of another pod network", "10.2.0.0/16", "flannel_network",
         subnet__env="FLANNEL_NETWORK=10.2.0.0/16\nFLANNEL_SUBNET=10.2.3.1/24"),
    host("the restart would lose a container", "web", "docker update --restart=always", "allow_docker_restart",
         others=[RUNNING], cli=True),
    host("Docker with user namespaces", "--userns-remap=default", docker_flags="-H\nfd://\n--userns-remap=default"),
    host("a swarm", "docker swarm leave", swarm="yes"),
    host("no unit of docker", "ExecStart", docker_unit=""),
    host("--bip in the unit", "--bip", "take it out",
         docker_unit="# /lib/systemd/system/docker.service\n[Service]\nExecStart=/usr/bin/dockerd --bip=10.9.0.1/24"),
    host("--iptables=false in a drop-in", "iptables", "take it out",
         docker_unit="# /lib/systemd/system/docker.service\n[Service]\nExecStart=/usr/bin/dockerd -H fd://\n"
         "# /etc/systemd/system/docker.service.d/o.conf\n[Service]\nExecStart=\n"
         "ExecStart=/usr/bin/dockerd -H fd:// --iptables=false"),
    host("a password in the unit's command", "name and password", "Environment=", "daemon.json",
         docker_unit="# /x\n[Service]\nExecStart=/usr/bin/dockerd -H fd:// --http-proxy=http://***@proxy.lan:3128"),
    host("journald logs by DOCKER_OPTS", "--log-driver=journald", "take it out",
         docker_flags="-H\nfd://\n--log-driver=journald"),
    host("live-restore by DOCKER_OPTS", "--live-restore", "take it out", docker_flags="-H\nfd://\n--live-restore"),
    host("a clock that stands in 1970", "clock", time="86400"),
    host("a clock that is a day ahead", "clock", time="99999999999"),
    host("daemon.json is no JSON", "/etc/docker/daemon.json", "JSON", daemon_json='{"bip": "10.0.0.1/24",}', cli=True),
    host("daemon.json is a list", "/etc/docker/daemon.json", "JSON", daemon_json="[]"),
    *(
        host(f"daemon.json sets {key} to {value!r}", "/etc/docker/daemon.json", key, "take it out",
             daemon_json={key: value})
        for key, value in {
            "bip": "192.168.9.1/24", "fixed-cidr": "172.17.8.0/24", "default-gateway": "172.17.0.254",
            "bridge": "br0", "mtu": 1400, "ip-masq": True, "iptables": False, "ip-forward": False, "icc": False,
            "userland-proxy": True, "live-restore": True, "userns-remap": "default", "log-driver": "journald",
            "firewall-backend": "nftables", "allow-direct-routing": False, "exec-root": "/run/d",
        }.items()
    ),
    Row("sudo asks for a password", ("@fake/w1",),
        {"masters": (master(),), "workers": (H("w1", "10.0.0.12", answer={
            "success": False, "stderr": "sudo: a password is required"}),)}, cli=True),
    Row("a host that answers nothing", ("@fake/w1",),
        {"masters": (master(),), "workers": (H("w1", "10.0.0.12", answer=""),)}),
    Row("a host that answers with a login message", ("@fake/w1",),
        {"masters": (master(),), "workers": (H("w1", "10.0.0.12", answer="This account is currently not available."),)},
        cli=True),
)  # fmt: skip

ROWS: tuple[Row, ...] = (*SETTINGS, *INVENTORIES, *HOSTS)
