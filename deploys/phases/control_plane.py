"""apiserver, controller-manager, scheduler on masters and kube-proxy everywhere, as static pods."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pyinfra.api.operation import OperationMeta

from ..facts.daemons import POD, PROGRAM
from ..facts.files import HostFiles
from ..observe import observe
from ..operations.containers import Program, programs_restarted
from ..operations.files import File, files, no_files
from ..operations.kubeconfig import ADMIN
from ..operations.wait import wait_for
from ..record import KUBE_PROXY, KUBELET_CONTAINER, KUBERNETES, MANIFESTS, PKI, SCHEDULER
from ..render import render
from ..topology import Node

TITLE = "control plane"

AUTHENTICATION = f"{KUBERNETES}/authentication.yaml"
PROXY_CONFIG = f"{KUBERNETES}/kube-proxy.yaml"
REVISION = "docker-multinode.io/revision"
_REVISION = re.compile(rf'^ *{re.escape(REVISION)}: *"?([0-9a-f]+)"?$', re.MULTILINE)
GRACE_SECONDS = 10
"""An apiserver that drains its watches for the usual 30 s costs the others their leases."""
HEALTH = {
    "kube-apiserver": "https://{address}:6443/readyz",
    "kube-controller-manager": "https://127.0.0.1:10257/healthz",
    "kube-scheduler": "https://127.0.0.1:10259/readyz",
    "kube-proxy": "http://127.0.0.1:10256/livez",
}
"""Where each program says that it is healthy."""
MASTER_PODS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
PODS = (*MASTER_PODS, "kube-proxy")


def component_image(node: Node, name: str) -> str:
    """Reference of one of Kubernetes' own images."""
    return node.image(f"registry.k8s.io/{name}:{node.settings.k8s_version}")


def pause(node: Node) -> str:
    """Reference of the image that holds a pod's namespaces."""
    return node.image(f"registry.k8s.io/pause:{node.release.pause}")


def kubeconfig(node: Node, path: str, user: str, certificate: str, key: str = "") -> File:
    """A kubeconfig that names certificate and key by path: it is no secret and follows a renewal."""
    text = render(
        "kubernetes/kubeconfig.yaml.j2",
        ca=f"{PKI}/ca.crt",
        server=f"https://{node.master_address}:6443",
        user=user,
        certificate=certificate,
        key=key or certificate,
    )
    return File(path, text)


def _user(node: Node, name: str, user: str, place: str = "") -> File:
    pair = f"{place}/client" if place else f"{PKI}/{name}"
    return kubeconfig(node, f"{KUBERNETES}/{name}.conf", user, f"{pair}.crt", f"{pair}.key")


def _credentials(place: str) -> tuple[tuple[str, str, bool], ...]:
    """A program's own certificate, and the authority: no other key of the host."""
    return (f"{PKI}/ca.crt", "File", True), (place, "Directory", True)


def _mounts(*paths: tuple[str, str, bool]) -> list[dict[str, object]]:
    return [{"name": f"m{i}", "path": p, "type": t, "read_only": ro} for i, (p, t, ro) in enumerate(paths)]


@dataclass(frozen=True)
class StaticPod(Program):
    """A program with its pod's manifest, and what tells that from the one before.

    :param revision: hash of the manifest and of the files that the program reads.
    """

    revision: str = ""


def _pod(node: Node, name: str, flags: Mapping[str, str], reads: tuple[File, ...] = (), **values: object) -> StaticPod:
    defaults = {"tier": "control-plane", "privileged": False, "port": None, "host": "127.0.0.1",
                "scheme": "HTTPS", "health": "/livez", "cpu": "100m"}  # fmt: skip
    command = [name, *(f"--{flag}={value}" for flag, value in flags.items())]
    text = partial(
        render,
        "kubernetes/static-pod.yaml.j2",
        name=name,
        image=component_image(node, name),
        command=command,
        grace=GRACE_SECONDS,
        **{**defaults, **values},
    )
    content = "".join((text(revision=""), *(file.content for file in reads)))
    revision = hashlib.sha256(content.encode()).hexdigest()[:12]
    return StaticPod(name, File(f"{MANIFESTS}/{name}.yaml", text(revision=revision)), reads, revision)


def _apiserver(node: Node) -> StaticPod:
    wanted, authentication = node.settings, File(AUTHENTICATION, render("kubernetes/authentication.yaml.j2"))
    flags = {
        "advertise-address": node.address,
        "allow-privileged": "true",
        "authentication-config": AUTHENTICATION,
        "authorization-mode": "Node,RBAC",
        "client-ca-file": f"{PKI}/ca.crt",
        "enable-admission-plugins": "NodeRestriction",
        "etcd-cafile": f"{PKI}/etcd/ca.crt",
        "etcd-certfile": f"{PKI}/apiserver-etcd-client.crt",
        "etcd-keyfile": f"{PKI}/apiserver-etcd-client.key",
        "etcd-servers": "https://127.0.0.1:2379",
        "kubelet-certificate-authority": f"{PKI}/ca.crt",
        "kubelet-client-certificate": f"{PKI}/apiserver-kubelet-client.crt",
        "kubelet-client-key": f"{PKI}/apiserver-kubelet-client.key",
        "kubelet-preferred-address-types": "InternalIP,ExternalIP,Hostname",
        "profiling": "false",
        "proxy-client-cert-file": f"{PKI}/front-proxy-client.crt",
        "proxy-client-key-file": f"{PKI}/front-proxy-client.key",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-client-ca-file": f"{PKI}/front-proxy-ca.crt",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "secure-port": "6443",
        # without the DNS domain: tokens of running pods outlive a change of DNS_DOMAIN
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": f"{PKI}/sa.pub",
        "service-account-signing-key-file": f"{PKI}/sa.key",
        "service-cluster-ip-range": wanted.service_network,
        "tls-cert-file": f"{PKI}/apiserver.crt",
        "tls-private-key-file": f"{PKI}/apiserver.key",
        **wanted.apiserver_extra_args,
    }
    return _pod(
        node, "kube-apiserver", flags, cpu="250m", port=6443, host=node.address,
        mounts=_mounts((PKI, "Directory", True), (AUTHENTICATION, "File", True)),
        reads=(authentication,),
    )  # fmt: skip


def _controller_manager(node: Node) -> StaticPod:
    user = _user(node, "controller-manager", "system:kube-controller-manager")
    conf = user.path
    flags = {
        "authentication-kubeconfig": conf,
        "authorization-kubeconfig": conf,
        "bind-address": "127.0.0.1",
        "client-ca-file": f"{PKI}/ca.crt",
        "cluster-signing-cert-file": f"{PKI}/ca.crt",
        "cluster-signing-key-file": f"{PKI}/ca.key",
        "kubeconfig": conf,
        "leader-elect": "true",
        "profiling": "false",
        "requestheader-client-ca-file": f"{PKI}/front-proxy-ca.crt",
        "root-ca-file": f"{PKI}/ca.crt",
        "service-account-private-key-file": f"{PKI}/sa.key",
        "use-service-account-credentials": "true",
        **node.settings.controller_manager_extra_args,
    }
    return _pod(node, "kube-controller-manager", flags, (user,), port=10257, health="/healthz",
                mounts=_mounts((PKI, "Directory", True), (conf, "File", True)))  # fmt: skip


def _scheduler(node: Node) -> StaticPod:
    user = _user(node, "scheduler", "system:kube-scheduler", SCHEDULER)
    conf = user.path
    flags = {
        "authentication-kubeconfig": conf,
        "authorization-kubeconfig": conf,
        "bind-address": "127.0.0.1",
        "kubeconfig": conf,
        "leader-elect": "true",
        "profiling": "false",
        **node.settings.scheduler_extra_args,
    }
    return _pod(node, "kube-scheduler", flags, (user,), port=10259,
                mounts=_mounts(*_credentials(SCHEDULER), (conf, "File", True)))  # fmt: skip


def _proxy(node: Node) -> StaticPod:
    config, user = _proxy_config(), _user(node, "kube-proxy", "system:kube-proxy", KUBE_PROXY)
    flags = {"config": PROXY_CONFIG, "hostname-override": node.name, **node.settings.kube_proxy_extra_args}
    mounts = _mounts(
        (config.path, "File", True),
        (user.path, "File", True),
        *_credentials(KUBE_PROXY),
        ("/run/xtables.lock", "FileOrCreate", False),
    )
    return _pod(node, "kube-proxy", flags, (config, user), tier="node", privileged=True, mounts=mounts)


def _proxy_config() -> File:
    text = render("kubernetes/kube-proxy.yaml.j2", kubeconfig=f"{KUBERNETES}/kube-proxy.conf")
    return File(PROXY_CONFIG, text)


def static_pods(node: Node) -> list[StaticPod]:
    """The static pods of a node, in the order in which they can come up."""
    proxy = _proxy(node)
    if not node.is_master:
        return [proxy]
    return [_apiserver(node), _controller_manager(node), _scheduler(node), proxy]


def configuration(node: Node, pods: Sequence[StaticPod]) -> list[File]:
    """What the programs of these pods read, and the administrators' kubeconfigs."""
    users = {"admin": ADMIN, "super-admin": "kubernetes-super-admin"} if node.is_master else {}
    return [
        *(file for pod in pods for file in pod.reads),
        *(_user(node, name, user) for name, user in users.items()),
    ]


def unstick(node: Node, pod: StaticPod | None = None) -> str:
    """Shell command for where the API does not answer. A kubelet that has not heard of an API since it started keeps
    an apiserver that can't start, whatever its manifest says by now (measured on 1.37.2); started again, it reads the
    manifest first. One that has heard of it ends the pod of before within the grace period.

    :param pod: the apiserver's, where it is another one than this run makes.
    """
    pod = pod or _apiserver(node)
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


def images(node: Node) -> list[str]:
    """Images of the static pods of a node, and of what holds their namespaces."""
    names = PODS if node.is_master else ("kube-proxy",)
    return [pause(node), *(component_image(node, name) for name in names)]


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
