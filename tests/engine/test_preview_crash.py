"""``kill -9`` of the jobs process anywhere on the way back to a snapshot: every chain is what the rows say, what the
snapshot keeps is untouched, and the VM reads what it had then, or all that it has written since, and nothing between.

As in test_snapshot_crash.py, with whose world and guest it works.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.fakes.layers import FakeLayers
from engine.fakes.vm_layers import written
from engine.jobs.layers import chain, images, layer_file, memory_of
from engine.jobs.preview import HALF_DROPPED, PREVIEW, PreviewSnapshot
from engine.jobs.snapshot_commit import EndPreview, SnapshotCommit, SnapshotUndo
from engine.jobs.snapshot_preview import SnapshotPreview
from engine.jobs.snapshot_restore import SnapshotRestore
from engine.jobs.vm_start_memory import VmStartMemory
from engine.jobs.vm_state import RESUME
from engine.jobs.vm_stop import OnVm, VmStop
from engine.jobs.vm_suspend import WakeVm
from engine.store.durable import Store
from engine.store.jobs import LOCK
from tests.engine.crash import DATABASE, HOSTS, Act, cancelled, kill_everywhere, order
from tests.engine.job_world import desk_of, files, nodes_at
from tests.engine.test_snapshot_crash import BROKEN, DISKS, START, kept, meanwhile, prepare, take
from tests.engine.test_snapshot_crash import Case as World

STOP = order(VmStop, OnVm("v1"))


def back(kind: type, disks: tuple[str, ...] = DISKS, memory: bool = False) -> Act:
    new = {disk: f"{disk}-back" for disk in disks}
    return order(kind, PreviewSnapshot("v1", "s1", new, "before", 9000, memory))


HAD = (START, take("s1"), STOP)
HAD_MORE = (START, take("s1", memory=True), take("s2", memory=True), STOP)
LOOKED = (*HAD_MORE, back(SnapshotPreview))
TRIED = (*LOOKED, START, STOP)
WITH_MEMORY = (*HAD_MORE, back(SnapshotPreview, memory=True))
COMMIT, UNDO = order(SnapshotCommit, EndPreview("v1")), order(SnapshotUndo, EndPreview("v1"))
WAKE, WAKE_PAUSED = order(VmStartMemory, WakeVm("v1")), order(VmStartMemory, WakeVm("v1", (), True))
PREVIEWED = ("before", "s1", "s2")


@dataclass(frozen=True)
class Case:
    """As :class:`tests.engine.test_snapshot_crash.Case`. ``past``: the disks that are what they were at ``s1``;
    ``marked``: what is not to be used (the row of the preview, disks). ``power``: the VM's, on its host."""

    name: str
    order: Act
    before: tuple[Act, ...]
    snapshots: tuple[str, ...]
    past: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ("finished",)
    then: str = ""
    fail_with: dict[str, Any] = field(default_factory=dict)
    marked: tuple[str, ...] = ()
    power: str = ""
    resumes: bool = False
    places: int = 7

    @property
    def world(self) -> World:
        """For what is shared."""
        return World(self.name, self.order, self.snapshots, self.before, then=self.then, fail_with=self.fail_with)


CASES = (
    Case("preview", back(SnapshotPreview), HAD, ("before", "s1"), DISKS),
    Case("preview-older", back(SnapshotPreview), HAD_MORE, PREVIEWED, DISKS),
    Case("preview-subset", back(SnapshotPreview, ("d2",)), HAD_MORE, PREVIEWED, ("d2",), places=5),
    Case("preview-memory", back(SnapshotPreview, memory=True), HAD_MORE, PREVIEWED, DISKS, resumes=True),
    Case("preview-lost", back(SnapshotPreview), HAD_MORE, PREVIEWED, DISKS, then="lost"),
    Case("preview-fails", back(SnapshotPreview), HAD, ("s1",), (), ("failed",), fail_with={"create": BROKEN}),
    Case("preview-cancelled", cancelled(back(SnapshotPreview)), HAD, ("s1",), (), ("aborted",), places=2),
    Case("commit", COMMIT, TRIED, ("s1",), DISKS),
    Case("commit-subset", COMMIT, (*HAD_MORE, back(SnapshotPreview, ("d2",))), ("s1", "s2"), ("d2",)),
    Case("commit-memory", COMMIT, WITH_MEMORY, ("s1",), DISKS, resumes=True),
    Case("commit-lost", COMMIT, TRIED, ("s1",), DISKS, then="lost"),
    Case("commit-fails", COMMIT, TRIED, PREVIEWED, DISKS, ("failed",), fail_with={"remove": BROKEN}, marked=("before",)),
    Case("undo", UNDO, TRIED, ("s1", "s2")),
    Case("undo-subset", UNDO, (*HAD_MORE, back(SnapshotPreview, ("d2",))), ("s1", "s2"), places=5),
    Case("undo-memory", UNDO, WITH_MEMORY, ("s1", "s2")),
    Case("undo-lost", UNDO, TRIED, ("s1", "s2"), then="lost"),
    Case("undo-fails", UNDO, TRIED, PREVIEWED, DISKS, ("failed",), fail_with={"remove": BROKEN}, marked=DISKS),
    Case("restore", back(SnapshotRestore), HAD, ("s1",), DISKS),
    Case("restore-older", back(SnapshotRestore, memory=True), HAD_MORE, ("s1",), DISKS, resumes=True),
    Case("restore-subset", back(SnapshotRestore, ("d1",)), HAD_MORE, ("s1", "s2"), ("d1",)),
    Case("restore-lost", back(SnapshotRestore), HAD_MORE, ("s1",), DISKS, then="lost"),
    Case("restore-fails", back(SnapshotRestore), HAD, ("before", "s1"), DISKS, ("failed",), fail_with={"remove": BROKEN},
         marked=("before",)),
    Case("restore-stuck", back(SnapshotRestore), HAD, ("s1",), (), ("failed",),
         fail_with={"create": BROKEN, "remove": BROKEN}),
    Case("restore-cancelled", cancelled(back(SnapshotRestore)), HAD, ("s1",), (), ("aborted",), places=2),
    Case("wake", WAKE, WITH_MEMORY, PREVIEWED, DISKS, power="running"),
    Case("wake-paused", WAKE_PAUSED, WITH_MEMORY, PREVIEWED, DISKS, power="paused", places=5),
    Case("wake-fails", WAKE, WITH_MEMORY, PREVIEWED, DISKS, ("failed",), fail_with={"wake": BROKEN}, resumes=True),
    Case("wake-cancelled", cancelled(WAKE), WITH_MEMORY, PREVIEWED, DISKS, ("aborted",), resumes=True, places=2),
)  # fmt: skip


@dataclass(frozen=True)
class Was:
    """What could be read before the job. ``kept``: ``snapshot/disk`` → content; ``now``: disk → what the VM has, or had
    before it previewed; ``past``: disk → what it had at ``s1``, or has in its preview of that."""

    kept: dict[str, dict[str, str]]
    now: dict[str, dict[str, str]]
    past: dict[str, dict[str, str]]


def check(folder: Path, case: Case, job_id: str, was: Was, where: str) -> None:
    store, nodes, layers = Store(folder / DATABASE), nodes_at(folder / HOSTS), FakeLayers(folder / HOSTS)
    entities = store.entities
    job = desk_of(store).jobs.need(job_id)
    assert (job.state, job.status in case.statuses) == ("ended", True), (where, job.status, job.error)
    snapshots = {one.id: one for one in entities.list("snapshot")}
    assert set(snapshots) == set(case.snapshots), where
    previewed = "before" in snapshots
    assert snapshots["s1"].shown_status == ("in_preview" if previewed else "ok"), where
    known = set()
    for disk in (entities.need("disk", one) for one in DISKS):
        rows = [layer_file(entities, disk, one) for one in reversed(chain(entities, disk))]
        assert [one.file for one in layers.chain(rows[0])] == rows, (where, disk.id)
        expected = was.past if disk.id in case.past else was.now
        assert layers.content(rows[0]) == expected[disk.id], (where, disk.id)
        assert disk.shown_status == ("illegal" if disk.id in case.marked else "ok"), (where, disk.id)
        known |= {f"{one.domain}/{one.path}" for one in rows}
    for one in snapshots.values():
        for disk_id, layer in images(one).items():
            file = layer_file(entities, entities.need("disk", disk_id), layer)
            known.add(f"{file.domain}/{file.path}")
            if one.body["snapshot_type"] == PREVIEW:
                assert layers.content(file) == was.now[disk_id], (where, disk_id)
                assert (one.shown_status == HALF_DROPPED) == (one.id in case.marked), where
    known |= {f"{file.domain}/{file.path}" for one in snapshots.values() if (file := memory_of(entities, one))}
    assert set(files(folder / HOSTS)) == known, where
    for name, content in kept(store, folder).items():
        assert was.kept.get(name, content) == content, (where, name)
    vm = nodes.host("node1").vm("v1") or nodes.host("node2").vm("v1")
    assert (vm.power if vm else "") == case.power, where
    row = entities.need("vm", "v1")
    assert (RESUME in row.body, row.shown_status in ("", "down")) == (case.resumes, not case.power), where
    assert store.connection.rows(LOCK.select()) == [], where
    store.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    was: list[Was] = []

    def prepared(folder: Path) -> None:
        prepare(folder, case.world)
        was.append(look(folder))

    kill_everywhere(
        tmp_path,
        prepared,
        case.order,
        lambda folder, job_id, where: check(folder, case, job_id, was[0], where),
        case.fail_with,
        case.places,
        lambda folder: meanwhile(folder, case.world),
    )


def look(folder: Path) -> Was:
    store, layers = Store(folder / DATABASE), FakeLayers(folder / HOSTS)
    before = store.entities.get("snapshot", "before")
    was = Was(kept(store, folder), {}, {})
    for disk in (store.entities.need("disk", one) for one in DISKS):
        own = layers.content(layer_file(store.entities, disk, chain(store.entities, disk)[-1]))
        in_preview = before is not None and disk.id in images(before)
        was.now[disk.id] = was.kept[f"before/{disk.id}"] if in_preview else own
        was.past[disk.id] = own if in_preview else was.kept[f"s1/{disk.id}"]
    assert before or was.now == {disk: written(folder / HOSTS, disk) for disk in DISKS}
    store.close()
    return was
