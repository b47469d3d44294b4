"""Remove cloud-init's CDs that no VM uses any more: passwords' hashes and keys are not left lying about."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import Conflict, TrivetError
from engine.jobs import owed, seeds
from engine.jobs.desk import Desk
from engine.jobs.job import JobType, Planned, Step, Work
from engine.jobs.places import choose_host, chosen_or_another, need_active_domain
from engine.jobs.task import await_task, task_id
from engine.jobs.vm_place import DOWN
from engine.jobs.vm_state import SEED
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

SWEEP_EVERY_S = 10.0
"""A VM has ended for so long at most when its CD goes. Looking costs a list of the few rows that there are."""
AGAIN_S = 300.0
"""Before one that could not be removed is tried again: no host was up, or its domain did not answer. One on a domain in
maintenance waits for the domain."""


@dataclass(frozen=True)
class RemoveSeed:
    """Which CD, by its row."""

    seed_id: str


def is_used(entities: Entities, row: Entity) -> bool:
    """Whether a VM has it in its drive, or is going to: also one that is down and is owed a restart."""
    vm = entities.get("vm", str(row.body["vm"]))
    if vm is None or vm.body.get(SEED) != row.id:
        return False
    return vm.status not in DOWN or bool(vm.locked_as) or entities.get(owed.KIND, vm.id) is not None


def _remove(work: Work) -> None:
    file = seeds.file_of(work.entities, work.entities.need(seeds.KIND, work.parameters(RemoveSeed).seed_id))
    with work.on(chosen_or_another(work)) as node:
        await_task(work, node, task_id(work, "remove"), lambda task: node.disk_remove(task, file, False))


class SeedRemove(JobType[RemoveSeed]):
    """Nothing of the CD is left. If that fails, its row stays, and it is tried again later."""

    name = "seed.remove"
    parameters = RemoveSeed
    steps = (Step("choose-host", choose_host, weight=0.1), Step("remove", _remove))

    def describe(self, entities: Entities, given: RemoveSeed) -> str:
        return f"Removing the cloud-init CD of VM {entities.name_of(seeds.KIND, given.seed_id)}"

    def check(self, entities: Entities, given: RemoveSeed) -> None:
        row = entities.need(seeds.KIND, given.seed_id)
        if is_used(entities, row):
            reason = "a VM has it in its drive"
            raise Conflict("seed.used", subject=f"CD of VM {row.name}", reason=reason, remedy="Stop the VM.")
        need_active_domain(entities, row.ref("storage_domain"), f"remove the CD of VM {row.name}")

    def locks(self, entities: Entities, given: RemoveSeed) -> Sequence[Lock]:
        domain = entities.need(seeds.KIND, given.seed_id).ref("storage_domain")
        return Lock(seeds.KIND, given.seed_id), Lock("storage_domain", domain, "", is_shared=True)

    def prepare(self, entities: Entities, given: RemoveSeed) -> None:
        vm_id = str(entities.need(seeds.KIND, given.seed_id).body["vm"])
        if entities.get("vm", vm_id) is not None:
            seeds.forget(entities, vm_id, given.seed_id)

    def plan(self, entities: Entities, given: RemoveSeed) -> Sequence[Planned]:
        return Planned("choose-host", "Choosing a host"), Planned("remove", self.describe(entities, given))

    def finish(self, work: Work) -> Mapping[str, Any]:
        work.entities.remove(seeds.KIND, work.parameters(RemoveSeed).seed_id)
        return {}


@dataclass
class Sweeper:
    """Orders the removal of what nobody uses; remembers only what it tried lately."""

    entities: Entities
    desk: Desk
    log: Callable[[str], None]
    _due_s: float = 0.0
    _again_s: dict[str, float] = field(default_factory=dict)

    def turn(self) -> None:
        """Look, if it is time to. What fails is logged, and tried later."""
        now_s = self.desk.clock.monotonic_s()
        if now_s < self._due_s:
            return
        self._due_s = now_s + SWEEP_EVERY_S
        try:
            for row in self.entities.list(seeds.KIND):
                self._look(row, now_s)
        except TrivetError as error:
            self.log(f"cloud-init CDs: {error} [{error.code}]")

    def _look(self, row: Entity, now_s: float) -> None:
        if row.locked_as or now_s < self._again_s.get(row.id, now_s) or is_used(self.entities, row):
            return
        domain = self.entities.need("storage_domain", row.ref("storage_domain"))
        if domain.shown_status not in ("", "active"):
            return  # no host has it mounted; as soon as they have
        self._again_s[row.id] = now_s + AGAIN_S
        try:
            self.desk.order(SeedRemove, RemoveSeed(row.id), owner_id="", correlation_id=str(uuid.uuid4()))
        except Conflict as error:
            self.log(f"not removed now: {error} [{error.code}]")
