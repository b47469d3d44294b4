"""``kill -9`` of the jobs process anywhere in the life of a storage domain: it is where the job wants it, or as before. No
mount, mark or row is left over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.errors import Failed, TrivetError
from appliance.model.domain import DomainMark
from engine.jobs.desk import Desk
from engine.jobs.domain_activate import ActivateDomain, AttachDomain, DomainActivate, DomainAttach
from engine.jobs.domain_create import CreateDomain, DomainCreate
from engine.jobs.domain_deactivate import DeactivateDomain, DomainDeactivate
from engine.jobs.domain_remove import DomainRemove, RemoveDomain
from engine.jobs.host_storage import ConnectHost, HostStorage
from engine.jobs.places import MOUNTED_ON
from engine.store.audit import EVENT
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import LOCK
from tests.engine.crash import DATABASE, HOSTS, kill_case, order
from tests.engine.job_world import desk_of, nodes_at, open_store, work_off

ID = "5e0d0d0c-0000-4000-8000-000000000001"
STORAGE = {"type": "posixfs", "vfs_type": "nfs", "path": "nas:/export/data"}
BROKEN = Failed("process.failed", subject="systemctl", reason="it breaks here", remedy="Mend it.")
BOTH = ("node1", "node2")


create = order(DomainCreate, CreateDomain(ID, "data", STORAGE, "node1"))
attach = order(DomainAttach, AttachDomain(ID, "dc"))
deactivate = order(DomainDeactivate, DeactivateDomain(ID, "dc"))
activate = order(DomainActivate, ActivateDomain(ID, "dc"))
remove = order(DomainRemove, RemoveDomain(ID, format=True))
destroy = order(DomainRemove, RemoveDomain(ID, destroy=True))


@dataclass(frozen=True)
class Case:
    """``before``: jobs that are done first. ``domain``: its status at the end, ``None``: there is none. ``mounted``: the
    hosts that have it. ``marked``: whether the storage bears its mark."""

    name: str
    order: Callable[[Desk], str]
    status: str
    domain: str | None
    mounted: tuple[str, ...] = ()
    marked: bool = True
    before: tuple[Callable[[Desk], str], ...] = (create, attach)
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    foreign: bool = False
    places: int = 8


CASES = (
    Case("create", create, "finished", "unattached", before=(), places=16),
    Case("create-fails", create, "failed", None, marked=False, before=(), fail_with={"mark": BROKEN}, places=12),
    Case("create-foreign", create, "failed", None, marked=False, before=(), foreign=True, places=12),
    Case("attach", attach, "finished", "", BOTH, before=(create,)),
    Case("attach-fails", attach, "failed", "unattached", before=(create,), fail_with={"mount": BROKEN}),
    Case("deactivate", deactivate, "finished", "maintenance"),
    Case("deactivate-fails", deactivate, "failed", "", BOTH, fail_with={"unmount": BROKEN}),
    Case("activate", activate, "finished", "", BOTH, before=(create, attach, deactivate)),
    Case("activate-fails", activate, "failed", "maintenance", before=(create, attach, deactivate),
         fail_with={"mount": BROKEN}),
    Case("remove", remove, "finished", None, marked=False, before=(create,)),
    Case("remove-fails", remove, "failed", "unattached", BOTH[:1], before=(create,), fail_with={"unmark": BROKEN}),
    Case("destroy", destroy, "finished", None, before=(create, attach, deactivate), places=6),
    Case("destroy-stuck", destroy, "finished", None, before=(create, attach, deactivate), fail_with={"unmount": BROKEN},
         places=6),
    Case("host-back", order(HostStorage, ConnectHost("node2", "node2", (ID,))), "finished", "", BOTH),
)  # fmt: skip


def prepare(folder: Path, case: Case) -> None:
    store = open_store(folder / DATABASE)
    for host in BOTH:
        store.entities.add(Entity("host", host, host, {}, {"cluster": ("c1",)}))
    if case.foreign:
        node = nodes_at(folder / HOSTS).storage("node1")
        node.domain_mount_posix("other", STORAGE["path"], "nfs", "")
        node.domain_mark("other", DomainMark("another", "theirs", "posixfs"))
        node.domain_unmount("other")
    for job in case.before:
        nodes = nodes_at(folder / HOSTS)
        if case.name == "host-back":
            nodes.down.add("node2")
        begun = job(desk_of(store))
        work_off(store, nodes)
        assert desk_of(store).jobs.need(begun).status == "finished"
    if case.name == "destroy":
        body = {"image_id": "i", "format": "raw", "provisioned_size": 1}
        store.entities.add(Entity("disk", "lost", "lost", body, {"storage_domains": (ID,)}, status="ok"))
        store.entities.add(Entity("disk_attachment", "lost", "", {}, {"disk": ("lost",)}, parent=("vm", "v1")))
    store.connection.run(EVENT.delete())
    store.close()


def check(case: Case, folder: Path, job_id: str, where: str) -> None:
    store, nodes = Store(folder / DATABASE), nodes_at(folder / HOSTS)
    ended = desk_of(store).jobs.need(job_id)
    assert (ended.state, ended.status) == ("ended", case.status), (where, ended.error)
    row = store.entities.get("storage_domain", ID)
    assert (None if row is None else row.status, "" if row is None else row.locked_as) == (case.domain, ""), where
    states = {host: nodes.storage(host).domain(ID) for host in BOTH}
    if case.name != "remove-fails":  # given up behind the point of no return: what was mounted for it may be so still
        assert tuple(host for host, one in states.items() if one.mounted) == case.mounted, where
    if row is not None and case.domain == "":
        assert row.body[MOUNTED_ON] == list(BOTH), where
    marks = [path for path in (folder / HOSTS / "sources").rglob(".trivet-domain.json") if ID in path.read_text()]
    assert bool(marks) == case.marked, where
    profiles = store.entities.list("disk_profile")
    assert [one.ref("storage_domain") for one in profiles] == ([] if row is None else [ID]), where
    assert store.entities.get("disk", "lost") is None and not store.entities.children(("vm", "v1"), "disk_attachment")
    assert store.connection.rows(LOCK.select()) == [], where
    told = [one.description for one in store.events(limit=9)]
    assert len(told) == (0 if case.name == "host-back" else 1), (where, told)
    store.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    kill_case(tmp_path, case, prepare, check)
