"""``kill -9`` of the jobs process anywhere in the jobs of backups and checkpoints, and the VM or its host may be gone
afterwards, too: a phase is reached or left wholly, a checkpoint is remembered exactly where its row says so, nothing is
served for nobody, and the disks are held exactly while the backup lasts.

As in test_snapshot_crash.py; the fake guest writes around each effect (engine/fakes/vm_backups.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import TrivetError
from appliance.model.disk import DiskFile
from engine.fakes.hosts import FakeNodes
from engine.fakes.layers import FakeLayers
from engine.fakes.vm_backups import served
from engine.fakes.vm_layers import written
from engine.jobs.backup_end import BackupFail, BackupFinalize, EndBackup
from engine.jobs.backup_start import BackupStart, StartBackup
from engine.jobs.backups import CHECKPOINT, KIND
from engine.jobs.checkpoint_remove import CheckpointRemove, RemoveCheckpoint
from engine.jobs.keep_backups import BackupKeeper
from engine.jobs.places import file_of
from engine.jobs.vm_start import StartVm, VmStart
from engine.jobs.vm_stop import OnVm, VmStop
from engine.store.durable import Store
from engine.store.jobs import LOCK
from tests.engine.crash import DATABASE, HOSTS, Act, cancelled, kill_case, lose_host, order
from tests.engine.job_world import desk_of, files, nodes_at, work_off
from tests.engine.test_snapshot_crash import BROKEN, play, with_disks

B1, B2, C1, C2, H1, H2 = (f"{number}1111111-2222-4333-8444-555555555555" for number in range(1, 7))
DISKS: dict[str, dict[str, str]] = {
    "d1": {"format": "raw", "backup": "none"}, "d2": {"format": "cow", "backup": "incremental"},
}  # fmt: skip


UP, DOWN = order(VmStart, StartVm("v1")), order(VmStop, OnVm("v1", force=True))
FULL = order(BackupStart, StartBackup(B1, "v1", ("d1", "d2"), C1, H1, "admin", "c"))
NEXT = order(BackupStart, StartBackup(B2, "v1", ("d1", "d2"), C2, H2, "admin", "c", C1))
END = order(BackupFinalize, EndBackup(B1))
FAIL = order(BackupFail, EndBackup(B1, "its VM has ended"))
FORGET = order(CheckpointRemove, RemoveCheckpoint("v1", C1))


@dataclass(frozen=True)
class Case:
    """A job, what is done before it, and what there is at its end: the phases of backups, and the checkpoints.

    ``then``: what has happened when the next process comes up: ``ends`` (the VM's QEMU), ``lost`` (its host, which is
    evicted; what was remembered is broken), ``broken`` (before the job: what its QEMU did not write).
    """

    name: str
    order: Act
    phases: dict[str, str]
    checkpoints: tuple[str, ...] = ()
    before: tuple[Act, ...] = ()
    statuses: tuple[str, ...] = ("finished",)
    then: str = ""
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    either: tuple[dict[str, str], tuple[str, ...]] | None = None
    """The same if it has not finished."""
    places: int = 5
    invalid: tuple[str, ...] = ()


READY, OK, BAD = {B1: "ready"}, {B1: "succeeded"}, {B1: "failed"}
BOTH = {B1: "succeeded", B2: "ready"}
CASES = (
    Case("start", FULL, READY, (C1,), (UP,)),
    Case("start-next", NEXT, BOTH, (C1, C2), (UP, FULL, END)),
    Case("start-cold", FULL, READY, (C1,)),
    Case("start-cold-next", NEXT, BOTH, (C1, C2), (FULL, END)),
    Case("start-fails", FULL, BAD, (), (UP,), ("failed",), fail_with={"backup-begin": BROKEN}),
    Case("start-cold-fails", FULL, BAD, (), (), ("failed",), fail_with={"bitmap-add": BROKEN}),
    Case("start-cancelled", cancelled(FULL), BAD, (), (UP,), ("aborted",), places=2),
    Case("start-ends", FULL, READY, (C1,), (UP,), ("finished", "failed"), "ends", either=(BAD, ())),
    Case("start-lost", FULL, READY, (C1,), (UP,), ("finished", "failed"), "lost", either=(BAD, ())),
    Case("start-broken", NEXT, {B1: "succeeded", B2: "failed"}, (C1,), (UP, FULL, END), ("failed",), "broken",
         invalid=(C1,)),
    Case("start-cold-broken", NEXT, {B1: "succeeded", B2: "failed"}, (C1,), (FULL, END), ("failed",), "broken",
         invalid=(C1,)),
    Case("finalize", END, OK, (C1,), (UP, FULL)),
    Case("finalize-cold", END, OK, (C1,), (FULL,), places=4),
    Case("finalize-ends", END, OK, (C1,), (UP, FULL), then="ends"),
    Case("finalize-lost", END, OK, (C1,), (UP, FULL), then="lost"),
    Case("finalize-fails", END, BAD, (C1,), (UP, FULL), ("failed",), fail_with={"remove": BROKEN}),
    Case("fail", FAIL, BAD, (), (UP, FULL)),
    Case("fail-ended", FAIL, BAD, (), (UP, FULL, DOWN)),
    Case("fail-ends", FAIL, BAD, (), (UP, FULL), then="ends"),
    Case("fail-lost", FAIL, BAD, (), (UP, FULL), then="lost"),
    Case("forget", FORGET, OK, (), (UP, FULL, END)),
    Case("forget-cold", FORGET, OK, (), (FULL, END)),
    Case("forget-ends", FORGET, OK, (), (UP, FULL, END), then="ends"),
    Case("forget-fails", FORGET, OK, (C1,), (UP, FULL, END), ("failed",), fail_with={"checkpoint-drop": BROKEN}, places=3,
         invalid=(C1,)),
)  # fmt: skip


def break_all(folder: Path) -> None:
    """What was remembered was not written when the QEMU ended."""
    layers = FakeLayers(folder / HOSTS)
    file = DiskFile("vmstore", "images/d2/d2-base", "qcow2")
    layer = layers.get(file)
    layers.put(replace(layer, broken=tuple(layer.bitmaps)))


def prepare(folder: Path, case: Case) -> None:
    store = with_disks(folder, DISKS)
    play(store, folder, case.before, lambda number: {f"place {number}": "written"})
    if case.then == "broken":
        break_all(folder)
    store.close()


def meanwhile(folder: Path, case: Case) -> FakeNodes:
    nodes = nodes_at(folder / HOSTS, fail_with=case.fail_with)
    if case.then == "ends":
        nodes.host("node1").end("v1")
    if case.then == "lost":
        lose_host(folder, nodes, "vmstore")
        break_all(folder)
    return nodes


def remembered(folder: Path) -> set[str]:
    """Of what the disks' files know."""
    layers = FakeLayers(folder / HOSTS)
    return {name for one in DISKS for name in layers.get(DiskFile("vmstore", f"images/{one}/{one}-base")).bitmaps}


def check(case: Case, folder: Path, job_id: str, where: str) -> None:
    store, nodes = Store(folder / DATABASE), nodes_at(folder / HOSTS)
    entities = store.entities
    job = desk_of(store).jobs.need(job_id)
    assert job.state == "ended", where
    assert job.status in case.statuses, (where, job.error)
    finished = job.status == "finished" or case.either is None
    phases, checkpoints = (case.phases, case.checkpoints) if finished else case.either or ({}, ())
    assert {one.id: one.status for one in entities.list(KIND)} == phases, where
    rows = {one.id: one.status for one in entities.list(CHECKPOINT)}
    assert rows == {one: "invalid" if one in case.invalid else "created" for one in checkpoints}, where
    assert remembered(folder) == set(checkpoints), where
    lasts = "ready" in phases.values()
    held: dict[str, bool] = {one: bool(shared) for kind, one, shared in store.connection.rows(
        LOCK.select(LOCK.kind, LOCK.id, LOCK.shared)) if kind == "disk"}  # fmt: skip
    is_live = any(one.body["trivet_live"] for one in entities.list(KIND) if one.status == "ready")
    assert held == (dict.fromkeys(DISKS, is_live) if lasts else {}), where
    assert all(entities.need("disk", one).shown_status == ("locked" if lasts else "ok") for one in DISKS), where
    known = {f"vmstore/images/{one}/{one}-base" for one in DISKS}
    scratch = {f"vmstore/backups/{one}/{disk}" for one, phase in phases.items() if phase == "ready" for disk in DISKS}
    found = set(files(folder / HOSTS))
    if case.fail_with.keys() & {"remove"}:
        found -= {one for one in found if "/backups/" in one}  # it could not be removed: that is what failed
    assert found == known | (scratch if is_live else set()), where
    for one in DISKS:
        assert FakeLayers(folder / HOSTS).content(file_of(entities, entities.need("disk", one))) == written(
            folder / HOSTS, one
        ), (where, one)
    # what hosts serve is what the rows say, once the keeper has looked
    if case.then == "lost":
        return store.close()
    keeper = BackupKeeper(entities, nodes, desk_of(store), lambda _text: None)
    keeper.turn()
    work_off(store, nodes)
    on = [state.id for name in nodes.nodes for state in nodes.host(name).vm_backups()]
    vm_runs = nodes.host("node1").vm("v1") is not None
    assert on == [one for one, phase in phases.items() if phase == "ready" and is_live and vm_runs], where
    for one in on:
        backup = served(nodes.host("node1"), one)
        assert backup is not None and all("during the backup" not in kept for kept in _of(backup, one)), where
    return store.close()


def _of(backup: Any, identifier: str) -> list[str]:
    return [key for content in backup.content.values() for key, value in content.items() if value == identifier]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    kill_case(tmp_path, case, prepare, check, meanwhile)
