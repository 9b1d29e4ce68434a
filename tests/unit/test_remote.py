"""Commands beside pyinfra's operations: in few sessions at a time, as the operations' user, and never printed."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from paramiko import SSHException
from pyinfra.api import StringCommand, deploy
from pyinfra.api.host import Host
from pyinfra.context import ctx_config

from deploys import remote
from deploys.record import LOCAL_DOCKER

from .harness import World, logged

KEY = "-----BEGIN PRIVATE KEY-----\nMIG=\n-----END PRIVATE KEY-----"


class Hosts:
    """Takes the place of every host's connection."""

    def __init__(self, *, ok: bool = True, out: str = "out", error: str = "error") -> None:
        self.answer = ok, SimpleNamespace(stdout=out, stderr=error)
        self.now: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.seen: list[dict[str, Any]] = []
        self.connected: list[str] = []

    def run(self, host: Host, command: StringCommand, **arguments: Any) -> tuple[bool, Any]:
        """A command that takes a moment."""
        self.seen.append({"host": host.name, "command": command.get_raw_value(), **arguments})
        self.now[host.name] = self.now.get(host.name, 0) + 1
        self.most[host.name] = max(self.most.get(host.name, 0), self.now[host.name])
        gevent.sleep(0.2)  # on a busy machine the others need time to come
        self.now[host.name] -= 1
        return self.answer

    def connect(self, host: Host, **_: Any) -> None:
        """The first command connects."""
        self.connected.append(host.name)
        host.connected = True


def reached(monkeypatch: pytest.MonkeyPatch, **answer: Any) -> Hosts:
    """Hosts that answer so."""
    hosts = Hosts(**answer)
    monkeypatch.setattr(Host, "run_shell_command", lambda host, command, **kwargs: hosts.run(host, command, **kwargs))
    monkeypatch.setattr(Host, "connect", lambda host, **kwargs: hosts.connect(host, **kwargs))
    return hosts


def test_many_that_ask_one_host_share_few_sessions_and_another_host_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hosts = reached(monkeypatch)
    here = World(workers=["w1"])
    names = ["m1"] * 30 + ["w1"] * 2
    with here.on():
        jobs = [gevent.spawn(remote.run, here.host(name), "true") for name in names]
        gevent.joinall(jobs, timeout=30, raise_error=True)
    assert [job.value for job in jobs] == [(True, "out", "error")] * len(names)
    assert hosts.most == {"m1": remote._SESSIONS, "w1": 2}
    assert remote._SESSIONS < 10 - 2  # sshd's MaxSessions, less the lock and pyinfra's own


def test_a_session_that_failed_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(host: Host, command: StringCommand, **_: Any) -> None:
        raise OSError("gone")

    reached(monkeypatch)
    monkeypatch.setattr(Host, "run_shell_command", broken)
    here = World()
    with here.on() as host, gevent.Timeout(30):
        for _ in range(3 * remote._SESSIONS):
            assert remote.run(host, "true") == (False, "", "the connection to m1 broke: gone")


def test_nothing_of_a_command_is_printed_and_it_runs_as_the_operations_user(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = reached(monkeypatch, out=f"Welcome!\n{KEY}")
    here = World(data={"_sudo": True})
    here.host("m1").connected = False
    with here.on() as host, logged() as said:
        assert remote.pem(host, "/etc/kubernetes/pki/ca.key") == KEY + "\n"
        remote.pem(host, "/x")
    assert said == []
    assert hosts.connected == ["m1"]
    first = hosts.seen[0]
    assert (first["command"], first["_sudo"]) == (f"{LOCAL_DOCKER} cat /etc/kubernetes/pki/ca.key", True)
    assert (first["print_output"], first["print_input"]) == (False, False)


def test_what_a_deploy_is_called_with_holds_for_all_that_is_asked_in_the_run() -> None:
    here = World(masters={"m1": {}}, workers={"w1": {"_sudo_user": "admin"}, "w2": {}})
    names = ("m1", "w1", "w2")
    with here.on("m1"):
        deploy("Mine")(lambda: remote.called(here.host("m1")))(_sudo=True)
    assert [remote.of_call(here.host(name)) for name in names] == [{"_sudo": True}] * 3
    as_who = [remote.connector_arguments(here.host(name)) for name in names]
    assert [(a["_sudo"], a["_sudo_user"]) for a in as_who] == [(True, None), (True, "admin"), (True, None)]
    with here.on("w2"):
        deploy("Mine")(lambda: remote.called(here.host("w2")))()
    assert [remote.of_call(here.host(name)) for name in names] == [{"_sudo": True}] * 2 + [{}]


def test_this_machines_address_is_known_where_it_is_connected_itself() -> None:
    host = World().host("m1")
    assert remote.own_address(host) is None
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        host.connector.client = SimpleNamespace(get_transport=lambda: SimpleNamespace(sock=sock))  # type: ignore[attr-defined]
        assert remote.own_address(host) == "127.0.0.1"
    host.connector.client = SimpleNamespace(get_transport=lambda: SimpleNamespace(sock=object()))  # type: ignore[attr-defined]
    assert remote.own_address(host) is None


def test_what_a_deploy_file_sets_holds_for_all_that_is_asked_in_the_run() -> None:
    here = World()
    of_file = here.state.config.copy()
    of_file.SUDO = True
    with here.on("m1"), ctx_config.use(of_file):
        deploy("Mine")(lambda: remote.called(here.host("m1")))()
    assert remote.of_call(here.host("m1")) == {"_sudo": True}
    assert remote.connector_arguments(here.host("m1"))["_sudo"]


@pytest.mark.parametrize(("ok", "out"), [(False, "half a key"), (True, ""), (False, "")])
def test_what_failed_or_said_nothing_is_an_empty_string(ok: bool, out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reached(monkeypatch, ok=ok, out=out)
    with World().on() as host:
        assert remote.pem(host, "/x") == ""


def test_a_connection_that_ends_while_a_command_begins_is_an_error_that_pyinfra_shows_for_its_host() -> None:
    def ended(*_: Any) -> None:
        raise EOFError

    host = World().host("m1")
    transport = SimpleNamespace(set_keepalive=lambda _: None, sock=SimpleNamespace(setsockopt=lambda *_: None))
    client = SimpleNamespace(get_transport=lambda: transport, exec_command=ended)
    host.connector = SimpleNamespace(client=client)  # type: ignore[assignment]
    remote.prepare(host)
    with pytest.raises(SSHException, match="the connection broke"):
        client.exec_command("true")


def test_a_connection_tells_when_the_other_end_is_gone() -> None:
    options: dict[int, int] = {}
    sock = SimpleNamespace(setsockopt=lambda level, name, value: options.update({name: value}))
    beats: list[int] = []
    client = SimpleNamespace(
        get_transport=lambda: SimpleNamespace(sock=sock, set_keepalive=beats.append), exec_command=None
    )
    host = World().host("m1")
    host.connector = SimpleNamespace(client=client)  # type: ignore[assignment]
    remote.prepare(host)
    assert beats == [remote.ALIVE]
    assert options[socket.TCP_USER_TIMEOUT] == 60_000
