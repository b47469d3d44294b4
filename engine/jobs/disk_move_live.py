"""Move a disk to another storage domain while its VM runs: what its snapshots keep is copied, what it writes is mirrored,
and then it goes over. How a host does that: appliance/verbs/vm_mirrors.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from appliance.errors import Conflict, Failed, NotFound, TrivetError
from appliance.model.vm_live import DiskMirror
from engine.jobs.disk_layers import check_move, copy_layers, drop_layers, moved_to, room_of
from engine.jobs.disk_move import ACTION, describe_move
from engine.jobs.disk_use import need_no_template, need_ok, owners_of
from engine.jobs.domain_use import domain_locks
from engine.jobs.evicted import GOING_OVER, cannot_write
from engine.jobs.fold import exists, is_plugged, runs_on
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.layers import Layer, chain, layer_at
from engine.jobs.places import choose_host, chosen_host, chosen_or_another, need_at_host
from engine.jobs.preview import refuse_preview
from engine.jobs.run import STALE
from engine.jobs.task import await_task, task_id
from engine.jobs.vm_parts import attachment_of
from engine.jobs.vm_place import need_vm
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

T = TypeVar("T")

LIVE = frozenset({"up", "powering_up", "paused"})
"""Statuses of a VM whose disks may be mirrored: its QEMU is there, and stays where it is."""
AGAIN_S = 2.0
"""Before somebody is asked again who has not answered: a fail-over takes longer, a stall of the volume about as long."""


@dataclass(frozen=True)
class LiveMoveDisk:
    """Which disk of which VM, from where, to where."""

    disk_id: str
    vm_id: str
    source_id: str
    target_id: str
    is_paused: bool = False


def _rows(work: Work) -> tuple[Entity, Entity]:
    given = work.parameters(LiveMoveDisk)
    return work.entities.need("vm", given.vm_id), work.entities.need("disk", given.disk_id)


def _below(work: Work, disk: Entity) -> Sequence[Layer]:
    """What the disk's snapshots keep: nobody writes there."""
    return chain(work.entities, disk)[:-1]


def _mirror_of(work: Work, disk: Entity) -> DiskMirror:
    given, layers = work.parameters(LiveMoveDisk), chain(work.entities, disk)
    files = [layer_at(work.entities, disk, one, given.target_id) for one in layers[-2:]]
    below = files[0] if len(files) > 1 else None
    return DiskMirror(disk.id, files[-1], below, "off" if below else room_of(disk), given.is_paused)


def _copy(work: Work) -> None:
    given, (_vm, disk) = work.parameters(LiveMoveDisk), _rows(work)
    copy_layers(work, chosen_host(work), disk, _below(work, disk), given.source_id, given.target_id)


def _uncopy(work: Work) -> None:
    disk = _rows(work)[1]
    drop_layers(work, chosen_host(work), disk, _below(work, disk), work.parameters(LiveMoveDisk).target_id, "undo")


def _mirror(work: Work) -> None:
    vm, disk = _rows(work)
    host = runs_on(work, vm)
    if not host:
        raise _ended(vm)
    mirror = _mirror_of(work, disk)

    def is_lost() -> bool:
        return cannot_write(work.entities, vm, work.entities.get("host", vm.ref("host")))

    with work.at(host) as node:
        name = task_id(work, "mirror")
        await_task(work, node, name, lambda task: node.vm_mirror(task, vm.id, mirror), is_lost=is_lost)


def _unmirror(work: Work) -> None:
    """Nothing is mirrored, and nothing of it left. Where the VM has gone over all the same there is no way back."""
    vm, disk = _rows(work)
    is_over = _known(work, lambda: _broken_off(work, vm, disk)) if GOING_OVER in disk.body else _broken_off(work, vm, disk)
    if is_over:
        _use(work)
        reason = "it has gone over to the target, and is used from there; what is left of it where it was is to be removed"
        raise Conflict("disk.moved", subject=f"disk {disk.name}", reason=reason, remedy="Nothing else is needed.")
    _decided(work)
    drop_layers(
        work, chosen_host(work), disk, chain(work.entities, disk)[-1:], work.parameters(LiveMoveDisk).target_id, "undo"
    )


def _broken_off(work: Work, vm: Entity, disk: Entity) -> bool:
    """Whether the VM has gone over; else it is not mirrored any more."""
    host, mirror = runs_on(work, vm), _mirror_of(work, disk)
    if host:
        try:
            with work.at(host) as node:
                node.vm_break_off(vm.id, mirror)
            return False
        except NotFound:
            work.log(f"VM {vm.name} has ended meanwhile")
        except Conflict as error:
            if error.code != "vm.mirror":
                raise
            return True
    return _is_marked(work, mirror)


def _pivot(work: Work) -> None:
    """From here on only the hosts can say which file is the newer one, so they are asked until they do."""
    given, (vm, disk) = work.parameters(LiveMoveDisk), _rows(work)
    work.entities.change("disk", disk.id, lambda one: one.with_body(**{GOING_OVER: given.target_id}))
    if _known(work, lambda: _gone_over(work, vm, disk)):
        return
    _decided(work)
    raise _ended(vm)


def _gone_over(work: Work, vm: Entity, disk: Entity) -> bool:
    """Whether the VM writes to the target alone, or wrote there last; it is brought there if it runs."""
    host, mirror = runs_on(work, vm), _mirror_of(work, disk)
    if host:
        try:
            with work.at(host) as node:
                name = task_id(work, "pivot")
                await_task(work, node, name, lambda task: node.vm_pivot(task, vm.id, mirror), may_stop=False)
            return True
        except NotFound:
            work.log(f"VM {vm.name} has ended meanwhile")
        except Conflict as error:
            if error.code != "vm.mirror":
                raise
            work.log(str(error))
            return False
    return _is_marked(work, mirror)


def _is_marked(work: Work, mirror: DiskMirror) -> bool:
    """Whether its host has marked the target as what the VM writes to: the VM stood still until then."""
    with work.on(chosen_or_another(work)) as node:
        return exists(node, mirror.target) and node.disk_chain(mirror.target)[0].mirrored


def _known(work: Work, ask: Callable[[], T]) -> T:
    """Asked without end: the VM may run nowhere else before it is known, and a host that is back, evicted or that hears of
    the domain again will say."""
    told = ""
    while True:
        work.check_stop()
        try:
            return ask()
        except TrivetError as error:
            if error.code == STALE:
                raise
            if str(error) != told:
                told = str(error)
                work.log(f"asking again until it is known what the VM writes to: {told}")
        work.clock.sleep(AGAIN_S)


def _decided(work: Work) -> None:
    work.entities.change("disk", work.parameters(LiveMoveDisk).disk_id, lambda one: one.without(GOING_OVER))


def _ended(vm: Entity) -> Failed:
    reason = "it has ended, or was lost, before it went over to the target"
    return Failed("vm.mirror", subject=f"VM {vm.name}", reason=reason, remedy="Move the disk again.")


def _use(work: Work) -> None:
    given = work.parameters(LiveMoveDisk)
    work.entities.change("disk", given.disk_id, lambda one: moved_to(one.without(GOING_OVER), given.target_id))


def _drop_source(work: Work) -> None:
    given, (_vm, disk) = work.parameters(LiveMoveDisk), _rows(work)
    wipe = bool(disk.body.get("wipe_after_delete"))
    drop_layers(work, chosen_host(work), disk, chain(work.entities, disk), given.source_id, "drop", wipe=wipe)


class DiskMoveLive(JobType[LiveMoveDisk]):
    """The disk is ``locked``, and so is its VM, which shows no other status and runs all the time: it is neither moved nor
    stopped nor suspended meanwhile. If it ends by itself, or its host is lost, the disk is where the guest wrote last: on
    the target if it had gone over, else where it was."""

    name = "disk.move-live"
    parameters = LiveMoveDisk
    steps = (
        Step("choose-host", choose_host, weight=0.1),
        Step("copy", _copy, _uncopy),
        Step("mirror", _mirror, _unmirror),
        Step("pivot", _pivot, settles=True, weight=0.1),
        Step("use", _use, weight=0.1),
        Step("drop-source", _drop_source, is_final=True, weight=0.2),
    )
    told = Told("USER_MOVED_DISK", "USER_MOVED_DISK_FINISHED_SUCCESS", "USER_MOVED_DISK_FINISHED_FAILURE")

    def about(self, entities: Entities, given: LiveMoveDisk) -> Mapping[str, str]:
        return {"disk": given.disk_id, "storage_domain": given.target_id}

    def describe(self, entities: Entities, given: LiveMoveDisk) -> str:
        return describe_move(entities, given.disk_id, given.source_id, given.target_id)

    def check(self, entities: Entities, given: LiveMoveDisk) -> None:
        disk, vm = entities.need("disk", given.disk_id), need_vm(entities, given.vm_id, ACTION, LIVE)
        need_ok(disk, ACTION)
        need_no_template(entities, disk, ACTION)
        _need_mirrorable(entities, disk, vm)
        refuse_preview(entities, vm.id, ACTION)
        check_move(entities, disk, given.source_id, given.target_id, ACTION)
        need_at_host(entities, vm, given.target_id, ACTION)

    def locks(self, entities: Entities, given: LiveMoveDisk) -> Sequence[Lock]:
        return Lock("vm", given.vm_id, ""), Lock("disk", given.disk_id), *domain_locks(given.source_id, given.target_id)

    def plan(self, entities: Entities, given: LiveMoveDisk) -> Sequence[Planned]:
        name, vm = entities.name_of("disk", given.disk_id), entities.name_of("vm", given.vm_id)
        return (
            Planned("choose-host", "Choosing a host"),
            Planned("copy", f"Copying what the snapshots of {name} keep"),
            Planned("mirror", f"Mirroring what VM {vm} writes"),
            Planned("pivot", f"Taking VM {vm} over"),
            Planned("use", "Using the copy"),
            Planned("drop-source", "Removing it where it was"),
        )

    def finish(self, work: Work) -> Mapping[str, object]:
        _touch(work)
        return {"disk": work.parameters(LiveMoveDisk).disk_id}

    def undone(self, work: Work) -> None:
        _touch(work)


def _touch(work: Work) -> None:
    """What a host saw while the VM stood still says nothing about it any more: the follower asks anew."""
    work.entities.update(work.entities.need("vm", work.parameters(LiveMoveDisk).vm_id))


def running_with(entities: Entities, disk: Entity) -> Entity | None:
    """The VM that runs with the disk, if its QEMU can go over to another file."""
    owners = [one for one in owners_of(entities, disk) if one.kind == "vm" and one.status in LIVE]
    return next((one for one in owners if is_plugged(entities, one, disk.id)), None)


def _need_mirrorable(entities: Entities, disk: Entity, vm: Entity) -> None:
    """Raises ``Conflict`` ``disk.in-use``: one QEMU alone must be what writes it."""
    attachment = attachment_of(entities, vm.id, disk.id)
    reason = ""
    if attachment is None or not is_plugged(entities, vm, disk.id):
        reason = f"It is not active in VM {vm.name}"
    elif attachment.body.get("read_only"):
        reason = f"It is read-only in VM {vm.name}"
    elif disk.body.get("shareable") or len(owners_of(entities, disk)) > 1:
        reason = "Other VMs may write to it as well"
    elif entities.referring(disk.key, "vm", "iso"):
        reason = "It is in a CD drive"
    if reason:
        remedy = "Shut the VM down, then move it."
        raise Conflict("disk.in-use", subject=f"disk {disk.name}", reason=f"Cannot {ACTION}. {reason}", remedy=remedy)
