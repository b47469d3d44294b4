"""What to do with the data disk that was found. The rule above all others: never format what is not blank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NEW_LABEL = "trivet-new"
"""Label between formatting and the end of the first start. Nothing that matters has been written under this label."""
READY_LABEL = "trivet-data"
"""Label of a data disk whose first start is complete: from then on it is never formatted again."""
FILE_SYSTEM = "ext4"

FSCK_USABLE = (0, 1)
"""e2fsck's exit codes after which the file system may be mounted: 0 clean, 1 errors corrected (e2fsck(8))."""


@dataclass(frozen=True)
class DiskFacts:
    """What a look at the disk showed. ``signature`` is blkid's TYPE (or PTTYPE), empty when it found none."""

    size_bytes: int
    signature: str
    label: str
    edges_zero: bool
    """The first and the last MiB hold nothing but zeros."""


Action = Literal["format", "continue-first-start", "mount", "refuse"]


@dataclass(frozen=True)
class DiskPlan:
    """What to do, and the sentence that says why."""

    action: Action
    reason: str


def decide(disk: DiskFacts) -> DiskPlan:
    """The plan for a disk as found."""
    if disk.signature == FILE_SYSTEM and disk.label == READY_LABEL:
        return DiskPlan("mount", f"it is the engine's data disk (ext4, label {READY_LABEL})")
    if disk.signature == FILE_SYSTEM and disk.label == NEW_LABEL:
        return DiskPlan("continue-first-start", "its first start was interrupted before it was complete")
    if disk.signature:
        named = f" with label {disk.label!r}" if disk.label else ""
        return DiskPlan("refuse", f"it holds something else: {disk.signature}{named}")
    if not disk.edges_zero:
        return DiskPlan("refuse", "it has no known signature, but its first or last MiB is not empty")
    return DiskPlan("format", "it is blank: no signature, first and last MiB are zero")


def after_fsck(action: Action, status: int) -> DiskPlan:
    """What e2fsck's exit ``status`` changes about a plan to use the file system that is there."""
    if status in FSCK_USABLE:
        return DiskPlan(action, "its file system is sound" if status == 0 else "its file system was repaired")
    if action == "continue-first-start":
        return DiskPlan("format", f"its formatting was interrupted (e2fsck said {status}) and nothing had been stored yet")
    return DiskPlan("refuse", f"its file system is damaged beyond automatic repair (e2fsck said {status})")
