"""``kill -9`` of the jobs process anywhere in a snapshot's jobs, and its VM or its host may be gone afterwards, too:
every chain is what the rows say, and a guest reads all that it ever wrote.

As in test_vm_jobs_crash.py. The fake guest writes around each effect (engine/fakes/vm_layers.py), so a layer that is
used too long, or too early, loses something here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.errors import Failed, TrivetError
from engine.fakes.hosts import FakeNodes
from engine.fakes.layers import FakeLayers, file_at
from engine.fakes.vm_layers import guest_writes, written
from engine.jobs.layers import chain, images, layer_file, memory_of
from engine.jobs.snapshot_create import CreateSnapshot, SnapshotCreate
from engine.jobs.snapshot_remove import RemoveSnapshot, SnapshotRemove
from engine.jobs.vm_start import StartVm, VmStart
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import LOCK
from tests.engine.crash import DATABASE, HOSTS, Act, C, cancelled, kill_case, lose_host, order
from tests.engine.job_world import MIB, desk_of, files, nodes_at, open_store, work_off

BROKEN = Failed("vm.broken", subject="VM v1", reason="it breaks here", remedy="Mend it.")
BODY = {"memory": 256 * MIB, "memory_policy": {"guaranteed": 256 * MIB, "max": 256 * MIB}}
DISKS = ("d1", "d2")


def take(name: str, disks: tuple[str, ...] = DISKS, memory: bool = False) -> Act:
    new = {disk: f"{disk}-over-{name}" for disk in disks}
    where = ("s1", f"memory/v1/{name}") if memory else ("", "")
    return order(SnapshotCreate, CreateSnapshot("v1", name, name, new, 1000 + int(name[1:]), *where))


START, ONE, TWO = order(VmStart, StartVm("v1")), take("s1"), take("s2")
REMOVE = order(SnapshotRemove, RemoveSnapshot("v1", "s1"))


@dataclass(frozen=True)
class Case:
    """A job, what is done before it, the ends that it may have, and which snapshots there are then.

    ``then``: what has happened when the next process comes up: ``ends`` (the VM's QEMU), ``lost`` (its host, which is
    evicted).
    """

    name: str
    order: Act
    snapshots: tuple[str, ...]
    before: tuple[Act, ...] = ()
    statuses: tuple[str, ...] = ("finished",)
    then: str = ""
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    either: tuple[str, ...] | None = None
    """Snapshots that there are if it has not finished."""
    places: int = 7


CASES = (
    Case("create", ONE, ("s1",), (START,)),
    Case("create-memory", take("s1", memory=True), ("s1",), (START,)),
    Case("create-subset", take("s1", ("d2",)), ("s1",), (START,)),
    Case("create-again", TWO, ("s1", "s2"), (START, ONE)),
    Case("create-down", ONE, ("s1",)),
    Case("create-fails", ONE, (), (START,), ("failed",), fail_with={"snapshot": BROKEN}),
    Case("create-cancelled", cancelled(ONE), (), (START,), ("aborted",), places=4),
    Case("create-ends", ONE, ("s1",), (START,), then="ends"),
    Case("create-lost", ONE, ("s1",), (START,), then="lost"),
    Case("create-memory-ends", take("s1", memory=True), ("s1",), (START,), ("finished", "failed"), "ends", either=()),
    Case("remove", REMOVE, (), (START, ONE)),
    Case("remove-memory", REMOVE, (), (START, take("s1", memory=True))),
    Case("remove-below", REMOVE, ("s2",), (START, ONE, TWO)),
    Case("remove-down", REMOVE, (), (ONE,)),
    Case("remove-down-below", REMOVE, ("s2",), (ONE, TWO)),
    Case("remove-ends", REMOVE, (), (START, ONE), then="ends"),
    Case("remove-below-ends", REMOVE, ("s2",), (START, ONE, TWO), then="ends"),
    Case("remove-lost", REMOVE, (), (START, ONE), then="lost"),
    Case("remove-fails", REMOVE, ("s1",), (START, ONE), ("failed",), fail_with={"merge": BROKEN}),
)


def with_disks(folder: Path, disks: Mapping[str, Mapping[str, str]]) -> Store:
    """Two hosts, and a VM with these disks, one image each."""
    store = open_store(folder / DATABASE)
    entities = store.entities
    for host in ("node1", "node2"):
        entities.add(Entity("host", host, host, {}, {"cluster": ("c1",)}))
    entities.change("vm", "v1", lambda vm: vm.with_body(**BODY))
    for disk, more in disks.items():
        body = {"image_id": f"{disk}-base", "provisioned_size": MIB, **more}
        entities.add(Entity("disk", disk, disk, body, {"storage_domains": ("s1",)}, status="ok"))
        entities.add(Entity("disk_attachment", disk, "", {}, {"disk": (disk,)}, parent=("vm", "v1")))
        image = folder / HOSTS / "domains" / "vmstore" / "images" / disk / f"{disk}-base"
        image.parent.mkdir(parents=True)
        image.write_bytes(bytes(16))
    return store


def play(store: Store, folder: Path, acts: Sequence[Act], writes: Callable[[int], Mapping[str, str]]) -> None:
    """One job after the other; after each the guest, if it runs, writes to all its disks."""
    nodes, entities = nodes_at(folder / HOSTS), store.entities
    for number, act in enumerate(acts):
        act(desk_of(store))
        work_off(store, nodes)
        if entities.need("vm", "v1").status == "powering_up":
            entities.set_status("vm", {"v1": "up"})
        if nodes.host("node1").vm("v1"):
            for disk in DISKS:
                for key, value in writes(number).items():
                    guest_writes(nodes.host("node1"), "v1", disk, key, value)


def prepare(folder: Path, case: Case) -> None:
    """A VM with two disks, one raw and one qcow2; its guest writes before and after each step."""
    store = with_disks(folder, {"d1": {"format": "raw"}, "d2": {"format": "cow"}})
    play(store, folder, case.before, lambda number: {"same place": f"time {number}", f"place {number}": "written"})
    store.close()


def kept(store: Store, folder: Path) -> dict[str, dict[str, str]]:
    """``snapshot/disk`` → what it has."""
    layers = FakeLayers(folder / HOSTS)
    return {
        f"{one.id}/{disk}": layers.content(layer_file(store.entities, store.entities.need("disk", disk), layer))
        for one in store.entities.list("snapshot")
        for disk, layer in images(one).items()
    }


def check(folder: Path, case: Case, job_id: str, had: dict[str, dict[str, str]], where: str) -> None:
    store, nodes, layers = Store(folder / DATABASE), nodes_at(folder / HOSTS), FakeLayers(folder / HOSTS)
    entities = store.entities
    job = desk_of(store).jobs.need(job_id)
    assert job.state == "ended", where
    assert job.status in case.statuses, (where, job.error)
    finished = job.status == "finished" or case.either is None
    snapshots = {one.id: one for one in entities.list("snapshot")}
    assert set(snapshots) == set(case.snapshots if finished else case.either or ()), where
    known = set()
    for disk in (entities.need("disk", one) for one in DISKS):
        rows = [layer_file(entities, disk, one) for one in reversed(chain(entities, disk))]
        assert [one.file for one in layers.chain(rows[0])] == rows, (where, disk.id)
        assert layers.content(rows[0]) == written(folder / HOSTS, disk.id), (where, disk.id)
        assert not layers.get(rows[0]).merged, (where, disk.id)
        assert disk.shown_status == "ok" or (job.status == "failed" and disk.status == "illegal"), (where, disk.id)
        known |= {f"{one.domain}/{one.path}" for one in rows}
    known |= {f"{file.domain}/{file.path}" for one in snapshots.values() if (file := memory_of(entities, one))}
    assert set(files(folder / HOSTS)) == known, where
    now = kept(store, folder)
    for name, content in had.items():
        assert now.get(name, content) == content, (where, name)
    vm = nodes.host("node1").vm("v1")
    if vm is not None and not case.then:
        for disk in (entities.need("disk", one) for one in DISKS):
            written_now = next(file_at(one.path, one.format) for one in vm.spec.disks if one.serial == disk.id)
            assert written_now == layer_file(entities, disk, chain(entities, disk)[-1]), (where, disk.id)
    assert store.connection.rows(LOCK.select()) == [], where
    store.close()


def meanwhile(folder: Path, case: Case) -> FakeNodes:
    """The world as the next process finds it."""
    nodes = nodes_at(folder / HOSTS, fail_with=case.fail_with)
    if case.then == "ends":
        nodes.host("node1").end("v1")
    if case.then == "lost":
        lose_host(folder, nodes, "vmstore")
    return nodes


Had = dict[str, dict[str, str]]


def kill_keeping(
    folder: Path,
    case: C,
    prepare: Callable[[Path, C], None],
    check: Callable[[Path, C, str, Had, str], None],
    meanwhile: Callable[[Path, C], FakeNodes],
) -> None:
    """Killed everywhere; ``check`` is told what the snapshots had before."""
    had: Had = {}

    def prepared(place: Path, case: C) -> None:
        prepare(place, case)
        store = Store(place / DATABASE)
        had.update(kept(store, place))
        store.close()

    kill_case(folder, case, prepared, lambda case, place, job, where: check(place, case, job, had, where), meanwhile)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    kill_keeping(tmp_path, case, prepare, check, meanwhile)


def test_what_a_snapshot_keeps_is_what_was_there(tmp_path: Path) -> None:
    case = CASES[3]
    prepare(tmp_path, case)
    store = Store(tmp_path / DATABASE)
    before = written(tmp_path / HOSTS, "d1")
    case.order(desk_of(store))
    work_off(store, nodes_at(tmp_path / HOSTS))
    found = kept(store, tmp_path)
    assert found["s2/d1"] == before
    assert found["s1/d1"] == {"same place": "time 0", "place 0": "written"}
    assert json.dumps(written(tmp_path / HOSTS, "d1")) != json.dumps(before), "the guest has written since"
    store.close()
