"""Templates: made of a VM, versions, what VMs are made of them thin and cloned, and what keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.errors import Failed
from appliance.model.disk import DiskFile
from engine.core import Engine
from engine.jobs.places import MOUNTED_ON, file_of
from engine.store.entity import Entity
from tests.engine import world
from tests.engine.job_world import files
from tests.engine.vm_world import BLANK, CLUSTER, DOMAIN, GIB, NEW_DISK, PROFILE, Vms, detail, fake_hosts

NIC = {"name": "nic1", "vnic_profile": {"id": PROFILE}}


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def source(vms: Vms, **given: Any) -> str:
    disks = [NEW_DISK, {**NEW_DISK, "bootable": False, "disk": {**NEW_DISK["disk"], "name": "data", "format": "raw"}}]
    body = {"name": "golden", "memory": 2 * GIB, "nics": [NIC], "disk_attachments": disks, "description": "of the VM"}
    return str(vms.made(**{**body, **given})["id"])


def template(vms: Vms, vm: str, name: str = "t1", **given: Any) -> str:
    found = vms.done("POST", "templates", {"name": name, "vm": {"id": vm}, **given})
    return str(found["id"])


def get(vms: Vms, path: str) -> dict[str, Any]:
    status, found = vms.ask("GET", path)
    assert status == 200, found
    return found


def disks(vms: Vms, path: str) -> list[dict[str, Any]]:
    found = get(vms, f"{path}/diskattachments?follow=disk").get("disk_attachment", [])
    return sorted((one["disk"] for one in found), key=lambda one: str(one["name"]))


def file(vms: Vms, disk_id: str) -> DiskFile:
    return file_of(vms.engine.store.entities, vms.engine.store.entities.need("disk", disk_id))


def made_from(vms: Vms, wanted: str, name: str, query: str = "", **given: Any) -> dict[str, Any]:
    body = {"name": name, "cluster": {"id": CLUSTER}, "template": {"id": wanted}, **given}
    return vms.done("POST", f"vms{query}", body)


def test_it_is_made_of_a_vm(vms: Vms) -> None:
    vm = source(vms)
    status, answer = vms.ask("POST", "templates", {"name": "t1", "vm": {"name": "golden"}, "description": "mine"})
    assert (status, answer["status"], vms.vm(vm)["status"]) == (202, "locked", "image_locked"), answer
    vms.work()
    assert vms.newest().status == "finished"
    found = get(vms, f"templates/{answer['id']}")
    assert (found["status"], found["memory"], found["description"]) == ("ok", str(2 * GIB), "mine")
    assert found["version"] == {
        "base_template": {"id": found["id"], "href": f"/ovirt-engine/api/templates/{found['id']}"},
        "version_name": "base version", "version_number": "1",
    }  # fmt: skip
    assert vms.vm(vm)["status"] == "down"
    mine, its = disks(vms, f"vms/{vm}"), disks(vms, f"templates/{answer['id']}")
    assert [(one["name"], one["format"], one["status"]) for one in its] == [("data", "raw", "ok"), ("root", "cow", "ok")]
    assert {one["id"] for one in mine}.isdisjoint(one["id"] for one in its)
    node = vms.nodes.disks("node1")
    assert [node.backing(file(vms, one["id"])) for one in its] == ["", ""]
    (nic,) = get(vms, f"templates/{answer['id']}/nics")["nic"]
    assert (nic["name"], nic["vnic_profile"]["id"], "mac" in nic) == ("nic1", PROFILE, False)
    codes = [one.code for one in vms.engine.store.events() if one.refs.get("template", {}).get("id") == found["id"]]
    assert codes == [51, 48]
    assert [one["name"] for one in get(vms, "templates?search=name%3Dt1+and+datacenter%3DDefault")["template"]] == ["t1"]


def test_a_vm_with_layers_over_it(vms: Vms) -> None:
    golden = source(vms)
    wanted = template(vms, golden)
    before = [one["mac"]["address"] for one in get(vms, f"vms/{golden}/nics")["nic"]]
    vm = made_from(vms, wanted, "thin")
    assert (vm["template"]["id"], vm["memory"]) == (wanted, str(2 * GIB))
    node = vms.nodes.disks("node1")
    mine, its = disks(vms, f"vms/{vm['id']}"), disks(vms, f"templates/{wanted}")
    assert [(one["name"], one["format"], one["sparse"]) for one in mine] == [
        ("thin_Disk1", "cow", "true"), ("thin_Disk2", "cow", "true"),
    ]  # fmt: skip
    below = {node.backing(file(vms, one["id"])) for one in mine}
    assert below == {file(vms, one["id"]).path for one in its}
    (nic,) = get(vms, f"vms/{vm['id']}/nics")["nic"]
    assert nic["name"] == "nic1"
    assert nic["mac"]["address"] not in before
    vms.done("POST", f"vms/{vm['id']}/start?async=true", {})
    vms.look()
    assert [one.format for one in vms.running(vm["id"]).spec.disks if one.bus != "cdrom"] == ["qcow2", "qcow2"]


def test_a_clone_needs_nothing_of_it(vms: Vms, tmp_path: Path) -> None:
    wanted = template(vms, source(vms))
    its = disks(vms, f"templates/{wanted}")
    wish = {"disk": {"id": its[0]["id"], "format": "cow", "name": "mine", "sparse": True}}
    vm = made_from(vms, wanted, "clone", "?clone=true", disk_attachments=[wish])
    assert (vm["template"]["id"], vm["original_template"]["id"]) == (BLANK, wanted)
    mine = disks(vms, f"vms/{vm['id']}")
    assert {one["format"] for one in mine} == {"cow"}
    assert [one["name"].startswith("clone_Disk") for one in mine] == [True, False]
    assert mine[1]["name"] == "mine"
    assert [vms.nodes.disks("node1").backing(file(vms, one["id"])) for one in mine] == ["", ""]
    vms.done("DELETE", f"templates/{wanted}")
    assert vms.ask("GET", f"templates/{wanted}")[0] == 404
    assert len(files(tmp_path / "hosts")) == 4
    vms.done("DELETE", f"vms/{vm['id']}")
    assert len(files(tmp_path / "hosts")) == 2


def test_what_keeps_it(vms: Vms) -> None:
    wanted = template(vms, source(vms))
    vm = made_from(vms, wanted, "thin")["id"]

    def refused() -> str:
        status, answer = vms.ask("DELETE", f"templates/{wanted}")
        assert status == 409
        return detail(answer)

    assert "It is being used by the following VMs thin" in refused()
    disk = disks(vms, f"templates/{wanted}")[0]["id"]
    status, answer = vms.ask("DELETE", f"disks/{disk}")
    assert (status, "in use by template t1" in detail(answer)) == (409, True)
    mine = disks(vms, f"vms/{vm}")
    vms.done("DELETE", f"vms/{vm}?detach_only=true")
    assert "disks thin_Disk" in refused()
    for one in mine:
        vms.done("DELETE", f"disks/{one['id']}")
    assert vms.ask("PUT", f"templates/{wanted}", {"delete_protected": True})[0] == 200
    assert "Delete protection is enabled" in refused()
    assert vms.ask("PUT", f"templates/{wanted}", {"delete_protected": False})[0] == 200
    vms.done("DELETE", f"templates/{wanted}")
    codes = [one.code for one in vms.engine.store.events() if one.refs.get("template", {}).get("id") == wanted]
    assert codes[:2] == [251, 50]


def test_versions(vms: Vms) -> None:
    vm = source(vms, nics=[], disk_attachments=[NEW_DISK])
    base = template(vms, vm)
    second = template(vms, vm, "whatever", version={"base_template": {"id": base}, "version_name": "patched"})
    third = template(vms, vm, "t1", version={"base_template": {"id": second}})
    found = [get(vms, f"templates/{one}") for one in (second, third)]
    assert [one["name"] for one in found] == ["t1", "t1"]
    assert [one["version"]["version_number"] for one in found] == ["2", "3"]
    assert [one["version"]["base_template"]["id"] for one in found] == [base, base]
    assert found[0]["version"]["version_name"] == "patched"
    named = get(vms, "templates?search=name%3Dt1+and+version_number%3D2")["template"]
    assert [one["id"] for one in named] == [second]
    status, answer = vms.ask("DELETE", f"templates/{base}")
    assert (status, "the following versions t1, t1" in detail(answer)) == (409, True)
    status, answer = vms.ask("PUT", f"templates/{second}", {"version": {"version_name": "new", "version_number": 9}})
    assert (status, answer["version"]["version_name"], answer["version"]["version_number"]) == (200, "new", "2")
    for one in (second, third, base):
        vms.done("DELETE", f"templates/{one}")


def test_blank_stays_as_it_is(vms: Vms) -> None:
    before = get(vms, f"templates/{BLANK}")
    for method, body in (("PUT", {"description": "x"}), ("DELETE", None)):
        status, answer = vms.ask(method, f"templates/{BLANK}", body)
        assert (status, "Blank Template cannot be edited or removed" in detail(answer)) == (409, True)
    vm = source(vms)
    status, answer = vms.ask(
        "POST", "templates", {"name": "x", "vm": {"id": vm}, "version": {"base_template": {"id": BLANK}}}
    )
    assert (status, "Blank has no versions" in detail(answer)) == (409, True)
    assert get(vms, f"templates/{BLANK}") == before


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({"name": "t1"}, 409, "already in use"),
        ({"name": "no spaces"}, 400, "Its name has"),
        ({"name": "x", "vm": {"id": CLUSTER}}, 404, ""),
        ({"name": "x", "vm": {"name": "nobody", "description": "x"}}, 404, "there is none"),
        ({"name": "x", "vm": {"name": "HostedEngine"}}, 409, "engine's own VM"),
        ({"vm": {"name": "golden"}}, 400, "Template [name] required for add"),
    ],
)
def test_refusals(vms: Vms, given: dict[str, Any], status: int, words: str) -> None:
    vm = source(vms)
    template(vms, vm)
    got, answer = vms.ask("POST", "templates", {"vm": {"id": vm}, **given})
    assert (got, words in detail(answer)) == (status, True), answer


def test_a_vm_that_runs_makes_none(vms: Vms) -> None:
    vm = vms.started(name="a")
    status, answer = vms.ask("POST", "templates", {"name": "x", "vm": {"id": vm}})
    assert (status, "Cannot add Template. VM is running" in detail(answer)) == (409, True)


def test_a_layer_stays_with_its_base(vms: Vms) -> None:
    wanted = template(vms, source(vms))
    disk = disks(vms, f"templates/{wanted}")[0]["id"]
    mounted = {MOUNTED_ON: [one.id for one in world.MEMBERS]}
    other = Entity("storage_domain", "s2", "other", mounted, {}, status="active")
    vms.engine.store.entities.add(other)
    body = {"name": "x", "cluster": {"id": CLUSTER}, "template": {"id": wanted}}
    for wish, words in (
        ({"storage_domains": [{"id": "s2"}]}, "not on the Storage Domain that was asked for"),
        ({"format": "raw"}, "cannot be a layer over"),
    ):
        status, answer = vms.ask("POST", "vms", {**body, "disk_attachments": [{"disk": {"id": disk, **wish}}]})
        assert (status in (400, 409), words in detail(answer)) == (True, True), answer
    clone = made_from(
        vms, wanted, "clone", "?clone=true", disk_attachments=[{"disk": {"id": disk, "storage_domains": [{"id": "s2"}]}}]
    )
    assert {one["storage_domains"]["storage_domain"][0]["id"] for one in disks(vms, f"vms/{clone['id']}")} == {"s2", DOMAIN}


def test_a_copy_that_fails_leaves_nothing(vms: Vms, tmp_path: Path) -> None:
    vm = source(vms)
    before = files(tmp_path / "hosts")
    for node in vms.nodes.nodes.values():
        node.fail_with["copy"] = Failed("disk.no-space", subject="vmstore", reason="it is full", remedy="Make room.")
    status, answer = vms.ask("POST", "templates", {"name": "t1", "vm": {"id": vm}})
    assert status == 202
    vms.work()
    assert (vms.newest().status, vms.ask("GET", f"templates/{answer['id']}")[0]) == ("failed", 404)
    assert files(tmp_path / "hosts") == before
    assert vms.vm(vm)["status"] == "down"
    assert [one.code for one in vms.engine.store.events(limit=1)] == [52]


def test_shared_disks_stay_out(vms: Vms) -> None:
    vm = source(vms)
    shared = disks(vms, f"vms/{vm}")[0]["id"]
    vms.engine.store.entities.change("disk", shared, lambda one: one.with_body(shareable=True))
    assert [one["name"] for one in disks(vms, f"templates/{template(vms, vm)}")] == ["root"]


def test_a_template_of_a_vm_without_disks(vms: Vms) -> None:
    vm = vms.made(name="bare")["id"]
    wanted = template(vms, vm)
    made = vms.ask("POST", "vms", {"name": "b2", "cluster": {"id": CLUSTER}, "template": {"name": "t1"}})
    assert (made[0], made[1]["template"]["id"]) == (201, wanted)


def test_a_vm_of_a_template_that_is_being_removed(vms: Vms) -> None:
    wanted = template(vms, vms.made(name="bare")["id"])
    assert vms.ask("DELETE", f"templates/{wanted}?async=true")[0] == 200
    status, answer = vms.ask("POST", "vms", {"name": "b2", "cluster": {"id": CLUSTER}, "template": {"id": wanted}})
    assert (status, "The Template is locked" in detail(answer)) == (409, True)
