"""flannel's container: what makes it another one."""

from __future__ import annotations

from deploys.phases import flannel

from .harness import World


def test_another_backend_replaces_the_container_which_reads_it_at_its_start_only() -> None:
    before, after = (flannel.spec(World(data={"flannel_backend": b}).node()) for b in ("vxlan", "host-gw"))
    assert before.lines() != after.lines()
    assert "revision backend host-gw" in after.lines()
