"""VMs that move: to another node while they run, or to a file and back. Each is a task; see :mod:`appliance.verbs.tasks`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from appliance import layout
from appliance.effects import disk_bytes
from appliance.effects.files import make_folders
from appliance.errors import Conflict, NotFound
from appliance.model.disk import DiskFile
from appliance.model.task import TaskState
from appliance.model.vm import VmSpec, VmState
from appliance.model.vm_live import JobProgress, MigrationLimits
from appliance.ports import Clock, Hypervisor
from appliance.tools.domain_xml import awake_with_disks
from appliance.verbs.chains import Chains, need_made_by
from appliance.verbs.tasks import Control, Tasks, Work
from appliance.verbs.vms import MIGRATE_BASE_S, MIGRATE_MIB_S, RUNNING
from appliance.vm_ports import Watch

SAVE_BASE_S = 60.0
SAVE_MIB_S = 10.0
"""Memory to a volume on three old disks, with other VMs writing to it as well: a quarter of what they carry alone."""
LOOK_EVERY_S = 0.5
SAVED_MODE = 0o600


class VmMoves:
    """Migration, suspension to a file and waking from it."""

    def __init__(self, hypervisor: Hypervisor, clock: Clock, tasks: Tasks, chains: Chains, owner: int = layout.QEMU_UID):
        self._hypervisor = hypervisor
        self._clock = clock
        self._tasks = tasks
        self._chains = chains
        self._owner = owner

    def migrate(self, task: str, name: str, target: str, limits: MigrationLimits) -> TaskState:
        """To member ``target``; cancelled, it goes on here. One that is leaving already (its task was lost) is waited for.
        Errors: ``vm.unknown`` (gone: ask ``target``), ``vm.not-running``, ``vm.migrate``, ``vm.broken-off``."""

        def work(control: Control) -> None:
            found = self._require(name)
            if found.power == "migrating":
                self._wait(control, name)
                return
            self._running(found, "migrated")
            deadline_s = limits.deadline_s or MIGRATE_BASE_S + found.memory_mib / MIGRATE_MIB_S
            self._hypervisor.migrate_within(name, target, replace(limits, deadline_s=deadline_s), watch(control))

        return self._start(task, "vm.migrate", name, [name, target, limits], work)

    def suspend(self, task: str, name: str, file: DiskFile) -> TaskState:
        """Its memory to ``file`` (on a mounted domain), then its QEMU ends; cancelled before that, it goes on.
        Errors: ``vm.unknown``, ``vm.not-running``, ``vm.save``, ``disk.exists``."""

        def work(control: Control) -> None:
            place = self._chains.place(file)
            beside = place.with_name(f".{place.name}.{task}.new")
            if place.exists():
                need_made_by(task, place, file)
                return
            found = self._find(name)
            if found is None and beside.exists():  # it had come so far when the agent ended
                self._hypervisor.saved_xml(str(beside))  # raises if the saving was not complete
            else:
                self._running(self._require(name), "suspended")
                make_folders(place.parent, 0o755)
                self._save(control, name, beside, (found.memory_mib if found else 0))
            disk_bytes.seal(beside, place, self._owner, SAVED_MODE, task)

        return self._start(task, "vm.suspend", name, [name, file], work)

    def wake(self, task: str, spec: VmSpec, file: DiskFile, paused: bool) -> TaskState:
        """From its saved memory, on the bridges and with the disks' files that ``spec`` says. The file stays: remove it when
        it runs. Active already: done. Errors: ``file.unknown``, ``vm.saved-memory``, ``vm.restore``, ``vm.disk-locked``."""

        def work(_control: Control) -> None:
            found = self._find(spec.name)
            if found is not None and found.power in RUNNING and found.id.lower() == spec.id.lower():
                return
            path = str(self._chains.require(file))
            xml = awake_with_disks(self._hypervisor.saved_xml(path), spec)
            memory_mib = max(spec.memory_mib, spec.memory.maximum_mib)
            self._hypervisor.restore_running(path, xml, paused, SAVE_BASE_S + memory_mib / SAVE_MIB_S)

        return self._start(task, "vm.wake", spec.name, [spec, file, paused], work)

    def _save(self, control: Control, name: str, beside: Path, memory_mib: int) -> None:
        beside.unlink(missing_ok=True)
        try:
            self._hypervisor.save_within(name, str(beside), SAVE_BASE_S + memory_mib / SAVE_MIB_S, watch(control))
        except BaseException:
            if self._find(name) is not None:  # otherwise the file is all there is of it
                beside.unlink(missing_ok=True)
            raise

    def _wait(self, control: Control, name: str) -> None:
        while (progress := self._hypervisor.job(name)) is not None:
            control.at(progress.percent)
            control.check()
            self._clock.sleep(LOOK_EVERY_S)
        found = self._find(name)
        if found is not None:
            raise Conflict(
                "vm.broken-off",
                subject=f"VM {name}",
                reason=f"a migration that had begun earlier has ended, and it is {found.power} here still",
                remedy="Migrate it again.",
            )

    def _start(self, task: str, kind: str, name: str, asked: object, work: Work) -> TaskState:
        return self._tasks.start(task, kind, f"VM {name}", asked, work, pool="vm")

    def _find(self, name: str) -> VmState | None:
        return next((vm for vm in self._hypervisor.domains() if vm.name == name), None)

    def _require(self, name: str) -> VmState:
        found = self._find(name)
        if found is None:
            reason = "libvirt of this node knows no such VM"
            raise NotFound("vm.unknown", subject=f"VM {name}", reason=reason, remedy="Ask the other nodes.")
        return found

    @staticmethod
    def _running(found: VmState, what: str) -> None:
        if found.power not in ("running", "paused"):
            raise Conflict(
                "vm.not-running",
                subject=f"VM {found.name}",
                reason=f"it is {found.power}; only a running or paused VM is {what}",
                remedy="Look at why; destroying it and starting it anew always works.",
            )


def watch(control: Control) -> Watch:
    """Tells a task how far libvirt is, and libvirt whether the task is still wanted."""

    def look(progress: JobProgress) -> bool:
        control.at(progress.percent)
        return not control.cancelled()

    return look
