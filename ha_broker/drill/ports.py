"""What a drill asks of the outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from appliance.model.ha import HaDecision, HaStatus
from gluster.model import PoolStatus


class Field(Protocol):
    """The cluster around a drill."""

    def status(self) -> HaStatus:
        """What this node's broker says. Raises ``Unavailable`` (``ha.broker-silent``)."""

    def pool(self) -> PoolStatus:
        """The pool as this node's glusterd sees it. Raises errors of :mod:`appliance.errors`."""

    def end_engine_vm(self, host: str) -> None:
        """Pull the plug of the engine VM on ``host``."""

    def decisions(self) -> Sequence[HaDecision]:
        """The last ones of every host that answers within a second."""

    def epoch_up(self) -> int | None:
        """The epoch of the engine that answers "up"; None: none does."""

    def host_of_engine(self) -> str:
        """Who has it now, as far as is known."""

    def keep(self, name: str, text: str) -> str:
        """Keep a report; answers where."""
