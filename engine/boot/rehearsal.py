"""What standby does before its memory is saved: let the kernel and the file cache have all that going active will need."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.codec import encode
from appliance.model.cluster import Cluster, EngineVm
from appliance.model.engine_start import EngineStart
from appliance.ports import Processes
from engine.boot import disks
from engine.boot.data import TOOL_TIMEOUT_S, Log
from engine.layout import Guest, write_private

READY: Final = "TRIVET-STANDBY ready"
"""The line on the console for which whoever saves the memory waits; :mod:`ha_broker.warm` knows it, too."""
FAILED: Final = "TRIVET-STANDBY failed"
MODULES: Final = ("sd_mod", "isofs", "ext4", "jbd2", "crc32c_generic")
IMAGE_BYTES: Final = 16 * 1024 * 1024
"""The smallest on which mkfs.ext4 makes a journal."""
UDEV_HOLD: Final = ("udevadm", "control", "--stop-exec-queue")
UDEV_GO_ON: Final = ("udevadm", "control", "--start-exec-queue")
"""udev's rules for two disks cost an emulated CPU as much as opening the database. The kernel's own device nodes are there
without them, so in a wake udev waits until the engine answers (:func:`engine.boot.activate.start_later`)."""
BOOT_OVER: Final = {"running": True, "degraded": False}
"""systemctl is-system-running's words once the boot is over, and whether all units are well."""


def throw_away(root: Path) -> Guest:
    """A guest of nobody below ``root``: with it the programs do once, in standby, what they will do when they go active."""
    guest = Guest(root)
    vm = EngineVm("", "standby", "127.0.0.1", 8, "", (), "", 0, 0, 0)
    write_private(guest.cluster, json.dumps(encode(Cluster("", "standby", (), vm))))
    write_private(guest.start_file, json.dumps(encode(EngineStart(1, "standby", "127.0.0.1", 8, "", (), "standby", ()))))
    write_private(guest.start_id, "standby\n")
    write_private(guest.ca, "")
    guest.database.parent.mkdir(parents=True, exist_ok=True)
    return guest


def rehearse(guest: Guest, processes: Processes, record: Callable[[Guest], object], log: Log) -> bool:
    """Once the boot is over: use what going active will use on throw-away files (``record`` on a throw-away guest), then say
    on the console that the memory may be saved. False: the boot is still going on."""
    state = processes.run(["systemctl", "is-system-running"], timeout_s=TOOL_TIMEOUT_S, ok=None).stdout.strip()
    if state not in BOOT_OVER:
        return False
    if not BOOT_OVER[state]:
        failed = processes.run(["systemctl", "list-units", "--failed", "--plain", "--no-legend"], timeout_s=TOOL_TIMEOUT_S)
        log(f"{FAILED}: {', '.join(line.split()[0] for line in failed.stdout.splitlines() if line.strip())}")
        return True
    processes.run(["modprobe", "--all", "--quiet", *MODULES], timeout_s=TOOL_TIMEOUT_S, ok=None)
    guest.run.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rehearsal-", dir=guest.run) as name:
        image = Path(name) / "image"
        with image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        for argv in (
            ["mkfs.ext4", "-q", "-F", str(image)],
            ["blkid", "-p", "-o", "export", str(image)],
            ["e2fsck", "-p", str(image)],
        ):
            processes.run(argv, timeout_s=TOOL_TIMEOUT_S, ok=None)
        record(throw_away(Path(name) / "guest"))
        disks.superblock(image)
    processes.run(["sync"], timeout_s=TOOL_TIMEOUT_S)
    processes.run(UDEV_HOLD, timeout_s=TOOL_TIMEOUT_S, ok=None)
    log(READY)
    return True
