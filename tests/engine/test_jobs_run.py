"""Running jobs: cancelling in the middle, giving up, defects, limits, jobs of others, and how long they are kept."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from appliance.effects.clock import SystemClock
from appliance.errors import Conflict, TrivetError, Unavailable
from engine.fakes.hosts import FakeNodes
from engine.jobs import run as running
from engine.jobs.desk import Desk
from engine.jobs.job import Cancelled, JobType, Planned, Step, Work, by_name
from engine.jobs.process import RUNNING_LIMIT, JobsProcess
from engine.jobs.run import World
from engine.store import jobs as stored
from engine.store.durable import Store
from engine.store.entities import Entities
from engine.store.jobs import Jobs, Lock
from tests.engine.job_world import DISK, create, desk_of, work_off

# steps that do as they are told


@dataclass(frozen=True)
class Told:
    """Parameters of the job below."""

    vm: str = "v1"


class Scripted(JobType[Told]):
    """Two steps that call what a test gives them."""

    name = "test.scripted"
    parameters = Told

    def __init__(self, *steps: Step) -> None:
        self.steps = steps
        self.calls: list[str] = []

    def describe(self, entities: Entities, given: Told) -> str:
        return "Testing"

    def locks(self, entities: Entities, given: Told) -> Sequence[Lock]:
        return (Lock("vm", given.vm, "image_locked"),)

    def plan(self, entities: Entities, given: Told) -> Sequence[Planned]:
        return tuple(Planned(step.name, step.name) for step in self.steps)

    def undone(self, work: Work) -> None:
        self.calls.append("undone")

    def given_up(self, work: Work) -> None:
        self.calls.append("given up")


def scripted(store: Store, nodes: FakeNodes, *steps: Step) -> tuple[Scripted, stored.JobRecord]:
    kind = Scripted(*steps)
    desk = desk_of(store, [kind])
    job = desk.order(Scripted, Told(), owner_id="admin", correlation_id="c")
    work_off(store, nodes, types=[kind])
    return kind, desk.jobs.need(job.id)


def test_a_long_step_hears_that_it_is_to_stop(store: Store, nodes: FakeNodes) -> None:
    undone: list[str] = []

    def long(work: Work) -> None:
        work.progress(50)
        desk_of(store, [Scripted()]).jobs.cancel(work.job_id)
        work.check_cancel()
        raise AssertionError("it was not stopped")

    kind, job = scripted(store, nodes, Step("one", lambda work: None, lambda work: undone.append("one")), Step("two", long))
    assert (job.status, undone, kind.calls) == ("aborted", ["one"], ["undone"])
    assert store.entities.need("vm", "v1").shown_status == "down"


def test_behind_a_final_step_cancelling_is_refused(store: Store, nodes: FakeNodes) -> None:
    seen: list[str] = []

    def final(work: Work) -> None:
        desk = desk_of(store, [Scripted(Step("final", final, is_final=True))])
        with pytest.raises(Conflict) as error:
            desk.cancel(work.job_id)
        seen.append(error.value.code)
        work.check_cancel()

    _kind, job = scripted(store, nodes, Step("final", final, is_final=True))
    assert (job.status, seen) == ("finished", ["job.past-return"])


def test_a_final_step_is_tried_again_while_the_node_is_away(
    store: Store, nodes: FakeNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "FIRST_PAUSE_S", 0.01)
    left = [3]

    def shaky(work: Work) -> Mapping[str, Any]:
        left[0] -= 1
        if left[0]:
            raise Unavailable("agent.unreachable", subject="node1", reason="no answer", remedy="Look.")
        return {"tries": 3}

    kind, job = scripted(store, nodes, Step("final", shaky, is_final=True))
    assert (job.status, kind.calls, left) == ("finished", [], [0])


def test_what_cannot_be_undone_is_given_up_and_lets_go(store: Store, nodes: FakeNodes) -> None:
    def bad(work: Work) -> None:
        raise Conflict("test.bad", subject="it", reason="it is bad", remedy="None.")

    kind, job = scripted(store, nodes, Step("one", bad, bad))
    assert (job.status, job.error["code"], kind.calls) == ("failed", "test.bad", ["given up"])
    assert store.entities.need("vm", "v1").shown_status == "down"


def test_a_defect_of_a_step_is_undone_like_a_failure(store: Store, nodes: FakeNodes) -> None:
    kind, job = scripted(store, nodes, Step("one", lambda work: {}["none"]))
    assert (job.status, job.error["code"], kind.calls) == ("failed", "trivet.defect", ["undone"])


def test_a_superseded_engine_stops_and_writes_nothing_more(store: Store, nodes: FakeNodes) -> None:
    def stale(work: Work) -> None:
        raise Conflict("engine.stale-epoch", subject="this engine", reason="a newer one exists", remedy="None.")

    kind = Scripted(Step("one", stale, lambda work: None))
    job = desk_of(store, [kind]).order(Scripted, Told(), owner_id="admin", correlation_id="c")
    clock = SystemClock()
    jobs = Jobs(store.entities, clock)
    process = JobsProcess(World(store.entities, jobs, nodes, clock, by_name([kind]), lambda _text: None), lambda _s: None)
    process.serve()
    assert process.superseded.is_set()
    left = jobs.need(job.id)
    assert (left.state, [one.state for one in jobs.steps(job.id)], kind.calls) == ("running", ["begun"], [])
    assert store.entities.need("vm", "v1").shown_status == "image_locked"


def test_a_stopped_process_leaves_its_jobs_to_the_next(store: Store, nodes: FakeNodes) -> None:
    clock = SystemClock()
    jobs = Jobs(store.entities, clock)
    worlds: list[World] = []
    second: list[str] = []

    def stop(work: Work) -> None:
        worlds[0].stopping.set()

    kind = Scripted(Step("one", stop), Step("two", lambda work: second.append("two")))
    job = desk_of(store, [kind]).order(Scripted, Told(), owner_id="admin", correlation_id="c")
    worlds.append(World(store.entities, jobs, nodes, clock, by_name([kind]), lambda _text: None))
    JobsProcess(worlds[0], lambda _s: None).serve()
    assert (jobs.need(job.id).state, second) == ("running", [])
    log = work_off(store, nodes, types=[kind])
    assert (jobs.need(job.id).status, second) == ("finished", ["two"])
    assert "was left by another process" in log[0]


def test_a_type_that_this_version_does_not_know_lets_go(store: Store, nodes: FakeNodes) -> None:
    kind = Scripted(Step("one", lambda work: None))
    job = desk_of(store, [kind]).order(Scripted, Told(), owner_id="admin", correlation_id="c")
    work_off(store, nodes)
    left = desk_of(store).jobs.need(job.id)
    assert (left.status, left.error["code"]) == ("unknown", "job.type-unknown")
    assert store.entities.need("vm", "v1").shown_status == "down"


def test_no_more_than_the_limits_run_at_once(store: Store, nodes: FakeNodes) -> None:
    """Jobs in all, and of those that use one host."""
    lock = threading.Lock()
    now = {"jobs": 0, "host": 0}
    most = {"jobs": 0, "host": 0}

    def enter(what: str, by: int) -> None:
        with lock:
            now[what] += by
            most[what] = max(most[what], now[what])

    def busy(work: Work) -> None:
        enter("jobs", 1)
        with work.on("node1"):
            enter("host", 1)
            threading.Event().wait(0.02)
            enter("host", -1)
        enter("jobs", -1)

    class Free(Scripted):
        def locks(self, entities: Entities, given: Told) -> Sequence[Lock]:
            return ()

    kind = Free(Step("one", busy))
    desk = desk_of(store, [kind])
    for number in range(RUNNING_LIMIT + 6):
        desk.order(Free, Told(), owner_id=f"user{number % 2}", correlation_id="c")
    work_off(store, nodes, types=[kind])
    assert {job.status for job in desk.jobs.list()} == {"finished"}
    assert most["host"] <= running.HOST_LIMIT
    assert 1 < most["jobs"] <= RUNNING_LIMIT


# jobs of others, keeping


def test_external_jobs_are_shown_and_ended_by_who_made_them(store: Store, desk: Desk, nodes: FakeNodes) -> None:
    desk.jobs.put_external(stored.JobRecord("x1", "external", "Backing up", "admin", "c"))
    assert (desk.jobs.need("x1").status, desk.jobs.need("x1").is_external) == ("started", True)
    work_off(store, nodes)
    assert desk.jobs.end_external("x1", "finished").ended_ms
    own = create(desk)
    with pytest.raises(Conflict) as error:
        desk.jobs.end_external(own, "finished")
    assert error.value.code == "job.not-external"


def test_old_jobs_go(store: Store, desk: Desk, nodes: FakeNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    first = create(desk)
    second = create(desk, replace(DISK, disk_id="d2", image_id="i2"))
    work_off(store, nodes)
    waiting = create(desk, replace(DISK, disk_id="d3", image_id="i3"))
    assert desk.jobs.prune() == 0
    monkeypatch.setattr(stored, "ENDED_KEPT", 1)
    assert desk.jobs.prune() == 1
    left = {job.id for job in desk.jobs.list()}
    assert waiting in left
    assert len(left & {first, second}) == 1
    monkeypatch.setattr(stored, "ENDED_KEPT_MS", 0)
    desk.jobs.prune()
    assert {job.id for job in desk.jobs.list()} == {waiting}


def test_cancelled_is_no_error() -> None:
    assert not issubclass(Cancelled, TrivetError), "a step that tells its errors must not tell this one"
