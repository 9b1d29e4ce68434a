"""Images: pulled all at once, built without a context, and only ours removed."""

from __future__ import annotations

from deploys.facts.daemons import DaemonsFact
from deploys.facts.docker import short
from deploys.facts.files import HostFiles
from deploys.facts.leftovers import Leftovers
from deploys.operations.files import File
from deploys.operations.images import built, no_images, pulled, remembered
from deploys.record import IMAGES

from .harness import Member, Shell, World
from .known import daemons, host_files, left

MAIN = "docker -H unix:///var/run/docker.sock"
DOCKERFILE = "FROM debian:12\nRUN echo '$x'\n"


def world(*images: str, record: str | None = None, used: dict[str, str] | None = None) -> World:
    """A host whose main daemon has these images; `used`: the number of one → whose container has it."""
    files = host_files(*([File(IMAGES, record)] if record is not None else []))
    there = {image: f"sha256:{n}" for n, image in enumerate(images)}
    return World(
        facts={DaemonsFact: daemons(main={"images": there}), HostFiles: files, Leftovers: left(used=used or {})}
    )


def test_short_is_how_docker_names_what_comes_from_its_own_hub() -> None:
    assert short("docker.io/library/debian:12") == "debian:12"
    assert short("docker.io/flannel/flannel:1") == "flannel/flannel:1"
    assert short("registry.k8s.io/pause:3.10") == "registry.k8s.io/pause:3.10"


def test_beside_a_digest_docker_keeps_no_tag() -> None:
    digest = "@sha256:" + "a" * 64
    assert short(f"docker.io/library/debian:12{digest}") == f"debian{digest}"
    assert short(f"reg.lan:5000/node:v1{digest}") == short(f"reg.lan:5000/node{digest}") == f"reg.lan:5000/node{digest}"
    here = world(f"reg.lan:5000/node{digest}")
    assert here.run(pulled, daemon="main", images=[f"reg.lan:5000/node:v1{digest}"], limit=60) == []


def test_images_that_are_there_are_not_pulled() -> None:
    here = world("debian:12", "reg/a:1")
    assert here.run(pulled, daemon="main", images=["docker.io/library/debian:12", "reg/a:1"], limit=60) == []
    assert here.noops == ["2 images are there"]


def test_an_image_by_digest_is_found() -> None:
    digest = "reg/node@sha256:" + "a" * 64
    assert world(digest).run(pulled, daemon="main", images=[digest], limit=60) == []
    script = DaemonsFact().command().get_raw_value()
    assert "{{.Digest}}" in script, "docker images tells digests only when it is asked"


def test_missing_images_are_pulled_side_by_side_each_once_with_a_time_limit() -> None:
    (step,) = world("reg/a:1").run(pulled, daemon="main", images=["reg/a:1", "reg/b:2", "reg/b:2", "reg/c:3"], limit=60)
    assert isinstance(step, Shell)
    assert "for i in reg/b:2 reg/c:3; do" in step.text
    assert f'timeout 60 {MAIN} pull -q "$i"' in step.text
    assert "& done; wait;" in step.text


def test_the_plan_names_what_is_pulled_onto_which_daemon() -> None:
    said = world("reg/a:1").says(pulled, daemon="main", images=["reg/a:1", "reg/b:2"], limit=60)
    assert said.splitlines() == ["[m1] Will pull onto the main daemon:", "      reg/b:2"]


def test_an_image_is_built_from_stdin_on_the_hosts_network() -> None:
    (step,) = world().run(built, daemon="main", image="x/node:1", dockerfile=DOCKERFILE,
                          arguments={"http_proxy": "http://p:1"}, limit=900)  # fmt: skip
    assert isinstance(step, Shell)
    assert step.stdin == DOCKERFILE
    assert (
        f"timeout 900 {MAIN} build --network=host --force-rm --build-arg=http_proxy=http://p:1 -t x/node:1 - "
        in step.text
    )
    assert "the node image was not built; the last lines:" in step.text
    assert (
        "|| { [ $? != 124 ] || echo 'it was not done within 900 s, which is timeout_for_images' >>$log; " in step.text
    )


def test_an_image_that_is_there_is_not_built() -> None:
    here = world("x/node:1")
    assert here.run(built, daemon="main", image="x/node:1", dockerfile="", arguments={}, limit=1) == []


def test_the_plan_shows_what_an_image_is_built_from() -> None:
    said = world().says(built, daemon="main", image="x/node:1", dockerfile=DOCKERFILE, arguments={}, limit=9)
    assert "Will build image x/node:1 on the main daemon from:" in said
    assert "RUN echo '$x'" in said


def test_images_that_are_about_to_come_by_us_are_recorded_before() -> None:
    images = ["docker.io/library/debian:12", "reg/pause:3", "reg/etcd:1", "reg/etcd:1"]
    (step,) = world("debian:12", "theirs:1").run(remembered, images=images)
    assert isinstance(step, Shell)
    assert step.written == {IMAGES: Member("644", "reg/pause:3\nreg/etcd:1\n")}


def test_images_that_come_later_are_added_and_those_that_are_known_or_there_are_not() -> None:
    here = world("theirs:1", "reg/pause:3", record="reg/pause:3\nreg/gone:1\n")
    assert here.run(remembered, images=["reg/pause:3", "reg/gone:1", "theirs:1"]) == []
    (step,) = here.run(remembered, images=["reg/pause:4"])
    assert isinstance(step, Shell)
    assert step.written[IMAGES].content == "reg/pause:3\nreg/gone:1\nreg/pause:4\n"


PRUNE = "docker image prune -f --filter label=io.docker-multinode.node-image >/dev/null"


def test_only_images_that_came_by_us_are_removed() -> None:
    record = "docker.io/library/debian:12\nreg/pause:3\nreg/never:1\ndocker-multinode/node:old\n"
    here = world("debian:12", "theirs:1", "reg/pause:3", "docker-multinode/node:old", record=record)
    assert here.run(no_images) == [
        Shell(f"docker rmi debian:12 docker-multinode/node:old reg/pause:3 >/dev/null && {PRUNE}")
    ]


def test_no_image_is_ours_by_its_name_alone() -> None:
    for record in (None, ""):
        assert world("registry.k8s.io/pause:3.10.2", "reg/kube-proxy:v1.37.2", record=record).run(no_images) == []


def test_an_image_of_which_somebody_made_a_container_since_stays_and_the_plan_says_so() -> None:
    here = world("reg/pause:3", "reg/debian:13", record="reg/pause:3\nreg/debian:13\n", used={"sha256:1": "mine"})
    assert here.run(no_images) == [Shell(f"docker rmi reg/pause:3 >/dev/null && {PRUNE}")]
    assert "Will leave image reg/debian:13, from which the container mine was made" in here.says(no_images)
