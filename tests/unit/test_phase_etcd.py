"""etcd: its flags word for word, on the first master alone, its data kept."""

from __future__ import annotations

from dataclasses import replace

from deploys.facts.etcd import ETCDCTL
from deploys.facts.found import Interface
from deploys.phases import etcd

from . import machines
from .harness import World, called

IMAGE = "registry.k8s.io/etcd:3.7.0-0"
SPEC = """\
option --net=host
option --oom-score-adj=-997
option --restart=always
option -v
option /var/lib/etcd:/var/lib/etcd
option -v
option /etc/kubernetes/pki/etcd:/etc/kubernetes/pki/etcd:ro
argument etcd
argument --name=m1
argument --data-dir=/var/lib/etcd
argument --listen-client-urls=https://127.0.0.1:2379,https://10.0.0.11:2379
argument --advertise-client-urls=https://10.0.0.11:2379
argument --listen-peer-urls=https://127.0.0.1:2380
argument --peer-cert-allowed-cn=m1
argument --initial-advertise-peer-urls=https://10.0.0.11:2380
argument --initial-cluster=m1=https://10.0.0.11:2380
argument --cert-file=/etc/kubernetes/pki/etcd/server.crt
argument --key-file=/etc/kubernetes/pki/etcd/server.key
argument --trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt
argument --client-cert-auth=true
argument --enable-grpc-gateway=false
argument --peer-cert-file=/etc/kubernetes/pki/etcd/peer.crt
argument --peer-key-file=/etc/kubernetes/pki/etcd/peer.key
argument --peer-trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt
argument --peer-client-cert-auth=true
argument --listen-metrics-urls=http://127.0.0.1:2381
argument --snapshot-count=10000
argument --feature-gates=InitialCorruptCheck=true
argument --watch-progress-notify-interval=5s
""".splitlines()


def test_its_flags_are_kubeadms_with_tls_on_every_port_and_clients_that_must_prove_who_they_are() -> None:
    lines = etcd.spec(World().node()).lines()
    assert lines[0] == f"image {IMAGE}"
    assert lines[1:] == SPEC


def test_it_listens_where_nodes_are_told_to_ask_if_that_is_an_address_of_the_host() -> None:
    found = machines.found("m1", "10.0.0.11")
    second = replace(found, interfaces=(*found.interfaces, Interface("eth1", "192.168.9.1", 24, 1500)))
    for platform, listens in ((found, ""), (second, ",https://192.168.9.1:2379")):
        node = World(data={"master_ip": "192.168.9.1"}, platforms={"m1": platform}).node()
        urls = f"https://127.0.0.1:2379,https://10.0.0.11:2379{listens}"
        assert f"argument --listen-client-urls={urls}" in etcd.spec(node).lines()


def test_it_runs_on_the_first_master_in_the_bootstrap_daemon_and_is_waited_for() -> None:
    here = World(workers=["w1"])
    container, wait, access = called(etcd, here)
    assert container == ("container", {"daemon": "bootstrap", "container": "etcd", "spec": etcd.spec(here.node())})
    assert (wait[0], wait[1]["test"], wait[1]["when"]) == ("wait_for", f"{ETCDCTL} endpoint health", ["container"])
    assert wait[1]["limit"] == 180
    assert access == ("access_limited", {})
    assert called(etcd, here, "w1") == []


def test_its_data_goes_with_purge_data_only() -> None:
    gone = ("no_container", {"daemon": "bootstrap", "container": "etcd"})
    assert called(etcd, World(), removal=True) == [gone]
    purged = called(etcd, World(data={"purge_data": True}), removal=True)
    assert purged == [gone, ("no_directories", {"paths": ("/var/lib/etcd",)})]
