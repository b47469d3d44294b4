"""Disks copied, moved and made larger: through the API, and killed at every place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.errors import Failed, TrivetError
from engine.core import Engine
from engine.jobs.desk import Desk
from engine.jobs.disk_copy import DiskCopy
from engine.jobs.disk_create import CreateDisk, DiskCreate
from engine.jobs.disk_extend import DiskExtend, ExtendDisk
from engine.jobs.disk_move import DiskMove, MoveDisk
from engine.jobs.places import MOUNTED_ON
from engine.jobs.vm_start import StartVm, VmStart
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import LOCK
from tests.engine import world
from tests.engine.crash import DATABASE, HOSTS, kill_case, order
from tests.engine.job_world import DISK, desk_of, files, nodes_at, open_store, work_off
from tests.engine.test_domains import new_disk
from tests.engine.vm_world import DOMAIN, MIB, Vms, detail, fake_hosts

BROKEN = Failed("disk.no-space", subject="s2", reason="it is full", remedy="Make room.")
OLD, NEW = "vmstore/images/d1/i1", "s2/images/d1/i1"


copy = order(DiskCopy, CreateDisk("d2", "i2", "copy", "s2", 8 * MIB, source_disk_id="d1"))
move = order(DiskMove, MoveDisk("d1", "s1", "s2"))
extend = order(DiskExtend, ExtendDisk("d1", 16 * MIB))


@dataclass(frozen=True)
class Case:
    """``files``: all that are on the domains at the end. ``on``: the domain of ``d1``. ``runs``: its VM does."""

    name: str
    order: Callable[[Desk], str]
    status: str
    files: dict[str, int]
    on: str = "s1"
    size: int = 8 * MIB
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    runs: bool = False
    places: int = 8


CASES = (
    Case("copy", copy, "finished", {OLD: 8 * MIB, "s2/images/d2/i2": 8 * MIB}),
    Case("copy-fails", copy, "failed", {OLD: 8 * MIB}, fail_with={"copy": BROKEN}),
    Case("move", move, "finished", {NEW: 8 * MIB}, "s2", places=15),
    Case("move-fails", move, "failed", {OLD: 8 * MIB}, fail_with={"copy": BROKEN}),
    Case("move-leaves", move, "failed", {OLD: 8 * MIB, NEW: 8 * MIB}, "s2", fail_with={"remove": BROKEN}),
    Case("extend", extend, "finished", {OLD: 16 * MIB}, size=16 * MIB),
    Case("extend-fails", extend, "failed", {OLD: 8 * MIB}, fail_with={"resize": BROKEN}),
    Case("extend-live", extend, "finished", {OLD: 16 * MIB}, size=16 * MIB, runs=True),
    Case("extend-live-fails", extend, "failed", {OLD: 8 * MIB}, fail_with={"live-resize": BROKEN}, runs=True),
)


def prepare(folder: Path, case: Case) -> None:
    store = open_store(folder / DATABASE)
    body = {MOUNTED_ON: ["node1", "node2"], "storage": {"type": "posixfs", "path": "nas:/x"}, "mount": "s2"}
    store.entities.add(Entity("storage_domain", "s2", "other", body, {"data_center": ("dc",)}))
    for host in ("node1", "node2"):
        store.entities.add(Entity("host", host, host, {}, {"cluster": ("c1",)}))
    order(DiskCreate, DISK)(desk_of(store))
    work_off(store, nodes_at(folder / HOSTS))
    store.entities.add(Entity("disk_attachment", "d1", "", {}, {"disk": ("d1",)}, parent=("vm", "v1")))
    if case.runs:
        small = {"memory": 256 * MIB, "memory_policy": {"guaranteed": 256 * MIB, "max": 256 * MIB}}
        store.entities.change("vm", "v1", lambda one: one.with_body(**small))
        order(VmStart, StartVm("v1"))(desk_of(store))
        work_off(store, nodes_at(folder / HOSTS))
        store.entities.set_status("vm", {"v1": "up"})
    store.close()


def check(case: Case, folder: Path, job_id: str, where: str) -> None:
    store = Store(folder / DATABASE)
    ended = desk_of(store).jobs.need(job_id)
    assert (ended.state, ended.status) == ("ended", case.status), (where, ended.error)
    assert files(folder / HOSTS) == case.files, where
    disk = store.entities.need("disk", "d1")
    assert (disk.ref("storage_domains"), disk.status, disk.locked_as) == (case.on, "ok", ""), where
    assert disk.body["provisioned_size"] == case.size, where
    copied = store.entities.get("disk", "d2")
    assert (copied is not None and copied.status == "ok") == any("/d2/" in one for one in case.files), where
    assert store.connection.rows(LOCK.select()) == [], where
    store.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    kill_case(tmp_path, case, prepare, check)


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    made = Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))
    body = {MOUNTED_ON: [one.id for one in world.MEMBERS], "storage": {"type": "posixfs", "path": "nas:/x"}, "mount": "s2"}
    center = engine.store.entities.need("storage_domain", DOMAIN).ref("data_center")
    engine.store.entities.add(Entity("storage_domain", "s2", "other", body, {"data_center": (center,)}))
    return made


def refusal(vms: Vms, method: str, path: str, body: Any) -> str:
    status, answer = vms.ask(method, path, body)
    assert status in (400, 409), answer
    return detail(answer)


@pytest.mark.timeout(300)
def test_through_the_api(vms: Vms, tmp_path: Path) -> None:
    disk = vms.done("POST", "disks", new_disk(wipe_after_delete=True))["id"]
    vms.done("POST", f"disks/{disk}/move", {"storage_domain": {"name": "other"}})
    assert vms.ask("GET", f"disks/{disk}")[1]["storage_domains"]["storage_domain"][0]["id"] == "s2"
    assert [one.split("/")[0] for one in files(tmp_path / "hosts")] == ["s2"]
    assert "on Storage Domain other already" in refusal(vms, "POST", f"disks/{disk}/move", {"storage_domain": {"id": "s2"}})
    given = {"storage_domain": {"name": "vmstore"}, "disk": {"name": "twin"}}
    vms.done("POST", f"storagedomains/s2/disks/{disk}/copy", given)
    twin = next(one for one in vms.ask("GET", "disks")[1]["disk"] if one["name"] == "twin")
    assert (twin["wipe_after_delete"], twin["provisioned_size"], twin["id"] != disk) == ("true", str(8 * MIB), True)
    vms.done("PUT", f"disks/{disk}", {"name": "grown", "provisioned_size": 32 * MIB})
    found = vms.ask("GET", f"disks/{disk}")[1]
    assert (found["name"], found["provisioned_size"]) == ("grown", str(32 * MIB))
    assert "must be larger" in refusal(vms, "PUT", f"disks/{disk}", {"provisioned_size": 16 * MIB})
    assert {2008, 2010, 2004, 2006, 371} <= {one.code for one in vms.engine.store.events(limit=30)}


@pytest.mark.timeout(300)
def test_what_a_running_vm_allows(vms: Vms) -> None:
    vm = vms.started(name="a")
    disk = vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"][0]["id"]
    assert "VM a has disk root" in refusal(vms, "POST", f"disks/{disk}/copy", {"storage_domain": {"id": "s2"}})
    vms.done("PUT", f"vms/{vm}/diskattachments/{disk}", {"disk": {"provisioned_size": 16 * MIB}})
    assert vms.ask("GET", f"disks/{disk}")[1]["provisioned_size"] == str(16 * MIB)
    vms.done("POST", f"vms/{vm}/stop?async=true", {})
    vms.done("POST", f"vms/{vm}/snapshots", {"description": "before"})
    vms.done("POST", f"disks/{disk}/move", {"storage_domain": {"id": "s2"}})
    where = sorted(one.split("/")[0] for one in files(vms.nodes.nodes["node1"].folder))
    assert where == ["s2", "s2"], "what the snapshot keeps goes along"


def writes_to(vms: Vms, vm: str, disk: str) -> str:
    return next(one.path for one in vms.running(vm).spec.disks if one.serial == disk)


@pytest.mark.timeout(300)
def test_a_disk_moves_while_its_vm_runs(vms: Vms) -> None:
    vm = vms.started(name="a")
    disk = vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"][0]["id"]
    there = {"storage_domain": {"id": "s2"}}
    vms.done("POST", f"vms/{vm}/snapshots", {"description": "before", "persist_memorystate": False})
    assert vms.ask("POST", f"disks/{disk}/move", there)[0] in (200, 202)
    assert vms.ask("GET", f"disks/{disk}")[1]["status"] == "locked"
    assert vms.vm(vm)["status"] == "up", "it runs all the time"
    for action in ("stop", "migrate", "suspend"):
        assert "locked" in refusal(vms, "POST", f"vms/{vm}/{action}", {}), action
    vms.work()
    moving = vms.newest()
    assert moving.status == "finished", moving.error
    assert "/s2/images/" in writes_to(vms, vm, disk) and vms.running(vm).power == "running"
    assert {one.split("/")[0] for one in files(vms.nodes.nodes["node1"].folder)} == {"s2"}
    assert vms.ask("GET", f"disks/{disk}")[1]["storage_domains"]["storage_domain"][0]["id"] == "s2"
    assert "on Storage Domain other already" in refusal(vms, "POST", f"disks/{disk}/move", there)
    snapshot = next(one for one in vms.ask("GET", f"vms/{vm}/snapshots")[1]["snapshot"] if one["description"] == "before")
    vms.done("DELETE", f"vms/{vm}/snapshots/{snapshot['id']}")
    assert "/s2/images/" in writes_to(vms, vm, disk)


@pytest.mark.timeout(300)
def test_a_live_move_is_cancelled_or_refused(vms: Vms) -> None:
    vm = vms.started(name="a")
    disk, entities = vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"][0]["id"], vms.engine.store.entities
    there = {"storage_domain": {"id": "s2"}}
    assert vms.ask("POST", f"disks/{disk}/move", there)[0] in (200, 202)
    job = vms.newest()
    assert "runs it itself" in refusal(vms, "POST", f"jobs/{job.id}/end", {"succeeded": False})
    assert vms.ask("POST", f"jobs/{job.id}/end", {"force": True})[0] == 200
    vms.work()
    assert vms.engine.jobs.need(job.id).status == "aborted" and "/vmstore/images/" in writes_to(vms, vm, disk)
    for name, value, why in (("read_only", True, "read-only"), ("active", False, "VM a has disk")):
        entities.change("disk_attachment", disk, lambda one, n=name, v=value: one.with_body(**{n: v}))  # type: ignore[misc]
        assert why in refusal(vms, "POST", f"disks/{disk}/move", there)
        entities.change("disk_attachment", disk, lambda one, n=name, v=value: one.with_body(**{n: not v}))  # type: ignore[misc]
    entities.change("disk", disk, lambda one: one.with_body(shareable=True))
    assert "Other VMs may write" in refusal(vms, "POST", f"disks/{disk}/move", there)
    entities.change("disk", disk, lambda one: one.with_body(shareable=False))
    entities.change("storage_domain", "s2", lambda one: one.with_body(**{MOUNTED_ON: []}))
    assert "does not reach Storage Domain other" in refusal(vms, "POST", f"disks/{disk}/move", there)
