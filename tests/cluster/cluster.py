"""A cluster in the lab, and the pods that tests look through."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.lab.hosts import Host
from tests.lab.paths import REGISTRY

from .product import Product
from .waiting import until

BUSYBOX = f"{REGISTRY}/library/busybox:1.37"
KUBECTL = "docker exec -i kubelet kubectl --kubeconfig /etc/kubernetes/super-admin.conf --request-timeout=20s"
BOOTSTRAP = "docker -H unix:///run/docker-bootstrap.sock"
ETCDCTL = (
    f"{BOOTSTRAP} exec etcd etcdctl --cacert /etc/kubernetes/pki/etcd/ca.crt "
    "--cert /etc/kubernetes/pki/etcd/healthcheck-client.crt --key /etc/kubernetes/pki/etcd/healthcheck-client.key"
)
STATIC_PODS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
ABSENT_IMAGES = ("headlamp",)
"""Addons whose image can't be had in the lab: their pods never run."""

WEB = (
    "mkdir -p /www/cgi-bin; hostname > /www/name; dd if=/dev/zero of=/www/big bs=1M count=4 2>/dev/null; "
    "printf '#!/bin/sh\\necho; echo $REMOTE_ADDR\\n' > /www/cgi-bin/from; chmod +x /www/cgi-bin/from; "
    "trap 'exit 0' TERM; httpd -f -p 8080 -h /www & wait $!"
)
"""Answers with its name, with 4 MB, and with who asked."""
GET = "curl -fsS -m 5"
HOST_PORT = 18080
NODE_PORT = 30080


@dataclass
class Cluster:
    """A cluster: its hosts, the product that made it, and ways to look at it."""

    master: Host
    workers: tuple[Host, ...]
    product: Product

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, the master first."""
        return (self.master, *self.workers)

    def kubectl(self, *words: str, input: str | None = None, check: bool = True, timeout: float = 60) -> str:
        """Standard output of kubectl, as cluster admin on the master."""
        result = self.master.run(f"{KUBECTL} {shlex.join(words)}", check=check, input=input, timeout=timeout)
        return result.stdout

    def get(self, *words: str) -> list[dict[str, Any]]:
        """Objects as the API has them."""
        found = json.loads(self.kubectl("get", *words, "-o", "json"))
        return list(found["items"]) if "items" in found else [found]

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or change objects."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", "-f", "-", input=text)

    def delete(self, *words: str) -> None:
        """Delete objects and wait until they are gone."""
        self.kubectl("delete", "--ignore-not-found", "--wait=true", "--grace-period=1", *words, timeout=120)

    def in_pod(self, host: Host, pod: str, command: str, check: bool = True, timeout: float = 60) -> str:
        """Run a shell command in a pod's client by its host's Docker, not by the API: that is a test of its own."""
        script = (
            f"c=$(docker ps -q --filter label=io.kubernetes.pod.name={pod} "
            "--filter label=io.kubernetes.container.name=client | head -n 1); "
            f'[ -n "$c" ] || {{ echo "no container of {pod} runs" >&2; exit 1; }}; '
            f"docker exec -i $c bash -c {shlex.quote(command)}"
        )
        return host.run(script, check=check, timeout=timeout).stdout

    def node_image(self) -> str:
        """The image that the kubelet runs in: it has curl and a real resolver, which busybox has not."""
        return self.master.run("docker inspect -f '{{.Config.Image}}' kubelet").stdout.strip()

    def address(self, pod: str) -> str:
        """A pod's address."""
        address = str(self.get("pod", pod)[0]["status"]["podIP"])
        assert address, f"{pod} has no address"
        return address

    # ---- the standing pods: one web server a node, with Services

    def deploy_web(self) -> None:
        """A web server on each node; a Service of all, and one of each alone."""
        objects = [service("web", {"app": "web"}, NODE_PORT)]
        for host in self.hosts:
            objects += [web_pod(host.name, self.node_image()), service(web(host), {"on": host.name})]
        self.apply(*objects)
        self.kubectl("wait", "--for=condition=Ready", "--timeout=50s", "pod", "-l", "app=web")

    def works(self) -> bool:
        """Whether pods reach each other, every one by itself and by Service, and DNS answers them.

        :raises Exception: they do not.
        """
        addresses = {host.name: self._web_address(host) for host in self.hosts}
        for host in self.hosts:
            tests = [f'[ "$({GET} http://{a}:8080/name)" = web-{n} ]' for n, a in addresses.items()]
            tests.append(f"{GET} http://web:8080/name http://web-{host.name}:8080/name")
            self.in_pod(host, web(host), " && ".join(tests))
        return True

    def _web_address(self, host: Host) -> str:
        # of the container that runs now, where the API may still tell the one from before a reboot
        script = (
            f"c=$(docker ps -q --filter label=io.kubernetes.pod.name={web(host)} "
            "--filter label=io.kubernetes.docker.type=podsandbox | head -n 1); "
            "docker inspect -f '{{.NetworkSettings.IPAddress}}' $c"
        )
        return host.run(script).stdout.strip()

    def wait_works(self, seconds: float = 240) -> float:
        """Wait until `works`, and every node is Ready; the seconds until then."""
        begin = until("pods to reach each other", seconds, self.works, every=1)
        return begin + until("nodes and pods to be Ready", seconds, self.ready, every=1)

    def ready(self) -> bool:
        """Whether the API answers, every node is Ready and every pod that has an image.

        :raises AssertionError: which is not.
        """
        for node in self.get("nodes"):
            assert _condition(node, "Ready"), f"node {node['metadata']['name']} is not Ready"
        for pod in self.get("pods", "-A"):
            name = str(pod["metadata"]["name"])
            if not name.startswith(ABSENT_IMAGES):
                assert _condition(pod, "Ready"), f"pod {name} is not Ready"
        return True

    def node_ready(self, name: str) -> bool:
        """Whether the API calls a node Ready."""
        (node,) = self.get("node", name)
        return _condition(node, "Ready")


def container_of(program: str) -> str:
    """A command that prints the id of a program's container, while it runs."""
    return f"docker ps -q --filter label=io.kubernetes.container.name={program}"


def started_anew(program: str) -> str:
    """Stop a program and wait until the kubelet has started it: then it has read what its files say now."""
    there = f'for i in $(seq 120); do c=$({container_of(program)}); [ -z "$c" ] || break; sleep 1; done; [ "$c" ]'
    return f"{there} && docker stop $c && {there}"


def in_bootstrap(host: Host) -> list[str]:
    """Containers that run in the bootstrap daemon, with the process of each and when it was started."""
    form = "'{{.Name}} {{.State.Pid}} {{.State.StartedAt}}'"
    found = host.run(f"{BOOTSTRAP} inspect -f {form} $({BOOTSTRAP} ps -q)").stdout.splitlines()
    return sorted(found)


def docker0(host: Host) -> str:
    """The address of docker0, with prefix length."""
    return host.run("ip -4 -o addr show dev docker0 | awk '{print $4}'").stdout.strip()


def web(host: Host) -> str:
    """The web server's pod on a host."""
    return f"web-{host.name}"


def web_pod(node: str, client: str) -> dict[str, Any]:
    """The web server on a node, which writes a line a second, and beside it a client with curl."""
    say = "(i=0; while true; do i=$((i+1)); echo line $i; sleep 1; done) & "
    ports = [{"containerPort": 8080, "hostPort": HOST_PORT}]
    found = pod(f"web-{node}", node, say + WEB, labels={"app": "web", "on": node}, ports=ports)
    wait = "trap 'exit 0' TERM; sleep infinity & wait"
    found["spec"]["containers"].append({"name": "client", "image": client, "command": ["bash", "-c", wait]})
    return found


def pod(
    name: str,
    node: str,
    command: str,
    labels: dict[str, str] | None = None,
    ports: Sequence[dict[str, int]] = (),
    **container: object,
) -> dict[str, Any]:
    """A pod of one busybox container on a node."""
    main = {"name": "main", "image": BUSYBOX, "command": ["sh", "-c", command], "ports": list(ports), **container}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels or {"app": name}},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [main]},
    }


def service(name: str, selector: dict[str, str], node_port: int | None = None, **spec: str) -> dict[str, Any]:
    """A Service of pods' port 8080, with a NodePort where one is given."""
    port = {"port": 8080, "targetPort": 8080, **({"nodePort": node_port} if node_port else {})}
    kind = "NodePort" if node_port else "ClusterIP"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": kind, "selector": selector, "ports": [port], **spec},
    }


def _condition(thing: dict[str, Any], kind: str) -> bool:
    conditions = thing["status"].get("conditions", [])
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)
