"""What the layers of a disk remember of what was written since a checkpoint. Pure."""

from __future__ import annotations

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
