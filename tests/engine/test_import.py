"""A storage domain of another installation: what it says of itself, who may use it, and what becomes of what is on it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.errors import TrivetError
from appliance.model.domain import MARK, DomainMark
from engine.core import Engine
from engine.decide.descriptor import Descriptor, DiskPart, Image, SnapshotPart, parse, place_of, text_of
from engine.jobs.descriptors import UNREGISTERED, descriptors_on
from engine.jobs.domain_import import DomainImport, ImportDomain
from engine.jobs.domain_owner import installation
from engine.jobs.keep_descriptors import DescriptorKeeper
from engine.store.entities import Entity
from tests.engine.test_domains import HERE
from tests.engine.test_more_domains import NFS, added, refusal
from tests.engine.vm_world import CLUSTER, MIB, PROFILE, Vms, fake_hosts

HOST = "node2"
GIVEN = {"name": "back", "type": "data", "host": {"name": HOST}, "storage": NFS, "import": True}


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def storage_of(vms: Vms) -> Path:
    """What lies on the NFS server."""
    (found,) = (vms.nodes.nodes[HOST].folder / "sources").glob("nas*")
    return found


def with_content(vms: Vms) -> tuple[str, str, str]:
    """A domain with a VM (two disks, a snapshot, a NIC), and a disk that nobody has: (domain, VM, disk)."""
    domain = added(vms)
    new = {"provisioned_size": 8 * MIB, "format": "cow", "storage_domains": [{"id": domain}]}
    disks = [
        {"bootable": True, "interface": "virtio_scsi", "disk": {"name": "root", **new}},
        {"interface": "virtio", "disk": {"name": "data", **new}},
    ]
    nics = [{"name": "nic1", "vnic_profile": {"id": PROFILE}}]
    vm = vms.made(name="web", memory=512 * MIB, description="a shop", disk_attachments=disks, nics=nics)["id"]
    vms.done("POST", f"vms/{vm}/snapshots", {"description": "before"})
    loose = vms.done("POST", "disks", {"name": "loose", **new})["id"]
    return domain, vm, loose


def forgotten(vms: Vms, domain: str, vm: str) -> None:
    """Put away, and forgotten here with all that is on it: as another installation finds it."""
    vms.done("POST", f"{HERE}/{domain}/deactivate", {})
    vms.done("DELETE", f"storagedomains/{domain}?destroy=true")
    entities = vms.engine.store.entities
    for one in entities.children(("vm", vm), "snapshot"):
        entities.remove("snapshot", one.id)
    vms.done("DELETE", f"vms/{vm}")
    # the fake's images are where the domain was mounted
    assert entities.get("storage_domain", domain) is None and entities.get("vm", vm) is None


def imported(vms: Vms, **given: Any) -> str:
    """The job's status; the API waits for it, and here it is done between two questions."""
    host = next(one.id for one in vms.engine.store.entities.list("host") if one.name == HOST)
    words = {"expected_id": "", "words": "", **given}
    order = ImportDomain("11111111-2222-4333-8444-555555555555", "back", NFS, host, {}, **words)
    job = vms.engine.desk.order(
        DomainImport, order, owner_id=vms.engine.store.entities.list("user")[0].id, correlation_id="c"
    )
    vms.work()
    vms.seen.add(job.id)
    found = vms.engine.jobs.need(job.id)
    return str(found.error.get("reason") or found.status)


def test_what_a_domain_says_is_brought_to_another_installation(vms: Vms) -> None:
    domain, vm, loose = with_content(vms)
    before = vms.vm(vm), vms.ask("GET", f"vms/{vm}/nics")[1]["nic"][0]
    disks = {one["id"] for one in vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"]}
    vms.done("POST", f"storagedomains/{domain}/updateovfstore", {})
    folder = storage_of(vms) / "descriptors"
    assert {one.name for one in folder.iterdir()} == {f"vm-{vm}.json", f"disk-{loose}.json", "index.json"}
    mark = json.loads((storage_of(vms) / MARK).read_text())
    assert mark["owner"] == installation(vms.engine.store.entities)[0], "while it is active it is ours"
    forgotten(vms, domain, vm)
    assert json.loads((storage_of(vms) / MARK).read_text())["owner"] == "", "in maintenance it is nobody's"
    assert imported(vms) == "finished"
    assert vms.ask("GET", f"storagedomains/{domain}")[1]["name"] == "back", "the id is that of before"
    assert vms.ask("GET", f"storagedomains/{domain}/vms")[1] == {}
    found = vms.ask("GET", f"storagedomains/{domain}/vms;unregistered")[1]["vm"]
    assert [(one["id"], one["name"], one["description"]) for one in found] == [(vm, "web", "a shop")]
    assert [one["id"] for one in vms.ask("GET", f"storagedomains/{domain}/disks?unregistered=true")[1]["disk"]] == [loose]
    assert "is not active" in refusal(vms, "POST", f"storagedomains/{domain}/vms/{vm}/register", {})
    vms.done("POST", HERE, {"id": domain})
    given = {"cluster": {"id": CLUSTER}, "reassign_bad_macs": True}
    vms.done("POST", f"storagedomains/{domain}/vms/{vm}/register", given)
    after = vms.vm(vm), vms.ask("GET", f"vms/{vm}/nics")[1]["nic"][0]
    for name in ("name", "description", "memory", "memory_policy", "cpu", "os", "type"):
        assert after[0].get(name) == before[0].get(name), name
    assert (after[1]["mac"], after[1]["vnic_profile"]["id"]) == (before[1]["mac"], PROFILE)
    assert {one["id"] for one in vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"]} == disks
    snapshots = [one["description"] for one in vms.ask("GET", f"vms/{vm}/snapshots")[1]["snapshot"]]
    assert snapshots == ["before", "Active VM"]
    vms.done("POST", f"storagedomains/{domain}/disks?unregistered=true", {"id": loose})
    assert vms.ask("GET", f"disks/{loose}")[1]["provisioned_size"] == str(8 * MIB)
    assert vms.ask("GET", f"storagedomains/{domain}/vms;unregistered")[1] == {}
    assert vms.ask("POST", f"storagedomains/{domain}/vms/{vm}/register", given)[0] == 404
    vms.done("POST", f"vms/{vm}/start", {})
    vms.look()
    assert vms.vm(vm)["status"] == "up"


def test_what_nobody_has_registered_yet_stays_written_down(vms: Vms) -> None:
    """A domain that was imported and put away again still says what it brought along."""
    domain, vm, loose = with_content(vms)
    forgotten(vms, domain, vm)
    assert imported(vms) == "finished"
    vms.done("POST", HERE, {"id": domain})
    vms.done("POST", f"storagedomains/{domain}/updateovfstore", {})
    names = {one.name for one in (storage_of(vms) / "descriptors").iterdir()}
    assert names == {f"vm-{vm}.json", f"disk-{loose}.json", "index.json"}


def test_a_domain_is_detached_with_what_lies_on_it(vms: Vms) -> None:
    """It takes its VMs, templates and disks along; attached again, all can be registered as they were."""
    domain, vm, loose = with_content(vms)
    template = vms.done("POST", "templates", {"name": "gold", "vm": {"id": vm}, "storage_domain": {"id": domain}})["id"]
    child = vms.made(name="thin", template={"id": template})["id"]
    before, disks = vms.vm(vm), vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"]
    vms.done("POST", f"{HERE}/{domain}/deactivate", {})
    assert vms.ask("PUT", f"vms/{vm}", {"description": "changed meanwhile"})[0] == 200
    assert vms.ask("DELETE", f"{HERE}/{domain}")[0] == 200
    for path in (f"vms/{vm}", f"vms/{child}", f"templates/{template}", f"disks/{loose}", f"disks/{disks[0]['id']}"):
        assert vms.ask("GET", path)[0] == 404, path
    assert vms.ask("GET", f"storagedomains/{domain}")[1]["status"] == "unattached"
    found = {one["name"] for one in vms.ask("GET", f"storagedomains/{domain}/vms;unregistered")[1]["vm"]}
    assert found == {"web", "thin"}
    vms.done("POST", HERE, {"id": domain})
    given = {"cluster": {"id": CLUSTER}}
    vms.done("POST", f"storagedomains/{domain}/templates/{template}/register", given)
    for one in (vm, child):
        vms.done("POST", f"storagedomains/{domain}/vms/{one}/register", given)
    vms.done("POST", f"storagedomains/{domain}/disks?unregistered=true", {"id": loose})
    assert vms.vm(vm)["description"] == "changed meanwhile"
    assert vms.vm(vm)["memory"] == before["memory"]
    assert [one["description"] for one in vms.ask("GET", f"vms/{vm}/snapshots")[1]["snapshot"]] == ["before", "Active VM"]
    for one in (vm, child):
        vms.done("POST", f"vms/{one}/start", {})
        assert vms.vm(one)["status"] == "up"


def test_what_keeps_a_domain_from_being_detached(vms: Vms) -> None:
    """Whatever is refused, nothing has left."""
    domain, vm, _loose = with_content(vms)
    here = vms.done("POST", f"vms/{vm}/diskattachments", {"interface": "virtio", "disk": {"name": "logs",
        "provisioned_size": 8 * MIB, "format": "cow", "storage_domains": [{"name": "vmstore"}]}})["id"]  # fmt: skip
    vms.done("POST", f"{HERE}/{domain}/deactivate", {})
    assert "and others elsewhere (logs among them)" in refusal(vms, "DELETE", f"{HERE}/{domain}")
    vms.done("DELETE", f"disks/{here}")
    assert vms.ask("PUT", f"vms/{vm}", {"delete_protected": True})[0] == 200
    assert "Delete protection is enabled" in refusal(vms, "DELETE", f"{HERE}/{domain}")
    assert vms.ask("PUT", f"vms/{vm}", {"delete_protected": False})[0] == 200
    disk = vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"][0]["id"]
    vms.engine.store.entities.set_status("disk", {disk: "illegal"})
    assert "is illegal" in refusal(vms, "DELETE", f"{HERE}/{domain}")
    vms.engine.store.entities.set_status("disk", {disk: "ok"})
    assert vms.vm(vm)["name"] == "web"
    assert vms.ask("GET", f"storagedomains/{domain}")[1]["status"] == "maintenance"
    assert vms.ask("DELETE", f"{HERE}/{domain}")[0] == 200


def test_a_domain_that_another_installation_uses_is_left_alone(vms: Vms) -> None:
    domain, vm, _loose = with_content(vms)
    forgotten(vms, domain, vm)
    place = storage_of(vms) / MARK
    theirs = {**json.loads(place.read_text()), "owner": "another", "owner_name": "Berlin"}
    place.write_text(json.dumps(theirs))
    assert "in use by another installation, Berlin" in imported(vms)
    assert "in use by another installation, Berlin" in imported(vms, words="take over from Hamburg")
    assert json.loads(place.read_text()) == theirs, "nothing of it was touched"
    assert imported(vms, words="take over from Berlin") == "finished"
    assert json.loads(place.read_text())["owner"] == installation(vms.engine.store.entities)[0]
    vms.done("POST", HERE, {"id": domain})
    vms.done("POST", f"{HERE}/{domain}/deactivate", {})
    place.write_text(json.dumps(theirs))
    assert vms.ask("POST", f"{HERE}/{domain}/activate", {})[0] in (200, 202)
    vms.work()
    assert "in use by another installation" in str(vms.newest().error), "who lost it does not take it back by itself"
    assert json.loads(place.read_text()) == theirs


def test_what_is_no_domain_of_ours_is_refused(vms: Vms) -> None:
    assert "it bears no mark" in imported(vms)
    domain, vm, _loose = with_content(vms)
    assert "is there already" in refusal(vms, "POST", "storagedomains", GIVEN)
    forgotten(vms, domain, vm)
    assert "was asked for" in imported(vms, expected_id="another")
    clone = dict(NFS, path="/export/clone")
    other = added(vms, name="clone", storage=clone)
    (vms.nodes.nodes[HOST].folder / "sources" / "nas__export_data" / MARK).write_text(
        json.dumps(DomainMark(other, "clone", "posixfs").__dict__)
    )
    assert "It is Storage Domain clone of this installation" in imported(vms)


def test_mappings_and_what_is_missing(vms: Vms) -> None:
    domain, vm, loose = with_content(vms)
    entities = vms.engine.store.entities
    said = next(one for one in descriptors_on(entities, entities.need("storage_domain", domain)) if one.id == vm)
    foreign = replace(said, id="far", name="far", cluster="Rome", disks=(replace(said.disks[0], id="d", domain="lost"),),
                      snapshots=(), nics=(replace(said.nics[0], id="n", network="lan", profile="lan"),))  # fmt: skip
    body = {"trivet_descriptor": json.loads(text_of(foreign)), "kind": "vm", "of": "far"}
    entities.add(Entity(UNREGISTERED, "row", "far", body, parent=("storage_domain", domain)))
    path = f"storagedomains/{domain}/vms/far/register"
    assert vms.ask("POST", path, {})[0] in (400, 404), "there is no cluster Rome"
    mapping = {"cluster_mappings": [{"from": {"name": "Rome"}, "to": {"id": CLUSTER}}]}
    given = {
        "registration_configuration": mapping,
        "vnic_profile_mappings": [
            {"source_network_name": "lan", "source_network_profile_name": "lan", "target_vnic_profile": {"id": PROFILE}}
        ],
    }
    assert "are on domains that are not here" in refusal(vms, "POST", path, given)
    assert "has the ids that it had" in refusal(vms, "POST", path, {**given, "clone": True})
    answer = vms.ask("POST", path, {**given, "allow_partial_import": True})
    vms.work()
    assert "is already in use" in str(vms.newest().error), answer
    vms.done("POST", path, {**given, "allow_partial_import": True, "reassign_bad_macs": True, "vm": {"name": "near"}})
    assert vms.vm("far")["name"] == "near"
    nic = vms.ask("GET", "vms/far/nics")[1]["nic"][0]
    assert nic["vnic_profile"]["id"] == PROFILE and loose


def test_what_changed_is_written_and_nothing_else(vms: Vms) -> None:
    domain, vm, loose = with_content(vms)
    keeper = DescriptorKeeper(vms.engine.store.entities, vms.engine.desk, lambda _text: None)
    keeper.turn()
    vms.work()
    folder = storage_of(vms) / "descriptors"
    first = {one.name: one.stat().st_mtime_ns for one in folder.iterdir()}
    count = len(vms.engine.jobs.list())
    keeper.turn()
    assert len(vms.engine.jobs.list()) == count, "nothing has changed"
    assert vms.ask("PUT", f"vms/{vm}", {"description": "another"})[0] == 200
    keeper.turn()
    vms.work()
    second = {one.name: one.stat().st_mtime_ns for one in folder.iterdir()}
    assert {name for name in second if second[name] != first.get(name)} == {f"vm-{vm}.json", "index.json"}
    vms.seen |= {one.id for one in vms.engine.jobs.list()}
    vms.done("DELETE", f"disks/{loose}")
    (folder / "index.json").write_text("[damaged")
    vms.done("POST", f"storagedomains/{domain}/updateovfstore", {})
    assert {one.name for one in folder.iterdir()} == {f"vm-{vm}.json", "index.json"}


GOOD = Descriptor(
    1, "vm", "v", "web", "Default", {"memory": 1}, (), (DiskPart("d", "root", "s", "i", "cow"),),
    (SnapshotPart("x", "before", 1, {"d": Image("i0", "raw")}),),
)  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [
        {"version": 2},
        {"id": "../../etc"},
        {"name": "a\nb"},
        {"kind": "host"},
        {"disks": [{**GOOD.disks[0].__dict__, "image": "../i"}]},
        {"disks": [{**GOOD.disks[0].__dict__, "format": "vmdk"}]},
        {"disks": [GOOD.disks[0].__dict__] * 2},
        {"snapshots": [{"id": "x", "name": "y", "date_ms": 1, "images": {"other": {"image": "i", "format": "raw"}}}]},
        {"snapshots": [{"id": "x", "name": "y", "date_ms": 1, "images": {"d": {"image": "/i", "format": "raw"}}}]},
        {"nics": [{"id": f"n{number}", "name": "n"} for number in range(1001)]},
        {"kind": "disk", "id": "other"},
    ],
)
def test_a_hostile_domain_is_not_believed(bad: dict[str, Any]) -> None:
    path = place_of("vm", "v")
    assert parse(text_of(GOOD), path) == GOOD
    for text in (json.dumps({**json.loads(text_of(GOOD)), **bad}), "[" * 100_000, "{}", "nonsense"):
        with pytest.raises(TrivetError) as caught:
            parse(text, path)
        assert caught.value.code == "descriptor.invalid"
    with pytest.raises(TrivetError):
        parse(text_of(GOOD), place_of("vm", "another"))
