"""The VMs of a host that is to be emptied, and where they go: the store's rows and the hosts' word, put before
engine/decide/schedule_evacuate.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from appliance.errors import Conflict
from engine.decide.schedule_evacuate import Evacuation, evacuate
from engine.decide.schedule_model import Vm
from engine.jobs import placing
from engine.jobs.backups import of_vm
from engine.jobs.job import Work
from engine.jobs.vm_migrate import MOVABLE
from engine.jobs.vm_place import ENGINE_MARK
from engine.jobs.vm_spec import parts_of
from engine.jobs.vm_state import MOVE
from engine.store.entities import Entities
from engine.store.entity import Entity

PASSING = frozenset({"wait_for_launch", "powering_down", "migrating", "saving_state", "restoring_state", "image_locked"})
"""Shown statuses that pass by themselves: the VM is moved, or has gone, a little later."""
STRANGER = "is none of this engine's: it was started by hand"
"""What keeps a VM that only its host knows."""
FIXED: Mapping[str, str] = {
    "pinned": "is pinned to it and never moves",
    "user_migratable": "moves only when a person asks for it",
}
"""placement_policy.affinity of VMs that the scheduler moves for nobody."""


def vms_on(entities: Entities, host_id: str) -> list[Entity]:
    """The VMs that a host has, as their rows say. The engine's own has no row there: brokers keep it."""
    return [one for one in entities.referring(("host", host_id), "vm", "host") if ENGINE_MARK not in one.body]


def arriving(entities: Entities, host: Entity) -> list[Entity]:
    """The VMs that a migration is bringing to a host."""
    near = entities.referring(("cluster", host.ref("cluster")), "vm", "cluster")
    return [one for one in near if (one.body.get(MOVE) or {}).get("host") == host.id]


def is_busy(vm: Entity) -> bool:
    """Whether it has to be waited for."""
    return bool(vm.locked_as) or vm.shown_status in PASSING


def fixed(vms: Iterable[Entity]) -> list[tuple[str, str]]:
    """(name, why) of those that nothing but a change of the VM itself lets leave."""
    found = []
    for vm in vms:
        why = FIXED.get(str((vm.body.get("placement_policy") or {}).get("affinity")))
        if why:
            found.append((vm.name, why))
    return found


def evacuation(work: Work, host: Entity) -> Evacuation:
    """Where the host's VMs go, by what is known now. To be called inside a transaction: the cluster's row is held."""
    entities = work.entities
    scene = placing.look_at(work, host.ref("cluster"))
    mine = {vm.id: vm for vm in vms_on(entities, host.id)}
    leaving = [_leaving(work, vm) for vm in mine.values()]
    told = next((one.vms for one in scene.hosts if one.id == host.id), ())
    rows = entities.many("vm", [vm.id for vm in told])
    others = [vm if vm.is_engine else replace(vm, held_because=STRANGER) for vm in told if vm.is_engine or vm.id not in rows]
    hosts = tuple(replace(one, vms=(*leaving, *others)) if one.id == host.id else one for one in scene.hosts)
    return evacuate(host.id, hosts, scene.cluster, [one for one in scene.promises if one.host != host.id])


def _leaving(work: Work, vm: Entity) -> Vm:
    found = placing.full_vm(work.entities, parts_of(work.entities, vm))
    stays = "" if vm.status in MOVABLE or is_busy(vm) else f"is {vm.shown_status or 'down'}"
    if of_vm(work.entities, vm.id) is not None:
        stays = "is during a backup, which would end"
    return replace(found, held_because=stays)


def kept(host: Entity, reasons: Iterable[tuple[str, str]]) -> Conflict:
    """The refusal: (VM, why) of those that keep the host."""
    found = list(reasons)
    return Conflict(
        "host.kept",
        subject=f"host {host.name}",
        reason="Cannot switch Host to Maintenance mode. "
        + "; ".join(f"VM {name} cannot leave it: it {why}" for name, why in found),
        remedy="Stop these VMs, move them by hand, or let another host take them.",
        facts={"vms": dict(found)},
    )
