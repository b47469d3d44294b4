"""What is refused before anything is done: memory that would not fit, disks that no host could have together, memory that is
lost; and how a VM comes out of the last."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from engine.core import Engine
from engine.jobs.places import MOUNTED_ON
from engine.jobs.vm_state import MEMORY
from tests.engine.test_more_domains import LOCAL, added, refusal
from tests.engine.test_snapshot_preview import starts, stops
from tests.engine.test_storage_interplay import drive, lies_on, with_spare
from tests.engine.vm_world import DOMAIN, GIB, Vms, fake_hosts


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def set_domain(vms: Vms, domain: str, **body: object) -> None:
    vms.engine.store.entities.change("storage_domain", domain, lambda one: one.with_body(**body))


def disks_of(vms: Vms, vm: str) -> list[str]:
    return [one["id"] for one in vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"]]


def test_a_disk_does_not_move_where_its_vms_others_cannot_follow(vms: Vms) -> None:
    here = added(vms, name="here", storage=LOCAL)
    there = added(vms, name="there", host={"name": "node3"}, storage={**LOCAL, "path": "/srv/more"})
    vm = str(vms.made(name="a", disk_attachments=[drive(here), drive(DOMAIN, "data", bootable=False)])["id"])
    data = next(one for one in disks_of(vms, vm) if vms.ask("GET", f"disks/{one}")[1]["name"] == "data")
    words = refusal(vms, "POST", f"disks/{data}/move", {"storage_domain": {"id": there}})
    assert "Disk root of VM a is on Storage Domain here" in words and "it could run nowhere" in words
    vms.done("POST", f"disks/{data}/move?async=true", {"storage_domain": {"id": here}})
    vms.done("POST", f"disks/{data}/move?async=true", {"storage_domain": {"id": DOMAIN}})


def test_memory_is_kept_only_where_there_is_room(vms: Vms) -> None:
    vm = vms.started(memory=GIB)
    set_domain(vms, DOMAIN, available=5 * GIB + GIB // 2)
    live = {"description": "s", "persist_memorystate": True}
    assert "Low disk space on Storage Domain vmstore" in refusal(vms, "POST", f"vms/{vm}/snapshots", live)
    assert "Cannot suspend VM. Low disk space" in refusal(vms, "POST", f"vms/{vm}/suspend", {})
    vms.done("POST", f"vms/{vm}/snapshots", {"description": "s", "persist_memorystate": False})
    set_domain(vms, DOMAIN, available=7 * GIB)
    vms.done("POST", f"vms/{vm}/snapshots", live)


def on_spare(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """(a VM that runs on node2, a domain that only node2 has, where its memory goes)."""
    spare, vm = with_spare(vms, initialization={"host_name": "web1"})
    lies_on(monkeypatch, spare)
    starts(vms, vm)
    return vm, spare


def test_memory_is_kept_only_where_its_host_writes(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    vm, spare = on_spare(vms, monkeypatch)
    set_domain(vms, spare, **{MOUNTED_ON: []})
    live = {"description": "s", "persist_memorystate": True}
    assert "does not reach Storage Domain" in refusal(vms, "POST", f"vms/{vm}/snapshots", live)


def suspended(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """(a VM that is suspended, the domain that its memory is on)."""
    vm, spare = on_spare(vms, monkeypatch)
    vms.done("POST", f"vms/{vm}/suspend", {})
    assert vms.engine.store.entities.need("vm", vm).body[MEMORY]["domain"] == spare
    return vm, spare


def test_a_vm_whose_memory_is_lost_is_suspended_and_its_way_out_is_said(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    vm, spare = suspended(vms, monkeypatch)
    set_domain(vms, spare, **{MOUNTED_ON: []})
    for action in ("stop", "start"):
        words = refusal(vms, "POST", f"vms/{vm}/{action}", {})
        assert "Its saved memory is on Storage Domain" in words and "which no host has" in words
    assert vms.vm(vm)["status"] == "suspended"
    vms.done("DELETE", f"storagedomains/{spare}?destroy=true")
    assert vms.vm(vm)["status"] == "down"
    assert MEMORY not in vms.engine.store.entities.need("vm", vm).body
    vms.done("POST", f"vms/{vm}/start?async=true", {})


def test_a_stop_that_cannot_be_finished_leaves_it_suspended(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    """The domain was there when it was asked, and has gone since."""
    monkeypatch.setattr("engine.jobs.run.PATIENCE_S", 0.2)
    vm, spare = suspended(vms, monkeypatch)
    status, _answer = vms.ask("POST", f"vms/{vm}/stop?async=true", {})
    assert status == 202
    set_domain(vms, spare, **{MOUNTED_ON: []})
    vms.work()
    assert vms.newest().status == "failed"
    found = vms.vm(vm)
    assert found["status"] == "suspended" and "its saved memory on" in found["status_detail"]


def test_a_snapshot_whose_memory_is_lost_is_one_without(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    vm, spare = on_spare(vms, monkeypatch)
    snapshot = vms.done("POST", f"vms/{vm}/snapshots", {"description": "s", "persist_memorystate": True})["id"]
    stops(vms, vm)
    set_domain(vms, spare, **{MOUNTED_ON: []})
    vms.done("DELETE", f"storagedomains/{spare}?destroy=true")
    found = vms.ask("GET", f"vms/{vm}/snapshots/{snapshot}")[1]
    assert (found["persist_memorystate"], found["snapshot_status"]) == ("false", "ok")
    vms.done("DELETE", f"vms/{vm}/snapshots/{snapshot}")
