"""Kernel modules and sysctls at run time; what they were before us goes into the record first."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import StringCommand

from ..facts.kernel import BRIDGE_SYSCTL, DOCKER0_SYSCTL, Kernel
from ..observe import observe
from ..operation import Commands, operation
from ..plan import say
from ..record import BEFORE
from .files import note


@operation
def kernel(modules: tuple[str, ...], sysctls: dict[str, str]) -> Commands:
    """
    Ensure that modules are loaded and sysctls set, now; files for the next boot are the host phase's.

    + modules: names
    + sysctls: key to value
    """
    now = observe(Kernel)
    load = [m for m in modules if m not in now.modules]
    wrong = {k: v for k, v in sysctls.items() if now.sysctls.get(k) != v}
    before = [f"{k}={v}" for k, v in now.sysctls.items()]
    before += [f"module {m}={'loaded' if m in now.modules else 'absent'}" for m in modules]
    if not now.before:
        say(f"Will record in {BEFORE}/kernel what was before:", *before)
    if load:
        say(f"Will load kernel modules: {', '.join(load)}")
    if wrong:
        say("Will set sysctls:", *(f"{k}: {now.sysctls.get(k, 'unset')} -> {v}" for k, v in wrong.items()))
    if not now.before:
        yield StringCommand(note(f"{BEFORE}/kernel", "\n".join(before)))
    if load:
        yield StringCommand(f"modprobe -a {' '.join(load)}")
    if wrong:
        yield StringCommand("sysctl -qw " + " ".join(f"{k}={v}" for k, v in wrong.items()))
    if now.before and not load and not wrong:
        host.noop("modules and sysctls are as they should be")


@operation
def kernel_restored(bridges: bool) -> Commands:
    """
    Put sysctls back to what the record says, once: what is set afterwards is somebody else's. Modules stay:
    others may use them by now.

    + bridges: also those of Docker's bridges, which it needs where it runs without docker-proxy
    """
    now = observe(Kernel)
    # a bridge that came since is as docker0 was
    docker0 = now.before.get(DOCKER0_SYSCTL)
    of_bridges = [k for k in now.sysctls if k == DOCKER0_SYSCTL or BRIDGE_SYSCTL.fullmatch(k)]
    wanted = {**{k: docker0 for k in of_bridges if docker0}, **now.before}
    stays = () if bridges else of_bridges
    back = {k: v for k, v in wanted.items() if k not in stays and now.sysctls.get(k, v) != v}
    if not now.before:
        host.noop("no record says what sysctls were before")
        return
    if back:
        say("Will set sysctls back:", *(f"{k}: {now.sysctls[k]} -> {v}" for k, v in back.items()))
    set_back = f"sysctl -qw {' '.join(f'{k}={v}' for k, v in back.items())} && " if back else ""
    say(f"Will remove {BEFORE}/kernel")
    yield StringCommand(f"{set_back}rm -f {BEFORE}/kernel")
