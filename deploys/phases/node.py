"""The node: one container with kubelet and cri-dockerd in the main Docker."""

from __future__ import annotations

from .. import static_pods
from ..facts.docker import IMAGE_LABEL
from ..facts.found import RESOLV_CONF
from ..operations.certificates import kubelet_client
from ..operations.containers import Spec, container, no_container
from ..operations.files import File, files, no_files
from ..operations.images import built, pulled, remembered
from ..operations.leftovers import no_cgroups, no_chains, no_directories, no_pods
from ..operations.main_daemon import main_daemon_started
from ..operations.wait import wait_for
from ..record import (
    CRI_SOCKET,
    DOCKER_DROP_IN,
    KUBELET,
    KUBELET_CLIENT,
    KUBELET_CONTAINER,
    KUBELET_PLACES,
    KUBERNETES,
    MANIFESTS,
    PKI,
)
from ..render import digest, render
from ..topology import Node, settings_of
from ..x509 import Certificate
from . import addons, pki
from .bootstrap import proxies
from .docker import bounced

TITLE = "node"

IMAGE = "docker-multinode/node"
CONFIG = f"{KUBERNETES}/kubelet.yaml"
KUBECONFIG = f"{KUBERNETES}/kubelet.conf"
STREAMING = "127.0.0.1:10010"
"""Where cri-dockerd serves exec and logs to the kubelet; by default it would listen everywhere."""

# A socket left by the last start would refuse the kubelet, which then ends. Both end when one ends, so that
# the restart policy starts them together.
START = (
    '[ "$IPTABLES" = nft ] || for c in iptables ip6tables; do '
    "update-alternatives --quiet --set $c /usr/sbin/$c-legacy; done; "
    'cri=(); while [ "$1" != -- ]; do cri+=("$1"); shift; done; shift; '
    "trap 'kill $(jobs -p) 2>/dev/null' TERM INT; rm -f $SOCKET; "
    'cri-dockerd "${cri[@]}" & until [ -S $SOCKET ]; do kill -0 $! || exit 1; sleep 0.1; done; '
    'kubelet "$@" & wait -n; kill $(jobs -p) 2>/dev/null; wait; exit 1'
)


def dockerfile(node: Node) -> str:
    """Text of the node image's Dockerfile for this node's arch and release."""
    release, version, cri = node.release, node.settings.k8s_version, node.release.cri_dockerd
    mirror = node.settings.binaries_url
    kubernetes = f"{mirror or 'https://dl.k8s.io'}/release/{version}/bin/linux/{node.arch}"
    github = f"{mirror or 'https://github.com'}/Mirantis/cri-dockerd"
    fetched = [{"name": name, "url": f"{kubernetes}/{name}", "sha256": ""} for name in ("kubelet", "kubectl")]
    compile_ = None
    if node.arch in cri.sha256:
        archive = f"{github}/releases/download/v{cri.version}/cri-dockerd-{cri.version}.{node.arch}.tgz"
        # a mirror's own build has a checksum of its own, which lies beside it
        checksum = "" if mirror else cri.sha256[node.arch]
        fetched.append({"name": "cri-dockerd.tgz", "url": archive, "sha256": checksum})
    else:
        source = f"{github}/archive/refs/tags/v{cri.version}.tar.gz"
        compile_ = {"image": node.image(cri.golang_image), "source": source}
    return render(
        "node-image/Dockerfile.j2",
        base_image=node.image(release.base_image),
        files=fetched,
        compile=compile_,
        version=version,
        label=IMAGE_LABEL,
    )


def image(node: Node) -> str:
    """The ready-made image, or the name of the one that is built here."""
    if node.settings.node_image:
        return node.settings.node_image
    return f"{IMAGE}:{node.settings.k8s_version}-{digest(dockerfile(node))}"


def _files(node: Node) -> list[File]:
    config = render(
        "kubernetes/kubelet.yaml.j2",
        pki=PKI,
        manifests=MANIFESTS,
        socket=CRI_SOCKET,
        dns_server_ip=node.settings.dns_server_ip,
        dns_domain=node.settings.dns_domain,
        # the stub at 127.0.0.53 would make CoreDNS ask itself. By way of the host's init, since a mounted file stays
        # what it was where the host's is replaced, as DHCP clients do.
        resolv_conf=f"/proc/1/root{node.found.resolv_conf}",
        fields=node.release.kubelet,
    )
    return [File(CONFIG, config), static_pods.kubeconfig(node, KUBECONFIG, "kubelet", KUBELET_CLIENT)]


def _images(node: Node) -> list[str]:
    """All images that a node may get by us, or by the kubelet for us."""
    release = node.release
    components = [static_pods.component_image(node, n) for n in static_pods.PODS]
    base = [
        release.base_image,
        *([] if node.arch in release.cri_dockerd.sha256 else [release.cri_dockerd.golang_image]),
    ]
    built_of = [] if node.settings.node_image else [node.image(name) for name in base]
    applied = addons.images(settings_of(node.first_master)).values()
    return [static_pods.pause(node), *components, *applied, *built_of, image(node)]


def _volumes(node: Node) -> list[str]:
    """Where users keep volumes: the kubelet checks a hostPath's type and binds a subPath in its own mount namespace
    (pkg/volume/hostpath, subpath_linux.go). What it binds goes below KUBELET, so these need not be shared."""
    return [path for path in node.settings.kubelet_paths if not f"{path}/".startswith(f"{node.docker_root}/")]


def spec(node: Node, revision: str) -> Spec:
    """The container: host paths at the same places, so that what the kubelet says is true outside."""
    same = [
        f"{KUBERNETES}:{KUBERNETES}:ro", "/etc/machine-id:/etc/machine-id:ro",
        "/etc/os-release:/etc/os-release:ro", f"{RESOLV_CONF}:{RESOLV_CONF}:ro",
        "/dev:/dev", "/sys:/sys", "/sys/fs/cgroup:/sys/fs/cgroup:rw",
        "/run:/run:rslave", f"{node.docker_root}:{node.docker_root}:rw,rslave",
        f"{KUBELET}:{KUBELET}:rshared", "/var/lib/cri-dockerd:/var/lib/cri-dockerd",
        "/var/log/pods:/var/log/pods", "/var/log/containers:/var/log/containers",
        *(f"{path}:{path}:rslave" for path in _volumes(node)),
    ]  # fmt: skip
    cri_dockerd = (
        "--network-plugin=",
        f"--streaming-bind-addr={STREAMING}",
        f"--pod-infra-container-image={static_pods.pause(node)}",
        f"--container-runtime-endpoint=unix://{CRI_SOCKET}",
    )
    flags = {
        "config": CONFIG,
        "kubeconfig": KUBECONFIG,
        "hostname-override": node.name,
        "node-ip": node.address,
        **node.settings.kubelet_extra_args,
    }
    return Spec(
        image(node),
        ("--privileged", "--net=host", "--pid=host", "--ipc=host", "--cgroupns=host",
         "-e", f"IPTABLES={node.iptables}", "-e", f"SOCKET={CRI_SOCKET}",
         f"--restart={node.settings.restart_policy}", *(w for m in same for w in ("-v", m))),
        ("bash", "-c", START, "start", *cri_dockerd, "--", *(f"--{k}={v}" for k, v in flags.items())),
        revision,
    )  # fmt: skip


def apply(node: Node) -> None:
    """Get all images side by side, write the kubelet's configuration, run it."""
    limit = node.settings.timeout_for_images
    remembered(name="Record the images that come by us", images=_images(node))
    ready = [node.settings.node_image] if node.settings.node_image else []
    pulled(name="Pull Kubernetes", daemon="main", images=[*ready, *static_pods.images(node)], limit=limit)
    if not ready:
        built(
            name="Build the node image",
            daemon="main",
            image=image(node),
            dockerfile=dockerfile(node),
            arguments={name.lower(): value for name, value in proxies(node).items()},
            limit=limit,
        )
    name = f"system:node:{node.name}"
    first = kubelet_client(
        name="Issue the kubelet's first client certificate",
        wanted=Certificate(KUBELET_CLIENT.removesuffix(".pem"), pki.CA, name, ("system:nodes",)),
        authority=node.first_master,
        days=node.settings.certificate_days,
        container=KUBELET_CONTAINER,
    )
    wanted = _files(node)
    # a kubelet that does not find the directory at its start looks again 20 s later (file_linux.go; measured on 1.37.2)
    files(name="Write the kubelet's configuration", wanted=wanted, directories=[MANIFESTS])
    revision = digest("".join(f.content for f in wanted))
    runs = container(
        name="Run kubelet and cri-dockerd",
        daemon="main",
        container=KUBELET_CONTAINER,
        spec=spec(node, revision),
        reads=wanted,
        directories=_volumes(node),
    )
    wait_for(
        name="Wait for the kubelet",
        what="the kubelet to be healthy",
        test=f"docker exec {KUBELET_CONTAINER} curl -fs -m 5 http://127.0.0.1:10248/healthz",
        limit=node.settings.timeout_for_services,
        evidence=f"docker logs --tail 200 {KUBELET_CONTAINER} 2>&1 | "
        "grep -E '^[EF][0-9]|level=(error|fatal)' | tail -n 12; "
        f"docker logs --tail 4 {KUBELET_CONTAINER}",
        further=f"docker logs {KUBELET_CONTAINER}",
        when=[first, runs],
    )


def remove(node: Node) -> None:
    """Stop it, then the pods that it ran; take away what it wrote."""
    # before Docker starts: a kubelet that comes up with it can't register the node again then
    no_files(name="Remove the kubelet's configuration", paths=(CONFIG, KUBECONFIG))
    main_daemon_started(
        name="Start a main Docker that is down",
        restart=node.restart,
        drop_in=DOCKER_DROP_IN,
        bounced=bounced(node),
    )
    no_container(name="Remove the kubelet", daemon="main", container=KUBELET_CONTAINER)
    no_pods(name="Remove the pods")
    no_cgroups(name="Remove the pods' control groups")
    no_chains(name="Remove Kubernetes' iptables chains", prefixes=("KUBE-",))
    no_directories(
        name="Remove what the kubelet wrote",
        paths=KUBELET_PLACES,
    )
