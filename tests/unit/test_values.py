"""Each option's parser: what it takes, and what it refuses with a half sentence that helps."""

from __future__ import annotations

from typing import Any

import pytest

from deploys import values
from deploys.settings import OPTIONS

V = values
GOOD: list[tuple[values.Parser, Any, Any]] = [
    (V.kubernetes_version, "1.37.2", "v1.37.2"), (V.kubernetes_version, "v1.34.11", "v1.34.11"),
    (V.tag, "v0.28.10", "v0.28.10"), (V.tag, "3.6.5-0", "3.6.5-0"), (V.tag, "_x", "_x"),
    (V.boolean, True, True), (V.boolean, "False", False), (V.boolean, "TRUE", True),
    (V.seconds, 1, 1), (V.seconds, "86400", 86400), (V.days, 3650, 3650), (V.days, "1", 1),
    (V.ip_address, "192.168.1.10", "192.168.1.10"), (V.ip_address, "8.8.8.8", "8.8.8.8"),
    (V.network, "10.0.0.0/8", "10.0.0.0/8"), (V.network, "100.64.0.0/16", "100.64.0.0/16"),
    (V.pod_network, "10.1.0.0/22", "10.1.0.0/22"), (V.pod_network, "172.16.0.0/12", "172.16.0.0/12"),
    (V.service_network, "10.96.0.0/12", "10.96.0.0/12"), (V.service_network, "10.0.0.0/28", "10.0.0.0/28"),
    (V.dns_domain, "cluster.local", "cluster.local"), (V.dns_domain, "k8s", "k8s"), (V.dns_domain, "a-1.b2", "a-1.b2"),
    (V.node_name, "n1", "n1"), (V.node_name, "a" * 52, "a" * 52), (V.node_name, "n1.example.org", "n1.example.org"),
    (V.interface, "eth0", "eth0"), (V.interface, "enp3s0.7", "enp3s0.7"), (V.interface, "br-lan", "br-lan"),
    (V.registry, "registry.lan:5000", "registry.lan:5000"), (V.registry, "r.lan/mirror/k8s", "r.lan/mirror/k8s"),
    (V.image, "r.lan:5000/node:v1", "r.lan:5000/node:v1"), (V.image, "n@sha256:" + "0" * 64, "n@sha256:" + "0" * 64),
    (V.url, "http://p.lan:3142/", "http://p.lan:3142"), (V.url, "https://m.lan/a/b", "https://m.lan/a/b"),
    (V.no_proxy, "10.0.0.0/8,.lan,*.corp", "10.0.0.0/8,.lan,*.corp"),
    (V.names, "a.lan,10.0.0.1", ("a.lan", "10.0.0.1")), (V.names, ["a.lan"], ("a.lan",)), (V.names, (), ()),
    (V.path, "./kubeconfig", "./kubeconfig"),
    (V.directories, "/srv,/var/lib/longhorn", ("/srv", "/var/lib/longhorn")), (V.directories, "", ()),
    (V.directories, ["/a.b/..c"], ("/a.b/..c",)), (V.directories, ("/runs", "/etcetera"), ("/runs", "/etcetera")),
    (V.one_of("a", "b"), "b", "b"), (V.some_of("a", "b"), "b,a", ("b", "a")), (V.some_of("a", "b"), ["a"], ("a",)),
    (V.some_of("a", "b"), "", ()), (V.some_of("a", "b"), [], ()),
    (V.extra_args, {"v": 4, "a": True}, {"a": "true", "v": "4"}), (V.extra_args, '{"v": "4"}', {"v": "4"}),
    (V.extra_args, {}, {}), (V.extra_args, {"x": "a b 'c'"}, {"x": "a b 'c'"}), (V.extra_args, {"x": ""}, {"x": ""}),
]  # fmt: skip


@pytest.mark.parametrize(("parse", "value", "expected"), GOOD)
def test_a_good_value_is_taken(parse: values.Parser, value: object, expected: object) -> None:
    assert parse(value) == expected


BAD: list[tuple[values.Parser, Any, str]] = [
    (V.text, "", "one line"), (V.text, " a", "spaces"), (V.text, "a\nb", "one line"), (V.text, 1, "quotes"),
    (V.kubernetes_version, 1.37, "leading v"), (V.kubernetes_version, "v1.37.02", "v1.37.2"),
    (V.kubernetes_version, "v01.37.2", "v1.37.2"), (V.kubernetes_version, "v1.37.2 ", "full version"),
    (V.kubernetes_version, "v1.37.2\n", "full"), (V.kubernetes_version, "vv1.37.2", "full"),
    (V.kubernetes_version, "v1.37.٢", "full"), (V.kubernetes_version, None, "None"),
    (V.tag, 1.1, "text"), (V.tag, "", "image tag"), (V.tag, "a b", "image tag"), (V.tag, "a/b", "image tag"),
    (V.tag, "-a", "image tag"), (V.tag, "a" * 129, "image tag"), (V.tag, "a;reboot", "image tag"),
    (V.boolean, "yes", "true or false"), (V.boolean, 0, "true or false"), (V.boolean, "", "true or false"),
    (V.seconds, 0, "1 to 86400"), (V.seconds, 86401, "86400"), (V.seconds, True, "seconds"),
    (V.seconds, "1.5", "whole"),
    (V.seconds, "\uff19", "whole"), (V.seconds, "9" * 5000, "whole"), (V.days, 3651, "3650"), (V.days, "-1", "3650"),
    (V.ip_address, "10.0.0", "192.168.1.10"), (V.ip_address, "::1", "IPv4"), (V.ip_address, 10, "IPv4"),
    (V.ip_address, "127.0.0.1", "reach"), (V.ip_address, "0.0.0.0", "reach"), (V.ip_address, "224.0.0.1", "reach"),
    (V.ip_address, "255.255.255.255", "reach"), (V.ip_address, "10.0.0.01", "IPv4"),
    (V.ip_address, "10.0.0.1/24", "IPv4"),
    (V.network, "10.0.0.1/8", "10.0.0.0/8"), (V.network, "10.0.0.0", "10.1.0.0/16"), (V.network, "1.1.0.0/16", "10."),
    (V.network, "127.0.0.0/8", "10."), (V.network, "169.254.0.0/16", "10."), (V.network, "0.0.0.0/8", "10."),
    (V.network, "240.0.0.0/8", "10."), (V.network, "10.0.0.0/255.0.0.0", "10.0.0.0/8"), (V.network, None, "IPv4"),
    (V.network, "8.0.0.0/5", "10."),
    (V.pod_network, "10.1.0.0/23", "/22"), (V.service_network, "10.0.0.0/29", "/28"),
    (V.dns_domain, "A.b", "lower-case"), (V.dns_domain, "a..b", "lower-case"), (V.dns_domain, "a.", "lower-case"),
    (V.dns_domain, "-a", "lower-case"), (V.dns_domain, "a" * 64, "lower-case"), (V.dns_domain, "10.0.0.1", "10.0.0.1"),
    (V.node_name, "N1", "lower-case"), (V.node_name, "a_b", "lower-case"), (V.node_name, "a" * 53, "52"),
    (V.node_name, "", "lower-case"), (V.node_name, 5, "lower-case"),
    (V.interface, "eth 0", "eth0"), (V.interface, "a" * 16, "eth0"), (V.interface, "$(x)", "eth0"),
    (V.registry, "https://r.lan", "without the scheme"), (V.registry, "r.lan:port", "registry.lan:5000"),
    (V.registry, "r.lan:99999", "registry.lan:5000"), (V.registry, "r.lan/UPPER", "registry.lan:5000"),
    (V.registry, "", "registry.lan:5000"), (V.registry, "a b", "registry.lan:5000"),
    (V.image, "node", "tag or a digest"), (V.image, "r:5000/node", "tag or a digest"),
    (V.image, "a b:1", "must be an image"),
    (V.image, "n@sha256:00", "must be an image"), (V.image, 7, "must be an image"),
    (V.url, "p.lan:3142", "http://"), (V.url, "http://u:p@p.lan", "password"), (V.url, "http://p.lan/a b", "http://"),
    (V.url, "http://`x`", "http://"), (V.url, 'http://"', "http://"), (V.url, "", "http://"),
    (V.no_proxy, "a b", "comma-separated"), (V.no_proxy, "a,,b", "comma-separated"), (V.no_proxy, ["a"], "comma"),
    (V.names, "a.lan,,b", "neither"), (V.names, "UP.lan", "neither"), (V.names, [1], "neither"), (V.names, 5, "list"),
    (V.path, 5, "quotes"), (V.path, "", "one line"),
    (V.directories, 5, "list"), (V.directories, {"/srv": 1}, "list"), (V.directories, [5], "absolute"),
    (V.directories, "srv", "absolute"), (V.directories, "/", "absolute"), (V.directories, "/srv/", "absolute"),
    (V.directories, "/srv:/data", "absolute"), (V.directories, ["/a,/b"], "absolute"),
    (V.directories, "/a b", "absolute"), (V.directories, "/srv/../etc", "absolute"),
    (V.directories, "/./etc", "absolute"), (V.directories, "//etc", "absolute"),
    (V.directories, "/srv\n", "absolute"), (V.directories, "/$(x)", "absolute"), (V.directories, "/srv,/srv", "twice"),
    (V.directories, "/proc", "/proc"), (V.directories, "/sys/fs", "/sys"), (V.directories, "/dev/sdb", "/dev"),
    (V.directories, "/run/x", "/run"), (V.directories, "/etc", "/etc"), (V.directories, "/usr/local", "/usr"),
    (V.directories, "/var", "/var/lib/"), (V.directories, "/var/lib", "/var/lib/"),
    (V.directories, "/var/run/x", "/var/run"),
    (V.directories, "/var/lib/kubelet/pods", "/var/lib/kubelet"), (V.directories, "/var/log", "/var/log/"),
    (V.directories, [f"/{i}" * 300 for i in "abcd"], "longer"),
    (V.one_of("a", "b"), "c", "a, b"), (V.one_of("a", "b"), ["a"], "a, b"), (V.one_of("1"), 1, "1"),
    (V.some_of("a", "b"), "c", "a, b"), (V.some_of("a", "b"), "a,a", "twice"), (V.some_of("a"), 5, "list"),
    (V.some_of("a"), [["a"]], "a"), (V.some_of("a"), {"a": 1}, "list"),
    (V.extra_args, "v=4", "mapping"), (V.extra_args, "[]", "mapping"), (V.extra_args, ["v"], "mapping"),
    (V.extra_args, {"--v": "4"}, "without dashes"), (V.extra_args, {"V": "4"}, "flag"),
    (V.extra_args, {1: "4"}, "flag"),
    (V.extra_args, {"v": 1.5}, "text"), (V.extra_args, {"v": None}, "text"), (V.extra_args, {"v": "a\nb"}, "one line"),
    (V.extra_args, {"v": ["a"]}, "text"),
]  # fmt: skip


@pytest.mark.parametrize(("parse", "value", "says"), BAD)
def test_a_bad_value_is_refused_with_what_to_write(parse: values.Parser, value: object, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        parse(value)
    sentence = str(refused.value)
    assert says in sentence
    assert "\n" not in sentence
    assert sentence[0].islower(), "it follows the setting's name"


HOSTILE: tuple[Any, ...] = (None, True, 0, -1, 1e308, float("nan"), "", " ", "\x00", "a" * 100_000, "é", [], [None],
           {}, {None: None}, object(), b"x", "$(reboot)", "'; reboot; '", '"', "\n", "{{ x }}", "%n")  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_whatever_is_given_is_taken_or_refused_but_never_a_traceback(name: str) -> None:
    for value in HOSTILE:
        try:
            parsed = OPTIONS[name]["parse"](value)
        except ValueError:
            continue
        for text in parsed.values() if isinstance(parsed, dict) else [parsed]:
            assert not (isinstance(text, str) and ("\n" in text or "\x00" in text)), (name, value)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_default_passes_its_own_check(name: str) -> None:
    default = OPTIONS[name]["default"]
    if default is not None:
        assert OPTIONS[name]["parse"](default) == default
    assert OPTIONS[name]["help"].endswith(".")
    assert default is not None or OPTIONS[name]["unset"], "what holds where nothing is set must be said"


@pytest.mark.parametrize(
    "value",
    ["http://bob:s3cret@proxy.lan:3142", "http://bob:s3/c//ret@proxy.lan:3142", "bob:s3cret@proxy.lan:3142",
     "http://bob:s3cret@x@proxy.lan", "http://bob:s3'cret@proxy.lan", "http://bob:s3\ncret@proxy.lan", "ftp://b:s3cret@p"],
)  # fmt: skip
@pytest.mark.parametrize("parse", [values.url, values.registry, values.image, values.no_proxy])
def test_a_password_is_refused_without_being_shown(parse: values.Parser, value: str) -> None:
    with pytest.raises(ValueError, match="…@") as refused:
        parse(value)
    assert "s3" not in str(refused.value)
    assert "cret" not in str(refused.value)
