"""Questions that are asked at the same time: each once, none behind another, and nothing stale is kept."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from pyinfra.api import FactBase
from pyinfra.api.host import Host

from deploys import observe
from deploys.facts.files import HostFiles
from deploys.facts.kernel import Kernel

from .harness import World

asked: list[str] = []
log: list[str] = []


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fact takes a moment; who asks and who is answered is noted."""

    def get_fact(self: Host, fact: type[FactBase[Any]], **arguments: Any) -> object:
        asked.append(fact.__name__)
        log.append("ask")
        gevent.sleep(0.05)
        log.append("answer")
        return object()

    asked.clear()
    log.clear()
    monkeypatch.setattr(Host, "get_fact", get_fact)


def test_all_are_asked_before_the_first_has_answered(slow: None) -> None:
    host = World().host("m1")
    host.connected = True
    observe.ask_all([(Kernel, host, {}), (HostFiles, host, {})])
    assert asked[:2] == ["Kernel", "HostFiles"]
    assert log == ["ask", "ask", "answer", "answer"]


def test_the_same_question_is_asked_once_by_however_many(slow: None) -> None:
    host = World().host("m1")
    host.connected = True
    observe.ask_all([(Kernel, host, {})] * 5)
    assert observe.observe(Kernel, host) is observe.observe(Kernel, host)
    assert asked == ["Kernel"]


def test_an_answer_from_before_a_change_is_not_kept(slow: None) -> None:
    host = World().host("m1")
    host.connected = True
    asking = gevent.spawn(observe.ask_all, [(Kernel, host, {})])
    gevent.sleep(0.01)
    observe.forget(host)
    asking.join()
    observe.observe(Kernel, host)
    assert asked == ["Kernel", "Kernel"]


def test_what_is_being_asked_is_not_asked_again_by_who_observes_it(slow: None) -> None:
    host = World().host("m1")
    host.connected = True
    asking = gevent.spawn(observe.ask_all, [(Kernel, host, {})])
    gevent.sleep(0.01)
    assert log == ["ask"]
    observe.observe(Kernel, host)
    asking.join()
    assert asked == ["Kernel"]
