"""What a check of the preflight finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from installer.answers import Answers
from installer.probe import View


@dataclass(frozen=True)
class Problem:
    """One reason not to install: which node (or "cluster"), value found, value needed, remedy. ``code`` is stable."""

    code: str
    node: str
    found: str
    needed: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.node}: {self.found}; needed: {self.needed}. {self.remedy}"


class Check(Protocol):
    """A question about the view. Pure. Nodes that did not answer are skipped: the check ``answering`` names them."""

    def __call__(self, answers: Answers, view: View) -> Iterator[Problem]: ...
