"""docs/options.md, from the table in deploys/settings.py: python -m tests.tools.options_doc."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from deploys import releases
from deploys.settings import FROM_ENVIRONMENT, OPTIONS
from tests.lab.paths import CHECKOUT

PATH = CHECKOUT / "docs/options.md"

_HEAD = """\
# Options

<!-- Written by `make docs` from the table in deploys/settings.py. -->

Every option but `restore_from` has a default. The shipped group_data/all.py sets none.

An option is looked up in this order; the first place that has it wins:

1. `--data` of the pyinfra command: `--data flannel_backend=host-gw`
2. data of the host, in the inventory
3. data of its groups: `group_data/masters.py`, `group_data/workers.py`, `group_data/all.py`
4. for what the 2016 scripts read there, the environment of the pyinfra command, in upper case:
   `FLANNEL_BACKEND=host-gw pyinfra …`. These are {environment}.
5. the default

For all hosts, in `group_data/all.py` beside your inventory:

```python
k8s_version = "{newest}"
flannel_network = "10.244.0.0/16"
apiserver_extra_args = {{"v": "4"}}
addons = ["coredns", "metrics-server"]
_sudo = True
```

For one host, in the inventory:

```python
masters = ["192.168.1.10"]
workers = [
    ("192.168.1.11", {{"node_name": "pi-1", "net_interface": "eth0"}}),
    "192.168.1.12",
]
```

For one run:

```
pyinfra inventory.py deploys/cluster.py --data timeout_for_services=600 --data addons=coredns
```

On the command line a list is written with commas, a mapping as JSON:

```
pyinfra inventory.py deploys/master.py --data apiserver_extra_args='{{"v": "4"}}'
```

No other variable becomes an option: shells carry names like HTTP_PROXY for other programs, and each operator's shell
others. Where the hosts are to use the proxy of the control machine, say so in `group_data/all.py`:

```python
import os

http_proxy = os.environ.get("HTTP_PROXY")
```

## Two traps

- **`--data k8s_version=1.30` arrives as a number.** pyinfra reads `--data` values that look like numbers as
  numbers, and 1.30 becomes 1.3. Such a value is refused with this sentence:
  `{float_error}`
- **A master and its workers must be told the same.** Put what concerns the cluster into group_data, not on the
  command line of one run: the next run without it would plan to set it back.

## What is refused

A name that is almost one of these is refused, with the name that was probably meant. So is a flag in
`…_extra_args` that other parts rely on, like those that name keys, data or addresses; one that the apiserver refuses
beside what the deploy sets (`oidc-…`, `authorization-config`); and each of kube-proxy's but those about its log, for it
would ignore them. Any other flag replaces what the deploy sets.

## Files that flags name

A file that a flag of the apiserver or the controller-manager names (an audit policy, say) must lie in
/etc/kubernetes/pki on the master: they see no other directory, and can't write there; an audit log goes to `-`, and is
read by `kubectl logs`. The first run refuses files that are not its own: let it run without the flag, put the file
there, then set the flag. Later runs leave the file alone. A turndown does, too: move it away before you install there
again.

## All of them

*Per host*: differs from host to host. From the environment it is refused where the inventory has several hosts.

| option | value | default | what it does |
|---|---|---|---|
"""


def text() -> str:
    """The whole page."""
    newest = releases.newest()
    environment = ", ".join(f"`{name.upper()}`" for name in FROM_ENVIRONMENT)
    head = _HEAD.format(newest=newest, float_error=_refusal("k8s_version", 1.30), environment=environment)
    rows = [
        f"| `{name}` | {_value(option)} | {_default(option)} | {_help(option)} |" for name, option in OPTIONS.items()
    ]
    versions = f"\nKubernetes versions in the catalogue: {releases.known_versions()}.\n"
    return head + "\n".join(rows) + "\n" + versions


def _refusal(name: str, value: object) -> str:
    try:
        OPTIONS[name]["parse"](value)
    except ValueError as error:
        return f"setting {name} {error}"
    raise AssertionError(f"{name} takes {value!r}")


def _value(option: Mapping[str, Any]) -> str:
    parse = option["parse"]
    choices = inspect.getclosurevars(parse).nonlocals.get("choices")
    if choices:
        many = isinstance(option["default"], tuple)
        return ("some of " if many else "one of ") + ", ".join(f"`{choice}`" for choice in choices)
    line = (inspect.getdoc(parse) or "").splitlines()[0].rstrip(".").replace("``", "`")
    return line[:1].lower() + line[1:] if line[1:2].islower() or line[1:2] == " " else line


def _default(option: Mapping[str, Any]) -> str:
    default = option["default"]
    if option["unset"]:
        return str(option["unset"])
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`" if default else "none"
    return f"`{default}`" if default not in (None, {}) else "none"


def _help(option: Mapping[str, Any]) -> str:
    return f"{option['help']}{' *Per host.*' if option['per_host'] else ''}"


if __name__ == "__main__":
    PATH.write_text(text())
    print(f"written: {PATH.relative_to(CHECKOUT)}")
