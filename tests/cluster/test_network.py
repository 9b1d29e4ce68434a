"""Who may do what in etcd, who gets which subnet, and changes of the network under a running cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from deploys.facts.etcd import RESERVATIONS, Subnets, subnet_key
from deploys.operations.flannel import reservation
from tests.lab.hosts import Host

from .cluster import BOOTSTRAP, ETCDCTL, GET, KUBECTL, WEB, Cluster, pod, service, web
from .product import assert_empty
from .report import Figure
from .waiting import until

PKI = "/etc/kubernetes/pki/etcd"
SUBNETS = "/coreos.com/network/subnets"
SECRETS = "/registry/secrets/"
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


def _image(cluster: Cluster, container: str) -> str:
    return cluster.master.run(f"{BOOTSTRAP} inspect -f '{{{{.Config.Image}}}}' {container}").stdout.strip()


# ---- etcd, asked with a worker's certificate


@pytest.fixture(scope="module")
def as_worker(cluster: Cluster) -> Iterator[Callable[[str], tuple[bool, str]]]:
    """Call etcdctl on a worker, with all that its root has: whether it was done, and what it said."""
    worker, image = cluster.workers[0], _image(cluster, "etcd")
    worker.run(f"{BOOTSTRAP} pull -q {image}")

    def call(words: str) -> tuple[bool, str]:
        done = worker.run(
            f"timeout 60 {BOOTSTRAP} run --rm -i --net=host -v {PKI}:{PKI}:ro {image} etcdctl --command-timeout=10s "
            f"--endpoints https://{cluster.master.address}:2379 --cacert {PKI}/ca.crt --cert {PKI}/flannel-client.crt "
            f"--key {PKI}/flannel-client.key {words}",
            check=False,
        )
        return done.returncode == 0, done.stdout + done.stderr

    yield call
    worker.run(f"{BOOTSTRAP} rmi {image}")


@pytest.mark.core
def test_a_worker_reads_and_writes_nothing_of_the_api_in_etcd(
    as_worker: Callable[[str], tuple[bool, str]], cluster: Cluster
) -> None:
    cluster.kubectl("create", "secret", "generic", "network-test", "--from-literal=a=b")
    try:
        key = f"{SECRETS}default/network-test"
        assert key in cluster.master.run(f"{ETCDCTL} get --keys-only {key}").stdout
        for words in (
            f"get {key}",
            f"get --prefix {SECRETS}",
            "get --prefix ''",
            f"put {SECRETS}default/other x",
            f"del {key}",
            f"watch {key}",
            f"get --prefix {RESERVATIONS}/",
            f"put {subnet_key(RESERVATIONS, '10.1.200.0/24')} me",
            "put /coreos.com/network/config {}",
            "snapshot save /dev/null",
            "user list",
            "user grant-role flannel root",
            "auth disable",
        ):
            _, said = as_worker(words)
            assert "permission denied" in said, f"{words}: {said}"
        assert cluster.get("secret", "network-test")
    finally:
        cluster.delete("secret", "network-test")


@pytest.mark.core
def test_a_worker_reads_and_writes_what_flannel_needs(as_worker: Callable[[str], tuple[bool, str]]) -> None:
    done, said = as_worker("get --prefix --keys-only /coreos.com/network")
    assert not done, "more than flannel's keys begin with that"
    done, said = as_worker("get --prefix --keys-only /coreos.com/network/")
    assert done, said
    assert "/coreos.com/network/config" in said
    key = f"{SUBNETS}/10.1.200.0-24"
    for words in (f"put {key} x", f"get {key}", f"del {key}"):
        done, said = as_worker(words)
        assert done, said


def test_etcds_gateway_is_closed(cluster: Cluster) -> None:
    worker = cluster.workers[0]
    curl = (
        f"curl -sS --http1.1 -m 5 -o /dev/null -w '%{{http_code}}' --cacert {PKI}/ca.crt "
        f"--cert {PKI}/flannel-client.crt --key {PKI}/flannel-client.key https://{cluster.master.address}:2379"
    )
    assert worker.run(f"{curl}/version").stdout == "200"
    assert worker.run(f'{curl}/v3/kv/range -d \'{{"key": "AA==", "range_end": "AA=="}}\'').stdout == "404"


@pytest.mark.parametrize(
    ("done", "named"),
    [
        (f"{ETCDCTL} auth disable", "+authentication on"),
        (f"{ETCDCTL} user grant-role flannel root", "-user flannel: role flannel, root"),
        (f"{ETCDCTL} user delete flannel", "+user flannel: role flannel"),
        (f"{ETCDCTL} role grant-permission flannel --prefix read {SECRETS}", f"-[{SECRETS}"),
        (f"{ETCDCTL} role delete flannel", "+Role flannel"),
    ],
)
def test_rights_that_somebody_changed_are_named_and_put_back(done: str, named: str, cluster: Cluster) -> None:
    cluster.master.run(done)
    plan = cluster.product.plan().check()
    assert any(named in line for line in plan.diff), "\n".join(plan.diff)
    cluster.product.apply().check()
    assert_empty(cluster.product.plan())
    cluster.wait_works()


# ---- who gets which subnet


def _try(master: Host, node: str, subnet: str) -> tuple[int, str]:
    done = master.run(reservation(node, subnet, Subnets(True, "")), check=False)
    return done.returncode, done.stderr


def test_two_runs_at_one_time_give_one_subnet_to_one_node(cluster: Cluster) -> None:
    key = subnet_key(RESERVATIONS, "10.1.201.0/24")
    try:
        assert _try(cluster.master, "first", "10.1.201.0/24")[0] == 0
        code, said = _try(cluster.master, "second", "10.1.201.0/24")
        assert code == 1
        assert "another run has given 10.1.201.0/24 to another node meanwhile; run this again" in said
        assert cluster.master.run(f"{ETCDCTL} get --print-value-only {key}").stdout.strip() == "first"
    finally:
        cluster.master.run(f"{ETCDCTL} del {key}")


def test_a_lease_that_an_address_of_before_holds_is_taken_over(cluster: Cluster, set_back: None) -> None:
    worker = cluster.workers[0]
    subnet = worker.run("sed -n 's/^FLANNEL_SUBNET=//p' /var/lib/docker-multinode/subnet.env").stdout.strip()
    subnet = subnet.replace(".1/24", ".0/24")
    key = subnet_key(SUBNETS, subnet)
    worker.run(f"{BOOTSTRAP} stop -t 1 flannel")
    value = json.loads(cluster.master.run(f"{ETCDCTL} get --print-value-only {key}").stdout)
    old = json.dumps({**value, "PublicIP": "10.89.0.250"})
    cluster.master.run(f"{ETCDCTL} put {key} '{old}'")
    plan = cluster.product.plan().check()
    assert any(f"Will delete the lease {subnet} of 10.89.0.250" in line for line in plan.diff), "\n".join(plan.diff)
    cluster.product.apply().check()
    lease = json.loads(cluster.master.run(f"{ETCDCTL} get --print-value-only {key}").stdout)
    assert lease["PublicIP"] == worker.address


# ---- changes under a running cluster


def test_a_label_that_somebody_took_from_the_master_is_named_and_put_back(cluster: Cluster) -> None:
    cluster.master.run(f"{KUBECTL} label node {cluster.master.name} {CONTROL_PLANE}-")
    plan = cluster.product.plan().check()
    assert any(f"Will label node {cluster.master.name} with {CONTROL_PLANE}=" in line for line in plan.diff)
    cluster.product.apply().check()
    assert_empty(cluster.product.plan())


def test_a_flannel_that_does_not_come_up_fails_the_run_with_its_last_words(cluster: Cluster, set_back: None) -> None:
    broken = f"{_image(cluster, 'flannel').rpartition(':')[0]}:broken"
    idle = cluster.master.run("docker images --format '{{.Repository}}:{{.Tag}}' | grep /pause:").stdout.split()[0]
    cluster.master.run(f"docker tag {idle} {broken} && docker push -q {broken} && docker rmi {broken}")
    run = cluster.product.apply(data={"flannel_version": "broken", "timeout_for_services": 20})
    assert run.code == 1
    assert "waited 20 s for flannel to take the recorded subnet, in vain" in run.text


def test_another_address_of_the_master(cluster: Cluster, set_back: None) -> None:
    """Everything asks there: flannel etcd, the kubelets and the control plane the API."""
    master, address = cluster.master, f"10.89.0.{int(cluster.master.address.rsplit('.', 1)[1]) + 100}"
    device = master.run(f"ip -4 -o addr show to {master.address} | awk '{{print $2}}'").stdout.strip()
    master.run(f"ip addr add {address}/24 dev {device}")
    try:
        cluster.product.apply(data={"master_ip": address}).check()
        cluster.wait_works()
        assert_empty(cluster.product.plan(data={"master_ip": address}))
        for pod in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
            inside = master.run(
                f"c=$(docker ps -q --filter label=io.kubernetes.container.name={pod}); p=$(docker inspect -f "
                f"'{{{{.State.Pid}}}}' $c); cat /proc/$p/root/etc/kubernetes/{pod.removeprefix('kube-')}.conf "
                f"/proc/$p/root/etc/kubernetes/{pod}.conf 2>/dev/null",
                check=False,
            ).stdout
            assert f"https://{address}:6443" in inside, pod
        ends = cluster.workers[0].run(f"ss -Htn state established dst {address} dport = 2379").stdout
        assert ends.strip(), "the worker's flannel does not ask etcd there"
        cluster.product.apply().check()
    finally:
        master.run(f"ip addr del {address}/24 dev {device}")


def test_another_packet_size(cluster: Cluster, set_back: None) -> None:
    worker = cluster.workers[0]
    worker.run("ip link set eth0 mtu 1400")
    try:
        cluster.product.apply().check()
        cluster.wait_works()
        assert_empty(cluster.product.plan())
        for link in ("docker0", "flannel.1"):
            assert worker.run(f"cat /sys/class/net/{link}/mtu").stdout.strip() == "1350"
    finally:
        worker.run("ip link set eth0 mtu 1500")


def test_another_backend_of_flannel(cluster: Cluster, set_back: None, figure: Figure) -> None:
    """vxlan to host-gw and back; Docker 28 takes vxlan only, so this runs on 26 alone."""
    if cluster.master.docker != "26" or cluster.workers[0].docker != "26":
        pytest.skip("this Docker takes vxlan only")
    data = {"flannel_backend": "host-gw"}
    plan = cluster.product.plan(data=data).check()
    assert any("--mtu=1500" in line for line in plan.diff), "\n".join(plan.diff)
    run = cluster.product.apply(data=data).check()
    figure("seconds: another backend of flannel", run.seconds)
    cluster.wait_works()
    assert_empty(cluster.product.plan(data=data))
    for host in cluster.hosts:
        assert host.run("cat /sys/class/net/docker0/mtu").stdout.strip() == "1500"
        assert host.run("ip link show flannel.1", check=False).returncode != 0
        assert cluster.in_pod(host, web(host), "cat /sys/class/net/eth0/mtu").strip() == "1500"


# ---- what filters packets on a host


def test_a_node_port_is_reached_from_outside_also_when_docker_has_restarted(cluster: Cluster) -> None:
    """Of a pod without a hostPort, for which Docker would open the port; each start of Docker puts its chains first."""
    worker, ports = cluster.workers[0], {"Cluster": 31081, "Local": 31082}
    cluster.apply(
        pod("plain", worker.name, WEB),
        *(service(f"plain-{kind.lower()}", {"app": "plain"}, port, externalTrafficPolicy=kind)
          for kind, port in ports.items()),
    )  # fmt: skip

    def reached() -> bool:
        asked = " && ".join(f"{GET} http://{worker.address}:{port}/name" for port in ports.values())
        return cluster.master.run(asked).stdout.split() == ["plain"] * len(ports)

    try:
        until("the NodePorts to answer", 60, reached)
        worker.run("systemctl restart docker")
        cluster.wait_works()
        until("the NodePorts to answer again", 60, reached)
    finally:
        cluster.delete("pod/plain", *(f"service/plain-{kind.lower()}" for kind in ports))


def test_rules_that_somebody_flushed_are_made_again(cluster: Cluster) -> None:
    """As a reload of nftables does: flannel and kube-proxy make theirs again by themselves, Docker at its start."""
    worker = cluster.workers[0]
    worker.run("iptables -w -F FORWARD; iptables -w -t nat -F PREROUTING")
    plan = cluster.product.plan().check()
    why = "Will restart the main Docker because somebody flushed its rules of iptables"
    assert [line for line in plan.text.splitlines() if why in line and f"{worker.name}]" in line], plan.text
    cluster.product.apply().check()
    assert_empty(cluster.product.plan())
    cluster.wait_works()


def test_a_link_that_flannel_made_anew_is_told_to_the_other_nodes(cluster: Cluster) -> None:
    worker = cluster.workers[0]
    address = "cat /sys/class/net/flannel.1/address"
    before = worker.run(address).stdout
    worker.run("ip link delete flannel.1")
    until("flannel to make its link anew", 60, lambda: worker.run(address).stdout not in ("", before))
    plan = cluster.product.plan().check()
    assert any("flannel.1 has the hardware address" in line for line in plan.diff), "\n".join(plan.diff)
    cluster.product.apply().check()
    assert_empty(cluster.product.plan())
    cluster.wait_works()
