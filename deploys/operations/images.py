"""Images: all of a daemon pulled at once, and the node image built."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pyinfra import host
from pyinfra.api import StringCommand

from ..facts.daemons import DaemonsFact
from ..facts.docker import IMAGE_LABEL, DaemonState, short
from ..facts.files import HostFiles
from ..facts.leftovers import Leftovers
from ..observe import observe
from ..operation import Commands, operation, removal
from ..plan import say
from ..record import IMAGES
from .containers import docker
from .files import File, announce, write


def _unless_there(daemon: DaemonState) -> str:
    return ", where it is not there (the daemon is down now)" if daemon.down else ""


def _late(limit: int) -> str:
    """A command that says so where what just failed had reached its limit: Docker, which was ended, says nothing."""
    return f"[ $? != 124 ] || echo 'it was not done within {limit} s, which is timeout_for_images'"


@operation
def pulled(daemon: str, images: Sequence[str], limit: int) -> Commands:
    """
    Ensure that images are there, all of them pulled at the same time.

    + daemon: ``bootstrap`` or ``main``
    + images: references with tag or digest
    + limit: seconds that all of it may take
    """
    state = observe(DaemonsFact).of(daemon)
    wanted = state.missing(images)
    if not wanted:
        host.noop(f"{len(images)} images are there")
        return
    say(f"Will pull onto the {daemon} daemon{_unless_there(state)}:", *wanted)
    quoted = " ".join(shlex.quote(image) for image in wanted)
    # each pull's last words are kept, so that the failure says which one and why
    yield StringCommand(
        f"t=$(mktemp -d); trap 'rm -rf $t' EXIT; n=0; for i in {quoted}; do n=$((n+1)); "
        f'( timeout {limit} {docker(daemon)} pull -q "$i" >$t/$n.out 2>&1 || {{ {_late(limit)} >>$t/$n.out; '
        f'echo "cannot pull $i: $(tail -n 2 $t/$n.out)" > $t/$n.failed; }} ) & done; wait; '
        f"cat $t/*.failed >&2 2>/dev/null && exit 1; true"
    )


@operation
def built(daemon: str, image: str, dockerfile: str, arguments: dict[str, str], limit: int) -> Commands:
    """
    Ensure that an image is there, built from a Dockerfile without a context.

    + daemon: ``bootstrap`` or ``main``
    + image: its reference; a changed Dockerfile must give another one
    + dockerfile: its text
    + arguments: build arguments, not secret
    + limit: seconds that the build may take
    """
    state = observe(DaemonsFact).of(daemon)
    if image in state.images:
        host.noop(f"image {image} is there")
        return
    say(f"Will build image {image} on the {daemon} daemon{_unless_there(state)} from:", *dockerfile.splitlines())
    words = [f"--build-arg={key}={value}" for key, value in arguments.items()]
    # the host's network: before flannel's masquerading a build container could not reach out
    yield StringCommand(
        f"log=$(mktemp); trap 'rm -f $log' EXIT; DOCKER_BUILDKIT=0 timeout {limit} {docker(daemon)} build "
        f"--network=host --force-rm {shlex.join(words)} -t {shlex.quote(image)} - >$log 2>&1 || "
        f'{{ {_late(limit)} >>$log; echo "the node image was not built; the last lines:" >&2; tail -n 25 $log >&2; '
        "exit 1; }; "
        f"{docker(daemon)} image prune -f --filter label={IMAGE_LABEL} >/dev/null",
        _stdin=dockerfile,
    )


@operation
def remembered(images: Sequence[str]) -> Commands:
    """
    Ensure that the record says which images of the main daemon come by us: those that are not there yet. It is
    written before they are pulled, by us or by the kubelet.

    + images: references of all that this node may get
    """
    files, main = observe(HostFiles), observe(DaemonsFact).main
    known = files.content(IMAGES).splitlines()
    new = [image for image in main.missing(images) if image not in known]
    if not new:
        host.noop("the record knows the images that come by us")
        return
    record = File(IMAGES, "".join(f"{image}\n" for image in (*known, *new)))
    if main.down:
        say(f"Unknown whether {IMAGES} names all images that come by us, the main daemon is down")
    else:
        announce(files.ours(IMAGES), record)
    yield write([record])


@removal
def no_images() -> Commands:
    """
    Ensure that the images that came by us are gone from the main daemon; those stay of which others have made
    containers since.
    """
    main, used = observe(DaemonsFact).main, observe(Leftovers).used
    ours = observe(HostFiles).content(IMAGES).splitlines()
    known = sorted({name for image in ours for name in (image, short(image)) if name in main.images})
    gone = [image for image in known if main.images[image] not in used]
    for image in known:
        if image not in gone:
            say(f"Will leave image {image}, from which the container {used[main.images[image]]} was made")
    if not gone and not main.unfinished:
        host.noop("no images of ours are there")
        return
    say("Will remove these images from the main daemon:", *gone, *(f"{i}, unfinished" for i in main.unfinished))
    remove = f"docker rmi {shlex.join(gone)} >/dev/null && " if gone else ""
    yield StringCommand(f"{remove}docker image prune -f --filter label={IMAGE_LABEL} >/dev/null")
