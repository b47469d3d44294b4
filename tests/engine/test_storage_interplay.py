"""Storage domains that not every host has mounted, or that are put away, and all that works with what lies on them: copies
of VMs, transfers, snapshots with memory, cloud-init's CDs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.errors import Conflict
from engine.core import Engine
from engine.decide.vm_machine import SEED_DRIVE
from engine.jobs import seeds
from engine.jobs.host_storage import ConnectHost, HostStorage
from engine.jobs.seed_remove import RemoveSeed, SeedRemove
from tests.engine import world
from tests.engine.test_domains import HERE, new_disk
from tests.engine.test_guest_start import sweep
from tests.engine.test_image_transfers import asked, begun
from tests.engine.test_more_domains import LOCAL, added, refusal
from tests.engine.test_snapshot_preview import disk_of, starts, stops
from tests.engine.test_vm_snapshots import taken
from tests.engine.vm_world import CLUSTER, DOMAIN, MIB, Vms, fake_hosts


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def drive(domain: str, name: str = "root", **given: Any) -> dict[str, Any]:
    disk = {"name": name, "provisioned_size": 8 * MIB, "format": "cow", "storage_domains": [{"id": domain}]}
    return {"bootable": True, "interface": "virtio_scsi", "disk": disk, **given}


def local_vm(vms: Vms, **given: Any) -> tuple[str, str]:
    """(a domain that only node2 has, a VM that is down with its disk there)."""
    local = added(vms, name="local", storage=LOCAL)
    return local, str(vms.made(name="a", disk_attachments=[drive(local)], **given)["id"])


def elsewhere(disk: str) -> dict[str, Any]:
    return {"disk": {"id": disk, "storage_domains": {"storage_domain": [{"id": DOMAIN}]}}}


# copies of VMs


def test_a_copy_is_made_by_a_host_that_has_its_source(vms: Vms) -> None:
    local, vm = local_vm(vms)
    snapshot = taken(vms, vm, "then")
    vms.ask("POST", f"vms/{vm}/clone", {"vm": {"name": "b"}, "storage_domain": {"id": DOMAIN}})
    assert "(Cloning VM a to VM b)" in refusal(vms, "POST", f"{HERE}/{local}/deactivate", {})
    vms.work()
    assert vms.newest().status == "finished", "node1 has nothing of the source"
    body = {"name": "c", "cluster": {"id": CLUSTER}, "snapshots": {"snapshot": [{"id": snapshot}]}}
    vms.done("POST", "vms", {**body, "disk_attachments": {"disk_attachment": [elsewhere(disk_of(vms, vm))]}})


def test_a_template_is_made_and_cloned_by_a_host_that_has_its_source(vms: Vms) -> None:
    _local, vm = local_vm(vms)
    there = {"id": vm, "disk_attachments": {"disk_attachment": [elsewhere(disk_of(vms, vm))]}}
    vms.done("POST", "templates", {"name": "t", "vm": there})
    here = vms.done("POST", "templates", {"name": "u", "vm": {"id": vm}})
    disk = vms.ask("GET", f"templates/{here['id']}/diskattachments")[1]["disk_attachment"][0]["id"]
    body = {"name": "d", "cluster": {"id": CLUSTER}, "template": {"name": "u"}}
    vms.done("POST", "vms?clone=true", {**body, "disk_attachments": {"disk_attachment": [elsewhere(disk)]}})


# transfers


def test_a_transfer_is_served_looked_at_and_taken_back_where_its_disk_is(vms: Vms) -> None:
    local = added(vms, name="local", storage=LOCAL)
    disk = vms.done("POST", "disks", new_disk(storage_domains=[{"id": local}]))["id"]
    up = begun(vms, disk={"id": disk})
    assert vms.ask("GET", f"hosts/{up['host']['id']}")[1]["name"] == "node2"
    assert asked(vms, up["id"], "pause")["phase"] == "paused_user"
    assert "(Uploading Image of disk x)" in refusal(vms, "POST", f"{HERE}/{local}/deactivate", {})
    assert asked(vms, up["id"], "resume")["phase"] == "transferring"
    assert asked(vms, up["id"], "finalize")["phase"] == "finished_success"
    again = begun(vms, disk={"id": disk})
    assert asked(vms, again["id"], "cancel")["phase"] == "finished_cleanup"
    assert vms.ask("GET", f"disks/{disk}")[0] == 404


# snapshots with memory, and cloud-init's CDs


def test_the_memory_of_a_first_run_goes_on_without_its_cd(vms: Vms) -> None:
    vm = vms.started(initialization={"host_name": "web1"})
    assert SEED_DRIVE in [one.serial for one in vms.running(vm).spec.disks]
    snapshot = taken(vms, vm, "then")
    stops(vms, vm)
    sweep(vms)
    vms.done("POST", f"vms/{vm}/snapshots/{snapshot}/restore", {"restore_memory": True})
    starts(vms, vm)
    assert vms.vm(vm)["status"] == "up"
    assert SEED_DRIVE not in [one.serial for one in vms.running(vm).spec.disks]


def first_run(vms: Vms) -> tuple[str, str]:
    """(a domain that only node2 has, a VM that runs with its disk and its first CD there)."""
    local, vm = local_vm(vms, initialization={"host_name": "web1"})
    starts(vms, vm)
    assert len(vms.engine.store.entities.list(seeds.KIND)) == 1
    return local, vm


def test_a_cd_is_removed_by_a_host_that_has_it(vms: Vms) -> None:
    _local, vm = first_run(vms)
    stops(vms, vm)
    sweep(vms)
    assert vms.engine.store.entities.list(seeds.KIND) == []


def test_a_cd_on_a_domain_in_maintenance_waits_for_it(vms: Vms) -> None:
    local, vm = first_run(vms)
    stops(vms, vm)
    vms.done("DELETE", f"vms/{vm}")
    vms.done("POST", f"{HERE}/{local}/deactivate", {})
    sweep(vms)
    (row,) = vms.engine.store.entities.list(seeds.KIND)
    assert [one for one in vms.engine.jobs.list() if one.type == "seed.remove"] == []
    with pytest.raises(Conflict) as caught:
        vms.engine.desk.order(SeedRemove, RemoveSeed(row.id), owner_id="", correlation_id="")
    assert caught.value.code == "domain.not-active"
    assert "cloud-init CDs of VMs are on it: a" in refusal(vms, "DELETE", f"{HERE}/{local}")
    vms.done("POST", f"{HERE}/{local}/activate", {})
    sweep(vms)
    assert vms.engine.store.entities.list(seeds.KIND) == []
    vms.done("POST", f"{HERE}/{local}/deactivate", {})
    assert vms.ask("DELETE", f"{HERE}/{local}")[0] == 200
    vms.done("DELETE", f"storagedomains/{local}?format=true")


def test_a_domain_that_is_destroyed_takes_its_cds_along(vms: Vms) -> None:
    local, vm = first_run(vms)
    stops(vms, vm)
    vms.done("POST", f"{HERE}/{local}/deactivate", {})
    vms.done("DELETE", f"storagedomains/{local}?destroy=true")
    assert vms.ask("GET", f"storagedomains/{local}")[0] == 404
    assert vms.engine.store.entities.list(seeds.KIND) == []


# who may write to a disk, and how large it is


def test_nothing_is_uploaded_under_saved_memory(vms: Vms) -> None:
    vm = vms.started()
    snapshot = taken(vms, vm, "then")
    upload = {"disk": {"id": disk_of(vms, vm)}, "format": "raw"}
    vms.done("POST", f"vms/{vm}/suspend", {})
    assert "goes on from saved memory" in refusal(vms, "POST", "imagetransfers", upload)
    stops(vms, vm)
    vms.done("POST", f"vms/{vm}/previewsnapshot", {"snapshot": {"id": snapshot}, "restore_memory": True})
    larger = {"provisioned_size": 16 * MIB}
    for method, path, body in (
        ("POST", "imagetransfers", upload), ("PUT", f"vms/{vm}/diskattachments/{disk_of(vms, vm)}", {"disk": larger}),
    ):  # fmt: skip
        assert "VM is previewing a Snapshot (then)" in refusal(vms, method, path, body)
    vms.done("POST", f"vms/{vm}/commitsnapshot", {})
    assert "goes on from saved memory" in refusal(vms, "POST", "imagetransfers", upload)
    path = f"vms/{vm}/diskattachments/{disk_of(vms, vm)}"
    assert "goes on from a snapshot's memory" in refusal(vms, "PUT", path, {"disk": larger})
    starts(vms, vm)
    stops(vms, vm)
    begun(vms, **upload)


# keepers


def test_a_host_lets_go_of_nothing_that_has_become_active_since_it_was_asked(vms: Vms) -> None:
    identifier = added(vms)
    (node1,) = (one.id for one in world.MEMBERS if one.name == "node1")
    for stale in (ConnectHost(node1, "node1", (), (identifier,)), ConnectHost(node1, "node1", (identifier,), ())):
        with pytest.raises(Conflict) as caught:
            vms.engine.desk.order(HostStorage, stale, owner_id="", correlation_id="")
        assert caught.value.code == "domain.status"
        if stale.needless:
            vms.done("POST", f"{HERE}/{identifier}/deactivate", {})


# sizes


def test_a_disk_that_has_grown_since_its_snapshot_is_as_large_as_it_was_then(vms: Vms) -> None:
    vm = vms.started()
    snapshot, disk = taken(vms, vm, "then", persist_memorystate=False), disk_of(vms, vm)
    stops(vms, vm)
    vms.done("PUT", f"vms/{vm}/diskattachments/{disk}", {"disk": {"provisioned_size": 16 * MIB}})
    body = {"name": "c", "cluster": {"id": CLUSTER}, "snapshots": {"snapshot": [{"id": snapshot}]}}
    assert size_of(vms, disk_of(vms, vms.done("POST", "vms", body)["id"])) == 8 * MIB
    vms.done("POST", f"vms/{vm}/previewsnapshot", {"snapshot": {"id": snapshot}})
    assert size_of(vms, disk) == 8 * MIB
    vms.done("POST", f"vms/{vm}/undosnapshot", {})
    assert size_of(vms, disk) == 16 * MIB
    vms.done("POST", f"vms/{vm}/snapshots/{snapshot}/restore", {})
    assert size_of(vms, disk) == 8 * MIB
    vms.done("PUT", f"vms/{vm}/diskattachments/{disk}", {"disk": {"provisioned_size": 12 * MIB}})


def size_of(vms: Vms, disk: str) -> int:
    return int(vms.ask("GET", f"disks/{disk}")[1]["provisioned_size"])


# saved memory and CDs on domains that some hosts have


def with_spare(vms: Vms, **given: Any) -> tuple[str, str]:
    """(a domain that only node2 has, a VM whose first disk is there and out of its machine; the other is on vmstore)."""
    local = added(vms, name="local", storage=LOCAL)
    spare = drive(local, "spare", active=False, bootable=False)
    vm = vms.made(name="a", disk_attachments=[drive(DOMAIN)], **given)["id"]
    vms.done("POST", f"vms/{vm}/diskattachments", spare)
    entities = vms.engine.store.entities
    mine = [one.ref("disk") for one in entities.children(("vm", vm), "disk_attachment")]
    assert {entities.need("disk", one).ref("storage_domains") for one in mine} == {local, DOMAIN}
    return local, vm


def lies_on(monkeypatch: pytest.MonkeyPatch, domain: str) -> None:
    """What belongs to VMs goes there, as it does beside a first disk."""
    monkeypatch.setattr("engine.jobs.vm_start.domain_for", lambda *_: domain)
    monkeypatch.setattr("engine.api.nouns.vm_actions.domain_for", lambda *_: domain)
    monkeypatch.setattr("engine.api.nouns.vm_snapshots.domain_for", lambda *_: domain)


def test_a_vm_starts_and_wakes_where_its_cd_and_its_memory_are(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    local, vm = with_spare(vms, initialization={"host_name": "web1"})
    lies_on(monkeypatch, local)
    vms.ask("POST", f"vms/{vm}/start", {})
    assert "(Launching VM a)" in refusal(vms, "POST", f"{HERE}/{local}/deactivate", {})
    vms.work()
    assert (vms.newest().status, vms.host_of(vm)) == ("finished", "node2")
    vms.look()
    vms.done("POST", f"vms/{vm}/suspend", {})
    vms.done("POST", f"vms/{vm}/start", {})
    assert vms.host_of(vm) == "node2"
    vms.look()
    vms.done("POST", f"vms/{vm}/suspend", {})
    vms.done("POST", f"{HERE}/{local}/deactivate", {})
    for action in ("start", "stop"):
        assert "Storage Domain is not active" in refusal(vms, "POST", f"vms/{vm}/{action}", {})
    vms.done("POST", f"{HERE}/{local}/activate", {})
    stops(vms, vm)
    assert vms.vm(vm)["status"] == "down"


def test_memory_of_snapshots_is_dropped_where_it_is(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    local, vm = with_spare(vms, initialization={"host_name": "web1"})
    lies_on(monkeypatch, local)
    starts(vms, vm)
    disks = vms.ask("GET", f"vms/{vm}/diskattachments?follow=disk")[1]["disk_attachment"]
    chosen = {"disk_attachments": [{"disk": {"id": one["id"]}} for one in disks if one["disk"]["name"] == "root"]}
    first = taken(vms, vm, "first", persist_memorystate=False, **chosen)
    taken(vms, vm, "second", **chosen)
    third = taken(vms, vm, "third", **chosen)
    assert len(memories(vms)) == 2
    stops(vms, vm)
    vms.done("POST", f"{HERE}/{local}/deactivate", {})
    back = f"vms/{vm}/snapshots/{first}/restore"
    for method, path, body in (("DELETE", f"vms/{vm}/snapshots/{third}", None), ("POST", back, {})):
        assert "Storage Domain is not active" in refusal(vms, method, path, body)
    vms.done("POST", f"{HERE}/{local}/activate", {})
    vms.ask("DELETE", f"vms/{vm}/snapshots/{third}")
    assert "Removing Snapshot third" in refusal(vms, "POST", f"{HERE}/{local}/deactivate", {})
    vms.work()
    assert (vms.newest().status, len(memories(vms))) == ("finished", 1)
    vms.done("POST", back, {})
    assert memories(vms) == []


def memories(vms: Vms) -> list[Path]:
    return [one for one in (vms.nodes.host("node1").folder / "domains").rglob("memory/*/*") if one.is_file()]


def test_a_vm_takes_the_memory_of_its_snapshots_along(vms: Vms) -> None:
    vm = vms.started()
    taken(vms, vm, "then")
    stops(vms, vm)
    assert len(memories(vms)) == 1
    vms.done("DELETE", f"vms/{vm}")
    assert memories(vms) == []
