"""A program gets the keys and rights that it needs, and no other."""

from __future__ import annotations

import pytest
import yaml

from deploys import static_pods
from deploys.phases import addons, pki
from deploys.record import PKI

from .harness import World


@pytest.mark.parametrize("name", ["kube-scheduler", "kube-proxy"])
def test_a_program_without_an_authority_has_its_own_key_mounted_and_no_other(name: str) -> None:
    node = World().node()
    pod = next(pod for pod in static_pods.static_pods(node) if pod.name == name)
    mounted = [volume["hostPath"]["path"] for volume in yaml.safe_load(pod.manifest.content)["spec"]["volumes"]]
    keys = [f"{c.path}.key" for c in pki.wanted(node)] + [p for p in pki.authority_files() if p.endswith(".key")]
    seen = {key for key in keys if any(key == path or key.startswith(f"{path}/") for path in mounted)}
    own = f"{PKI}/{name.removeprefix('kube-') if name == 'kube-scheduler' else name}/client.key"
    assert seen == {own}
    user = pod.reads[-1].content
    assert f"client-key: {own}" in user
    assert f"{PKI}/ca.crt" in mounted


@pytest.mark.parametrize("name", ["coredns", "metrics-server", "headlamp"])
def test_an_addon_gets_no_more_rights_and_asks_for_the_room_that_it_needs(name: str) -> None:
    documents = yaml.safe_load_all(addons.manifest(World().node().settings))
    deployment = next(d for d in documents if (d["kind"], d["metadata"]["name"]) == ("Deployment", name))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    rights = container["securityContext"]
    assert (rights["allowPrivilegeEscalation"], rights["capabilities"]["drop"]) == (False, ["ALL"])
    assert rights.get("runAsNonRoot") or rights["capabilities"]["add"] == ["NET_BIND_SERVICE"]
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
