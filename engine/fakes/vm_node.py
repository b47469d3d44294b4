"""A node's VM verbs over a folder: what runs where is files, so that it outlives the jobs process, which tests kill.

Two hosts never run one VM: its disk's lock refuses the second, as the real one does.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.codec import decode, encode
from appliance.effects.clock import Clock, SystemClock
from appliance.errors import Conflict, NotFound, Refused
from appliance.model.disk import DiskFile, DiskInfo
from appliance.model.task import TaskState
from appliance.model.vm import VmDisk, VmNic, VmPower, VmSpec, VmState
from appliance.model.vm_backup import VmBackup, VmBackupState
from appliance.model.vm_live import (
    DiskMerge,
    DiskMirror,
    GuestAnswer,
    GuestInfo,
    MigrationLimits,
    Screen,
    VmSnapshot,
    VncTicket,
)
from engine.fakes import vm_backups, vm_layers, vm_mirrors
from engine.fakes.disk_node import FakeDiskNode, FakeTasks, grow
from engine.fakes.layers import file_at
from engine.fakes.pool_node import refused_by

GIB = 1024**3
TICKET_LIMIT_CHARACTERS = 8
"""Of VNC, as the real host has it."""
FIRST_PORT = 5900
MEMORY_STEP_MIB = 128
"""Memory is plugged in in pieces of so much, as on the real host."""


GROWING = threading.Lock()
"""CPUs and memory of one VM may grow at once, and each change writes the whole of it."""


@dataclass(frozen=True)
class FakeVm:
    """A VM on a fake host."""

    spec: VmSpec
    power: VmPower = "running"
    asked: tuple[str, ...] = ()
    """What its guest was asked for: ``shutdown``, ``reboot``, ``reset``."""
    ticket: tuple[str, float] = ("", 0.0)
    """What opens its screen, and for how long from when it was set."""
    plugged_mib: int = 0
    """All its memory, also what the balloon has; 0: what it started with."""
    backup: str = ""
    """The id of the backup that its QEMU serves."""
    mirrors: Mapping[str, DiskFile] = field(default_factory=dict)
    """Disk → what is written to as well."""


@dataclass
class FakeVmNode(FakeTasks):
    """A host with its VMs in ``folder/vms/<host>``."""

    clock: Clock = field(default_factory=SystemClock)

    def _vm_file(self, name: str, host: str = "") -> Path:
        return self.folder / "vms" / (host or self.name) / name

    def vm(self, name: str) -> FakeVm | None:
        """The VM, if it is here."""
        try:
            text = self._vm_file(name).read_text()
        except FileNotFoundError:
            return None
        return decode(FakeVm, json.loads(text), subject=name)

    def put(self, vm: FakeVm) -> None:
        """It is so from now on."""
        path = self._vm_file(vm.spec.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}")
        draft.write_text(json.dumps(encode(vm)))
        draft.rename(path)

    def end(self, name: str) -> None:
        """The guest has ended by itself."""
        self._vm_file(name).unlink(missing_ok=True)

    def _need(self, name: str) -> FakeVm:
        found = self.vm(name)
        if found is None:
            reason = "libvirt of this node knows no such VM"
            raise NotFound("vm.unknown", subject=f"VM {name}", reason=reason, remedy="Ask the others.")
        return found

    def _fail(self, verb: str) -> None:
        self.point(f"before {verb}")
        if verb in self.fail_with:
            raise self.fail_with[verb]

    def vms(self) -> tuple[VmState, ...]:
        folder = self.folder / "vms" / self.name
        names = sorted(path.name for path in folder.glob("[!.]*")) if folder.is_dir() else []
        return tuple(state_of(one) for one in map(self.vm, names) if one is not None)

    def vm_start(self, spec: VmSpec, paused: bool) -> VmState:
        self._fail("start")
        if self.vm(spec.name) is None:
            self._refuse_second(spec)
            self.put(FakeVm(spec, "paused" if paused else "running"))
        self.point("after start")
        return state_of(self._need(spec.name))

    def _refuse_second(self, spec: VmSpec) -> None:
        cut_off = refused_by(self.folder)  # their locks are gone, and what they still write is refused
        if any(path.name == spec.name and path.parent.name not in cut_off for path in (self.folder / "vms").glob("*/*")):
            reason = "another QEMU has its disk open"
            raise Conflict("vm.disk-locked", subject=f"VM {spec.name}", reason=reason, remedy="Stop that one.")

    def vm_resume(self, name: str) -> None:
        self._fail("resume")
        self.put(replace(self._need(name), power="running"))
        self.point("after resume")

    def vm_reboot(self, name: str) -> None:
        self._ask(name, "reboot")

    def vm_freeze(self, name: str) -> None:
        self._ask(name, "freeze")

    def vm_thaw(self, name: str) -> None:
        self._ask(name, "thaw")

    def vm_reset(self, name: str) -> None:
        self._ask(name, "reset")

    def vm_shutdown(self, name: str) -> None:
        if self.vm(name) is not None:
            self._ask(name, "shutdown")

    def _ask(self, name: str, what: str) -> None:
        self._fail(what)
        found = self._need(name)
        self.put(replace(found, asked=(*found.asked, what)))
        self.point(f"after {what}")

    def vm_destroy(self, name: str) -> None:
        self._fail("destroy")
        self.end(name)
        self.point("after destroy")

    def vm_move(self, task: str, name: str, target: str, limits: MigrationLimits) -> TaskState:
        def act() -> None:
            self._need(name)
            place = self._vm_file(name, target)
            place.parent.mkdir(parents=True, exist_ok=True)
            self._vm_file(name).rename(place)

        return self._run(task, "move", act)

    def vm_suspend(self, task: str, name: str, file: DiskFile) -> TaskState:
        def act() -> None:
            path = self._path(file)
            if self.vm(name) is None and path.exists():
                return  # the same task, asked again: it had got there
            self._need(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".making")
            draft.write_text(self._vm_file(name).read_text())
            draft.rename(path)
            self.end(name)

        return self._run(task, "suspend", act)

    def vm_wake(self, task: str, spec: VmSpec, file: DiskFile, paused: bool) -> TaskState:
        def act() -> None:
            if self.vm(spec.name) is not None:
                return
            if not self._path(file).exists():
                raise NotFound("file.unknown", subject=file.path, reason="there is no such file", remedy="Look.")
            vm_layers.check_saved(decode(FakeVm, json.loads(self._path(file).read_text()), subject=spec.name).spec, spec)
            self._refuse_second(spec)
            self.put(FakeVm(spec, "paused" if paused else "running"))

        return self._run(task, "wake", act)

    def vm_snapshot(self, task: str, name: str, snapshot: VmSnapshot) -> TaskState:
        return self._run(task, "snapshot", lambda: vm_layers.snapshot(self, name, snapshot))

    def vm_merge(self, task: str, name: str, merge: DiskMerge) -> TaskState:
        return self._run(task, "merge", lambda: vm_layers.merge(self, name, merge))

    def guest_says(self, name: str, said: GuestInfo) -> None:
        """Its agent tells that from now on, on whichever host it is."""
        path = self.folder / "guests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(encode(said)))

    def vm_guests(self) -> tuple[GuestAnswer, ...]:
        self._fail("guests")
        return tuple(GuestAnswer(one.name, self._guest(one.name)) for one in self.vms())

    def _guest(self, name: str) -> GuestInfo:
        path = self.folder / "guests" / name
        return decode(GuestInfo, json.loads(path.read_text()), subject=name) if path.exists() else GuestInfo(agent=False)

    def vm_backups(self) -> tuple[VmBackupState, ...]:
        return vm_backups.states(self)

    def vm_backup_begin(self, name: str, backup: VmBackup) -> VmBackupState:
        self._fail("backup-begin")
        state = vm_backups.begin(self, name, backup)
        self.point("after backup-begin")
        return state

    def vm_backup_end(self, name: str, backup: str) -> None:
        self._fail("backup-end")
        vm_backups.end(self, name, backup)
        self.point("after backup-end")

    def vm_checkpoint_drop(self, name: str, checkpoint: str, disks: tuple[str, ...]) -> None:
        self._fail("checkpoint-drop")
        vm_backups.drop_checkpoint(self, name, checkpoint, disks)
        self.point("after checkpoint-drop")

    def infos(self, file: DiskFile) -> tuple[DiskInfo, ...]:
        """The chain of a disk, as a node tells it."""
        return FakeDiskNode(self.name, self.folder).disk_chain(file)

    def vm_mirror(self, task: str, name: str, mirror: DiskMirror) -> TaskState:
        return self._run(task, "mirror", lambda: vm_mirrors.mirror(self, name, mirror))

    def vm_pivot(self, task: str, name: str, mirror: DiskMirror) -> TaskState:
        return self._run(task, "pivot", lambda: vm_mirrors.pivot(self, name, mirror))

    def vm_break_off(self, name: str, mirror: DiskMirror) -> None:
        self._fail("break-off")
        vm_mirrors.break_off(self, name, mirror)
        self.point("after break-off")

    def vm_disk_resize(self, name: str, disk: str, size_bytes: int) -> None:
        self._fail("live-resize")
        found = next((one for one in self._need(name).spec.disks if one.serial == disk), None)
        if found is None:
            raise NotFound("vm.disk-unknown", subject=f"VM {name}", reason=f"it has no disk {disk}", remedy="Look.")
        grow(self._path(file_at(found.path, found.format)), size_bytes)
        self.point("after live-resize")

    def vm_plug_disk(self, name: str, disk: VmDisk) -> None:
        self._fail("plug-disk")
        found = self._need(name)
        others = tuple(one for one in found.spec.disks if one.serial != disk.serial)
        self.put(replace(found, spec=replace(found.spec, disks=(*others, disk))))
        self.point("after plug-disk")

    def vm_unplug_disk(self, name: str, disk: str) -> None:
        self._fail("unplug-disk")
        found = self._need(name)
        left = tuple(one for one in found.spec.disks if one.serial != disk)
        self.put(replace(found, spec=replace(found.spec, disks=left)))
        self.point("after unplug-disk")

    def vm_plug_nic(self, name: str, nic: VmNic) -> None:
        self._fail("plug-nic")
        found = self._need(name)
        others = tuple(one for one in found.spec.nics if one.mac != nic.mac)
        self.put(replace(found, spec=replace(found.spec, nics=(*others, nic))))
        self.point("after plug-nic")

    def vm_unplug_nic(self, name: str, mac: str) -> None:
        self._fail("unplug-nic")
        found = self._need(name)
        left = tuple(one for one in found.spec.nics if one.mac != mac)
        self.put(replace(found, spec=replace(found.spec, nics=left)))
        self.point("after unplug-nic")

    def vm_set_nic(self, name: str, mac: str, bridge: str, link_up: bool) -> None:
        self._fail("set-nic")
        found = self._need(name)
        if all(one.mac != mac for one in found.spec.nics):
            raise NotFound("vm.nic-unknown", subject=f"VM {name}", reason=f"it has no NIC {mac}", remedy="Plug it in.")
        nics = tuple(
            replace(one, bridge=bridge or one.bridge, link_up=link_up) if one.mac == mac else one for one in found.spec.nics
        )
        self.put(replace(found, spec=replace(found.spec, nics=nics)))
        self.point("after set-nic")

    def vm_set_cd(self, name: str, drive: str, path: str, force: bool) -> None:
        self._fail("set-cd")
        found = self._need(name)
        disks = tuple(replace(one, path=path) if one.serial == drive else one for one in found.spec.disks)
        self.put(replace(found, spec=replace(found.spec, disks=disks)))
        self.point("after set-cd")

    def vm_set_cpus(self, name: str, cpus: int) -> None:
        self._fail("set-cpus")
        with GROWING:
            found = self._need(name)
            if not 1 <= cpus <= max(found.spec.cpu.maximum, found.spec.cpus):
                raise Refused("vm.cpus", subject=f"VM {name}", reason=f"not {cpus} CPUs", remedy="Start it anew.")
            self.put(replace(found, spec=replace(found.spec, cpus=cpus)))
        self.point("after set-cpus")

    def vm_set_memory(self, name: str, memory_mib: int) -> int:
        self._fail("set-memory")
        with GROWING:
            found = self._need(name)
            spec, plugged_mib = found.spec, found.plugged_mib or found.spec.memory_mib
            most_mib = max(spec.memory.maximum_mib, plugged_mib)
            if not max(1, spec.memory.guaranteed_mib) <= memory_mib <= most_mib:
                raise Refused("vm.memory", subject=f"VM {name}", reason=f"not {memory_mib} MiB", remedy="Start it anew.")
            missing_mib = max(0, memory_mib - plugged_mib)
            plugged_mib = min(most_mib, plugged_mib + math.ceil(missing_mib / MEMORY_STEP_MIB) * MEMORY_STEP_MIB)
            self.put(replace(found, spec=replace(spec, memory_mib=memory_mib), plugged_mib=plugged_mib))
        self.point("after set-memory")
        return plugged_mib

    def vm_screen(self, name: str) -> Screen:
        graphics = self._need(name).spec.graphics
        if graphics is None:
            raise NotFound("vm.no-screen", subject=f"VM {name}", reason="it has no screen", remedy="Start it with one.")
        return Screen(graphics.listen, FIRST_PORT)

    def vm_set_ticket(self, name: str, word: str, valid_s: float) -> VncTicket:
        self._fail("ticket")
        found = self._need(name)
        if len(word) > TICKET_LIMIT_CHARACTERS or valid_s < 0:
            reason = f"it has more than {TICKET_LIMIT_CHARACTERS} characters, or its end is in the past"
            raise Refused("vm.ticket", subject=f"VM {name}", reason=reason, remedy="Choose a shorter one.")
        where = self.vm_screen(name)
        self.put(replace(found, ticket=(word, valid_s) if word else ("", 0.0)))
        expires_wall_s = self.clock.wall_s() + valid_s if word else 0.0
        return VncTicket(where.address, where.port, expires_wall_s)

    def ha_local_maintenance(self, on: bool) -> None:
        self._fail("ha")
        path = self.folder / "ha" / self.name
        if on:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        else:
            path.unlink(missing_ok=True)
        self.point("after ha")

    @property
    def is_in_local_maintenance(self) -> bool:
        """Whether its broker was told to leave the engine's VM alone."""
        return (self.folder / "ha" / self.name).exists()


def state_of(vm: FakeVm) -> VmState:
    """As a node tells it."""
    return VmState(vm.spec.id, vm.spec.name, vm.power, vm.spec.memory_mib, vm.spec.cpus, 1.0, 4242)
