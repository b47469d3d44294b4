"""``lsblk``, ``wipefs`` and ``blkid``: argument lists and parsers. What a disk holds decides whether it may be formatted."""

from __future__ import annotations

import json
from typing import Any

from appliance.errors import Failed
from appliance.model.node import Disk

COLUMNS = "NAME,PATH,SIZE,MODEL,ROTA,TYPE,FSTYPE,PTTYPE,MOUNTPOINTS"
ALL = ("lsblk", "--json", "--bytes", "--output", COLUMNS)

_SHOWN_TYPES = ("disk",)
_NOT_DISKS = ("zram", "fd", "nbd")


def one(device: str) -> tuple[str, ...]:
    """The argv that shows ``device`` and what is on it."""
    return (*ALL, device)


def signatures_argv(device: str) -> tuple[str, ...]:
    """The argv that lists every known signature on ``device``, changing nothing."""
    return ("wipefs", "--no-act", "--json", device)


def uuid_argv(device: str) -> tuple[str, ...]:
    """The argv that prints the file system's UUID, read from the device itself and not from a cache."""
    return ("blkid", "--probe", "--match-tag", "UUID", "--output", "value", device)


def make_xfs(device: str) -> tuple[str, ...]:
    """Format for a brick: inodes of 512 bytes hold Gluster's extended attributes inline. Never with -f: mkfs refuses too."""
    return ("mkfs.xfs", "-i", "size=512", "-L", "trivet-brick", device)


def disks(text: str) -> tuple[Disk, ...]:
    """Parse the output of :data:`ALL`: whole disks, with what they hold in words."""
    return tuple(_disk(entry) for entry in entries(text) if entry.get("type") in _SHOWN_TYPES and _is_disk(entry))


def entries(text: str) -> list[dict[str, Any]]:
    """The devices of an lsblk answer. Raises ``Failed`` (``tool.output``)."""
    try:
        data = json.loads(text) if text.strip() else {}
        found = data.get("blockdevices", [])
    except (ValueError, AttributeError) as error:
        raise Failed(
            "tool.output", subject="lsblk", reason=f"it did not write JSON ({error})", remedy="Run it by hand."
        ) from error
    return list(found)


def signatures(text: str) -> tuple[str, ...]:
    """The signatures in an answer of wipefs, e.g. ("xfs", "gpt"); empty for none."""
    if not text.strip():
        return ()
    try:
        return tuple(str(entry.get("type", "unknown")) for entry in json.loads(text).get("signatures", []))
    except (ValueError, AttributeError) as error:
        raise Failed(
            "tool.output", subject="wipefs", reason=f"it did not write JSON ({error})", remedy="Run it by hand."
        ) from error


def holds(entry: dict[str, Any]) -> str:
    """What a device holds, in words; empty when nothing is known to be on it."""
    mounted = [point for point in entry.get("mountpoints") or [] if point]
    if mounted:
        return f"mounted at {mounted[0]}"
    below = [found for child in entry.get("children") or [] if (found := holds(child))]
    if below and below[0].startswith("mounted"):
        return below[0]
    if entry.get("pttype"):
        return f"partition table {entry['pttype']}"
    if entry.get("fstype"):
        return str(entry["fstype"])
    return below[0] if below else ("partitions" if entry.get("children") else "")


def _is_disk(entry: dict[str, Any]) -> bool:
    return int(entry.get("size") or 0) > 0 and not str(entry.get("name", "")).startswith(_NOT_DISKS)


def _disk(entry: dict[str, Any]) -> Disk:
    return Disk(
        name=str(entry["name"]),
        size_bytes=int(entry.get("size") or 0),
        model=str(entry.get("model") or "").strip(),
        rotational=bool(entry.get("rota")),
        holds=holds(entry),
    )
