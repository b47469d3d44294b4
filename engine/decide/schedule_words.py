"""Amounts and lists as the reasons say them."""

from __future__ import annotations

from collections.abc import Iterable

MIB = 1024**2
GIB = 1024**3


def size(value: int) -> str:
    """``2.0 GiB``, or ``300 MiB`` below one GiB."""
    return f"{value / GIB:.1f} GiB" if abs(value) >= GIB else f"{value / MIB:.0f} MiB"


def needs_has(need: int, has: int, tail: str = "") -> str:
    """``needs 2.0 GiB, has 1.2 GiB``; finer where the two would read the same."""
    has = max(0, has)
    if size(need) == size(has):
        return f"needs {-(-need // MIB)} MiB, has {has // MIB} MiB{tail}"
    return f"needs {size(need)}, has {size(has)}{tail}"


def listed(names: Iterable[str]) -> str:
    """Names in the order of the alphabet."""
    return ", ".join(sorted(names))


def counted(count: int, noun: str) -> str:
    """``1 VM``, ``3 VMs``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
