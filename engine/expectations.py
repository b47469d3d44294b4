"""v4's ``Expect: 201-created`` and ``202-accepted`` through gunicorn, which knows ``100-continue`` only and answers all
others with an HTML page of its own. The SDKs' documents show these headers to people, so they are sent."""

from __future__ import annotations

from functools import wraps
from typing import Any

from gunicorn.http.message import Message

V4 = ("201-created", "202-accepted")


def let_pass() -> None:
    """From now on requests with v4's expectations reach the application. Doing it twice is doing it once."""
    policy = Message._apply_header_policy
    if getattr(policy, "passes_v4", False):
        return

    @wraps(policy)
    def passing(message: Any, name: str, value: str, *rest: Any, **more: Any) -> Any:
        if name == "EXPECT" and value.strip().lower() in V4:
            return name, value
        return policy(message, name, value, *rest, **more)

    passing.passes_v4 = True  # type: ignore[attr-defined]
    Message._apply_header_policy = passing
