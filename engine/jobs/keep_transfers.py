"""Keep image transfers: look whether their hosts serve them, renew their tickets, pause or cancel those that nobody uses,
and close what hosts serve for nobody.

It remembers nothing that matters: each turn decides from the rows and from what hosts say, so an engine that died is no
case of its own. What it finds served for a transfer that still lasts it goes on with; the rest is swept.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import ClassVar

from appliance.errors import NotFound, TrivetError
from appliance.model.image_ticket import ImageTicketState
from engine.decide.transfer import FINISHED, KEPT_MS, RENEW_S, TICKET_S, Seen, judge
from engine.jobs.evicted import evicted_names
from engine.jobs.ports import HostReport
from engine.jobs.transfer_end import CancelTransfer, TransferCancel
from engine.jobs.transfer_open import PauseTransfer, TransferPause
from engine.jobs.transfers import ENDED, EXTENDED, HOST, KIND
from engine.jobs.watcher import Watcher
from engine.store.entities import Entity

LOOK_EVERY_S = 5.0
"""How exact an inactivity timeout is, and how old what is shown of a transfer: a tenth of the shortest that people use."""
SHOWN_EVERY_S = 10.0
"""How often ``transferred`` is written down: each time is a commit on three bricks."""
SWEEP_EVERY_S = 30.0
"""How long a host may serve for nobody: less than a ticket lives, and it costs each host one question."""


@dataclass
class TransferKeeper(Watcher):
    """One for the engine; its turns are taken one after the other."""

    watched: ClassVar[str] = "image transfers"
    _renewed_s: dict[str, float] = field(default_factory=dict)
    _shown_s: dict[str, float] = field(default_factory=dict)
    _swept_s: float = float("-inf")

    def turn(self) -> None:
        """Look and act once. What fails is logged, and tried with the next turn."""
        try:
            reports, lost = {one.name: one for one in self.nodes.reports()}, evicted_names(self.entities)
            for row in self.entities.list(KIND):
                self._tried(row.id, lambda row=row: self._look(row, reports, lost))  # type: ignore[misc]
            now_s = self.desk.clock.monotonic_s()
            if now_s - self._swept_s >= SWEEP_EVERY_S:
                self._swept_s = now_s
                for name, report in reports.items():
                    if report.is_up:
                        self._tried(name, lambda name=name: self._sweep(name))  # type: ignore[misc]
        except TrivetError as error:
            self._tell("all", f"{self.watched}: {error} [{error.code}]")

    def _look(self, row: Entity, reports: dict[str, HostReport], lost: Collection[str]) -> None:
        now_ms = int(self.desk.clock.wall_s() * 1000)
        if row.status in FINISHED:
            if now_ms - int(row.body[ENDED]) > KEPT_MS:
                self.entities.remove(KIND, row.id)
        elif row.status == "transferring" and not self._is_at_work(row.id):
            host = str(row.body[HOST])
            report = reports.get(host)
            is_up = report is not None and report.is_up
            state = self._state(host, row.id) if is_up else None
            extended_s = (now_ms - int(row.body[EXTENDED])) / 1000
            idle_s = 0.0 if state is None or state.is_active else min(float(state.idle_s), extended_s)
            seen = Seen(is_up, state is not None, state is not None and state.is_served, idle_s, host in lost)
            body = row.body
            verdict = judge(seen, body["direction"], body["timeout_policy"], int(body["inactivity_timeout"]))
            if verdict.what == "go-on" and state is not None:
                self._go_on(row, host, state)
            elif verdict.what == "pause":
                self._order_now(TransferPause, PauseTransfer(row.id, verdict.reason))
            else:
                self._order_now(TransferCancel, CancelTransfer(row.id, verdict.reason))

    def _is_at_work(self, transfer_id: str) -> bool:
        """Whether a job has it: that decides."""
        return bool(self.desk.jobs.holder((KIND, transfer_id)))

    def _state(self, host: str, transfer_id: str) -> ImageTicketState | None:
        try:
            return self.nodes.images(host).image_ticket(transfer_id)
        except NotFound:
            return None

    def _go_on(self, row: Entity, host: str, state: ImageTicketState) -> None:
        now_s = self.desk.clock.monotonic_s()
        if now_s - self._renewed_s.get(row.id, float("-inf")) >= RENEW_S:
            self.nodes.images(host).image_extend(row.id, TICKET_S)
            self._renewed_s[row.id] = now_s
        told = {"active": state.is_active, "transferred": state.transferred_bytes}
        is_old = now_s - self._shown_s.get(row.id, float("-inf")) >= SHOWN_EVERY_S
        if is_old and any(row.body.get(name) != value for name, value in told.items()):
            self._shown_s[row.id] = now_s
            self.entities.change(KIND, row.id, lambda one: one.with_body(**told) if one.status == row.status else one)

    def _sweep(self, host: str) -> None:
        """Close what this host serves and should not. A job that is at work on a transfer decides for itself."""
        for state in self.nodes.images(host).image_tickets():
            row = self.entities.get(KIND, state.transfer)
            is_mine = row is not None and row.status == "transferring" and row.body.get(HOST) == host
            if not is_mine and not self._is_at_work(state.transfer):
                self.log(f"host {host} serves image transfer {state.transfer} for nobody: closed")
                self.nodes.images(host).image_close(state.transfer)
