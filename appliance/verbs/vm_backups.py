"""Backups of running VMs: QEMU itself serves its disks, as they were at one moment, over NBD at a Unix socket.

A backup is recorded (below /run, so for this boot, as its QEMU is) before it begins, and the record goes last: what a crash
of the agent leaves half made is known, and ending it is the same as ever. libvirt forgets checkpoints after each call: a VM
may be on another node by the next.
"""

from __future__ import annotations

import grp
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance import layout
from appliance.codec import decode, encode
from appliance.effects.files import PRIVATE, make_folders, write_atomically
from appliance.effects.root import Root
from appliance.errors import Conflict, Failed, NotFound, Refused, Unavailable
from appliance.model.vm_backup import BackupDisk, VmBackup, VmBackupState
from appliance.ports import Clock, Hypervisor, Processes
from appliance.tools import qemu_img
from appliance.tools.backup_xml import Served, backup_xml, checkpoint_xml, socket_of
from appliance.tools.live_xml import LiveDisk, LiveDomain
from appliance.tools.qemu_nbd import GROUP
from appliance.uuids import UUID
from appliance.verbs.chains import Chains, coded
from appliance.verbs.disks import DISK_MODE, leave_no_empty_folder
from appliance.verbs.live import need_disk, quiesced

SCRATCH_TIMEOUT_S = 30.0
"""An empty file of 200 KiB; stalls of the volume make it long."""
END_S = 30.0
"""Breaking off took 30 ms; QEMU first finishes what is being read, and a stalled volume holds that up."""
LOOK_EVERY_S = 0.1
SOCKET_MODE = 0o660


@dataclass(frozen=True)
class _Record:
    vm: str


class VmBackups:
    """Verbs over running VMs. ``nbd`` is where the sockets are; ``group`` may use them: the daemon's (by default), which
    serves clients."""

    def __init__(
        self,
        root: Root,
        hypervisor: Hypervisor,
        processes: Processes,
        clock: Clock,
        chains: Chains,
        *,
        owner: int = layout.QEMU_UID,
        group: int | None = None,
        nbd: Path = layout.NBD_RUN,
    ) -> None:
        self._records = root.at(layout.VM_BACKUPS)
        self._hypervisor = hypervisor
        self._processes = processes
        self._clock = clock
        self._chains = chains
        self._owner = owner
        self._group = group
        self._nbd = nbd

    def states(self) -> tuple[VmBackupState, ...]:
        """All that were begun and not ended."""
        names = sorted(path.stem for path in self._records.glob("[!.]*.json")) if self._records.is_dir() else []
        found = [(one, record) for one in names if (record := self._record(one)) is not None]
        return tuple(VmBackupState(one, record.vm, self._runs(record.vm) == one) for one, record in found)

    def begin(self, name: str, backup: VmBackup) -> VmBackupState:
        """All its disks at one moment. Asked again: nothing. If it cannot be, nothing of it is left (the checkpoint may be).
        Raises ``NotFound`` (``vm.unknown``, ``vm.disk-unknown``), ``Refused`` (``vm.backup``), ``Conflict``
        (``vm.backup-other``, ``vm.backup-disk``, ``vm.checkpoint-lost``, ``vm.no-agent``), ``Failed`` (``vm.backup``)."""
        self._refuse(name, backup)
        goes_on = self._runs(name)
        if goes_on == backup.id:
            return VmBackupState(backup.id, name, is_running=True)
        if goes_on:
            reason = f"backup {goes_on} of it goes on, and QEMU makes one at a time"
            raise Conflict("vm.backup-other", subject=f"VM {name}", reason=reason, remedy="End that one first.")
        domain = LiveDomain(self._hypervisor.domain_xml(name))
        disks = {one.disk: self._disk(domain, name, one) for one in backup.disks}
        make_folders(self._records, 0o700)
        write_atomically(self._place(backup.id), json.dumps(encode(_Record(name))), PRIVATE)
        try:
            self._serve(name, backup, domain, disks)
        except Unavailable:
            raise  # it may begin yet: it stays recorded until it is ended
        except BaseException:
            self.end(name, backup.id)
            for place in [self._chains.place(one.scratch) for one in backup.disks]:
                place.unlink(missing_ok=True)
                leave_no_empty_folder(place.parent)
            raise
        return VmBackupState(backup.id, name, is_running=True)

    def end(self, name: str, backup: str) -> None:
        """Serve it no more; the scratch files stay. Not there, or no such VM any more: nothing. Raises ``Failed``
        (``vm.backup``)."""
        if self._runs(name) == backup:
            self._hypervisor.end_backup(name)
            end_s = self._clock.monotonic_s() + END_S
            while self._runs(name) == backup:
                if self._clock.monotonic_s() > end_s:
                    reason = f"QEMU has not ended it within {END_S:g} s"
                    raise Failed("vm.backup", subject=f"VM {name}", reason=reason, remedy="Try again.")
                self._clock.sleep(LOOK_EVERY_S)
        shutil.rmtree(self._folder(backup), ignore_errors=True)  # it is below /run: nothing but our socket
        self._place(backup).unlink(missing_ok=True)

    def drop_checkpoint(self, name: str, checkpoint: str, disks: tuple[str, ...]) -> None:
        """Its bitmaps go, also broken ones; not there: nothing. Raises ``NotFound`` (``vm.unknown``), ``Failed``
        (``vm.backup``)."""
        domain = LiveDomain(self._hypervisor.domain_xml(name))
        for label in [found.label for one in disks if (found := domain.disk(one)) is not None]:
            self._hypervisor.forget_checkpoints(name)
            known = self._checkpoint(domain, checkpoint, [label], is_known=True)
            self._hypervisor.define_checkpoint(name, known, is_checked=False)
            self._hypervisor.drop_checkpoint(name, checkpoint)

    # the steps

    def _refuse(self, name: str, backup: VmBackup) -> None:
        reason = ""
        if not UUID.fullmatch(backup.id):
            reason = "the backup's id is no UUID"
        elif not backup.disks or len({one.disk for one in backup.disks}) < len(backup.disks):
            reason = "its disks have to be named, each once"
        elif any(one.in_checkpoint and one.file.format != "qcow2" for one in backup.disks):
            reason = "only a qcow2 disk can be in a checkpoint"
        elif any(one.is_incremental for one in backup.disks) != bool(backup.since):
            reason = "an incremental backup needs an earlier checkpoint, and a full one has none"
        if reason:
            raise Refused("vm.backup", subject=f"VM {name}", reason=reason, remedy="Ask for another backup.")

    def _disk(self, domain: LiveDomain, name: str, one: BackupDisk) -> LiveDisk:
        found = need_disk(domain, name, one.disk)
        if found.path != str(self._chains.place(one.file)):
            reason = f"its disk {one.disk} is written to {found.path or 'nothing'}, not to {one.file.path}"
            raise Conflict("vm.backup-disk", subject=f"VM {name}", reason=reason, remedy="Look at its snapshots.")
        return found

    def _serve(self, name: str, backup: VmBackup, domain: LiveDomain, disks: Mapping[str, LiveDisk]) -> None:
        served = []
        for one in backup.disks:
            scratch = self._scratch(one)
            since = backup.since if one.is_incremental else ""
            served.append(Served(disks[one.disk].label, one.disk, scratch, since))
        socket = self._socket(backup.id)
        self._hypervisor.forget_checkpoints(name)
        if backup.since:
            known = self._checkpoint(domain, backup.since, [one.label for one in served if one.since], is_known=True)
            self._hypervisor.define_checkpoint(name, known, is_checked=True)
        marked = [disks[one.disk].label for one in backup.disks if one.in_checkpoint]
        checkpoint = self._checkpoint(domain, backup.checkpoint, marked) if backup.checkpoint and marked else ""
        xml = backup_xml(socket, served)
        quiesced(backup.quiesce, lambda frozen: self._hypervisor.begin_backup(name, xml, checkpoint, quiesce=frozen))
        os.chown(socket, -1, self._gid())
        socket.chmod(SOCKET_MODE)
        self._hypervisor.forget_checkpoints(name)

    @staticmethod
    def _checkpoint(domain: LiveDomain, name: str, labels: list[str], *, is_known: bool = False) -> str:
        others = [one for one in domain.labels() if one not in labels]
        return checkpoint_xml(name, labels, others, is_known=is_known)

    def _scratch(self, one: BackupDisk) -> Path:
        """An empty file as large as the disk, QEMU's (libvirt would make it root's)."""
        place = self._chains.place(one.scratch)
        make_folders(place.parent, 0o755)
        place.unlink(missing_ok=True)  # of an earlier try: nobody reads it
        size = self._chains.look(one.file).virtual_bytes
        done = self._processes.run(
            qemu_img.create_argv(place, "qcow2", size, "off", None), timeout_s=SCRATCH_TIMEOUT_S, ok=None
        )
        if done.status != 0:
            raise coded(done, one.scratch)
        os.chown(place, self._owner, self._owner)
        place.chmod(DISK_MODE)
        return place

    def _socket(self, backup: str) -> Path:
        """Where QEMU is to listen: a folder that it may write to and the daemon may enter."""
        folder = self._folder(backup)
        shutil.rmtree(folder, ignore_errors=True)
        make_folders(folder, 0o755)
        os.chown(folder, self._owner, self._gid())
        folder.chmod(0o750)
        return folder / "socket"

    def _gid(self) -> int:
        return grp.getgrnam(GROUP).gr_gid if self._group is None else self._group

    # what there is

    def _runs(self, name: str) -> str:
        """The id of the VM's backup that goes on; empty: none, or there is no such VM any more."""
        try:
            xml = self._hypervisor.backup(name)
        except NotFound:
            return ""
        return "" if xml is None else Path(socket_of(xml)).parent.name

    def _folder(self, backup: str) -> Path:
        return self._nbd / backup

    def _place(self, backup: str) -> Path:
        return self._records / f"{backup}.json"

    def _record(self, backup: str) -> _Record | None:
        if not UUID.fullmatch(backup):
            return None
        try:
            text = self._place(backup).read_text()
        except FileNotFoundError:
            return None
        return decode(_Record, json.loads(text), subject=str(self._place(backup)), ignore_unknown=True)
