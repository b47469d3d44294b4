"""``kill -9`` of the jobs process anywhere, then another one: the job is finished, or all is as before it. Never half.

Killed are real processes, by a real SIGKILL, at every place between two things that last: before and after each line of the
journal, before, in the middle of and after each effect on a node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.errors import Failed, TrivetError
from engine.jobs.desk import Desk
from engine.jobs.disk_create import CreateDisk, DiskCreate
from engine.jobs.disk_remove import DiskRemove, RemoveDisk
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import LOCK
from tests.engine.crash import DATABASE, HOSTS, kill_everywhere
from tests.engine.job_world import Points, desk_of, files, in_a_process, nodes_at, open_store, work_off

MIB = 1024**2
DISK = CreateDisk("d1", "i1", "data", "s1", 8 * MIB)
IMAGE = "vmstore/images/d1/i1"
BROKEN = Failed("disk.no-space", subject="vmstore", reason="it is full", remedy="Make room.")


def order_create(desk: Desk) -> str:
    return desk.order(DiskCreate, DISK, owner_id="admin", correlation_id="c").id


def order_remove(desk: Desk) -> str:
    return desk.order(DiskRemove, RemoveDisk("d1"), owner_id="admin", correlation_id="c").id


def made(store: Store, folder: Path) -> None:
    """The disk is there and attached before the job."""
    order_create(desk_of(store))
    work_off(store, nodes_at(folder))
    store.entities.add(Entity("disk_attachment", "a1", "", {}, {"disk": ("d1",)}, parent=("vm", "v1")))


def nothing_before(_store: Store, _folder: Path) -> None:
    return None


def cancelled(desk: Desk) -> str:
    job = order_create(desk)
    desk.cancel(job)
    return job


@dataclass(frozen=True)
class Case:
    """A job and the only end that it may have, killed or not."""

    name: str
    order: Callable[[Desk], str]
    status: str
    disk: str | None
    images: dict[str, int]
    before: Callable[[Store, Path], None] = nothing_before
    fail_with: dict[str, TrivetError] | None = None
    places: int = 10
    """At least so many places there must be, or the worker no longer watches what happens."""


THERE = {IMAGE: 8 * MIB}
CASES = (
    Case("create", order_create, "finished", "ok", THERE, places=10),
    Case("create-fails", order_create, "failed", None, {}, fail_with={"create": BROKEN}, places=15),
    Case("create-cancelled", cancelled, "aborted", None, {}, places=5),
    Case("remove", order_remove, "finished", None, {}, made, places=10),
    Case("remove-fails", order_remove, "failed", "illegal", THERE, made, {"remove": BROKEN}),
)


def check(store: Store, folder: Path, case: Case, job_id: str, where: str) -> None:
    jobs = desk_of(store).jobs
    job = jobs.need(job_id)
    disk = store.entities.get("disk", "d1")
    assert (job.state, job.status) == ("ended", case.status), where
    assert (disk.shown_status if disk else None) == case.disk, where
    assert files(folder) == case.images, where
    assert store.connection.rows(LOCK.select()) == [], where
    assert len(store.entities.children(("vm", "v1"), "disk_attachment")) == (case.before is made and case.disk is not None)


def prepared(place: Path | str, folder: Path, case: Case) -> tuple[Store, str]:
    store = open_store(place)
    case.before(store, folder)
    return store, case.order(desk_of(store))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    def before(folder: Path) -> None:
        store = open_store(folder / DATABASE)
        case.before(store, folder / HOSTS)
        store.close()

    def at_the_end(folder: Path, job_id: str, where: str) -> None:
        store = Store(folder / DATABASE)
        check(store, folder / HOSTS, case, job_id, where)
        store.close()

    kill_everywhere(tmp_path, before, case.order, at_the_end, case.fail_with, case.places)


@pytest.mark.timeout(120)
def test_killed_twice_on_either_database(place: Path | str, tmp_path: Path) -> None:
    """The second process dies, too, while it goes on with what the first left."""
    case = CASES[1]
    store, job_id = prepared(place, tmp_path, case)
    store.close()
    for die_at in (9, 4):

        def killed(die_at: int = die_at) -> None:
            die = Points(die_at)
            work_off(Store(place), nodes_at(tmp_path, die, case.fail_with), die)

        assert in_a_process(killed) == -9
    again = Store(place)
    work_off(again, nodes_at(tmp_path, fail_with=case.fail_with))
    check(again, tmp_path, case, job_id, "killed twice")
    again.close()


def test_another_host_goes_on_when_the_first_has_died_too(tmp_path: Path) -> None:
    """Engine failover: the engine's host lost power in the middle of the effect, and was the one that did it."""
    case = CASES[1]
    store, job_id = prepared(tmp_path / "engine.sqlite", tmp_path, case)
    store.close()

    def killed() -> None:
        die = Points(12)
        work_off(Store(tmp_path / "engine.sqlite"), nodes_at(tmp_path, die, case.fail_with), die)

    assert in_a_process(killed) == -9
    again = Store(tmp_path / "engine.sqlite")
    nodes = nodes_at(tmp_path, fail_with=case.fail_with)
    nodes.down.add("node1")
    work_off(again, nodes)
    check(again, tmp_path, case, job_id, "node1 is gone")
    again.close()
