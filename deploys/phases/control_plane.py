"""apiserver, controller-manager, scheduler on masters and kube-proxy everywhere, as static pods."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from ..operations.containers import docker
from ..operations.files import File, files
from ..operations.images import pulled
from ..operations.wait import wait_for
from ..record import KUBERNETES, MANIFESTS, PKI
from ..render import render
from ..topology import Node

TITLE = "control plane"

AUTHENTICATION = f"{KUBERNETES}/authentication.yaml"
PROXY_CONFIG = f"{KUBERNETES}/kube-proxy.yaml"
SUPER_ADMIN = f"{KUBERNETES}/super-admin.conf"
MASTER_PODS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


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


def _user(node: Node, name: str, user: str) -> File:
    return kubeconfig(node, f"{KUBERNETES}/{name}.conf", user, f"{PKI}/{name}.crt", f"{PKI}/{name}.key")


def _mounts(*paths: tuple[str, str, bool]) -> list[dict[str, object]]:
    return [{"name": f"m{i}", "path": p, "type": t, "read_only": ro} for i, (p, t, ro) in enumerate(paths)]


def _pod(node: Node, name: str, flags: Mapping[str, str], **values: object) -> File:
    defaults = {"tier": "control-plane", "privileged": False, "port": None, "host": "127.0.0.1",
                "scheme": "HTTPS", "health": "/livez", "cpu": "100m", "revision": ""}  # fmt: skip
    text = render(
        "kubernetes/static-pod.yaml.j2",
        name=name,
        image=component_image(node, name),
        command=[name, *(f"--{flag}={value}" for flag, value in flags.items())],
        **{**defaults, **values},
    )
    return File(f"{MANIFESTS}/{name}.yaml", text)


def _apiserver(node: Node, authentication: File) -> File:
    wanted = node.settings
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
        revision=_hash(authentication.content),
    )  # fmt: skip


def _controller_manager(node: Node) -> File:
    conf = f"{KUBERNETES}/controller-manager.conf"
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
    return _pod(node, "kube-controller-manager", flags, port=10257, health="/healthz",
                mounts=_mounts((PKI, "Directory", True), (conf, "File", True)))  # fmt: skip


def _scheduler(node: Node) -> File:
    conf = f"{KUBERNETES}/scheduler.conf"
    flags = {
        "authentication-kubeconfig": conf,
        "authorization-kubeconfig": conf,
        "bind-address": "127.0.0.1",
        "kubeconfig": conf,
        "leader-elect": "true",
        "profiling": "false",
        **node.settings.scheduler_extra_args,
    }
    return _pod(node, "kube-scheduler", flags, port=10259,
                mounts=_mounts((PKI, "Directory", True), (conf, "File", True)))  # fmt: skip


def _proxy(node: Node, config: File) -> File:
    flags = {"config": PROXY_CONFIG, "hostname-override": node.name, **node.settings.kube_proxy_extra_args}
    mounts = _mounts(
        (PROXY_CONFIG, "File", True),
        (f"{KUBERNETES}/kube-proxy.conf", "File", True),
        (PKI, "Directory", True),
        ("/run/xtables.lock", "FileOrCreate", False),
    )
    return _pod(node, "kube-proxy", flags, tier="node", privileged=True, mounts=mounts,
                revision=_hash(config.content))  # fmt: skip


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def node_files(node: Node) -> list[File]:
    """What every node gets: kube-proxy."""
    config = File(PROXY_CONFIG, render("kubernetes/kube-proxy.yaml.j2", kubeconfig=f"{KUBERNETES}/kube-proxy.conf"))
    return [config, _user(node, "kube-proxy", "system:kube-proxy"), _proxy(node, config)]


def master_files(node: Node) -> list[File]:
    """What a master gets besides."""
    authentication = File(AUTHENTICATION, render("kubernetes/authentication.yaml.j2"))
    return [
        authentication,
        _user(node, "admin", "kubernetes-admin"),
        _user(node, "super-admin", "kubernetes-super-admin"),
        _user(node, "controller-manager", "system:kube-controller-manager"),
        _user(node, "scheduler", "system:kube-scheduler"),
        _apiserver(node, authentication),
        _controller_manager(node),
        _scheduler(node),
    ]


def wanted_files(node: Node) -> list[File]:
    """All files of this phase on a node; manifests last, for the kubelet acts on them at once."""
    return (master_files(node) if node.is_master else []) + node_files(node)


def apply(node: Node) -> None:
    """Pull the images side by side, write the manifests, wait for the API."""
    pods = (*MASTER_PODS, "kube-proxy") if node.is_master else ("kube-proxy",)
    images = [pause(node), *(component_image(node, name) for name in pods)]
    limit = node.settings.timeout_for_services
    pulled(name="Pull Kubernetes", daemon="main", images=images, limit=node.settings.timeout_for_images)
    wrote = files(name="Write static pods and kubeconfigs", wanted=wanted_files(node))
    if node.is_master:
        wait_for(
            name="Wait for the API",
            what="the API to be ready",
            test=f"docker exec kubelet kubectl --kubeconfig {SUPER_ADMIN} get --raw /readyz",
            limit=limit,
            evidence=f"{docker('main')} ps -a --filter label=io.kubernetes.container.name=kube-apiserver "
            "--format '{{.Names}} {{.Status}}'; docker logs --tail 15 $(docker ps -aq --filter "
            "label=io.kubernetes.container.name=kube-apiserver | head -n 1)",
            further="docker ps -a --filter label=io.kubernetes.container.name=kube-apiserver",
            when=[wrote],
        )


def remove(node: Node) -> None:
    """Take the manifests away; the kubelet then stops the pods, or the node phase does."""
    files(
        name="Remove static pods and kubeconfigs",
        wanted=(),
        absent=[f.path for f in wanted_files(node)],
    )
