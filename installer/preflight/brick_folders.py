"""Can the brick folders take bricks?"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.model.node import FolderFacts
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
    path = folder.path
    if folder.exists and not folder.empty:
        yield Problem(
            "preflight.brick-not-empty",
            node,
            f"{path} is not empty",
            "an empty folder, or one that does not exist",
            "Move its contents away, or name another folder. Trivet deletes nothing.",
        )
    if folder.on_root_file_system and not root_allowed:
        yield Problem(
            "preflight.brick-on-root",
            node,
            f"{path} is on the root file system",
            "a file system of its own",
            "Mount one there, or set cluster.allow_root_brick = true for a try.",
        )
    if not folder.extended_attributes:
        yield Problem(
            "preflight.brick-file-system",
            node,
            f"{path} is on {folder.file_system}, which does not store trusted extended attributes",
            "XFS or ext4",
            "Name a folder on such a file system.",
        )
    if folder.free_bytes < needed_gib * GIB:
        yield Problem(
            "preflight.brick-space",
            node,
            f"{path} has {folder.free_bytes / GIB:.1f} GiB free",
            f"{needed_gib} GiB",
            "Make room, name another folder, or ask for a smaller data disk (engine.data_disk_gib).",
        )
