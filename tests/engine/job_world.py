"""A world for jobs: a store, nodes over real files, and processes that are killed for real at any point."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from appliance.effects.clock import SystemClock
from appliance.errors import TrivetError
from engine.fakes.disk_node import FakeDiskNode, nothing
from engine.fakes.hosts import FakeNodes
from engine.jobs.desk import Desk
from engine.jobs.disk_create import CreateDisk, DiskCreate
from engine.jobs.job import JobType, by_name
from engine.jobs.process import JobsProcess
from engine.jobs.run import World
from engine.jobs.types import TYPES
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import Jobs

JOURNALLED = ("begin", "done", "failed", "undone", "turn", "end")
TAKEN = ("take", "adopt")
Point = Callable[[str], None]
MIB = 1024**2
HASTE = 25
"""A pause of a quarter of a second takes 10 ms: what a job waits for is done at once by a fake, or by a thread beside it."""
DISK = CreateDisk("d1", "i1", "data", "s1", 8 * MIB)


class HastyClock(SystemClock):
    """The real clock, whose sleepers are woken early: jobs that are killed at sixty places spent nine tenths in pauses."""

    def sleep(self, seconds: float) -> None:
        """Wait, :data:`HASTE` times as short."""
        super().sleep(seconds / HASTE)


class Points:
    """Counts the places between two things that last; at the ``die_at``-th the process kills itself."""

    def __init__(self, die_at: int = 0) -> None:
        self.passed = 0
        self.die_at = die_at
        self.names: list[str] = []

    def __call__(self, name: str) -> None:
        self.passed += 1
        self.names.append(name)
        if self.passed == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def watched(jobs: Jobs, point: Point) -> Jobs:
    """``jobs`` with a point before and after each line of its journal."""
    for name in JOURNALLED:
        real = getattr(jobs, name)

        def call(*arguments: Any, _real: Any = real, _name: str = name) -> Any:
            point(f"before {_name}")
            answer = _real(*arguments)
            point(f"after {_name}")
            return answer

        setattr(jobs, name, call)
    for name in TAKEN:
        take = getattr(jobs, name)

        def taken(*arguments: Any, _real: Any = take, _name: str = name) -> Any:
            answer = _real(*arguments)
            if answer:  # it is asked again and again while there is nothing to take
                point(f"after {_name}")
            return answer

        setattr(jobs, name, taken)
    return jobs


def open_store(place: Path | str) -> Store:
    """A store with a data center, a storage domain and a VM, if they are not there yet."""
    store = Store(place)
    store.migrate()
    if store.entities.get("data_center", "dc") is None:
        store.entities.add(Entity("data_center", "dc", "Default"))
        store.entities.add(Entity("cluster", "c1", "Default", refs={"data_center": ("dc",)}))
        domain = Entity("storage_domain", "s1", "vmstore", refs={"data_center": ("dc",)}, status="active")
        store.entities.add(domain)
        store.entities.add(Entity("vm", "v1", "web1", refs={"cluster": ("c1",)}, status="down"))
    return store


def nodes_at(folder: Path, point: Point = nothing, fail_with: Mapping[str, TrivetError] | None = None) -> FakeNodes:
    return FakeNodes({name: FakeDiskNode(name, folder, point, dict(fail_with or {})) for name in ("node1", "node2")})


def desk_of(store: Store, types: Sequence[JobType[Any]] = TYPES) -> Desk:
    clock = SystemClock()
    return Desk(store.entities, Jobs(store.entities, clock), by_name(types), clock)


def work_off(store: Store, nodes: FakeNodes, point: Point = nothing, types: Sequence[JobType[Any]] = TYPES) -> list[str]:
    """Run the jobs process until nothing is left to do; its log."""
    clock, log = HastyClock(), list[str]()
    jobs = watched(Jobs(store.entities, clock), point)
    world = World(store.entities, jobs, nodes, clock, by_name(types), log.append)

    def ring(_timeout_s: float) -> None:
        if jobs.is_idle():
            world.stopping.set()
        threading.Event().wait(0.005)

    JobsProcess(world, ring).serve()
    return log


def in_a_process(act: Callable[[], None]) -> int:
    """Run ``act`` in a child; 0 when it ended well, minus the signal when it was killed."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException:  # noqa: BLE001 - whatever it was: the parent's pytest must not run on in the child
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def files(folder: Path) -> dict[str, int]:
    """Every file on the domains, half-made ones too: path → size."""
    domains = folder / "domains"
    return {str(path.relative_to(domains)): path.stat().st_size for path in domains.rglob("*") if path.is_file()}


@pytest.fixture
def store(place: Path | str) -> Iterator[Store]:
    made = open_store(place)
    yield made
    made.close()


@pytest.fixture
def desk(store: Store) -> Desk:
    return desk_of(store)


@pytest.fixture
def nodes(tmp_path: Path) -> FakeNodes:
    return nodes_at(tmp_path)


def create(desk: Desk, given: CreateDisk = DISK, owner: str = "admin") -> str:
    """Order a disk; the job's id."""
    return desk.order(DiskCreate, given, owner_id=owner, correlation_id="corr").id
