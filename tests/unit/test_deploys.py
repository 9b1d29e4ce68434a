"""Whole deploys against @fake hosts: who is touched, in which order, how often a host is asked."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api import DeployError, FactBase
from pyinfra.api.host import Host

from deploys import needs, roles
from deploys.facts.kubernetes import Objects
from deploys.observe import observe
from deploys.phases import PHASES

from . import machines
from .bad_input import PAIR
from .harness import World
from .runs import ROOT, H, Outcome, _environment, master, through_api, through_cli, worker


def plan(place: Path, entry: str, *options: str) -> list[tuple[str, list[str]]]:
    """Each operation and the hosts that it changes, in the order of the plan, by the real command."""
    outcome = through_cli(place, entry, PAIR, options=("--dry", "--json", *options))
    assert outcome.code == 0, outcome.said
    text = outcome.said[outcome.said.index("{") :]
    found = json.JSONDecoder().raw_decode(text)[0]["plan"]
    return [(op["name"], sorted(op["hosts_with_change"])) for op in found]


@pytest.fixture(scope="module")
def cluster_plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The plan of a first run of both roles."""
    return dict(plan(tmp_path_factory.mktemp("plan"), "cluster"))


def test_a_first_plan_shows_a_change_on_every_host_that_is_concerned(cluster_plan: dict[str, list[str]]) -> None:
    both, one = ["@fake/m1", "@fake/w1"], ["@fake/m1"]
    by_words = {name.rsplit("| ", 1)[1]: hosts for name, hosts in cluster_plan.items()}
    assert by_words["Run flannel"] == by_words["Issue certificates"] == both
    assert by_words["Run kubelet and cri-dockerd"] == by_words["Run the main Docker on the pod network"] == both
    assert by_words["Run etcd"] == by_words["Make authorities"] == by_words["Apply addons"] == one


def test_operations_come_in_the_order_of_the_phases(cluster_plan: dict[str, list[str]]) -> None:
    titles = [name.split(" | ")[1] for name in cluster_plan]
    order = [phase.TITLE for phase in PHASES]
    assert [order.index(title) for title in titles] == sorted(order.index(title) for title in titles)


def test_a_masters_run_leaves_workers_alone_and_a_workers_run_masters() -> None:
    for entry, touched, left_alone in (("master", "m1", "w1"), ("worker", "w1", "m1")):
        outcome = through_api(entry, {**PAIR, "masters": (master({"ca": "yes"} if entry == "worker" else {}),)})
        assert (outcome.code, outcome.said) == (0, "")
        assert outcome.operations[f"@fake/{touched}"] > 10
        assert outcome.operations[f"@fake/{left_alone}"] == 1, "it waits for the others"


def test_masters_are_done_before_workers_begin_where_one_run_has_both(tmp_path: Path) -> None:
    turns = [hosts for _, hosts in plan(tmp_path, "master", f"{ROOT}/deploys/worker.py") if hosts]
    masters, workers = turns.count(["@fake/m1"]), turns.count(["@fake/w1"])
    assert masters > 10
    assert workers > 10
    assert turns == [["@fake/m1"]] * masters + [["@fake/w1"]] * workers


def test_a_kubeconfig_and_a_backup_of_a_cluster_that_the_same_run_brings_up_are_planned(tmp_path: Path) -> None:
    both = [f"{ROOT}/deploys/{name}.py" for name in ("kubeconfig", "backup")]
    outcome = through_cli(tmp_path, "cluster", PAIR, options=("--dry", "--diff", *both))
    assert outcome.code == 0, outcome.said
    assert "Will fail" not in outcome.said
    assert "(mode 600, user kubernetes-admin, server https://10.0.0.11:6443), when the cluster is up" in outcome.said
    assert "Will take a backup, when the cluster is up" in outcome.said


@pytest.mark.parametrize(("first", "second"), [("turndown", "cluster"), ("worker", "turndown")])
def test_what_undoes_the_others_plan_is_no_part_of_the_same_run(first: str, second: str, tmp_path: Path) -> None:
    options = ("--dry", f"{ROOT}/deploys/{second}.py")
    outcome = through_cli(tmp_path, first, {**PAIR, "masters": (master({"ca": "yes"}),)}, options=options)
    assert outcome.code == 1
    assert "are in one run: the plan of the second would be made before the first has done anything" in outcome.said


def test_a_deploy_file_of_ones_own_may_bring_up_masters_then_workers(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nimport deploys\ndeploys.master()\ndeploys.worker()\n"
    )
    turns = [hosts for _, hosts in plan(tmp_path, str(own.with_suffix(""))) if hosts]
    assert turns.count(["@fake/m1"]) > 10
    assert turns.count(["@fake/w1"]) > 10


def test_the_api_is_asked_once_and_before_the_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    get_fact = Host.get_fact

    def noted(self: Host, fact: type[FactBase[Any]], **arguments: Any) -> object:
        seen.append(fact.__name__)
        return get_fact(self, fact, **arguments)

    def phase(node: object) -> None:
        seen.append("phase")

    monkeypatch.setattr(Host, "get_fact", noted)
    monkeypatch.setattr(roles, "PHASES", (SimpleNamespace(TITLE="first", apply=phase), *PHASES))
    assert through_api("master", {"masters": (master(),)}).said == ""
    assert seen.count("Objects") == 1
    assert seen.index("Objects") < seen.index("phase")


@pytest.mark.parametrize("entry", ["backup", "kubeconfig"])
def test_what_is_done_on_the_master_alone_asks_no_other_host(entry: str) -> None:
    groups = {"masters": (master({"ca": "yes"}),), "workers": (worker(ip_address="10.9.9.9"),)}
    outcome = through_api(entry, groups)
    assert (outcome.code, outcome.said) == (0, "")
    assert outcome.operations == {"@fake/m1": 1, "@fake/w1": 0}


def test_each_phase_has_both_ways_and_a_title() -> None:
    for phase in PHASES:
        assert callable(phase.apply)
        assert callable(phase.remove)
        assert phase.TITLE
    assert len({phase.TITLE for phase in PHASES}) == len(PHASES)
    assert PHASES[0].TITLE == "preflight"


@pytest.mark.parametrize(("waited", "times"), [(False, 1), (True, 2)])
def test_what_was_asked_while_an_ended_run_was_still_at_work_is_asked_again(waited: bool, times: int) -> None:
    platform = replace(machines.found("m1", "10.0.0.11"), waited=waited)
    here = World(platforms={"m1": platform}, facts={f: object() for f in (*roles._OF_MASTER, Objects)})
    with here.on() as host:
        roles._look()
        for fact in roles._OF_MASTER:
            observe(fact, host)
    assert here.asked.count("DaemonsFact of m1") == here.asked.count("EtcdSubnets of m1") == times


def test_no_host_is_asked_more_than_ten_times_for_a_plan() -> None:
    for entry in ("cluster", "turndown"):
        outcome = through_api(entry, {"masters": (master(),)})
        assert 0 < len(outcome.commands) <= 10
    three = {"masters": (master(),), "workers": (worker(), H("w2", "10.0.0.13"))}
    assert len(through_api("cluster", three).commands) <= 30


def test_a_turndown_of_hosts_that_have_nothing_changes_nothing(tmp_path: Path) -> None:
    assert not any(hosts for _, hosts in plan(tmp_path, "turndown"))


def test_a_plan_with_diff_shows_no_key(tmp_path: Path) -> None:
    outcome = through_cli(tmp_path, "cluster", PAIR, options=("--dry", "--diff", "-vv"))
    assert outcome.code == 0, outcome.said
    assert "Will create /etc/kubernetes/manifests/kube-apiserver.yaml" in outcome.said
    assert "PRIVATE KEY" not in outcome.said
    assert "subject: CN=kube-apiserver" in outcome.said


def test_the_shipped_inventory_says_what_to_set_when_nothing_is_set() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "from pyinfra_cli.main import main; main()", "inventory.py", "deploys/master.py", "-y"],
        cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, env=_environment({}),
    )  # fmt: skip
    said = ran.stdout + ran.stderr
    assert ran.returncode == 1
    assert "Traceback" not in said
    assert "MASTER_IP" in said
    assert 'masters = ["192.168.1.10"]' in said


@pytest.mark.parametrize("value", ["192.168.1.10", "192.168.1.10,192.168.1.11", " 192.168.1.10 , 192.168.1.11 "])
def test_the_shipped_inventory_takes_addresses_from_the_environment(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTER_IP", "192.168.1.9")
    monkeypatch.setenv("WORKER_IPS", value)
    names: dict[str, object] = {}
    exec((ROOT / "inventory.py").read_text(), names)
    assert names["masters"] == ["192.168.1.9"]
    assert names["workers"] == [ip.strip() for ip in value.split(",")]


def unreachable_master(place: Path, entry: str, *options: str) -> Outcome:
    """A run of a worker whose master nobody can reach: nothing listens on port 1."""
    groups = (
        'masters = [("10.0.0.11", {"ssh_hostname": "127.0.0.1", "ssh_port": 1, "ssh_look_for_keys": False})]\n'
        f"workers = [{worker().row()!r}]\n"
    )
    return through_cli(place, entry, groups, limit="@fake/w1", options=options)


def test_an_unreachable_master_is_named(tmp_path: Path) -> None:
    outcome = unreachable_master(tmp_path, "worker", "-y")
    assert outcome.code == 1
    assert "Traceback" not in outcome.said
    (sentence,) = [line for line in outcome.said.splitlines() if "error in" in line]
    assert "10.0.0.11" in sentence
    assert "master" in sentence


def test_a_worker_can_be_turned_down_while_its_master_is_gone(tmp_path: Path) -> None:
    outcome = unreachable_master(tmp_path, "turndown", "--dry")
    assert "Traceback" not in outcome.said
    assert outcome.code == 0, outcome.said


def test_a_worker_that_can_not_be_reached_keeps_no_other_host_from_its_plan(tmp_path: Path) -> None:
    gone = ("10.0.0.99", {"ssh_hostname": "127.0.0.1", "ssh_port": 1, "ssh_look_for_keys": False})
    groups = f"masters = [{master().row()!r}]\nworkers = [{gone!r}, {worker().row()!r}]\n"
    outcome = through_cli(tmp_path, "cluster", groups, options=("--dry", "--json"))
    assert outcome.code == 1
    assert "Traceback" not in outcome.said
    found = json.JSONDecoder().raw_decode(outcome.said[outcome.said.index("{") :])[0]["plan"]
    assert {h for op in found for h in op["hosts_with_change"]} == {"@fake/m1", "@fake/w1"}


def test_a_deploy_file_runs_from_any_directory_also_from_one_with_a_deploys_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "deploys").mkdir()
    (tmp_path / "deploys/__init__.py").write_text("raise SystemExit('this is the wrong one')\n")
    (tmp_path / "hosts.py").write_text(f"masters = [{master().row()!r}]\n")
    ran = subprocess.run(
        [sys.executable, "-c", "from pyinfra_cli.main import main; main()", "hosts.py", f"{ROOT}/deploys/cluster.py",
         "--dry"],
        cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
        env={k: v for k, v in _environment({}).items() if k != "PYTHONPATH"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "Kubernetes | certificates | Make authorities" in ran.stderr


def test_an_older_pyinfra_is_refused_by_a_sentence() -> None:
    with pytest.raises(DeployError, match=r"this is pyinfra 3\.9; 3\.10 or newer is needed"):
        needs.check("3.9")
    needs.check("3.10.0")
