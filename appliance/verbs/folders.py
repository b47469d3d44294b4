"""A folder asked about: may it become a brick?"""

from __future__ import annotations

import os
from pathlib import Path

from appliance.effects.root import Root
from appliance.errors import Refused
from appliance.model.node import FolderFacts

PROBE_ATTRIBUTE = "trusted.trivet-probe"
"""Of the kind that Gluster keeps its own state in; set and removed again at once."""


def folder_facts(root: Root, path: str) -> FolderFacts:
    """Facts of ``path``; of its nearest existing parent where it does not exist. Raises ``Refused`` (``folder.path``)."""
    if not path.startswith("/") or "\0" in path:
        raise Refused("folder.path", subject=repr(path), reason="it is not an absolute path", remedy="Begin it with /.")
    place = root.at(os.path.normpath(path))
    near = place
    while not near.is_dir():
        near = near.parent
    room = os.statvfs(near)
    kind = file_system_of(near, root.at("/proc/self/mountinfo").read_text())
    return FolderFacts(
        path=path,
        exists=place.is_dir(),
        empty=not place.is_dir() or not any(entry != "lost+found" for entry in os.listdir(place)),  # noqa: PTH208
        file_system=kind,
        on_root_file_system=near.stat().st_dev == root.path.stat().st_dev,
        free_bytes=room.f_bavail * room.f_frsize,
        extended_attributes=kind != "overlay" and _keeps_attributes(near),
    )


def file_system_of(path: Path, mountinfo: str) -> str:
    """The type of the file system that ``path`` is on, from /proc/self/mountinfo: the last mount over the longest prefix."""
    best, kind = -1, ""
    resolved = path.resolve()
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        point = Path(fields[4].replace("\\040", " "))
        if resolved.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), right.split()[0]
    return kind


def _keeps_attributes(folder: Path) -> bool:
    try:
        os.setxattr(folder, PROBE_ATTRIBUTE, b"1")
        os.removexattr(folder, PROBE_ATTRIBUTE)
    except OSError:
        return False
    return True
