"""Can the brick folders take bricks?"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.model.node import FolderFacts
from gluster.plan import unfit
from installer.answers import Answers
from installer.preflight.problem import Problem
from installer.probe import View

GIB = 1024**3
BESIDE_DATA_GIB = 1  # because seed, board, Gluster's own indices and log files lie beside the data disk


def brick_folders(answers: Answers, view: View) -> Iterator[Problem]:
    """Of bare nodes only: on a member the folder holds the bricks that this installation made."""
    needed_gib = answers.engine.data_disk_gib + BESIDE_DATA_GIB
    for node in view.nodes:
        if node.folder is not None:
            yield from _judge(node.name, node.folder, needed_gib, answers.cluster.allow_root_brick)


def _judge(node: str, folder: FolderFacts, needed_gib: int, root_allowed: bool) -> Iterator[Problem]:
    for one in unfit(folder, root_allowed=root_allowed):
        yield Problem(f"preflight.{one.code}", node, one.found, one.needed, one.remedy)
    if folder.free_bytes < needed_gib * GIB:
        yield Problem(
            "preflight.brick-space",
            node,
            f"{folder.path} has {folder.free_bytes / GIB:.1f} GiB free",
            f"{needed_gib} GiB",
            "Make room, name another folder, or ask for a smaller data disk (engine.data_disk_gib).",
        )
