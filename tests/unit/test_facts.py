"""What the facts make of what real hosts answered, and what they ask."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import FactBase, FactProcessError, StringCommand

from deploys.facts.daemons import DaemonsFact
from deploys.facts.docker import LABEL
from deploys.facts.etcd import RESERVATIONS, EtcdSubnets, Subnets
from deploys.facts.files import HostFiles
from deploys.facts.found import RESOLV_CONF, RESOLVED, Interface
from deploys.facts.kernel import Kernel
from deploys.facts.kubernetes import ClusterNodes, NodeState, Objects, Pods, TakenFields
from deploys.facts.leftovers import Leftovers
from deploys.facts.platform import Platform
from deploys.managed_fields import Taken

from . import machines
from .samples import edited, lines
from .test_scripts import program, sh


def asked(fact: FactBase[Any], **arguments: object) -> str:
    """The shell command of a fact."""
    return StringCommand(fact.command(**arguments)).get_raw_value()


def test_platform_of_a_fresh_debian_with_docker_26() -> None:
    found = Platform().process(lines("platform-fresh-docker26"))
    assert (found.machine, found.name, found.uid, found.init) == ("x86_64", "n3", 0, "systemd")
    assert found.interface("eth0") == Interface("eth0", "10.89.0.13", 24, 1500)
    assert found.interface("docker0") == Interface("docker0", "172.17.0.1", 16, 1500)
    assert found.interface("wlan0") is None
    assert found.default_interface == "eth0"
    assert found.routes == ("10.89.0.0/24 eth0", "172.17.0.0/16 docker0")
    assert (found.docker_version, found.docker_api) == ("26.1.5+dfsg1", "1.45")
    assert (found.docker_root, found.swarm) == ("/var/lib/docker", False)
    assert found.dockerd == "/usr/sbin/dockerd"
    assert found.docker_unit[0] == "# /usr/lib/systemd/system/docker.service"
    assert 22 in found.listening
    assert 6443 not in found.listening
    assert found.propagation["/"] == "shared"
    assert found.active == {"docker"}
    assert "memory" in found.controllers
    assert found.memory_kib == 24684100
    assert found.daemon_json is not None
    assert found.daemon_json["storage-driver"] == "overlay2"
    assert (found.record, found.subnet_env, found.foreign_kubernetes) == ({}, "", ())
    assert (found.etcd_data, found.etcd_ca) == (False, False)


def test_platform_of_a_master_in_a_cluster() -> None:
    found = Platform().process(lines("platform-master"))
    assert found.record == {"name": "n1", "role": "master", "address": "10.89.0.11"}
    assert "FLANNEL_SUBNET=10.1.1.1/24" in found.subnet_env
    assert (found.etcd_data, found.etcd_ca) == (True, True)
    assert {6443, 2379, 10250} <= found.listening
    assert "10.1.2.0/24 flannel.1" in found.routes
    assert any(line.startswith("ExecStart=") and "--bip" in line for line in found.docker_unit)


def test_platform_of_docker_28() -> None:
    assert Platform().process(lines("platform-fresh-docker28")).docker_version == "28.5.2+dfsg4"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", {}), ("{}", {}), ('{"bip": "10.0.0.1/24"}', {"bip": "10.0.0.1/24"}), ("[]", None), ("{", None), ("7", None)],
)
def test_daemon_json_is_told_from_one_that_is_broken(text: str, expected: object) -> None:
    assert machines.found(daemon_json=text).daemon_json == expected


def test_a_second_default_route_does_not_count() -> None:
    found = machines.found(routes="default via 10.0.0.1 dev eth0 metric 100\ndefault via 10.9.0.1 dev wlan0 metric 600")
    assert (found.default_interface, found.routes) == ("eth0", ())


def test_a_vlan_interface_is_named_without_its_parent() -> None:
    found = machines.found(
        addresses="5: eth0.7@eth0    inet 10.7.0.5/24 scope global eth0.7",
        links="5: eth0.7@eth0: <UP> mtu 1496 qdisc x",
    )
    assert found.interfaces == (Interface("eth0.7", "10.7.0.5", 24, 1496),)


def test_platform_asks_docker_only_where_its_unit_runs_and_never_for_long() -> None:
    script = asked(Platform())
    runs = "if [ ! -d /run/systemd/system ] || active docker; then"
    before, after = script.split(runs, 1)
    commands = re.compile(r"docker (version|info|ps|inspect)\b")
    assert len(commands.findall(after)) == after.count("timeout 15 docker version") == 1
    assert not commands.search(before)


def test_daemons_of_a_master() -> None:
    found = DaemonsFact().process(lines("daemons-master"))
    assert (found.bootstrap.active, found.bootstrap.enabled, found.bootstrap.down) == (True, True, False)
    assert found.bootstrap.environment == {"DOCKER_MULTINODE_REVISION": "60b830b12616"}
    assert set(found.bootstrap.containers) == {"etcd", "flannel"}
    flannel = found.bootstrap.containers["flannel"]
    assert flannel.running
    assert flannel.spec[0] == "image 10.89.255.1:5000/flannel-io/flannel:v0.28.10"
    image = "sha256:08f56b28d1fea60a6326e8379d00505a039783ca53b84b7795e39b3d2874def2"
    assert found.bootstrap.images["10.89.255.1:5000/flannel-io/flannel:v0.28.10"] == image
    assert "--bip=10.1.1.1/24" in found.main.command
    assert found.docker0 == "10.1.1.1/24"
    assert not found.main.down
    assert set(found.main.containers) == {"kubelet"}
    assert found.of("bootstrap") is found.bootstrap
    assert found.of("main") is found.main


def test_daemons_of_a_fresh_host() -> None:
    found = DaemonsFact().process(lines("daemons-fresh"))
    assert (found.bootstrap.active, found.bootstrap.enabled, found.bootstrap.down) == (False, False, False)
    assert (found.bootstrap.command, found.bootstrap.environment, found.bootstrap.containers) == ((), {}, {})
    assert (found.main.active, found.main.down, found.main.containers) == (True, False, {})
    assert found.docker0 == "172.17.0.1/16"


def test_docker0_may_have_an_address_of_its_owners_beside_dockers() -> None:
    theirs, ours = (
        f"5: docker0    inet {address} scope global docker0" for address in ("172.17.0.1/16", "10.1.1.1/24")
    )
    for both in ((theirs, ours), (ours, theirs)):
        assert DaemonsFact().process(edited("daemons-master", {"docker0": "\n".join(both)})).docker0 == "10.1.1.1/24"
    assert DaemonsFact().process(edited("daemons-master", {"docker0": theirs})).docker0 == "172.17.0.1/16"


def test_a_container_that_restarts_again_and_again_is_not_running() -> None:
    row = {"name": "/etcd", "state": {"Running": True, "Restarting": True}, "labels": {LABEL: '["image x"]'}}
    found = DaemonsFact().process(edited("daemons-master", {"docker-bootstrap containers": json.dumps(row)}))
    etcd = found.bootstrap.containers["etcd"]
    assert (etcd.running, etcd.spec) == (False, ["image x"])


def test_a_label_that_is_no_json_is_a_specification_that_is_unknown() -> None:
    row = {"name": "/etcd", "state": {}, "labels": {LABEL: "{"}}
    found = DaemonsFact().process(edited("daemons-master", {"docker-bootstrap containers": json.dumps(row)}))
    assert found.bootstrap.containers["etcd"].spec is None


def test_the_samples_have_the_very_keys_that_docker_inspect_is_asked_for() -> None:
    wanted = re.findall(r'"(\w+)":\{\{json', asked(DaemonsFact()))[:3]
    for sample in ("daemons-master", "daemons-worker"):
        rows = [json.loads(line) for line in lines(sample) if line.startswith('{"name"')]
        assert len(rows) > 1
        assert all(list(row) == wanted for row in rows)


def test_a_unit_whose_text_changed_since_needs_a_reload() -> None:
    text = "LoadState=loaded\nActiveState=active\nUnitFileState=disabled\nNeedDaemonReload=yes"
    found = DaemonsFact().process(edited("daemons-fresh", {"docker unit": text}))
    assert (found.main.needs_reload, found.main.enabled) == (True, False)


def test_daemons_are_asked_for_no_longer_than_20_seconds_and_only_while_active() -> None:
    script = asked(DaemonsFact())
    assert 'd="timeout 20 docker -H unix://$socket"' in script
    assert script.index("'ActiveState=(active|reloading|refreshing)' || return 0") < script.index("$d ps")


def test_files_of_a_master_have_contents_but_never_a_key() -> None:
    found = HostFiles().process(lines("files-master"))
    key = found.ours("/etc/kubernetes/pki/ca.key")
    assert key is not None
    assert (key.mode, key.owner, key.content) == ("600", "0:0", None)
    assert found.content("/etc/kubernetes/pki/ca.crt").startswith("-----BEGIN CERTIFICATE-----")
    assert found.subnet_env["FLANNEL_SUBNET"] == "10.1.1.1/24"
    assert found.kubelet_client.startswith("-----BEGIN CERTIFICATE-----")
    assert "PRIVATE" not in found.kubelet_client
    assert all(f.content is None for path, f in found.files.items() if path.endswith((".key", ".pem")))


def test_names_of_containers_that_are_not_ours_are_told() -> None:
    sample = lines("daemons-master")
    sample.insert(sample.index("== docker containers"), "== docker names")
    rows = ["1f|kubelet|ours", "2e|db,web/db|other", "3d|idle|", "4c|k8s_POD_x|program"]
    sample[sample.index("== docker containers") : sample.index("== docker containers")] = rows
    found = DaemonsFact().process(sample).main
    assert set(found.containers) == {"kubelet"}
    assert found.others == {"db", "web/db", "idle", "k8s_POD_x"}


def test_a_file_beside_ours_is_foreign_and_is_not_read() -> None:
    stat = "644 0:0 5 /etc/kubernetes/manifests/theirs.yaml\n644 0:0 5 /etc/kubernetes/a b.yaml"
    found = HostFiles().process(edited("files-fresh", {"stat": stat}))
    assert set(found.files) == {"/etc/kubernetes/manifests/theirs.yaml", "/etc/kubernetes/a b.yaml"}
    assert found.ours("/etc/kubernetes/manifests/theirs.yaml") is None
    assert found.content("/etc/kubernetes/manifests/theirs.yaml") == ""


def test_files_asks_for_keys_neither_by_content_nor_by_checksum() -> None:
    script = asked(HostFiles())
    assert r"grep -v -e '\.key$' -e '\.pem$'" in script
    assert "sed -n '/-BEGIN CERT/,/-END CERT/p'" in script


def test_files_of_a_fresh_host() -> None:
    found = HostFiles().process(lines("files-fresh"))
    assert (found.files, found.subnet_env, found.kubelet_client) == ({}, {}, "")


def test_kernel_before_and_after() -> None:
    fresh, used = (Kernel().process(lines(f"kernel-{n}")) for n in ("fresh", "master"))
    assert fresh.modules == {"br_netfilter", "vxlan"}
    assert fresh.sysctls["net.ipv4.ip_forward"] == "1"
    assert fresh.before == {}
    assert used.before["vm.overcommit_memory"] == "0"
    assert used.before["module vxlan"] == "loaded"


@pytest.mark.parametrize(
    ("ports", "addresses", "proxied"),
    [
        ({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "80"}, {"HostIp": "::", "HostPort": "80"}]}, " ", True),
        ({"80/tcp": [{"HostIp": "::", "HostPort": "80"}]}, "invalid IP ", True),
        ({"80/tcp": [{"HostIp": "::", "HostPort": "80"}]}, " fd00::2 ", False),
        ({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "80"}], "81/tcp": None}, " ", False),
        (None, "", False),
    ],
)
def test_a_container_is_known_whose_ports_dockers_proxy_carries_over_ipv6(
    ports: object, addresses: str, proxied: bool
) -> None:
    row = {"name": "/web", "restart": "no", "remove": False, "ports": ports, "addresses": addresses}
    found = DaemonsFact().process(edited("daemons-master", {"docker containers": f"other {json.dumps(row)}"}))
    assert [other.proxied for other in found.main.running_others] == [proxied]


@pytest.mark.parametrize(
    ("inside", "published", "networks", "serves"),
    [
        ("53/udp", "53", "pihole_default ", True),
        ("5353/udp", "53", "pihole_default ", True),
        ("53/tcp", "53", "pihole_default ", False),
        ("53/udp", "5353", "pihole_default ", False),
        ("53/udp", "53", "bridge ", False),
    ],
)
def test_a_container_is_known_that_answers_dns_for_the_host(
    inside: str, published: str, networks: str, serves: bool
) -> None:
    ports = {inside: [{"HostIp": "0.0.0.0", "HostPort": published}]}
    row = {"name": "/pihole", "restart": "always", "remove": False, "ports": ports, "networks": networks}
    found = DaemonsFact().process(edited("daemons-master", {"docker containers": f"other {json.dumps(row)}"}))
    assert [other.name_server for other in found.main.running_others] == [serves]


def test_kernel_asks_for_the_sysctls_of_other_bridges_too() -> None:
    script = asked(Kernel())
    assert "grep -sH . /proc/sys/net/ipv4/ip_forward /proc/sys/net/" in script
    assert " /proc/sys/net/ipv4/conf/docker0/route_localnet /proc/sys/net/ipv4/conf/br-" in script


def test_leftovers_of_a_master() -> None:
    found = Leftovers().process(lines("leftovers-master"))
    assert {"/var/lib/etcd", "/var/lib/kubelet"} <= found.paths
    assert {"flannel.1", "docker-boot0", "docker0"} <= found.links
    assert len(found.pods) == 16


def test_leftovers_know_chains_by_table() -> None:
    found = Leftovers().process(edited("leftovers-fresh", {"chains": "nat KUBE-SERVICES\nfilter FLANNEL-FWD"}))
    assert found.chains == ("nat KUBE-SERVICES", "filter FLANNEL-FWD")


def etcd(keys: str) -> list[str]:
    """What etcdctl answers."""
    return ["== keys", keys, "== end"]


def test_etcd_of_two_nodes() -> None:
    found = EtcdSubnets().process(lines("etcd-two-nodes"))
    assert found.answers
    assert json.loads(found.config)["Network"] == "10.1.0.0/16"
    assert found.reservations == {"n1": "10.1.1.0/24", "n2": "10.1.2.0/24"}
    assert found.leases == {"10.89.0.11": "10.1.1.0/24", "10.89.0.12": "10.1.2.0/24"}


def test_etcd_with_a_lease_that_is_no_json_still_knows_that_the_subnet_is_taken() -> None:
    pair = {"key": base64.b64encode(b"/coreos.com/network/subnets/10.1.9.0-24").decode(), "value": "e30="}
    found = EtcdSubnets().process(etcd(json.dumps({"kvs": [pair]})))
    assert list(found.leases.values()) == ["10.1.9.0/24"]


def test_an_etcd_without_keys_is_not_one_that_has_not_answered() -> None:
    assert EtcdSubnets().process(etcd("")) == Subnets(False, "")
    assert EtcdSubnets().process(etcd('{"header": {}}')) == Subnets(True, "")


def test_etcd_is_asked_for_flannels_keys_and_reservations_and_no_others() -> None:
    start, end = asked(EtcdSubnets()).split("-w json ", 1)[1].split(" 2>")[0].split()
    for key, inside in (
        ("/coreos.com/network/config", True),
        (f"{RESERVATIONS}/10.1.255.0-24", True),
        ("/registry/secrets/x", False),
        ("/docker-multinode/subnets1", False),
    ):
        assert (start <= key < end) is inside


@pytest.mark.parametrize("line", ["Error: context deadline exceeded", "[]", '{"kvs": [{}]}'])
def test_etcd_that_answers_something_else_fails_the_fact(line: str) -> None:
    with pytest.raises(FactProcessError, match="etcdctl"):
        EtcdSubnets().process(etcd(line))


@pytest.mark.parametrize("subnet", ["", "n3", "10.1.3.0", "10.1.3.1-24", "$(reboot)-24", "10.1.3.0-24\n10.1.4.0-24"])
def test_a_reservation_of_no_subnet_fails_the_fact_and_is_never_a_part_of_a_command(subnet: str) -> None:
    key, node = (base64.b64encode(t.encode()).decode() for t in (f"/docker-multinode/subnets/{subnet}", "n3"))
    with pytest.raises(FactProcessError, match="/docker-multinode/subnets/"):
        EtcdSubnets().process(etcd(json.dumps({"kvs": [{"key": key, "value": node}]})))


def test_a_docker_of_which_the_words_are_written_otherwise_is_understood() -> None:
    said = {"Version": "29.0.0", "APIVersion": "1.52", "MinAPIVersion": "1.44", "Arch": "arm64"}
    found = Platform().process(edited("platform-fresh-docker28", {"docker_version": json.dumps(said)}))
    assert (found.docker_version, found.docker_api, found.docker_min_api, found.docker_arch) == (
        "29.0.0", "1.52", "1.44", "arm64")  # fmt: skip


@pytest.mark.parametrize(
    ("said", "flushed", "rules"),
    [
        ("-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -o docker0 -j ACCEPT", False, 1),
        ("-P FORWARD DROP\n-A FORWARD -j DOCKER-USER", False, 0),
        ("-P FORWARD ACCEPT", True, 0),
        ("", False, 0),  # it could not be asked
    ],
)
def test_it_is_known_whether_dockers_rules_are_there(said: str, flushed: bool, rules: int) -> None:
    found = DaemonsFact().process(edited("daemons-master", {"filter": said}))
    assert (found.flushed, len(found.rules)) == (flushed, rules)


def test_nodes_that_have_joined() -> None:
    n1, n2 = (ClusterNodes().process(lines("nodes-two")) or {}).values()
    assert "node-role.kubernetes.io/control-plane=" in n1.labels
    assert n2 == NodeState(
        True, "0c2b7a5e9f4d4f0b8e1f3d6a5c9b7e22", "10.89.0.12", "v1.37.2",
        labels=frozenset({"beta.kubernetes.io/os=linux", "kubernetes.io/hostname=n2"}),
        boot_id="5a6c1f0e-6a7f-4d07-9a52-0c2f8a3f1b11",
    )  # fmt: skip
    info = '{"machineID":"a","kubeletVersion":"v1.37.2","bootID":"b"}'
    true = [{"type": kind, "status": "True"} for kind in ("DiskPressure", "Ready", "NetworkUnavailable")]
    address = '[{"type":"Hostname","address":"x"},{"type":"InternalIP","address":"10.0.0.1"}]'
    rows = ["n1", "", "", "", "", "n2", info, address, json.dumps(true), "{}"]
    assert ClusterNodes().process(["== nodes", *rows, "== answered", "== end"]) == {
        "n1": NodeState(False), "n2": NodeState(True, "a", "10.0.0.1", "v1.37.2", ("DiskPressure",), boot_id="b"),
    }  # fmt: skip


def test_what_a_kubelet_says_of_its_node_makes_no_other_and_changes_no_terminal() -> None:
    info = json.dumps({"machineID": "a\n\n--all\nx|y", "kubeletVersion": "v1\x1b[2K", "bootID": 7})
    said = ["== nodes", "n1", info, "[]", "[]", "null", "== answered", "== end"]
    (found,) = (ClusterNodes().process(said) or {}).items()
    assert found[0] == "n1"
    assert all(text.isprintable() for text in (found[1].machine_id, found[1].version, found[1].boot_id))
    for wrong in (["--all", "", "", "", ""], ["n1", "{", "", "", ""], ["n1", "", "[7]", "", ""], ["n1", ""]):
        with pytest.raises(FactProcessError, match="kubectl gave"):
            ClusterNodes().process(["== nodes", *wrong, "== answered", "== end"])


def test_an_api_without_nodes_is_not_an_api_that_does_not_answer() -> None:
    assert ClusterNodes().process(["== nodes", "== answered", "== end"]) == {}
    assert ClusterNodes().process(["== nodes", "n1", "", "", "", "", "== end"]) is None


def test_objects_that_are_as_they_should_be() -> None:
    found = Objects().process(["== rc 0", "== diff", "", "== labelled", "coredns Service kube-system kube-dns",
                               "cluster ClusterRoleBinding  kubeadm:cluster-admins", "== end"])  # fmt: skip
    assert (found.answers, found.diff) == (True, ())
    assert found.labelled == (
        ("coredns", "Service", "kube-system", "kube-dns"),
        ("cluster", "ClusterRoleBinding", "", "kubeadm:cluster-admins"),
    )


def test_objects_that_differ() -> None:
    diff = ["diff -u -N /tmp/LIVE-1/v1.Service.kube-system.kube-dns /tmp/MERGED-2/v1.Service.kube-system.kube-dns",
            "--- /tmp/LIVE-1", "+++ /tmp/MERGED-2", "-  a: 1", "+  a: 2"]  # fmt: skip
    found = Objects().process(["== rc 1", "== diff", *diff, "== labelled", "== end"])
    assert (found.answers, found.error) == (True, "")
    assert found.diff[-2:] == ("-  a: 1", "+  a: 2")


@pytest.mark.parametrize("rc", ["1", "124", "255"])
def test_objects_of_an_api_that_does_not_answer(rc: str) -> None:
    found = Objects().process(
        [f"== rc {rc}", "== diff", "Unable to connect to the server: EOF", "== labelled", "== end"]
    )
    assert (found.answers, found.diff, found.error) == (False, (), "Unable to connect to the server: EOF")


def test_objects_send_the_manifest_to_kubectl_diff_by_the_server() -> None:
    text = asked(Objects(), manifest="a: 'b'\n$(reboot)")
    assert base64.b64encode(b"a: 'b'\n$(reboot)").decode() in text
    assert "reboot" not in text
    assert "diff --server-side --field-manager=docker-multinode -f -" in text


def test_an_object_of_which_somebody_else_has_set_a_field_would_not_be_applied() -> None:
    said = 'error: Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas'
    found = Objects().process(["== rc 1", "== diff", said, "== labelled", "== end"])
    assert (found.answers, found.taken) == (False, True)
    assert TakenFields().process(["== 0", "== 1", said, "== 2", "== end"]) == {1: (Taken("kubectl", ".spec.replicas"),)}


def test_each_object_is_asked_by_itself_whose_fields_are_taken() -> None:
    text = asked(TakenFields(), documents=("a: 1", "b: $(reboot)"))
    assert f"ask 1 {base64.b64encode(b'b: $(reboot)').decode()}" in text
    assert "--dry-run=server" in text


@pytest.mark.parametrize(
    ("stub", "resolved", "active", "expected"),
    [
        (None, "", "inactive", None),
        ("# nameserver 10.0.0.9\nsearch lan\n", "", "inactive", ()),
        ("nameserver 127.0.0.53\n", "nameserver 10.0.0.1\nnameserver\t10.0.0.2\n", "inactive", ("127.0.0.53",)),
        ("nameserver 127.0.0.53\n", "nameserver 10.0.0.1\nnameserver\t10.0.0.2\n", "active", ("10.0.0.1", "10.0.0.2")),
        (None, "nameserver 10.0.0.1\n", "active", None),
    ],
)
def test_name_servers_are_those_that_systemd_resolved_asks_where_it_runs(
    stub: str | None, resolved: str, active: str, expected: tuple[str, ...] | None, tmp_path: Path
) -> None:
    units = f"ActiveState=inactive\n\nActiveState=inactive\n\nActiveState={active}"
    program(tmp_path / "bin", "systemctl", f"[ $1 = cat ] || echo '{units}'")
    script = asked(Platform()).replace("/run/systemd/system", str(tmp_path))
    for path, text in ((RESOLV_CONF, stub), (RESOLVED, resolved)):
        name = path.replace("/", "_")
        script = script.replace(path, f"{tmp_path}/{name}")
        if text is not None:
            (tmp_path / name).write_text(text)
    found = Platform().process(sh(script, path=str(tmp_path / "bin")).stdout.splitlines())
    assert found.resolvers == expected
    assert found.searches == (active == "inactive" and "search" in (stub or ""))


def test_the_file_of_the_name_servers_is_told_without_links(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("nameserver 10.0.0.1\n")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    program(tmp_path / "bin", "systemctl", "false")
    script = asked(Platform()).replace(RESOLV_CONF, f"{tmp_path}/link")
    found = Platform().process(sh(script, path=str(tmp_path / "bin")).stdout.splitlines())
    assert (found.resolvers, found.resolv_conf) == (("10.0.0.1",), f"{tmp_path}/kept")


def test_pods_that_do_not_run_are_told_but_not_those_that_are_over() -> None:
    assert Pods().process(lines("pods-two")) == ["kube-system/etcd-n1 is CrashLoopBackOff", "default/web-0 is Pending"]
    over = "default/job-1 Succeeded false\nkube-system/headlamp-x Failed\ndefault/job-2 Failed false"
    assert Pods().process(edited("pods-two", {"pods": over})) == []
