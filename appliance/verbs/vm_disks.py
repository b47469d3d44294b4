"""The files under a running VM: snapshots of its disks, merges of their chains, their sizes. The long ones are tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from appliance.effects import disk_bytes
from appliance.effects.files import make_folders
from appliance.errors import Conflict, Failed, Refused
from appliance.model.disk import DiskFile, DiskInfo
from appliance.model.task import TaskState
from appliance.model.vm_live import BlockJob, DiskMerge, DiskSnapshot, VmSnapshot
from appliance.tools import qemu_img
from appliance.tools.live_xml import Layer, LiveDisk, LiveDomain, snapshot_xml
from appliance.verbs.chains import coded, named, need_made_by
from appliance.verbs.disks import DISK_MODE
from appliance.verbs.live import LiveVerbs, need_disk, quiesced
from appliance.verbs.tasks import Control
from appliance.verbs.vm_moves import SAVE_BASE_S, SAVE_MIB_S, watch

OVERLAY_TIMEOUT_S = 30.0
"""An empty layer is 200 KiB; stalls of the volume make it long."""
LOOK_EVERY_S = 0.3
FREEZE_S = 60.0
"""Without memory a snapshot takes a moment; a guest's file systems may take long to be frozen."""


class VmDisks(LiveVerbs):
    """Verbs over running VMs. All raise ``NotFound`` (``vm.unknown``, ``vm.disk-unknown``)."""

    def snapshot(self, task: str, name: str, snapshot: VmSnapshot) -> TaskState:
        """All named disks at one moment. Its overlays are made here, each over what is written now. Errors: ``disk.exists``,
        ``vm.no-agent``, ``vm.snapshot``, ``vm.broken-off``; then everything is as before, no overlay stays."""

        def work(control: Control) -> None:
            domain = LiveDomain(self._hypervisor.domain_xml(name))
            disks = {one.disk: need_disk(domain, name, one.disk) for one in snapshot.disks}
            places = {one.disk: self._chains.place(one.overlay) for one in snapshot.disks}
            taken = [disks[one].path == str(places[one]) for one in disks]
            if disks and all(taken):
                return  # the same task, asked again after it had got so far
            if not disks or any(taken):
                reason = "no disk is named" if not disks else "one of its disks is written to its overlay already"
                raise Refused("vm.snapshot", subject=f"VM {name}", reason=reason, remedy="Name the disks, each once.")
            made: list[Path] = []
            try:
                for one in snapshot.disks:
                    made.append(self._overlay(task, name, one, disks[one.disk]))
                self._take(control, task, name, domain, {disks[key].label: places[key] for key in disks}, snapshot)
            except BaseException:
                self._undo(name, snapshot, made)
                raise

        return self._tasks.start(task, "vm.snapshot", f"VM {name}", [name, snapshot], work, pool="vm")

    def merge(self, task: str, name: str, merge: DiskMerge) -> TaskState:
        """While the VM runs. One that goes on already (its task was lost) is waited for; one that is through is done.
        Cancelled: nothing is lost, the chain is as before. Errors: ``disk.chain``, ``vm.merge``."""

        def work(control: Control) -> None:
            disk = need_disk(LiveDomain(self._hypervisor.domain_xml(name)), name, merge.disk)
            job = self._hypervisor.block_job(name, disk.label)
            if job is None and self._merged(disk, merge):
                return
            if job is None:
                self._begin(name, disk, merge)
            self._finish(control, name, merge.disk, disk.label, merge.top is None)
            after = need_disk(LiveDomain(self._hypervisor.domain_xml(name)), name, merge.disk)
            if not self._merged(after, merge):
                reason = f"QEMU's work has ended without it; its chain is {[layer.path for layer in after.layers]}"
                raise Conflict("vm.merge", subject=f"VM {name}", reason=reason, remedy="Merge it again.")

        return self._tasks.start(task, "vm.merge", f"VM {name}", [name, merge], work, pool="vm")

    def resize(self, name: str, disk: str, size_bytes: int) -> None:
        """Grow a disk while it runs; the guest sees it at once. Raises ``Refused`` (``disk.shrink``), ``Failed``
        (``vm.disk-resize``)."""
        found = need_disk(LiveDomain(self._hypervisor.domain_xml(name)), name, disk)
        has = next(
            (one.capacity_bytes for vm in self._hypervisor.statistics() if vm.name == name for one in vm.disks
             if one.disk == disk), 0,
        )  # fmt: skip
        if size_bytes < has:
            reason = f"its disk {disk} has {has} bytes, {size_bytes} would cut it off"
            raise Refused("disk.shrink", subject=f"VM {name}", reason=reason, remedy="Disks only grow.")
        if size_bytes > has:
            self._hypervisor.block_resize(name, found.label, size_bytes)

    def job(self, name: str, disk: str) -> BlockJob | None:
        """The work that goes on on a disk's chain, whoever began it."""
        found = need_disk(LiveDomain(self._hypervisor.domain_xml(name)), name, disk)
        return self._hypervisor.block_job(name, found.label)

    # the steps of a snapshot

    def _overlay(self, task: str, name: str, one: DiskSnapshot, disk: LiveDisk) -> Path:
        """An empty layer over what is written now."""
        place = self._chains.place(one.overlay)
        if place.exists():
            need_made_by(task, place, one.overlay)
            return place  # of the first try, and no VM writes to it: it is empty
        below = self._below(name, one, disk)
        make_folders(place.parent, 0o755)
        beside = place.with_name(f".{place.name}.{task}.new")
        beside.unlink(missing_ok=True)
        argv = qemu_img.overlay_argv(beside, below.virtual_bytes, self._chains.relative(one.overlay, below.file))
        try:
            done = self._processes.run(argv, timeout_s=OVERLAY_TIMEOUT_S, ok=None)
            if done.status != 0:
                raise coded(done, one.overlay)
            disk_bytes.seal(beside, place, self._owner, DISK_MODE, task)
        finally:
            beside.unlink(missing_ok=True)
        return place

    def _below(self, name: str, one: DiskSnapshot, disk: LiveDisk) -> DiskInfo:
        """The file that is written now, as ours."""
        driver = disk.element.find("driver")
        kind = driver.get("type", "raw") if driver is not None else "raw"
        home = self._volumes / one.overlay.domain
        path = Path(disk.path)
        if not path.is_relative_to(home):
            reason = f"its disk {one.disk} is {disk.path or 'empty'}, not a file on {one.overlay.domain}"
            raise Refused("vm.snapshot", subject=f"VM {name}", reason=reason, remedy="Put the overlay beside its disk.")
        relative = str(path.relative_to(home))
        return self._chains.look(DiskFile(one.overlay.domain, relative, "qcow2" if kind == "qcow2" else "raw"))

    def _take(
        self,
        control: Control,
        task: str,
        name: str,
        domain: LiveDomain,
        overlays: Mapping[str, Path],
        snapshot: VmSnapshot,
    ) -> None:
        control.check()
        memory = self._memory_place(task, snapshot)
        xml = snapshot_xml(
            task,
            {label: str(path) for label, path in overlays.items()},
            tuple(label for label in domain.labels() if label not in overlays),
            str(memory[0]) if memory else "",
        )
        deadline_s = SAVE_BASE_S + domain.memory_mib / SAVE_MIB_S if memory else FREEZE_S

        def ask(quiesce: bool) -> None:
            self._hypervisor.snapshot(
                name, xml, memory=memory is not None, quiesce=quiesce, deadline_s=deadline_s, watch=watch(control)
            )

        # frozen file systems would be frozen in the saved memory, too
        quiesced(snapshot.quiesce if memory is None else "no", ask)
        if memory:
            disk_bytes.seal(*memory, self._owner, 0o600, task)

    def _memory_place(self, task: str, snapshot: VmSnapshot) -> tuple[Path, Path] | None:
        """Where the memory is written, and its name once it is complete."""
        if snapshot.memory is None:
            return None
        place = self._chains.place(snapshot.memory)
        if place.exists():
            reason = "there is a file of that name"
            raise Conflict("disk.exists", subject=named(snapshot.memory), reason=reason, remedy="Use another name.")
        make_folders(place.parent, 0o755)
        beside = place.with_name(f".{place.name}.{task}.new")
        beside.touch()  # libvirt writes into what is there, as with the overlays
        return beside, place

    def _undo(self, name: str, snapshot: VmSnapshot, made: list[Path]) -> None:
        """Overlays that nobody writes to. If libvirt cannot be asked they stay, and the same task finds them."""
        domain = LiveDomain(self._hypervisor.domain_xml(name))
        written = {layer.path for one in snapshot.disks if (disk := domain.disk(one.disk)) for layer in disk.layers}
        for place in made:
            if str(place) not in written:
                place.unlink(missing_ok=True)
        if snapshot.memory is not None:
            place = self._chains.place(snapshot.memory)
            for left in place.parent.glob(f".{place.name}.*.new"):
                left.unlink(missing_ok=True)

    # the steps of a merge

    def _begin(self, name: str, disk: LiveDisk, merge: DiskMerge) -> None:
        base = self._layer(disk, merge.base)
        top = disk.layers[0] if merge.top is None else self._layer(disk, merge.top)
        layers = disk.layers
        if base is None or top is None or layers.index(top) >= layers.index(base):
            reason = f"{merge.base.path} is not below {merge.top.path if merge.top else 'what is written now'} in its chain"
            raise Refused("disk.chain", subject=f"VM {name}, disk {merge.disk}", reason=reason, remedy="Look at its chain.")
        self._hypervisor.block_commit(name, disk.label, top.name, base.name, active=top == layers[0])

    def _finish(self, control: Control, name: str, serial: str, label: str, active: bool) -> None:
        while (job := self._hypervisor.block_job(name, label)) is not None:
            control.at(job.percent)
            if control.cancelled():
                self._hypervisor.end_block_job(name, label, pivot=False)
                control.check()
            if active and job.ready:
                self._pivot(name, serial, label)
            else:
                self._clock.sleep(LOOK_EVERY_S)

    def _pivot(self, name: str, serial: str, label: str) -> None:
        """The VM goes over to the base. That the layer above is merged is written on it before: if host and VM are lost
        in just this moment, the base is the one to go on with."""
        top = Path(need_disk(LiveDomain(self._hypervisor.domain_xml(name)), name, serial).path)
        try:
            disk_bytes.mark_merged(top, is_merged=True)
        except OSError as error:
            self._hypervisor.end_block_job(name, label, pivot=False)
            reason = f"its layer {top.name} cannot be marked as merged: {error.strerror}"
            raise Failed("vm.merge", subject=f"VM {name}", reason=reason, remedy="Look at the storage domain.") from error
        try:
            self._hypervisor.end_block_job(name, label, pivot=True)
        except BaseException:
            disk_bytes.mark_merged(top, is_merged=False)
            raise

    def _merged(self, disk: LiveDisk, merge: DiskMerge) -> bool:
        """Whether what was above the base is in it."""
        base = self._layer(disk, merge.base)
        if base is None:
            return False
        if merge.top is None:
            return disk.layers[0] == base
        return self._layer(disk, merge.top) is None

    def _layer(self, disk: LiveDisk, file: DiskFile) -> Layer | None:
        path = str(self._chains.place(file))
        return next((layer for layer in disk.layers if layer.path == path), None)
