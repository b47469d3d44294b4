"""Disks and what lies below them: each file of a chain looked at on its own, so that no header leads out of its domain."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import cast

from appliance.effects import disk_bytes, disk_locks
from appliance.effects.process import Completed
from appliance.errors import Conflict, Failed, Refused, TrivetError
from appliance.model.disk import DiskFile, DiskFormat, DiskInfo, DiskMeasure
from appliance.ports import Processes
from appliance.tools import qemu_img
from appliance.verbs.volume_files import VolumeFiles

LOOK_TIMEOUT_S = 20.0
"""Looking takes 10 ms; a vanished node stalls a volume for 6 s, and a header and its tables are several reads."""
CHAIN_LIMIT = 128
"""More layers than any disk has (oVirt stops at 26 snapshots); a chain that bites its own tail ends here."""

_LOCKED = ('Failed to get "write" lock', 'Failed to get shared "write" lock', "Failed to lock byte")


class Chains:
    """Looks at disks on mounted domains; changes nothing."""

    def __init__(self, files: VolumeFiles, processes: Processes) -> None:
        self._files = files
        self._processes = processes

    def place(self, file: DiskFile) -> Path:
        """Where it is or would be. Raises ``Conflict`` (``volume.not-mounted``), ``Refused`` (``file.path``)."""
        return self._files.at(file.domain, file.path, lambda place: place)

    def require(self, file: DiskFile) -> Path:
        """Where it is. Raises ``NotFound`` (``file.unknown``) as well."""

        def look(place: Path) -> Path:
            place.stat()
            return place

        return self._files.at(file.domain, file.path, look)

    def look(self, file: DiskFile) -> DiskInfo:
        """One file. Raises ``NotFound`` (``file.unknown``), ``Refused`` (``disk.backing``), ``Failed`` (``disk.failed``)."""
        place = self.require(file)
        done = self._processes.run(qemu_img.info_argv(place, file.format), timeout_s=LOOK_TIMEOUT_S, ok=None)
        if done.status != 0:
            raise coded(done, file)
        found = qemu_img.parse_info(done.stdout)
        if found.data_file:
            raise _foreign(file, f"its data is in another file, {found.data_file}")
        merged, mirrored = self._files.at(file.domain, file.path, disk_bytes.marks)
        return DiskInfo(
            file=file,
            virtual_bytes=found.virtual_bytes,
            actual_bytes=found.actual_bytes,
            backing=self._below(file, found),
            qcow_version=found.qcow_version,
            dirty=found.dirty,
            corrupt=found.corrupt,
            merged=merged,
            bitmaps=found.bitmaps,
            mirrored=mirrored,
        )

    def chain(self, file: DiskFile) -> tuple[DiskInfo, ...]:
        """The file and all below it, the base last. Raises what :meth:`look` raises, ``Refused`` (``disk.chain``)."""
        found = [self.look(file)]
        while (below := found[-1].backing) is not None:
            if len(found) >= CHAIN_LIMIT:
                raise Refused(
                    "disk.chain", subject=named(file), reason=f"it has more than {CHAIN_LIMIT} layers", remedy="Merge some."
                )
            found.append(self.look(below))
        return tuple(found)

    def measure(self, file: DiskFile, target: DiskFormat) -> DiskMeasure:
        """What a copy of its whole chain in that format takes."""
        self.chain(file)
        argv = qemu_img.measure_argv((self.require(file), file.format), target)
        done = self._processes.run(argv, timeout_s=LOOK_TIMEOUT_S, ok=None)
        if done.status != 0:
            raise coded(done, file)
        return qemu_img.parse_measure(done.stdout)

    def refuse_in_use(self, file: DiskFile) -> None:
        """Raise ``Conflict`` (``disk.locked``) if a QEMU on some node reads or writes it."""
        if self._files.at(file.domain, file.path, disk_locks.in_use):
            raise _locked(file, "its bytes are locked")

    def relative(self, file: DiskFile, backing: DiskFile) -> tuple[str, DiskFormat]:
        """How ``file`` names what lies below it: relative to itself, so that it holds wherever the domain is mounted."""
        if file.format != "qcow2" or file.domain != backing.domain:
            reason = "only a qcow2 disk can lie over another one, and only over one of its own domain"
            raise Refused("disk.backing", subject=named(file), reason=reason, remedy="Copy what is below, too.")
        return posixpath.relpath(backing.path, posixpath.dirname(file.path) or "."), backing.format

    def _below(self, file: DiskFile, found: qemu_img.ImageInfo) -> DiskFile | None:
        if not found.backing:
            return None
        if found.backing.startswith("/") or ":" in found.backing.split("/")[0]:
            raise _foreign(file, f"its backing file is {found.backing!r}; only a name relative to it can be checked")
        if found.backing_format not in ("raw", "qcow2"):
            raise _foreign(file, f"the format of its backing file is {found.backing_format or 'not said'}")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file.path), found.backing))
        if path.startswith("../"):
            raise _foreign(file, f"its backing file {found.backing!r} is outside of its domain")
        return DiskFile(file.domain, path, cast(DiskFormat, found.backing_format))


def named(file: DiskFile) -> str:
    """How errors call it."""
    return f"disk {file.path} on {file.domain}"


def need_made_by(task: str, place: Path, file: DiskFile) -> None:
    """``file`` is there, at ``place``: this very task has made it. Raises ``Conflict`` (``disk.exists``): another one."""
    if disk_bytes.made_by(place) != task:
        reason = "there is a file of that name that this task did not make"
        raise Conflict("disk.exists", subject=named(file), reason=reason, remedy="Use another name, or remove it.")


def coded(done: Completed, file: DiskFile) -> TrivetError:
    """What a qemu-img that failed means."""
    return of_words(done.stderr.strip() or done.stdout.strip(), file)


def of_words(said: str, file: DiskFile) -> TrivetError:
    """What the last words of a qemu-img mean."""
    if any(words in said for words in _LOCKED):
        return _locked(file, said[-300:])
    if "No space left" in said:
        return Failed("disk.no-space", subject=named(file), reason=said[-300:], remedy="Make room on the domain.")
    said = said[-600:] or "qemu-img said nothing"
    return Failed("disk.failed", subject=named(file), reason=said, remedy="`qemu-img check` and the domain say more.")


def _locked(file: DiskFile, seen: str) -> Conflict:
    return Conflict(
        "disk.locked",
        subject=named(file),
        reason=f"a QEMU has it open: {seen}",
        remedy="Shut the VM down first, or ask the node where it runs.",
    )


def _foreign(file: DiskFile, reason: str) -> Refused:
    return Refused(
        "disk.backing", subject=named(file), reason=reason, remedy="Fold it into one file where it came from, then bring it."
    )
