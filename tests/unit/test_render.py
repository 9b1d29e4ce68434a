"""Templates: nothing undefined, and what is YAML parses as such."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest
import yaml

from deploys import static_pods
from deploys.phases import addons, bootstrap, docker
from deploys.phases import node as node_phase
from deploys.render import render
from deploys.topology import Node

from .bad_input import PAIR
from .harness import World
from .runs import ROOT, through_api

HOSTILE = {"v": "4", "vmodule": "a: b # c 'd' \"e\" {f} %s é $(g) \\"}


def master(**data: Any) -> Any:
    """A master as a node."""
    return World(data=data).node()


def test_a_value_that_was_not_given_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("kubernetes/kubeconfig.yaml.j2", server="https://x:6443")


def test_every_template_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[str] = set()
    told = jinja2.Environment.get_template

    def recording(self: jinja2.Environment, name: str, *args: Any) -> jinja2.Template:
        used.add(name)
        return told(self, name, *args)

    monkeypatch.setattr(jinja2.Environment, "get_template", recording)
    addons._objects.cache_clear()
    assert through_api("cluster", PAIR).code == 0
    have = {str(p.relative_to(ROOT / "templates")) for p in (ROOT / "templates").rglob("*.j2")}
    # this one holds a key, so it is rendered at run time only: see test_operation_kubeconfig.py
    assert have - used == {"kubernetes/kubeconfig-embedded.yaml.j2"}


@pytest.mark.parametrize("args", [{}, HOSTILE], ids=["plain", "hostile"])
def test_every_file_of_kubernetes_parses(args: dict[str, str]) -> None:
    node = master(apiserver_extra_args=args, kube_proxy_extra_args=args, scheduler_extra_args=args,
                  controller_manager_extra_args=args, kubelet_extra_args=args)  # fmt: skip
    static = static_pods.static_pods(node)
    configuration = static_pods.configuration(node, static)
    files = [*configuration, *(pod.manifest for pod in static), *node_phase._files(node)]
    assert len(files) > 10
    for file in files:
        document = yaml.safe_load(file.content)
        assert {"apiVersion", "kind"} <= set(document), file.path
    pods = {f.path: yaml.safe_load(f.content) for f in files if "/manifests/" in f.path}
    assert len(pods) == 4
    for path, pod in pods.items():
        (container,) = pod["spec"]["containers"]
        words = container["command"]
        for flag, value in args.items():
            assert f"--{flag}={value}" in words, path
        mounted = {m["name"] for m in container["volumeMounts"]}
        assert mounted == {v["name"] for v in pod["spec"]["volumes"]}


def test_every_object_of_an_addon_has_its_label_and_a_kind_that_can_be_found_again() -> None:
    from deploys.facts.kubernetes import ADDON, KINDS

    documents = list(yaml.safe_load_all(addons.manifest(master().settings)))
    assert len(documents) > 15
    for document in documents:
        assert document["metadata"]["labels"][ADDON] in ("cluster", "coredns", "metrics-server", "headlamp")
        assert f"{document['kind'].lower()}" in {k.rstrip("s") for k in KINDS.split(",")}, document["kind"]


def test_an_addon_that_is_left_out_leaves_no_object() -> None:
    labels = {d["metadata"]["labels"]["docker-multinode.io/addon"]
              for d in yaml.safe_load_all(addons.manifest(master(addons="coredns").settings))}  # fmt: skip
    assert labels == {"cluster", "coredns"}


def test_units_have_no_line_that_systemd_would_not_know() -> None:
    node = master(http_proxy="http://p:1")
    for text in (docker.drop_in(node).content, bootstrap._unit(node, "abc")):
        for line in text.replace("\\\n", " ").splitlines():  # as systemd joins them
            assert not line or line.startswith(("#", "[")) or line.split("=", 1)[0].isalpha(), line
        assert text.endswith("\n")
        assert "\n\n\n" not in text


def test_the_node_image_is_checked_by_checksum_and_compiled_where_nobody_publishes_cri_dockerd() -> None:
    from . import machines

    amd = World().node()
    ppc = World(platforms={"m1": machines.found("m1", "10.0.0.11", machine="ppc64le")}).node()
    assert "c94c3d6de364a13375d8d7448e4c64f5cb12960fbb1cdd7ac708bece418e4dba  cri-dockerd.tgz" in node_phase.dockerfile(
        amd
    )
    assert "go build" not in node_phase.dockerfile(amd)
    assert "go build" in node_phase.dockerfile(ppc)
    assert "/bin/linux/ppc64le/kubelet" in node_phase.dockerfile(ppc)
    for text in (node_phase.dockerfile(amd), node_phase.dockerfile(ppc)):
        fetched = [line for line in text.splitlines() if "-o " in line and "curl" in line]
        # in one step: a wrong file would stay in the build cache
        assert len([line for line in fetched if "sha256sum -c" in line]) == text.count("sha256sum -c") >= 2
        assert "\nARG " not in text, "a proxy's password would stand in the image's history"


def test_the_pods_of_dns_are_replaced_when_its_configuration_changes() -> None:
    def marks(node: Node) -> dict[str, str]:
        documents = [d for d in yaml.safe_load_all(addons.manifest(node.settings)) if d["kind"] == "Deployment"]
        found = {d["metadata"]["name"]: d["spec"]["template"]["metadata"].get("annotations", {}) for d in documents}
        return {name: annotations.get(static_pods.REVISION, "") for name, annotations in found.items()}

    before, after = marks(master()), marks(master(dns_domain="example.internal"))
    assert [name for name in before if before[name] != after[name]] == ["coredns"]
    assert marks(master()) == before
