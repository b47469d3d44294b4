"""``kill -9`` of the jobs process anywhere while a host is added, installed again, or removed: it is a host and all know
it, or it is none and nobody does; what failed can be tried again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import Failed, TrivetError
from appliance.model.cluster import Member
from appliance.tools.systemd import HA_UNITS
from engine.fakes.enrolment import TOKEN as SECRET
from engine.fakes.enrolment import VOLUMES, FakeEnrolment
from engine.jobs.desk import Desk
from engine.jobs.enrol import TOKEN
from engine.jobs.host_install import AddHost, HostAdd, HostInstall, InstallHost
from engine.jobs.host_remove import HostRemove, RemoveHost
from engine.jobs.job import JobType
from engine.members import NODE, OUTSIDE
from engine.store.audit import EVENT
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import LOCK
from tests.engine import crash
from tests.engine.crash import DATABASE, HOSTS, Act, kill_case
from tests.engine.job_world import desk_of, nodes_at, open_store

BROKEN = Failed("node.broken", subject="node4", reason="it breaks here", remedy="Mend it.")
NEW = Member("h4", "node4", "node4")
ALL, FOUNDERS = ("node1", "node2", "node4"), ("node1", "node2")


def order(kind: type[JobType[Any]], given: Any) -> Act:
    def run(desk: Desk) -> str:
        job = crash.order(kind, given)(desk)
        if kind is HostAdd:  # as the noun does, in one transaction with the order
            desk.entities.change("host", "h4", lambda host: host.with_body(**{TOKEN: SECRET}))
        return job

    return run


@dataclass(frozen=True)
class Case:
    """``status``: the host's own at the end, ``None``: it has gone. ``known``: who is in everybody's cluster file."""

    name: str
    order: Act
    outcome: str
    status: str | None
    known: tuple[str, ...]
    codes: tuple[int, ...]
    before: Callable[[Store, FakeEnrolment], None]
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    places: int = 20


def bare(store: Store, enrolment: FakeEnrolment) -> None:
    enrolment.plug("node4")


def half(store: Store, enrolment: FakeEnrolment) -> None:
    """An installation that failed after the node had joined."""
    row(store, "install_failed", OUTSIDE)
    member(enrolment, cluster=ALL)


def resting(store: Store, enrolment: FakeEnrolment) -> None:
    """A host in maintenance that all know."""
    row(store, "maintenance")
    member(enrolment, cluster=ALL, names=ALL, bridge=True, libvirt=True, configured=True, mounted=VOLUMES, units=HA_UNITS)
    all_know(enrolment)


def dead(store: Store, enrolment: FakeEnrolment) -> None:
    """The same, and somebody carried it away."""
    resting(store, enrolment)
    enrolment.keep(replace(there(enrolment, "node4"), off=True))


def row(store: Store, status: str, *marks: str) -> None:
    body = {"address": "node4", NODE: "node4", **dict.fromkeys(marks, True)}
    store.entities.add(Entity("host", "h4", "node4", body, {"cluster": ("c1",)}, status=status))
    store.entities.add(Entity("affinity_label", "l1", "ssd", {}, {"hosts": ("h4", "node1")}))


def member(enrolment: FakeEnrolment, **given: Any) -> None:
    enrolment.plug("node4", **{"token": "", "name": "node4", "node_id": "h4", "cluster_id": "c1", **given})


def all_know(enrolment: FakeEnrolment) -> None:
    for name in FOUNDERS:
        enrolment.keep(replace(there(enrolment, name), cluster=ALL, names=ALL))
    enrolment.keep_pool(peers=list(ALL))


def there(enrolment: FakeEnrolment, name: str) -> Any:
    found = enrolment.server(name)
    assert found is not None
    return found


ADD = order(HostAdd, AddHost("h4", "node4", "node4", "c1"))
INSTALL = order(HostInstall, InstallHost("h4"))
CASES = (
    Case("add", ADD, "finished", "initializing", ALL, (42, 504), bare, places=40),
    Case("add-breaks-early", ADD, "failed", "install_failed", FOUNDERS, (42, 505), bare, {"bridge": BROKEN}),
    Case("add-breaks-late", ADD, "failed", "install_failed", ALL, (42, 505), bare, {"mount": BROKEN}),
    Case("add-is-refused", ADD, "failed", "install_failed", FOUNDERS, (42, 505), bare, {"accept": BROKEN}, places=10),
    Case("install-again", INSTALL, "finished", "initializing", ALL, (509, 504), half, places=40),
    Case("reinstall", INSTALL, "finished", "initializing", ALL, (509, 504), resting, places=40),
    Case("reinstall-breaks", INSTALL, "failed", "maintenance", ALL, (509, 505), resting, {"libvirt": BROKEN}),
    Case("remove", order(HostRemove, RemoveHost("h4", NEW)), "finished", None, FOUNDERS, (44,), resting, places=30),
    Case("remove-half", order(HostRemove, RemoveHost("h4", NEW)), "finished", None, FOUNDERS, (44,), half, places=20),
    Case("remove-dead", order(HostRemove, RemoveHost("h4", NEW, force=True)), "finished", None, FOUNDERS, (44,), dead),
    Case("remove-breaks", order(HostRemove, RemoveHost("h4", NEW)), "failed", "maintenance", ALL, (106,), resting,
         {"detach": BROKEN}, places=10),
)  # fmt: skip


def prepare(folder: Path, case: Case) -> None:
    store = open_store(folder / DATABASE)
    for host in FOUNDERS:
        store.entities.add(Entity("host", host, host, {}, {"cluster": ("c1",)}))
    case.before(store, nodes_at(folder / HOSTS).enrolment)
    store.connection.run(EVENT.delete())
    store.close()


def check(case: Case, folder: Path, job_id: str, where: str) -> None:
    store, enrolment = Store(folder / DATABASE), nodes_at(folder / HOSTS).enrolment
    ended = desk_of(store).jobs.need(job_id)
    assert (ended.state, ended.status) == ("ended", case.outcome), (where, ended.error)
    assert store.connection.rows(LOCK.select()) == [], where
    assert sorted(one.code for one in store.events(limit=99)) == sorted(case.codes), where
    host = store.entities.get("host", "h4")
    assert (host.status if host else None) == case.status, where
    for name in FOUNDERS:
        assert set(there(enrolment, name).cluster) == set(case.known), (where, name)
    node, pool = there(enrolment, "node4"), enrolment.pool()
    if host is None:
        is_dead = node.off
        assert ("node4" in pool["rejected"], "node4" in pool["peers"], bool(node.cluster_id)) == (is_dead, False, is_dead), (
            where
        )
        label = store.entities.get("affinity_label", "l1")
        assert label is not None and label.refs == {"hosts": ("node1",)}, where
    else:
        assert TOKEN not in host.body, where
        assert bool(host.body.get(OUTSIDE)) == (case.status == "install_failed"), where
    if case.status == "initializing":
        assert (node.cluster_id, node.node_id, set(node.cluster), set(node.names)) == ("c1", "h4", set(ALL), set(ALL)), where
        assert node.bridge and node.libvirt and node.configured and not node.resting, where
        assert (node.mounted, set(node.units)) == (VOLUMES, set(HA_UNITS)), where
        assert (pool["peers"], pool["bricks"]) == (list(ALL), list(FOUNDERS)), where
    if case.status == "install_failed":
        assert host is not None and host.body["status_detail"] == "it breaks here", where
    store.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    kill_case(tmp_path, case, prepare, check)
