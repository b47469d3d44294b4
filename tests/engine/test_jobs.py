"""Jobs: ordering, waiting, cancelling, locks, bounds, keeping."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import Conflict, NotFound, Refused, TrivetError, Unavailable
from engine.fakes.hosts import FakeNodes
from engine.jobs.bell import JobBells
from engine.jobs.desk import Desk, error_of
from engine.jobs.disk_create import CreateDisk, DiskCreate
from engine.jobs.disk_remove import DiskRemove, RemoveDisk
from engine.jobs.job import Work
from engine.store import jobs as stored
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import Jobs
from tests.engine.job_world import DISK, MIB, create, files, work_off

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


def test_a_waiting_caller_is_told_and_looks_only_then(
    store: Store, desk: Desk, nodes: FakeNodes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bells = JobBells(tmp_path / "waiting")
    told = replace(desk, heard=bells.heard)
    monkeypatch.setattr("engine.jobs.desk.UNHEARD_LOOK_S", 30.0)
    job_id, looks = create(told), list[str]()
    monkeypatch.setattr(Jobs, "need", lambda jobs, one, real=Jobs.need: (real(jobs, one), looks.append(one))[0])
    waiting = threading.Thread(target=lambda: (told.wait(job_id), store.close()))
    waiting.start()
    while not looks:
        time.sleep(0.01)
    store.entities.connection.run(stored.JOB.update({stored.JOB.state: "ended"}).where(stored.JOB.id == job_id))
    bells.ring(job_id)
    waiting.join(20)
    assert not waiting.is_alive()
    assert looks == [job_id, job_id]


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


def test_a_local_step_that_fails_is_told_with_its_begin(
    store: Store, desk: Desk, nodes: FakeNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had written is gone; its lines in the journal and in the log are not."""

    def refused(work: Work) -> None:
        work.entities.add(Entity("tag", "t1", "half"))
        raise Refused("disk.no-space", subject="vmstore", reason="it is full", remedy="Make room.")

    first = replace(DiskCreate.steps[0], do=refused, is_local=True)
    monkeypatch.setattr(DiskCreate, "steps", (first, *DiskCreate.steps[1:]))
    job_id = create(desk)
    work_off(store, nodes)
    step = desk.jobs.steps(job_id)[0]
    assert (desk.jobs.need(job_id).status, step.begun_ms is not None) == ("failed", True)
    lines = [text for _number, _ms, text in desk.jobs.log_lines(job_id)]
    assert lines[0] == step.title
    assert lines[1].startswith("failed: vmstore: it is full")
    assert store.entities.get("tag", "t1") is None


def test_an_end_that_has_a_defect_does_not_repeat_the_last_step(
    store: Store, desk: Desk, nodes: FakeNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real, finish = DiskCreate.steps[-1].do, DiskCreate.finish

    def acts(work: Work) -> Any:
        done.append(work.job_id)
        return real(work)

    def ends(kind: DiskCreate, work: Work) -> Any:
        if len(done) == 1 and not tried:
            tried.append("once")
            raise KeyError("a defect")
        return finish(kind, work)

    tried: list[str] = []
    monkeypatch.setattr(DiskCreate, "steps", (*DiskCreate.steps[:-1], replace(DiskCreate.steps[-1], do=acts)))
    monkeypatch.setattr(DiskCreate, "finish", ends)
    job_id = create(desk)
    work_off(store, nodes)
    assert (desk.jobs.need(job_id).status, done) == ("finished", [job_id])
