"""``kill -9`` of the jobs process anywhere while a disk of a running VM moves to another domain, and its VM or its host may
be gone afterwards, too: the row names the file that the guest wrote last, the guest reads all that it ever wrote, and
nothing is left on the other domain.

As in test_snapshot_crash.py. The fake guest writes around each effect (engine/fakes/vm_mirrors.py), to both files while they
are mirrored, and not while it stands still.
"""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.errors import Failed, TrivetError
from engine.fakes.hosts import FakeNodes
from engine.fakes.layers import FakeLayers, file_at
from engine.fakes.vm_layers import guest_writes, written
from engine.jobs.disk_move import DiskMove, MoveDisk
from engine.jobs.disk_move_live import DiskMoveLive, LiveMoveDisk
from engine.jobs.evicted import GOING_OVER, cannot_write, writes
from engine.jobs.layers import chain, layer_file
from engine.jobs.places import MOUNTED_ON
from engine.jobs.vm_place import runs
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import LOCK
from tests.engine import test_snapshot_crash as snapshots
from tests.engine.crash import DATABASE, HOSTS, Act, cancelled, lose_host, order
from tests.engine.job_world import desk_of, files, in_a_process, nodes_at, work_off
from tests.engine.test_snapshot_crash import ONE, START, TWO, kept, kill_keeping

FULL = Failed("disk.no-space", subject="s2", reason="it is full", remedy="Make room.")
ON = "d2"
MOVE = order(DiskMoveLive, LiveMoveDisk(ON, "v1", "s1", "s2"))
MOVE_RAW = order(DiskMoveLive, LiveMoveDisk("d1", "v1", "s1", "s2"))
OFF = order(DiskMove, MoveDisk(ON, "s1", "s2"))


@dataclass(frozen=True)
class Case:
    """A move of ``disk``, what is done before it, and the ends that it may have: (status of the job, domain).

    ``then``: what has happened when the next process comes up: ``ends`` (the VM's QEMU), ``lost`` (its host, evicted).
    """

    name: str
    order: Act = MOVE
    before: tuple[Act, ...] = (START,)
    ends: tuple[tuple[str, str], ...] = (("finished", "s2"),)
    then: str = ""
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    disk: str = ON
    places: int = 25
    leaves: bool = False
    """What it was made of cannot be removed."""


STAYS, EITHER = (("failed", "s1"),), (("finished", "s2"), ("failed", "s1"))
CASES = (
    Case("live"),
    Case("live-raw", MOVE_RAW, disk="d1"),
    Case("live-chain", before=(START, ONE, TWO)),
    Case("live-ends", ends=EITHER, then="ends"),
    Case("live-chain-ends", before=(START, ONE), ends=EITHER, then="ends"),
    Case("live-lost", ends=EITHER, then="lost"),
    Case("live-chain-lost", before=(START, ONE), ends=EITHER, then="lost"),
    Case("live-full", ends=STAYS, fail_with={"mirror": FULL}, places=15),
    Case("live-copy-full", before=(START, ONE), ends=STAYS, fail_with={"copy": FULL}, places=12),
    Case("live-cancelled", cancelled(MOVE), ends=(("aborted", "s1"),), places=4),
    Case("live-leaves", ends=(("failed", "s2"),), fail_with={"remove": FULL}, leaves=True),
    Case("down-chain", OFF, before=(ONE, TWO), places=20),
    Case("down-chain-full", OFF, before=(ONE,), ends=STAYS, fail_with={"copy": FULL}, places=12),
)


def add_target(folder: Path) -> None:
    store = Store(folder / DATABASE)
    body = {MOUNTED_ON: ["node1", "node2"], "storage": {"type": "posixfs", "path": "nas:/x"}, "mount": "s2"}
    store.entities.add(Entity("storage_domain", "s2", "other", body, {"data_center": ("dc",)}))
    store.close()


def prepare(folder: Path, case: Case) -> None:
    snapshots.prepare(folder, snapshots.Case(case.name, case.order, (), case.before))
    add_target(folder)


def check(folder: Path, case: Case, job_id: str, had: dict[str, dict[str, str]], where: str) -> None:
    store, nodes, layers = Store(folder / DATABASE), nodes_at(folder / HOSTS), FakeLayers(folder / HOSTS)
    entities = store.entities
    job, disk = desk_of(store).jobs.need(job_id), entities.need("disk", case.disk)
    assert job.state == "ended", where
    assert (job.status, disk.ref("storage_domains")) in case.ends, (where, job.error)
    assert (disk.shown_status, disk.body.get(GOING_OVER)) == ("ok", None), where
    known = set()
    for one in (entities.need("disk", each) for each in snapshots.DISKS):
        rows = [layer_file(entities, one, layer) for layer in reversed(chain(entities, one))]
        assert [layer.file for layer in layers.chain(rows[0])] == rows, (where, one.id)
        assert layers.content(rows[0]) == written(folder / HOSTS, one.id), (where, one.id)
        known |= {f"{file.domain}/{file.path}" for file in rows}
    assert known <= set(files(folder / HOSTS)), where
    assert case.leaves or set(files(folder / HOSTS)) == known, where
    now = kept(store, folder)
    for name, content in had.items():
        assert now[name] == content, (where, name)
    vm = nodes.host("node1").vm("v1")
    if vm is not None and not case.then:
        spec = next(one for one in vm.spec.disks if one.serial == case.disk)
        assert file_at(spec.path, spec.format) == layer_file(entities, disk, chain(entities, disk)[-1]), where
        assert (vm.power, vm.mirrors) == ("running", {}), where
    assert store.connection.rows(LOCK.select()) == [], where
    store.close()
    if case.then == "lost" and where != "undisturbed":
        nodes.down.add("node1")  # its QEMU is there still, and can write nothing
    elif vm is not None:
        guest_writes(nodes.host("node1"), "v1", case.disk, "at the end", where)
        nodes.host("node1").end("v1")
    reads_all(nodes, folder, case, where)


def reads_all(nodes: FakeNodes, folder: Path, case: Case, where: str) -> None:
    """Started anew, as highly available VMs are: what the guest reads is all that it wrote."""
    store = Store(folder / DATABASE)
    store.entities.change("vm", "v1", lambda vm: vm.with_refs(host=()))
    store.entities.set_status("vm", {"v1": "down"})
    START(desk_of(store))
    work_off(store, nodes)
    host = next(one for one in nodes.up() if nodes.host(one).vm("v1"))
    vm = nodes.host(host).vm("v1")
    assert vm is not None and runs(store.entities.need("vm", "v1")), where
    spec = next(one for one in vm.spec.disks if one.serial == case.disk)
    found = FakeLayers(folder / HOSTS).content(file_at(spec.path, spec.format))
    assert found == written(folder / HOSTS, case.disk), where
    store.close()


def meanwhile(folder: Path, case: Case) -> FakeNodes:
    """The world as the next process finds it."""
    nodes = nodes_at(folder / HOSTS, fail_with=case.fail_with)
    if case.then == "ends":
        nodes.host("node1").end("v1")
    if case.then == "lost":
        lose_host(folder, nodes, "vmstore", "other")
    return nodes


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    kill_keeping(tmp_path, case, prepare, check, meanwhile)


def test_a_host_is_harmless_only_when_both_domains_refuse_it(tmp_path: Path) -> None:
    """Its QEMU may have gone over just before it was lost."""
    prepare(tmp_path, CASES[0])
    store = Store(tmp_path / DATABASE)
    entities = store.entities
    vm = entities.need("vm", "v1")
    assert writes(entities, vm) == {"vmstore"}
    entities.change("disk", ON, lambda one: one.with_body(**{GOING_OVER: "s2"}))
    assert writes(entities, vm) == {"vmstore", "other"}
    lose_host(tmp_path, nodes_at(tmp_path / HOSTS), "vmstore")
    assert not cannot_write(entities, vm, entities.need("host", "node1"))
    lose_host(tmp_path, nodes_at(tmp_path / HOSTS), "vmstore", "other")
    assert cannot_write(entities, vm, entities.need("host", "node1"))
    store.close()


@pytest.mark.parametrize(("place", "on"), [("the VM stands still", "s1"), ("it is marked", "s2")])
@pytest.mark.timeout(300)
def test_it_waits_for_who_can_say_where_the_vm_wrote_last(tmp_path: Path, place: str, on: str) -> None:
    """Its host is lost in the middle of the pivot, and only one of the two domains refuses it: nothing is decided, nothing
    may start, until it is back (without the VM) and the mark tells."""
    prepare(tmp_path, CASES[0])
    store = Store(tmp_path / DATABASE)
    job_id = MOVE(desk_of(store))
    store.close()

    def die(name: str) -> None:
        if name == place:
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_process(lambda: work_off(Store(tmp_path / DATABASE), nodes_at(tmp_path / HOSTS, die), die)) == -9
    nodes = nodes_at(tmp_path / HOSTS)
    lose_host(tmp_path, nodes, "vmstore")
    store = Store(tmp_path / DATABASE)
    back = threading.Timer(3.0, lambda: (nodes.host("node1").end("v1"), nodes.down.clear()))
    back.start()
    log = work_off(store, nodes)
    back.join()
    jobs, disk = desk_of(store).jobs, store.entities.need("disk", ON)
    assert (jobs.need(job_id).state, disk.ref("storage_domains"), disk.body.get(GOING_OVER)) == ("ended", on, None), log
    assert any("asking again until it is known" in text for _number, _ms, text in jobs.log_lines(job_id))
    store.close()
