"""A VM that lives: started, asked, stopped, suspended, moved; what its host says of it; what is refused in each state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.effects.clock import SystemClock
from appliance.errors import Failed
from engine.core import Engine
from engine.jobs.follow_vms import VmFollower
from tests.engine import world
from tests.engine.job_world import files
from tests.engine.vm_world import DOMAIN, GIB, MIB, NEW_DISK, PROFILE, Vms, detail, fake_hosts

NODE = {one.name: one.id for one in world.MEMBERS}


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def test_it_starts_where_the_scheduler_says_and_is_up_as_its_host_says(vms: Vms) -> None:
    vm = vms.made(disk_attachments=[NEW_DISK], nics=[{"name": "nic1", "vnic_profile": {"id": PROFILE}}], memory=GIB)
    path = f"vms/{vm['id']}"
    assert vms.ask("POST", f"{path}/start", {})[1]["status"] == "pending"
    assert vms.vm(vm["id"])["status"] == "wait_for_launch"
    vms.work()
    now = vms.vm(vm["id"])
    host = vms.host_of(vm["id"])
    assert (now["status"], now["host"]["id"]) == ("up", NODE[host])
    vms.look()
    assert vms.vm(vm["id"])["status"] == "up"
    assert vms.codes(vm["id"]) == [37, 53, 153, 32]
    spec = vms.running(vm["id"]).spec
    assert (spec.id, spec.name, spec.memory_mib, spec.cpus) == (vm["id"], vm["id"], 1024, 1)
    disk, drive = spec.disks
    assert disk.path.startswith("/var/lib/trivet/volumes/vmstore/images/")
    assert (disk.format, disk.bus, disk.boot_order, drive.bus) == ("qcow2", "scsi", 1, "cdrom")
    assert [one.bridge for one in spec.nics] == ["ovirtmgmt"]
    assert vms.ask("GET", f"vms?search=host%3D{host}")[1]["vm"][0]["id"] == vm["id"]


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({"nics": [], "disk_attachments": []}, 409, "nothing to boot from"),
        ({"memory": 64 * GIB}, 202, ""),
    ],
)
def test_what_cannot_start_says_why(vms: Vms, given: dict[str, Any], status: int, words: str) -> None:
    vm = vms.made(**{"disk_attachments": [NEW_DISK], **given})
    got, answer = vms.ask("POST", f"vms/{vm['id']}/start?async=true", {})
    assert (got, words in detail(answer)) == (status, True), answer
    vms.work()
    assert (vms.vm(vm["id"])["status"], vms.host_of(vm["id"])) == ("down", "")
    if status == 202:
        error = vms.newest().error
        assert error["code"] == "schedule.no-host"
        assert "Cannot run VM. There is no host that satisfies current scheduling constraints" in error["reason"]
        assert "64.3 GiB" in error["reason"]
        assert vms.codes(vm["id"])[-1] == 54


def test_a_named_host_and_values_for_one_run(vms: Vms) -> None:
    vm = vms.made(disk_attachments=[NEW_DISK], description="kept")
    once = {
        "pause": True,
        "vm": {
            "placement_policy": {"hosts": [{"name": "node3"}]}, "os": {"boot": {"devices": ["cdrom", "hd"]}},
            "memory": 512 * MIB, "memory_policy": {"guaranteed": 512 * MIB},
        },
    }  # fmt: skip
    vms.done("POST", f"vms/{vm['id']}/start", once)
    found, now = vms.running(vm["id"]), vms.vm(vm["id"])
    assert (vms.host_of(vm["id"]), found.power, found.spec.memory_mib) == ("node3", "paused", 512)
    assert [one.boot_order for one in found.spec.disks] == [2, 1]
    assert (now["status"], now["run_once"], now["memory"]) == ("paused", "true", str(GIB))
    vms.look()
    assert vms.codes(vm["id"])[-1] == 153, "it is paused because somebody wanted that"
    vms.done("POST", f"vms/{vm['id']}/start", {})
    assert (vms.vm(vm["id"])["status"], vms.running(vm["id"]).power) == ("up", "running")
    vms.done("POST", f"vms/{vm['id']}/stop", {})
    assert vms.vm(vm["id"])["run_once"] == "false"


def test_a_second_vm_counts_the_first(vms: Vms) -> None:
    """Two that fit one host each, started together: nothing is promised twice."""
    vms.nodes.memory_bytes = 3 * GIB
    made = [vms.made(name=f"web{number}", disk_attachments=[NEW_DISK], memory=2 * GIB)["id"] for number in range(4)]
    for one in made:
        assert vms.ask("POST", f"vms/{one}/start?async=true", {})[0] == 202
    vms.work()
    hosts = sorted(vms.host_of(one) for one in made)
    assert hosts == ["", "node1", "node2", "node3"]
    assert sorted(vms.vm(one)["status"] for one in made) == ["down", "up", "up", "up"]


def test_stop_and_what_waited_comes_into_force(vms: Vms) -> None:
    vm = vms.started()
    change = {"memory": 2 * GIB, "memory_policy": {"guaranteed": GIB, "max": 8 * GIB}}
    assert vms.ask("PUT", f"vms/{vm}?next_run=true", change)[0] == 200
    assert vms.vm(vm)["memory"] == str(GIB)
    vms.done("POST", f"vms/{vm}/stop", {"reason": "for the tests"})
    now = vms.vm(vm)
    assert (now["status"], now["memory"], now["stop_reason"]) == ("down", str(2 * GIB), "for the tests")
    assert "host" not in now
    assert now["next_run_configuration_exists"] == "false"
    assert (vms.host_of(vm), vms.codes(vm)[-1]) == ("", 33)
    status, fault = vms.ask("POST", f"vms/{vm}/stop", {})
    assert (status, "Cannot stop VM. VM is not running" in detail(fault)) == (409, True), fault


def test_a_guest_is_asked_to_shut_down_and_its_host_says_when_it_has(vms: Vms) -> None:
    vm = vms.started()
    host = vms.host_of(vm)
    vms.done("POST", f"vms/{vm}/shutdown", {})
    assert vms.running(vm).asked == ("shutdown",)
    vms.look()
    assert vms.vm(vm)["status"] == "powering_down"
    vms.nodes.host(host).end(vm)
    vms.look()
    assert (vms.vm(vm)["status"], vms.codes(vm)[-2:]) == ("down", [73, 61])
    assert vms.engine.store.events()[0].description.endswith("User shut down from within the guest")


def test_reboot_and_reset(vms: Vms) -> None:
    vm = vms.started()
    for action, code in (("reboot", 157), ("reset", 221)):
        vms.done("POST", f"vms/{vm}/{action}", {})
        assert vms.vm(vm)["status"] == "reboot_in_progress"
        vms.look()
        assert (vms.vm(vm)["status"], vms.codes(vm)[-1]) == ("up", code)
    assert vms.running(vm).asked == ("reboot", "reset")


def test_suspend_and_go_on_elsewhere(vms: Vms, tmp_path: Path) -> None:
    vm = vms.started()
    vms.done("POST", f"vms/{vm}/suspend", {})
    assert (vms.vm(vm)["status"], vms.host_of(vm)) == ("suspended", "")
    assert sum("memory/" in path for path in files(tmp_path / "hosts")) == 1
    for method, path in (("POST", "/nics"), ("DELETE", "")):
        body = {"name": "nic2"} if method == "POST" else None
        assert vms.ask(method, f"vms/{vm}{path}", body)[0] == 409, "its memory would not fit it any more"
    vms.done("POST", f"vms/{vm}/start", {"vm": {"placement_policy": {"hosts": [{"name": "node3"}]}}})
    vms.look()
    assert (vms.vm(vm)["status"], vms.host_of(vm)) == ("up", "node3")
    assert not any("memory/" in path for path in files(tmp_path / "hosts"))
    assert vms.codes(vm)[-4:] == [501, 503, 40, 32]
    vms.done("POST", f"vms/{vm}/suspend", {})
    vms.done("POST", f"vms/{vm}/stop", {})
    assert vms.vm(vm)["status"] == "down"
    assert not any("memory/" in path for path in files(tmp_path / "hosts"))


def test_its_host_is_looked_at_again_soon_while_it_starts(vms: Vms) -> None:
    follower = VmFollower(vms.engine.store, SystemClock())
    vm = vms.started()
    host = vms.host_of(vm)

    def heard() -> bool:
        follower.heard(NODE[host], vms.nodes.host(host).vms(), follower.now_ms() + 1)
        return follower.is_starting(NODE[host])

    assert not heard()
    vms.done("POST", f"vms/{vm}/stop", {})
    assert not heard()
    vms.done("POST", f"vms/{vm}/start", {"vm": {"placement_policy": {"hosts": [{"name": host}]}}})
    vms.engine.store.entities.set_status("vm", {vm: "powering_up"})  # as a start from saved memory leaves it
    assert heard() and vms.vm(vm)["status"] == "up"
    assert not heard()


def test_a_migration_to_a_named_host_and_to_any(vms: Vms) -> None:
    vm = vms.started()
    first = vms.host_of(vm)
    target = next(name for name in NODE if name != first)
    assert vms.ask("POST", f"vms/{vm}/migrate", {"host": {"name": target}})[1]["status"] == "pending"
    assert vms.vm(vm)["status"] == "migrating"
    vms.work()
    assert vms.newest().status == "finished"
    assert (vms.vm(vm)["status"], vms.vm(vm)["host"]["id"], vms.host_of(vm)) == ("up", NODE[target], target)
    vms.look()
    assert (vms.vm(vm)["status"], vms.codes(vm)[-2:]) == ("up", [62, 63])
    texts = [one.description for one in vms.engine.store.events()[:2]]
    assert f"Source: {first}, Destination: {target}, Duration: 0 seconds" in texts[0]
    assert f"Migration started (VM: web1, Source: {first}, Destination: {target}" in texts[1]
    vms.done("POST", f"vms/{vm}/migrate", {})
    assert vms.host_of(vm) not in ("", target)


def test_a_migration_that_fails_leaves_it_where_it_is(vms: Vms) -> None:
    vm = vms.started()
    host = vms.host_of(vm)
    status, _answer = vms.ask("POST", f"vms/{vm}/migrate", {"host": {"id": NODE[host]}})
    vms.work()
    assert "the VM runs there now" in vms.newest().error["reason"]
    vms.nodes.host(host).fail_with["move"] = Failed("vm.migrate", subject="VM", reason="the link broke", remedy="Again.")
    vms.ask("POST", f"vms/{vm}/migrate", {})
    vms.work()
    assert vms.newest().error["code"] == "vm.migrate"
    assert (status, vms.vm(vm)["status"], vms.host_of(vm)) == (200, "up", host)
    assert vms.codes(vm)[-1] == 65
    assert vms.ask("POST", f"vms/{vm}/cancelmigration", {})[0] == 409
    vms.ask("POST", f"vms/{vm}/migrate", {})
    assert vms.ask("POST", f"vms/{vm}/cancelmigration", {})[0] == 200
    vms.work()
    assert (vms.vm(vm)["status"], vms.host_of(vm), vms.codes(vm)[-1]) == ("up", host, 161)


def test_a_host_that_is_silent_and_comes_back(vms: Vms) -> None:
    first, second = vms.started(), vms.started(name="web2")
    host = vms.host_of(first)
    vms.nodes.down.add(host)
    vms.look()
    assert vms.vm(first)["status"] == "unknown"
    assert vms.ask("POST", f"vms/{first}/start", {})[0] == 409, "nobody knows whether it runs"
    assert vms.codes(first)[-1] == 142
    vms.nodes.down.clear()
    vms.look()
    assert (vms.vm(first)["status"], vms.host_of(first)) == ("up", host)
    vms.nodes.down.add(host)
    vms.look()
    vms.nodes.host(host).end(first)
    vms.nodes.down.clear()
    vms.look()
    assert (vms.vm(first)["status"], vms.codes(first)[-1]) == ("down", 119)
    assert vms.vm(second)["status"] == "up"


@pytest.mark.parametrize(("power", "code"), [("paused-io-error", 145), ("paused-no-space", 138), ("paused", 1025)])
def test_a_vm_that_stopped_by_itself(vms: Vms, power: Any, code: int) -> None:
    vm = vms.started()
    host = vms.nodes.host(vms.host_of(vm))
    host.put(replace(vms.running(vm), power=power))
    vms.look()
    assert (vms.vm(vm)["status"], vms.vm(vm)["status_detail"], vms.codes(vm)[-1]) == ("paused", power, code)
    vms.look()
    assert vms.codes(vm).count(code) == 1, "told once"
    host.put(replace(vms.running(vm), power="running"))
    vms.look()
    assert vms.vm(vm)["status"] == "up"
    assert "status_detail" not in vms.vm(vm)
    assert (vms.codes(vm)[-1] == 196) == (power != "paused")


def test_devices_of_a_running_machine(vms: Vms) -> None:
    vm = vms.started()
    made = vms.done("POST", f"vms/{vm}/nics", {"name": "nic2", "vnic_profile": {"id": PROFILE}})
    spec = vms.running(vm).spec
    assert made["mac"]["address"] in [one.mac for one in spec.nics]
    path = f"vms/{vm}/nics/{made['id']}"
    vms.done("PUT", path, {"linked": False, "vnic_profile": {}})
    nic = next(one for one in vms.running(vm).spec.nics if one.mac == made["mac"]["address"])
    assert (nic.link_up, vms.ask("GET", path)[1]["linked"]) == (False, "false")
    assert vms.ask("PUT", path, {"mac": {"address": "00:1a:4a:00:00:01"}})[0] == 409
    vms.done("POST", f"{path}/deactivate", {})
    assert (len(vms.running(vm).spec.nics), vms.ask("GET", path)[1]["plugged"]) == (1, "false")
    vms.done("POST", f"{path}/activate", {})
    vms.done("DELETE", path)
    assert (len(vms.running(vm).spec.nics), vms.ask("GET", path)[0]) == (1, 404)
    data = {**NEW_DISK, "bootable": False, "active": True}
    disk = vms.done("POST", f"vms/{vm}/diskattachments", data)["id"]
    assert [one.serial for one in vms.running(vm).spec.disks][-1] == disk
    attachment = f"vms/{vm}/diskattachments/{disk}"
    vms.done("PUT", attachment, {"active": False})
    assert (vms.ask("GET", attachment)[1]["active"], len(vms.running(vm).spec.disks)) == ("false", 2)
    assert vms.ask("PUT", attachment, {"interface": "virtio"})[0] == 200
    vms.done("PUT", attachment, {"active": True})
    assert vms.running(vm).spec.disks[-1].bus == "virtio"
    assert vms.ask("DELETE", f"{attachment}?detach_only=false")[0] == 409, "it is plugged in"
    vms.done("DELETE", attachment)
    assert (vms.ask("GET", attachment)[0], len(vms.running(vm).spec.disks)) == (404, 2)
    vms.done("POST", f"vms/{vm}/diskattachments", {"disk": {"id": disk}, "active": True})
    status, fault = vms.ask("POST", f"vms/{vm}/diskattachments", {**data, "interface": "sata"})
    assert (status, "Failed to hot-plug disk" in detail(fault)) == (409, True)
    assert vms.codes(vm)[4:] == [1012, 934, 1014, 1012, 1014, 78, 97, 2002, 2000, 2002, 2000]


def test_the_cd_of_a_running_machine(vms: Vms) -> None:
    vm = vms.started()
    body = {
        "name": "cd",
        "provisioned_size": MIB,
        "format": "raw",
        "content_type": "iso",
        "storage_domains": [{"id": DOMAIN}],
    }
    iso = vms.done("POST", "disks", body)["id"]
    drive = f"vms/{vm}/cdroms/00000000-0000-0000-0000-000000000000"
    vms.done("PUT", f"{drive}?current=true", {"file": {"id": iso}})
    assert f"/images/{iso}/" in next(one.path for one in vms.running(vm).spec.disks if one.bus == "cdrom")
    vms.done("PUT", f"{drive}?current=true", {"file": {"id": ""}})
    assert next(one.path for one in vms.running(vm).spec.disks if one.bus == "cdrom") == ""


def test_a_vm_that_is_down_is_asked_for_nothing(vms: Vms) -> None:
    vm = vms.made(disk_attachments=[NEW_DISK])["id"]
    for action in ("stop", "shutdown", "reboot", "reset", "suspend", "migrate"):
        status, fault = vms.ask("POST", f"vms/{vm}/{action}", {})
        assert (status, "VM is not running" in detail(fault)) == (409, True), action
    vms.done("POST", f"vms/{vm}/start", {})
    status, fault = vms.ask("POST", f"vms/{vm}/start", {})
    assert (status, detail(fault)) == (409, detail(fault))
    vms.look()
    assert "Cannot run VM. VM is running" in detail(vms.ask("POST", f"vms/{vm}/start", {})[1])
    status, fault = vms.ask("POST", f"vms/{world.CLUSTER.engine.id}/stop", {})
    assert (status, "engine's own VM" in detail(fault)) == (409, True)
