"""The state of a cluster: told without changing anything, with what is wrong and what to do."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from pprint import pformat
from typing import Any

import pytest
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from deploys import cli, roles, x509
from deploys.facts import access
from deploys.facts.access import EtcdAccess
from deploys.facts.daemons import DaemonsFact
from deploys.facts.etcd import EtcdSubnets, Subnets
from deploys.facts.files import HostFiles
from deploys.facts.kernel import Kernel
from deploys.facts.kubernetes import ClusterNodes, NodeState, Objects, ObjectsState, Pods
from deploys.operations.files import File
from deploys.plan import overheard, say
from deploys.record import BEFORE_PATHS, KUBELET_CLIENT, PKI, SUBNET_ENV
from deploys.report import ABSENT, BROKEN, DRIFTED, FULL, HEALTHY, UNKNOWN, NodeReport, report
from deploys.report_text import table
from deploys.run_nodes import brings_up_the_first_master
from deploys.topology import Node
from deploys.x509 import Certificate

from . import machines
from .bad_input import PAIR
from .harness import World
from .known import altered, daemons, host_files
from .runs import ROOT, _environment, master, through_api, worker
from .samples import lines

CA = x509.new_authority("kubernetes")
LEAF = x509.issue(Certificate(f"{PKI}/admin", f"{PKI}/ca", "admin"), CA, 30)
RECORD = {"name": "m1", "role": "master", "address": "10.0.0.11", "kubernetes": "v1.37.2"}
FILES = host_files(
    File(SUBNET_ENV, "FLANNEL_SUBNET=10.1.1.1/24\n"), File(f"{PKI}/ca.crt", CA.certificate),
    File(f"{PKI}/admin.crt", LEAF.certificate), File(BEFORE_PATHS, ""),
)  # fmt: skip
LEASE = Subnets(True, "{}", {"m1": "10.1.1.0/24"}, {"10.0.0.11": "10.1.1.0/24"})


def dated(pem: str, left: float) -> str:
    """The certificate as if that part of a lifetime of 100 days were left."""
    have = cx509.load_pem_x509_certificate(pem.encode())
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=100 * (1 - left))
    builder = cx509.CertificateBuilder(
        have.issuer, have.subject, have.public_key(), have.serial_number,
        begin, begin + dt.timedelta(days=100), list(have.extensions),
    )  # fmt: skip
    key = serialization.load_pem_private_key(CA.key.encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def told(**facts: Any) -> NodeReport:
    """The report of a master that was brought up, with single answers changed."""
    files = altered(FILES, f"{PKI}/admin.crt", content=dated(LEAF.certificate, facts.get("left", 1)))
    kubelet = dated(LEAF.certificate, facts["kubelet_left"]) if "kubelet_left" in facts else ""
    answers = {
        HostFiles: replace(files, kubelet_client=kubelet),
        DaemonsFact: facts.get("daemons", daemons()), EtcdSubnets: facts.get("etcd", LEASE),
        EtcdAccess: access.WANTED,
        ClusterNodes: facts.get("nodes", {"m1": NodeState(True)}), Pods: facts.get("pods", ()),
        Kernel: Kernel().process(lines("kernel-master")), Objects: ObjectsState(True, (), "", ()),
    }  # fmt: skip
    record = facts.get("record", RECORD)
    machine = machines.found("m1", "10.0.0.11", record=record, disks=facts.get("disks", ""))
    world = World(platforms={"m1": machine}, facts=answers)
    with world.on():
        return report(world.node())


def test_a_host_that_is_no_node_yet_is_absent_and_the_next_step_is_named() -> None:
    found = told(record={})
    assert found.state == ABSENT
    assert "deploys/master.py" in found.next_step


def test_a_node_that_an_apply_would_change_is_drifted_with_the_lines_of_its_plan() -> None:
    found = told()
    assert (found.state, found.problems) == (DRIFTED, [])
    assert any("Write static pods" in str(d["operation"]) for d in found.drift)
    assert "PRIVATE KEY" not in str(found.drift)


def test_a_node_with_nothing_wrong_and_nothing_to_change_is_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploys.report._drift", lambda node: [])
    found = told()
    assert (found.state, found.problems, found.drift, found.next_step) == (HEALTHY, [], [], "")


def test_what_a_node_is_made_of_is_told() -> None:
    found = told()
    assert (found.kubernetes, found.docker) == ("v1.37.2", "26.1.5+dfsg1")
    assert (found.bootstrap_daemon, found.main_daemon, found.etcd) == ("running", "running", "answers")
    assert told(etcd=Subnets(False, "")).etcd == "does not answer"
    assert told(nodes={"m1": NodeState(True, version="v1.37.1")}).kubernetes == "v1.37.1", "what runs, not what should"
    assert set(found.subnet.values()) == {"10.1.1.1/24"}
    assert found.certificate_days == 99


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"daemons": daemons(bootstrap={"active": False})}, "bootstrap daemon: not running"),
        ({"daemons": daemons(docker0="172.17.0.1/16")}, "do not agree"),
        ({"etcd": Subnets(True, "", {}, {"10.0.0.11": "10.1.9.0/24"})}, "do not agree"),
        # a worker may write any lease
        ({"etcd": Subnets(True, "", {}, {"10.0.0.11": "10.1.9.0/32"})}, "10.1.9.0/32"),
        ({"nodes": None}, "the API does not answer"),
        ({"nodes": {}}, "the API knows no such node"),
        ({"nodes": {"m1": NodeState(False)}}, "the node is not Ready"),
        ({"pods": ("kube-system/coredns-1 CrashLoopBackOff",)}, "coredns-1"),
        ({"etcd": Subnets(False, "")}, "etcd on m1 does not answer"),
        ({"nodes": {"m1": NodeState(True, pressures=("DiskPressure",))}}, "the node has DiskPressure"),
        ({"disks": "1 204800 0 9 9000 /var/lib/etcd"}, "the disk of /var/lib/etcd is full: 0 of 200 MiB are free"),
        ({"left": -0.1}, f"{PKI}/admin.crt ended on 20"),
        ({"kubelet_left": 0.05}, "the kubelet does not rotate its client certificate, which ends on 20"),
        ({"kubelet_left": -0.1}, f"{KUBELET_CLIENT} ended on 20"),
    ],
)
def test_what_is_wrong_is_said_in_words(facts: dict[str, Any], says: str) -> None:
    found = told(**facts)
    assert found.state == BROKEN
    assert says in "\n".join(found.problems)


def test_a_status_judges_by_what_a_run_of_all_hosts_would_change(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def noted(node: Node) -> NodeReport:
        seen.append(brings_up_the_first_master())
        return NodeReport(node.host.name, node.name, node.role, node.address, HEALTHY)

    monkeypatch.setattr(roles, "report", noted)
    assert through_api("status", PAIR).said == ""
    assert seen == [True, True]


def test_room_comes_before_a_run_where_a_disk_is_full() -> None:
    assert told(disks="1 204800 0 9 9000 /var/lib/etcd").next_step == FULL


def test_the_table_is_aligned_and_says_what_to_do_below() -> None:
    agreed = dict.fromkeys(("record", "lease", "docker0"), "10.1.1.1/24")
    good = NodeReport(
        "h", "m1", "master", "10.0.0.11", HEALTHY, kubernetes="v1.37.2", certificate_days=9, subnet=agreed,
        bootstrap_daemon="running", main_daemon="running", etcd="answers",
    )  # fmt: skip
    bad = NodeReport("h", "worker-2", "worker", "10.0.0.12", BROKEN, problems=["it smokes"], next_step="call 112")
    text = table([good, bad], {"old": "kubectl delete node old"}).splitlines()
    assert text[0].split() == [
        "NODE", "ROLE", "ADDRESS", "STATE", "KUBERNETES", "DOCKER", "DAEMONS", "ETCD", "SUBNET", "CERTIFICATES",
    ]  # fmt: skip
    assert text[1].index("master") == text[2].index("worker ") == text[0].index("ROLE")
    assert text[1].split()[4:] == ["v1.37.2", "2/2", "answers", "10.1.1.1/24", "9", "days"]
    assert "worker-2 is broken:" in text
    assert "  problem: it smokes" in text
    assert "  next: call 112" in text
    assert not [line for line in text if "m1 is" in line]
    assert "kubectl delete node old" in text[-1]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"subnet": {"record": "10.1.1.1/24", "lease": "10.1.9.1/24", "docker0": "10.1.1.1/24"}}, "differs"),
        ({"subnet": {"record": "10.1.1.1/24", "lease": "", "docker0": "10.1.1.1/24"}}, "10.1.1.1/24"),
        ({"subnet": {"record": "10.1.1.1/24", "lease": "10.1.1.1/24", "docker0": ""}}, "differs"),
        ({"bootstrap_daemon": "running", "main_daemon": "not running"}, "1/2"),
        ({"etcd": "does not answer"}, "does not answer"),
    ],
)
def test_the_table_shows_what_a_node_is_made_of(changed: dict[str, Any], says: str) -> None:
    row = table([NodeReport("h", "m1", "master", "10.0.0.11", BROKEN, **changed)], {}).splitlines()[1]
    assert row.endswith(f"  {says}")


def test_pods_of_users_are_told_and_break_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploys.report._drift", lambda node: [])
    pods = ("kube-system/coredns-1 is not ready", "shop/web-1 is ImagePullBackOff")
    found = told(pods=pods)
    assert found.pods_not_running == list(pods)
    assert found.problems == [f"pod {pods[0]}"]
    assert told(pods=pods[1:]).state == HEALTHY
    text = table([told(pods=pods[1:])], {})
    assert text.endswith(
        "pods of yours that do not run, of which no state above tells:\n  shop/web-1 is ImagePullBackOff"
    )


def test_what_a_host_says_moves_no_cursor_in_a_table_and_in_a_plan() -> None:
    bad = NodeReport("h", "m1", "master", "10.0.0.11", BROKEN, problems=["a\x1b[2Kb"], docker="28.5\x1b]0;x\x07")
    assert all(c.isprintable() or c == "\n" for c in table([bad], {}))
    with overheard() as lines:
        say("Will \x1b[1A", "\r", "\ttext")
    assert lines == ["Will \ufffd[1A", "  \ufffd", "  \ttext"]


def command(place: Path, inventory: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `docker-multinode status`."""
    (place / "hosts.py").write_text(inventory)
    return subprocess.run(
        [sys.executable, "-m", "deploys.cli", "status", str(place / "hosts.py"), *words],
        cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, env=_environment({}),
    )  # fmt: skip


def test_the_command_prints_a_table_and_its_exit_code_is_the_worst_node(tmp_path: Path) -> None:
    inventory = f"masters = [{pformat(master().row())}]\nworkers = [{pformat(worker().row())}]\n"
    ran = command(tmp_path, inventory)
    assert ran.returncode == 2, ran.stderr
    assert ran.stdout.splitlines()[1].split()[:4] == ["m1", "master", "10.0.0.11", "absent"]
    assert ran.stdout.splitlines()[2].split()[:4] == ["w1", "worker", "10.0.0.12", "absent"]


@pytest.mark.parametrize(
    ("states", "strangers", "code"),
    [
        ([HEALTHY, HEALTHY], [], 0),
        ([HEALTHY, HEALTHY], ["old"], 1),
        ([HEALTHY, DRIFTED], [], 1),
        ([DRIFTED, ABSENT], [], 2),
        ([BROKEN, HEALTHY], ["old"], 2),
        ([UNKNOWN, HEALTHY, DRIFTED], [], 3),
        ([UNKNOWN, BROKEN], [], 2),
        ([], [], 3),
    ],
)
def test_the_exit_code_is_that_of_the_worst_node(
    states: list[str], strangers: list[str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [NodeReport("h", f"n{n}", "worker", "10.0.0.1", state).as_json() for n, state in enumerate(states)]
    said = json.dumps({"nodes": nodes, "not_in_inventory": strangers, "table": "T"}, indent=1)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess((), 0, said, ""))
    assert cli.main(["status", "inventory.py"]) == code


def test_a_broken_node_is_broken_also_where_another_can_not_be_asked(tmp_path: Path) -> None:
    gone = ("10.0.0.99", {"ssh_hostname": "127.0.0.1", "ssh_port": 1, "ssh_look_for_keys": False})
    ran = command(tmp_path, f"masters = [{pformat(master().row())}]\nworkers = [{gone!r}]\n")
    assert (ran.returncode, "10.0.0.99" in ran.stderr) == (2, True)
    assert ran.stdout.splitlines()[1].split()[:4] == ["m1", "master", "10.0.0.11", "absent"]
    assert ran.stdout.splitlines()[2].split() == ["10.0.0.99", "worker", "unknown"]
    assert "  problem: it could not be asked; pyinfra says why on standard error" in ran.stdout
    assert "  next: see whether it runs, and whether this works: ssh 127.0.0.1 true" in ran.stdout


def test_a_host_that_is_refused_keeps_the_status_from_telling_of_no_other(tmp_path: Path) -> None:
    lost = worker(ip_address="10.9.9.9")
    ran = command(tmp_path, f"masters = [{pformat(master().row())}]\nworkers = [{pformat(lost.row())}]\n")
    assert ran.returncode == 2, ran.stderr
    assert ran.stdout.splitlines()[1].split()[:4] == ["m1", "master", "10.0.0.11", "absent"]
    assert ran.stdout.splitlines()[2].split()[:3] == ["@fake/w1", "worker", "broken"]
    assert "  problem: no interface has ip_address 10.9.9.9; the host has " in ran.stdout


@pytest.mark.parametrize("words", [(), ("--limit", "m1", "hosts.py"), ("--ssh-user", "root", "hosts.py")])
def test_a_wrong_command_line_says_nothing_of_the_cluster(words: tuple[str, ...], capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["status", *words])
    assert ended.value.code == 3
    assert "usage: docker-multinode status" in (said := capsys.readouterr().err) or "after the inventory" in said


def test_the_command_says_unknown_where_the_status_could_not_be_told(tmp_path: Path) -> None:
    ran = command(tmp_path, f"workers = [{pformat(worker().row())}]\n")
    assert ran.returncode == 3
    assert ran.stdout == ""
    assert "no group `masters`" in ran.stderr
