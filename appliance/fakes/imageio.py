"""ovirt-imageio's tickets in memory, as its control socket has them. What a client transferred is said by the test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import Conflict, Failed, Unavailable


@dataclass
class FakeImageio:
    """A :class:`appliance.ports.TicketDaemon`. ``is_up``: whether its process runs; its end forgets all tickets."""

    tickets: dict[str, dict[str, Any]] = field(default_factory=dict)
    is_up: bool = True

    def put(self, ticket: str, body: Mapping[str, Any]) -> None:
        self._answering()
        if missing := {"uuid", "size", "url", "timeout", "ops"} - body.keys():
            reason = f"it answered 400: {sorted(missing)}"
            raise Failed("imageio.refused", subject="ovirt-imageio", reason=reason, remedy="Look at the ticket.")
        self.tickets[ticket] = {**body, "active": False, "idle_time": 0, "transferred": 0}

    def get(self, ticket: str) -> Mapping[str, Any] | None:
        self._answering()
        return self.tickets.get(ticket)

    def extend(self, ticket: str, timeout_s: int) -> bool:
        self._answering()
        if ticket in self.tickets:
            self.tickets[ticket]["timeout"] = timeout_s
        return ticket in self.tickets

    def delete(self, ticket: str) -> None:
        self._answering()
        if self.tickets.get(ticket, {}).get("active"):
            reason = "a client is still transferring with it"
            raise Conflict("image.ticket-busy", subject="the ticket", reason=reason, remedy="Try again.")
        self.tickets.pop(ticket, None)

    def end(self) -> None:
        """Its process has ended."""
        self.tickets.clear()
        self.is_up = False

    def _answering(self) -> None:
        if not self.is_up:
            raise Unavailable("imageio.unreachable", subject="ovirt-imageio", reason="it is down", remedy="Look at its log.")
