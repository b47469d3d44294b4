"""Find seed and data disk, and read what the data disk's superblock says of itself: both without a tool's help, because each
process costs an emulated CPU a tenth of a second."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from engine.layout import Guest

SUPERBLOCK_AT = 1024
MAGIC_AT, STATE_AT, LABEL_AT = 56, 58, 120
MAGIC = 0xEF53
VALID, ERROR = 1, 2
"""ext4's superblock (Documentation/filesystems/ext4/super.rst): s_magic, s_state, s_volume_name."""
LABEL_BYTES = 16


def find(guest: Guest, serial: str, link: Path) -> Path | None:
    """The disk: by udev's ``link``, or by its ``serial`` as the kernel shows it, which is there sooner."""
    if link.exists():
        return link
    for page in guest.at("/sys/block").glob("sd*/device/vpd_pg80"):
        try:
            found = page.read_bytes()[4:].decode("ascii", "replace").strip()
        except OSError:
            continue  # it is just being plugged in
        device = guest.at("/dev") / page.parts[-3]
        if found == serial and device.exists():
            return device
    return None


@dataclass(frozen=True)
class Superblock:
    """What an ext4 file system says of itself; of another kind of disk: nothing, unsound."""

    label: str
    sound: bool
    """It was left in order, or has a journal that the kernel replays: no error has been recorded."""


def superblock(device: Path) -> Superblock:
    """Read it."""
    with device.open("rb") as disk:
        disk.seek(SUPERBLOCK_AT)
        data = disk.read(SUPERBLOCK_AT)
    if len(data) < SUPERBLOCK_AT or struct.unpack_from("<H", data, MAGIC_AT)[0] != MAGIC:
        return Superblock("", False)
    state = struct.unpack_from("<H", data, STATE_AT)[0]
    label = data[LABEL_AT : LABEL_AT + LABEL_BYTES].rstrip(b"\0").decode("ascii", "replace")
    return Superblock(label, bool(state & VALID) and not state & ERROR)
