"""``kill -9`` of the jobs process anywhere while a VM is copied: the copy is all there and reads what its source had, or
there is nothing of it; and its source has lost nothing.

As in test_snapshot_crash.py, with whose world and guest it works.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.errors import TrivetError
from engine.fakes.layers import FakeLayers
from engine.fakes.vm_layers import written
from engine.jobs.disk_create import CreateDisk
from engine.jobs.layers import chain, images, layer_file, memory_of
from engine.jobs.vm_clone import CloneVm, VmClone
from engine.jobs.vm_create import AddedDisk, CreateVm
from engine.jobs.vm_parts import NewNic
from engine.jobs.vm_stop import OnVm, VmStop
from engine.store.durable import Store
from engine.store.entities import Entities, Entity
from engine.store.jobs import LOCK
from tests.engine.crash import DATABASE, HOSTS, kill_everywhere
from tests.engine.job_world import MIB, desk_of, files
from tests.engine.test_snapshot_crash import (
    BODY,
    BROKEN,
    DISKS,
    ONE,
    START,
    TWO,
    Act,
    cancelled,
    kept,
    meanwhile,
    order,
    prepare,
)
from tests.engine.test_snapshot_crash import Case as World

STOP = order(VmStop, OnVm("v1"))
COPIES = {"d1": "e1", "d2": "e2"}
"""Source → copy."""
RANGES = [{"from_": "56:6f:00:00:00:00", "to": "56:6f:00:00:00:0f"}]


def copy(snapshot: str = "", form: str = "cow") -> Act:
    disks = tuple(
        AddedDisk(
            CreateDisk(new, f"i-{new}", new, "s1", MIB, form, True, {}, old, False, snapshot),  # type: ignore[arg-type]
            {"bootable": old == "d1"},
        )
        for old, new in COPIES.items()
    )
    refs = {"cluster": ("c1",), "template": ("blank",)}
    return order(VmClone, CloneVm(CreateVm("v9", "copy", BODY, refs, (NewNic("n9", "nic1"),), (), disks), "v1", snapshot))


@dataclass(frozen=True)
class Case:
    """``source``: the snapshot that is copied; empty: the VM of now. ``statuses``: the ends that it may have. ``then``: as
    in test_snapshot_crash.py."""

    name: str
    order: Act
    before: tuple[Act, ...]
    source: str = ""
    statuses: tuple[str, ...] = ("finished",)
    then: str = ""
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    places: int = 9

    @property
    def world(self) -> World:
        """For what is shared."""
        return World(self.name, self.order, (), self.before, then=self.then, fail_with=self.fail_with)


CASES = (
    Case("snapshot-runs", copy("s1"), (START, ONE, TWO), "s1"),
    Case("snapshot-down", copy("s2", "raw"), (START, ONE, TWO, STOP), "s2"),
    Case("snapshot-lost", copy("s1"), (START, ONE), "s1", ("finished", "failed"), then="lost"),
    Case("snapshot-fails", copy("s1"), (START, ONE), "s1", ("failed",), fail_with={"copy": BROKEN}, places=5),
    Case("snapshot-cancelled", cancelled(copy("s1")), (START, ONE), "s1", ("aborted",), places=3),
    Case("vm", copy(), (START, ONE, STOP)),
    Case("vm-plain", copy("", "raw"), ()),
    Case("vm-fails", copy(), (START, ONE, STOP), "", ("failed",), fail_with={"copy": BROKEN}, places=5),
)


def sources(entities: Entities) -> set[str]:
    """Every file that the source and its snapshots are made of."""
    found = set()
    for disk in (entities.need("disk", one) for one in DISKS):
        found |= {layer_file(entities, disk, one) for one in chain(entities, disk)}
    for one in entities.list("snapshot"):
        memory = memory_of(entities, one)
        found |= {memory} if memory else set()
    return {f"{one.domain}/{one.path}" for one in found}


def check(folder: Path, case: Case, job_id: str, had: dict[str, dict[str, str]], where: str) -> None:
    store, layers = Store(folder / DATABASE), FakeLayers(folder / HOSTS)
    entities = store.entities
    job = desk_of(store).jobs.need(job_id)
    assert (job.state, job.status in case.statuses) == ("ended", True), (where, job.status, job.error)
    vm, is_made = entities.get("vm", "v9"), job.status == "finished"
    assert (vm.shown_status if vm else "") == ("down" if is_made else ""), where
    made = {one.id: one for one in entities.list("disk") if one.id not in DISKS}
    assert set(made) == (set(COPIES.values()) if is_made else set()), where
    assert {one.id for one in entities.list("nic")} == ({"n9"} if is_made else set()), where
    known = sources(entities)
    for old, new in COPIES.items():
        now = layer_file(entities, entities.need("disk", old), chain(entities, entities.need("disk", old))[-1])
        assert layers.content(now) == written(folder / HOSTS, old), (where, old)
        if not is_made:
            continue
        (copied,) = chain(entities, made[new])
        file = layer_file(entities, made[new], copied)
        assert layers.get(file).backing is None, (where, "it depends on nobody")
        assert layers.content(file) == had[f"{case.source}/{old}"], (where, new)
        assert made[new].shown_status == "ok", where
        known.add(f"{file.domain}/{file.path}")
    assert set(files(folder / HOSTS)) == known, where
    assert kept(store, folder) == {name: one for name, one in had.items() if not name.startswith("/")}, where
    assert entities.need("vm", "v1").shown_status == ("down" if STOP in case.before or not case.before else "up"), where
    for one in entities.list("snapshot"):
        assert (one.shown_status, set(images(one))) == ("ok", set(DISKS)), where
    assert store.connection.rows(LOCK.select()) == [], where
    store.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    had: dict[str, dict[str, str]] = {}

    def prepared(folder: Path) -> None:
        prepare(folder, case.world)
        store = Store(folder / DATABASE)
        store.entities.add(Entity("template", "blank", "Blank", status="ok"))
        store.entities.add(Entity("mac_pool", "p1", "Default", {"default_pool": True, "ranges": RANGES}))
        had.update(kept(store, folder))
        had.update({f"/{disk}": written(folder / HOSTS, disk) for disk in DISKS})
        store.close()

    kill_everywhere(
        tmp_path,
        prepared,
        case.order,
        lambda folder, job_id, where: check(folder, case, job_id, had, where),
        case.fail_with,
        case.places,
        lambda folder: meanwhile(folder, case.world),
    )
