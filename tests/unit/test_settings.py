"""Settings: where they come from, in which order, and what does not go together."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import DeployError

from deploys.settings import FROM_ENVIRONMENT, OPTIONS, Settings, load

from .runs import ROOT, _environment


def refused(data: dict[str, Any], environment: dict[str, str] | None = None, hosts: int = 1) -> str:
    """The sentence with which settings are refused."""
    with pytest.raises(DeployError) as error:
        load(data, environment or {}, hosts)
    return str(error.value)


def test_without_anything_the_defaults_hold() -> None:
    found = load({}, {})
    assert (found.flannel_network, found.service_network) == ("10.1.0.0/16", "10.96.0.0/12")
    assert (found.flannel_backend, found.flannel_ipmasq, found.dns_domain) == ("vxlan", True, "cluster.local")
    assert found.dns_server_ip == "10.96.0.10"
    assert found.addons == ("coredns", "metrics-server", "headlamp")
    assert not found.purge_data
    assert not found.allow_docker_restart


def test_all_names_of_the_2016_scripts_are_there() -> None:
    seed = ("K8S_VERSION ETCD_VERSION FLANNEL_VERSION FLANNEL_IPMASQ FLANNEL_NETWORK FLANNEL_BACKEND DNS_DOMAIN "
            "DNS_SERVER_IP RESTART_POLICY MASTER_IP ARCH NET_INTERFACE IP_ADDRESS TIMEOUT_FOR_SERVICES")  # fmt: skip
    assert {name.lower() for name in seed.split()} <= set(OPTIONS)


def test_the_dns_address_follows_the_service_network() -> None:
    assert load({"service_network": "10.0.0.0/24"}, {}).dns_server_ip == "10.0.0.10"
    assert load({"service_network": "10.0.0.0/28"}, {}).dns_server_ip == "10.0.0.10"


def test_data_beats_the_environment_and_the_environment_beats_the_default() -> None:
    environment = {"K8S_VERSION": "v1.35.0"}
    assert load({"k8s_version": "v1.36.0"}, environment).k8s_version == "v1.36.0"
    assert load({}, environment).k8s_version == "v1.35.0"
    assert load({"k8s_version": None}, environment).k8s_version == "v1.35.0"
    assert load({}, {"K8S_VERSION": ""}).k8s_version == OPTIONS["k8s_version"]["default"]


def test_lower_case_in_the_environment_is_not_ours() -> None:
    assert load({}, {"k8s_version": "v1.35.0", "http_proxy": "http://p:1"}).http_proxy is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("HTTP_PROXY", "http://bob:s3cret@p:1"), ("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "localhost, 127.0.0.1"),
     ("ARCH", "x86_64"), ("NODE_NAME", "built-in"), ("KUBELET_EXTRA_ARGS", "--v=4"), ("BACKUP_PATH", "/b"),
     ("PURGE_DATA", "true")],
)  # fmt: skip
def test_what_shells_carry_for_other_programs_becomes_no_setting(name: str, value: str) -> None:
    assert load({}, {name: value}, hosts=3) == load({}, {})


@pytest.mark.parametrize("name", [n for n in FROM_ENVIRONMENT if OPTIONS[n]["per_host"]])
def test_what_differs_per_host_comes_from_the_environment_of_one_host_only(name: str) -> None:
    value = {"ip_address": "10.0.0.1"}.get(name, "n1")
    assert getattr(load({}, {name.upper(): value}, hosts=1), name) == value
    said = refused({}, {name.upper(): value}, hosts=3)
    assert all(word in said for word in (name.upper(), "all 3 hosts", f"write {name} as host data"))
    assert getattr(load({name: value}, {name.upper(): "ignored!"}, hosts=3), name) == value


def test_the_sentence_says_where_the_value_stands() -> None:
    assert refused({"flannel_backend": "udp"}).startswith("setting flannel_backend ")
    assert refused({}, {"FLANNEL_BACKEND": "udp"}).startswith("environment variable FLANNEL_BACKEND ")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("K8S_VERSION", "k8s_version"), ("k8s-version", "k8s_version"), ("flanel_network", "flannel_network"),
     ("service_netwrok", "service_network"), ("kubelet_extra_arg", "kubelet_extra_args"), ("Addons", "addons")],
)  # fmt: skip
def test_a_name_that_is_almost_ours_is_refused(name: str, meant: str) -> None:
    assert refused({name: "x"}) == f"unknown setting {name}; did you mean {meant}?"


def test_names_of_users_and_of_pyinfra_are_left_alone() -> None:
    mine = {"ssh_user": "pi", "_sudo": True, "rack": 7, "docker_user": "x", "ssh_port": 22, "my_network": "x"}
    assert load(mine, {"HOME": "/root", "VIRTUAL_ENV": "x", "GROUP": "y"}) == load({}, {})


def test_a_variable_that_is_almost_ours_is_refused() -> None:
    assert "K8S_VERSION" in refused({}, {"K8S_VERSON": "v1.36.0"})


def test_this_machines_own_environment_is_not_taken_for_ours() -> None:
    load({}, _environment({}))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"k8s_version": "v1.37.77"}, ("k8s_version", "v1.37.77", "v1.34.0 to")),
        ({"flannel_network": "10.96.0.0/16"}, ("10.96.0.0/16", "10.96.0.0/12", "overlap")),
        ({"dns_server_ip": "10.0.0.10"}, ("10.0.0.10", "10.96.0.0/12", "10.96.0.10")),
        ({"dns_server_ip": "10.96.0.0"}, ("not a free address",)),
        ({"dns_server_ip": "10.111.255.255"}, ("not a free address",)),
        ({"ip_address": "10.1.3.4"}, ("ip_address", "flannel_network")),
        ({"master_ip": "10.96.3.4"}, ("master_ip", "service_network")),
        ({"image_registry": "r.lan:5000", "node_image": "node:v1"}, ("node_image", "r.lan:5000/node:v1")),
        ({"kubelet_extra_args": {"config": "/x"}}, ("kubelet_extra_args", "--config", "leave it out")),
    ],
)
def test_what_does_not_go_together_is_refused(data: dict[str, Any], words: tuple[str, ...]) -> None:
    said = refused(data)
    assert all(word in said for word in words), said


def test_a_run_prints_its_settings_as_the_2016_scripts_did() -> None:
    lines = load({"k8s_version": "1.37.2", "kubelet_extra_args": {"v": 4}, "apiserver_cert_sans": "a,b"}, {}).printed()
    assert "K8S_VERSION is set to: v1.37.2" in lines
    assert "FLANNEL_IPMASQ is set to: true" in lines
    assert "KUBELET_EXTRA_ARGS is set to: --v=4" in lines
    assert "APISERVER_CERT_SANS is set to: a,b" in lines
    assert not [line for line in lines if "None" in line or line.endswith(": ")]


def test_settings_can_not_be_changed_on_the_way() -> None:
    with pytest.raises(AttributeError):
        load({}, {}).dns_domain = "x"  # type: ignore[misc]
    assert isinstance(load({}, {}), Settings)


DEPLOY = """
import json
from pyinfra import host
from deploys.topology import settings_of
from deploys.observe import this_host
print(json.dumps({this_host().name: settings_of(this_host()).dns_domain}))
"""


def test_pyinfras_own_order_holds_data_host_group_all_environment(tmp_path: Path) -> None:
    """Through the real command: each place alone is seen by the host that has nothing nearer."""
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data/all.py").write_text('dns_domain = "all"\n')
    (tmp_path / "group_data/workers.py").write_text('dns_domain = "group"\n')
    fake = {"fake_delay": 0, "fake_delay_jitter": 0}
    (tmp_path / "hosts.py").write_text(
        f"masters = [('@fake/m', {fake})]\n"
        f"workers = [('@fake/w1', {fake}), ('@fake/w2', {{**{fake}, 'dns_domain': 'host'}})]\n"
    )
    (tmp_path / "d.py").write_text(DEPLOY)

    def run(*more: str) -> dict[str, str]:
        ran = subprocess.run(
            [sys.executable, "-c", "from pyinfra_cli.main import main; main()", "hosts.py", "d.py", "-y", *more],
            cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
            env={**_environment({"DNS_DOMAIN": "environment"}), "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        found: dict[str, str] = {}
        for line in re.findall(r"^\{.*\}$", ran.stdout, re.MULTILINE):
            found |= json.loads(line)
        assert found, ran.stderr
        return found

    assert run() == {"@fake/m": "all", "@fake/w1": "group", "@fake/w2": "host"}
    assert set(run("--data", "dns_domain=data").values()) == {"data"}
    (tmp_path / "group_data/all.py").write_text("")
    assert run()["@fake/m"] == "environment"
    assert os.environ.get("DNS_DOMAIN") != "environment"
