"""Hosts: what is shown of them, and their maintenance with what keeps it."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from appliance.effects.clock import FakeClock
from appliance.errors import Failed
from appliance.model.node import NicTraffic
from appliance.model.vm import VmSpec
from appliance.wire.signatures import methods
from engine.core import Engine
from engine.fakes.vm_node import FakeVm
from engine.jobs import host_deactivate
from engine.jobs.vm_state import MOVE, went_down
from engine.nodes import BrokerApi
from ha_broker.wire import HaApi
from tests.engine import world
from tests.engine.vm_world import DOMAIN, GIB, MIB, NEW_DISK, Vms, detail, fake_hosts
from tests.engine.world import CLUSTER

NODE = {one.name: one.id for one in world.MEMBERS}


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def host(vms: Vms, name: str = "node1", *, heard: bool = True) -> dict[str, Any]:
    """The host. ``heard``: all have just answered (the engine's clock runs on while callers wait)."""
    if heard:
        world.observe(vms.engine.observations)
    status, found = vms.ask("GET", f"hosts/{NODE[name]}")
    assert status == 200
    return found


def deactivated(vms: Vms, name: str, body: dict[str, Any] | None = None) -> Any:
    """Ask for it, and let all jobs be done; the deactivation's record."""
    status, answer = vms.ask("POST", f"hosts/{NODE[name]}/deactivate?async=true", body or {})
    assert status == 202, answer
    vms.work()
    jobs = vms.engine.jobs.list()
    vms.seen |= {one.id for one in jobs}
    return next(one for one in jobs if one.id == answer["job"]["id"])


def words(vms: Vms) -> list[str]:
    return [one.description for one in vms.engine.store.events(limit=30)]


def test_a_refresh_needs_a_host_that_answers(vms: Vms, clock: FakeClock) -> None:
    world.observe(vms.engine.observations)
    assert vms.ask("POST", f"hosts/{NODE['node1']}/refresh", {})[0] == 200
    assert vms.ask("POST", "hosts/nobody/refresh", {})[0] == 404
    clock.sleep(60)
    status, answer = vms.ask("POST", f"hosts/{NODE['node1']}/refresh", {})
    assert (status, "Host is non_responsive" in detail(answer)) == (409, True)


def test_what_is_shown(vms: Vms) -> None:
    found = host(vms, "node2")
    assert (found["spm"], host(vms)["spm"]["status"]) == ({"priority": "5", "status": "spm"}, "none")
    assert found["hosted_engine"] == {
        "active": "true", "configured": "true", "global_maintenance": "false", "local_maintenance": "false", "score": "3400",
    }  # fmt: skip
    assert found["summary"] == {"active": "1", "migrating": "0", "total": "1"}
    assert (found["hardware_information"]["uuid"], found["version"]["full_version"]) == (NODE["node2"], "0.1.0")
    assert (found["cpu"]["topology"]["cores"], found["memory"]) == ("2", str(8 * GIB))


def test_traffic_of_a_nic(vms: Vms) -> None:
    traffic = replace(world.statistics(), nics=(NicTraffic("eth0", 11, 22), NicTraffic("lo", 1, 1)))
    vms.engine.observations.put("node1", "statistics", world.encode(traffic))
    nics = vms.ask("GET", f"hosts/{NODE['node1']}/nics")[1]["host_nic"]
    found = {nic["name"]: vms.ask("GET", f"hosts/{NODE['node1']}/nics/{nic['id']}/statistics")[1] for nic in nics}
    values = {one["name"]: one["values"]["value"][0]["datum"] for one in found["eth0"]["statistic"]}
    assert values == {"data.total.rx": 11.0, "data.total.tx": 22.0}
    assert found["ovirtmgmt"] == {}


def test_what_is_read_may_be_sent_back(vms: Vms) -> None:
    before = host(vms)
    sent = {name: value for name, value in before.items() if name not in ("link", "actions")}
    status, answer = vms.ask("PUT", f"hosts/{NODE['node1']}", {**sent, "comment": "rack 3", "spm": {"priority": 2}})
    assert (status, answer["comment"], answer["spm"]) == (200, "rack 3", {"priority": "2", "status": "none"}), answer
    vms.engine.observations.put("node1", "statistics", world.encode(world.statistics(GIB)))
    assert host(vms, heard=False)["max_scheduling_memory"] == str(GIB)


def test_a_host_changes_its_cluster_only_in_maintenance(vms: Vms) -> None:
    center = vms.ask("GET", "datacenters")[1]["data_center"][0]["id"]
    other = vms.ask("POST", "clusters", {"name": "other", "data_center": {"id": center}})[1]
    status, answer = vms.ask("PUT", f"hosts/{NODE['node1']}", {"cluster": {"id": other["id"]}})
    assert (status, "only while it is in Maintenance mode" in detail(answer)) == (409, True)


def test_its_vms_leave_and_nothing_comes(vms: Vms) -> None:
    first, second = vms.started(name="a"), vms.started(name="b")
    for vm in (first, second):
        if vms.host_of(vm) != "node1":
            vms.done("POST", f"vms/{vm}/migrate", {"host": {"name": "node1"}})
    job = deactivated(vms, "node1", {"reason": "new disks"})
    assert (job.status, sorted(job.result["moved"])) == ("finished", sorted([first, second])), job.error
    assert "node1" not in (vms.host_of(first), vms.host_of(second))
    assert host(vms)["status"] == "maintenance"
    assert vms.nodes.host("node1").is_in_local_maintenance
    assert any("Host node1 was switched to Maintenance mode by admin" in one and "new disks" in one for one in words(vms))
    third = vms.started(name="c")
    assert vms.host_of(third) != "node1"
    vm = vms.made(name="d", disk_attachments=[NEW_DISK])
    status, answer = vms.ask("POST", f"vms/{vm['id']}/start", {"vm": {"placement_policy": {"hosts": [{"name": "node1"}]}}})
    vms.work()
    assert "is in state maintenance" in str(vms.newest().error), (status, answer)
    for path, body in (("vms", None), ("disks", None)):
        assert vms.ask("GET", path, body)[0] == 200
    vms.done("POST", f"hosts/{NODE['node1']}/activate?async=true", {})
    assert (host(vms)["status"], vms.nodes.host("node1").is_in_local_maintenance) == ("up", False)
    assert "Status of host node1 was set to Up." in words(vms)


def test_a_disk_is_made_by_a_host_that_is_not_in_maintenance(vms: Vms) -> None:
    vms.engine.store.entities.set_status("host", {NODE["node1"]: "maintenance", NODE["node2"]: "maintenance"})
    disk = {"name": "x", "provisioned_size": MIB, "format": "raw", "storage_domains": [{"id": DOMAIN}]}
    vms.done("POST", "disks", disk)
    assert vms.engine.jobs.steps(vms.engine.jobs.list(limit=1)[0].id)[1].host == "node3"


@pytest.mark.parametrize("affinity", ["pinned", "user_migratable"])
def test_a_vm_that_may_not_move_keeps_it_and_is_named(vms: Vms, affinity: str) -> None:
    vm = vms.started(name="heavy", placement_policy={"affinity": affinity})
    name = vms.host_of(vm)
    status, answer = vms.ask("POST", f"hosts/{NODE[name]}/deactivate", {})
    assert (status, "VM heavy cannot leave it: it " in detail(answer)) == (409, True), answer
    assert host(vms, name)["status"] == "up"


def test_no_room_elsewhere_is_said_before_anything_moves(vms: Vms) -> None:
    vm = vms.started(name="big", memory=3 * GIB)
    name = vms.host_of(vm)
    vms.nodes.down = set(NODE) - {name}
    job = deactivated(vms, name)
    assert (job.status, job.error["code"]) == ("failed", "host.kept")
    assert "VM big cannot leave it" in job.error["reason"]
    assert "does not answer" in job.error["reason"]
    assert (vms.host_of(vm), host(vms, name)["status"]) == (name, "up")
    assert words(vms)[0].startswith(f"Failed to switch Host {name} to Maintenance mode.")


def test_a_migration_that_fails_leaves_the_host_up(vms: Vms) -> None:
    vm = vms.started(name="a")
    name = vms.host_of(vm)
    vms.nodes.host(name).fail_with["move"] = Failed("vm.broken", subject="VM", reason="it breaks", remedy="Mend it.")
    job = deactivated(vms, name)
    assert (job.status, "could not be moved (it breaks)" in job.error["reason"]) == ("failed", True)
    assert (vms.host_of(vm), host(vms, name)["status"], vms.vm(vm)["status"]) == (name, "up", "up")


def test_a_vm_that_is_of_unknown_state_keeps_it(vms: Vms) -> None:
    vm = vms.started(name="a")
    name = vms.host_of(vm)
    vms.engine.store.entities.set_status("vm", {vm: "unknown"})
    job = deactivated(vms, name)
    assert (job.status, "is unknown" in job.error["reason"]) == ("failed", True)


def test_one_at_a_time(vms: Vms) -> None:
    assert deactivated(vms, "node1").status == "finished"
    for name, words_of_it in (("node1", "already in Maintenance mode"), ("node2", "one host at a time")):
        status, answer = vms.ask("POST", f"hosts/{NODE[name]}/deactivate", {})
        assert (status, words_of_it in detail(answer)) == (409, True), answer
    status, answer = vms.ask("POST", f"hosts/{NODE['node2']}/activate", {})
    assert (status, "not in Maintenance mode" in detail(answer)) == (409, True), answer


def test_a_lost_host_without_vms_may_be_put_aside_and_comes_back_only_when_it_answers(vms: Vms, clock: FakeClock) -> None:
    vms.nodes.down = {"node1"}
    assert deactivated(vms, "node1").status == "finished"
    assert not vms.nodes.host("node1").is_in_local_maintenance
    vms.ask("POST", f"hosts/{NODE['node1']}/activate?async=true", {})
    vms.work()
    assert vms.newest().status == "failed"
    assert host(vms)["status"] == "maintenance"
    clock.sleep(60)
    words_of_them = [host(vms, name, heard=False)["status"] for name in ("node1", "node2")]
    assert words_of_them == ["maintenance", "non_responsive"]


def test_what_arrives_is_moved_on(vms: Vms) -> None:
    """A migration to the host that had begun when the maintenance was ordered."""
    vm = vms.started(name="a")
    source = vms.host_of(vm)
    target = next(name for name in NODE if name != source)
    vms.engine.store.entities.change("vm", vm, lambda one: one.with_body(**{MOVE: {"host": NODE[target], "job": "gone"}}))
    vms.nodes.down = {name for name in NODE if name not in (source, target)}
    assert vms.ask("POST", f"hosts/{NODE[target]}/deactivate?async=true", {})[0] == 202
    vms.engine.store.entities.change("vm", vm, lambda one: one.with_body(**{MOVE: None}))
    vms.work()
    assert (host(vms, target)["status"], vms.host_of(vm)) == ("maintenance", source)


def test_the_brokers_word_is_the_same_on_both_ends() -> None:
    theirs = {one.name: one for one in methods(HaApi)}
    for mine in methods(BrokerApi):
        assert mine == theirs[mine.name]


def with_the_engine(vms: Vms, name: str) -> None:
    """The engine's own VM runs on that host."""
    spec = VmSpec(CLUSTER.engine.id, "HostedEngine", 1024, 2, "Westmere", (), ())
    vms.nodes.host(name).put(FakeVm(spec))


def test_the_engines_vm_is_waited_for(vms: Vms) -> None:
    with_the_engine(vms, "node2")
    leaves = threading.Timer(0.5, lambda: vms.nodes.host("node2").end("HostedEngine"))
    leaves.start()
    job = deactivated(vms, "node2")
    leaves.join()
    assert (job.status, job.result["moved"]) == ("finished", []), job.error


def test_an_engine_that_stays_keeps_its_host(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_deactivate, "ENGINE_LIMIT_S", 0.3)
    with_the_engine(vms, "node2")
    job = deactivated(vms, "node2")
    assert (job.status, "VM HostedEngine cannot leave it: it is the engine's own" in job.error["reason"]) == ("failed", True)
    assert (host(vms, "node2")["status"], vms.nodes.host("node2").is_in_local_maintenance) == ("up", False)


def test_a_vm_that_stays_busy_keeps_it(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_deactivate, "BUSY_LIMIT_S", 0.3)
    vm = vms.started(name="a")
    name = vms.host_of(vm)
    vms.engine.store.entities.set_status("vm", {vm: "powering_down"})
    job = deactivated(vms, name)
    assert (job.status, "VM a cannot leave it: it is powering_down, and stays so" in job.error["reason"]) == ("failed", True)


def test_a_vm_that_ends_meanwhile_needs_no_place(vms: Vms) -> None:
    vm = vms.started(name="a")
    name = vms.host_of(vm)
    vms.engine.store.entities.set_status("vm", {vm: "powering_down"})

    def ends() -> None:
        vms.nodes.host(name).end(vm)
        vms.engine.store.entities.change("vm", vm, lambda one: went_down(one, 1))

    ending = threading.Timer(0.5, ends)
    ending.start()
    job = deactivated(vms, name)
    ending.join()
    assert (job.status, vms.vm(vm)["status"]) == ("finished", "down"), job.error


def test_it_can_be_cancelled(vms: Vms) -> None:
    vm = vms.started(name="a")
    name = vms.host_of(vm)
    status, answer = vms.ask("POST", f"hosts/{NODE[name]}/deactivate?async=true", {})
    assert (status, host(vms, name)["status"]) == (202, "preparing_for_maintenance")
    vms.engine.desk.cancel(answer["job"]["id"])
    vms.work()
    assert vms.newest().status == "aborted"
    assert (host(vms, name)["status"], vms.host_of(vm)) == ("up", name)


def test_a_vm_that_nobody_made_keeps_it(vms: Vms) -> None:
    spec = VmSpec("44444444-0000-4000-8000-000000000001", "handmade", 256, 1, "Westmere", (), ())
    vms.nodes.host("node1").put(FakeVm(spec))
    job = deactivated(vms, "node1")
    assert (job.status, "VM handmade cannot leave it" in job.error["reason"]) == ("failed", True)
    assert "was started by hand" in job.error["reason"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("status=up", ["node2", "node3"]),
        ("status=UP and name=node3", ["node3"]),
        ("status != up", ["node1"]),
        ("status=maint*", ["node1"]),
        ("Status=down or (status=maintenance)", ["node1"]),
        ("status=nonsense", []),
        ("node2 sortby name", ["node2"]),
    ],
)
def test_hosts_are_found_by_the_status_that_is_seen(vms: Vms, search: str, found: list[str]) -> None:
    """What the store holds is only what a job has set: Ansible's ovirt_host_info asks for status=up."""
    vms.engine.store.entities.set_status("host", {NODE["node1"]: "maintenance"})
    status, answer = vms.ask("GET", f"hosts?search={quote(search)}")
    assert (status, [one["name"] for one in answer.get("host", [])]) == (200, found)
