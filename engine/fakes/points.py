"""Where fakes may be interrupted."""

from __future__ import annotations


def nothing(_where: str) -> None:
    """No interruption."""
