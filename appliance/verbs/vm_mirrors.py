"""A disk of a running VM goes over to another file: mirrored until both are equal, then pivoted. Before and after, and
whatever is lost in between, it can be said which of the two the guest wrote last.

The pivot happens while the guest's CPUs stand still, and they run again only when the mark on the new file is written
down. So a guest never writes to the new file alone without that mark, nor to the old one alone with it.
"""

from __future__ import annotations

import os
from pathlib import Path

from appliance.effects import disk_bytes
from appliance.effects.files import make_folders
from appliance.errors import Conflict, Failed, TrivetError, Unavailable
from appliance.model.disk import DiskFile
from appliance.model.task import TaskState
from appliance.model.vm_live import BlockJob, DiskMirror
from appliance.tools import qemu_img
from appliance.tools.live_xml import LiveDisk, LiveDomain, mirror_xml
from appliance.verbs.chains import coded, named, need_made_by
from appliance.verbs.disks import BASE_S, DISK_MODE, SLOWEST_BYTES_S
from appliance.verbs.live import LiveVerbs, need_disk
from appliance.verbs.tasks import Control

LOOK_EVERY_S = 0.3
CREATE_TIMEOUT_S = 60.0
"""An empty file is there at once, room for a large one is reserved in a second; stalls of the volume make it long."""
FULL_BYTES = 4 * 1024 * 1024
"""A domain that has less is full: QEMU's last write to it was up to 1 MiB, and file systems keep some blocks back."""


class VmMirrors(LiveVerbs):
    """Verbs over disks of running VMs. All raise ``NotFound`` (``vm.unknown``, ``vm.disk-unknown``)."""

    def mirror(self, task: str, name: str, mirror: DiskMirror) -> TaskState:
        """Its end: the two are equal and stay so. One that goes on already (its task was lost) is waited for. Broken off or
        cancelled: the VM writes where it did, and the target is gone. Errors: ``vm.mirror``, ``vm.broken-off``,
        ``disk.exists``, ``disk.no-space``."""

        def work(control: Control) -> None:
            disk, place = self._disk(name, mirror), self._chains.place(mirror.target)
            if disk.path == str(place):
                return
            job = self._hypervisor.block_job(name, disk.label)
            if job is not None and job.target != str(place):
                self._end_stray(name, disk, job)
                job = None
            size_bytes = self._chains.look(self._written(name, mirror, disk)).virtual_bytes
            if job is None:
                self._begin(task, name, mirror, disk, size_bytes)
            self._wait(control, name, mirror, disk, size_bytes)

        return self._tasks.start(task, "vm.mirror", f"VM {name}", [name, mirror], work, pool="vm")

    def pivot(self, task: str, name: str, mirror: DiskMirror) -> TaskState:
        """The VM writes to the target alone from now on. Error ``vm.mirror``: it does not, and goes on where it wrote. Any
        other error leaves it standing still: ask again."""

        def work(_control: Control) -> None:
            disk, place = self._disk(name, mirror), self._chains.place(mirror.target)
            if disk.path != str(place):
                self._go_over(name, mirror, disk, place)
            try:
                disk_bytes.mark_mirror(place, in_force=True)
            except OSError as error:
                reason = f"{place.name} cannot be marked as the one in force: {error.strerror}"
                raise Unavailable("vm.mirror-mark", subject=f"VM {name}", reason=reason, remedy="Ask again.") from error
            self._go_on(name, mirror)

        return self._tasks.start(task, "vm.pivot", f"VM {name}", [name, mirror], work, pool="vm")

    def break_off(self, name: str, mirror: DiskMirror) -> None:
        """Nothing is mirrored any more; the target stays, for whoever removes it. Raises ``Conflict`` (``vm.mirror``): the
        VM has gone over to it."""
        disk, place = self._disk(name, mirror), self._chains.place(mirror.target)
        if disk.path == str(place):
            reason = f"its disk {mirror.disk} is written to {mirror.target.path} already"
            raise Conflict("vm.mirror", subject=f"VM {name}", reason=reason, remedy="Use that file.")
        job = self._hypervisor.block_job(name, disk.label)
        if job is not None and job.kind == "copy":
            self._hypervisor.end_block_job(name, disk.label, pivot=False)
        self._go_on(name, mirror)

    # the steps of a mirror

    def _begin(self, task: str, name: str, mirror: DiskMirror, disk: LiveDisk, size_bytes: int) -> None:
        place = self._chains.place(mirror.target)
        if place.exists():
            need_made_by(task, place, mirror.target)
            place.unlink()  # what a broken-off mirror left in it may have been discarded by the guest since
        self._create(task, mirror, place, size_bytes)
        try:
            xml = mirror_xml(str(place), mirror.target.format)
            self._hypervisor.block_mirror(name, disk.label, xml, shallow=mirror.backing is not None)
        except Failed:
            place.unlink(missing_ok=True)
            raise

    def _create(self, task: str, mirror: DiskMirror, place: Path, size_bytes: int) -> None:
        """The empty target, marked as one that is being filled: where such marks cannot be, nothing is begun."""
        below = self._chains.relative(mirror.target, mirror.backing) if mirror.backing else None
        make_folders(place.parent, 0o755)
        beside = place.with_name(f".{place.name}.{task}.new")
        beside.unlink(missing_ok=True)
        argv = qemu_img.create_argv(beside, mirror.target.format, size_bytes, mirror.preallocation, below)
        try:
            done = self._processes.run(argv, timeout_s=CREATE_TIMEOUT_S, ok=None)
            if done.status != 0:
                raise coded(done, mirror.target)
            disk_bytes.mark_mirror(beside, in_force=False)
            disk_bytes.seal(beside, place, self._owner, DISK_MODE, task)
        except OSError as error:
            reason = f"it cannot be made, or marked as a mirror: {error.strerror}"
            raise Failed("vm.mirror", subject=named(mirror.target), reason=reason, remedy="Look at the domain.") from error
        finally:
            beside.unlink(missing_ok=True)

    def _wait(self, control: Control, name: str, mirror: DiskMirror, disk: LiveDisk, size_bytes: int) -> None:
        """Until both are equal. Guests cannot outrun it, for they write to both; what hangs is ended all the same."""
        place = self._chains.place(mirror.target)
        limit_s = BASE_S + size_bytes / SLOWEST_BYTES_S
        until_s = self._clock.monotonic_s() + limit_s
        while (job := self._hypervisor.block_job(name, disk.label)) is None or not job.ready:
            if job is None:
                raise self._given_up(name, mirror, place)
            control.at(job.percent)
            is_late = self._clock.monotonic_s() >= until_s
            if control.cancelled() or is_late:
                self._hypervisor.end_block_job(name, disk.label, pivot=False)
                place.unlink(missing_ok=True)
                control.check()
                reason = f"its disk {mirror.disk} was not copied within {limit_s:.0f} s"
                remedy = "Look at the load of both domains, or move it while the VM is down."
                raise Failed("vm.broken-off", subject=f"VM {name}", reason=reason, remedy=remedy)
            self._clock.sleep(LOOK_EVERY_S)

    def _given_up(self, name: str, mirror: DiskMirror, place: Path) -> TrivetError:
        """QEMU has ended it by itself: a write to the target failed, or a read."""
        if self._disk(name, mirror).path == str(place):
            reason = "it went over to its mirror, and nobody of ours had asked for it"
            return Unavailable("vm.mirror-mark", subject=f"VM {name}", reason=reason, remedy="Pivot it.")
        free = os.statvfs(place.parent)
        free_bytes = free.f_bavail * free.f_frsize
        is_full = free_bytes < FULL_BYTES
        place.unlink(missing_ok=True)
        left = f"{mirror.target.domain} had {free_bytes} bytes left"
        reason = f"QEMU has ended the copy of its disk {mirror.disk} by itself; {left}"
        remedy = "Make room on the domain." if is_full else "Look into /var/log/libvirt/qemu, and at both domains."
        return Failed("disk.no-space" if is_full else "vm.mirror", subject=f"VM {name}", reason=reason, remedy=remedy)

    def _end_stray(self, name: str, disk: LiveDisk, job: BlockJob) -> None:
        """A mirror of an order that was given up; anything else is somebody's work."""
        if job.kind != "copy":
            reason = f"QEMU works on the chain of its disk {disk.label} ({job.kind})"
            raise Conflict("vm.mirror", subject=f"VM {name}", reason=reason, remedy="Wait for its end.")
        self._hypervisor.end_block_job(name, disk.label, pivot=False)

    # the steps of a pivot

    def _go_over(self, name: str, mirror: DiskMirror, disk: LiveDisk, place: Path) -> None:
        job = self._hypervisor.block_job(name, disk.label)
        if job is None or job.target != str(place) or not job.ready:
            self._go_on(name, mirror)
            reason = f"its disk {mirror.disk} is written to {Path(disk.path).name}, and no mirror of it is ready"
            raise Conflict("vm.mirror", subject=f"VM {name}", reason=reason, remedy="Mirror it again.")
        if self._power(name) == "running":
            self._hypervisor.pause(name)
        refused: TrivetError | None = None
        try:
            self._hypervisor.end_block_job(name, disk.label, pivot=True)
        except Failed as error:  # an answer; without one it may happen yet, and the VM must not run
            refused = error
        if self._disk(name, mirror).path != str(place):
            self._go_on(name, mirror)
            reason = f"it did not go over to its mirror: {refused.reason if refused else 'QEMU gives no reason'}"
            raise Conflict("vm.mirror", subject=f"VM {name}", reason=reason, remedy="Mirror it again.")

    def _go_on(self, name: str, mirror: DiskMirror) -> None:
        """It runs again, unless it stood still before us, or has stopped for a reason of its own."""
        if not mirror.stays_paused and self._power(name) == "paused":
            self._hypervisor.resume(name)

    def _power(self, name: str) -> str:
        found = self._hypervisor.domain(name)
        return found.power if found is not None else "off"

    def _written(self, name: str, mirror: DiskMirror, disk: LiveDisk) -> DiskFile:
        """The file that is written now, as ours."""
        driver, path = disk.element.find("driver"), Path(disk.path)
        if not disk.path or not path.is_relative_to(self._volumes):
            reason = f"its disk {mirror.disk} is {disk.path or 'empty'}, not a file on a domain"
            raise Conflict("vm.mirror", subject=f"VM {name}", reason=reason, remedy="Look at its disks.")
        domain, *inside = path.relative_to(self._volumes).parts
        kind = driver.get("type", "raw") if driver is not None else "raw"
        return DiskFile(domain, "/".join(inside), "qcow2" if kind == "qcow2" else "raw")

    def _disk(self, name: str, mirror: DiskMirror) -> LiveDisk:
        return need_disk(LiveDomain(self._hypervisor.domain_xml(name)), name, mirror.disk)
