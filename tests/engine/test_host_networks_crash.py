"""``kill -9`` of the jobs process anywhere in setting up a host's networks: it has what its rows say, new or as before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.errors import Failed, TrivetError
from appliance.model.network import LogicalNetwork
from engine.decide.host_networks import Attachment
from engine.jobs.desk import Desk
from engine.jobs.host_networks import HostNetworks, SetUpNetworks
from engine.jobs.networks import attached, bridges
from engine.store.audit import EVENT
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import LOCK
from tests.engine.crash import cancelled, kill_case, order
from tests.engine.job_world import desk_of, nodes_at, open_store, work_off

BROKEN = Failed("network.not-up", subject="network red", reason="it breaks here", remedy="Mend it.")
BLUE = Attachment("a1", "blue", "eth1")
RED = Attachment("a2", "red", "eth1", ({"assignment_method": "dhcp"},))
CHANGE = order(HostNetworks, SetUpNetworks("node1", (RED,), ("a1",)))
BEFORE, AFTER = (LogicalNetwork("blue", "eth1", 30),), (LogicalNetwork("red", "eth1", dhcp=True),)


@dataclass(frozen=True)
class Case:
    """``has``: the host's networks at the end."""

    name: str
    order: Callable[[Desk], str]
    status: str
    has: tuple[LogicalNetwork, ...]
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    places: int = 6


CASES = (
    Case("change", CHANGE, "finished", AFTER),
    Case("fails", CHANGE, "failed", BEFORE, {"networks": BROKEN}, places=4),
    Case("cancelled", cancelled(CHANGE), "aborted", BEFORE, places=2),
)


def prepare(folder: Path, case: Case) -> None:
    """A host with one network, and another one that it has not."""
    store = open_store(folder / "engine.sqlite")
    store.entities.add(Entity("host", "node1", "node1", {}, {"cluster": ("c1",)}))
    store.entities.add(Entity("network", "blue", "blue", {"vlan": {"id": 30}}))
    store.entities.add(Entity("network", "red", "red", {}))
    order(HostNetworks, SetUpNetworks("node1", (BLUE,)))(desk_of(store))
    work_off(store, nodes_at(folder / "hosts"))
    assert nodes_at(folder / "hosts").networks("node1").networks() == BEFORE
    store.connection.run(EVENT.delete())
    store.close()


def check(case: Case, folder: Path, job_id: str, where: str) -> None:
    store, nodes = Store(folder / "engine.sqlite"), nodes_at(folder / "hosts")
    ended = desk_of(store).jobs.need(job_id)
    assert (ended.state, ended.status) == ("ended", case.status), (where, ended.error)
    assert nodes.networks("node1").networks() == case.has, where
    assert bridges(store.entities, attached(store.entities, "node1")) == case.has, where
    assert store.entities.need("host", "node1").locked_as == "", where
    assert store.connection.rows(LOCK.select()) == [], where
    told = [one.code for one in store.events(limit=99)]
    assert told == [1104 if case.status == "finished" else 1105], (where, told)
    store.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    kill_case(tmp_path, case, prepare, check)
