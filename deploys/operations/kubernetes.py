"""Objects in the API and nodes that join, asked and changed on the first master."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence

import yaml
from pyinfra import host, state
from pyinfra.api import FunctionCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import OperationMeta
from pyinfra.api.state import State

from ..backends import VXLAN_LINK
from ..busy import MARK
from ..facts.daemons import DaemonsFact
from ..facts.docker import PROGRAM
from ..facts.etcd import EtcdSubnets
from ..facts.files import HostFiles
from ..facts.kubernetes import EXEC, KUBECTL, MANAGER, ClusterNodes, Objects, ObjectsState, TakenFields
from ..managed_fields import leave
from ..observe import ask, forget, observe
from ..operation import Commands, changed, operation, removal
from ..plan import say, tell, unknown
from ..record import ETCD_CONTAINER, FLANNEL_CONTAINER, KUBELET_CONTAINER, KUBERNETES, NODE, SUBNET_ENV
from ..remote import run
from ..run_nodes import has_the_first_master
from ..subnets import gateway
from ..topology import Node, somebody_else
from .containers import docker
from .on_master import on_master
from .wait import until


@operation
def objects(manifest: str, addons: Collection[str], limit: int, first: str = "") -> Commands:
    """
    Ensure that these objects are in the API, by server-side apply without force: a field that somebody
    else has set since is named and left. Those of ours that belong to another addon are deleted.

    + manifest: YAML documents
    + addons: values of our label that stay
    + limit: seconds to wait for an API that does not answer
    + first: shell command that is run before that
    """
    manifest, now = _against(manifest)
    waited = not now.answers and KUBELET_CONTAINER in observe(DaemonsFact).main.containers
    if waited:
        why = "it refuses these objects" if now.refused else "it does not answer"
        say(f"Unknown what will change in the API, {why}: {now.error}")
        yield StringCommand((f"{first}; " if first else "") + _api_answers(limit))
        manifest, now = _against(manifest)
    extra = [o for o in now.labelled if o[0] not in addons]
    if now.answers and not now.diff and not extra:
        if not waited:
            host.noop("the objects are as they should be")
        return
    if now.answers and now.diff:
        say("Will change objects (kubectl diff):", *now.diff)
    elif not now.answers and not waited:
        say("Will create these objects:", *manifest.splitlines())
    for addon, kind, namespace, name in extra:
        say(f"Will delete {kind} {namespace + '/' if namespace else ''}{name} of the addon {addon}")
    if not now.answers or now.diff:
        yield StringCommand(f"{KUBECTL} apply --server-side --field-manager={MANAGER} -f - >/dev/null", _stdin=manifest)
    for _, kind, namespace, name in extra:
        where = ["-n", namespace] if namespace else []
        words = shlex.join([*where, "--", kind, name])
        yield StringCommand(f"{KUBECTL} delete --wait=false --ignore-not-found {words} >/dev/null")


def _against(manifest: str) -> tuple[str, ObjectsState]:
    """The objects without the fields that others have set, and how they stand in the API."""
    now = observe(Objects, manifest=manifest)
    if not now.taken:
        return manifest, now
    manifest = _without_taken(manifest)
    return manifest, observe(Objects, manifest=manifest)


def _api_answers(limit: int) -> str:
    apiserver = f"--filter label={PROGRAM}=kube-apiserver"
    return until(
        "the API to answer",
        f"{KUBECTL} get --raw /readyz </dev/null",
        limit,
        f"docker ps -a {apiserver}; docker logs --tail 8 $(docker ps -aql {apiserver})",
        f"docker logs of kube-apiserver's newest container, then of etcd: {docker('bootstrap')} logs {ETCD_CONTAINER}",
    )


def _without_taken(manifest: str) -> str:
    """The objects without the fields that others have set since."""
    documents = list(yaml.safe_load_all(manifest))
    texts = [yaml.safe_dump(document, sort_keys=False) for document in documents]
    for number, taken in observe(TakenFields, documents=tuple(texts)).items():
        document = documents[number]
        for field in taken:
            if leave(document, field.path):
                where = "/".join(document["metadata"][k] for k in ("namespace", "name") if k in document["metadata"])
                say(f"Will leave {field.path} of {document['kind']} {where} as {field.manager} has set it")
        texts[number] = yaml.safe_dump(document, sort_keys=False)
    return "---\n".join(texts)


def _register(node: str) -> str:
    """Restart a kubelet that does not register; one that was started within a minute may be about to."""
    kubectl = f"docker exec {KUBELET_CONTAINER} kubectl --kubeconfig {KUBERNETES}/kubelet.conf"
    registered = f"timeout 20 {kubectl} get node {node}"
    return (
        f"started=$(date -d \"$(docker inspect -f '{{{{.State.StartedAt}}}}' {KUBELET_CONTAINER})\" +%s) && "
        f"while [ $(($(date +%s) - started)) -lt 60 ]; do ! {registered} >/dev/null 2>&1 || exit 0; sleep 1; done && "
        f"docker restart -t 5 {KUBELET_CONTAINER} >/dev/null"
    )


@operation
def node_ready(node: str, master: Host, labels: Sequence[str], limit: int, when: Sequence[OperationMeta]) -> Commands:
    """
    Wait until a node is Ready, where something changed or it is not, and ensure its labels.

    + node: its name
    + master: the first master
    + labels: labels that the node's own kubelet may not set
    + limit: seconds
    + when: operations whose change makes the wait necessary
    """
    now = observe(ClusterNodes, master)
    have = (now or {}).get(node)
    wait = not (have and have.ready) or changed(when)
    missing = [label for label in labels if not have or label not in have.labels]
    lost = now is not None and not have and KUBELET_CONTAINER in observe(DaemonsFact).main.containers
    if not wait and not missing:
        host.noop(f"node {node} is Ready")
        return
    if lost:
        say(
            f"Will restart container {KUBELET_CONTAINER}: the API has no node {node}, and a kubelet registers at its "
            "start only"
        )
    if wait:
        say(f"Will wait until node {node} is Ready")
    if missing:
        say(f"Will label node {node} with {', '.join(missing)}")
    if lost:
        yield StringCommand(_register(node))
    if wait:
        yield on_master(master, _until_ready(node, limit), f"waiting for node {node}")
    for label in missing:
        yield on_master(master, f"{KUBECTL} label --overwrite node {node} {label}", f"labelling node {node}")


def _until_ready(node: str, limit: int) -> str:
    return until(
        f"node {node} to be Ready",
        f"{KUBECTL} wait --for=condition=Ready --timeout=5s node/{node}",
        limit,
        f"{KUBECTL} get nodes -o wide; {KUBECTL} describe node {node} | sed -n '/^Conditions/,/^Addresses/p'",
        f"docker logs {KUBELET_CONTAINER} (on the node), kubectl describe node {node} (on the master)",
    )


@operation
def pods_network_verified(master: Host, limit: int, when: Sequence[OperationMeta]) -> Commands:
    """
    Check that this node reaches every node that is Ready over the pod network, where this run changed something.

    + master: the first master, which knows the nodes and whose etcd knows their subnets
    + limit: seconds
    + when: all operations of the run on this host
    """
    if not changed(when):
        host.noop("nothing changed, the pod network is not checked again")
        return
    say("Will ping docker0 of every node that is Ready over the pod network")
    if not state.is_executing:
        yield unknown("the nodes that are Ready by then")
        return
    known, nodes = observe(EtcdSubnets, master), observe(ClusterNodes, master)
    for node, subnet in sorted(known.reservations.items()):
        if nodes is not None and node not in nodes:
            continue  # it has not joined, or it left
        if nodes is not None and not nodes[node].ready:
            yield tell(f"node {node} is not Ready, so it is not pinged over the pod network")
            continue
        address = gateway(subnet).split("/")[0]
        source = f"$(sed -n 's,^FLANNEL_SUBNET=\\(.*\\)/.*,\\1,p' {SUBNET_ENV})"
        yield StringCommand(
            until(
                f"an answer of node {node} at {address} over the pod network",
                f"docker exec {KUBELET_CONTAINER} ping -c 1 -W 2 -I {source} {address}",
                limit,
                f"ip route; ip -d link show {VXLAN_LINK}",
                f"{docker('bootstrap')} logs {FLANNEL_CONTAINER} (on both nodes)",
            )
        )


def _drained(state: State, host: Host, master: Host, command: str, node: str) -> bool:
    ok, out, err = run(master, command)
    forget(master, ClusterNodes)
    stuck = dict.fromkeys(line for line in out.splitlines() if line.startswith(("error", "There are pending")))
    if stuck:
        host.log(f"node {node} is not drained in time, and is deleted with these pods on it:")
        for line in stuck:
            host.log(f"  {line}")
    if not ok:
        host.log(f"node {node} could not be deleted: {(err or out).strip()}")
    return ok


@removal
def node_removed(node: Node, limit: int) -> Commands:
    """
    Drain a node and delete its object, where the API answers and stays: a master takes its API along.

    + node: the node
    + limit: seconds for the drain; afterwards the node goes also with the pods that are left
    """
    if has_the_first_master():
        host.noop("the API goes with its master")
        return
    known, name = ask(ClusterNodes, node.first_master), node.joined_as
    if known is None and observe(HostFiles).ours(NODE):
        say(
            f"The API on {node.first_master.name} does not answer: node {name} is not drained, and stays known "
            f"there until: kubectl delete node {name}"
        )
    if known is None or name not in known:
        host.noop("no API answers that knows the node")
        return
    if other := somebody_else(node, name, known[name]):
        say(f"Node {name} is {other}: it is neither drained nor deleted")
        host.noop(f"the node is {other}")
        return
    delete = f"{KUBECTL} delete --ignore-not-found node {name} >/dev/null"
    if not observe(DaemonsFact).main.active or not known[name].ready:
        say(f"Will delete node {name}; it is not drained, for its kubelet could not end pods")
        yield on_master(node.first_master, delete, f"deleting node {name}")
        return
    say(f"Will drain node {name}, for at most {limit} s, and delete it")
    drain = f"drain {name} --ignore-daemonsets --delete-emptydir-data --force --timeout={limit}s"
    # one command, which says nothing before its end and so goes on where the connection breaks: a node that is drained
    # and stays would take no pods. The next run waits for it, by the mark.
    # No `timeout 60` around the drain: it has its own limit, except where the API stops answering
    command = (
        f"{MARK} said=$(timeout {limit + 30} {EXEC} {drain} 2>&1 || echo 'error: no answer in time'); {delete}; rc=$?; "
        "printf '%s\\n' \"$said\"; exit $rc"
    )
    yield FunctionCommand(_drained, (node.first_master, command, name), {})
