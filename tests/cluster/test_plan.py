"""On untouched hosts: the plan changes nothing and shows everything."""

from __future__ import annotations

import pytest

from tests.lab.hosts import Host

from . import listing, shown
from .listing import Listing
from .neighbours import CONTAINERS
from .product import Product, Run

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("untouched")]


def test_a_dry_run_changes_nothing_on_the_hosts(
    hosts: tuple[Host, Host], before: dict[str, Listing], product: Product, first_plan: Run
) -> None:
    run = product.run("master", "--dry", "--diff")
    assert run.code == 0, run.tail()
    for host in hosts:
        listing.assert_same(before[host.name], listing.take(host))


def test_a_plan_for_masters_is_about_masters_only(hosts: tuple[Host, Host], product: Product, first_plan: Run) -> None:
    touched = {name for names in product.plan("master").check().changes.values() for name in names}
    assert touched == {hosts[0].name}


def test_a_plan_names_the_restart_and_whom_it_bounces(hosts: tuple[Host, Host], first_plan: Run) -> None:
    for host in hosts:
        restarts = [t for name, t, _ in shown.blocks(first_plan) if name == host.name and "restart the main" in t]
        assert len(restarts) == 1
        assert all(name in restarts[0] for name in CONTAINERS), restarts[0]


def test_a_plan_holds_no_key(first_plan: Run) -> None:
    assert "PRIVATE KEY" not in first_plan.text
