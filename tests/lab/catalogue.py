"""What a cluster in the lab is made of: a row is an image or a binary; another version is another row."""

from __future__ import annotations

from .binaries import Binary
from .images import Run
from .programs import CProgram, GoBuild
from .rows import ImageRow


def _kubernetes(version: str) -> GoBuild:
    major, minor, patch = version.removeprefix("v").split(".")
    variables = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return GoBuild(
        name="hyperkube",
        module="k8s.io/kubernetes",
        version=version,
        staging=f"v0.{minor}.{patch}",
        packages={
            "hyperkube": "main",
            "kubelet": "k8s.io/kubernetes/cmd/kubelet",
            "kubectl": "k8s.io/kubernetes/cmd/kubectl",
        },
        variables={f"k8s.io/component-base/version.{name}": value for name, value in variables.items()},
    )


KUBERNETES = {version: _kubernetes(version) for version in ("v1.37.2",)}

ETCD = GoBuild(
    name="etcd",
    module="go.etcd.io/etcd/server/v3",
    version="v3.7.0",
    also={"go.etcd.io/etcd/etcdctl/v3": "v3.7.0", "go.etcd.io/etcd/etcdutl/v3": "v3.7.0"},
    packages={
        "etcd": "go.etcd.io/etcd/server/v3",
        "etcdctl": "go.etcd.io/etcd/etcdctl/v3",
        "etcdutl": "go.etcd.io/etcd/etcdutl/v3",
    },
)
FLANNEL = GoBuild(
    name="flannel",
    module="github.com/flannel-io/flannel",
    version="v0.28.10",
    packages={"flanneld": "github.com/flannel-io/flannel"},
    # the versions that flannel asks for are gone from their repository
    replace={
        "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common": "v1.0.1000",
        "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc": "v1.0.1000",
    },
    variables={"github.com/flannel-io/flannel/pkg/version.Version": "v0.28.10"},
    cgo=True,  # its udp backend
)
CRI_DOCKERD = GoBuild(
    name="cri-dockerd",
    module="github.com/Mirantis/cri-dockerd",
    version="v0.4.3",
    packages={"cri-dockerd": "github.com/Mirantis/cri-dockerd"},
    variables={"github.com/Mirantis/cri-dockerd/cmd/version.Version": "0.4.3"},
)
COREDNS = GoBuild(
    name="coredns",
    module="github.com/coredns/coredns",
    version="v1.14.6",
    packages={"coredns": "github.com/coredns/coredns"},
)
METRICS_SERVER = GoBuild(
    name="metrics-server",
    module="sigs.k8s.io/metrics-server",
    version="v0.9.0",
    packages={"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"},
    variables={"k8s.io/client-go/pkg/version.gitVersion": "v0.9.0"},
)

_CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")


def _kubernetes_images(version: str) -> list[ImageRow]:
    """The images of one version: they share one layer, in which a program is chosen by its name."""
    links = {f"/usr/local/bin/{name}": "hyperkube" for name in (*_CONTROL_PLANE, "kubelet", "kubectl", "kubeadm")}
    program = {"/usr/local/bin/hyperkube": KUBERNETES[version].program("hyperkube")}
    return [
        ImageRow(f"registry.k8s.io/{name}:{version}", base="network", programs=program, links=links)
        for name in _CONTROL_PLANE
    ]


def _kubernetes_binaries(version: str) -> list[Binary]:
    return [
        Binary(f"https://dl.k8s.io/release/{version}/bin/linux/amd64/{name}", KUBERNETES[version].program(name))
        for name in ("kubelet", "kubectl")
    ]


def _etcd_image() -> ImageRow:
    programs = {f"/usr/local/bin/{name}": ETCD.program(name) for name in ETCD.packages}
    return ImageRow("registry.k8s.io/etcd:3.7.0-0", programs=programs)


# In the order in which a cluster needs them: the first build of all of them takes a while.
ROWS: list[ImageRow | Binary] = [
    ImageRow("docker.io/library/debian:trixie-slim", base="debian", run=Run(command=("bash",))),
    ImageRow("docker.io/library/busybox:1.37", base="busybox", run=Run(command=("sh",))),
    ImageRow(
        "registry.k8s.io/pause:3.10.2",
        programs={"/pause": CProgram("pause")},
        run=Run(entrypoint=("/pause",)),
    ),
    _etcd_image(),
    ImageRow(
        "ghcr.io/flannel-io/flannel:v0.28.10",
        base="network",
        programs={"/opt/bin/flanneld": FLANNEL.program("flanneld")},
        run=Run(entrypoint=("/opt/bin/flanneld",)),
    ),
    Binary(
        "https://github.com/Mirantis/cri-dockerd/releases/download/v0.4.3/cri-dockerd-0.4.3.amd64.tgz",
        CRI_DOCKERD.program("cri-dockerd"),
        packed_as="cri-dockerd/cri-dockerd",
    ),
    *(row for version in KUBERNETES for row in _kubernetes_images(version)),
    *(row for version in KUBERNETES for row in _kubernetes_binaries(version)),
    ImageRow(
        "registry.k8s.io/coredns/coredns:v1.14.6",
        programs={"/coredns": COREDNS.program("coredns")},
        run=Run(entrypoint=("/coredns",)),
    ),
    ImageRow(
        "registry.k8s.io/metrics-server/metrics-server:v0.9.0",
        programs={"/metrics-server": METRICS_SERVER.program("metrics-server")},
        run=Run(entrypoint=("/metrics-server",)),
    ),
]
