"""What is taken away: only what is ours and is there, mounts before directories, jumps before chains."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploys import busy
from deploys.facts.files import HostFiles
from deploys.facts.leftovers import Leftovers
from deploys.operations.files import File
from deploys.operations.leftovers import (
    no_chains,
    no_directories,
    no_links,
    no_pods,
    no_record,
    no_routes,
    no_rules,
    paths_recorded,
)
from deploys.record import BEFORE_PATHS

from .harness import Member, Shell, World
from .known import host_files, left
from .test_scripts import program, sh


def world(*before: str, **changes: object) -> World:
    """A host with these things left; `before`: paths that were there before us."""
    record = File(BEFORE_PATHS, "".join(f"{path}\n" for path in before))
    return World(facts={Leftovers: left(**changes), HostFiles: host_files(record)})


def test_only_paths_that_are_there_are_removed_and_what_is_mounted_below_is_unmounted_first() -> None:
    here = world(paths=frozenset({"/var/lib/kubelet"}))
    (step,) = here.run(no_directories, paths=["/var/lib/kubelet", "/run/flannel"])
    assert isinstance(step, Shell)
    assert step.text.startswith("set -- /var/lib/kubelet; old() {")
    assert step.text.index("umount") < step.text.index("rm -rf --one-file-system")
    assert "Will remove with all that is in it:" in here.says(no_directories, paths=["/var/lib/kubelet"])
    assert world(paths=frozenset()).run(no_directories, paths=["/var/lib/kubelet"]) == []


def test_mounts_below_a_path_are_named() -> None:
    here = world(paths=frozenset({"/var/lib/kubelet"}), mounts=("/var/lib/kubelet/pods/1", "/var/lib/kubelet2/x"))
    said = here.says(no_directories, paths=["/var/lib/kubelet"])
    assert "/var/lib/kubelet\n        unmounted before: /var/lib/kubelet/pods/1" in said
    assert "kubelet2" not in said


def test_what_was_there_before_us_is_named_as_staying() -> None:
    here = world("/var/lib/etcd", "/var/lib/etcd/default", "/var/lib/etcd2", mounts=("/var/lib/etcd/default/x",))
    said = here.says(no_directories, paths=["/var/lib/etcd"])
    assert said.splitlines() == [
        "[m1] Will remove with all that is in it:",
        "      /var/lib/etcd",
        "[m1] But not these, which were there before us:",
        "      /var/lib/etcd",
        "      /var/lib/etcd/default",
    ]


def test_what_is_there_before_us_is_recorded_once() -> None:
    here = World(facts={HostFiles: host_files()})
    (step,) = here.run(paths_recorded, there=["/var/log/pods", "/var/log/pods/theirs"])
    assert isinstance(step, Shell)
    assert step.written == {BEFORE_PATHS: Member("644", "/var/log/pods\n/var/log/pods/theirs\n")}
    assert world().run(paths_recorded, there=["/var/log/pods"]) == []


def test_links_of_ours_are_deleted_by_name() -> None:
    here = world(links=frozenset({"lo", "flannel.1", "docker0"}))
    assert here.run(no_links, links=("flannel.1", "docker-boot0")) == [
        Shell("for l in flannel.1; do [ ! -e /sys/class/net/$l ] || ip link delete $l || exit 1; done")
    ]
    assert world(links=frozenset({"docker0"})).run(no_links, links=("flannel.1",)) == []


def test_routes_that_flannel_leaves_are_deleted_one_by_one() -> None:
    one, other = routes = ("10.1.2.0/24 via 10.0.0.12 dev eth0", "10.1.3.0/24 via 10.0.0.13 dev eth0")
    here = world(routes=routes)
    deletes = [f'[ -z "$(ip -4 route show {r})" ] || ip -4 route delete {r} || exit 1' for r in (one, other)]
    assert here.run(no_routes) == [Shell("; ".join(deletes))]
    assert one in here.says(no_routes)
    assert world(routes=()).run(no_routes) == []


def test_chains_of_ours_are_named_in_the_plan_and_others_left_alone() -> None:
    here = world(chains=("nat KUBE-SERVICES", "filter DOCKER", "filter FLANNEL-FWD"))
    (step,) = here.run(no_chains, prefixes=("KUBE-",))
    assert isinstance(step, Shell)
    assert "/^:(KUBE-)/" in step.text
    assert "PATTERN" not in step.text
    said = here.says(no_chains, prefixes=("KUBE-",))
    assert "nat KUBE-SERVICES" in said
    assert "DOCKER" not in said
    assert world(chains=("filter DOCKER",)).run(no_chains, prefixes=("KUBE-",)) == []


def test_single_rules_of_ours_in_chains_of_others_are_deleted_one_by_one() -> None:
    rules = ("filter -A DOCKER-USER -i flannel.1 -j ACCEPT", "nat -A POSTROUTING -s 10.1.1.0/24 -j MASQUERADE")
    assert world(rules=rules).run(no_rules) == [
        Shell(
            "! iptables -w -t filter -C DOCKER-USER -i flannel.1 -j ACCEPT 2>/dev/null || "
            "iptables -w -t filter -D DOCKER-USER -i flannel.1 -j ACCEPT || exit 1; "
            "! iptables -w -t nat -C POSTROUTING -s 10.1.1.0/24 -j MASQUERADE 2>/dev/null || "
            "iptables -w -t nat -D POSTROUTING -s 10.1.1.0/24 -j MASQUERADE || exit 1"
        )
    ]
    assert world(rules=()).run(no_rules) == []


@pytest.mark.parametrize(
    ("there", "held", "ends"), [("a b", "", 0), ("b", "", 0), ("", "", 0), ("a b", "a", 1), ("a b", "b", 1)]
)
def test_a_rule_that_can_not_be_deleted_is_told_and_one_that_went_by_itself_is_none(
    there: str, held: str, ends: int
) -> None:
    (step,) = world(rules=("filter -A FORWARD a", "filter -A FORWARD b")).run(no_rules)
    assert isinstance(step, Shell)
    iptables = f"""iptables() {{ case $4 in -C) case '{there}' in *$6*) ;; *) return 1 ;; esac ;;
        -D) case '{held}' in *$6*) return 1 ;; *) return 0 ;; esac ;; esac; }}"""
    ran = subprocess.run(["sh", "-c", f"{iptables}\n{step.text}"], check=False, timeout=30)
    assert ran.returncode == ends


def test_containers_of_pods_are_removed_by_the_kubelets_label() -> None:
    here = world(pods=("k8s_a", "k8s_b"))
    (step,) = here.run(no_pods)
    assert isinstance(step, Shell)
    assert "docker ps -aq --filter label=io.kubernetes.docker.type | xargs -r docker rm -f -v" in step.text
    assert "Will remove 2 containers of pods:" in here.says(no_pods)
    assert world(pods=()).run(no_pods) == []


def test_pods_of_users_may_end_by_themselves_before_they_are_removed(tmp_path: Path) -> None:
    here = world(pods=("k8s_a", "k8s_b"))
    (step,) = here.run(no_pods)
    assert isinstance(step, Shell)
    running = r"printf '%s\n' '1 shop' '2 kube-system' '3 default'"
    listed = f"case $* in *-aq*) echo all;; *type=container*) {running};; esac"
    program(tmp_path, "docker", f'case $1 in ps) {listed};; *) echo "$*" >> {tmp_path}/log;; esac')
    ran = sh(step.text, path=str(tmp_path))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (tmp_path / "log").read_text().splitlines() == ["stop -t 30 1 3", "rm -f -v all"]
    assert "Those of pods outside of kube-system may end by themselves before, for 30 s" in here.says(no_pods)


def test_the_record_goes_and_with_it_directories_that_are_empty() -> None:
    here = world()
    (step,) = here.run(no_record)
    assert isinstance(step, Shell)
    assert "rmdir" in step.text
    assert 'set -- "$(readlink -f /var/lib/docker-multinode)"; old() {' in step.text
    assert step.text.endswith(f"|| rm -f /var/lib/docker-multinode; rm -rf {busy.RUN_LOCK} {busy.BUSY}")
    assert "Will remove /var/lib/docker-multinode" in here.says(no_record)
    assert world(paths=frozenset()).run(no_record) == []
    share = "/var/lib/docker-multinode/backups"
    assert f"unmounted before: {share}" in world(mounts=(share,)).says(no_record)
