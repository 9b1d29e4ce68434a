"""The listing of a host that cluster tests compare: which order of firewall rules counts, and which one is Docker's."""

from __future__ import annotations

from tests.cluster import listing

ONE, TWO = "br-" + "1" * 12, "br-" + "2" * 12


def _filter(*rules: str) -> dict[str, tuple[str, ...]]:
    return {"iptables filter": ("*filter", ":FORWARD DROP [0:0]", *rules, "COMMIT")}


def _of_network(bridge: str) -> tuple[str, ...]:
    return (
        f"-A FORWARD -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        f"-A FORWARD -o {bridge} -j DOCKER",
        f"-A FORWARD -i {bridge} ! -o {bridge} -j ACCEPT",
        f"-A FORWARD -i {bridge} -o {bridge} -j ACCEPT",
    )


USERS = "-A FORWARD -j DOCKER-USER"
OURS = "-A FORWARD -s 10.244.0.0/16 -j ACCEPT"


def test_the_order_of_networks_is_dockers() -> None:
    before = _filter(USERS, *_of_network(ONE), *_of_network(TWO), *_of_network("docker0"))
    after = _filter(USERS, *_of_network("docker0"), *_of_network(TWO), *_of_network(ONE))
    assert listing.difference(before, after) == []


def test_the_order_of_one_networks_rules_counts() -> None:
    before = _filter(USERS, *_of_network(ONE), *_of_network(TWO))
    after = _filter(USERS, *_of_network(ONE), *reversed(_of_network(TWO)))
    assert listing.difference(before, after) != []


def test_where_other_rules_stand_between_them_counts() -> None:
    before = _filter(USERS, *_of_network(ONE), *_of_network(TWO))
    after = _filter(*_of_network(TWO), USERS, *_of_network(ONE))
    assert listing.difference(before, after) != []


def test_a_rule_that_stayed_or_is_gone_is_seen() -> None:
    before = _filter(USERS, *_of_network(ONE))
    assert listing.difference(before, _filter(USERS, *_of_network(ONE), OURS)) == [f"iptables filter: +{OURS}"]
    gone = _filter(USERS, *_of_network(ONE)[1:])
    assert listing.difference(before, gone) == [f"iptables filter: -{_of_network(ONE)[0]}"]
