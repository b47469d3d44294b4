"""Are the brick disks there, blank and large enough?"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.model.node import Disk
from installer.answers import Answers, NodeAnswers
from installer.preflight.brick_folders import BESIDE_DATA_GIB, GIB
from installer.preflight.problem import Problem
from installer.probe import View


def brick_disks(answers: Answers, view: View) -> Iterator[Problem]:
    """Of bare nodes only: on a member the disk holds the file system that this installation made."""
    needed_bytes = (answers.engine.data_disk_gib + BESIDE_DATA_GIB) * GIB
    for node, wanted in zip(view.nodes, answers.nodes, strict=True):
        if node.state == "bare" and node.facts and wanted.brick_disk:
            disk = next((disk for disk in node.facts.disks if _same(disk.name, wanted.brick_disk)), None)
            yield from _judge(wanted, disk, [disk.name for disk in node.facts.disks], needed_bytes)


def _same(name: str, device: str) -> bool:
    return name == device or f"/dev/{name}" == device


def _judge(wanted: NodeAnswers, disk: Disk | None, there: list[str], needed_bytes: int) -> Iterator[Problem]:
    if disk is None:
        yield Problem(
            "preflight.disk-missing",
            wanted.name,
            f"no disk {wanted.brick_disk} (there: {', '.join(there) or 'none'})",
            f"disk {wanted.brick_disk}",
            "Name the right disk in the answers.",
        )
        return
    if disk.holds:
        yield Problem(
            "preflight.disk-holds-data",
            wanted.name,
            f"{wanted.brick_disk} holds {disk.holds}",
            "a blank disk",
            f"Name another disk, or, if nothing on it is needed any more, run `wipefs -a {wanted.brick_disk}` there.",
        )
    if disk.size_bytes < needed_bytes:
        yield Problem(
            "preflight.brick-space",
            wanted.name,
            f"{wanted.brick_disk} has {disk.size_bytes / GIB:.1f} GiB",
            f"{needed_bytes // GIB} GiB",
            "Name a larger disk, or ask for a smaller data disk (engine.data_disk_gib).",
        )
