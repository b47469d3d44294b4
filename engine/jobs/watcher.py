"""What all share who look again and again at what is there and at what hosts do, and order jobs where the two differ."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from appliance.errors import Conflict, TrivetError, Unavailable
from engine.jobs.desk import Desk
from engine.jobs.job import JobType
from engine.jobs.ports import Nodes
from engine.store.entities import Entities


@dataclass
class Watcher(ABC):
    """One for the engine; its turns are taken one after the other. What fails is logged, and tried with the next turn."""

    entities: Entities
    nodes: Nodes
    desk: Desk
    log: Callable[[str], None]
    _said: dict[str, str] = field(default_factory=dict)

    watched: ClassVar[str]
    """What it looks at, as its log lines begin."""

    @abstractmethod
    def turn(self) -> None:
        """Look and act once."""

    def _tried(self, about: str, act: Callable[[], None]) -> None:
        try:
            act()
        except TrivetError as error:
            self._tell(about, f"{self.watched}, {about}: {error} [{error.code}]")

    def _order_now(self, kind: type[JobType[Any]], given: Any, correlation_id: str = "") -> None:
        try:
            self.desk.order(kind, given, owner_id="", correlation_id=correlation_id or str(uuid.uuid4()))
        except (Conflict, Unavailable) as error:  # it has changed since we looked, or the queue is full
            self.log(f"not ordered: {error} [{error.code}]")

    def _tell(self, about: str, text: str) -> None:
        """Into the log, once for as long as it is so."""
        if self._said.get(about) != text:
            self._said[about] = text
            self.log(text)
