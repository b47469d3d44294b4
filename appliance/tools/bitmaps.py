"""What the layers of a disk remember of what was written since a checkpoint. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.errors import Conflict
from appliance.model.disk import DiskFile, DiskInfo


def layers_with(chain: tuple[DiskInfo, ...], name: str) -> list[DiskFile]:
    """The layers, the uppermost first, in which is remembered what was written since ``name``. What was written to a layer
    that was put over a disk after that is remembered there. Raises ``Conflict`` (``disk.bitmap-lost``)."""
    found = []
    for one in chain:
        held = one.bitmap(name)
        if held is None:
            break
        if not held.is_good:
            raise lost(one.file, f"what {name} remembers was not written when its QEMU ended")
        found.append(one.file)
    if not found:
        raise lost(chain[0].file, f"it has no {name}")
    return found


def lost(file: DiskFile, why: str) -> Conflict:
    """Nobody knows what was written since a checkpoint."""
    return Conflict(
        "disk.bitmap-lost",
        subject=f"disk {file.path} on {file.domain}",
        reason=f"nobody knows what was written since that checkpoint: {why}",
        remedy="Make a full backup.",
    )


@dataclass(frozen=True)
class Carry:
    """What ``layers``, which are folded into a base, remember under ``name`` is remembered by the base from then on.
    ``is_new``: it did not remember any of it until now."""

    name: str
    layers: tuple[DiskFile, ...]
    is_new: bool


def carried(above: Sequence[DiskInfo], base: DiskInfo) -> list[Carry]:
    """What goes along when the layers ``above``, the uppermost first, are folded into ``base``. What is remembered in a part
    of them only, or was not written, is lost: then it must not be there at all."""
    if base.file.format != "qcow2" or not above:
        return []
    found = []
    for one in above[0].bitmaps:
        with_it = [layer.bitmap(one.name) for layer in above]
        below = base.bitmap(one.name)
        depth = next((depth for depth, held in enumerate(with_it) if held is None), len(with_it))
        is_whole = below is None or depth == len(with_it)  # else the base's is of another time
        if is_whole and all(held.is_good for held in (*with_it[:depth], below) if held is not None):
            found.append(Carry(one.name, tuple(layer.file for layer in above[:depth]), below is None))
    return found
