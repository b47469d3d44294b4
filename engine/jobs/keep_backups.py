"""Keep backups of VMs: fail those that nobody serves any more, and end what hosts serve for nobody.

As the keeper of image transfers it remembers nothing that matters: each turn decides from the rows and from what hosts say.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

from appliance.errors import TrivetError
from appliance.model.vm_backup import VmBackupState
from engine.decide.backup import KEPT_MS, OVER, Seen, why_over
from engine.jobs.backup_end import BackupFail, EndBackup, transfers_of
from engine.jobs.backups import ENDED, KIND, LIVE
from engine.jobs.transfer_end import CancelTransfer, TransferCancel
from engine.jobs.watcher import Watcher
from engine.store.entity import Entity

SWEEP_EVERY_S = 30.0
"""How long a host may serve for nobody while no backup is known: it costs each host one question."""


@dataclass
class BackupKeeper(Watcher):
    """One for the engine; its turns are taken one after the other."""

    watched: ClassVar[str] = "backups"
    _swept_s: float = float("-inf")

    def turn(self) -> None:
        """Look and act once. What fails is logged, and tried with the next turn."""
        try:
            rows = list(self.entities.list(KIND))
            live = [one for one in rows if one.status not in OVER and one.body[LIVE]]
            now_s = self.desk.clock.monotonic_s()
            is_due = now_s - self._swept_s >= SWEEP_EVERY_S
            told = self._ask(None if is_due else {one.ref("host") for one in live})
            for row in rows:
                self._tried(row.id, lambda row=row: self._look(row, told))  # type: ignore[misc]
            if is_due:
                self._swept_s = now_s
                for host, states in told.items():
                    for state in states.values():
                        self._tried(state.id, lambda host=host, state=state: self._sweep(host, state))  # type: ignore[misc]
        except TrivetError as error:
            self._tell("all", f"{self.watched}: {error} [{error.code}]")

    def _ask(self, hosts: Collection[str] | None) -> Mapping[str, Mapping[str, VmBackupState]]:
        """Host's id → what it serves, of these hosts (None: of all). Without those that do not answer."""
        found = {}
        for report in self.nodes.reports() if hosts is None or hosts else ():
            if report.is_up and (hosts is None or report.id in hosts):
                try:
                    found[report.id] = {one.id: one for one in self.nodes.vms(report.name).vm_backups()}
                except TrivetError as error:
                    self._tell(report.name, f"{self.watched}, {report.name}: {error} [{error.code}]")
        return found

    def _look(self, row: Entity, told: Mapping[str, Mapping[str, VmBackupState]]) -> None:
        if row.status in OVER:
            now_ms = int(self.desk.clock.wall_s() * 1000)
            if now_ms - int(row.body[ENDED]) > KEPT_MS[row.status]:
                self.entities.remove(KIND, row.id)
        elif row.status == "ready" and row.body[LIVE] and not self._is_at_work(row) and row.parent is not None:
            began_on = row.ref("host")
            said = told.get(began_on)
            state = said.get(row.id) if said is not None else None
            serves = None if said is None else state is not None and state.is_running
            why = why_over(Seen(began_on, self.entities.need(*row.parent).ref("host"), serves))
            if why:
                self._fail(row, why)

    def _fail(self, row: Entity, why: str) -> None:
        """First nobody transfers of it any more, then it ends."""
        transfers = transfers_of(self.entities, row.id)
        for one in transfers:
            self._order_now(TransferCancel, CancelTransfer(one.id, f"its backup has failed: {why}"))
        if not transfers:
            self._order_now(BackupFail, EndBackup(row.id, why))

    def _is_at_work(self, row: Entity) -> bool:
        """Whether a job has it, or its VM: that decides."""
        return bool(self.desk.jobs.holder(row.key) or (row.parent and self.desk.jobs.holder(row.parent)))

    def _sweep(self, host_id: str, state: VmBackupState) -> None:
        row = self.entities.get(KIND, state.id)
        is_mine = row is not None and row.status not in OVER and row.ref("host") == host_id
        if not is_mine and not self.desk.jobs.holder((KIND, state.id)):
            host = next((one.name for one in self.nodes.reports() if one.id == host_id), "")
            self.log(f"host {host} serves backup {state.id} for nobody: ended")
            self.nodes.vms(host).vm_backup_end(state.vm, state.id)
