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
            if inside == table:
                seen += 1
                if seen == wanted:
                    table_line = number
        elif inside == table and seen == wanted and name and re.match(rf"\s*\"?{re.escape(name)}\"?\s*=", line):
            return number
        elif not inside and name is None and re.match(rf"\s*\"?{re.escape(table)}\"?\s*=", line):
            return number
    return table_line


def quoted(value: object) -> str:
    """``value`` (text, number, truth value, tuple of them) as TOML writes it."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(quoted(item) for item in value) + "]"
    # JSON's strings, numbers and truth values are TOML's too, as long as nothing beyond the BMP is escaped as a surrogate.
    return json.dumps(value, ensure_ascii=False)
