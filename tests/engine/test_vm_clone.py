"""Copies of VMs through the API: of what one is now, of what a snapshot keeps; what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.passwords import hash_password
from engine.core import Engine
from engine.decide.roles import USER_VM_MANAGER
from engine.store.permissions import Permits, user_entity
from engine.store.records import AccountRecord
from tests.engine.test_snapshot_preview import disk_of, past_and_present, reads, starts, writes
from tests.engine.test_vm_snapshots import taken
from tests.engine.vm_world import CLUSTER, DOMAIN, NEW_DISK, PROFILE, Vms, detail, fake_hosts

DISK_CREATOR, VM_CREATOR = "def0000a-0000-0000-0000-def00000000c", "def0000a-0000-0000-0000-def00000000d"
"""oVirt's roles."""
PASSWORD = "a long enough one"


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def from_snapshot(snapshot: str, **given: Any) -> dict[str, Any]:
    return {"name": "copy", "cluster": {"id": CLUSTER}, "snapshots": {"snapshot": [{"id": snapshot}]}, **given}


def attached(vms: Vms, vm: str) -> list[dict[str, Any]]:
    return list(vms.ask("GET", f"vms/{vm}/diskattachments?follow=disk")[1].get("disk_attachment", ()))


def test_a_copy_of_a_snapshot_while_its_vm_runs_on(vms: Vms) -> None:
    vm = vms.started(description="of then", memory=str(512 * 1024**2))
    nic = vms.ask("GET", f"vms/{vm}/nics")[1]["nic"][0]
    writes(vms, vm, "then")
    snapshot = taken(vms, vm, "then", persist_memorystate=False)
    writes(vms, vm, "now")
    vms.ask("PUT", f"vms/{vm}", {"description": "of now"})
    status, made = vms.ask("POST", "vms", from_snapshot(snapshot))
    assert (status, made["status"], vms.vm(vm)["status"]) == (202, "image_locked", "up")
    assert vms.ask("DELETE", f"vms/{vm}/snapshots/{snapshot}")[0] == 409, "its chain stays as it is"
    vms.work()
    assert vms.newest().status == "finished"
    copy = vms.vm(made["id"])
    assert (copy["status"], copy["name"], copy["description"]) == ("down", "copy", "of then")
    assert (copy["memory"], copy["template"]["id"]) == (str(512 * 1024**2), "00000000-0000-0000-0000-000000000000")
    (other,) = vms.ask("GET", f"vms/{copy['id']}/nics")[1]["nic"]
    assert (other["name"], other["vnic_profile"], other["id"] == nic["id"]) == ("nic1", {**nic["vnic_profile"]}, False)
    assert other["mac"]["address"] != nic["mac"]["address"]
    (disk,) = attached(vms, copy["id"])
    assert (disk["bootable"], disk["interface"], disk["disk"]["status"]) == ("true", "virtio_scsi", "ok")
    assert (disk["disk"]["name"], disk["id"] == disk_of(vms, vm)) == ("copy_Disk1", False)
    assert vms.ask("GET", f"vms/{copy['id']}/snapshots")[1]["snapshot"][0]["snapshot_type"] == "active"
    assert vms.codes(copy["id"])[-2:] == [37, 53]
    starts(vms, copy["id"])
    assert (reads(vms, copy["id"]), reads(vms, vm)) == ("then", "now")
    vms.done("DELETE", f"vms/{vm}/snapshots/{snapshot}")


def test_it_is_made_as_the_body_says(vms: Vms) -> None:
    vm, snapshot = past_and_present(vms)
    disk = disk_of(vms, vm)
    wish = {"disk": {"id": disk, "name": "mine", "format": "raw", "storage_domains": {"storage_domain": [{"id": DOMAIN}]}}}
    body = from_snapshot(snapshot, description="mine", nics={"nic": []}, disk_attachments={"disk_attachment": [wish]})
    made = vms.done("POST", "vms", body)
    (one,) = attached(vms, made["id"])
    assert (one["disk"]["name"], one["disk"]["format"]) == ("mine", "raw")
    assert vms.ask("GET", f"vms/{made['id']}/nics")[1] == {}
    assert vms.vm(made["id"])["description"] == "mine"


def test_a_clone_is_the_vm_of_now_without_its_snapshots(vms: Vms) -> None:
    vm, _ = past_and_present(vms)
    body = {"vm": {"name": "clone", "comment": "cloned"}}
    status, _ = vms.ask("POST", f"vms/{vm}/clone", body)
    assert status in (200, 202)
    assert vms.vm(vm)["status"] == "image_locked", "or its disks would be written while they are copied"
    vms.work()
    assert vms.newest().status == "finished"
    (clone,) = vms.ask("GET", "vms?search=name%3Dclone")[1]["vm"]
    assert (clone["status"], clone["comment"], vms.vm(vm)["status"]) == ("down", "cloned", "down")
    assert [one["snapshot_type"] for one in vms.ask("GET", f"vms/{clone['id']}/snapshots")[1]["snapshot"]] == ["active"]
    starts(vms, clone["id"])
    starts(vms, vm)
    writes(vms, vm, "later")
    assert (reads(vms, clone["id"]), reads(vms, vm)) == ("now", "later")


def test_a_shared_disk_stays_one(vms: Vms) -> None:
    shared = {"interface": "virtio_scsi",
              "disk": {**NEW_DISK["disk"], "name": "shared", "format": "raw", "shareable": True}}  # fmt: skip
    vm = vms.made(disk_attachments=[NEW_DISK, shared])["id"]
    vms.done("POST", f"vms/{vm}/clone", {"vm": {"name": "clone"}})
    (clone,) = vms.ask("GET", "vms?search=name%3Dclone")[1]["vm"]
    ids = {one["disk"]["name"]: one["disk"]["id"] for one in attached(vms, vm)}
    copied = {one["disk"]["name"]: one["disk"]["id"] for one in attached(vms, clone["id"])}
    assert set(copied) == {"shared", "clone_Disk1"}
    assert copied["shared"] == ids["shared"]


def test_without_disks_it_is_there_at_once_all_the_same(vms: Vms) -> None:
    vm = vms.made(nics=[{"name": "nic1", "vnic_profile": {"id": PROFILE}}])["id"]
    vms.done("POST", f"vms/{vm}/clone", {"vm": {"name": "clone"}})
    (clone,) = vms.ask("GET", "vms?search=name%3Dclone")[1]["vm"]
    assert (clone["status"], attached(vms, clone["id"])) == ("down", [])
    assert [one["name"] for one in vms.ask("GET", f"vms/{clone['id']}/nics")[1]["nic"]] == ["nic1"]


def test_what_is_refused(vms: Vms) -> None:
    vm, snapshot = past_and_present(vms)
    two = {"snapshots": {"snapshot": [{"id": snapshot}, {"id": snapshot}]}}
    wrong: list[tuple[str, Any, int, str]] = [
        ("vms", from_snapshot("no"), 404, ""),
        ("vms", from_snapshot(snapshot, **two), 400, "2 snapshots are named"),
        ("vms", from_snapshot(snapshot, name="web1"), 409, "already in use"),
        ("vms", from_snapshot(snapshot, name=""), 400, "name"),
        ("vms", from_snapshot(snapshot, memory="1"), 400, "below 16 MiB"),
        (f"vms/{vm}/clone", {}, 400, "vm.name"),
        (f"vms/{vm}/clone", {"vm": {"name": "web1"}}, 409, "already in use"),
        (f"vms/{vm}/clone", {"vm": {"name": "c"}, "discard_snapshots": False}, 409, "Copies have no snapshots"),
        (f"vms/{vm}/clone", {"vm": {"name": "c", "cluster": {"name": "no"}}}, 404, "no"),
        ("vms/no/clone", {"vm": {"name": "c"}}, 404, ""),
    ]
    for path, body, status, words in wrong:
        got, answer = vms.ask("POST", path, body)
        assert (got, words in detail(answer)) == (status, True), (path, body, got, answer)
    starts(vms, vm)
    got, answer = vms.ask("POST", f"vms/{vm}/clone", {"vm": {"name": "c"}})
    assert (got, "VM is running" in detail(answer)) == (409, True)
    assert len(vms.ask("GET", "vms?search=name%3Dc%2A")[1].get("vm", ())) == 0


def test_who_may_only_make_vms_copies_nothing_of_the_neighbours(vms: Vms) -> None:
    vm, snapshot = past_and_present(vms)
    store = vms.engine.store
    store.put_account(AccountRecord("user-ann", "ann", "internal", hash_password(PASSWORD), True))
    store.entities.add(user_entity("user-ann", "ann", "internal"))
    permits = Permits(store.entities)
    permits.give(VM_CREATOR, ("user", "user-ann"), ("cluster", CLUSTER))
    form = {"grant_type": "password", "scope": "ovirt-app-api", "username": "ann@internal", "password": PASSWORD}
    ann = vms.client.post("/ovirt-engine/sso/oauth/token", data=form).get_json()["access_token"]
    for path, body in (("vms", from_snapshot(snapshot)), (f"vms/{vm}/clone", {"vm": {"name": "copy"}})):
        assert vms.ask("POST", path, body, token=ann)[0] in (403, 404), path
    assert vms.ask("GET", "vms?search=name%3Dcopy")[1] == {}
    permits.give(USER_VM_MANAGER, ("user", "user-ann"), ("vm", vm))
    permits.give(DISK_CREATOR, ("user", "user-ann"), ("storage_domain", DOMAIN))
    assert vms.ask("POST", "vms", from_snapshot(snapshot), token=ann)[0] == 202
    vms.work()
    assert [one["name"] for one in vms.ask("GET", "vms?search=name%3Dcopy", token=ann)[1]["vm"]] == ["copy"]
