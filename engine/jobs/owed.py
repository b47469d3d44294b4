"""Restarts that are owed: a highly available VM whose run has certainly ended, and that is to run again. Rows, so that they
outlive the engine that found it out."""

from __future__ import annotations

from appliance.effects.clock import Clock
from engine.jobs.vm_place import ENGINE_MARK
from engine.jobs.vm_state import SEED, went_down
from engine.store.audit import Audit
from engine.store.entities import Entities
from engine.store.entity import Entity

KIND = "restart"
"""The entity: owned by its VM, with the VM's id."""
TRIES_LIMIT = 10
"""Restarts of one loss: oVirt tries as often. What fails ten times on the best hosts is the VM's own trouble."""
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 5_000, 300_000
"""Between two tries: doubled each time, so that ten take some 20 minutes."""


def is_ha(vm: Entity) -> bool:
    """Whether it is to be started again. The engine's own VM is the brokers'."""
    return bool((vm.body.get("high_availability") or {}).get("enabled")) and ENGINE_MARK not in vm.body


def failed(entities: Entities, clock: Clock, vm: Entity, host_id: str, why: str) -> Entity:
    """Its run has certainly ended, and nobody wanted that: it is down, and owed a restart if it is highly available. Inside
    the caller's transaction."""
    now_ms = int(clock.wall_s() * 1000)
    after = went_down(vm, now_ms)
    if is_ha(vm) and SEED in vm.body:
        after = after.with_body(**{SEED: vm.body[SEED]})  # its guest may not have read it to the end
    after = entities.update(after)
    if is_ha(vm):
        body = {"why": why, "host": host_id, "since_ms": now_ms, "tries": 0, "next_ms": 0}
        forget(entities, vm.id)
        entities.add(Entity(KIND, vm.id, vm.name, body, parent=vm.key))
    about = {"vm": vm.id, **({"host": host_id} if host_id else {})}
    Audit(entities.connection, clock).tell("HA_VM_FAILED" if is_ha(vm) else "VM_DOWN_ERROR", about, {"reason": why})
    return after


def trying(entities: Entities, vm_id: str, now_ms: int) -> None:
    """One more try begins; the next one not before its pause is over."""

    def how(row: Entity) -> Entity:
        tries = int(row.body["tries"])
        pause_ms = min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2**tries)
        return row.with_body(tries=tries + 1, next_ms=now_ms + pause_ms)

    entities.change(KIND, vm_id, how)


def waits(entities: Entities, clock: Clock, row: Entity, reason: str) -> None:
    """It is not started now: the reason is shown with the VM, and told once for as long as it waits."""
    with entities.connection.transaction():
        now = entities.get(KIND, row.id)
        if now is None or now.body.get("reason") == reason:
            return
        entities.update(now.with_body(reason=reason))
        entities.change("vm", row.id, lambda vm: vm.with_body(status_detail=reason))
        if not now.body.get("reason"):
            Audit(entities.connection, clock).tell("HA_VM_RESTART_FAILED", {"vm": row.id}, {"reason": reason})


def forget(entities: Entities, vm_id: str) -> None:
    """It runs, or nobody wants it to: nothing is owed."""
    if entities.get(KIND, vm_id) is not None:
        entities.remove(KIND, vm_id)


def is_due(row: Entity, now_ms: int) -> bool:
    """Whether it may be tried now."""
    return int(row.body["tries"]) < TRIES_LIMIT and int(row.body["next_ms"]) <= now_ms
