"""NICs, disks, screens and the CD drive of a VM that does not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.model.vm_parts import Watchdog
from engine.core import Engine
from engine.decide import mac
from tests.engine.job_world import files
from tests.engine.vm_world import BLANK, DOMAIN, MIB, NEW_DISK, PROFILE, Vms, detail, fake_hosts


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def test_a_nic_is_made_changed_plugged_and_removed(vms: Vms) -> None:
    vm = f"vms/{vms.made()['id']}"
    status, nic = vms.ask("POST", f"{vm}/nics", {"name": "nic1", "interface": "e1000", "network": {"name": "ovirtmgmt"}})
    assert (status, nic["vnic_profile"]["id"], nic["interface"], nic["linked"]) == (201, PROFILE, "e1000", "true")
    path = f"{vm}/nics/{nic['id']}"
    status, changed = vms.ask("PUT", path, {"name": "eth0", "linked": False, "mac": {"address": "00:1A:4A:00:00:01"}})
    assert (status, changed["name"], changed["linked"]) == (200, "eth0", "false")
    assert (changed["mac"]["address"], changed["vnic_profile"]["id"]) == ("00:1a:4a:00:00:01", PROFILE)
    assert "vnic_profile" not in vms.ask("PUT", path, {"vnic_profile": {}})[1]
    assert vms.ask("POST", f"{path}/deactivate", {})[0] == 200
    assert vms.ask("GET", path)[1]["plugged"] == "false"
    assert vms.ask("PUT", path, {"plugged": True})[1]["plugged"] == "true"
    assert vms.ask("DELETE", path)[0] == 200
    assert vms.ask("GET", path)[0] == 404
    assert [one.code for one in vms.engine.store.events()][:2] == [930, 1012]


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({"name": ""}, 400, "Nic [name]"),
        ({"name": "nic1"}, 409, "name is already in use"),
        ({"name": "nic2", "mac": {"address": "00:1a:4a:00:00:01"}}, 409, "already in use"),
        ({"name": "nic2", "mac": {"address": "ff:ff:ff:ff:ff:ff"}}, 400, "unicast"),
        ({"name": "nic2", "mac": {"address": "nonsense"}}, 400, "unicast"),
        ({"name": "nic2", "network": {"name": "nowhere"}}, 404, "nowhere"),
        ({"name": "nic2", "vnic_profile": {"id": "nobody"}}, 404, "nobody"),
    ],
)
def test_a_nic_that_cannot_be(vms: Vms, given: dict[str, Any], status: int, words: str) -> None:
    vm = f"vms/{vms.made()['id']}"
    vms.ask("POST", f"{vm}/nics", {"name": "nic1", "mac": {"address": "00:1a:4a:00:00:01"}})
    got, fault = vms.ask("POST", f"{vm}/nics", given)
    assert (got, words in detail(fault)) == (status, True), fault
    assert len(vms.ask("GET", f"{vm}/nics")[1]["nic"]) == 1


def test_a_watchdog_is_in_the_machine_and_in_what_is_made_of_it(vms: Vms) -> None:
    made = vms.made(disk_attachments=[NEW_DISK])["id"]
    vm, dog = f"vms/{made}", {"model": "i6300esb", "action": "pause"}
    assert vms.ask("GET", f"{vm}/watchdogs")[1] == {}
    assert "Watchdog [action, model]" in detail(vms.ask("POST", f"{vm}/watchdogs", {})[1])
    assert "only i6300esb is" in detail(vms.ask("POST", f"{vm}/watchdogs", {**dog, "model": "diag288"})[1])
    status, has = vms.ask("POST", f"{vm}/watchdogs", dog)
    assert (status, has["model"], has["action"], has["vm"]["id"]) == (201, "i6300esb", "pause", made)
    assert "It has one already" in detail(vms.ask("POST", f"{vm}/watchdogs", dog)[1])
    path = f"{vm}/watchdogs/{has['id']}"
    assert vms.ask("PUT", path, {"action": "reset"})[1]["action"] == "reset"
    template = vms.done("POST", "templates", {"name": "gold", "vm": {"id": made}})["id"]
    (kept,) = vms.ask("GET", f"templates/{template}/watchdogs")[1]["watchdog"]
    assert (kept["action"], kept["template"]["id"]) == ("reset", template)
    child = vms.made(name="child", template={"id": template})["id"]
    vms.work()
    assert vms.ask("GET", f"vms/{child}/watchdogs")[1]["watchdog"][0]["action"] == "reset"
    vms.done("POST", f"{vm}/start", {})
    assert vms.running(made).spec.watchdog == Watchdog(model="i6300esb", action="reset")
    assert vms.ask("DELETE", path)[0] == 200
    assert (vms.ask("GET", path)[0], vms.ask("DELETE", path)[0]) == (404, 404)
    assert vms.ask("GET", f"{vm}/watchdogs")[1] == {}
    assert vms.ask("POST", f"templates/{BLANK}/watchdogs", dog)[0] == 409


def test_an_empty_pool_says_so_and_addresses_come_back(vms: Vms) -> None:
    pool = vms.ask("GET", "macpools")[1]["mac_pool"][0]["id"]
    ranges = {"ranges": {"range": [{"from": "00:1a:4a:00:00:01", "to": "00:1a:4a:00:00:02"}]}}
    assert vms.ask("PUT", f"macpools/{pool}", ranges)[0] == 200
    vm = f"vms/{vms.made()['id']}"
    first, second = (vms.ask("POST", f"{vm}/nics", {"name": f"nic{number}"})[1] for number in (1, 2))
    assert [one["mac"]["address"][-2:] for one in (first, second)] == ["01", "02"]
    status, fault = vms.ask("POST", f"{vm}/nics", {"name": "nic3"})
    assert (status, "Not enough MAC addresses" in detail(fault)) == (409, True)
    vms.ask("DELETE", f"{vm}/nics/{first['id']}")
    assert vms.ask("POST", f"{vm}/nics", {"name": "nic3"})[1]["mac"]["address"][-2:] == "01"


def test_addresses_of_a_pool() -> None:
    ranges = [
        {"from_": "00:1a:4a:00:00:FE", "to": "00:1a:4a:00:01:00"},
        {"from_": "02:00:00:00:00:01", "to": "02:00:00:00:00:01"},
    ]
    used: set[str] = set()
    for wanted in ("00:1a:4a:00:00:fe", "00:1a:4a:00:00:ff", "00:1a:4a:00:01:00", "02:00:00:00:00:01"):
        assert mac.free(ranges, used) == wanted
        used.add(wanted)
    assert mac.normal(" 00-1A-4A-00-00-FE ") == "00:1a:4a:00:00:fe"


def test_a_disk_is_attached_and_detached(vms: Vms, tmp_path: Path) -> None:
    one, other = (f"vms/{vms.made(name=name)['id']}" for name in ("one", "other"))
    made = vms.done("POST", f"{one}/diskattachments", NEW_DISK)
    disk = made["id"]
    assert made["disk"]["id"] == disk
    assert vms.ask("GET", f"disks/{disk}")[1]["status"] == "ok"
    assert vms.ask("GET", f"{one}/diskattachments/{disk}")[1]["bootable"] == "true"
    status, fault = vms.ask("POST", f"{other}/diskattachments", {"disk": {"id": disk}})
    assert (status, "attached to vm one already" in detail(fault)) == (409, True), fault
    assert vms.ask("POST", f"{one}/diskattachments", {"disk": {"id": disk}})[0] == 409
    status, changed = vms.ask("PUT", f"{one}/diskattachments/{disk}", {"interface": "virtio", "disk": {"name": "data"}})
    assert (status, changed["interface"], changed["bootable"]) == (200, "virtio", "true")
    assert vms.ask("GET", f"disks/{disk}")[1]["name"] == "data"
    assert vms.ask("PUT", f"{one}/diskattachments/{disk}", {"active": False})[1]["active"] == "false"
    assert vms.ask("DELETE", f"{one}/diskattachments/{disk}")[0] == 200
    assert vms.ask("POST", f"{other}/diskattachments", {"disk": {"id": disk}, "active": True})[0] == 201
    vms.done("DELETE", f"{other}/diskattachments/{disk}?detach_only=false")
    assert vms.ask("GET", f"disks/{disk}")[0] == 404
    assert files(tmp_path / "hosts") == {}


def test_a_shareable_disk_has_two_owners_and_one_id(vms: Vms) -> None:
    one, other = (f"vms/{vms.made(name=name)['id']}" for name in ("one", "other"))
    shared = {
        "disk": {
            "name": "s",
            "provisioned_size": MIB,
            "format": "raw",
            "shareable": True,
            "storage_domains": [{"id": DOMAIN}],
        }
    }
    disk = vms.done("POST", f"{one}/diskattachments", shared)["id"]
    assert vms.ask("POST", f"{other}/diskattachments", {"disk": {"id": disk}, "read_only": True})[1]["id"] == disk
    assert [vms.ask("GET", f"{vm}/diskattachments/{disk}")[1]["read_only"] for vm in (one, other)] == ["false", "true"]
    assert vms.ask("DELETE", f"{one}/diskattachments/{disk}")[0] == 200
    assert vms.ask("GET", f"{one}/diskattachments")[1] == {}
    assert vms.ask("GET", f"{other}/diskattachments/{disk}")[1]["disk"]["id"] == disk
    vms.done("DELETE", f"vms/{other.removeprefix('vms/')}")
    assert vms.ask("GET", f"disks/{disk}")[0] == 404


def test_screens_and_the_drive(vms: Vms) -> None:
    vm = f"vms/{vms.made()['id']}"
    console = vms.ask("GET", f"{vm}/graphicsconsoles")[1]["graphics_console"][0]
    assert (console["protocol"], console["id"]) == ("vnc", "766e63")
    assert vms.ask("POST", f"{vm}/graphicsconsoles", {"protocol": "spice"})[0] == 409
    assert vms.ask("POST", f"{vm}/graphicsconsoles", {"protocol": "vnc"})[0] == 409
    assert vms.ask("DELETE", f"{vm}/graphicsconsoles/766e63")[0] == 200
    assert vms.ask("GET", f"{vm}/graphicsconsoles")[1] == {}
    assert vms.ask("DELETE", f"{vm}/graphicsconsoles/766e63")[0] == 404
    assert vms.ask("POST", f"{vm}/graphicsconsoles", {"protocol": "vnc"})[0] == 201
    drive = f"{vm}/cdroms/{BLANK}"
    assert "file" not in vms.ask("GET", drive)[1]
    body = {
        "name": "cd",
        "provisioned_size": MIB,
        "format": "raw",
        "content_type": "iso",
        "storage_domains": [{"id": DOMAIN}],
    }
    iso, data = (vms.done("POST", "disks", {**body, "content_type": kind})["id"] for kind in ("iso", "data"))
    assert vms.ask("PUT", drive, {"file": {"id": data}})[0] == 409
    assert vms.ask("PUT", drive, {"file": {"id": "none"}})[0] == 404
    assert vms.ask("PUT", drive, {"file": {"id": iso}})[1]["file"]["id"] == iso
    assert vms.ask("DELETE", f"disks/{iso}")[0] == 409, "a VM has it in its drive"
    assert "file" not in vms.ask("PUT", drive, {"file": {"id": ""}})[1]
    vms.done("DELETE", f"disks/{iso}")
