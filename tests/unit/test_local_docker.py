"""Whatever DOCKER_HOST or docker context root has on a host: `docker` there is the host's own."""

from __future__ import annotations

import pytest
from pyinfra.api import StringCommand

from deploys.busy import marked
from deploys.facts.leftovers import Leftovers
from deploys.facts.platform import Platform

from .test_scripts import sh

LOCAL = "unix:///var/run/docker.sock"


def test_an_operations_command_asks_the_hosts_own_docker() -> None:
    command = marked(StringCommand('echo "$DOCKER_HOST"'))
    assert isinstance(command, StringCommand)
    text = command.get_raw_value().replace("/run/docker-multinode.busy", "/dev/null")
    assert sh(f"DOCKER_HOST=tcp://other:2375; {text}").stdout.split() == [LOCAL]


@pytest.mark.parametrize("fact", [Platform, Leftovers])
def test_so_does_a_question(fact: type[Platform] | type[Leftovers]) -> None:
    text = StringCommand(fact().command()).get_raw_value()
    assert text.index(f"DOCKER_HOST={LOCAL}") < text.index("docker")
