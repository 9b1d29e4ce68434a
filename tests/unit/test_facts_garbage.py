"""Whatever a host answers, a fact gives a value or says that it can't: it never stops the run with a traceback."""

from __future__ import annotations

import base64
import contextlib
import gzip
import importlib
import inspect
import io
import json
import pkgutil
import random
import tarfile
from collections.abc import Iterable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
from pyinfra.api import FactBase, FactProcessError
from pyinfra.api.host import Host

from deploys import facts
from deploys.facts.access import EtcdAccess
from deploys.facts.backups import BackupFile
from deploys.facts.daemons import DaemonsFact
from deploys.facts.docker import LABEL
from deploys.facts.etcd import EtcdSubnets
from deploys.facts.files import HostFiles
from deploys.facts.kernel import Kernel
from deploys.facts.kubernetes import ClusterNodes, Objects, Pods, TakenFields
from deploys.facts.leftovers import Leftovers
from deploys.facts.platform import Platform
from deploys.facts.sections import Bundle, Sectioned
from deploys.observe import UnreadableError, observe

from .harness import World
from .samples import edited, lines

pytestmark = pytest.mark.promise("thousand-lines-of-garbage")

SAMPLES: dict[type[FactBase[Any]], str] = {
    Platform: "platform-master",
    DaemonsFact: "daemons-master",
    HostFiles: "files-master",
    Kernel: "kernel-master",
    Leftovers: "leftovers-master",
    EtcdSubnets: "etcd-two-nodes",
    EtcdAccess: "etcd-access",
    ClusterNodes: "nodes-two",
    Objects: "objects-differ",
    TakenFields: "fields-taken",
    Pods: "pods-two",
    BackupFile: "backup",
}
EACH = pytest.mark.parametrize("fact", SAMPLES, ids=lambda fact: fact.__name__)

WORDS = (
    "== ", "==", "== stat", "{", "}", "[", "]", "null", "true", "-1", "1e999", "\x00", "\x1b[31m", "é", "\ud7ff", "%s",
    "'", '"', "\\", "$(reboot)", "inet", "mtu", "dev", "default", "/", "//", "a/b/c", "10.0.0.1/", "10.0.0.1/x",
    "10.0.0.1/99999999999", "=", "==", "=x", "x=", "|", "0x10", "٣", "²", "FFFF", "+FFF", " ", "\t", "9" * 21,
    "9" * 5000, "x mtu", "x dev",
)  # fmt: skip
VALUES: tuple[Any, ...] = (None, True, 0, -1, 1.5, "", "x", [], [1], {}, {"a": 1}, "[" * 50)


def survives(fact: type[FactBase[Any]], output: list[str]) -> None:
    """The fact gives a value, or its own error."""
    with contextlib.suppress(FactProcessError):
        fact().process(output)


def _facts(kind: type[FactBase[Any]] = Sectioned) -> Iterator[type[FactBase[Any]]]:
    for fact in kind.__subclasses__():
        yield from _facts(fact)
        if fact.__module__.startswith("deploys.") and not inspect.isabstract(fact):
            yield fact


def test_every_fact_has_a_sample() -> None:
    for module in pkgutil.iter_modules(facts.__path__, f"{facts.__name__}."):
        importlib.import_module(module.name)
    assert set(_facts()) - {Bundle} == set(SAMPLES)


def _parts(fact: type[FactBase[Any]]) -> list[tuple[str, list[str]]]:
    """Each heading of its sample, with the lines below."""
    parts: list[tuple[str, list[str]]] = []
    for line in lines(SAMPLES[fact])[:-1]:
        if line.startswith("== "):
            parts.append((line, []))
        else:
            parts[-1][1].append(line)
    return parts


def _joined(parts: Iterable[tuple[str, list[str]]]) -> list[str]:
    """An answer of these."""
    return [*(line for heading, body in parts for line in (heading, *body)), "== end"]


@EACH
def test_no_output_at_all(fact: type[FactBase[Any]]) -> None:
    survives(fact, [])
    survives(fact, [""])


@EACH
def test_a_host_that_prints_nothing_at_all_is_refused_and_not_read_as_one_on_which_nothing_is(
    fact: type[FactBase[Any]],
) -> None:
    here = World(facts={fact: fact().default()})
    with (
        here.on() as host,
        patch.object(Host, "get_fact", lambda *_, **__: fact().default()),
        pytest.raises(UnreadableError, match="m1 did not say what it is"),
    ):
        observe(fact, host)


@EACH
def test_an_answer_that_is_not_whole_is_refused(fact: type[FactBase[Any]]) -> None:
    whole = lines(SAMPLES[fact])
    headings = [n for n, line in enumerate(whole) if line.startswith("== ")]
    for cut in {*headings, len(whole) - 1}:
        if whole[:cut]:
            with pytest.raises(FactProcessError, match="the host's answer"):
                fact().process(whole[:cut])
    for twice in headings:
        with pytest.raises(FactProcessError, match="twice"):
            fact().process([*whole[: twice + 1], *whole[twice:]])


@EACH
def test_what_a_login_shell_prints_before_or_after_does_not_matter(fact: type[FactBase[Any]]) -> None:
    whole = lines(SAMPLES[fact])
    noise = ["Welcome to n1!", "", "n9 True", "{}", "/etc/motd: \x1b[31m2 updates\x1b[0m", "uid=0"]
    assert fact().process([*noise, *whole, *noise]) == fact().process(whole)


@EACH
def test_parts_in_another_order_say_the_same(fact: type[FactBase[Any]]) -> None:
    parts = _parts(fact)
    random.Random(5).shuffle(parts)
    assert fact().process(_joined(parts)) == fact().process(lines(SAMPLES[fact]))


def is_read(fact: type[FactBase[Any]], parts: list[tuple[str, list[str]]]) -> None:
    """The fact gives a value or its own error, and that is not one of the answer as a whole."""
    try:
        fact().process(_joined(parts))
    except FactProcessError as error:
        if "the host's answer" in str(error):
            raise


@EACH
def test_a_thousand_lines_of_garbage_in_any_part(fact: type[FactBase[Any]]) -> None:
    generator = random.Random(3)
    garbage = ["".join(map(chr, generator.choices(range(1, 0x2FF), k=40))) for _ in range(1000)]
    parts = _parts(fact)
    for place, (heading, _) in enumerate(parts):
        is_read(fact, [*parts[:place], (heading, garbage), *parts[place + 1 :]])


@EACH
def test_a_word_of_its_own_language_in_any_part(fact: type[FactBase[Any]]) -> None:
    parts = _parts(fact)
    for place, (heading, body) in enumerate(parts):
        said = next(iter(body), "")
        for word in WORDS:
            for line in (word, f"{said} {word}", f"{said}{word}", f"{word} {said}"):
                if not line.startswith("== "):
                    is_read(fact, [*parts[:place], (heading, [line]), *parts[place + 1 :]])


@EACH
def test_a_part_that_is_cut_off_anywhere(fact: type[FactBase[Any]]) -> None:
    generator = random.Random(11)
    parts = _parts(fact)
    for place, (heading, body) in enumerate(parts):
        text = "\n".join(body)
        for _ in range(20 if text else 0):
            cut = text[: generator.randrange(len(text))].splitlines()
            is_read(fact, [*parts[:place], (heading, cut), *parts[place + 1 :]])


@EACH
def test_an_answer_with_bytes_changed(fact: type[FactBase[Any]]) -> None:
    text = "\n".join(lines(SAMPLES[fact]))
    generator = random.Random(13)
    for _ in range(60):
        letters = list(text)
        for _ in range(12):
            letters[generator.randrange(len(letters))] = generator.choice("{}[]\"'=/ \n:,é0Z")
        survives(fact, "".join(letters).splitlines())


def _hostile(template: object) -> Iterator[object]:
    """Copies of a JSON value in which one part is something else."""
    yield from VALUES
    if isinstance(template, dict):
        for key in template:
            yield {k: v for k, v in template.items() if k != key}
            for value in _hostile(template[key]):
                yield {**template, key: value}
    if isinstance(template, list):
        for value in _hostile(template[0]):
            yield [value, *template[1:]]


CONTAINER = {"name": "/etcd", "state": {"Running": True, "Restarting": False}, "labels": {LABEL: "[]"}}


def test_docker_inspect_with_any_part_of_another_type() -> None:
    for value in _hostile(CONTAINER):
        survives(DaemonsFact, edited("daemons-master", {"docker containers": json.dumps(value)}))
    ports = {"80/tcp": [{"HostIp": "::", "HostPort": "80"}], "81/tcp": None}
    for value in _hostile(
        {"name": "/web", "restart": "no", "remove": False, "ports": ports, "addresses": "", "networks": ""}
    ):
        survives(DaemonsFact, edited("daemons-master", {"docker containers": f"other {json.dumps(value)}"}))
    for value in _hostile({"name": "kube-proxy", "started": "2026-11-23T01:35:37.5Z"}):
        survives(DaemonsFact, edited("daemons-master", {"docker containers": f"program {json.dumps(value)}"}))


@pytest.mark.parametrize("name", [None, 7, ["/web"], "/we\x1b[31mb"])
def test_a_container_of_others_whose_name_can_not_be_one_is_refused(name: object) -> None:
    other = json.dumps({"name": name, "restart": "no", "remove": False})
    answer = edited("daemons-master", {"docker containers": f"other {other}"})
    with pytest.raises(FactProcessError, match="instead of a container"):
        DaemonsFact().process(answer)


def test_docker_version_with_any_part_of_another_type() -> None:
    for value in _hostile({"Version": "26.1.5", "ApiVersion": "1.45", "MinAPIVersion": "1.24"}):
        survives(Platform, edited("platform-master", {"docker-version": json.dumps(value)}))


def test_records_and_daemon_json_with_any_value() -> None:
    for value in _hostile({"name": "n1", "role": "master"}):
        text = base64.b64encode(json.dumps(value).encode()).decode()
        survives(Platform, edited("platform-master", {"record": text, "daemon.json": text}))


@pytest.mark.parametrize("text", ["é", "====", "A", "AAAAA", "\x00\x01", "%%%%"])
def test_base64_that_is_none(text: str) -> None:
    survives(Platform, edited("platform-master", {"record": text, "daemon.json": text}))
    survives(HostFiles, edited("files-master", {"contents": text}))


def test_etcd_answers_with_any_part_of_another_type() -> None:
    pair = {"key": "L2Nvcm8=", "value": "e30="}
    for value in _hostile({"kvs": [pair], "count": 1}):
        is_read(EtcdSubnets, [("== keys", [json.dumps(value)])])
    for key in ("/coreos.com/network/subnets/", "/docker-multinode/subnets/", "/coreos.com/network/subnets/a-b-c&d"):
        for lease in VALUES:
            pair = {"key": base64.b64encode(key.encode()).decode(),
                    "value": base64.b64encode(json.dumps(lease).encode()).decode()}  # fmt: skip
            is_read(EtcdSubnets, [("== keys", [json.dumps({"kvs": [pair]})])])


def test_json_that_is_nested_without_end() -> None:
    deep = "[" * 100_000
    is_read(EtcdSubnets, [("== keys", [deep])])
    survives(DaemonsFact, edited("daemons-master", {"docker containers": deep}))
    survives(Platform, edited("platform-master", {"docker-version": deep, "docker-root": deep}))


def _archive(*members: tuple[str, bytes, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, kind, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(data), "/etc/shadow"
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(packed.getvalue())


def test_archives_that_are_broken_in_any_place() -> None:
    whole = _archive(("./a", tarfile.REGTYPE, b"x" * 5000), ("./b", tarfile.REGTYPE, b"y"))
    generator = random.Random(17)
    for _ in range(200):
        data = bytearray(whole[: generator.randrange(1, len(whole) + 1)])
        for _ in range(generator.randrange(4)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        text = base64.b64encode(bytes(data)).decode()
        survives(HostFiles, edited("files-master", {"contents": text}))


def test_an_archive_of_which_any_line_was_lost_is_refused() -> None:
    parts = dict(_parts(HostFiles))
    whole = parts["== contents"]
    assert len(whole) > 50
    for place in range(len(whole)):
        answer = {**parts, "== contents": [*whole[:place], *whole[place + 1 :]]}
        with pytest.raises(FactProcessError, match="gave no archive"):
            HostFiles().process(_joined(answer.items()))


@pytest.mark.parametrize(
    ("part", "line"),
    [
        *((part, "\n") for part in ("paths", "chains", "rules", "pods", "cgroups", "routes", "mounts", "used")),
        ("backups", "\n"), ("pods", "-1"), ("pods", "/etc"),
        ("cgroups", "/sys/fs/cgroup/9999"), ("cgroups", "/sys/fs/cgroup/kubepods/../x"),
    ],
)  # fmt: skip
def test_what_a_turndown_would_take_away_by_a_line_that_can_not_be_one_is_refused(part: str, line: str) -> None:
    with pytest.raises(FactProcessError, match=f"of its {part}"):
        Leftovers().process(edited("leftovers-master", {part: line}))


@pytest.mark.parametrize("part", ["active", "docker-root", "listening", "record"])
def test_a_machines_answer_without_one_of_its_parts_is_refused(part: str) -> None:
    with pytest.raises(FactProcessError, match="lacks its part"):
        Platform().process(edited("platform-master", {part: None}))


def test_an_archive_of_links_and_devices_is_not_followed() -> None:
    packed = _archive(("./l", tarfile.SYMTYPE, b""), ("./h", tarfile.LNKTYPE, b""), ("./d", tarfile.CHRTYPE, b""))
    sections = {"stat": "777 0:0 5 /l", "ours": "/l", "contents": base64.b64encode(packed).decode()}
    assert HostFiles().process(edited("files-master", sections)).content("/l") == ""
