"""Parameters of a request with v4's precedence: the query, then the matrix of the last segment, then a header."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from appliance.errors import Refused
from engine.decide.search import EVERYTHING, Query, parse

HEADERS = {"filter": "Filter", "all_content": "All-Content", "correlation_id": "Correlation-Id"}
"""Parameters that may come as headers, too."""
TRUE, FALSE = ("", "t", "true", "y", "yes", "1"), ("f", "false", "n", "no", "0")
CORRELATION_LIMIT = 36


@dataclass(frozen=True)
class Listing:
    """Which rows of a collection are wanted. ``limit`` ``None``: all; with a page it is the size of a page."""

    query: Query = EVERYTHING
    limit: int | None = None
    case_sensitive: bool = True


EVERY = Listing()


@dataclass(frozen=True)
class Parameters:
    """What the address and the headers say. Names are v4's."""

    query: Mapping[str, str] = field(default_factory=dict)
    matrix: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        """A parameter's text, ``None`` when it is nowhere."""
        for source in (self.query, self.matrix):
            if name in source:
                return source[name]
        return self.headers.get(HEADERS[name]) if name in HEADERS else None

    def flag(self, name: str) -> bool | None:
        """A parameter as v4 reads booleans: empty means true, anything else than its words is as if it were not there."""
        text = self.text(name)
        if text is None:
            return None
        word = text.strip().lower()
        return True if word in TRUE else False if word in FALSE else None

    def number(self, name: str) -> int | None:
        """A whole number of zero or more; ``None`` when absent, empty or negative (v4: no limit). Raises ``Refused``."""
        text = self.text(name)
        if text is None or text == "":
            return None
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise Refused(
                "api.parameter",
                subject=f"parameter '{name}'",
                reason=f"{text[:40]!r} is no whole number",
                remedy="Correct it.",
            )
        return int(text) if int(text) >= 0 else None

    @property
    def listing(self) -> Listing:
        """``search``, ``max`` and ``case_sensitive``. Raises ``Refused`` for what cannot be understood."""
        text = (self.text("search") or "").strip()
        return Listing(parse(text) if text else EVERYTHING, self.number("max"), self.flag("case_sensitive") is not False)

    @cached_property
    def correlation_id(self) -> str:
        """The caller's correlation id, cleaned as oVirt cleans it, or a new one."""
        given = re.sub(r"[^0-9a-zA-Z_-]", "", self.text("correlation_id") or "")
        return given[:CORRELATION_LIMIT] or str(uuid.uuid4())

    @property
    def is_asynchronous(self) -> bool | None:
        """Whether the caller wants to wait: ``False``, or not: ``True`` (``async``, ``Expect``); ``None``: did not say."""
        said = self.flag("async")
        expected = " ".join(self.headers.get(name, "").lower() for name in ("Expect", "X-Ovirt-Expect"))
        return (
            said
            if said is not None
            else True
            if "202-accepted" in expected
            else False
            if "201-created" in expected
            else None
        )


def split(path: str) -> tuple[list[str], dict[str, str]]:
    """(segments without their matrix parameters, matrix parameters of the last one)."""
    raw = path.strip("/").split("/") if path.strip("/") else []
    matrix: dict[str, str] = {}
    for part in raw[-1].split(";")[1:] if raw else ():
        name, _, value = part.partition("=")
        matrix[name] = value
    return [segment.split(";")[0] for segment in raw], matrix
