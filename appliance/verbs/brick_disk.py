"""A whole disk for bricks: formatted only when nothing at all is on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.effects.files import PUBLIC, write_if_different
from appliance.effects.root import Root
from appliance.errors import Conflict, NotFound, Refused
from appliance.ports import Processes
from appliance.tools import lsblk, systemd

TOOL_TIMEOUT_S = 15.0
FORMAT_TIMEOUT_S = 100.0
"""mkfs.xfs writes a few MiB, but first discards the whole disk: slow SSDs take a minute."""
LOOKED_AT_BYTES = 1024 * 1024
"""Signatures that wipefs does not know (a database on a raw disk) still make the first MiB differ from zero."""


class BrickDisk:
    """Prepares brick disks through ``processes``."""

    def __init__(self, root: Root, processes: Processes) -> None:
        self._root = root
        self._processes = processes

    def prepare(self, device: str, mount_point: str) -> None:
        """Format ``device`` if it is blank and mount it lastingly. Mounted there already: nothing.

        Raises ``Refused`` (``disk.path``), ``NotFound`` (``disk.unknown``), ``Conflict`` (``disk.holds-data``).
        """
        if not device.startswith("/dev/") or not mount_point.startswith("/") or mount_point in ("/", "/var", "/usr", "/etc"):
            raise Refused(
                "disk.path",
                subject=f"{device} at {mount_point}",
                reason="needed are a device below /dev and a folder of its own",
                remedy="For example /dev/sdb and /data.",
            )
        entry = self._entry(device)
        points = [point for point in entry.get("mountpoints") or [] if point]
        if points == [mount_point]:
            return
        if not self._is_ours(device):
            self._refuse_data(device, lsblk.holds(entry))
            self._processes.run(lsblk.make_xfs(device), timeout_s=FORMAT_TIMEOUT_S)
        self._mount(device, mount_point)

    def _entry(self, device: str) -> dict[str, Any]:
        completed = self._processes.run(lsblk.one(device), timeout_s=TOOL_TIMEOUT_S, ok=None)
        found = lsblk.entries(completed.stdout) if completed.status == 0 else []
        if not found:
            raise NotFound(
                "disk.unknown",
                subject=device,
                reason="there is no such block device",
                remedy="`trivet node facts` lists this node's disks.",
            )
        return found[0]

    def _is_ours(self, device: str) -> bool:
        """Formatted by an earlier, interrupted call: XFS with our label."""
        argv = ("blkid", "--probe", "--output", "export", device)
        said = self._processes.run(argv, timeout_s=TOOL_TIMEOUT_S, ok=(0, 2)).stdout.splitlines()
        return "LABEL=trivet-brick" in said and "TYPE=xfs" in said

    def _refuse_data(self, device: str, holds: str) -> None:
        said = self._processes.run(lsblk.signatures_argv(device), timeout_s=TOOL_TIMEOUT_S).stdout
        found = holds or ", ".join(lsblk.signatures(said))
        if not found:
            with self._root.at(device).open("rb") as disk:
                found = "unknown data in its first MiB" if any(disk.read(LOOKED_AT_BYTES)) else ""
        if found:
            raise Conflict(
                "disk.holds-data",
                subject=device,
                reason=f"it holds {found}; only a blank disk is formatted",
                remedy=f"Choose another disk. May its data go for ever: `wipefs --all {device}`, then zero its first MiB.",
                facts={"holds": found},
            )

    def _mount(self, device: str, mount_point: str) -> None:
        uuid = self._processes.run(lsblk.uuid_argv(device), timeout_s=TOOL_TIMEOUT_S).stdout.strip()
        unit = systemd.mount_unit_name(mount_point)
        content = systemd.brick_mount(uuid, Path(mount_point))
        write_if_different(self._root.at("/etc/systemd/system") / unit, content, PUBLIC)
        self._processes.run(("systemctl", "daemon-reload"), timeout_s=TOOL_TIMEOUT_S)
        self._processes.run(("systemctl", "enable", "--now", unit), timeout_s=TOOL_TIMEOUT_S)
