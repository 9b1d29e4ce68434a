"""A restart of a daemon: whom it stops, who starts again, and what to say where it fails."""

from __future__ import annotations

from dataclasses import dataclass

from ..facts.docker import LABEL, POD
from ..platforms import RestartStrategy
from ..record import MAIN

REVISION = "DOCKER_MULTINODE_REVISION"
"""In a daemon's environment: tells with what of ours it was started."""
STAY_DOWN = ("", "no", "on-failure")
"""Restart policies with which Docker leaves down what ended well when it was stopped (measured on 26.1.5)."""
_STATE = (
    "{{.Name}}|{{.HostConfig.RestartPolicy.Name}}|{{.HostConfig.AutoRemove}}|"
    f'{{{{if or (index .Config.Labels "{LABEL}") (index .Config.Labels "{POD}")}}}}ours{{{{end}}}}'
)
_START_AGAIN = (*STAY_DOWN, "unless-stopped")
"""Restart policies of what the run starts. A Docker that runs with live-restore, though daemon.json has it no more,
leaves containers alive; the next one ends those, and leaves down what has `unless-stopped`, as after it was killed. A
start of what runs already does nothing."""
# oldest first: a later one may use an earlier one's network
_DOWN_AFTER = (
    f"timeout 60 docker ps -q | tac | xargs -r timeout 60 docker inspect --format '{_STATE}' 2>/dev/null | "
    f"sed -nE 's#^/(.*)[|]({'|'.join(_START_AGAIN)})[|]false[|]$#\\1#p'"
)


@dataclass(frozen=True)
class Bounced:
    """Running containers, not of ours or of pods, that a restart of the main Docker stops."""

    names: tuple[str, ...] = ()
    """All of them."""
    without_policy: tuple[str, ...] = ()
    """Those that Docker does not start again by itself: the run does."""
    lost: tuple[str, ...] = ()
    """Those that Docker removes when they stop (``docker run --rm``)."""
    proxied: tuple[str, ...] = ()
    """Those whose published ports Docker's proxy carries over IPv6."""

    def __str__(self) -> str:
        """As a part of a sentence that begins with a restart."""
        if not self.names:
            return "no container of others"
        said = f"the running containers {', '.join(self.names)}"
        if self.without_policy:
            said += f"; this run itself starts {', '.join(self.without_policy)}, for lack of a restart policy"
        if self.lost:
            said += f"; Docker removes {', '.join(self.lost)}, as --rm says"
        return said


def bounce(command: str, restart: RestartStrategy) -> str:
    """A command that restarts the main Docker, and then starts again what would stay down: containers of others
    that run by then, also those that came after the plan, and units that the host's owner made depend on docker's."""
    units = restart.start.format(unit="$units")
    # asking a Docker that is down could start it, by its socket
    down = f"! {restart.active.format(unit=MAIN)} || {_DOWN_AFTER}"
    again = "timeout 60 docker start $down >/dev/null"  # twice: one may need another that comes after it
    told = 'echo "not each of these runs again: "$down >&2'
    return (
        f"units=$({restart.needing.format(unit=MAIN)}); down=$({down}); {{ {command}; }}; rc=$?; "
        f'[ -z "$down" ] || {again} 2>&1 || {again} || {{ rc=1; {told}; }}; [ -z "$units" ] || {units} || rc=1; '
        "[ $rc = 0 ]"
    )


def or_evidence(command: str, restart: RestartStrategy, unit: str) -> str:
    """The command; where it fails, what the unit says of it, and failure."""
    state = restart.state.format(unit=unit)
    return f"{command} || {{ echo '{unit} does not come up:' >&2; {{ {state}; }} >&2; exit 1; }}"
