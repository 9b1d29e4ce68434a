"""Whether earlier operations changed something, truthfully in the plan too."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api.operation import OperationMeta


def changed(metas: Sequence[OperationMeta]) -> bool:
    """In the plan: will one of them change something? At run time: did one?"""
    return any(m.did_change() if m.is_complete() else m.will_change for m in metas)
