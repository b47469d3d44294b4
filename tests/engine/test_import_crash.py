"""``kill -9`` of the jobs process anywhere while a domain is described, imported, or what is on it is registered: it is
there, whole, or as before; and the domain's mark says whose it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.errors import TrivetError
from appliance.model.domain import MARK
from engine.decide.descriptor import Descriptor, parse
from engine.jobs.descriptors import UNREGISTERED, descriptors_on
from engine.jobs.desk import Desk
from engine.jobs.disk_create import CreateDisk, DiskCreate
from engine.jobs.domain_describe import DescribeDomain, DomainDescribe
from engine.jobs.domain_import import DomainImport, ImportDomain
from engine.jobs.register import Register, VmRegister
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import LOCK
from tests.engine.crash import DATABASE, HOSTS, kill_case
from tests.engine.job_world import MIB, desk_of, nodes_at, open_store, work_off
from tests.engine.test_domain_crash import BOTH, BROKEN, ID, STORAGE, attach, create, deactivate, destroy, order

PROBE = "11111111-2222-4333-8444-555555555555"
SOURCE = "nas__export_data"
DISK = CreateDisk("d1", "i1", "root", ID, 8 * MIB, "cow")
describe = order(DomainDescribe, DescribeDomain(ID))
bring = order(DomainImport, ImportDomain(PROBE, "back", STORAGE, "node1"))
taken = order(DomainImport, ImportDomain(PROBE, "back", STORAGE, "node1", words="take over from Berlin"))


def register(desk: Desk) -> str:
    """What the domain said of its VM."""
    (row,) = desk.entities.children(("storage_domain", ID), UNREGISTERED)
    said = parse(json.dumps(row.body["trivet_descriptor"]), "vm-v1.json")
    given = Register("vm", row.id, ID, said.id, said.name, said.attributes, {"cluster": ("c1",)}, disks=said.disks)
    return str(desk.order(VmRegister, given, owner_id="admin", correlation_id="c").id)


@dataclass(frozen=True)
class Case:
    """``stage``: how far it was before: ``made`` here, ``gone`` from here, ``back`` again. ``known``: the kinds of which it
    has rows at the end. ``owner``: what the mark says then."""

    name: str
    order: Callable[[Desk], str]
    status: str
    stage: str
    known: tuple[str, ...]
    owner: str = "s1"
    held_by: str = ""
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    lost: bool = False
    places: int = 8


DOMAIN, ROWS = ("storage_domain",), ("storage_domain", UNREGISTERED)
CASES = (
    Case("describe", describe, "finished", "made", ("disk", *DOMAIN, "vm"), places=14),
    Case("describe-fails", describe, "failed", "made", ("disk", *DOMAIN, "vm"), fail_with={"write-file": BROKEN}),
    Case("import", bring, "finished", "gone", ROWS, places=18),
    Case("import-fails", bring, "failed", "gone", (), "", fail_with={"mark": BROKEN}, places=12),
    Case("import-used", bring, "failed", "gone", (), "other", "other", places=10),
    Case("import-taken", taken, "finished", "gone", ROWS, "s1", "other", places=18),
    Case("register", register, "finished", "back", ("disk", *DOMAIN, "vm")),
    Case("register-lost", register, "failed", "back", ROWS, lost=True),
)


def run(folder: Path, *jobs: Callable[[Desk], str]) -> None:
    for job in jobs:
        store = Store(folder / DATABASE)
        begun = job(desk_of(store))
        work_off(store, nodes_at(folder / HOSTS))
        assert desk_of(store).jobs.need(begun).status == "finished", desk_of(store).jobs.need(begun).error
        store.close()


def prepare(folder: Path, case: Case) -> None:
    store = open_store(folder / DATABASE)
    for host in BOTH:
        store.entities.add(Entity("host", host, host, {}, {"cluster": ("c1",)}))
    store.close()
    run(folder, create, attach, order(DiskCreate, DISK))
    store = Store(folder / DATABASE)
    store.entities.add(Entity("disk_attachment", "d1", "", {"bootable": True}, {"disk": ("d1",)}, parent=("vm", "v1")))
    store.close()
    if case.stage == "made":
        return
    run(folder, deactivate, destroy)
    store = Store(folder / DATABASE)
    store.entities.remove("vm", "v1")
    store.close()
    place = folder / HOSTS / "sources" / SOURCE / MARK
    if case.held_by:
        said = {**json.loads(place.read_text()), "owner": case.held_by, "owner_name": "Berlin"}
        place.write_text(json.dumps(said))
    if case.stage == "back":
        run(folder, bring, attach)
    if case.lost:
        (folder / HOSTS / "domains" / ID / "images" / "d1" / "i1").unlink()


def check(case: Case, folder: Path, job_id: str, where: str) -> None:
    store, nodes = Store(folder / DATABASE), nodes_at(folder / HOSTS)
    entities = store.entities
    ended = desk_of(store).jobs.need(job_id)
    assert (ended.state, ended.status) == ("ended", case.status), (where, ended.error)
    found = {
        "disk": entities.get("disk", "d1"),
        "storage_domain": entities.get("storage_domain", ID),
        "vm": entities.get("vm", "v1"),
        UNREGISTERED: next(iter(entities.children(("storage_domain", ID), UNREGISTERED)), None),
    }
    assert {kind for kind, one in found.items() if one is not None} == set(case.known), where
    said = json.loads((folder / HOSTS / "sources" / SOURCE / MARK).read_text())
    assert (said["id"], said["owner"]) == (ID, case.owner), where
    mounted = {host: nodes.storage(host).domain(ID).mounted for host in BOTH}
    assert set(mounted.values()) == {case.stage != "gone"}, where
    assert not any(nodes.storage(host).domain(PROBE).mounted for host in BOTH), where
    assert len(entities.list("disk_profile")) == ("storage_domain" in case.known), where
    if case.name in ("describe", "register"):
        assert whole(store, folder) or case.name == "register", where
        (attachment,) = entities.children(("vm", "v1"), "disk_attachment")
        assert attachment.ref("disk") == "d1" and attachment.body["bootable"], where
        disk = entities.need("disk", "d1")
        assert (disk.ref("storage_domains"), disk.status, disk.body["provisioned_size"]) == (ID, "ok", 8 * MIB), where
    assert store.connection.rows(LOCK.select()) == [], where
    store.close()


def whole(store: Store, folder: Path) -> bool:
    """Whether the domain says what is there."""
    found: list[Descriptor] = []
    for path in (folder / HOSTS / "sources" / SOURCE / "descriptors").glob("vm-*.json"):
        found.append(parse(path.read_text(), path.name))
    wanted = list(descriptors_on(store.entities, store.entities.need("storage_domain", ID)))
    return found == wanted and found[0].disks[0].image == "i1"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    kill_case(tmp_path, case, prepare, check)
