"""Snapshots through the API: what is taken, listed and removed, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from engine.core import Engine
from engine.fakes.layers import FakeLayers, file_at
from tests.engine.vm_world import NEW_DISK, Vms, detail, fake_hosts


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def depth(vms: Vms, vm: str) -> int:
    """How many layers its first disk has, as its host has it open."""
    disk = vms.running(vm).spec.disks[0]
    return len(FakeLayers(vms.nodes.nodes["node1"].folder).chain(file_at(disk.path, disk.format)))


def taken(vms: Vms, vm: str, name: str, **given: Any) -> str:
    return str(vms.done("POST", f"vms/{vm}/snapshots", {"description": name, **given})["id"])


def test_one_is_locked_while_it_is_taken_and_the_vm_runs_on(vms: Vms) -> None:
    vm = vms.started()
    body = {"description": "before", "persist_memorystate": False}
    status, found = vms.ask("POST", f"vms/{vm}/snapshots", body)
    assert (status, found["snapshot_status"], found["snapshot_type"]) == (202, "locked", "regular")
    assert vms.vm(vm)["status"] == "up"
    (attachment,) = vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"]
    assert vms.ask("GET", f"disks/{attachment['id']}")[1]["status"] == "locked"
    status, refused = vms.ask("POST", f"vms/{vm}/snapshots", body)
    assert status == 409
    assert "Related operation is currently in progress" in detail(refused)
    vms.work()
    assert vms.newest().status == "finished"
    path = f"vms/{vm}/snapshots/{found['id']}"
    now = vms.ask("GET", path)[1]
    assert (now["snapshot_status"], now["description"], now["persist_memorystate"]) == ("ok", "before", "false")
    assert (now["vm"]["id"], "status" in now, now["memory"]) == (vm, False, vms.vm(vm)["memory"])
    assert depth(vms, vm) == 2
    listed = vms.ask("GET", f"vms/{vm}/snapshots")[1]["snapshot"]
    assert [(one["description"], one["snapshot_type"]) for one in listed] == [("before", "regular"), ("Active VM", "active")]
    (disk,) = vms.ask("GET", f"{path}/disks")[1]["disk"]
    shown = vms.ask("GET", f"disks/{attachment['id']}")[1]
    assert (disk["id"], disk["snapshot"]["id"]) == (attachment["id"], found["id"])
    assert disk["image_id"] != shown["image_id"]
    assert [one["name"] for one in vms.ask("GET", f"{path}/nics")[1]["nic"]] == ["nic1"]
    assert vms.codes(vm)[-2:] == [45, 68]
    vms.done("DELETE", path)
    assert depth(vms, vm) == 1
    assert vms.ask("GET", f"disks/{attachment['id']}")[1]["image_id"] == disk["image_id"]
    assert vms.ask("GET", path)[0] == 404
    assert vms.codes(vm)[-2:] == [342, 356]


def test_the_layers_of_a_disk_are_told_one_by_one(vms: Vms) -> None:
    """Below the disk and below its domain: each with its snapshot and the layer that it lies over."""
    vm = vms.made(name="web", disk_attachments=[NEW_DISK])["id"]
    (attachment,) = vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"]
    disk = attachment["id"]
    assert vms.ask("GET", f"disks/{disk}/disksnapshots")[1] == {}, "what is written now is none, unless that is wanted"
    first, second = taken(vms, vm, "first"), taken(vms, vm, "second")
    now = vms.ask("GET", f"disks/{disk}")[1]
    below_disk = vms.ask("GET", f"disks/{disk}/disksnapshots?include_active=true")[1]["disk_snapshot"]
    assert [one["active"] for one in below_disk] == ["false", "false", "true"]
    assert [one["snapshot"]["id"] for one in below_disk[:2]] == [first, second]
    assert [one.get("parent", {}).get("id") for one in below_disk] == [None, below_disk[0]["id"], below_disk[1]["id"]]
    assert (below_disk[2]["id"], below_disk[2]["image_id"]) == (now["image_id"], now["image_id"])
    assert {one["provisioned_size"] for one in below_disk} == {now["provisioned_size"]}
    domain = now["storage_domains"]["storage_domain"][0]["id"]
    listed = vms.ask("GET", f"storagedomains/{domain}/disksnapshots")[1]["disk_snapshot"]
    assert [(one["id"], one["disk"]["id"], one["snapshot"]["id"]) for one in listed] == [
        (below_disk[0]["id"], disk, first),
        (below_disk[1]["id"], disk, second),
    ]
    one = vms.ask("GET", f"storagedomains/{domain}/disksnapshots/{listed[1]['id']}")[1]
    assert (one["parent"]["id"], one["format"]) == (listed[0]["id"], "cow")
    assert vms.ask("GET", f"storagedomains/{domain}/disksnapshots/nothing")[0] == 404


def test_with_memory_unless_it_is_not_wanted_or_there_is_none(vms: Vms) -> None:
    vm = vms.started()
    memory = vms.nodes.nodes["node1"].folder / "domains" / "vmstore" / "memory" / vm
    first = taken(vms, vm, "with")
    assert vms.ask("GET", f"vms/{vm}/snapshots/{first}")[1]["persist_memorystate"] == "true"
    assert len(list(memory.iterdir())) == 1
    vms.done("DELETE", f"vms/{vm}/snapshots/{first}")
    assert not memory.exists() or list(memory.iterdir()) == []
    vms.done("POST", f"vms/{vm}/stop", {})
    second = taken(vms, vm, "down")
    assert vms.ask("GET", f"vms/{vm}/snapshots/{second}")[1]["persist_memorystate"] == "false"


def test_of_chosen_disks_alone(vms: Vms) -> None:
    data = {"disk": {**NEW_DISK["disk"], "name": "data"}, "interface": "virtio_scsi"}
    vm = vms.started(disk_attachments=[NEW_DISK, data])
    disks = vms.ask("GET", f"vms/{vm}/diskattachments?follow=disk")[1]["disk_attachment"]
    chosen = next(one["id"] for one in disks if one["disk"]["name"] == "data")
    made = taken(vms, vm, "data", disk_attachments=[{"disk": {"id": chosen}}], persist_memorystate=False)
    assert [one["id"] for one in vms.ask("GET", f"vms/{vm}/snapshots/{made}/disks")[1]["disk"]] == [chosen]


def test_what_is_refused(vms: Vms) -> None:
    vm = vms.started()
    made = taken(vms, vm, "one", persist_memorystate=False)
    (attachment,) = vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"]
    refusals = [
        ("POST", f"vms/{vm}/snapshots", {}, 400, "Snapshot [description] required for add"),
        ("POST", f"vms/{vm}/snapshots", {"description": "x", "disk_attachments": [{"disk": {"id": "no"}}]}, 404, ""),
        ("DELETE", f"vms/{vm}/diskattachments/{attachment['id']}", None, 409, "The disk is in the snapshots one of its VM"),
        ("GET", f"vms/{vm}/snapshots/None", None, 404, ""),
        ("DELETE", f"vms/{vm}/snapshots/None", None, 404, ""),
    ]
    for method, path, body, status, words in refusals:
        got, answer = vms.ask(method, path, body)
        assert got == status, (path, answer)
        assert words in detail(answer)
    vms.done("POST", f"vms/{vm}/suspend", {})
    got, answer = vms.ask("DELETE", f"vms/{vm}/snapshots/{made}")
    assert (got, "VM is suspended" in detail(answer)) == (409, True)


def test_a_vm_goes_with_all_layers_of_its_disks(vms: Vms) -> None:
    vm = vms.started()
    for name in ("one", "two"):
        taken(vms, vm, name, persist_memorystate=False)
    vms.done("POST", f"vms/{vm}/stop", {})
    got, answer = vms.ask("DELETE", f"vms/{vm}?detach_only=true")
    assert (got, "in the snapshots one, two" in detail(answer)) == (409, True)
    vms.done("DELETE", f"vms/{vm}")
    domain = vms.nodes.nodes["node1"].folder / "domains"
    assert [path for path in domain.rglob("*") if path.is_file()] == []
    assert vms.engine.store.entities.list("snapshot") == []
