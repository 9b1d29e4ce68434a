"""apiserver, controller-manager, scheduler on masters and kube-proxy everywhere, as static pods."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from pyinfra.api.operation import OperationMeta

from ..facts.docker import POD, PROGRAM
from ..facts.files import HostFiles
from ..observe import observe
from ..operations.containers import programs_restarted
from ..operations.files import files, no_files
from ..operations.wait import wait_for
from ..record import KUBELET_CONTAINER, KUBERNETES, PKI
from ..static_pods import GRACE_SECONDS, HEALTH, REVISION, StaticPod, apiserver, configuration, static_pods
from ..topology import Node

TITLE = "control plane"

_REVISION = re.compile(rf'^ *{re.escape(REVISION)}: *"?([0-9a-f]+)"?$', re.MULTILINE)


def unstick(node: Node, pod: StaticPod | None = None) -> str:
    """Shell command for where the API does not answer. A kubelet that has not heard of an API since it started keeps
    an apiserver that can't start, whatever its manifest says by now (measured on 1.37.2); started again, it reads the
    manifest first. One that has heard of it ends the pod of before within the grace period.

    :param pod: the apiserver's, where it is another one than this run makes.
    """
    pod = pod or apiserver(node)
    sandbox = f"docker ps -q --filter label={POD}=podsandbox --filter"
    replaced = (
        f'[ -z "$({sandbox} label=component={pod.name})" ] || '
        f'[ -n "$({sandbox} label=annotation.{REVISION}={pod.revision})" ]'
    )
    return (
        f"i=0; until {replaced} || [ $((i+=1)) -gt {GRACE_SECONDS + 5} ]; do sleep 1; done; {replaced} || "
        f"docker exec {KUBELET_CONTAINER} curl -fsk -m 5 https://{node.address}:6443/livez >/dev/null 2>&1 || "
        f"docker restart -t 5 {KUBELET_CONTAINER} >/dev/null"
    )


def apply(node: Node) -> None:
    """Write the manifests, wait for each program that they name."""
    pods = static_pods(node)
    files(name="Write configuration and kubeconfigs", wanted=configuration(node, pods))
    again = programs_restarted(name="Restart programs whose files were changed behind their back", programs=pods)
    wrote = files(name="Write static pods", wanted=[pod.manifest for pod in pods])
    wait(node, pods, [again, wrote])


def as_written(node: Node) -> list[StaticPod]:
    """The static pods as their manifests on the host say, which may be of other settings than this run's."""
    found = observe(HostFiles, node.host)
    said = {pod: _REVISION.search(found.content(pod.manifest.path)) for pod in static_pods(node)}
    return [replace(pod, revision=revision[1]) for pod, revision in said.items() if revision]


def wait(node: Node, pods: Sequence[StaticPod], when: Sequence[OperationMeta]) -> None:
    """Wait for each program of these static pods, where an earlier operation changed something."""
    by_name = {pod.name: pod for pod in pods}
    # over all names: pyinfra tells an operation on one host from that on another by its place in the loop
    for name in node.host.loop(HEALTH):  # type: ignore[no-untyped-call]
        if name not in by_name:
            continue
        pod = by_name[name]
        of_pod = f"--filter label={PROGRAM}={pod.name}"
        wait_for(
            name=f"Wait for {pod.name}",
            what=f"{pod.name} to be healthy",
            # the pod's sandbox carries the revision: the program before would answer too
            test=f"docker ps -q --no-trunc --filter label={POD}=podsandbox "
            f"--filter label=annotation.{REVISION}={pod.revision} | grep -q . && "
            f"docker exec {KUBELET_CONTAINER} curl -fsk -m 5 {HEALTH[pod.name].format(address=node.address)}",
            limit=node.settings.timeout_for_services,
            evidence=f"docker ps -a {of_pod} --format '{{{{.Names}}}} {{{{.Status}}}}'; c=$(docker ps -aql {of_pod}); "
            f'if [ -n "$c" ]; then docker logs --tail 12 $c 2>&1; else echo "it was never started; the kubelet:"; '
            f"docker logs --tail 200 {KUBELET_CONTAINER} 2>&1 | grep '^[EF][0-9]' | tail -n 8; fi",
            further=f"docker ps -a {of_pod}, then docker logs of the newest one",
            when=when,
            first=unstick(node, pod) if name == "kube-apiserver" else "",
        )


def remove(node: Node) -> None:
    """Take the manifests away; the kubelet then stops the pods, or the node phase does."""
    mine = observe(HostFiles, node.host).below(KUBERNETES)  # by the record: the node may have had another role
    others = (f"{PKI}/", f"{KUBERNETES}/kubelet.")
    no_files(name="Remove static pods and kubeconfigs", paths=[p for p in mine if not p.startswith(others)])
