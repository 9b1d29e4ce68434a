"""Kernel: what was before is recorded once and first; modules and sysctls are set, and put back."""

from __future__ import annotations

from dataclasses import replace

from deploys.facts.kernel import SYSCTLS, Kernel, KernelState
from deploys.operations.kernel import kernel, kernel_restored

from .harness import Shell, World
from .samples import edited, lines

FRESH = Kernel().process(lines("kernel-fresh"))
USED = Kernel().process(lines("kernel-master"))
MODULES = ("br_netfilter", "vxlan")


def world(found: KernelState) -> World:
    """A host with this kernel."""
    return World(facts={Kernel: found})


def test_a_kernel_that_is_as_it_should_be_is_left_alone() -> None:
    here = world(USED)
    assert here.run(kernel, modules=MODULES, sysctls=SYSCTLS) == []
    assert here.noops == ["modules and sysctls are as they should be"]


def test_what_was_before_is_recorded_first_then_modules_are_loaded_then_sysctls_set() -> None:
    off = replace(FRESH, modules=frozenset({"vxlan"}), sysctls={"net.ipv4.ip_forward": "0", "kernel.panic": "0"})
    record, load, set_ = world(off).run(kernel, modules=MODULES, sysctls={"net.ipv4.ip_forward": "1"})
    assert record == Shell(
        "mkdir -p /var/lib/docker-multinode/before && printf '%s\\n' 'net.ipv4.ip_forward=0\nkernel.panic=0\n"
        "module br_netfilter=absent\nmodule vxlan=loaded' > /var/lib/docker-multinode/before/kernel.new && "
        "sync /var/lib/docker-multinode/before/kernel.new && mv -f /var/lib/docker-multinode/before/kernel.new "
        "/var/lib/docker-multinode/before/kernel && sync /var/lib/docker-multinode/before"
    )
    assert load == Shell("modprobe -a br_netfilter")
    assert set_ == Shell("sysctl -qw net.ipv4.ip_forward=1")


def test_the_record_of_before_is_never_written_again() -> None:
    off = replace(USED, sysctls={**USED.sysctls, "net.ipv4.ip_forward": "0"})
    assert world(off).run(kernel, modules=MODULES, sysctls=SYSCTLS) == [Shell("sysctl -qw net.ipv4.ip_forward=1")]


def test_the_plan_shows_old_and_new_values() -> None:
    off = replace(USED, modules=frozenset(), sysctls={})
    here = world(off)
    assert "Will load kernel modules: br_netfilter, vxlan" in here.says(kernel, modules=MODULES, sysctls={})
    only = replace(USED, sysctls={"net.ipv4.ip_forward": "0"})
    said = world(only).says(kernel, modules=MODULES, sysctls={"net.ipv4.ip_forward": "1", "a.b": "2"})
    assert "net.ipv4.ip_forward: 0 -> 1" in said
    assert "a.b: unset -> 2" in said


def test_sysctls_go_back_to_what_they_were() -> None:
    (step,) = world(USED).run(kernel_restored, bridges=True)
    keepalive = "net.ipv4.tcp_keepalive_time=7200 net.ipv4.tcp_keepalive_intvl=75"
    assert step == Shell(
        f"sysctl -qw {keepalive} vm.overcommit_memory=0 kernel.panic=1 kernel.panic_on_oops=0 && "
        "rm -f /var/lib/docker-multinode/before/kernel"
    )


def test_they_go_back_once_for_what_is_set_later_is_somebody_elses() -> None:
    same = replace(USED, sysctls={k: v for k, v in USED.before.items() if "." in k})
    assert world(same).run(kernel_restored, bridges=True) == [Shell("rm -f /var/lib/docker-multinode/before/kernel")]


def test_without_a_record_nothing_goes_back() -> None:
    here = world(FRESH)
    assert here.run(kernel_restored, bridges=True) == []
    assert here.noops == ["no record says what sysctls were before"]


def test_bridges_of_docker_go_back_to_what_docker0_was() -> None:
    one = {"net.ipv4.conf.docker0.route_localnet": "1", "net.ipv4.conf.br-0123456789ab.route_localnet": "1",
           "net.ipv4.conf.br-ba9876543210.route_localnet": "1"}  # fmt: skip
    before = {"net.ipv4.conf.docker0.route_localnet": "0", "net.ipv4.conf.br-ba9876543210.route_localnet": "1"}
    (step,) = world(replace(USED, sysctls=one, before=before)).run(kernel_restored, bridges=True)
    assert isinstance(step, Shell)
    assert step.text.startswith(
        "sysctl -qw net.ipv4.conf.docker0.route_localnet=0 net.ipv4.conf.br-0123456789ab.route_localnet=0 && "
    )
    assert world(replace(USED, sysctls=one, before=before)).run(kernel_restored, bridges=False) == [
        Shell("rm -f /var/lib/docker-multinode/before/kernel")
    ]


def test_a_bridge_that_is_not_dockers_is_not_looked_at() -> None:
    found = Kernel().process(
        edited("kernel-master", {"sysctls": "/proc/sys/net/ipv4/conf/br-lan-of-mine/route_localnet 1"})
    )
    assert found.sysctls == {}
