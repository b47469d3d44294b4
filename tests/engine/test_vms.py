"""VMs as they are kept: made from Blank with all that v4 knows of them, changed, removed; what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.passwords import hash_password
from engine.core import Engine
from engine.decide.crypt_sha512 import crypt_sha512
from engine.store.entity import Entity
from engine.store.permissions import user_entity
from engine.store.records import AccountRecord
from tests.engine import world
from tests.engine.job_world import files
from tests.engine.vm_world import API, BLANK, CLUSTER, GIB, MIB, NEW_DISK, PROFILE, Vms, detail, fake_hosts

SECRET = "a long enough one"
HASH = hash_password(SECRET)
ENGINE_VM = world.CLUSTER.engine.id
RICH: dict[str, Any] = {
    "description": "a server",
    "comment": "of the tests",
    "memory": 2 * GIB,
    "memory_policy": {"guaranteed": GIB, "max": 4 * GIB, "ballooning": False},
    "cpu": {"topology": {"sockets": 2, "cores": 3, "threads": 1}, "cpu_tune": {"vcpu_pins": [{"vcpu": 0, "cpu_set": "0"}]}},
    "cpu_shares": 512,
    "os": {"type": "rhel_9x64", "boot": {"devices": ["network", "hd"]}},
    "bios": {"type": "q35_ovmf", "boot_menu": {"enabled": True}},
    "display": {"type": "vnc", "keyboard_layout": "de"},
    "high_availability": {"enabled": True, "priority": 50},
    "custom_properties": [{"name": "sap_agent", "value": "true"}],
    "initialization": {"host_name": "web1.lab", "user_name": "root", "custom_script": "a: 1"},
    "time_zone": {"name": "Europe/Berlin"},
    "serial_number": {"policy": "custom", "value": "S-1"},
    "rng_device": {"source": "urandom", "rate": {"bytes": 1024, "period": 500}},
    "placement_policy": {"affinity": "user_migratable", "hosts": [{"id": world.MEMBERS[0].id}]},
    "type": "server",
    "usb": {"enabled": False},
    "storage_error_resume_behaviour": "kill",
    "stateless": False,
    "soundcard_enabled": False,
}  # fmt: skip


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def user(vms: Vms, name: str) -> str:
    """A user without any role; their token."""
    vms.engine.store.put_account(AccountRecord(f"user-{name}", name, "internal", HASH, True))
    vms.engine.store.entities.add(user_entity(f"user-{name}", name, "internal"))
    form = {"grant_type": "password", "scope": "ovirt-app-api", "username": f"{name}@internal", "password": SECRET}
    return str(vms.client.post("/ovirt-engine/sso/oauth/token", data=form).get_json()["access_token"])


def same(shown: Any, given: Any) -> bool:
    """Whether what was given is shown: numbers and booleans are texts in v4's JSON; lists are wrapped."""
    if isinstance(given, dict):
        return all(name in shown and same(shown[name], value) for name, value in given.items())
    if isinstance(given, list):
        (inner,) = shown.values() if isinstance(shown, dict) else (shown,)
        return len(inner) == len(given) and all(map(same, inner, given))
    return bool(str(shown) == (str(given).lower() if isinstance(given, bool) else str(given)))


def test_a_vm_from_blank_has_what_clients_expect(vms: Vms) -> None:
    made = vms.made()
    assert (made["status"], made["memory"], made["template"]["id"]) == ("down", str(GIB), BLANK)
    assert made["memory_policy"] == {"guaranteed": str(GIB), "max": str(4 * GIB), "ballooning": "true"}
    assert made["cpu"]["topology"] == {"cores": "1", "sockets": "1", "threads": "1"}
    assert made["os"]["boot"]["devices"]["device"] == ["hd"]
    assert (made["description"], made["comment"], made["delete_protected"]) == ("", "", "false")
    assert made["original_template"]["id"] == BLANK
    links = {one["rel"] for one in made["link"]}
    assert {"nics", "diskattachments", "graphicsconsoles", "cdroms", "snapshots", "tags"} <= links
    assert vms.codes(made["id"]) == [34]
    assert {"HostedEngine", "web1"} == {one["name"] for one in vms.ask("GET", "vms")[1]["vm"]}


def test_all_that_is_written_is_read_back(vms: Vms) -> None:
    made = vms.made(**RICH)
    for name, value in RICH.items():
        assert same(made[name], value), (name, made[name])
    assert same(vms.vm(made["id"]), RICH)
    more = {**RICH, "description": "another", "high_availability": {"enabled": False}, "memory": 3 * GIB}
    status, changed = vms.ask("PUT", f"vms/{made['id']}", more)
    assert status == 200
    assert same(changed, {**more, "high_availability": {"enabled": False, "priority": 50}})
    again = {name: value for name, value in vms.vm(made["id"]).items() if name not in ("link", "actions")}
    assert vms.ask("PUT", f"vms/{made['id']}", again)[0] == 200, "a client sends back what it read"
    assert vms.vm(made["id"])["status"] == "down"


def test_memory_that_is_not_spelt_out_follows(vms: Vms) -> None:
    made = vms.made(memory=512 * MIB)
    assert made["memory_policy"]["guaranteed"] == str(512 * MIB)
    assert made["memory_policy"]["max"] == str(2 * GIB)
    large = vms.made(name="large", instance_type={"name": "Large"})
    assert (large["memory"], large["cpu"]["topology"]["sockets"]) == (str(8 * GIB), "2")


def test_a_password_is_kept_as_a_hash_and_never_shown(vms: Vms) -> None:
    made = vms.made(initialization={"user_name": "root", "root_password": "geheim"})
    assert made["initialization"] == {"user_name": "root"}

    def kept() -> str:
        return str(vms.engine.store.entities.need("vm", made["id"]).body["initialization"]["root_password"])

    first = kept()
    _empty, kind, rounds, salt, _hash = first.split("$")
    assert (kind, crypt_sha512("geheim", salt, int(rounds.removeprefix("rounds=")))) == ("6", first)
    assert vms.ask("PUT", f"vms/{made['id']}", {"initialization": {"host_name": "web"}})[0] == 200
    assert kept() == first, "what a client does not mention stays"
    status, changed = vms.ask("PUT", f"vms/{made['id']}", {"initialization": {"root_password": "geheimer"}})
    assert (status, changed["initialization"]) == (200, {"user_name": "root", "host_name": "web"})
    assert kept() != first
    answer = vms.client.get(f"{API}/vms", headers={"Authorization": f"Bearer {vms.token}"})
    assert b"geheim" not in answer.data
    assert b"$6$" not in answer.data


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({"name": ""}, 400, "Vm [name"),
        ({"name": "a b"}, 400, "letters, digits"),
        ({"name": "x" * 256}, 400, "letters, digits"),
        ({"cluster": {"name": "nowhere"}}, 404, "nowhere"),
        ({"cluster": None}, 400, "cluster.id|name"),
        ({"template": {"name": "nothing"}}, 404, "nothing"),
        ({"memory": 1024}, 400, "16 MiB"),
        ({"memory": GIB, "memory_policy": {"guaranteed": 2 * GIB}}, 400, "Guaranteed cannot exceed"),
        ({"memory": GIB, "memory_policy": {"max": 512 * MIB}}, 400, "Maximum memory"),
        ({"cpu": {"topology": {"sockets": 64, "cores": 64}}}, 400, "4096 CPUs"),
        ({"cpu": {"topology": {"sockets": 0}}}, 400, "0 CPUs"),
        ({"name": "WEB1"}, 409, "already in use"),
        ({"name": "HostedEngine"}, 409, "already in use"),
        ({"snapshots": [{"id": "s"}]}, 404, "Snapshot s: there is none"),
        ({"initialization": {"host_name": "a b"}}, 400, "no host name"),
        ({"initialization": {"root_password": "x" * 300}}, 400, "256 characters"),
        ({"bios": {"type": "q35_tea"}}, 400, "BiosType"),
        ({"nics": [{"name": "nic1", "vnic_profile": {"id": "none"}}]}, 404, "none"),
        ({"nics": [{"name": "nic1", "mac": {"address": "01:00:00:00:00:01"}}]}, 400, "unicast"),
        ({"disk_attachments": [{"disk": {"id": "none"}}]}, 404, "none"),
        ({"disk_attachments": [{"disk": {"format": "cow"}}]}, 400, "provisionedSize"),
        ({"disk_attachments": [NEW_DISK, NEW_DISK]}, 409, "bootable"),
    ],
)
def test_what_cannot_be_made_is_refused_and_leaves_nothing(vms: Vms, given: dict[str, Any], status: int, words: str) -> None:
    vms.made()
    before = len(vms.engine.store.entities.list("nic")), len(vms.engine.store.entities.list("vm"))
    body = {"name": "web2", "cluster": {"id": CLUSTER}, "template": {"id": BLANK}, **given}
    got, fault = vms.ask("POST", "vms", {name: value for name, value in body.items() if value is not None})
    assert (got, words in detail(fault)) == (status, True), fault
    assert before == (len(vms.engine.store.entities.list("nic")), len(vms.engine.store.entities.list("vm")))
    assert vms.engine.store.entities.list("disk") == []


def test_nics_have_addresses_of_the_pool_and_disks_are_made(vms: Vms, tmp_path: Path) -> None:
    made = vms.made(
        nics=[{"name": "nic1", "vnic_profile": {"id": PROFILE}}, {"name": "nic2"}],
        disk_attachments=[NEW_DISK, {**NEW_DISK, "bootable": False}],
    )
    assert made["status"] == "image_locked"
    nics = vms.ask("GET", f"vms/{made['id']}/nics")[1]["nic"]
    addresses = [one["mac"]["address"] for one in nics]
    assert len(set(addresses)) == 2
    assert all(one.startswith("56:6f:") for one in addresses)
    assert (nics[0]["vnic_profile"]["id"], nics[0]["vm"]["id"]) == (PROFILE, made["id"])
    attachments = vms.ask("GET", f"vms/{made['id']}/diskattachments?follow=disk")[1]["disk_attachment"]
    assert sorted(one["bootable"] for one in attachments) == ["false", "true"]
    assert all(one["id"] == one["disk"]["id"] and one["disk"]["status"] == "ok" for one in attachments)
    assert vms.vm(made["id"])["status"] == "down"
    assert len(files(tmp_path / "hosts")) == 2
    assert vms.codes(made["id"]) == [37, 53]


def test_a_vm_goes_with_its_disks_or_without_them(vms: Vms, tmp_path: Path) -> None:
    first = vms.made(disk_attachments=[NEW_DISK])
    second = vms.made(name="web2", disk_attachments=[NEW_DISK], nics=[{"name": "nic1"}])
    group = vms.ask("POST", f"clusters/{CLUSTER}/affinitygroups", {"name": "both"})[1]["id"]
    assert vms.ask("POST", f"clusters/{CLUSTER}/affinitygroups/{group}/vms", {"id": second["id"]})[0] in (200, 201)
    vms.done("DELETE", f"vms/{first['id']}?detach_only=true")
    assert vms.ask("GET", f"vms/{first['id']}")[0] == 404
    assert len(vms.engine.store.entities.list("disk")) == 2
    vms.done("DELETE", f"vms/{second['id']}")
    assert len(vms.engine.store.entities.list("disk")) == len(files(tmp_path / "hosts")) == 1
    assert vms.engine.store.entities.list("nic") == []
    assert vms.ask("GET", f"clusters/{CLUSTER}/affinitygroups/{group}/vms")[1] == {}
    assert 113 in [one.code for one in vms.engine.store.events()]


def test_what_may_not_go_stays(vms: Vms) -> None:
    made = vms.made(delete_protected=True)
    status, fault = vms.ask("DELETE", f"vms/{made['id']}")
    assert (status, "Delete protection is enabled" in detail(fault)) == (409, True)
    assert vms.ask("PUT", f"vms/{made['id']}", {"delete_protected": False})[0] == 200
    vms.engine.store.entities.set_status("vm", {made["id"]: "up"})
    status, fault = vms.ask("DELETE", f"vms/{made['id']}")
    assert (status, "VM is running" in detail(fault)) == (409, True)
    vms.engine.store.entities.set_status("vm", {made["id"]: "down"})
    vms.done("DELETE", f"vms/{made['id']}")
    assert vms.ask("DELETE", f"vms/{made['id']}")[0] == 404


def test_the_engine_vm_is_listed_and_protected(vms: Vms) -> None:
    disk = vms.made(disk_attachments=[NEW_DISK])
    found = vms.ask("GET", f"vms/{disk['id']}/diskattachments")[1]["disk_attachment"][0]["id"]
    for method, path, body in (
        ("DELETE", "", None),
        ("POST", "/nics", {"name": "nic9"}),
        ("POST", "/diskattachments", {"disk": {"id": found}}),
        ("POST", "/graphicsconsoles", {"protocol": "vnc"}),
        ("PUT", f"/cdroms/{BLANK}", {"file": {"id": found}}),
    ):
        status, fault = vms.ask(method, f"vms/{ENGINE_VM}{path}", body)
        assert (status, "engine's own VM" in detail(fault)) == (409, True), (path, fault)
    assert vms.ask("PUT", f"vms/{ENGINE_VM}", {"comment": "ours"})[0] == 200
    assert (vms.vm(ENGINE_VM)["comment"], vms.vm(ENGINE_VM)["delete_protected"]) == ("ours", "true")


def test_a_running_machine_changes_with_its_next_start(vms: Vms) -> None:
    made = vms.made()
    vms.engine.store.entities.set_status("vm", {made["id"]: "up"})
    path = f"vms/{made['id']}"
    change = {
        "description": "now",
        "memory": 2 * GIB,
        "memory_policy": {"guaranteed": GIB, "max": 8 * GIB},
        "bios": {"type": "q35_ovmf"},
    }
    status, now = vms.ask("PUT", path, change)
    assert (status, now["description"], now["memory"]) == (200, "now", str(GIB))
    assert (now["next_run_configuration_exists"], now["bios"]["type"]) == ("true", "q35_sea_bios")
    later = vms.ask("GET", f"{path}?next_run=true")[1]
    assert (later["memory"], later["bios"]["type"], later["description"]) == (str(2 * GIB), "q35_ovmf", "now")
    assert same(later["memory_policy"], {"guaranteed": GIB, "max": 8 * GIB, "ballooning": True})
    back = {"memory": GIB, "memory_policy": {"guaranteed": GIB, "max": 4 * GIB}, "bios": {"type": "q35_sea_bios"}}
    now = vms.ask("PUT", path, back)[1]
    assert now["next_run_configuration_exists"] == "false", "it is what runs"
    assert vms.ask("PUT", f"{path}?next_run=true", {"description": "then"})[1]["description"] == "now"
    assert vms.ask("GET", "vms?search=next_run_config_exists%3Dtrue")[1]["vm"][0]["id"] == made["id"]
    status, fault = vms.ask("PUT", path, {"memory": GIB, "memory_policy": {"guaranteed": 2 * GIB}})
    assert (status, "Guaranteed cannot exceed" in detail(fault)) == (400, True)


def test_places_that_a_vm_cannot_change(vms: Vms) -> None:
    made = vms.made()
    other = vms.ask("POST", "clusters", {"name": "other", "data_center": {"name": "Default"}})[1]["id"]
    assert vms.ask("PUT", f"vms/{made['id']}", {"cluster": {"id": other}})[1]["cluster"]["id"] == other
    vms.engine.store.entities.set_status("vm", {made["id"]: "up"})
    assert vms.ask("PUT", f"vms/{made['id']}", {"cluster": {"id": CLUSTER}})[0] == 409
    vms.engine.store.entities.add(Entity("template", "t9", "Nine", {}, status="ok"))
    assert vms.ask("PUT", f"vms/{made['id']}", {"template": {"id": "t9"}})[0] == 409


def test_a_locked_vm_is_not_changed(vms: Vms) -> None:
    made = vms.made()
    assert vms.ask("DELETE", f"vms/{made['id']}")[0] == 200
    for method, path, body in (("PUT", "", {"comment": "x"}), ("DELETE", "", None), ("POST", "/nics", {"name": "n"})):
        status, fault = vms.ask(method, f"vms/{made['id']}{path}", body)
        assert (status, "VM is locked" in detail(fault)) == (409, True), fault
    vms.work()


def test_who_makes_a_vm_may_use_it_and_others_see_nothing(vms: Vms) -> None:
    ann_token, ben_token = user(vms, "ann"), user(vms, "ben")
    body = {"name": "anns", "cluster": {"id": CLUSTER}, "template": {"id": BLANK}, "disk_attachments": [NEW_DISK]}
    assert vms.ask("POST", "vms", body, token=ann_token)[0] in (403, 404)
    grant = {"role": {"name": "VmCreator"}, "user": {"id": "user-ann"}}
    assert vms.ask("POST", f"clusters/{CLUSTER}/permissions", grant)[0] == 201
    status, fault = vms.ask("POST", "vms", body, token=ann_token)
    assert status in (403, 404), "no disk on a domain where she has no role"
    plain = {**body, "disk_attachments": []}
    status, made = vms.ask("POST", "vms", plain, token=ann_token)
    assert status == 201, made
    assert vms.ask("PUT", f"vms/{made['id']}", {"comment": "mine"}, token=ann_token)[0] == 200
    for method in ("GET", "PUT", "DELETE"):
        assert vms.ask(method, f"vms/{made['id']}", {} if method == "PUT" else None, token=ben_token)[0] == 404
    theirs = vms.made(disk_attachments=[NEW_DISK])
    disk = vms.ask("GET", f"vms/{theirs['id']}/diskattachments")[1]["disk_attachment"][0]["id"]
    status, fault = vms.ask("POST", f"vms/{made['id']}/diskattachments", {"disk": {"id": disk}}, token=ann_token)
    assert status in (403, 404), fault
