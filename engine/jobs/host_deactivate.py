"""Switch a host to maintenance: its VMs go to other hosts, each by a migration job of its own; then it neither starts nor
keeps the engine's VM."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from appliance.errors import Conflict, TrivetError, Unavailable
from engine.decide.schedule_evacuate import Evacuation
from engine.jobs.desk import Desk
from engine.jobs.host_vms import arriving, evacuation, fixed, is_busy, kept, vms_on
from engine.jobs.job import Cancelled, JobType, Planned, Step, Told, Work, by_name
from engine.jobs.places import AWAY
from engine.jobs.vm_migrate import MigrateVm, VmMigrate
from engine.jobs.vm_place import ENGINE_MARK, name_of, state_at
from engine.store.audit import Audit
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import JobRecord, Jobs, Lock

BUSY_LIMIT_S = 180.0
"""How long VMs are waited for that are starting, ending or held by another job: a start under emulation takes a minute."""
ENGINE_LIMIT_S = 600.0
"""How long the engine's own VM may take to leave: its broker waits for a heal before it moves it."""
LOOK_EVERY_S = 0.25
"""How often a migration, or a busy VM, is looked at: a person sees no difference."""
ROOM = "room"
"""The step that decides whether it can be: who orders the job waits for it."""


@dataclass(frozen=True)
class DeactivateHost:
    """Which host, why, and who said so: the migrations are theirs, too."""

    host_id: str
    reason: str = ""
    owner_id: str = ""
    correlation_id: str = ""


def _host(work: Work) -> Entity:
    return work.entities.need("host", work.parameters(DeactivateHost).host_id)


def _decided(work: Work, host: Entity) -> Evacuation:
    """Where the VMs go. Raises ``Conflict`` ``host.kept`` when one cannot leave, but for those that are only busy."""
    with work.entities.connection.transaction():
        found = evacuation(work, host)
    if found.stuck:
        raise kept(host, [(one.vm.name, f"is stuck ({one.reason})") for one in found.stuck])
    return found


def _room(work: Work) -> Mapping[str, Any]:
    """There must be a place for every VM before the first one moves."""
    found = _decided(work, _host(work))
    for move in found.moves:
        work.log(f"VM {move.vm.name}: {move.placement.reason}")
    return {"vms": [move.vm.id for move in found.moves]}


def _empty(work: Work) -> Mapping[str, Any]:
    """One VM after the other, each placed anew: what the others took is seen by then."""
    host, desk, moved = _host(work), _desk(work), list[str]()
    until_s = work.clock.monotonic_s() + BUSY_LIMIT_S
    while left := [*vms_on(work.entities, host.id), *arriving(work.entities, host)]:
        work.check_stop()
        work.check_cancel()
        job = _under_way(work, desk, left) or _ordered(work, desk, host, left)
        if job is not None:
            moved.append(_moved(work, desk, host, job))
            until_s = work.clock.monotonic_s() + BUSY_LIMIT_S
            continue
        if work.clock.monotonic_s() >= until_s:
            raise kept(host, [(vm.name, f"is {vm.shown_status or 'down'}, and stays so") for vm in left])
        work.clock.sleep(LOOK_EVERY_S)
    return {"moved": moved}


def _under_way(work: Work, desk: Desk, left: Sequence[Entity]) -> JobRecord | None:
    """A migration that this step ordered before it was interrupted."""
    found = (desk.jobs.get(_job_id(work, vm.id)) for vm in left)
    return next((job for job in found if job is not None), None)


def _moved(work: Work, desk: Desk, host: Entity, job: JobRecord) -> str:
    """Wait for a migration; the id of its VM. Raises ``Conflict`` ``host.kept`` when that is still there."""
    while job.state != "ended":
        work.check_stop()
        _stop_if_asked(work, desk, job)
        work.clock.sleep(LOOK_EVERY_S)
        job = desk.jobs.need(job.id)
    vm_id = str(job.parameters["vm_id"])
    stays = next((vm for vm in vms_on(work.entities, host.id) if vm.id == vm_id), None)
    if stays is not None:
        raise kept(host, [(stays.name, f"could not be moved ({job.error.get('reason') or 'it came back'})")])
    return vm_id


def _desk(work: Work) -> Desk:
    """Where the migrations are ordered. Nobody rings: the process looks by itself."""
    return Desk(work.entities, Jobs(work.entities, work.clock), by_name((VmMigrate(),)), work.clock)


def _job_id(work: Work, vm_id: str) -> str:
    """The id of a VM's migration: it follows from ours, so that a repeated step finds it."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{work.job_id}/{vm_id}"))


def _ordered(work: Work, desk: Desk, host: Entity, left: Sequence[Entity]) -> JobRecord | None:
    """A job that moves the next VM; ``None``: all that are left have to be waited for."""
    given, busy = work.parameters(DeactivateHost), {vm.id for vm in left if is_busy(vm)}
    move = next((one for one in _decided(work, host).moves if one.vm.id not in busy), None)
    if move is None:
        return None
    wanted = MigrateVm(move.vm.id, (move.placement.host,), given.owner_id, given.correlation_id, is_placed=True)
    who = {"owner_id": given.owner_id, "correlation_id": given.correlation_id}
    try:
        return desk.order(VmMigrate, wanted, **who, job_id=_job_id(work, move.vm.id))
    except Conflict as error:
        work.log(f"VM {move.vm.name} has to wait: {error.reason}")
        return None


def _stop_if_asked(work: Work, desk: Desk, job: JobRecord) -> None:
    """Nothing of ours goes on when we were cancelled: the migration stops, too, or ends first."""
    try:
        work.check_cancel()
    except Cancelled:
        with contextlib.suppress(Conflict):  # past its return, or ended
            desk.cancel(job.id)
        while desk.jobs.need(job.id).state != "ended":
            work.check_stop()
            work.clock.sleep(LOOK_EVERY_S)
        raise


def _leave_ha(work: Work) -> Mapping[str, Any]:
    """Its broker neither starts the engine's VM any more, nor keeps it. A host that is lost has nothing to leave."""
    host = _host(work)
    name = name_of(work, host.id)
    try:
        with work.at(name) as node:
            node.ha_local_maintenance(on=True)
    except Unavailable:
        if name in work.nodes.up():
            raise
        work.log(f"{name} does not answer: its broker is not told")
        return {"told": False}
    _wait_for_engine(work, host, name)
    return {"told": True}


def _wait_for_engine(work: Work, host: Entity, name: str) -> None:
    """Until the engine's VM, in which we run, has been moved away."""
    near = work.entities.referring(("cluster", host.ref("cluster")), "vm", "cluster")
    engine = next((one for one in near if ENGINE_MARK in one.body), None)
    until_s = work.clock.monotonic_s() + ENGINE_LIMIT_S
    while engine is not None and state_at(work, name, engine.id) is not None:
        work.check_stop()
        work.check_cancel()
        if work.clock.monotonic_s() >= until_s:
            why = f"is the engine's own, and its broker has not moved it for {ENGINE_LIMIT_S:g} s"
            raise kept(host, [(engine.name, why)])
        work.clock.sleep(LOOK_EVERY_S)


def _rejoin_ha(work: Work) -> None:
    name = name_of(work, _host(work).id)
    try:
        with work.at(name) as node:
            node.ha_local_maintenance(on=False)
    except Unavailable:
        if name in work.nodes.up() or work.found("leave-ha").get("told"):
            raise
        work.log(f"{name} does not answer, and was not told before")


class HostDeactivate(JobType[DeactivateHost]):
    """The host is ``preparing_for_maintenance`` until it is empty. If a VM cannot leave, it is up again; VMs that were moved
    by then stay where they are."""

    name = "host.deactivate"
    parameters = DeactivateHost
    steps = (Step(ROOM, _room, weight=0.1), Step("empty", _empty), Step("leave-ha", _leave_ha, _rejoin_ha, weight=0.2))
    told = Told("", "", "VDS_MAINTENANCE_FAILED")

    def about(self, entities: Entities, given: DeactivateHost) -> Mapping[str, str]:
        return {"host": given.host_id}

    def describe(self, entities: Entities, given: DeactivateHost) -> str:
        return f"Switching Host {entities.name_of('host', given.host_id)} to Maintenance mode"

    def check(self, entities: Entities, given: DeactivateHost) -> None:
        host = entities.need("host", given.host_id)
        if host.status == "maintenance":
            raise refused(host, "Host is already in Maintenance mode", "Nothing is needed.")
        mates = entities.referring(("cluster", host.ref("cluster")), "host", "cluster")
        away = [one.name for one in mates if one.id != host.id and one.shown_status in AWAY]
        if away:
            why = f"Host {away[0]} is in Maintenance mode (or comes or goes): one host at a time, for the pool needs bricks"
            raise refused(host, why, f"Activate {away[0]} first, or wait.", "host.one-at-a-time")
        transfers = entities.referring(host.key, "image_transfer", "host")
        if transfers:
            why = f"It serves {len(transfers)} image transfers"
            raise refused(host, why, "Let them end, or pause them.", "host.image-transfers")
        stay = fixed(vms_on(entities, host.id))
        if stay:
            raise kept(host, stay)

    def locks(self, entities: Entities, given: DeactivateHost) -> Sequence[Lock]:
        return (Lock("host", given.host_id, "preparing_for_maintenance"),)

    def prepare(self, entities: Entities, given: DeactivateHost) -> None:
        """A placement that is being made now comes first, and is seen by our steps."""
        host = entities.need("host", given.host_id)
        entities.change("cluster", host.ref("cluster"), lambda before: before)

    def plan(self, entities: Entities, given: DeactivateHost) -> Sequence[Planned]:
        name = entities.need("host", given.host_id).name
        return (
            Planned(ROOM, "Looking for room on other hosts"),
            Planned("empty", f"Moving the VMs of {name}"),
            Planned("leave-ha", f"Taking {name} from the hosts that may run the engine"),
        )

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(DeactivateHost)
        work.entities.change("host", given.host_id, lambda host: replace(host, status="maintenance"))
        word = "USER_VDS_MAINTENANCE" if given.reason else "USER_VDS_MAINTENANCE_WITHOUT_REASON"
        Audit(work.entities.connection, work.clock).tell(
            word,
            {"host": given.host_id},
            {"reason": given.reason},
            account=given.owner_id,
            correlation_id=given.correlation_id,
        )
        return {"moved": work.found("empty").get("moved", [])}


def refused(host: Entity, why: str, remedy: str, code: str = "host.status") -> TrivetError:
    """It cannot go to maintenance now."""
    reason = f"Cannot switch Host to Maintenance mode. {why}"
    return Conflict(code, subject=f"host {host.name}", reason=reason, remedy=remedy)
