"""What a mount says of its bricks, as it was seen on Gluster 11.1, and what the pool has to heal."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import Unavailable
from gluster.fake import FakePool
from gluster.model import BrickPlace, VolumeSpec
from gluster.mount_view import brick_view, bricks
from gluster.mounted import GRAPH
from ha_broker.effects.pool import MountedPool
from ha_broker.state import Brick

LOCK = "granted-posix-lock[0] = owner = {}, cmd = F_SETLK fl_type = F_RDLCK, fl_start = 100, fl_end = 100"
DISK, SEED = "12b684314c6daac5", "bdb353c441d91374"


def private(*handles: tuple[int, str], connected: bool = True) -> str:
    """The text of one brick: each handle as (number on the brick, owner of its lock)."""
    lines = ["[xlator.protocol.client.engine-client-0.priv]"]
    for number, (remote, owner) in enumerate(handles):
        lines += [f"fd.{number}.remote_fd = {remote}", "------ = ------", LOCK.format(owner), "------ = ------"]
    return "\n".join([*lines, f"connected = {int(connected)}", "total_bytes_read = 7727249", "ping_timeout = 5", ""])


HELD = ((3, DISK), (0, SEED))


def seen(second: str) -> Brick:
    """What the second of three bricks counts as, the other two being sound."""
    views = [
        brick_view(host, text) for host, text in (("node1", private(*HELD)), ("node2", second), ("node3", private(*HELD)))
    ]
    found = bricks(views)
    assert (found[0], found[2]) == (Brick("node1", True, True), Brick("node3", True, True))
    return found[1]


def test_a_disk_held_on_three_bricks() -> None:
    assert seen(private(*HELD)) == Brick("node2", True, True)


def test_a_brick_that_is_away() -> None:
    assert seen(private((-1, DISK), (-1, SEED), connected=False)) == Brick("node2", False, False)


def test_a_brick_that_came_back_keeps_the_bad_handles() -> None:
    assert seen(private((-1, DISK), (-1, SEED))) == Brick("node2", True, False)


def test_a_brick_that_was_away_when_the_disk_was_opened_knows_nothing_of_it() -> None:
    assert seen(private()) == Brick("node2", True, False)
    assert seen(private((0, SEED))) == Brick("node2", True, False)


def test_handles_that_went_bad_and_were_closed_are_forgotten() -> None:
    left = "fd.7.remote_fd = -1\n"
    assert seen(private(*HELD).replace("connected", left + "connected")) == Brick("node2", True, True)
    assert bricks([brick_view("node1", left + private())]) == (Brick("node1", True, True),)


def test_locks_of_a_qemu_that_has_gone_say_nothing_of_the_one_that_is_here() -> None:
    gone = ((-1, "cf15bbc2c48ff405"), (-1, "ef4db97e7f9fd367"))
    assert seen(private(*gone, *HELD)) == Brick("node2", True, True)
    assert seen(private(*gone, (-1, DISK), (-1, SEED))) == Brick("node2", True, False)
    only_lost = [brick_view("node1", private()), brick_view("node2", private(*gone)), brick_view("node3", private(*gone))]
    assert [brick.open for brick in bricks(only_lost)] == [False, False, False]


def test_a_host_without_the_engine_holds_nothing_open() -> None:
    views = [brick_view(host, private()) for host in ("node1", "node2")]
    assert bricks(views) == (Brick("node1", True, True), Brick("node2", True, True))


def mounted(tmp_path: Path) -> tuple[MountedPool, FakePool]:
    pool = FakePool()
    for name in ("node2", "node3"):
        pool.probe(name)
    pool.create(VolumeSpec("engine", 3, tuple(BrickPlace(f"node{n}", "/b") for n in (1, 2, 3))))
    pool.start("engine")
    return MountedPool(tmp_path, "engine", pool), pool


def test_bricks_are_read_below_the_mount(tmp_path: Path) -> None:
    pool, _ = mounted(tmp_path)
    with pytest.raises(OSError, match="not mounted"):
        pool.bricks()
    for number, text in enumerate((private(*HELD), private((-1, DISK), (0, SEED)))):
        folder = tmp_path / GRAPH / f"engine-client-{number}"
        (folder / "options").mkdir(parents=True)
        (folder / "options/remote-host").write_text(f"node{number + 1}\n")
        (folder / "private").write_text(text)
    assert pool.bricks() == (Brick("node1", True, True), Brick("node2", True, False))
    assert pool.free_bytes() > 0


def test_a_brick_that_goes_is_blamed_once_by_who_holds_the_disk(tmp_path: Path) -> None:
    pool, _ = mounted(tmp_path)
    disk = tmp_path / "engine-vm/data.raw"
    disk.parent.mkdir()
    disk.write_bytes(b"data")

    def look(second: str, first: str = private(*HELD)) -> int:
        for number, text in enumerate((first, second)):
            folder = tmp_path / GRAPH / f"engine-client-{number}"
            (folder / "options").mkdir(parents=True, exist_ok=True)
            (folder / "options/remote-host").write_text(f"node{number + 1}")
            (folder / "private").write_text(text)
        before_ns = disk.stat().st_ctime_ns
        pool.bricks()
        return int(disk.stat().st_ctime_ns != before_ns)

    gone, back = private((-1, DISK), connected=False), private((-1, DISK))
    assert look(private(*HELD)) == 0
    assert look(private(connected=False), private()) == 0, "who holds nothing leaves the disk alone"
    assert [look(gone), look(gone), look(back), look(gone)] == [1, 0, 0, 1]
    assert disk.read_bytes() == b"data"


def test_what_is_to_be_healed(tmp_path: Path) -> None:
    pool, gluster = mounted(tmp_path)
    assert (pool.heal().pending, pool.heal().split_brain, pool.heal().error) == (0, (), "")
    gluster.brick_down("engine", "node2")
    gluster.written("engine", 2)
    assert pool.heal().error == "the brick of node2 cannot be asked what is to be healed"
    gluster.start("engine")
    assert pool.heal().pending == 2
    gluster.heal("engine")
    gluster.split("engine", 1)
    assert pool.heal().split_brain == ("file0",)
    gluster.fail["heal_summary"] = Unavailable(
        "gluster.deadline", subject="g", reason="did not answer in 8 s", remedy="wait"
    )
    assert pool.heal().error == "what is to be healed is not known: did not answer in 8 s"
