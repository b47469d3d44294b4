"""What a mount says of its bricks, read from a folder like the one that Gluster's client shows (seen with 11.1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import layout
from appliance.effects.root import Root
from appliance.errors import Refused, Unavailable
from gluster import mounted, verbs
from gluster.mount_view import MountBrick

LOCK = "granted-posix-lock[0] = owner = {}, cmd = F_SETLK fl_type = F_RDLCK, fl_start = 100, fl_end = 100\n"


def mount(root: Path, sets: list[list[tuple[str, str]]]) -> Path:
    """A mount of vmstore: sets of copies, each a list of (host, its ``private``)."""
    place = root / "var/lib/trivet/volumes/vmstore"
    graph = place / mounted.GRAPH
    number = 0
    for index, copies in enumerate(sets):
        links = graph / f"vmstore-replicate-{index}/subvolumes"
        links.mkdir(parents=True)
        for host, private in copies:
            client = graph / f"vmstore-client-{number}"
            (client / "options").mkdir(parents=True)
            (client / "options/remote-host").write_text(f"{host}\n")
            (client / "private").write_text(private)
            (links / str(number)).symlink_to(f"../../{client.name}")
            number += 1
    return place


def private(*owners: str, handle: int = 3, connected: int = 1) -> str:
    files = "".join(f"fd.{number}.remote_fd = {handle}\n{LOCK.format(owner)}" for number, owner in enumerate(owners))
    return f"{files}connected = {connected}\n"


def test_bricks_that_hold_other_files_are_not_compared(tmp_path: Path) -> None:
    one = [(f"node{i}", private("aa")) for i in (1, 2, 3)]
    two = [(f"node{i}", private("bb")) for i in (4, 5, 6)]
    place = mount(tmp_path, [one, two])
    assert mounted.bricks(place, "vmstore") == tuple(MountBrick(f"node{i}", True, True) for i in range(1, 7))
    assert len(mounted.views(place, "vmstore")) == 6


def test_a_file_that_a_brick_does_not_have_open(tmp_path: Path) -> None:
    copies = [
        ("node1", private("aa", "bb")),
        ("node2", private("aa")),
        ("node3", private("aa", "bb", connected=0, handle=-1)),
    ]
    place = mount(tmp_path, [copies])
    assert mounted.bricks(place, "vmstore") == (
        MountBrick("node1", True, True),
        MountBrick("node2", True, False),
        MountBrick("node3", False, False),
    )
    assert verbs.mount_bricks(Root(tmp_path), "vmstore") == mounted.bricks(place, "vmstore")


def test_a_volume_that_is_not_mounted_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / layout.VOLUMES.relative_to("/")).mkdir(parents=True)
    with pytest.raises(Unavailable) as caught:
        verbs.mount_bricks(Root(tmp_path), "vmstore")
    assert caught.value.code == "gluster.not-mounted"
    for name in ("../../../etc", "/etc"):
        with pytest.raises(Refused):
            verbs.mount_bricks(Root(tmp_path), name)
