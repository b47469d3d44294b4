"""Disks as files on mounted storage domains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DiskFormat = Literal["raw", "qcow2"]
Preallocation = Literal["off", "metadata", "falloc", "full"]
"""``off``: sparse; ``metadata``: qcow2's tables only; ``falloc``: room reserved; ``full``: zeros written."""


@dataclass(frozen=True)
class DiskFile:
    """A file on a mounted domain: ``path`` is relative to the domain's root. The format is always named and never guessed:
    a guest can write whatever it likes into a raw disk, a qcow2 header with a backing file of its choice, too."""

    domain: str
    path: str
    format: DiskFormat = "raw"


@dataclass(frozen=True)
class NewDisk:
    """A disk to be made. ``backing`` (qcow2 only, same domain) is what it lies over; ``size_bytes`` 0: as its backing."""

    file: DiskFile
    size_bytes: int
    preallocation: Preallocation = "off"
    backing: DiskFile | None = None


@dataclass(frozen=True)
class DiskCopy:
    """A copy of ``source`` as the guest sees it, its whole chain folded into one. With ``backing``, which must hold what is
    below ``source``, only the difference to it: so one layer of a chain moves."""

    source: DiskFile
    target: DiskFile
    preallocation: Preallocation = "off"
    backing: DiskFile | None = None


@dataclass(frozen=True)
class DiskBitmap:
    """What a qcow2 file remembers of what was written to it. ``is_recording``: it goes on; ``is_consistent`` False: its QEMU
    has it open, or ended without writing it."""

    name: str
    is_recording: bool = True
    is_consistent: bool = True

    @property
    def is_good(self) -> bool:
        """Whether all that was written is in it."""
        return self.is_recording and self.is_consistent


@dataclass(frozen=True)
class DiskInfo:
    """One file of a chain. ``actual_bytes`` is what it takes on its domain, ``backing`` the file below it.
    ``qcow_version`` is 2 or 3, and 0 of raw; ``dirty``, ``corrupt``: qcow2's own marks."""

    file: DiskFile
    virtual_bytes: int
    actual_bytes: int
    backing: DiskFile | None = None
    qcow_version: int = 0
    dirty: bool = False
    corrupt: bool = False
    merged: bool = False
    """All of it is in the layer below, and its VM writes there: it must not be used any more."""
    mirrored: bool = False
    """Its VM has gone over to it: it is newer than what it was mirrored from."""
    bitmaps: tuple[DiskBitmap, ...] = ()

    def bitmap(self, name: str) -> DiskBitmap | None:
        """The one with that name."""
        return next((one for one in self.bitmaps if one.name == name), None)


@dataclass(frozen=True)
class DiskMeasure:
    """What a copy would take: as it is now, and once every byte was written."""

    required_bytes: int
    full_bytes: int
