"""Every operation says all that it will do before its first command: the plan stops there.

In the plan pyinfra runs an operation up to its first ``yield`` (api/operation.py): what is said later is never shown.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import deploys.operations

Function = ast.FunctionDef

MODULES = sorted(Path(deploys.operations.__path__[0]).glob("*.py"))
TREES = {path.stem: ast.parse(path.read_text()) for path in MODULES}
SAYS = {"say", "say_diff", "announce"}
"""What prints in the plan."""
MARKS = {"operation", "removal"}
"""The decorators of an operation."""


def _functions(tree: ast.Module) -> list[Function]:
    return [node for node in tree.body if isinstance(node, Function)]


def _is_operation(function: Function) -> bool:
    return any(isinstance(d, ast.Name) and d.id in MARKS for d in function.decorator_list)


def _calls(node: ast.AST) -> set[str]:
    return {n.func.id for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


def _speaking(tree: ast.Module) -> set[str]:
    """Names of what prints, with the module's own functions that call it."""
    names = set(SAYS)
    while more := {f.name for f in _functions(tree) if not _is_operation(f) and _calls(f) & names} - names:
        names |= more
    return names


def _yields(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Yield | ast.YieldFrom) for n in ast.walk(node))


def _says_unknown(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Constant) and str(n.value).startswith("Unknown what ") for n in ast.walk(node))


def _late(body: list[ast.stmt], says: set[str], lines: list[int], *, after: bool = False) -> bool | None:
    """Collect the lines of a block that speak after a command.

    :returns: whether a command may have been given when the block is over; None where nothing comes after it.
    """
    unknown = False
    for statement in body:
        blocks = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
        blocks += [handler.body for handler in getattr(statement, "handlers", [])]
        if not any(blocks):
            if after and _calls(statement) & says:
                lines.append(statement.lineno)
            if isinstance(statement, ast.Return | ast.Raise):
                return None
            # where the plan says that it does not know, it may stop: what was found out is said later
            unknown = unknown or _says_unknown(statement)
            after = after or (_yields(statement) and not unknown)
            continue
        # a loop's second round begins after its first
        began = after or (isinstance(statement, ast.For | ast.While) and _yields(statement))
        ends = [_late(block, says, lines, after=began) for block in blocks if block]
        after = any(ends) or after
    return after


def late(tree: ast.Module, function: Function) -> list[int]:
    """The lines in which an operation speaks when a plan would have stopped."""
    lines: list[int] = []
    _late(function.body, _speaking(tree), lines)
    return lines


def operations() -> Iterator[tuple[str, Function]]:
    """Each operation of ours with its module."""
    for module, tree in TREES.items():
        yield from ((module, function) for function in _functions(tree) if _is_operation(function))


@pytest.mark.parametrize(("module", "function"), [pytest.param(m, f, id=f"{m}.{f.name}") for m, f in operations()])
def test_an_operation_says_all_before_its_first_command(module: str, function: Function) -> None:
    lines = late(TREES[module], function)
    assert not lines, f"deploys/operations/{module}.py speaks in lines {lines}, which no plan reaches"


def test_every_operation_is_looked_at() -> None:
    marks = sum(path.read_text().count(f"\n@{mark}\n") for path in MODULES for mark in MARKS)
    assert marks == len(list(operations())) > 40


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("    say('a')\n    yield 1\n", []),
        ("    yield 1\n    say('a')\n", [4]),
        ("    if x:\n        yield 1\n        return\n    say('a')\n", []),
        ("    if x:\n        yield 1\n    say('a')\n", [5]),
        ("    if x:\n        yield 1\n    else:\n        return\n    helper()\n", [7]),
        ("    for i in x:\n        say('a')\n        yield i\n", [4]),
        ("    yield helper()\n    yield 2\n", []),
        ("    if x:\n        say('Unknown what will change')\n        yield 1\n    say('a')\n", []),
        ("    if x:\n        say('Unknown what will change')\n    yield 1\n    say('a')\n", [6]),
        ("    try:\n        x()\n    except E:\n        yield 1\n        return\n    say('a')\n", []),
        ("    try:\n        x()\n    except E:\n        yield 1\n    say('a')\n", [7]),
    ],
)
def test_what_is_said_too_late_is_found(body: str, expected: list[int]) -> None:
    tree = ast.parse("@operation\ndef late():\n" + body + "def helper():\n    announce(1)\n")
    assert late(tree, _functions(tree)[0]) == expected
