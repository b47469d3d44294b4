"""Storage domains that people add: made, attached, used, put away; what is refused; hosts that were away meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.errors import Failed
from appliance.model.domain import DomainMark, DomainState
from engine.core import Engine
from engine.decide.domain_mounts import Difference, Wanted, difference
from engine.jobs.evicted import evictable
from engine.jobs.keep_domains import DomainKeeper
from engine.jobs.places import MOUNTED_ON
from tests.engine import world
from tests.engine.test_domains import HERE, new_disk, shown
from tests.engine.vm_world import DOMAIN, MIB, Vms, detail, fake_hosts

HOSTS = [one.name for one in world.MEMBERS]
NFS = {"type": "posixfs", "vfs_type": "nfs4", "address": "nas", "path": "/export/data"}
LOCAL = {"type": "localfs", "path": "/srv/vms"}
BROKEN = Failed("process.failed", subject="systemctl", reason="no such server", remedy="Look.")


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def described(name: str = "data", storage: dict[str, str] | None = None, **given: Any) -> dict[str, Any]:
    return {"name": name, "type": "data", "host": {"name": "node2"}, "storage": storage or NFS, **given}


def added(vms: Vms, **given: Any) -> str:
    """A new domain, attached; its id."""
    identifier = str(vms.done("POST", "storagedomains", described(**given))["id"])
    vms.done("POST", HERE, {"id": identifier})
    return identifier


def have(vms: Vms, identifier: str) -> list[str]:
    return [name for name in HOSTS if vms.nodes.storage(name).domain(identifier).mounted]


def refusal(vms: Vms, method: str, path: str, body: Any = None) -> str:
    status, answer = vms.ask(method, path, body)
    assert status in (400, 409), answer
    return detail(answer)


def keeper(vms: Vms) -> DomainKeeper:
    return DomainKeeper(vms.engine.store.entities, vms.nodes, vms.engine.desk, lambda _text: None)


def test_its_life(vms: Vms) -> None:
    made = vms.done("POST", "storagedomains", described(description="SSDs", warning_low_space_indicator=20))
    assert (made["status"], made["storage"]["vfs_type"], made["description"]) == ("locked", "nfs4", "SSDs")
    identifier = made["id"]
    found = shown(vms, identifier)
    assert (found["status"], found["warning_low_space_indicator"], have(vms, identifier)) == ("unattached", "20", [])
    vms.done("POST", HERE, {"id": identifier})
    found = shown(vms, identifier)
    assert (found["status"], have(vms, identifier)) == ("active", HOSTS)
    assert (found["available"], found["used"]) == (str(400 * 1024**3), str(100 * 1024**3))
    disk = vms.done("POST", "disks", new_disk(storage_domains=[{"id": identifier}]))["id"]
    vm = vms.made(name="a")["id"]
    vms.ask("POST", f"vms/{vm}/diskattachments", {"disk": {"id": disk}, "interface": "virtio_scsi"})
    vms.done("POST", f"vms/{vm}/start?async=true", {})
    assert "running VMs with disks on it: a" in refusal(vms, "POST", f"{HERE}/{identifier}/deactivate", {})
    vms.done("POST", f"vms/{vm}/stop?async=true", {})
    vms.done("DELETE", f"vms/{vm}")
    assert vms.ask("GET", f"disks/{disk}")[0] == 404
    assert "is attached to a Data Center" in refusal(vms, "DELETE", f"storagedomains/{identifier}")
    assert "The Storage Domain is active" in refusal(vms, "DELETE", f"storagedomains/{identifier}?destroy=true")
    vms.done("POST", f"{HERE}/{identifier}/deactivate", {})
    assert (shown(vms, identifier)["status"], have(vms, identifier)) == ("maintenance", [])
    vms.done("POST", f"{HERE}/{identifier}/activate", {})
    vms.done("POST", f"{HERE}/{identifier}/deactivate", {})
    assert vms.ask("DELETE", f"{HERE}/{identifier}")[0] == 200
    vms.done("DELETE", f"storagedomains/{identifier}?format=true&host=node1")
    assert vms.ask("GET", f"storagedomains/{identifier}")[0] == 404
    assert added(vms) != identifier  # its place is free again


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"type": "export"}, "type export are not supported"),
        ({"storage": {"type": "iscsi", "address": "a", "target": "b"}}, "type iscsi is not supported"),
        ({"storage": {"type": "posixfs", "path": "nas:/x"}}, "vfs_type is missing"),
        ({"storage": {"type": "glusterfs", "path": "/x"}}, "storage.address is missing"),
        ({"storage": {"type": "glusterfs", "path": "/x", "address": "node1"}}, "Its volume x is not there"),
        ({"storage": {"type": "glusterfs", "path": "/vmstore", "address": "node1"}}, "Storage Domain vmstore is there"),
        ({"storage": {"type": "glusterfs", "path": "/engine", "address": "else"}}, "hosted_storage is there already"),
        ({"storage": {"type": "glusterfs", "path": "/A b", "address": "else"}}, "is no name of a volume"),
        ({"storage": {"type": "localfs", "path": "srv"}}, "is no folder for a domain"),
        ({"storage": {"type": "localfs"}}, "storage.path is missing"),
        ({"name": "vmstore"}, "name is already in use"),
        ({"name": "a b"}, "is no name of one"),
        ({"critical_space_action_blocker": -1}, "less than nothing"),
    ],
)  # fmt: skip
def test_what_cannot_be_added(vms: Vms, given: dict[str, Any], words: str) -> None:
    before = vms.ask("GET", "storagedomains")[1]
    assert words in refusal(vms, "POST", "storagedomains", {**described(), **given})
    assert vms.ask("GET", "storagedomains")[1] == before


def test_a_place_is_used_once(vms: Vms) -> None:
    identifier = added(vms)
    assert "Storage Domain data is there already" in refusal(vms, "POST", "storagedomains", described("b"))
    local = added(vms, name="local2", storage=LOCAL)
    other = added(vms, name="local1", storage=LOCAL, host={"name": "node1"})
    assert "local1 is there" in refusal(vms, "POST", "storagedomains", described("c", LOCAL, host={"name": "node1"}))
    assert (have(vms, local), have(vms, other), have(vms, identifier)) == (["node2"], ["node1"], HOSTS)


def test_files_that_are_there_are_left_alone(vms: Vms, tmp_path: Path) -> None:
    (tmp_path / "hosts" / "sources" / "nas__export_data").mkdir(parents=True)
    precious = tmp_path / "hosts" / "sources" / "nas__export_data" / "precious"
    precious.write_text("x")
    assert vms.ask("POST", "storagedomains", described())[0] == 202
    vms.work()
    job = vms.newest()
    assert (job.status, job.error["code"], "precious" in job.error["reason"]) == ("failed", "domain.not-empty", True)
    assert precious.read_text() == "x"
    assert {one["name"] for one in vms.ask("GET", "storagedomains")[1]["storage_domain"]} == {"vmstore", "hosted_storage"}


def test_a_host_that_cannot_mount_it_is_named(vms: Vms) -> None:
    identifier = vms.done("POST", "storagedomains", described())["id"]
    vms.nodes.nodes["node3"].fail_with["mount"] = BROKEN
    vms.ask("POST", HERE, {"id": identifier})
    vms.work()
    job = vms.newest()
    assert (job.error["code"], "host node3 cannot mount it: no such server" in job.error["reason"]) == (
        "domain.mount-failed", True,
    )  # fmt: skip
    assert (shown(vms, identifier)["status"], have(vms, identifier)) == ("unattached", [])


def test_another_file_system_in_its_place_is_not_used(vms: Vms, tmp_path: Path) -> None:
    identifier = vms.done("POST", "storagedomains", described())["id"]
    (tmp_path / "hosts" / "sources" / "nas__export_data" / ".trivet-domain.json").unlink()
    vms.ask("POST", HERE, {"id": identifier})
    vms.work()
    assert vms.newest().error["code"] == "domain.foreign"
    assert have(vms, identifier) == []


def test_built_in_ones_stay(vms: Vms) -> None:
    vms.done("POST", f"{HERE}/{DOMAIN}/deactivate", {})
    assert "came with the cluster" in refusal(vms, "DELETE", f"storagedomains/{DOMAIN}?destroy=true")
    assert vms.ask("DELETE", f"{HERE}/{DOMAIN}")[0] == 200
    assert "came with the cluster" in refusal(vms, "DELETE", f"storagedomains/{DOMAIN}?format=true")


def test_saved_memory_keeps_a_domain(vms: Vms) -> None:
    vm = vms.started(name="a")
    vms.done("POST", f"vms/{vm}/suspend", {})
    disks = vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"]
    vms.engine.store.entities.remove("disk_attachment", disks[0]["id"])
    vms.engine.store.entities.remove("disk", disks[0]["id"])
    vms.done("POST", f"{HERE}/{DOMAIN}/deactivate", {})
    assert "Saved memory of VMs is on it: a" in refusal(vms, "DELETE", f"{HERE}/{DOMAIN}")


def test_a_local_disk_binds_its_vm_to_the_host(vms: Vms) -> None:
    local = added(vms, name="local", storage=LOCAL)
    disk = {"name": "root", "provisioned_size": 8 * MIB, "format": "raw", "storage_domains": [{"id": local}]}
    attachment = {"bootable": True, "interface": "virtio_scsi", "disk": disk}
    vm = vms.made(name="a", disk_attachments=[attachment])["id"]
    vms.done("POST", f"vms/{vm}/start?async=true", {})
    assert vms.host_of(vm) == "node2"
    vms.look()
    status, answer = vms.ask("POST", f"vms/{vm}/migrate", {"host": {"name": "node1"}})
    if status < 300:
        vms.work()
        answer = {"detail": str(vms.newest().error)}
    assert "does not reach storage domain local" in detail(answer)
    vms.done("POST", f"vms/{vm}/stop?async=true", {})
    vms.nodes.down.add("node2")
    vms.ask("POST", "disks?async=true", new_disk(storage_domains=[{"id": local}]))
    vms.work()
    assert vms.newest().error["code"] == "job.no-host"


def test_a_host_that_was_away_gets_it_and_lets_go_of_it(vms: Vms) -> None:
    vms.nodes.down.add("node3")
    identifier = added(vms)
    row = vms.engine.store.entities.need("storage_domain", identifier)
    ids = {one.name: one.id for one in world.MEMBERS}
    assert row.body[MOUNTED_ON] == [ids["node1"], ids["node2"]]
    vms.nodes.down.clear()
    keeper(vms).turn()
    vms.work()
    assert (vms.newest().type, have(vms, identifier)) == ("host.storage", HOSTS)
    assert vms.engine.store.entities.need("storage_domain", identifier).body[MOUNTED_ON] == [ids[one] for one in HOSTS]
    vms.nodes.down.add("node1")
    vms.done("POST", f"{HERE}/{identifier}/deactivate", {})
    vms.nodes.down.clear()
    assert have(vms, identifier) == ["node1"]
    keeper(vms).turn()
    vms.work()
    assert (vms.newest().status, have(vms, identifier)) == ("finished", [])
    keeper(vms).turn()
    assert [one for one in vms.engine.jobs.list() if one.state != "ended"] == []


def test_a_host_that_lost_it_gets_no_vm_that_needs_it(vms: Vms) -> None:
    identifier = added(vms)
    vms.nodes.storage("node1").domain_unmount(identifier)
    vms.nodes.nodes["node1"].fail_with["mount"] = BROKEN
    keeper(vms).turn()
    vms.work()
    assert vms.newest().status == "failed"
    assert "Failed to connect Host node1 to the Storage Domains data" in vms.engine.store.events(limit=1)[0].description
    row = vms.engine.store.entities.need("storage_domain", identifier)
    assert row.body[MOUNTED_ON] == [one.id for one in world.MEMBERS if one.name != "node1"]
    assert shown(vms, identifier)["status"] == "active"


def test_evictions_are_not_hindered_by_what_is_not_in_our_pool(vms: Vms) -> None:
    entities = vms.engine.store.entities
    assert evictable(entities) == {"vmstore": "vmstore"}
    vms.done("POST", "storagedomains", described("far", {"type": "glusterfs", "address": "else", "path": "/far"}))
    assert evictable(entities) == {"vmstore": "vmstore"}
    gone = {"type": "glusterfs", "address": "left-the-cluster", "path": "/vmstore"}
    entities.change("storage_domain", DOMAIN, lambda one: one.with_body(storage=gone))
    assert evictable(entities) == {"vmstore": "vmstore"}
    vms.done("POST", f"{HERE}/{DOMAIN}/deactivate", {})
    assert evictable(entities) == {}


@pytest.mark.parametrize(
    ("here", "state", "wanted"),
    [
        (True, None, Difference(missing=("i",))),
        (True, DomainState("m", True, True, 1, 1, DomainMark("i", "n", "posixfs")), Difference(there=("i",))),
        (True, DomainState("m", True, True, 1, 1, DomainMark("j", "n", "posixfs")), Difference(missing=("i",))),
        (True, DomainState("m", True, True, 1, 1), Difference(missing=("i",))),
        (True, DomainState("m", True, False), Difference(missing=("i",))),
        (True, DomainState("m", False, False), Difference(missing=("i",))),
        (False, None, Difference()),
        (False, DomainState("m", True, False), Difference(needless=("i",))),
        (False, DomainState("m", False, False), Difference()),
    ],
)
def test_differences(here: bool, state: DomainState | None, wanted: Difference) -> None:
    assert difference([Wanted("i", "m", here)], {"m": state} if state else {}) == wanted
