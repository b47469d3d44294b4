"""``kill -9`` of the jobs process anywhere in a host's maintenance: its VMs are elsewhere or still there, each once, and the
host is in maintenance or as before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from appliance.errors import Failed, TrivetError
from engine.jobs.desk import Desk
from engine.jobs.host_activate import ActivateHost, HostActivate
from engine.jobs.host_deactivate import DeactivateHost, HostDeactivate
from engine.jobs.vm_start import StartVm, VmStart
from engine.store.audit import EVENT
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import LOCK
from tests.engine.crash import kill_case, order
from tests.engine.job_world import MIB, desk_of, nodes_at, open_store, work_off

BROKEN = Failed("vm.broken", subject="VM v1", reason="it breaks here", remedy="Mend it.")
BODY = {"memory": 256 * MIB, "memory_policy": {"guaranteed": 256 * MIB, "max": 256 * MIB}}


@dataclass(frozen=True)
class Case:
    """``host``: its own status at the end; ``ha``: whether its broker was told to leave the engine alone."""

    name: str
    order: Callable[[Desk], str]
    status: str
    host: str
    has: tuple[str, str]
    ha: bool
    told: int
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    before: str = ""
    places: int = 12


CASES = (
    Case("deactivate", order(HostDeactivate, DeactivateHost("node1", "disks")), "finished", "maintenance",
         ("", "v1 v2"), True, 5),
    Case("deactivate-fails", order(HostDeactivate, DeactivateHost("node1")), "failed", "", ("v1 v2", ""), False, 3,
         {"move": BROKEN}),
    Case("broker-fails", order(HostDeactivate, DeactivateHost("node1")), "failed", "", ("", "v1 v2"), False, 5,
         {"ha": BROKEN}),
    Case("activate", order(HostActivate, ActivateHost("node1")), "finished", "", ("v1 v2", ""), False, 2,
         before="maintenance", places=6),
)  # fmt: skip


def prepare(folder: Path, case: Case) -> None:
    """Two hosts, and two VMs on the first one."""
    store = open_store(folder / "engine.sqlite")
    for host in ("node1", "node2"):
        store.entities.add(Entity("host", host, host, {}, {"cluster": ("c1",)}))
    store.entities.add(Entity("vm", "v2", "web2", refs={"cluster": ("c1",)}, status="down"))
    for vm in ("v1", "v2"):
        disk, body = f"d-{vm}", {"image_id": "i", "format": "raw", "provisioned_size": MIB}
        store.entities.add(Entity("disk", disk, disk, body, {"storage_domains": ("s1",)}, status="ok"))
        store.entities.add(Entity("disk_attachment", disk, "", {}, {"disk": (disk,)}, parent=("vm", vm)))
        store.entities.change("vm", vm, lambda one: one.with_body(**BODY))
        order(VmStart, StartVm(vm, ("node1",)))(desk_of(store))
        work_off(store, nodes_at(folder / "hosts"))
        store.entities.set_status("vm", {vm: "up"})
    store.entities.change("host", "node1", lambda one: replace(one, status=case.before))
    if case.before:
        nodes_at(folder / "hosts").host("node1").ha_local_maintenance(on=True)
    store.connection.run(EVENT.delete())
    store.close()


def check(case: Case, folder: Path, job_id: str, where: str) -> None:
    store, nodes = Store(folder / "engine.sqlite"), nodes_at(folder / "hosts")
    ended = desk_of(store).jobs.need(job_id)
    assert (ended.state, ended.status) == ("ended", case.status), (where, ended.error)
    host = store.entities.need("host", "node1")
    assert (host.status, host.locked_as) == (case.host, ""), where
    has = {name: " ".join(one.id for one in nodes.host(name).vms()) for name in ("node1", "node2")}
    assert (has["node1"], has["node2"]) == case.has, where
    for name, vms in has.items():
        rows = store.entities.many("vm", vms.split())
        assert {(one.ref("host"), one.status, one.locked_as) for one in rows.values()} <= {(name, "up", "")}, where
    assert nodes.host("node1").is_in_local_maintenance == case.ha, where
    assert store.connection.rows(LOCK.select()) == [], where
    told = [one.description for one in store.events(limit=99)]
    assert len(told) == case.told, (where, told)
    store.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    kill_case(tmp_path, case, prepare, check)
