"""``kill -9`` of a process at every place between two things that last, then another one: shared by the tests of jobs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from appliance.errors import TrivetError
from engine.fakes.hosts import FakeNodes
from engine.jobs.desk import Desk
from engine.jobs.evicted import EVICTED
from engine.jobs.job import JobType
from engine.store.durable import Store
from tests.engine.job_world import Points, desk_of, in_a_process, nodes_at, work_off

Act = Callable[[Desk], str]
"""Orders a job; its id."""
Check = Callable[[Path, str, str], None]
"""(folder, job, where it was killed): raises when the end is not the only one that it may have."""
DATABASE = "engine.sqlite"
HOSTS = "hosts"
"""In the folder of a try: the store, and the hosts' files."""


class Killed(Protocol):
    """What the cases of all such tests say: the job, what hosts fail with, at how many places it is killed at least."""

    @property
    def order(self) -> Act: ...

    @property
    def fail_with(self) -> Mapping[str, TrivetError]: ...

    @property
    def places(self) -> int: ...


C = TypeVar("C", bound=Killed)


def order(kind: type[JobType[Any]], given: Any) -> Act:
    """An administrator orders it."""
    return lambda desk: desk.order(kind, given, owner_id="admin", correlation_id="c").id


def cancelled(act: Act) -> Act:
    """… and cancels it at once."""

    def both(desk: Desk) -> str:
        job = act(desk)
        desk.cancel(job)
        return job

    return both


def lose_host(folder: Path, nodes: FakeNodes, *domains: str) -> None:
    """``node1`` does not answer any more, and the bricks of those domains refuse it."""
    nodes.down.add("node1")
    nodes.pools("node2").gluster_reject("vmstore", ("node1",))
    store = Store(folder / DATABASE)
    store.entities.change("host", "node1", lambda one: one.with_body(**{EVICTED: {"domains": list(domains)}}))
    store.close()


def killed_everywhere(
    folder: Path,
    prepare: Callable[[Path], None],
    begin: Callable[[Path], str],
    run: Callable[[Path, Points], None],
    go_on: Callable[[Path], None],
    check: Check,
) -> Points:
    """Run it undisturbed, then once for each place, killed there; the places.

    On a copy of what ``prepare`` made each time: ``begin`` orders (``check`` is handed its answer), ``run`` is the process
    that is killed, ``go_on`` the next one.
    """
    prepared, whole = folder / "prepared", folder / "undisturbed"
    prepared.mkdir()
    prepare(prepared)
    shutil.copytree(prepared, whole)
    points = Points()
    begun = begin(whole)
    run(whole, points)
    check(whole, begun, "undisturbed")
    for number, where in enumerate(points.names, start=1):
        copy = folder / str(number)
        shutil.copytree(prepared, copy)
        begun = begin(copy)

        def killed(copy: Path = copy, number: int = number) -> None:
            run(copy, Points(number))

        assert in_a_process(killed) == -9, f"nothing happens any more at {number} ({where})"
        go_on(copy)
        check(copy, begun, f"killed {where} ({number})")
        shutil.rmtree(copy)
    return points


def kill_everywhere(
    folder: Path,
    prepare: Callable[[Path], None],
    order: Callable[[Desk], str],
    check: Check,
    fail_with: Mapping[str, TrivetError] | None,
    least_places: int,
    meanwhile: Callable[[Path], FakeNodes] | None = None,
) -> None:
    """One job, killed everywhere. ``meanwhile``: the hosts as the next process finds them, if not as they were."""

    def begin(copy: Path) -> str:
        store = Store(copy / DATABASE)
        job_id = order(desk_of(store))
        store.close()
        return job_id

    def run(copy: Path, points: Points) -> None:
        store = Store(copy / DATABASE)
        work_off(store, nodes_at(copy / HOSTS, points, fail_with), points)
        store.close()

    def go_on(copy: Path) -> None:
        nodes = meanwhile(copy) if meanwhile else nodes_at(copy / HOSTS, fail_with=fail_with)
        store = Store(copy / DATABASE)
        work_off(store, nodes)
        store.close()

    points = killed_everywhere(folder, prepare, begin, run, go_on, check)
    assert points.passed >= least_places


def kill_case(
    folder: Path,
    case: C,
    prepare: Callable[[Path, C], None],
    check: Callable[[C, Path, str, str], None],
    meanwhile: Callable[[Path, C], FakeNodes] | None = None,
) -> None:
    """One case, killed everywhere; the arguments are those of :func:`kill_everywhere`, of the case."""
    kill_everywhere(
        folder,
        lambda place: prepare(place, case),
        case.order,
        lambda place, job_id, where: check(case, place, job_id, where),
        case.fail_with,
        case.places,
        None if meanwhile is None else lambda place: meanwhile(place, case),
    )
