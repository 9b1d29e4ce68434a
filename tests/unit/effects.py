"""What each option does: a value other than the default, and what the plans then say that they did not say before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deploys.facts.docker import Other
from deploys.record import PKI


@dataclass(frozen=True)
class Effect:
    """One option's effect.

    :param value: another value than the default.
    :param comes: what the commands or the plan hold with it and do not hold without.
    :param goes: what they hold without it and no longer with it.
    :param entry: the deploy whose run shows it.
    :param beside: other settings, set in both runs.
    :param machine: what is special about the worker's machine, in both runs.
    :param worker_alone: the run is limited to the worker.
    :param installed: whether the hosts are nodes already; those of other entries than cluster always are.
    """

    value: Any
    comes: tuple[str, ...]
    goes: tuple[str, ...] = ()
    entry: str = "cluster"
    beside: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    runs: tuple[Other, ...] = ()
    """Containers of somebody else's on the worker."""
    worker_alone: bool = False
    installed: bool = False


NEXT = "\n      +     "
"""From one line of a new file to the next, in a plan."""
TWO_ADDRESSES = {
    "addresses": "1: lo inet 127.0.0.1/8 scope host lo\n2: eth0 inet 10.0.0.12/24 scope global eth0\n"
    "3: eth1 inet 10.7.0.12/24 scope global eth1",
    "links": "2: eth0: <UP> mtu 1500\n3: eth1: <UP> mtu 9000",
}

EFFECTS: Mapping[str, Effect] = {
    "k8s_version": Effect("v1.36.1", ("registry.k8s.io/kube-apiserver:v1.36.1", "registry.k8s.io/etcd:3.6.8-0",
                                      "release/v1.36.1/bin/linux/amd64/kubelet"), ("kube-proxy:v1.37.2",)),
    "etcd_version": Effect("3.5.9-0", ("registry.k8s.io/etcd:3.5.9-0",), ("etcd:3.7.0-0",)),
    "flannel_version": Effect("v0.27.0", ("flannel-io/flannel:v0.27.0",), ("flannel:v0.28.10",)),
    "flannel_network": Effect("10.200.0.0/16", ('"Network": "10.200.0.0/16"', "FLANNEL_SUBNET=10.200.1.1/24"),
                              ("FLANNEL_SUBNET=10.1.1.1/24",)),
    "flannel_backend": Effect("host-gw", ('"Type": "host-gw"', "FLANNEL_MTU=1500"), ("FLANNEL_MTU=1450",)),
    "flannel_ipmasq": Effect(False, ("argument --ip-masq=false", "FLANNEL_IPMASQ=false"), ("FLANNEL_IPMASQ=true",)),
    "service_network": Effect("10.222.0.0/16", ("--service-cluster-ip-range=10.222.0.0/16", "10.222.0.10"),
                              ("10.96.0.0/12",)),
    "dns_domain": Effect("k8s.lan", ('clusterDomain: "k8s.lan"', "kubernetes k8s.lan in-addr.arpa",
                                     "kubernetes.default.svc.k8s.lan"), ("cluster.local",)),
    "dns_server_ip": Effect("10.96.0.53", ("- 10.96.0.53", "clusterIP: 10.96.0.53"), ("10.96.0.10",)),
    "restart_policy": Effect("unless-stopped", ("--restart=unless-stopped",), ("--restart=always",)),
    "master_ip": Effect("10.0.0.250", ("--etcd-endpoints=https://10.0.0.250:2379", "server: https://10.0.0.250:6443"),
                        ("server: https://10.0.0.11:6443",)),
    "ip_address": Effect("10.7.0.12", ("node-ip=10.7.0.12", "--iface=10.7.0.12"), ("node-ip=10.0.0.12",),
                         machine=TWO_ADDRESSES),
    "net_interface": Effect("eth1", ("node-ip=10.7.0.12", "FLANNEL_MTU=8950"), ("node-ip=10.0.0.12",),
                            machine=TWO_ADDRESSES),
    "arch": Effect("arm", ("is arm, for which Kubernetes",), machine={"machine": "aarch64"}),
    "node_name": Effect("pi-7", ("--hostname-override=pi-7", "CN=system:node:pi-7"), ("hostname-override=w1",)),
    "image_registry": Effect("r.lan:5000", ("r.lan:5000/kube-apiserver:", "r.lan:5000/flannel-io/flannel:",
                             "r.lan:5000/coredns/coredns:", "r.lan:5000/library/debian:", "r.lan:5000/pause:"),
                             ("registry.k8s.io", "ghcr.io", "docker.io/library")),
    "node_image": Effect("r.lan/node:1", ("Will pull onto the main daemon:\n      r.lan/node:1", "image r.lan/node:1"),
                         ("Will build image",)),
    "binaries_url": Effect("http://m.lan", ("http://m.lan/release/v1.37", "http://m.lan/Mirantis/cri-dockerd"),
                           ("https://dl.k8s.io", "https://github.com/Mirantis")),
    "http_proxy": Effect("http://p.lan:1", ('"HTTP_PROXY=http://p.lan:1"', "--build-arg=http_proxy=http://p.lan:1",
                                            "NO_PROXY=127.0.0.1,localhost,10.0.0.0/24,10.1.0.0/16,10.96.0.0/12")),
    "https_proxy": Effect("http://p.lan:2", ('"HTTPS_PROXY=http://p.lan:2"', "--build-arg=https_proxy=http://p.lan:2")),
    "no_proxy": Effect(".corp", (".svc,.corp",), beside={"http_proxy": "http://p.lan:1"}),
    "apiserver_cert_sans": Effect("k8s.example.org", ("k8s.example.org",)),
    "certificate_days": Effect(30, ("lifetime: 30 days",), ("lifetime: 365 days",)),
    "renew_certificates": Effect(True, (f"{PKI}/admin.crt, because renew_certificates asks for it",), installed=True),
    "apiserver_extra_args": Effect({"v": "7"}, (f'{PKI}/apiserver.key"{NEXT}- "--v=7"',)),
    "controller_manager_extra_args": Effect({"v": "7"}, (f'account-credentials=true"{NEXT}- "--v=7"',)),
    "scheduler_extra_args": Effect({"v": "7"}, (f'--profiling=false"{NEXT}- "--v=7"',)),
    "kubelet_extra_args": Effect({"v": "7"}, ("argument --node-ip=10.0.0.12\n      + argument --v=7",)),
    "kubelet_paths": Effect("/data,/srv", ("option /data:/data:rslave", "mkdirs /data\n"),
                            ("option /opt:/opt:rslave",)),
    "kube_proxy_extra_args": Effect({"v": "7"}, (f'--hostname-override=w1"{NEXT}- "--v=7"',)),
    "etcd_extra_args": Effect({"quota-backend-bytes": "1"}, ("argument --quota-backend-bytes=1",)),
    "addons": Effect("coredns", (), ("metrics-server", "headlamp")),
    "allow_docker_restart": Effect(True, ("restarts the running containers web",), ("allow_docker_restart=true",),
                                   runs=(Other("web", "no", False),)),
    "timeout_for_services": Effect(77, ("waited 77 s for", "%s)+77"), ("%s)+180",)),
    "timeout_for_images": Effect(99, ("timeout 99 docker",), ("timeout 1800 docker",)),
    "timeout_for_drain": Effect(42, ("drain node w1, for at most 42 s",), ("at most 180 s",), entry="turndown",
                                worker_alone=True),
    "kubeconfig_path": Effect("/tmp/their-config", ("/tmp/their-config",), entry="kubeconfig"),
    "kubeconfig_server": Effect("k8s.lan", ("https://k8s.lan:6443",), ("https://10.0.0.11:6443",), entry="kubeconfig",
                                beside={"apiserver_cert_sans": "k8s.lan"}),
    "status_format": Effect("json", ('"nodes": [',), entry="status"),
    "evidence_path": Effect("/todays.tar.gz", ("write them into /todays.tar.gz",), ("docker-multinode-evidence-20",),
                            entry="evidence"),
    "backup_path": Effect("/cluster.tar.gz", ("Will copy it to /cluster.tar.gz on this machine",), entry="backup"),
    "restore_from": Effect("/b/cluster.tar.gz", ("/b/cluster.tar.gz is neither there nor on this machine",),
                           ("restore_from names no backup",), entry="restore"),
    "purge_data": Effect(True, ("|| rm -f /var/lib/docker-multinode; rm -rf",), ("purge_data=true removes these too",),
                         entry="turndown"),
}  # fmt: skip
