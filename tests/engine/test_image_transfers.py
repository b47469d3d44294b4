"""Image transfers through the API: phases, addresses, what they hold, who may, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from engine.core import Engine
from engine.decide.audit import TYPES
from engine.decide.roles import DISK_OPERATOR, USER_VM_MANAGER
from engine.jobs.evicted import EVICTED
from engine.jobs.keep_transfers import TransferKeeper
from engine.jobs.transfers import KIND
from engine.store.permissions import Permits
from tests.engine.test_vms import user
from tests.engine.vm_world import DOMAIN, MIB, NEW_DISK, Vms, detail, fake_hosts


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def new_disk(vms: Vms, kind: str = "raw") -> str:
    body = {"name": "data", "provisioned_size": 8 * MIB, "format": kind, "storage_domains": [{"id": DOMAIN}]}
    status, found = vms.ask("POST", "disks", body)
    assert status == 202
    vms.work()
    return str(found["id"])


def begun(vms: Vms, **given: Any) -> dict[str, Any]:
    """A transfer that is under way."""
    status, found = vms.ask("POST", "imagetransfers?async=true", given)
    assert (status, found.get("phase")) == (202, "initializing"), found
    vms.work()
    found = shown(vms, str(found["id"]))
    assert found["phase"] == "transferring"
    return found


def shown(vms: Vms, identifier: str) -> dict[str, Any]:
    status, found = vms.ask("GET", f"imagetransfers/{identifier}")
    assert status == 200
    return found


def asked(vms: Vms, identifier: str, action: str) -> dict[str, Any]:
    """Ask, and let it be done."""
    status, found = vms.ask("POST", f"imagetransfers/{identifier}/{action}", {"async": True})
    assert status in (200, 202), found
    vms.work()
    return shown(vms, identifier)


def refused(vms: Vms, **given: Any) -> tuple[int, str]:
    status, found = vms.ask("POST", "imagetransfers", given)
    assert status >= 400
    assert vms.ask("GET", "imagetransfers")[1] == {}, "what is refused leaves nothing"
    return status, detail(found)


def disk_status(vms: Vms, disk: str) -> str:
    status, found = vms.ask("GET", f"disks/{disk}")
    return str(found["status"]) if status == 200 else "gone"


def test_the_life_of_an_upload(vms: Vms) -> None:
    disk = new_disk(vms)
    status, first = vms.ask("POST", "imagetransfers?async=true", {"disk": {"id": disk}, "direction": "upload"})
    assert (status, first["phase"], first["disk"]["id"], first["active"]) == (202, "initializing", disk, "false")
    assert (first["format"], first["timeout_policy"], first["inactivity_timeout"]) == ("raw", "legacy", "60")
    assert "transfer_url" not in first and disk_status(vms, disk) == "locked"
    vms.work()
    now = shown(vms, first["id"])
    assert now["phase"] == "transferring"
    ticket = now["transfer_url"].rpartition("/")[2]
    host = vms.ask("GET", f"hosts/{now['host']['id']}")[1]
    assert now["transfer_url"] == now["proxy_url"] == f"https://{host['name']}:54322/images/{ticket}"
    assert ticket != first["id"]
    assert asked(vms, first["id"], "pause")["phase"] == "paused_user"
    assert "transfer_url" not in shown(vms, first["id"]) and disk_status(vms, disk) == "locked"
    again = asked(vms, first["id"], "resume")
    assert (again["phase"], again["transfer_url"]) == ("transferring", now["transfer_url"])
    assert vms.ask("POST", f"imagetransfers/{first['id']}/extend", {})[0] == 200
    assert disk_status(vms, disk) == "locked"
    ended = asked(vms, first["id"], "finalize")
    assert (ended["phase"], ended["disk"]["id"], ended["active"]) == ("finished_success", disk, "false")
    assert disk_status(vms, disk) == "ok" and "transfer_url" not in ended
    codes = [event.code for event in vms.engine.store.events()]
    assert codes[:2] == [1032, 1031]
    listed = vms.ask("GET", "imagetransfers")[1]["image_transfer"]
    assert [one["phase"] for one in listed] == ["finished_success"]
    assert vms.ask("DELETE", f"disks/{disk}")[0] == 200, "what has ended protects nothing"


def test_the_hold_is_shown_as_one_job(vms: Vms) -> None:
    transfer = begun(vms, disk={"id": new_disk(vms)})
    path = f"jobs/{transfer['id']}"
    job = vms.ask("GET", path)[1]
    assert (job["description"], job["status"]) == ("Uploading Image of disk data", "started")
    asked(vms, transfer["id"], "finalize")
    assert vms.ask("GET", path)[1]["status"] == "finished"


def test_a_cancelled_upload_takes_its_disk_along_and_a_cancelled_download_leaves_it(vms: Vms) -> None:
    disk = new_disk(vms)
    down = begun(vms, disk={"id": disk}, direction="download")
    assert asked(vms, down["id"], "cancel")["phase"] == "finished_cleanup"
    assert disk_status(vms, disk) == "ok"
    up = begun(vms, disk={"id": disk})
    assert asked(vms, up["id"], "cancel")["phase"] == "finished_cleanup"
    assert disk_status(vms, disk) == "gone"


def test_what_a_locked_disk_refuses(vms: Vms) -> None:
    disk = new_disk(vms)
    begun(vms, disk={"id": disk}, direction="download")
    for method, path, body in (
        ("POST", "imagetransfers", {"disk": {"id": disk}}),
        ("DELETE", f"disks/{disk}", None),
    ):
        status, found = vms.ask(method, path, body)
        assert status == 409 and "Related operation is currently in progress" in detail(found), path


@pytest.mark.parametrize("action", ["pause", "resume", "cancel", "finalize", "extend"])
def test_what_has_ended_is_asked_nothing(vms: Vms, action: str) -> None:
    transfer = begun(vms, disk={"id": new_disk(vms)})
    asked(vms, transfer["id"], "finalize")
    status, found = vms.ask("POST", f"imagetransfers/{transfer['id']}/{action}", {})
    assert status == 409 and "finished success" in detail(found)


def test_what_is_refused_at_the_door(vms: Vms) -> None:
    raw, cow = new_disk(vms), new_disk(vms, "cow")
    unknown = "00000000-1111-2222-3333-444444444444"
    assert refused(vms, disk={"id": unknown})[0] == 404
    assert refused(vms, snapshot={"id": unknown})[0] == 404
    assert refused(vms, direction="upload")[0] == 400
    assert "cow form" in refused(vms, disk={"id": raw}, format="cow")[1]
    assert "shallow" in refused(vms, disk={"id": cow}, shallow=True)[1]
    assert "inactivity_timeout" in refused(vms, disk={"id": raw}, inactivity_timeout=-1)[1]
    assert refused(vms, disk={"id": raw}, backup={"id": unknown})[0] == 404
    assert disk_status(vms, raw) == disk_status(vms, cow) == "ok"


def test_a_running_vms_disk_is_refused_and_its_snapshots_layer_is_read(vms: Vms) -> None:
    vm = vms.started(disk_attachments=[NEW_DISK])
    (attachment,) = vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"]
    assert "runs with it" in refused(vms, disk={"id": attachment["id"]}, direction="download")[1]
    snapshot = str(vms.done("POST", f"vms/{vm}/snapshots", {"description": "s", "persist_memorystate": False})["id"])
    (layer,) = vms.ask("GET", f"vms/{vm}/snapshots/{snapshot}/disks")[1]["disk"]
    assert "only read" in refused(vms, snapshot={"id": layer["image_id"]}, direction="upload")[1]
    one = begun(vms, snapshot={"id": layer["image_id"]}, direction="download", format="raw")
    assert (one["snapshot"]["id"], one["disk"]["id"]) == (layer["image_id"], attachment["id"])
    assert disk_status(vms, attachment["id"]) == "ok", "its VM goes on"
    assert vms.ask("DELETE", f"vms/{vm}/snapshots/{snapshot}")[0] == 409, "no layer goes away below it"
    status, _found = vms.ask("POST", f"vms/{vm}/stop", {"async": True})
    assert status in (200, 202)
    vms.work()
    assert asked(vms, one["id"], "finalize")["phase"] == "finished_success"


def test_the_address_is_for_who_may_transfer(vms: Vms) -> None:
    transfer = begun(vms, disk={"id": new_disk(vms)})
    store = vms.engine.store.entities
    assert store.need(KIND, transfer["id"]).unique_key is not None
    typed = vms.client.get(
        f"/ovirt-engine/api/imagetransfers/{transfer['id']}",
        headers={"Authorization": f"Bearer {vms.token}", "Filter": "true", "Accept": "application/json"},
    )
    assert typed.status_code == 200 and typed.get_json()["transfer_url"], "whoever began it sees it as a user, too"


def test_a_host_that_is_named_serves_it_or_nobody(vms: Vms) -> None:
    host = next(one for one in vms.ask("GET", "hosts")[1]["host"] if one["name"] == "node3")
    transfer = begun(vms, disk={"id": new_disk(vms)}, host={"id": host["id"]})
    assert transfer["host"]["id"] == host["id"]
    status, found = vms.ask("POST", f"hosts/{host['id']}/deactivate", {})
    assert status == 409 and "image transfer" in detail(found)
    vms.nodes.down.add("node3")
    status, other = vms.ask("POST", "imagetransfers?async=true", {"disk": {"id": new_disk(vms)}, "host": {"id": host["id"]}})
    assert status == 202
    vms.work()
    assert shown(vms, str(other["id"]))["phase"] == "finished_failure"


def test_it_is_for_who_may_edit_the_disk_however_it_is_named(vms: Vms) -> None:
    """Named as ``image``, the permit was asked on the system, which nobody but administrators has."""
    token, disk = user(vms, "ann"), new_disk(vms)
    body = {"image": {"id": disk}, "direction": "download"}
    assert vms.ask("POST", "imagetransfers?async=true", body, token=token)[0] == 403
    Permits(vms.engine.store.entities).give(DISK_OPERATOR, ("user", "user-ann"), ("disk", disk))
    status, found = vms.ask("POST", "imagetransfers?async=true", body, token=token)
    assert status == 202, found
    vms.work()
    assert vms.ask("POST", f"imagetransfers/{found['id']}/cancel", {"async": True}, token=token)[0] in (200, 202)


def test_what_a_snapshot_keeps_is_for_who_may_do_so_with_its_vm(vms: Vms) -> None:
    token, vm = user(vms, "ann"), vms.started(disk_attachments=[NEW_DISK])
    (attachment,) = vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"]
    snapshot = str(vms.done("POST", f"vms/{vm}/snapshots", {"description": "s", "persist_memorystate": False})["id"])
    (layer,) = vms.ask("GET", f"vms/{vm}/snapshots/{snapshot}/disks")[1]["disk"]
    body = {"snapshot": {"id": layer["image_id"]}, "direction": "download", "format": "raw"}
    permits = Permits(vms.engine.store.entities)
    permits.give(DISK_OPERATOR, ("user", "user-ann"), ("disk", attachment["id"]))
    assert vms.ask("POST", "imagetransfers?async=true", body, token=token)[0] == 403, "the disk's past is its VM's"
    permits.give(USER_VM_MANAGER, ("user", "user-ann"), ("vm", vm))
    status, found = vms.ask("POST", "imagetransfers?async=true", body, token=token)
    assert status == 202, found
    vms.work()
    assert vms.ask("POST", f"imagetransfers/{found['id']}/finalize", {"async": True}, token=token)[0] in (200, 202)


def test_one_on_a_host_that_is_cut_off_is_paused_although_it_answers(vms: Vms) -> None:
    transfer = begun(vms, disk={"id": new_disk(vms)})
    host = transfer["host"]["id"]
    entities = vms.engine.store.entities
    entities.change("host", host, lambda one: one.with_body(**{EVICTED: {"domains": ["vmstore"], "volumes": ["vmstore"]}}))
    said: list[str] = []
    TransferKeeper(entities, vms.nodes, vms.engine.desk, said.append).turn()
    vms.work()
    assert (shown(vms, transfer["id"])["phase"], said) == ("paused_system", [])
    texts = [one.description for one in vms.engine.store.events()]
    assert any("its host is cut off from its storage" in one for one in texts)
    assert asked(vms, transfer["id"], "resume")["host"]["id"] != host


def test_being_cancelled_is_no_error(vms: Vms) -> None:
    """AuditLogType of oVirt 4.5: 1031, 1032 and 1033 are normal, 1034 is an error."""
    codes = ("TRANSFER_IMAGE_INITIATED", "TRANSFER_IMAGE_SUCCEEDED", "TRANSFER_IMAGE_CANCELLED", "TRANSFER_IMAGE_FAILED")
    found = [(TYPES[one].code, TYPES[one].severity) for one in codes]
    assert found == [(1031, "normal"), (1032, "normal"), (1033, "normal"), (1034, "error")]
