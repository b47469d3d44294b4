"""``kill -9`` of the jobs process anywhere between the loss of a host and the restart of its VMs, then another one: each
HA VM runs once, on a living host, nothing was started before the lost host was certainly cut off, and nothing is left
locked or owed.

The same on the way back: an evicted host is let in with nothing of the time before on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.effects.clock import SystemClock
from appliance.errors import Failed
from engine.fakes.disk_node import FakeDiskNode, nothing
from engine.fakes.hosts import FakeNodes
from engine.fakes.pool_node import refused_by
from engine.jobs import owed
from engine.jobs.desk import Desk
from engine.jobs.evicted import EVICTED
from engine.jobs.job import by_name
from engine.jobs.keep_ha import Keeper
from engine.jobs.types import TYPES
from engine.jobs.vm_start import StartVm, VmStart
from engine.store.audit import EVENT
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import LOCK, Jobs
from tests.engine.crash import DATABASE, killed_everywhere
from tests.engine.job_world import MIB, desk_of, open_store, work_off

HOSTS = ("node1", "node2", "node3")
TURNS_LIMIT = 12
"""More turns than any of these takes; one is a look of the keeper and all jobs that it ordered."""
BODY = {"memory": 256 * MIB, "memory_policy": {"guaranteed": 256 * MIB, "max": 256 * MIB}}
HA = {"high_availability": {"enabled": True, "priority": 1}}
BROKEN = Failed("vm.start", subject="VM", reason="QEMU does not start here", remedy="Mend it.")


@dataclass(frozen=True)
class Case:
    """``silent``: hosts that do not answer. ``broken``: host on which nothing starts. ``back``: the lost host is evicted
    before, and answers."""

    name: str
    silent: tuple[str, ...] = ("node1",)
    broken: str = ""
    back: bool = False
    places: int = 20


def hosts_at(folder: Path, case: Case, point: Callable[[str], None] = nothing) -> FakeNodes:
    found = FakeNodes({name: FakeDiskNode(name, folder / "hosts", point) for name in HOSTS}, set(case.silent))
    if case.broken:
        found.nodes[case.broken].fail_with["start"] = BROKEN
    return found


def prepare(folder: Path, case: Case) -> None:
    """An HA VM (v1) and a plain one (v2) that run on node1, which is lost now."""
    store = open_store(folder / "engine.sqlite")
    entities = store.entities
    entities.change("storage_domain", "s1", lambda one: one.with_body(storage={"type": "glusterfs", "path": "/vmstore"}))
    entities.add(Entity("vm", "v2", "web2", refs={"cluster": ("c1",)}, status="down"))
    for host in HOSTS:
        entities.add(Entity("host", host, host, {}, {"cluster": ("c1",)}))
    for vm, disk, body in (("v1", "d1", {**BODY, **HA}), ("v2", "d2", BODY)):
        entities.change("vm", vm, lambda one, b=body: one.with_body(**b))  # type: ignore[misc]
        image = {"image_id": f"i-{disk}", "format": "raw", "provisioned_size": MIB}
        entities.add(Entity("disk", disk, disk, image, {"storage_domains": ("s1",)}, status="ok"))
        entities.add(Entity("disk_attachment", disk, "", {}, {"disk": (disk,)}, parent=("vm", vm)))
        desk_of(store).order(VmStart, StartVm(vm, ("node1",)), owner_id="admin", correlation_id="c")
    work_off(store, hosts_at(folder, replace(case, silent=(), broken="")))
    entities.set_status("vm", {"v1": "unknown", "v2": "unknown"})
    if case.back:
        until_quiet(store, hosts_at(folder, Case("lost")))
    store.connection.run(EVENT.delete())
    store.close()


def until_quiet(store: Store, nodes: FakeNodes, point: Callable[[str], None] = nothing) -> None:
    """The jobs program: the keeper looks, jobs are done, until a look orders nothing."""
    clock = SystemClock()

    def ring() -> None:
        point("ordered")

    desk = Desk(store.entities, Jobs(store.entities, clock), by_name(TYPES), clock, ring)
    keeper = Keeper(store.entities, nodes, desk, lambda _text: None)
    for _ in range(TURNS_LIMIT):
        work_off(store, nodes, point)
        before = len(desk.jobs.list())
        keeper.turn()
        point("after a turn")
        if len(desk.jobs.list()) == before:
            return
    raise AssertionError("it never comes to rest")


def where(nodes: FakeNodes, vm: str) -> list[str]:
    return [name for name in HOSTS if nodes.host(name).vm(vm)]


def check_restarted(folder: Path, case: Case, place: str) -> None:
    """v1 runs on exactly one living host, v2 is down."""
    store, nodes = Store(folder / "engine.sqlite"), hosts_at(folder, case)
    v1, v2 = (store.entities.need("vm", one) for one in ("v1", "v2"))
    living = [one for one in where(nodes, "v1") if one != "node1"]
    assert living == [v1.ref("host")], place
    assert case.broken not in living, place
    assert (v1.shown_status, v2.shown_status, v2.ref("host")) == ("up", "down", ""), place
    assert refused_by(folder / "hosts") == {"node1"}, place
    assert store.entities.need("host", "node1").body[EVICTED]["domains"] == ["vmstore"], place
    codes = sorted(one.code for one in store.events(limit=99))
    assert codes == sorted([10_701, 9602, 119, 506, 32]), (place, codes)
    check_quiet(store, place)


def check_back(folder: Path, case: Case, place: str) -> None:
    """node1 may write again, and has nothing of the time before."""
    store, nodes = Store(folder / "engine.sqlite"), hosts_at(folder, case)
    assert where(nodes, "v1") == [store.entities.need("vm", "v1").ref("host")], place
    assert where(nodes, "v1") != ["node1"], place
    assert where(nodes, "v2") == [], place
    assert refused_by(folder / "hosts") == frozenset(), place
    assert EVICTED not in store.entities.need("host", "node1").body, place
    assert [one.code for one in store.events(limit=99)] == [10_703], place
    check_quiet(store, place)


def check_quiet(store: Store, place: str) -> None:
    assert store.connection.rows(LOCK.select()) == [], place
    assert store.entities.list(owed.KIND) == [], place
    assert {one.state for one in desk_of(store).jobs.list()} == {"ended"}, place
    store.close()


CASES = (
    (Case("lost"), check_restarted),
    (Case("the-next-best", broken="node2"), check_restarted),
    (Case("back", silent=(), back=True, places=15), check_back),
)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("case", "check"), CASES, ids=[case.name for case, _check in CASES])
def test_killed_at_every_place(case: Case, check: Callable[[Path, Case, str], None], tmp_path: Path) -> None:
    def run(folder: Path, point: Callable[[str], None] = nothing) -> None:
        store = Store(folder / DATABASE)
        until_quiet(store, hosts_at(folder, case, point), point)
        store.close()

    points = killed_everywhere(
        tmp_path,
        lambda folder: prepare(folder, case),
        lambda _folder: "",  # nobody orders anything: the keeper looks
        run,
        run,
        lambda folder, _job_id, place: check(folder, case, place),
    )
    assert points.passed >= case.places
    if not case.back:
        effects = [one for one in points.names if one in ("after reject", "before start")]
        assert effects[0] == "after reject", "nothing starts before the lost host is cut off"
