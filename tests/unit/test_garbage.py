"""The promise thousand-lines-of-garbage: whatever stands in a setting or comes from a host, there is never a
traceback and never a change. A setting is refused by one sentence, or it arrives whole wherever it is written; an
answer that can't be one is refused by a sentence that names the host.

tests/unit/test_facts_garbage.py does the same for each fact alone, tests/cluster/test_garbage.py with real hosts.
Everything random is seeded.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import random
import re
import shlex
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyinfra.api import DeployError

from deploys import cli, static_pods
from deploys.facts.backups import local_backup
from deploys.operations import kubeconfig
from deploys.operations.containers import Spec, run_command
from deploys.phases import addons, bootstrap, docker, etcd
from deploys.phases import node as node_phase
from deploys.record import MANIFESTS
from deploys.settings import OPTIONS, Settings, load
from deploys.topology import Node

from . import machines
from .bad_input import PAIR
from .effects import EFFECTS
from .harness import World, logged
from .runs import H, Outcome, through_api, through_cli
from .samples import lines
from .test_bad_input import only_reads

NESTED: Any = []
for _ in range(5000):
    NESTED = [NESTED]

FRAGMENTS = (
    "\n", "\r\n", "\x00", "\x1b[2J", "\x85", "\u2028", "\u202e", "\ud800", "\x7f", "\t", " ", "'", '"', "\\", "`", "*",
    "$(reboot)", "${x}", "; reboot", "| reboot", "&", ">/x", "{{ x }}", "{% raw %}", "%n", "%%", "#", ": ", "- ", "}",
    "]", ",", "~", "!", "../", "/", "@", "=", "é", "😀", "ß" * 300, "9" * 5000, "-", "--x", "\\n", "\ufeff", "0x1",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**80, 10**5000, 1.5, 1e308, float("nan"), float("inf"), "", " ", "null", "true", "on",
    "1e3", "0x10", "~", b"x", bytearray(b"x"), [], [None], ["a", 1], [[]], NESTED, {}, {"": ""}, {1: 2}, {None: None},
    {"v": NESTED}, {"v": "x" * 200_000}, {"v": "'" * 3000}, {"v": b"4"}, {"v": "\ud800"}, {"v": 10**5000}, {"a\nb": ""},
    {f"f{n}": "1" for n in range(2000)}, (), {"a"}, object(), "a" * 200_000, "[" * 200_000, '{"v":' * 50_000, "-" * 63,
)  # fmt: skip


def _mutants(name: str) -> Iterator[Any]:
    """Wrong values, and good ones with something hostile before, behind and within."""
    yield from VALUES
    good = EFFECTS[name].value
    for text in FRAGMENTS:
        if isinstance(good, str):
            yield from (text, good + text, text + good, good[:2] + text + good[2:])
        elif isinstance(good, Mapping):
            yield from ({**good, "x": text}, {**good, "x": f"a{text}b"}, {text: "1"}, json.dumps({"x": text}))
        else:
            yield from (text, f"{good}{text}")


def _taken(data: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings | None:
    """The settings, or None where one is refused by one sentence that a person can read."""
    try:
        return load(data, environ or {})
    except DeployError as refused:
        said = str(refused)
    assert said.isprintable(), said[:200]
    assert len(said) < 500, said[:200]
    assert any(name in said or name.upper() in said for name in (*data, *(environ or {}))), said
    return None


@pytest.mark.promise("thousand-lines-of-garbage")
@pytest.mark.parametrize("name", OPTIONS)
def test_a_hostile_value_is_refused_by_one_sentence_or_taken(name: str) -> None:
    good = EFFECTS[name].value
    assert _taken({name: good}) is not None
    for value in _mutants(name):
        _taken({name: value})
        if isinstance(value, str):
            _taken({}, {name.upper(): value})


def _specs(node: Node) -> Iterator[Spec]:
    yield from (etcd.spec(node), node_phase.spec(node, "r"))


def _in_unit(text: str) -> dict[str, str]:
    """The environment that systemd reads from a unit: quoted, % doubled."""
    found = re.findall(r'^Environment="([A-Z_]+)=([^"\\\n]*)"$', text, re.MULTILINE)
    assert len(found) == text.count('Environment="'), text
    return {name: value.replace("%%", "\0").replace("%", "SPECIFIER").replace("\0", "%") for name, value in found}


def _check_files(node: Node) -> None:
    wanted = node.settings
    static = static_pods.static_pods(node)
    written = (*static_pods.configuration(node, static), *(pod.manifest for pod in static), *node_phase._files(node))
    files = {f.path: f.content for f in written}
    for content in files.values():
        content.encode()
        assert {"apiVersion", "kind"} <= set(yaml.safe_load(content))
    kubelet = yaml.safe_load(files[node_phase.CONFIG])
    assert (kubelet["clusterDomain"], kubelet["clusterDNS"]) == (wanted.dns_domain, [wanted.dns_server_ip])
    for pod, args in (
        ("kube-apiserver", wanted.apiserver_extra_args),
        ("kube-controller-manager", wanted.controller_manager_extra_args),
        ("kube-scheduler", wanted.scheduler_extra_args),
        ("kube-proxy", wanted.kube_proxy_extra_args),
    ):
        command = yaml.safe_load(files[f"{MANIFESTS}/{pod}.yaml"])["spec"]["containers"][0]["command"]
        assert set(command) >= {f"--{flag}={value}" for flag, value in args.items()}
    objects = list(yaml.safe_load_all(addons.manifest(node.settings)))
    assert all(isinstance(o["metadata"]["name"], str) for o in objects)


def _check_units(node: Node) -> None:
    wanted = node.settings
    for text in (docker.drop_in(node).content, bootstrap._unit(node, "r")):
        assert text.isascii()
        environment = _in_unit(text)
        assert environment.get("HTTP_PROXY") == wanted.http_proxy
        assert environment.get("HTTPS_PROXY") == wanted.https_proxy
        assert (wanted.no_proxy or "") in environment.get("NO_PROXY", wanted.no_proxy or "")


def _check_commands(node: Node) -> None:
    wanted = node.settings
    for spec, args in zip(_specs(node), (wanted.etcd_extra_args, wanted.kubelet_extra_args), strict=True):
        command = run_command("main", "x", spec)
        *words, _ = shlex.split(command)
        label = words[words.index("--label") + 1].partition("=")[2]
        assert json.loads(label) == spec.lines()
        assert words[-len(spec.command) :] == list(spec.command)
        assert set(words) >= {f"--{flag}={value}" for flag, value in args.items()}
        assert words[-len(spec.command) - 1] == spec.image
        # as one word of sudo's shell, in one word of sshd's
        assert len(shlex.quote(shlex.quote(command)).encode()) < 128 * 1024
    assert not re.search(r"^-|\s", node.image("x/y:1"))
    plain = World().node() if not wanted.binaries_url and not wanted.image_registry else None
    assert plain is None or node_phase.dockerfile(node).count("\n") == node_phase.dockerfile(plain).count("\n")


WRITTEN = (
    "etcd_version", "flannel_version", "dns_domain", "dns_server_ip", "image_registry", "node_image", "binaries_url",
    "http_proxy", "https_proxy", "no_proxy", "node_name", "master_ip", "apiserver_extra_args", "kubelet_extra_args",
    "controller_manager_extra_args", "scheduler_extra_args", "etcd_extra_args",
)  # fmt: skip
"""Settings whose text stands in files, units and commands."""


@pytest.mark.promise("thousand-lines-of-garbage")
@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_taken_arrives_whole_in_every_file_unit_and_command(name: str) -> None:
    good = EFFECTS[name].value
    taken = [good, *(value for value in _mutants(name) if value is not None and _taken({name: value}))]
    if isinstance(good, Mapping):  # all of them at once
        texts = {
            value["x"] for value in taken if isinstance(value, Mapping) and len(value.get("x", "")) in range(1, 50)
        }
        values = [{f"f{n}": text for n, text in enumerate(sorted(texts))}]
        assert len(values[0]) > 40
    else:
        values = random.Random(3).sample(taken, min(len(taken), 4))
    for value in values:
        node = World(data={name: value}).node()
        for check in (_check_files, _check_units, _check_commands):
            check(node)


def test_a_percent_sign_in_a_proxy_is_no_specifier_of_systemd() -> None:
    node = World(data={"http_proxy": "http://p.lan:1/a%20b%n"}).node()
    assert _in_unit(docker.drop_in(node).content)["HTTP_PROXY"] == "http://p.lan:1/a%20b%n"
    assert "a%%20b%%n" in bootstrap._unit(node, "r")


@pytest.mark.parametrize("domain", ["on", "null", "true", "1e3", "no"])
def test_a_domain_that_is_a_word_of_yaml_stays_text(domain: str) -> None:
    _check_files(World(data={"dns_domain": domain}).node())


@pytest.mark.parametrize(
    "registry", ["-x.lan", "lan", "a..b:1", "r.lan:0x1", "r.lan/UP", "r.lan//x", "r.lan/-x", ".lan"]
)
def test_a_registry_that_docker_would_not_take_is_refused_before_anything_is_pulled(registry: str) -> None:
    assert _taken({"image_registry": registry}) is None


def test_random_settings_together() -> None:
    generator = random.Random(1)
    pool = {name: list(_mutants(name)) + 40 * [EFFECTS[name].value] for name in OPTIONS}
    for _ in range(100):
        names = generator.sample(sorted(OPTIONS), 4)
        _taken({name: generator.choice(pool[name]) for name in names})


@pytest.mark.parametrize("key", [1, None, ("a",), b"k8s_version", "k8s_version\n", "K8S-VERSION", "😀", "x" * 100_000])
def test_names_of_host_data_that_are_none_are_refused_or_left_alone(key: Any) -> None:
    said = ""
    try:
        assert load({key: "x"}, {}) == load({}, {})
    except DeployError as refused:
        said = str(refused)
    assert said.isprintable()


# ---- what hosts say, through whole runs


def _broken(text: list[str], generator: random.Random) -> list[str]:
    """An answer in which something is not as it was."""
    result = list(text)
    place = generator.randrange(len(result))
    words = ["", "Welcome!", "{", "$(reboot)", "\x1b[2J", "== end", "== x", "-1", "\x00", "'", "é" * 40, "9" * 5000]
    match generator.randrange(6):
        case 0:
            return result[:place]
        case 1:
            del result[place]
        case 2:
            result.insert(place, generator.choice(words))
        case 3:
            result[place] = generator.choice(words)
        case 4:
            result[place] = result[place][: len(result[place]) // 2] + generator.choice(words)
        case _:
            result[place:place] = result[: generator.randrange(len(result))]
    return result


_MARKS = {machines.FACT_MARK: None, **machines.FRESH}
MAY_DIFFER = {
    machines.FACT_MARK: r"option /var/li",
    'echo "== modules"': r"^ +module |^ +(net|vm|kernel)\.|Will load kernel modules",
    "one docker-bootstrap": r"the address that docker0 has",
    'echo "== kubelet-client"': r"kubelet-client-current\.pem",
}
"""Mark → lines of a plan about what may as well be so: a directory of Docker's that is called otherwise, a module or a
value that the kernel lacks, a docker0 without an address, a certificate that can't be read."""


def _run(entry: str, answers: Mapping[str, list[str]]) -> tuple[Outcome, list[str]]:
    """A run in which the worker gives these answers, and the lines of its plan or status, sorted: hosts say them in any
    order."""
    good = machines.fake(machines.answer("w1", "10.0.0.12"))
    good["fake_responses"].update(answers)  # type: ignore[attr-defined]
    printed = io.StringIO()
    with logged() as plan, redirect_stdout(printed):
        outcome = through_api(entry, {**PAIR, "workers": (H("w1", "10.0.0.12", data=good),)}, diff=True)
    return outcome, sorted([*plan, *printed.getvalue().splitlines()])


@functools.cache
def _undamaged(entry: str) -> tuple[Outcome, list[str]]:
    return _run(entry, {})


@pytest.mark.promise("thousand-lines-of-garbage")
@pytest.mark.parametrize("entry", ["cluster", "turndown", "status"])
@pytest.mark.parametrize("mark", _MARKS, ids=lambda mark: mark.strip('echo "=').replace(" ", "-"))
def test_an_answer_with_something_wrong_is_refused_by_a_sentence_or_means_the_same(entry: str, mark: str) -> None:
    generator = random.Random(f"{entry} {mark}")
    whole = machines.answer("w1", "10.0.0.12") if mark == machines.FACT_MARK else lines(str(_MARKS[mark]))
    for _ in range(5):
        outcome, seen = _run(entry, {mark: _broken(whole, generator)})
        assert only_reads(outcome.commands)
        if outcome.code:
            assert "@fake/w1" in outcome.said
            assert outcome.said.isprintable(), outcome.said
            assert len(outcome.said) < 1000
        elif "w1 is broken:" in seen:  # a status has a row for it
            assert any(line.startswith("  problem: @fake/w1 ") for line in seen)
        else:
            undamaged, meant = _undamaged(entry)
            assert outcome.operations == undamaged.operations
            assert _told(seen, mark) == _told(meant, mark)


def _told(lines: list[str], mark: str) -> list[str]:
    return [line for line in lines if mark not in MAY_DIFFER or not re.search(MAY_DIFFER[mark], line)]


NODE = {
    'echo "== modules"': "kernel-master",
    "one docker-bootstrap": "daemons-worker",
    'echo "== kubelet-client"': "files-worker",
    'echo "== chains"': "leftovers-master",
}
"""Mark → what a worker answers that is a node."""
LEFT = re.compile(r": not written by docker-multinode$|No record of docker-multinode is here: nothing is changed")
"""Lines of a plan about what stays."""


@functools.cache
def _node() -> tuple[dict[str, list[str]], Outcome, list[str]]:
    """The answers of a node, and its turndown by them."""
    answers = {mark: lines(sample) for mark, sample in NODE.items()}
    answers[machines.FACT_MARK] = machines.answer("w1", "10.0.0.12", sample="platform-worker")
    return answers, *_run("turndown", answers)


MAY_COME = {
    'echo "== chains"': r"^ {6}\S+$|Will remove \d+ containers of pods:$",
    'echo "== kubelet-client"': r"Will let systemd read docker's unit again; docker is not restarted$",
}
"""Mark → lines of a plan that may be more: containers that the kubelet started, of whose names nobody can tell that one
is none, and a reload of systemd's units."""


@pytest.mark.promise("thousand-lines-of-garbage")
@pytest.mark.parametrize(
    "mark", [machines.FACT_MARK, *NODE], ids=["uname", "modules", "daemons", "kubelet-client", "chains"]
)
def test_a_turndown_by_an_answer_with_something_wrong_takes_away_nothing_else(mark: str) -> None:
    generator = random.Random(mark)
    answers, undamaged, meant = _node()
    assert undamaged.code == 0
    assert len([line for line in meant if "Will remove" in line]) > 20
    for _ in range(25):
        outcome, seen = _run("turndown", {**answers, mark: _broken(answers[mark], generator)})
        assert outcome.code or outcome.operations == undamaged.operations
        more = [line for line in seen if line not in meant and not LEFT.search(line)]
        assert outcome.code or [line for line in more if not re.search(MAY_COME.get(mark, "$^"), line)] == []


# ---- what lies on the control machine


def _archives() -> Iterator[bytes]:
    generator = random.Random(2)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in (("backup.json", "[" * 50_000), ("status.json", "\ud800".encode("utf-16", "surrogatepass"))):
            data = text if isinstance(text, bytes) else text.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    yield packed.getvalue()
    yield from (b"", b"\x1f\x8b", gzip.compress(b"\x00" * 5000), gzip.compress(generator.randbytes(5000)))
    for _ in range(30):
        broken = bytearray(packed.getvalue()[: generator.randrange(20, len(packed.getvalue()))])
        broken[generator.randrange(len(broken))] ^= 0xFF
        yield bytes(broken)
    yield generator.randbytes(100_000)


def test_an_archive_of_garbage_is_not_ours(tmp_path: Path) -> None:
    for data in _archives():
        (tmp_path / "x.tar.gz").write_bytes(data)
        assert not local_backup(tmp_path / "x.tar.gz").ours
    assert not local_backup(tmp_path).there
    assert not local_backup(tmp_path / ("x" * 300)).there


CONFIGS = (
    "", "\x00", "[" * 20_000, "a: [", "2001-99-99", "{[1]: 2}", "!!python/object:x {}", "*a", "&a [*a]", "3", "- x",
    "clusters: 3", "clusters: [[]]", "clusters: [{cluster: x}]", "\ufeff{}", "? ? ? x", "!!int x", "é" * 10_000,
)  # fmt: skip


@pytest.mark.parametrize("text", CONFIGS, ids=range(len(CONFIGS)))
def test_a_file_of_garbage_where_the_kubeconfig_goes_is_foreign(text: str) -> None:
    assert kubeconfig._why_not(text, "CA", "CERTIFICATE", "https://x:6443") == kubeconfig.FOREIGN


STATUSES = (
    "",
    "null",
    "3",
    "[]",
    '{"nodes": 1}',
    '{\n "nodes": [' + "[" * 50_000,
    "x" * 10_000,
    '{\n "nodes": [], "x": ',
)


@pytest.mark.parametrize("printed", STATUSES, ids=range(len(STATUSES)))
def test_a_status_that_is_none_is_unknown(printed: str) -> None:
    assert cli._report(printed) is None


def test_a_status_is_found_behind_what_an_inventory_prints() -> None:
    said = json.dumps({"nodes": [], "not_in_inventory": [], "table": "T"}, indent=1).replace("[]", "[\n ]", 1)
    assert cli._report(f"hello {{}}\n{said}\nbye") == {"nodes": [], "not_in_inventory": [], "table": "T"}


INVENTORIES = (
    "masters = [('@fake/m1', {1: 2, None: 3})]", "masters = ['$(touch /pwned)', 'a\\nb', '-oProxyCommand=reboot']",
    "masters = [('@fake/m1', {'k8s_version': object(), 'ssh_port': 'x'})]",
)  # fmt: skip


@pytest.mark.parametrize("text", INVENTORIES, ids=range(len(INVENTORIES)))
def test_an_inventory_of_garbage_changes_nothing(text: str, tmp_path: Path) -> None:
    outcome = through_cli(tmp_path, "cluster", text)
    assert outcome.code == 1
    assert only_reads(outcome.commands)
    assert "Traceback" not in outcome.said
    assert "Starting operation" not in outcome.said
