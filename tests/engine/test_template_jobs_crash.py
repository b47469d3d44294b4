"""``kill -9`` of the jobs process anywhere while a template is made, used or removed: it is all there, or nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.errors import Failed, TrivetError
from engine.jobs.desk import Desk
from engine.jobs.disk_create import CreateDisk
from engine.jobs.places import file_of
from engine.jobs.template_create import CreateTemplate, TemplateCreate
from engine.jobs.template_remove import RemoveTemplate, TemplateRemove
from engine.jobs.vm_create import AddedDisk, CreateVm, VmCreate
from engine.jobs.vm_parts import NewNic
from engine.store.audit import EVENT
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import LOCK
from tests.engine.crash import cancelled, kill_case, order
from tests.engine.job_world import MIB, desk_of, files, nodes_at, open_store, work_off

FULL = Failed("disk.no-space", subject="vmstore", reason="it is full", remedy="Make room.")
BODY = {"memory": 256 * MIB, "memory_policy": {"guaranteed": 256 * MIB, "max": 256 * MIB}}
REFS = {"cluster": ("c1",)}


def begun(disk: str, source: str, *, is_thin: bool = False) -> AddedDisk:
    form = "cow" if is_thin else "raw"
    return AddedDisk(CreateDisk(disk, f"i-{disk}", disk, "s1", MIB, form, True, {}, source, is_thin), {})  # type: ignore[arg-type]


MAKE = CreateTemplate(
    "t1",
    "v1",
    "golden",
    BODY,
    REFS,
    (begun("e1", "d1"), begun("e2", "d2")),
    (NewNic("tn", "nic1", "", "", {"linked": True}),),
)
VERSION = CreateTemplate("t2", "v1", "golden", BODY, REFS, (begun("f1", "d1"),), base_id="t1")
USE = {**REFS, "template": ("t1",)}
THIN = CreateVm("v9", "web9", BODY, USE, disks=(begun("g1", "e1", is_thin=True), begun("g2", "e2", is_thin=True)))
CLONE = CreateVm("v9", "web9", BODY, REFS, disks=(begun("g1", "e1"), begun("g2", "e2")))
MADE = order(TemplateCreate, MAKE)
VMS, COPIES, LAYERS = ("d1", "d2"), ("e1", "e2"), ("g1", "g2")


@dataclass(frozen=True)
class Case:
    """``disks``: rows and images at the end. ``below``: what is a layer over what. ``about``: (kind, id, status) of what the
    job is about; status empty: gone."""

    name: str
    order: Callable[[Desk], str]
    status: str
    about: tuple[str, str, str]
    disks: tuple[str, ...]
    told: int = 2
    before: tuple[Callable[[Desk], str], ...] = (MADE,)
    below: tuple[tuple[str, str], ...] = ()
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    places: int = 8


CASES = (
    Case("create", MADE, "finished", ("template", "t1", "ok"), VMS + COPIES, before=()),
    Case("create-fails", MADE, "failed", ("template", "t1", ""), VMS, before=(), fail_with={"copy": FULL}),
    Case("create-cancelled", cancelled(MADE), "aborted", ("template", "t1", ""), VMS, before=(), places=4),
    Case("version", order(TemplateCreate, VERSION), "finished", ("template", "t2", "ok"), (*VMS, *COPIES, "f1")),
    Case("thin", order(VmCreate, THIN), "finished", ("vm", "v9", "down"), VMS + COPIES + LAYERS,
         below=(("g1", "e1"), ("g2", "e2"))),
    Case("thin-fails", order(VmCreate, THIN), "failed", ("vm", "v9", ""), VMS + COPIES, fail_with={"create": FULL}),
    Case("clone", order(VmCreate, CLONE), "finished", ("vm", "v9", "down"), VMS + COPIES + LAYERS),
    Case("remove", order(TemplateRemove, RemoveTemplate("t1")), "finished", ("template", "t1", ""), VMS),
    Case("remove-fails", order(TemplateRemove, RemoveTemplate("t1")), "failed", ("template", "t1", "illegal"), VMS + COPIES,
         fail_with={"remove": FULL}),
)  # fmt: skip


def prepare(folder: Path, case: Case) -> None:
    """A VM with two disks, and what the case wants before."""
    store = open_store(folder / "engine.sqlite")
    entities = store.entities
    entities.change("vm", "v1", lambda vm: vm.with_body(**BODY))
    for disk in VMS:
        body = {"image_id": f"i-{disk}", "format": "raw", "provisioned_size": MIB}
        entities.add(Entity("disk", disk, disk, body, {"storage_domains": ("s1",)}, status="ok"))
        entities.add(Entity("disk_attachment", disk, "", {}, {"disk": (disk,)}, parent=("vm", "v1")))
        image = folder / "hosts" / "domains" / "vmstore" / "images" / disk / f"i-{disk}"
        image.parent.mkdir(parents=True)
        image.write_bytes(disk.encode().ljust(512, b"."))
    for one in case.before:
        one(desk_of(store))
        work_off(store, nodes_at(folder / "hosts"))
    store.connection.run(EVENT.delete())
    store.close()


def check(case: Case, folder: Path, job_id: str, where: str) -> None:
    store, node = Store(folder / "engine.sqlite"), nodes_at(folder / "hosts").disks("node1")
    ended = desk_of(store).jobs.need(job_id)
    assert (ended.state, ended.status) == ("ended", case.status), (where, ended.error)
    kind, identifier, status = case.about
    found = store.entities.get(kind, identifier)
    assert (found.shown_status if found else "") == status, where
    assert store.entities.need("vm", "v1").shown_status == "down", where
    rows = {one.id: one for one in store.entities.list("disk")}
    assert set(rows) == set(case.disks), where
    assert sorted(path.split("/")[-2] for path in files(folder / "hosts")) == sorted(case.disks), where
    broken = set(COPIES) if status == "illegal" else set()
    assert {one.id for one in rows.values() if one.shown_status != "ok"} == broken, where
    layers = {one.id: one.ref("backing_disk") for one in rows.values() if one.ref("backing_disk")}
    assert layers == dict(case.below), where
    for one in rows.values():
        file = file_of(store.entities, one)
        assert node.backing(file) == (file_of(store.entities, rows[layers[one.id]]).path if one.id in layers else ""), where
        assert node.guest_bytes(file)[:1] == b"d", where
    assert store.connection.rows(LOCK.select()) == [], where
    told = [one.description for one in store.events(limit=99)]
    assert len(told) == case.told, (where, told)
    store.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    kill_case(tmp_path, case, prepare, check)
