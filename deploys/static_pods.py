"""The static pods of a node, and what their programs read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from .operations.containers import Program
from .operations.files import File
from .operations.kubeconfig import ADMIN
from .record import KUBE_PROXY, KUBERNETES, MANIFESTS, PKI, SCHEDULER
from .render import digest, render
from .topology import Node

AUTHENTICATION = f"{KUBERNETES}/authentication.yaml"
PROXY_CONFIG = f"{KUBERNETES}/kube-proxy.yaml"
REVISION = "docker-multinode.io/revision"
"""Annotation of a pod: changes with what its program reads only at its start."""
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


def images(node: Node) -> list[str]:
    """Images of the static pods of a node, and of what holds their namespaces."""
    names = PODS if node.is_master else ("kube-proxy",)
    return [pause(node), *(component_image(node, name) for name in names)]


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
        annotation=REVISION,
        **{**defaults, **values},
    )
    content = "".join((text(revision=""), *(file.content for file in reads)))
    revision = digest(content)
    return StaticPod(name, File(f"{MANIFESTS}/{name}.yaml", text(revision=revision)), reads, revision)


def apiserver(node: Node) -> StaticPod:
    """The apiserver's, of a master."""
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
    return [apiserver(node), _controller_manager(node), _scheduler(node), proxy]


def configuration(node: Node, pods: Sequence[StaticPod]) -> list[File]:
    """What the programs of these pods read, and the administrators' kubeconfigs."""
    users = {"admin": ADMIN, "super-admin": "kubernetes-super-admin"} if node.is_master else {}
    return [
        *(file for pod in pods for file in pod.reads),
        *(_user(node, name, user) for name, user in users.items()),
    ]
