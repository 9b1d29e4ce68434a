"""Flags that other parts rely on can't be set by a user: the table of them is held against what the deploy sets."""

from __future__ import annotations

import re

import pytest
from pyinfra.api import DeployError

from deploys import static_pods
from deploys.phases import etcd
from deploys.phases import node as node_phase
from deploys.settings import load

from .harness import World

PROGRAMS = {
    "kube-apiserver": "apiserver_extra_args",
    "kube-controller-manager": "controller_manager_extra_args",
    "kube-scheduler": "scheduler_extra_args",
}
PLACE = re.compile(r"(?<!\w)(/etc/|/var/|/run/|unix:)|10\.0\.0\.11|127\.0\.0\.1|10\.96\.0\.0")
METRICS = ("bind-address", "listen-metrics-urls")
"""Nothing else of ours looks there, and who collects metrics opens them to others."""


def flags_with_places() -> list[tuple[str, str]]:
    """Every flag that a deploy sets to a path or an address, by the setting that could set it too."""
    node = World().node()
    texts = {PROGRAMS[pod.name]: pod.manifest.content for pod in static_pods.static_pods(node) if pod.name in PROGRAMS}
    found = [
        (setting, flag)
        for setting, text in texts.items()
        for flag, value in re.findall(r'- "--([a-z-]+)=(.*)"', text)
        if PLACE.search(value)
    ]
    for setting, words in (
        ("etcd_extra_args", etcd.spec(node).command),
        ("kubelet_extra_args", (c := node_phase.spec(node, "").command)[c.index("--") :]),
    ):
        pairs = (word.removeprefix("--").partition("=") for word in words if "=" in word)
        found += [(setting, flag) for flag, _, value in pairs if PLACE.search(value)]
    return [(setting, flag) for setting, flag in found if flag not in METRICS]


def test_there_are_such_flags() -> None:
    assert {setting for setting, _ in flags_with_places()} == {
        *PROGRAMS.values(),
        "etcd_extra_args",
        "kubelet_extra_args",
    }
    assert len(flags_with_places()) > 40


@pytest.mark.parametrize(("setting", "flag"), flags_with_places())
def test_a_flag_that_names_a_file_or_an_address_is_refused(setting: str, flag: str) -> None:
    with pytest.raises(DeployError, match=f"{setting} sets --{flag}, which is the deploy's to set"):
        load({setting: {flag: "x"}}, {})


@pytest.mark.parametrize(
    ("setting", "flag"),
    [
        ("etcd_extra_args", "wal-dir"),  # in the container's layer: gone with it
        ("etcd_extra_args", "config-file"),  # etcd then ignores all other flags
        ("kubelet_extra_args", "pod-manifest-path"),
        ("kubelet_extra_args", "healthz-port"),
        ("kubelet_extra_args", "port"),  # what must get through is checked for 10250
        ("kubelet_extra_args", "cluster-domain"),  # CoreDNS answers for dns_domain
        # flags overrule the kubelet's configuration, which names these files
        ("kubelet_extra_args", "client-ca-file"),
        ("kubelet_extra_args", "tls-cert-file"),
        ("kubelet_extra_args", "tls-private-key-file"),
    ],
)
def test_a_flag_that_would_overrule_what_the_deploy_relies_on_is_refused(setting: str, flag: str) -> None:
    with pytest.raises(DeployError, match=f"{setting} sets --{flag}, which is the deploy's to set"):
        load({setting: {flag: "x"}}, {})


@pytest.mark.parametrize("flag", ["v", "vmodule", "logging-format", "log-flush-frequency"])
def test_kube_proxy_takes_flags_about_its_log(flag: str) -> None:
    assert load({"kube_proxy_extra_args": {flag: "1"}}, {}).kube_proxy_extra_args == {flag: "1"}


@pytest.mark.parametrize("flag", ["proxy-mode", "masquerade-all", "metrics-bind-address", "config", "cleanup"])
def test_a_flag_that_kube_proxy_ignores_is_refused(flag: str) -> None:
    with pytest.raises(DeployError, match=f"--{flag}, which kube-proxy ignores"):
        load({"kube_proxy_extra_args": {flag: "1"}}, {})
