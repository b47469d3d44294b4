"""Events of what a request changed at once, without a job. To be told inside the transaction of the change."""

from __future__ import annotations

from collections.abc import Mapping

from engine.api.noun import Call


def tell(call: Call, name: str, about: Mapping[str, str], values: Mapping[str, object] | None = None) -> None:
    """Record an event of the caller's: ``name`` of engine/decide/audit.py, ``about`` kind → id."""
    call.engine.store.audit.tell(name, about, values, account=call.account, correlation_id=call.correlation_id)
