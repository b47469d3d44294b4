"""Finding the line of a key in TOML text, and writing values as TOML. Pure."""

from __future__ import annotations

import json
import re

KEY = re.compile(r"(?P<name>\w+)(?:\[(?P<index>\d+)\])?")
HEADING = re.compile(r"\s*\[\[?\s*(?P<name>[\w.\-\"]+)\s*\]?\]")


def line_of(text: str, key: str) -> int:
    """The line (from 1) of attribute ``key`` (``nodes[1].address``), of its table when the key itself is not there, else 0.

    Understands tables and arrays of tables one level deep, which is all that answers files have; 0 for anything else.
    """
    parts = [(match["name"], int(match["index"] or 0)) for match in KEY.finditer(key)]
    if not parts:
        return 0
    table, wanted = parts[0]
    name = parts[1][0] if len(parts) > 1 else None
    table_line, inside, seen = 0, "", -1
    for number, line in enumerate(text.splitlines(), start=1):
        heading = HEADING.match(line)
        if heading:
            inside = heading["name"]
            seen += inside == table
            table_line = table_line or (number if inside == table and seen == wanted else 0)
        elif _sets(line, name if inside == table and seen == wanted else table if not inside and name is None else None):
            return number
    return table_line


def _sets(line: str, key: str | None) -> bool:
    """Does ``line`` give ``key`` a value?"""
    return key is not None and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line) is not None


def quoted(value: object) -> str:
    """``value`` (text, number, truth value, tuple of them) as TOML writes it."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(quoted(item) for item in value) + "]"
    # JSON's strings, numbers and truth values are TOML's too, as long as nothing beyond the BMP is escaped as a surrogate.
    return json.dumps(value, ensure_ascii=False)
