"""A thousand lines of garbage: hosts that answer nonsense are refused by a sentence and left alone; noise is nothing.

What it checks is the control machine's reading, the same for every Docker: on one is enough.
tests/unit/test_garbage.py has the other half: hostile settings, and every fact against random answers.
"""

from __future__ import annotations

import base64
import json
import random
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.lab.hosts import Host

from . import listing
from .cluster import ABSENT_IMAGES, Cluster
from .product import Product, Run, assert_empty

pytestmark = pytest.mark.promise("thousand-lines-of-garbage")

COMMANDS = ("docker", "ip", "uname", "cat", "systemctl")
"""Programs that a run asks."""
RECORD = "/var/lib/docker-multinode"
TALKERS = "/root/.bashrc /etc/motd"
"""What talks at a login."""
NOISE = r"""
echo "Willkommen auf $(hostname)!"; echo; printf '\033[31m3 Aktualisierungen\033[0m\n== \n== machine?\n{"Version": 1}\n'
printf 'gr\374\337e\n\377\376\n'; echo "n99 True"; echo "-----BEGIN NOISE-----" ; echo held? >&2
export LANG=de_DE.UTF-8 LC_ALL=de_DE.UTF-8 LANGUAGE=de
"""
"""What a login shell may print before every command: also bytes that are no UTF-8."""


def garbage(seed: str, lines: int = 1000) -> bytes:
    """Lines of anything, among them what shells, JSON and the product's own scripts take for something."""
    generator = random.Random(seed)
    words = (
        b"== machine", b"{", b'{"Version": []}', b"$(touch /pwned)", b"`touch /pwned`", b"; touch /pwned;", b"-delete",
        b"/", b"/etc", b"../..", b"\xff\xfe", b"\x00", b"\x1b[2J", b"'", b'"', b"ActiveState=", b"inet", b"%s%n",
        b"10.0.0.1/99", b"-----BEGIN CERTIFICATE-----", b"FLANNEL_SUBNET=x", b"{{ x }}", b"9" * 5000,
    )  # fmt: skip
    return b"".join(
        b" ".join([*generator.choices(words, k=generator.randrange(1, 6)), generator.randbytes(8)]) + b"\n"
        for _ in range(lines)
    )


@pytest.fixture(scope="module")
def truth(spare: Host) -> listing.Listing:
    """The host before it lied."""
    return listing.take(spare)


def _refused(run: Run, host: Host) -> None:
    assert run.code == 1, run.tail()
    assert "Traceback" not in run.text, run.text
    assert not re.search(r"^ +\[.*\] Success$", run.stderr, re.MULTILINE), "something was changed"
    errors = [line for line in run.stderr.splitlines() if "rror" in line]
    assert errors, run.tail()
    assert any(host.name in line or host.address in line for line in errors), errors
    assert len(run.stderr) < 20_000, "a user has to read it"


@contextmanager
def _instead(host: Host, command: str) -> Iterator[None]:
    """A command of a host prints garbage, and says that all went well."""
    text = base64.b64encode(garbage(command)).decode()
    host.run("base64 -d > /var/tmp/garbage", input=text)
    host.write(f"/usr/local/bin/{command}", "#!/bin/sh\nexec /bin/cat /var/tmp/garbage\n", mode="755")
    try:
        yield
    finally:
        host.run(f"/bin/rm -f /usr/local/bin/{command} /var/tmp/garbage")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_answers_garbage_stops_the_run_by_a_sentence(
    command: str, spare: Host, alone: Product, truth: listing.Listing
) -> None:
    with _instead(spare, command):
        _refused(alone.apply(), spare)


def test_a_record_of_garbage_is_refused_and_named_and_no_path_in_it_is_followed(
    spare: Host, alone: Product, truth: listing.Listing
) -> None:
    text = base64.b64encode(garbage("record", 60)).decode()
    spare.run(f"mkdir -p {RECORD}/before && base64 -d > {RECORD}/node.json", input=text)
    spare.run(
        f"cd {RECORD} && for f in subnet.env files directories before/kernel before/docker0; do cp node.json $f; done"
    )
    try:
        for run in (alone.apply(), alone.apply("turndown", data={"purge_data": True})):
            _refused(run, spare)
            assert f"{RECORD}/before/kernel" in run.stderr or f"{RECORD}/node.json" in run.stderr
        spare.run(f"rm {RECORD}/before/kernel")
        run = alone.apply()
        _refused(run, spare)
        assert f"{RECORD}/node.json, which says who this node is, is damaged" in run.stderr
    finally:
        spare.run(f"rm -r {RECORD} /run/docker-multinode.*", check=False)
    spare.run("test ! -e /pwned")


def test_after_all_that_the_host_is_as_it_was(spare: Host, truth: listing.Listing) -> None:
    listing.assert_same(truth, listing.take(spare))


@contextmanager
def _noisy(host: Host) -> Iterator[None]:
    """A host whose login shells talk, in another language, with a banner and a message of the day."""
    host.run(f"for f in {TALKERS}; do cp -a $f $f.kept; done")
    host.write("/root/.bashrc", NOISE + host.read("/root/.bashrc.kept"))
    host.write("/etc/motd", "NOISE " * 500 + "\n")
    host.write("/etc/ssh/sshd_config.d/20-noise.conf", "Banner /etc/motd\nPrintMotd yes\n")
    host.restart_ssh()
    try:
        yield
    finally:
        host.run(f"for f in {TALKERS}; do mv $f.kept $f; done; rm /etc/ssh/sshd_config.d/20-noise.conf")
        host.restart_ssh()


def test_what_login_shells_print_does_not_matter(cluster: Cluster, tmp_path: Path) -> None:
    """Keys are read, archives copied, locks taken, nodes listed behind it: a run is what it is without."""
    product = cluster.product
    cluster.wait_works()
    with _noisy(cluster.master), _noisy(cluster.workers[0]):
        assert "Willkommen" in cluster.master.run("true").stdout
        assert_empty(product.plan())
        runs = [
            product.apply(),
            product.apply("kubeconfig", data={"kubeconfig_path": tmp_path / "kubeconfig"}),
            product.apply("backup", data={"backup_path": tmp_path / "backup.tar.gz"}),
        ]
        status = product.run("status", "-y", data={"status_format": "json"})
    for run in (*runs, status):
        assert "Traceback" not in run.check().text
    key = yaml.safe_load((tmp_path / "kubeconfig").read_text())["users"][0]["user"]["client-key-data"]
    assert base64.b64decode(key).startswith(b"-----BEGIN PRIVATE KEY-----\n")
    with tarfile.open(tmp_path / "backup.tar.gz") as archive:
        assert "etc/kubernetes/pki/etcd/ca.key" in archive.getnames()
    found = json.loads(status.stdout)
    problems = [problem for node in found["nodes"] for problem in node["problems"]]
    assert [p for p in problems if not p.startswith(tuple(f"pod kube-system/{name}" for name in ABSENT_IMAGES))] == []
    assert [node["drift"] for node in found["nodes"]] == [[], []]
    assert found["not_in_inventory"] == []
    cluster.master.run(f"rm -f {RECORD}/backups/*")
