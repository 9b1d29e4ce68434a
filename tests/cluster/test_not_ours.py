"""What is not ours stays as it is: on a host that never was a node, and on one that was and had things of its own.

On the spare host, and on one Docker only where what is looked at does not depend on it.
"""

from __future__ import annotations

import re
from ipaddress import ip_interface

from tests.lab.hosts import Host

from . import listing
from .cluster import BOOTSTRAP, BUSYBOX, docker0
from .product import PURGE, Product, assert_empty

RESTART = "systemctl reset-failed docker; systemctl restart docker"
"""Docker's unit allows three starts in a minute."""

ANOTHER_KUBERNETES = f"""set -e
docker pull -q {BUSYBOX} >/dev/null
mkdir -p /etc/kubernetes/manifests /var/lib/etcd/member /var/lib/kubelet/pki /var/lib/cri-dockerd/sandbox \
  /var/log/pods/theirs /var/log/containers /run/flannel /etc/systemd/system/docker.service.d
for f in /etc/kubernetes/admin.conf /etc/kubernetes/manifests/etcd.yaml /var/lib/etcd/member/theirs \
  /var/lib/kubelet/config.yaml /var/lib/cri-dockerd/sandbox/1 /var/log/pods/theirs/0.log /run/flannel/subnet.env \
  /run/docker-bootstrap.sock; do echo theirs > $f; done
ip link add flannel.1 type vxlan id 9 dev eth0 dstport 8473
for c in KUBE-SERVICES FLANNEL-POSTRTG; do iptables -w -t nat -N $c; iptables -w -t nat -A POSTROUTING -j $c; done
printf '[Service]\\nExecStart=\\nExecStart=%s --bip=10.77.0.1/24\\n' \
  "$(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/docker.service)" \
  > /etc/systemd/system/docker.service.d/their-address.conf
systemctl daemon-reload; {RESTART}
printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' \
  > /etc/systemd/system/docker-bootstrap.service
systemctl daemon-reload; systemctl enable -q --now docker-bootstrap
docker run -d --name kubelet {BUSYBOX} sleep 1d >/dev/null
docker run -d --name k8s_theirs --label io.kubernetes.docker.type=container {BUSYBOX} sleep 1d >/dev/null
docker tag {BUSYBOX} registry.k8s.io/pause:3.10.2
echo '# not read by systemd yet' >> /etc/systemd/system/docker.service.d/their-address.conf
"""

AWAY = f"""systemctl disable -q --now docker-bootstrap; rm /etc/systemd/system/docker-bootstrap.service
docker rm -f kubelet k8s_theirs >/dev/null; docker rmi registry.k8s.io/pause:3.10.2 >/dev/null
rm -rf /etc/kubernetes /var/lib/etcd /var/lib/kubelet/* /var/lib/cri-dockerd /var/log/pods /var/log/containers \
  /run/flannel /run/docker-bootstrap.sock /etc/systemd/system/docker.service.d/their-address.conf
ip link delete flannel.1
for c in KUBE-SERVICES FLANNEL-POSTRTG; do iptables -w -t nat -D POSTROUTING -j $c; iptables -w -t nat -X $c; done
systemctl daemon-reload; systemctl stop docker.socket docker; ip link delete docker0; {RESTART}
"""

OWN_THINGS = f"""set -e
mkdir -p /var/lib/etcd/default/member /var/log/pods; echo theirs > /var/lib/etcd/default/member/db
docker run -d --name kubelet --restart=always {BUSYBOX} sh -c 'trap exit TERM; sleep infinity & wait' >/dev/null
"""


MOVED = f"""set -e
r=/var/lib/docker-multinode d=/etc/systemd/system/docker.service.d; mkdir -p $r/before $d
echo 172.17.0.1/16 > $r/before/docker0; : > $r/before/paths
echo '{{"name": "x"}}' > $r/node.json
printf 'FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.1.1/24\nFLANNEL_MTU=1450\n' > $r/subnet.env
printf '[Service]\nExecStart=\nExecStart=%s --bip=10.1.1.1/24\n' \
  "$(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/docker.service)" > $d/zz-docker-multinode.conf
printf '%s\n' $d/zz-docker-multinode.conf $r/before/paths $r/images $r/node.json $r/subnet.env > $r/files
docker pull -q {BUSYBOX} >/dev/null; docker tag {BUSYBOX} ours/used:1; docker tag {BUSYBOX} ours/same:1
printf 'ours/used:1\nours/same:1\n' > $r/images
systemctl daemon-reload; {RESTART}
ip -4 -o addr show dev docker0 | grep -q 10.1.1.1/24
docker network create shop_default >/dev/null
docker run -d --name late --restart=always --network shop_default ours/used:1 sh -c \
  'trap exit TERM; sleep infinity & wait' >/dev/null
"""
"""A node as far as its main Docker goes, whose owner made a network and a container since."""


def test_another_kubernetes_is_refused_and_a_turndown_leaves_all_of_it(spare: Host, alone: Product) -> None:
    spare.run(ANOTHER_KUBERNETES, timeout=120)
    before = listing.take(spare)
    refused = alone.apply()
    assert refused.code != 0
    assert "docker.service runs dockerd with --bip=10.77.0.1/24" in refused.text
    for data in ({}, PURGE):
        assert_empty(alone.plan("turndown", data=data))
        run = alone.apply("turndown", data=data).check()
        assert f"{spare.name}] No record of docker-multinode is here: nothing is changed" in run.text
    after = listing.take(spare)
    listing.assert_same(before, after)
    assert listing.identity(after) == listing.identity(before)
    assert spare.run("systemctl is-active docker-bootstrap; systemctl is-enabled docker-bootstrap").stdout.split() == [
        "active",
        "enabled",
    ]


def test_a_container_with_the_name_of_ours_is_refused(spare: Host, alone: Product) -> None:
    spare.run(AWAY, timeout=120)
    spare.run(OWN_THINGS, timeout=120)
    before = listing.take(spare)
    refused = alone.apply()
    assert refused.code != 0
    assert "docker rename kubelet" in refused.text
    after = listing.take(spare)
    listing.assert_same(before, after)
    assert listing.identity(after) == listing.identity(before)
    spare.run("docker rename kubelet mine")


def test_a_network_that_took_docker0s_address_keeps_it(spare: Host, alone: Product) -> None:
    """And so does an image of which a container was made since, though it came by us."""
    spare.run(MOVED, timeout=180)
    taken = spare.run("docker network inspect -f '{{(index .IPAM.Config 0).Subnet}}' shop_default").stdout.strip()
    assert taken == "172.17.0.0/16", "Docker gives away what docker0 had"
    said = "\n".join(alone.plan("turndown", data=PURGE).check().diff)
    assert "docker0 had 172.17.0.1/16 before us, which Docker's network shop_default has by now" in said
    assert re.search("Will leave image ours/used:1, from which the container (late|mine) was made", said)
    spare.run("systemctl stop docker.socket docker")
    alone.apply("turndown", data=PURGE).check()
    assert docker0(spare) == "172.18.0.1/16"
    assert "late" in spare.run("docker ps --format '{{.Names}}'").stdout.split()
    assert (
        "10.1.1.1" not in spare.run("tr '\\0' ' ' < /proc/$(systemctl show docker -p MainPID --value)/cmdline").stdout
    )
    assert spare.run("ls /var/lib/docker-multinode", check=False).stdout == ""
    assert_empty(alone.plan("turndown", data=PURGE))
    spare.run("docker rm -f late >/dev/null; docker network rm shop_default >/dev/null")
    spare.run(f"docker rmi ours/used:1 ours/same:1 >/dev/null; {RESTART}", check=False)


def test_what_came_since_and_what_was_there_before_outlive_a_turndown_with_both_daemons_down(
    spare: Host, alone: Product, product: Product
) -> None:
    """A network that took docker0's old address, a container of an image that came by us, and etcd and flannel left
    running by a bootstrap daemon that was stopped by hand."""
    alone.data.update(product.data)
    before = listing.take(spare)
    plan = alone.plan().check()
    assert "/var/lib/etcd/default" in "\n".join(plan.diff)
    had = docker0(spare)
    alone.apply().check()
    image = spare.run("docker inspect -f '{{.Config.Image}}' kubelet").stdout.strip()
    spare.run(
        f"docker network create --subnet {ip_interface(had).network} shop_default >/dev/null && "
        f"docker run -d --name late --restart=always --network shop_default {image} sleep infinity >/dev/null"
    )
    running = f"{BOOTSTRAP} ps --format '{{{{.Names}}}}'"
    assert set(spare.run(running).stdout.split()) == {"etcd", "flannel"}
    said = "\n".join(alone.plan("turndown", data=PURGE).check().diff)
    assert f"docker0 had {had} before us, which Docker's network shop_default has by now" in said
    assert f"Will leave image {image}, from which the container late was made" in said
    spare.run("systemctl stop docker-bootstrap docker.socket docker")
    assert spare.run("pgrep -x etcd").stdout, "it goes on without its daemon"
    alone.apply("turndown", data=PURGE).check()
    own = (
        "shop_default",
        "late",
        image,
        r"172\.1[78]\.",
        "br-",
        "veth",
        "docker-root",
        "default via",
        "DOCKER",
        r"^containerd: .moby containers ",
        r"^mounts: \+/(run/docker/netns/N|var/lib/docker/overlay2/N/merged) ",
    )
    listing.assert_same(before, listing.take(spare), own)
    # the first free network of Docker's pools
    assert docker0(spare) == ("172.18.0.1/16" if had == "172.17.0.1/16" else "172.17.0.1/16")
    assert spare.run("pgrep -x 'etcd|flanneld|kubelet'", check=False).stdout == ""
    assert set(spare.run("docker ps --format '{{.Names}}'").stdout.split()) == {"mine", "late"}
    assert_empty(alone.plan("turndown", data=PURGE))
