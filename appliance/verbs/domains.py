"""Storage domains of this node: mounted lastingly, marked, and how much room they have."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from appliance import layout
from appliance.codec import decode, encode
from appliance.effects.files import PUBLIC, make_folders, sync_folder, write_atomically
from appliance.effects.root import Root
from appliance.errors import Conflict, Refused, TrivetError
from appliance.model.domain import MARK, DomainMark, DomainState
from appliance.ports import Processes
from appliance.tools import systemd
from appliance.verbs.mounts import Mounts
from appliance.verbs.volume_files import VolumeFiles

_WORD = re.compile(r"[^\s\x00-\x1f\x7f\"'\\]+")
_TYPE = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


class Domains:
    """Domains that are no Gluster volume are mounted here; those are :class:`Mounts`'s. All of them are marked here."""

    def __init__(self, root: Root, processes: Processes, mounts: Mounts, files: VolumeFiles) -> None:
        self._root = root
        self._processes = processes
        self._mounts = mounts
        self._files = files

    def mount_posix(self, domain: str, device: str, file_system: str, options: str) -> None:
        """Mount ``device``, a file system of any kind, as ``mount -t FILE_SYSTEM -o OPTIONS`` would. Raises ``Refused``
        (``volume.name``, ``domain.mount``), ``Failed`` (``process.failed``)."""
        if not _WORD.fullmatch(device) or not _TYPE.fullmatch(file_system) or (options and not _WORD.fullmatch(options)):
            reason = f"{device!r}, {file_system!r}, {options!r} cannot be mounted: no spaces, quotes or backslashes"
            raise Refused("domain.mount", subject=f"domain {domain}", reason=reason, remedy="Correct path and options.")
        self._mount(domain, systemd.MountSource(device, file_system, options))

    def mount_local(self, domain: str, folder: str) -> None:
        """Show ``folder`` of this node as a domain; it is made when missing. Raises as :meth:`mount_posix`."""
        path = Path(folder)
        inside = path.is_relative_to(layout.VOLUMES) or layout.VOLUMES.is_relative_to(path)
        if not path.is_absolute() or not _WORD.fullmatch(folder) or ".." in path.parts or inside:
            reason = f"{folder!r} is no folder that can be a domain"
            raise Refused("domain.mount", subject=f"domain {domain}", reason=reason, remedy="Give one of its own.")
        make_folders(self._root.at(path), 0o755)
        self._mount(domain, systemd.MountSource(folder, "none", "bind"))

    def unmount(self, domain: str) -> None:
        """Unmount, now and for later boots. Not mounted: nothing."""
        self._mounts.unmount(domain)

    def mark(self, domain: str, mark: DomainMark) -> None:
        """Say whose it is. Raises ``Conflict`` (``domain.foreign``: it bears another mark; ``volume.not-mounted``)."""
        held = self._read_mark(domain)
        if held is not None and held.id != mark.id:
            raise Conflict(
                "domain.foreign",
                subject=f"domain {domain}",
                reason=f"it is marked as domain {held.name} ({held.id})",
                remedy="Import that one, or use an empty place.",
            )
        if held != mark:
            text = json.dumps(encode(mark), indent=2) + "\n"
            self._files.at(domain, MARK, lambda place: write_atomically(place, text, PUBLIC))

    def unmark(self, domain: str, domain_id: str) -> None:
        """Take the mark away. None there: nothing. Raises ``Conflict`` (``domain.foreign``)."""
        held = self._read_mark(domain)
        if held is None:
            return
        self.mark(domain, DomainMark(domain_id, held.name, held.kind))  # refuses a foreign one

        def remove(place: Path) -> None:
            place.unlink(missing_ok=True)
            sync_folder(place.parent)

        self._files.at(domain, MARK, remove)

    def states(self) -> tuple[DomainState, ...]:
        """All that have a mount point here, sorted. One that hangs is told as such and holds up nobody for longer than its
        deadline."""
        folder = self._root.at(layout.VOLUMES)
        names = sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208 - without touching what is mounted
        return tuple(self.state(name) for name in names)

    def state(self, domain: str) -> DomainState:
        """One. Raises ``Refused`` (``volume.name``)."""
        self._mounts.point(domain)
        try:
            room = self._files.at(domain, ".", os.statvfs)
            mark = self._read_mark(domain)
        except TrivetError as error:
            return DomainState(domain, error.code != "volume.not-mounted", answers=False)
        return DomainState(domain, True, True, room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize, mark)

    def _read_mark(self, domain: str) -> DomainMark | None:
        def read(place: Path) -> str:
            return place.read_text() if place.exists() else ""

        text = self._files.at(domain, MARK, read)
        if not text:
            return None
        try:
            return decode(DomainMark, json.loads(text), subject=f"{MARK} of domain {domain}", ignore_unknown=True)
        except ValueError as error:
            reason = f"its mark {MARK} is damaged ({error})"
            raise Conflict("domain.foreign", subject=f"domain {domain}", reason=reason, remedy="Repair it.") from error

    def _mount(self, domain: str, source: systemd.MountSource) -> None:
        unit = systemd.domain_mount(domain, self._mounts.point(domain), source)
        self._mounts.write_units(domain, unit, systemd.DOMAIN_LOOK_S)
        self._mounts.start(domain)
