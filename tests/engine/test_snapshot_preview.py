"""Back to a snapshot through the API: previewed, committed, undone, restored, with memory or without; what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.effects.clock import FakeClock
from engine.core import Engine
from engine.fakes.layers import FakeLayers, file_at
from engine.fakes.vm_layers import guest_writes
from tests.engine.test_vm_snapshots import taken
from tests.engine.vm_world import NEW_DISK, PROFILE, Vms, detail, fake_hosts


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def disk_of(vms: Vms, vm: str) -> str:
    return str(vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"][0]["id"])


def writes(vms: Vms, vm: str, value: str, disk: str = "") -> None:
    guest_writes(vms.nodes.host(vms.host_of(vm)), vm, disk or disk_of(vms, vm), "file", value)


def reads(vms: Vms, vm: str, disk: str = "") -> str:
    """What the guest of a VM that runs has in its file."""
    spec = vms.running(vm).spec.disks
    found = next(one for one in spec if one.serial == (disk or disk_of(vms, vm)))
    return FakeLayers(vms.nodes.host("node1").folder).content(file_at(found.path, found.format))["file"]


def starts(vms: Vms, vm: str) -> None:
    vms.done("POST", f"vms/{vm}/start", {})
    vms.look()


def stops(vms: Vms, vm: str) -> None:
    vms.done("POST", f"vms/{vm}/stop", {})


def snapshots(vms: Vms, vm: str) -> dict[str, tuple[str, str]]:
    found = vms.ask("GET", f"vms/{vm}/snapshots")[1]["snapshot"]
    return {one["description"]: (one["snapshot_type"], one["snapshot_status"]) for one in found}


def past_and_present(vms: Vms, **memory: Any) -> tuple[str, str]:
    """(a VM that is down and was written to after its snapshot, that snapshot)."""
    vm = vms.started()
    writes(vms, vm, "then")
    snapshot = taken(vms, vm, "then", **(memory or {"persist_memorystate": False}))
    writes(vms, vm, "now")
    stops(vms, vm)
    return vm, snapshot


def files(vms: Vms) -> int:
    return sum(path.is_file() for path in (vms.nodes.host("node1").folder / "domains").rglob("images/*/*"))


def test_a_preview_that_is_undone_has_changed_nothing(vms: Vms) -> None:
    vm, snapshot = past_and_present(vms)
    vms.ask("PUT", f"vms/{vm}", {"comment": "now"})
    vms.ask("POST", f"vms/{vm}/nics", {"name": "nic2", "vnic_profile": {"id": PROFILE}})
    nics = vms.ask("GET", f"vms/{vm}/nics")[1]["nic"]
    before = vms.ask("GET", f"disks/{disk_of(vms, vm)}")[1]
    status, _ = vms.ask("POST", f"vms/{vm}/previewsnapshot", {"snapshot": {"id": snapshot}})
    assert status in (200, 202)
    assert snapshots(vms, vm)["then"] == ("regular", "locked")
    assert vms.vm(vm)["status"] == "image_locked"
    vms.work()
    assert vms.newest().status == "finished"
    assert snapshots(vms, vm) == {
        "then": ("regular", "in_preview"),
        "Active VM before the preview": ("preview", "ok"),
        "Active VM": ("active", "ok"),
    }
    assert "comment" not in vms.vm(vm) or not vms.vm(vm)["comment"]
    assert [one["name"] for one in vms.ask("GET", f"vms/{vm}/nics")[1]["nic"]] == ["nic1"]
    assert vms.codes(vm)[-2:] == [46, 71]
    starts(vms, vm)
    assert reads(vms, vm) == "then"
    writes(vms, vm, "tried")
    stops(vms, vm)
    vms.done("POST", f"vms/{vm}/undosnapshot", {})
    assert snapshots(vms, vm) == {"then": ("regular", "ok"), "Active VM": ("active", "ok")}
    assert vms.vm(vm)["comment"] == "now"
    assert vms.ask("GET", f"vms/{vm}/nics")[1]["nic"] == nics
    assert vms.ask("GET", f"disks/{disk_of(vms, vm)}")[1]["image_id"] == before["image_id"]
    assert vms.codes(vm)[-2:] == [650, 651]
    assert files(vms) == 2
    starts(vms, vm)
    assert reads(vms, vm) == "now"


def test_a_preview_that_is_committed_is_the_vm(vms: Vms) -> None:
    vm, snapshot = past_and_present(vms)
    taken(vms, vm, "later")
    vms.done("POST", f"vms/{vm}/previewsnapshot", {"snapshot": {"id": snapshot}})
    vms.done("POST", f"vms/{vm}/commitsnapshot", {})
    assert snapshots(vms, vm) == {"then": ("regular", "ok"), "Active VM": ("active", "ok")}
    assert vms.codes(vm)[-2:] == [94, 95]
    assert files(vms) == 2
    starts(vms, vm)
    assert reads(vms, vm) == "then"
    writes(vms, vm, "after")
    vms.done("DELETE", f"vms/{vm}/snapshots/{snapshot}")
    assert (files(vms), reads(vms, vm)) == (1, "after")


def test_restoring_is_both_at_once(vms: Vms) -> None:
    vm, snapshot = past_and_present(vms)
    taken(vms, vm, "later")
    vms.done("POST", f"vms/{vm}/snapshots/{snapshot}/restore", {})
    assert snapshots(vms, vm) == {"then": ("regular", "ok"), "Active VM": ("active", "ok")}
    assert files(vms) == 2
    starts(vms, vm)
    assert reads(vms, vm) == "then"


def test_of_chosen_disks_alone(vms: Vms) -> None:
    data = {"disk": {**NEW_DISK["disk"], "name": "data"}, "interface": "virtio_scsi"}
    vm = vms.started(disk_attachments=[NEW_DISK, data])
    found = vms.ask("GET", f"vms/{vm}/diskattachments?follow=disk")[1]["disk_attachment"]
    root, other = (next(one["id"] for one in found if one["disk"]["name"] == name) for name in ("root", "data"))
    for value in ("then", "later", "now"):
        for disk in (root, other):
            writes(vms, vm, value, disk)
        if value != "now":
            taken(vms, vm, value, persist_memorystate=False)
    stops(vms, vm)
    first = next(one["id"] for one in vms.ask("GET", f"vms/{vm}/snapshots")[1]["snapshot"] if one["description"] == "then")
    now = {one: vms.ask("GET", f"disks/{one}")[1]["image_id"] for one in (root, other)}
    body = {"snapshot": {"id": first}, "disks": {"disk": [{"id": root, "image_id": now[root]}, {"id": other}]}}
    vms.done("POST", f"vms/{vm}/previewsnapshot", body)
    vms.done("POST", f"vms/{vm}/commitsnapshot", {})
    later = next(one["id"] for one in vms.ask("GET", f"vms/{vm}/snapshots")[1]["snapshot"] if one["description"] == "later")
    assert [one["id"] for one in vms.ask("GET", f"vms/{vm}/snapshots/{later}/disks")[1]["disk"]] == [root]
    starts(vms, vm)
    assert (reads(vms, vm, root), reads(vms, vm, other)) == ("now", "then")
    vms.done("DELETE", f"vms/{vm}/snapshots/{later}")
    vms.done("DELETE", f"vms/{vm}/snapshots/{first}")
    assert (reads(vms, vm, root), reads(vms, vm, other), files(vms)) == ("now", "then", 2)


@pytest.mark.parametrize("how", ["preview", "restore"])
def test_the_next_start_goes_on_from_the_memory_and_only_that_one(vms: Vms, how: str) -> None:
    vm, snapshot = past_and_present(vms, persist_memorystate=True)
    body: dict[str, Any] = {"restore_memory": True}
    if how == "preview":
        vms.done("POST", f"vms/{vm}/previewsnapshot", {**body, "snapshot": {"id": snapshot}})
    else:
        vms.done("POST", f"vms/{vm}/snapshots/{snapshot}/restore", body)
    starts(vms, vm)
    assert vms.vm(vm)["status"] == "up"
    assert [one.status for one in vms.engine.jobs.list() if one.type == "vm.start-memory"] == ["finished"]
    assert reads(vms, vm) == "then"
    memory = vms.nodes.host("node1").folder / "domains" / "vmstore" / "memory" / vm
    assert len(list(memory.iterdir())) == 1, "it is the snapshot's still"
    writes(vms, vm, "went on")
    stops(vms, vm)
    starts(vms, vm)
    assert reads(vms, vm) == "went on"
    assert sum(one.type == "vm.start-memory" for one in vms.engine.jobs.list()) == 1
    stops(vms, vm)
    if how == "preview":
        vms.done("POST", f"vms/{vm}/undosnapshot", {})
    vms.done("DELETE", f"vms/{vm}/snapshots/{snapshot}")
    assert not memory.exists() or list(memory.iterdir()) == []


def test_without_the_memory_if_it_is_started_for_once_or_the_snapshot_has_gone(vms: Vms) -> None:
    vm, snapshot = past_and_present(vms, persist_memorystate=True)
    vms.done("POST", f"vms/{vm}/snapshots/{snapshot}/restore", {"restore_memory": True})
    vms.done("DELETE", f"vms/{vm}/snapshots/{snapshot}")
    starts(vms, vm)
    assert all(one.type != "vm.start-memory" for one in vms.engine.jobs.list())
    snapshot = taken(vms, vm, "again")
    stops(vms, vm)
    vms.done("POST", f"vms/{vm}/snapshots/{snapshot}/restore", {"restore_memory": True})
    vms.done("POST", f"vms/{vm}/start", {"vm": {"os": {"boot": {"devices": {"device": ["network"]}}}}})
    assert all(one.type != "vm.start-memory" for one in vms.engine.jobs.list())


def test_what_is_refused(vms: Vms) -> None:
    vm, snapshot = past_and_present(vms)
    disk = disk_of(vms, vm)
    preview = {"snapshot": {"id": snapshot}}

    def refused(path: str, body: Any, status: int, words: str, method: str = "POST") -> None:
        got, answer = vms.ask(method, path, body)
        assert (got, words in detail(answer)) == (status, True), (path, answer)

    refused(f"vms/{vm}/previewsnapshot", {}, 400, "snapshot.id")
    refused(f"vms/{vm}/previewsnapshot", {"snapshot": {"id": "no"}}, 404, "")
    refused(f"vms/{vm}/snapshots/no/restore", {}, 404, "")
    refused(f"vms/{vm}/previewsnapshot", {**preview, "restore_memory": True}, 409, "has no memory")
    other = {"disks": {"disk": [{"id": disk, "image_id": "other"}]}}
    refused(f"vms/{vm}/previewsnapshot", {**preview, **other}, 400, "neither the snapshot's")
    refused(f"vms/{vm}/commitsnapshot", {}, 409, "is not previewing a Snapshot")
    refused(f"vms/{vm}/undosnapshot", {}, 409, "is not previewing a Snapshot")
    vms.done("POST", f"vms/{vm}/previewsnapshot", preview)
    refused(f"vms/{vm}/previewsnapshot", preview, 409, "VM is previewing a Snapshot (then)")
    refused(f"vms/{vm}/snapshots/{snapshot}/restore", {}, 409, "VM is previewing a Snapshot")
    refused(f"vms/{vm}/snapshots", {"description": "x"}, 409, "VM is previewing a Snapshot")
    refused(f"vms/{vm}/snapshots/{snapshot}", None, 409, "VM is previewing a Snapshot", "DELETE")
    refused(f"vms/{vm}", None, 409, "VM is previewing a Snapshot", "DELETE")
    refused(f"disks/{disk}", None, 409, "VM is previewing a Snapshot", "DELETE")
    starts(vms, vm)
    refused(f"vms/{vm}/commitsnapshot", {}, 409, "VM is running")
    refused(f"vms/{vm}/undosnapshot", {}, 409, "VM is running")


def test_memory_goes_on_with_the_disks_of_its_time_only(vms: Vms) -> None:
    vm, snapshot = past_and_present(vms, persist_memorystate=True)
    data = {"disk": {**NEW_DISK["disk"], "name": "data"}, "interface": "virtio_scsi"}
    vms.done("POST", f"vms/{vm}/diskattachments", {**data, "active": True})
    body = {"snapshot": {"id": snapshot}, "restore_memory": True}
    status, answer = vms.ask("POST", f"vms/{vm}/previewsnapshot", body)
    assert (status, "other disks" in detail(answer), "data" in detail(answer)) == (409, True, True)


def test_nor_does_it_go_on_when_the_disks_have_changed_since(vms: Vms) -> None:
    vm, snapshot = past_and_present(vms, persist_memorystate=True)
    vms.done("POST", f"vms/{vm}/snapshots/{snapshot}/restore", {"restore_memory": True})
    data = {"disk": {**NEW_DISK["disk"], "name": "data"}, "interface": "virtio_scsi"}
    vms.done("POST", f"vms/{vm}/diskattachments", {**data, "active": True})
    status, answer = vms.ask("POST", f"vms/{vm}/start", {})
    assert (status, "other disks" in detail(answer), "data" in detail(answer)) == (409, True, True)
    vms.done("POST", f"vms/{vm}/start", {"vm": {"os": {"boot": {"devices": {"device": ["hd"]}}}}})
    vms.look()
    assert (vms.vm(vm)["status"], reads(vms, vm, disk_called(vms, vm, "root"))) == ("up", "then")


def disk_called(vms: Vms, vm: str, name: str) -> str:
    found = vms.ask("GET", f"vms/{vm}/diskattachments?follow=disk")[1]["disk_attachment"]
    return str(next(one["id"] for one in found if one["disk"]["name"] == name))


def test_snapshots_are_in_order_although_the_clock_went_back(vms: Vms, clock: FakeClock) -> None:
    """The engine's clock is its host's; after a failover it may be behind."""
    vm = vms.started()
    for value in ("first", "second"):
        writes(vms, vm, value)
        taken(vms, vm, value, persist_memorystate=False)
        clock.jump_wall(-60)
    stops(vms, vm)
    found = [one for one in vms.ask("GET", f"vms/{vm}/snapshots")[1]["snapshot"] if one["snapshot_type"] == "regular"]
    by_date = sorted(found, key=lambda one: int(one["date"]))
    assert [one["description"] for one in by_date] == ["first", "second"]
    vms.done("POST", f"vms/{vm}/previewsnapshot", {"snapshot": {"id": by_date[1]["id"]}})
    vms.done("POST", f"vms/{vm}/commitsnapshot", {})
    assert list(snapshots(vms, vm)) == ["first", "second", "Active VM"]
    starts(vms, vm)
    assert reads(vms, vm) == "second"
