"""The volumes' mounts: units that come back after a reboot, and after all nodes rebooted in any order."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from appliance import layout
from appliance.effects.bounded import Bounded
from appliance.effects.files import PUBLIC, make_folders, write_if_different
from appliance.effects.root import Root
from appliance.errors import Refused, TrivetError
from appliance.ports import Processes
from appliance.tools import systemd

UNITS = "/etc/systemd/system"
PASS_THROUGH = 0o711
TOOL_TIMEOUT_S = 15.0
MOUNT_TIMEOUT_S = 50.0
"""The unit's own limit is 45 s, the route's 60 s."""
LOOK_TIMEOUT_S = 8.0
"""A volume stalls for 6 s when a node vanishes; a mount that hangs longer is not there."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Mounts:
    """Mount units of volumes below VOLUMES."""

    def __init__(self, root: Root, processes: Processes) -> None:
        self._root = root
        self._processes = processes
        self._looking = Bounded("a mounted volume", "volume")

    def mount(self, volume: str, servers: tuple[str, ...]) -> None:
        """Mount ``volume`` lastingly; a mount whose FUSE client has died is taken away and made anew. Raises ``Refused``
        (``volume.name``, ``volume.servers``), ``Failed`` (``process.failed``) when the volume cannot be mounted."""
        point = self.point(volume)
        if not servers or any(not re.fullmatch(r"[A-Za-z0-9.:-]+", server) for server in servers):
            raise Refused(
                "volume.servers",
                subject=f"volume {volume}",
                reason=f"{list(servers)} are no servers to mount from",
                remedy="Give the names of the pool's nodes.",
            )
        self.write_units(volume, systemd.gluster_mount(volume, point, servers), systemd.VOLUME_LOOK_S)
        if self._is_dead(point):
            # not umount: the agent's unit has a mount table of its own
            self._systemctl("stop", systemd.mount_unit_name(point))
        self.start(volume)

    def write_units(self, name: str, mount_unit: str, every_s: int) -> None:
        """The mount's unit of this content, and the service that looks every ``every_s`` whether it is mounted."""
        point = self.point(name)
        files = ((systemd.mount_unit_name(point), mount_unit), systemd.keep_mounted(name, point, every_s))
        changed = [write_if_different(self._root.at(UNITS) / file, content, PUBLIC) for file, content in files]
        if any(changed):
            self._systemctl("daemon-reload")

    def start(self, name: str) -> None:
        """Mount what has its units, and keep it mounted, also after a boot. Raises ``Failed`` ``process.failed``."""
        point = self.point(name)
        unit, keep = systemd.mount_unit_name(point), systemd.keep_name(name)
        self._make_point(point)
        self._systemctl("enable", unit, keep)
        self._systemctl("start", unit, timeout_s=MOUNT_TIMEOUT_S)
        self._systemctl("start", keep)

    def unmount(self, volume: str) -> None:
        """Unmount, now and for later boots. Not mounted: nothing."""
        unit = systemd.mount_unit_name(self.point(volume))
        if not (self._root.at(UNITS) / unit).exists():
            return
        self._systemctl("disable", "--now", systemd.keep_name(volume))
        self._systemctl("disable", "--now", unit, timeout_s=MOUNT_TIMEOUT_S)

    def point(self, volume: str) -> Path:
        """Where ``volume`` is mounted. Raises ``Refused`` (``volume.name``)."""
        if not _NAME.fullmatch(volume):
            raise Refused(
                "volume.name", subject=repr(volume), reason="it is no name of a volume", remedy="Use a-z, 0-9, - and _."
            )
        return layout.VOLUMES / volume

    def is_mounted(self, volume: str) -> bool:
        """Whether the volume is mounted and answers within 8 s."""
        place = self._root.at(self.point(volume))
        try:
            return self._looking(lambda: os.path.ismount(place), LOOK_TIMEOUT_S)
        except TrivetError:
            return False  # the answer: it does not answer

    def _make_point(self, point: Path) -> None:
        """QEMU, which is not root, passes through the folders above the mount; nobody else needs to list them."""
        for folder in (layout.STATE, layout.VOLUMES):
            make_folders(self._root.at(folder), PASS_THROUGH)
            self._root.at(folder).chmod(PASS_THROUGH)
        if not os.path.ismount(self._root.at(point)):
            make_folders(self._root.at(point), 0o755)

    def _is_dead(self, point: Path) -> bool:
        def look() -> bool:
            try:
                os.stat(self._root.at(point))  # noqa: PTH116 - the error number matters
            except OSError as error:
                return error.errno == errno.ENOTCONN
            return False

        return self._looking(look, LOOK_TIMEOUT_S)

    def _systemctl(self, *words: str, timeout_s: float = TOOL_TIMEOUT_S) -> None:
        self._processes.run(("systemctl", *words), timeout_s=timeout_s)
