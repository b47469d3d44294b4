"""Ordering, waiting, cancelling, locks, bounds; and the moves of a job as a table."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import Conflict, NotFound, Refused, TrivetError, Unavailable
from engine.decide.moves import Move, StepView, can_return, next_move
from engine.decide.queue import Waiting, choose
from engine.fakes.disk_node import FakeNodes
from engine.jobs.desk import Desk, error_of
from engine.jobs.disk_create import CreateDisk, DiskCreate
from engine.jobs.disk_remove import DiskRemove, RemoveDisk
from engine.store import jobs as stored
from engine.store.durable import Store
from engine.store.entities import Entity
from tests.engine.job_world import desk_of, files, nodes_at, open_store, work_off

MIB = 1024**2
DISK = CreateDisk("d1", "i1", "data", "s1", 8 * MIB)


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
    return desk.order(DiskCreate, given, owner_id=owner, correlation_id="corr").id


# the moves

PLANNED, BEGUN, DONE, FAILED, UNDONE = (StepView(state) for state in ("planned", "begun", "done", "failed", "undone"))
BACK = StepView("begun", "back")
FINAL = replace(BEGUN, is_final=True)


@pytest.mark.parametrize(
    ("steps", "cancel", "what", "number"),
    [
        ([PLANNED, PLANNED], False, "do", 0),
        ([DONE, PLANNED], False, "do", 1),
        ([DONE, DONE], False, "finish", -1),
        ([], False, "finish", -1),
        ([DONE, BEGUN], False, "do", 1),
        ([DONE, BACK], False, "turn", 1),
        ([FINAL, BACK], False, "do", 0),
        ([replace(FINAL, state="done"), BACK], False, "do", 1),
        ([DONE, FAILED], False, "turn", 1),
        ([replace(FINAL, state="failed")], False, "give-up", 0),
        ([replace(FINAL, state="done"), FAILED], False, "give-up", 1),
        ([DONE, PLANNED], True, "turn", 1),
        ([DONE, DONE], True, "finish", -1),
        ([replace(FINAL, state="done"), PLANNED], True, "do", 1),
        ([replace(FINAL, state="planned")], True, "turn", 0),
    ],
)
def test_a_running_job_moves(steps: list[StepView], cancel: bool, what: str, number: int) -> None:
    move = next_move("running", steps, cancel=cancel)
    assert (move.what, move.number) == (what, number)
    assert move.reason


@pytest.mark.parametrize(
    ("steps", "what", "number"),
    [
        ([DONE, FAILED, PLANNED], "undo", 1),
        ([DONE, UNDONE, PLANNED], "undo", 0),
        ([UNDONE, BEGUN], "undo", 1),
        ([UNDONE, UNDONE, PLANNED], "undone", -1),
    ],
)
def test_undoing_goes_backwards_over_all_that_was_touched(steps: list[StepView], what: str, number: int) -> None:
    assert next_move("undoing", steps, cancel=False) == Move(what, number, next_move("undoing", steps, cancel=True).reason)  # type: ignore[arg-type]


def test_there_is_no_way_back_behind_a_final_step() -> None:
    assert can_return([DONE, replace(FINAL, state="planned")])
    assert not can_return([FINAL])


def test_the_queue_is_fair_and_bounded() -> None:
    waiting = [Waiting(f"a{number}", "greedy") for number in range(10)] + [Waiting("b1", "modest"), Waiting("b2", "modest")]
    assert choose(waiting, [], 4) == ("a0", "b1", "a1", "b2")
    assert choose(waiting, ["greedy"] * 3, 5) == ("b1", "b2")
    assert choose(waiting, ["x"] * 4, 4) == ()
    assert choose([], [], 4) == ()


# ordering and seeing


def test_a_disk_is_locked_until_it_is_there(store: Store, desk: Desk, nodes: FakeNodes, tmp_path: Path) -> None:
    job_id = create(desk)
    before = store.entities.need("disk", "d1")
    assert (before.shown_status, before.ref("storage_domains")) == ("locked", "s1")
    assert desk.jobs.need(job_id).status == "started"
    assert desk.jobs.holder(("disk", "d1")) == job_id
    work_off(store, nodes)
    after = store.entities.need("disk", "d1")
    assert (after.shown_status, after.body["provisioned_size"]) == ("ok", 8 * MIB)
    assert after.generation > before.generation, "who keeps rendered fragments must notice the lock's end"
    assert files(tmp_path) == {"vmstore/images/d1/i1": 8 * MIB}
    job = desk.jobs.need(job_id)
    assert (job.status, job.percent, job.correlation_id, job.owner_id) == ("finished", 100, "corr", "admin")
    assert job.result == {"disk": "d1"}
    assert job.description == "Creating Virtual Disk data on Storage Domain vmstore"
    steps = desk.jobs.steps(job_id)
    assert [(one.status, one.percent) for one in steps] == [("finished", 100), ("finished", 100)]
    assert steps[1].host == "node1"
    assert all(one.begun_ms and one.ended_ms and one.begun_ms <= one.ended_ms for one in steps)
    assert "Creating the image of data" in [text for _number, _ms, text in desk.jobs.log_lines(job_id)]
    assert desk.jobs.list(correlation_id="corr") == (job,)
    assert desk.jobs.list(correlation_id="other") == ()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (replace(DISK, domain_id="none"), "entity.unknown"),
        (replace(DISK, size_bytes=5), "disk.size"),
        (replace(DISK, size_bytes=2**60), "disk.size"),
        (replace(DISK, attributes={"backup": "incremental"}), "disk.backup-format"),
        (replace(DISK, disk_id="there"), "entity.exists"),
    ],
)
def test_a_refusal_changes_nothing(store: Store, desk: Desk, given: CreateDisk, code: str) -> None:
    store.entities.add(Entity("disk", "there", "there", refs={"storage_domains": ("s1",)}))
    with pytest.raises(TrivetError) as error:
        create(desk, given)
    assert error.value.code == code
    assert desk.jobs.list() == ()
    assert [one.id for one in store.entities.list("disk")] == ["there"]
    assert desk.jobs.holder(("disk", given.disk_id)) == ""


def test_a_domain_that_is_not_active_takes_no_disk(store: Store, desk: Desk) -> None:
    store.entities.set_status("storage_domain", {"s1": "maintenance"})
    with pytest.raises(Conflict) as error:
        create(desk)
    assert "is not active (maintenance)" in error.value.reason


def test_what_is_locked_is_refused_in_the_words_that_clients_look_for(store: Store, desk: Desk, nodes: FakeNodes) -> None:
    job_id = create(desk)
    with pytest.raises(Conflict) as error:
        desk.order(DiskRemove, RemoveDisk("d1"), owner_id="admin", correlation_id="c")
    assert "Disk is locked" in str(error.value)
    assert "Related operation is currently in progress." in str(error.value)
    assert error.value.facts["job"] == job_id
    create(desk, replace(DISK, disk_id="d2", image_id="i2"))  # the domain is held by both: shared
    work_off(store, nodes)
    desk.order(DiskRemove, RemoveDisk("d1"), owner_id="admin", correlation_id="c")


@pytest.mark.parametrize(("status", "refused"), [("up", True), ("paused", True), ("down", False)])
def test_the_disk_of_a_running_vm_stays(store: Store, desk: Desk, nodes: FakeNodes, status: str, refused: bool) -> None:
    create(desk)
    work_off(store, nodes)
    store.entities.add(Entity("disk_attachment", "a1", "", {}, {"disk": ("d1",)}, parent=("vm", "v1")))
    store.entities.set_status("vm", {"v1": status})
    if refused:
        with pytest.raises(Conflict) as error:
            desk.order(DiskRemove, RemoveDisk("d1"), owner_id="admin", correlation_id="c")
        assert f"in use by vm web1 ({status})" in error.value.reason
    else:
        desk.order(DiskRemove, RemoveDisk("d1"), owner_id="admin", correlation_id="c")
        work_off(store, nodes)
        assert store.entities.get("disk", "d1") is None


def test_too_many_waiting_jobs_are_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "QUEUE_LIMIT", 1)
    create(desk)
    with pytest.raises(Unavailable) as error:
        create(desk, replace(DISK, disk_id="d2"))
    assert error.value.code == "jobs.full"


# waiting and cancelling


def test_a_waiting_caller_gets_the_end_or_its_patience(store: Store, desk: Desk, nodes: FakeNodes) -> None:
    job_id = create(desk)
    assert desk.wait(job_id, 0.05).state == "queued"
    worker = threading.Thread(target=lambda: (work_off(store, nodes), store.close()))
    worker.start()
    done = desk.wait(job_id)
    worker.join()
    assert (done.status, error_of(done)) == ("finished", None)


def test_a_failure_is_told_to_who_waits(store: Store, desk: Desk, nodes: FakeNodes) -> None:
    full = Refused("disk.no-space", subject="vmstore", reason="it is full", remedy="Make room.")
    for node in nodes.nodes.values():
        node.fail_with["create"] = full
    job_id = create(desk)
    work_off(store, nodes)
    error = error_of(desk.wait(job_id))
    assert (type(error), str(error)) == (Refused, str(full))
    assert [one.status for one in desk.jobs.steps(job_id)] == ["aborted", "aborted"]


def test_no_host_fails_the_job_and_leaves_nothing(store: Store, desk: Desk, nodes: FakeNodes, tmp_path: Path) -> None:
    nodes.down |= {"node1", "node2"}
    job_id = create(desk)
    work_off(store, nodes)
    assert desk.jobs.need(job_id).error["code"] == "job.no-host"
    assert store.entities.get("disk", "d1") is None
    assert files(tmp_path) == {}


def test_an_ended_job_cannot_be_cancelled(store: Store, desk: Desk, nodes: FakeNodes) -> None:
    job_id = create(desk)
    work_off(store, nodes)
    with pytest.raises(Conflict) as error:
        desk.cancel(job_id)
    assert error.value.code == "job.ended"
    with pytest.raises(NotFound):
        desk.cancel("none")
