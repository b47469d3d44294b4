"""Backups and checkpoints of VMs through the API: phases, what they hold, what they go on from, and what is refused."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.effects.clock import SystemClock
from engine.core import Engine
from engine.fakes.layers import FakeLayers
from engine.fakes.vm_backups import FakeBackup, served
from engine.fakes.vm_layers import guest_writes
from engine.jobs.backups import ENDED
from engine.jobs.desk import Desk
from engine.jobs.keep_backups import BackupKeeper
from engine.jobs.keep_transfers import TransferKeeper
from engine.jobs.places import file_of
from engine.jobs.types import BY_NAME
from tests.engine.vm_world import MIB, NEW_DISK, Vms, detail, fake_hosts

UNKNOWN = "00000000-1111-2222-3333-444444444444"


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def disk(name: str = "root", kind: str = "cow", backup: str = "incremental", **more: Any) -> dict[str, Any]:
    inside = {**NEW_DISK["disk"], "name": name, "format": kind, "backup": backup}  # type: ignore[dict-item]
    return {**NEW_DISK, "bootable": name == "root", "disk": inside, **more}


def disks_of(vms: Vms, vm: str) -> list[str]:
    found = vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"]
    return [str(one["id"]) for one in sorted(found, key=lambda one: one["bootable"], reverse=True)]


def begun(vms: Vms, vm: str, *disks: str, **given: Any) -> dict[str, Any]:
    """A backup that is ready."""
    body = {"disks": {"disk": [{"id": one} for one in disks or disks_of(vms, vm)]}, **given}
    status, found = vms.ask("POST", f"vms/{vm}/backups?async=true", body)
    assert (status, found.get("phase")) == (202, "initializing"), found
    vms.work()
    found = shown(vms, vm, str(found["id"]))
    assert found["phase"] == "ready"
    return found


def shown(vms: Vms, vm: str, backup: str) -> dict[str, Any]:
    status, found = vms.ask("GET", f"vms/{vm}/backups/{backup}")
    assert status == 200
    return found


def finalized(vms: Vms, vm: str, backup: str) -> dict[str, Any]:
    status, found = vms.ask("POST", f"vms/{vm}/backups/{backup}/finalize", {"async": True})
    assert status in (200, 202), found
    vms.work()
    return shown(vms, vm, backup)


def refused(vms: Vms, vm: str, *disks: str, **given: Any) -> tuple[int, str]:
    body = {"disks": {"disk": [{"id": one} for one in disks]}, **given}
    status, found = vms.ask("POST", f"vms/{vm}/backups", body)
    assert status >= 400, found
    return status, detail(found)


def status_of(vms: Vms, disk_id: str) -> str:
    return str(vms.ask("GET", f"disks/{disk_id}")[1]["status"])


def done(vms: Vms, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """As :meth:`Vms.done`, whatever was ordered before."""
    vms.seen |= {one.id for one in vms.engine.jobs.list()}
    return vms.done(method, path, body)


def of_host(vms: Vms, vm: str, backup: str) -> FakeBackup | None:
    return served(vms.nodes.host(vms.host_of(vm)), backup)


def writes(vms: Vms, vm: str, disk_id: str, key: str) -> None:
    guest_writes(vms.nodes.host(vms.host_of(vm)), vm, disk_id, key, "written")


def desk(vms: Vms) -> Desk:
    return Desk(vms.engine.store.entities, vms.engine.jobs, BY_NAME, SystemClock())


def keep(vms: Vms) -> None:
    """A turn of the keepers, and what they ordered."""
    store = vms.engine.store.entities
    keepers = (TransferKeeper(store, vms.nodes, desk(vms), print), BackupKeeper(store, vms.nodes, desk(vms), print))
    for one in keepers:
        one.turn()
    vms.work()


def left(vms: Vms) -> list[str]:
    """Scratch files, and what hosts serve."""
    folder = vms.nodes.nodes["node1"].folder
    files = [str(path) for path in (folder / "domains").glob("*/backups/*")]
    return files + [state.id for name in vms.nodes.nodes for state in vms.nodes.host(name).vm_backups()]


def test_the_life_of_a_live_backup(vms: Vms) -> None:
    vm = vms.started(disk_attachments=[disk()])
    (root,) = disks_of(vms, vm)
    writes(vms, vm, root, "before")
    backup = begun(vms, vm, description="nightly")
    assert (backup["description"], backup["vm"]["id"], "from_checkpoint_id" in backup) == ("nightly", vm, False)
    assert backup["host"]["id"] == vms.vm(vm)["host"]["id"] and status_of(vms, root) == "locked"
    assert vms.ask("GET", f"vms/{vm}/backups")[1]["backup"][0]["id"] == backup["id"]
    (of_disk,) = vms.ask("GET", f"vms/{vm}/backups/{backup['id']}/disks")[1]["disk"]
    assert (of_disk["id"], of_disk["backup_mode"], of_disk["backup"]) == (root, "full", "incremental")
    found = of_host(vms, vm, backup["id"])
    assert found is not None and found.content[root] == {"before": "written"}, "as it was when it began"
    (checkpoint,) = vms.ask("GET", f"vms/{vm}/checkpoints")[1]["checkpoint"]
    assert (checkpoint["id"], checkpoint["state"]) == (backup["to_checkpoint_id"], "created")
    assert [one["id"] for one in vms.ask("GET", f"vms/{vm}/checkpoints/{checkpoint['id']}/disks")[1]["disk"]] == [root]
    ended = finalized(vms, vm, backup["id"])
    assert (ended["phase"], ended["to_checkpoint_id"]) == ("succeeded", checkpoint["id"])
    assert status_of(vms, root) == "ok" and left(vms) == []
    codes = [event.code for event in vms.engine.store.events()]
    assert codes[:2] == [10793, 10790]
    assert vms.ask("POST", f"vms/{vm}/backups/{backup['id']}/finalize", {})[0] == 409


def test_an_incremental_one_goes_on_from_a_checkpoint(vms: Vms) -> None:
    vm = vms.started(disk_attachments=[disk(), disk("plain", "raw", "none")])
    root, plain = disks_of(vms, vm)
    first = begun(vms, vm)
    finalized(vms, vm, first["id"])
    writes(vms, vm, root, "since")
    second = begun(vms, vm, from_checkpoint_id=first["to_checkpoint_id"])
    modes = {one["id"]: one["backup_mode"] for one in vms.ask("GET", f"vms/{vm}/backups/{second['id']}/disks")[1]["disk"]}
    assert modes == {root: "incremental", plain: "full"}, "a raw disk goes whole each time"
    found = of_host(vms, vm, second["id"])
    assert found is not None and set(found.dirty[root]) == {"since", "during the backup"}
    finalized(vms, vm, second["id"])
    rows = {one["id"]: one for one in vms.ask("GET", f"vms/{vm}/checkpoints")[1]["checkpoint"]}
    assert rows[second["to_checkpoint_id"]]["parent_id"] == first["to_checkpoint_id"]
    assert "parent_id" not in rows[first["to_checkpoint_id"]]
    third = begun(vms, vm, root, from_checkpoint_id=first["to_checkpoint_id"], to_checkpoint_id=str(uuid.UUID(int=7)))
    assert third["to_checkpoint_id"] == str(uuid.UUID(int=7))


def test_a_cold_one(vms: Vms) -> None:
    vm = str(vms.made(disk_attachments=[disk()])["id"])
    (root,) = disks_of(vms, vm)
    first = begun(vms, vm)
    assert status_of(vms, root) == "locked" and "host" not in first
    assert vms.ask("POST", f"vms/{vm}/start", {})[0] == 409, "it cannot start meanwhile"
    transfer = transferred(vms, root, first["id"])
    finalized(vms, vm, first["id"])
    assert transfer["phase"] == "finished_success"
    done(vms, "POST", f"vms/{vm}/start", {})
    vms.look()
    writes(vms, vm, root, "since")
    done(vms, "POST", f"vms/{vm}/stop", {})
    second = begun(vms, vm, from_checkpoint_id=first["to_checkpoint_id"])
    entities = vms.engine.store.entities
    file = file_of(entities, entities.need("disk", root))
    assert FakeLayers(vms.nodes.nodes["node1"].folder).since(file, first["to_checkpoint_id"]) == {"since"}
    status, one = vms.ask("POST", "imagetransfers?async=true", ask_for(root, second["id"]))
    assert status == 202
    vms.work()
    host = next(name for name in vms.nodes.nodes if vms.nodes.images(name).held(one["id"]))
    held = vms.nodes.images(host).held(one["id"])
    assert held is not None and held.ticket.since == first["to_checkpoint_id"] and not held.ticket.backup


def ask_for(disk_id: str, backup: str, **more: Any) -> dict[str, Any]:
    return {"disk": {"id": disk_id}, "backup": {"id": backup}, "direction": "download", "format": "raw", **more}


def transferred(vms: Vms, disk_id: str, backup: str) -> dict[str, Any]:
    """A transfer of a backup's disk, from its beginning to its end."""
    status, one = vms.ask("POST", "imagetransfers?async=true", ask_for(disk_id, backup))
    assert status == 202, one
    vms.work()
    found = vms.ask("GET", f"imagetransfers/{one['id']}")[1]
    assert (found["phase"], found["backup"]["id"], found["disk"]["id"]) == ("transferring", backup, disk_id)
    vms.ask("POST", f"imagetransfers/{one['id']}/finalize", {"async": True})
    vms.work()
    return vms.ask("GET", f"imagetransfers/{one['id']}")[1]


def test_its_disks_are_transferred_where_they_are_served(vms: Vms) -> None:
    vm = vms.started(disk_attachments=[disk()])
    (root,) = disks_of(vms, vm)
    first = begun(vms, vm)
    finalized(vms, vm, first["id"])
    backup = begun(vms, vm, from_checkpoint_id=first["to_checkpoint_id"])
    status, one = vms.ask("POST", "imagetransfers?async=true", ask_for(root, backup["id"]))
    assert status == 202
    vms.work()
    ticket = vms.nodes.images(vms.host_of(vm)).held(one["id"])
    assert ticket is not None
    told = ticket.ticket
    assert (told.backup, told.export, told.since) == (backup["id"], root, first["to_checkpoint_id"])
    status, found = vms.ask("POST", f"vms/{vm}/backups/{backup['id']}/finalize", {})
    assert status == 409 and "being transferred" in detail(found)
    keep(vms)
    assert vms.ask("GET", f"imagetransfers/{one['id']}")[1]["phase"] == "transferring"
    vms.ask("POST", f"imagetransfers/{one['id']}/finalize", {"async": True})
    vms.work()
    assert finalized(vms, vm, backup["id"])["phase"] == "succeeded"
    for wrong in (ask_for(root, backup["id"]), ask_for(root, UNKNOWN)):
        assert vms.ask("POST", "imagetransfers", wrong)[0] in (404, 409)


def test_what_a_transfer_of_a_backup_cannot_be(vms: Vms) -> None:
    vm = vms.started(disk_attachments=[disk()])
    (root,) = disks_of(vms, vm)
    other = str(vms.ask("POST", "disks", disk("other")["disk"])[1]["id"])
    vms.work()
    backup = begun(vms, vm)["id"]
    wrong = (
        ask_for(root, backup, direction="upload"), ask_for(root, backup, format="cow"),
        ask_for(root, backup, shallow=True), ask_for(other, backup),
    )  # fmt: skip
    for one in wrong:
        status, found = vms.ask("POST", "imagetransfers", one)
        assert status == 409 and "Cannot" in detail(found), one


def test_what_a_vm_in_backup_does_not_do(vms: Vms) -> None:
    vm = vms.started(disk_attachments=[disk()])
    (root,) = disks_of(vms, vm)
    backup = begun(vms, vm)
    asked = (
        ("POST", f"vms/{vm}/migrate", {}), ("POST", f"vms/{vm}/suspend", {}), ("POST", f"vms/{vm}/stop", {}),
        ("POST", f"vms/{vm}/shutdown", {}), ("POST", f"vms/{vm}/snapshots", {"description": "s"}),
        ("DELETE", f"vms/{vm}", None), ("DELETE", f"vms/{vm}/checkpoints/{backup['to_checkpoint_id']}", None),
        ("POST", f"vms/{vm}/backups", {"disks": {"disk": [{"id": root}]}}),
    )  # fmt: skip
    for method, path, body in asked:
        status, found = vms.ask(method, path, body)
        assert status == 409 and ("during a backup" in detail(found) or "running" in detail(found)), (path, found)
    for method, path, body in (
        ("DELETE", f"vms/{vm}/diskattachments/{root}", None),
        ("PUT", f"disks/{root}", {"provisioned_size": 16 * MIB}),
    ):
        status, found = vms.ask(method, path, body)
        assert status == 409 and "locked" in detail(found), (path, found)
    host, name = vms.vm(vm)["host"]["id"], vms.host_of(vm)
    vms.ask("POST", f"hosts/{host}/deactivate", {"async": True})
    vms.work()
    failed = next(one for one in vms.engine.jobs.list() if one.type == "host.deactivate")
    assert failed.status == "failed" and "during a backup" in str(failed.error) and vms.host_of(vm) == name
    assert finalized(vms, vm, backup["id"])["phase"] == "succeeded"


def test_stopped_by_force_its_backup_fails_and_its_checkpoint_goes(vms: Vms) -> None:
    vm = vms.started(disk_attachments=[disk()])
    (root,) = disks_of(vms, vm)
    backup = begun(vms, vm)
    one = vms.ask("POST", "imagetransfers?async=true", ask_for(root, backup["id"]))[1]
    vms.work()
    assert vms.ask("POST", f"vms/{vm}/stop", {"force": True, "async": True})[0] in (200, 202)
    vms.work()
    assert vms.vm(vm)["status"] == "down"
    keep(vms)
    assert vms.ask("GET", f"imagetransfers/{one['id']}")[1]["phase"] in ("finished_failure", "paused_system")
    for _turn in range(2):
        keep(vms)
    assert vms.ask("GET", f"imagetransfers/{one['id']}")[1]["phase"] == "finished_failure"
    assert shown(vms, vm, backup["id"])["phase"] == "failed" and status_of(vms, root) == "ok"
    assert vms.ask("GET", f"vms/{vm}/checkpoints")[1] == {} and left(vms) == []
    assert 10792 in vms.codes(vm)
    assert begun(vms, vm)["phase"] == "ready"


def test_a_silent_host_is_waited_for_and_one_that_lost_it_is_not(vms: Vms) -> None:
    vm = vms.started(disk_attachments=[disk()])
    backup = begun(vms, vm)
    host = vms.host_of(vm)
    vms.nodes.down.add(host)
    keep(vms)
    assert shown(vms, vm, backup["id"])["phase"] == "ready", "its QEMU may be serving it"
    vms.nodes.down.discard(host)
    running = vms.running(vm)
    vms.nodes.host(host).put(replace(running, backup=""))
    keep(vms)
    assert shown(vms, vm, backup["id"])["phase"] == "failed" and left(vms) == []


def test_what_is_served_for_nobody_is_swept(vms: Vms) -> None:
    vm = vms.started(disk_attachments=[disk()])
    backup = begun(vms, vm)
    vms.engine.store.entities.change("backup", backup["id"], lambda one: replace(one, status="failed"))
    vms.engine.store.entities.change("backup", backup["id"], lambda one: one.with_body(**{ENDED: 0}))
    keep(vms)
    assert vms.ask("GET", f"vms/{vm}/backups/{backup['id']}")[0] == 404, "what ended long ago is not shown"
    assert vms.running(vm).backup == ""


def test_a_lost_checkpoint_is_told_and_a_full_backup_goes(vms: Vms) -> None:
    vm = vms.started(disk_attachments=[disk()])
    (root,) = disks_of(vms, vm)
    first = begun(vms, vm)
    finalized(vms, vm, first["id"])
    layers, entities = FakeLayers(vms.nodes.nodes["node1"].folder), vms.engine.store.entities
    layer = layers.get(file_of(entities, entities.need("disk", root)))
    layers.put(replace(layer, broken=(first["to_checkpoint_id"],)))
    body = {"disks": {"disk": [{"id": root}]}, "from_checkpoint_id": first["to_checkpoint_id"]}
    status, made = vms.ask("POST", f"vms/{vm}/backups?async=true", body)
    assert status == 202
    vms.work()
    assert shown(vms, vm, made["id"])["phase"] == "failed" and status_of(vms, root) == "ok" and left(vms) == []
    assert "full backup" in str(vms.engine.jobs.list()[0].error) or 10791 in vms.codes(vm)
    assert 10791 in vms.codes(vm)
    checkpoint = vms.ask("GET", f"vms/{vm}/checkpoints/{first['to_checkpoint_id']}")[1]
    assert checkpoint["state"] == "invalid"
    status, why = refused(vms, vm, root, from_checkpoint_id=first["to_checkpoint_id"])
    assert status == 409 and "invalid" in why
    full = begun(vms, vm)
    finalized(vms, vm, full["id"])
    done(vms, "DELETE", f"vms/{vm}/checkpoints/{first['to_checkpoint_id']}")
    (last,) = vms.ask("GET", f"vms/{vm}/checkpoints")[1]["checkpoint"]
    assert last["id"] == full["to_checkpoint_id"] and "parent_id" not in last
    bitmaps = layers.get(file_of(entities, entities.need("disk", root))).bitmaps
    assert set(bitmaps) == {full["to_checkpoint_id"]}


def test_a_checkpoint_goes_along_with_snapshots(vms: Vms) -> None:
    vm = vms.started(disk_attachments=[disk()])
    (root,) = disks_of(vms, vm)
    first = begun(vms, vm)
    finalized(vms, vm, first["id"])
    writes(vms, vm, root, "below")
    snapshot = str(done(vms, "POST", f"vms/{vm}/snapshots", {"description": "s", "persist_memorystate": False})["id"])
    writes(vms, vm, root, "above")
    second = begun(vms, vm, from_checkpoint_id=first["to_checkpoint_id"])
    found = of_host(vms, vm, second["id"])
    assert found is not None and {"below", "above"} <= set(found.dirty[root])
    finalized(vms, vm, second["id"])
    done(vms, "DELETE", f"vms/{vm}/snapshots/{snapshot}")
    third = begun(vms, vm, from_checkpoint_id=first["to_checkpoint_id"])
    found = of_host(vms, vm, third["id"])
    assert found is not None and {"below", "above"} <= set(found.dirty[root])


def test_what_is_refused_at_the_door(vms: Vms) -> None:
    vm = vms.started(disk_attachments=[disk(), disk("plain", "raw", "none")])
    root, plain = disks_of(vms, vm)
    loose = str(vms.ask("POST", "disks", disk("loose")["disk"])[1]["id"])
    vms.work()
    assert refused(vms, vm, UNKNOWN)[0] == 404
    assert refused(vms, vm)[0] == 400
    assert "each once" in refused(vms, vm, root, root)[1]
    assert "not attached" in refused(vms, vm, loose)[1]
    assert refused(vms, vm, root, from_checkpoint_id=UNKNOWN)[0] == 404
    assert "UUID" in refused(vms, vm, root, id="../x")[1] and "UUID" in refused(vms, vm, root, to_checkpoint_id="x")[1]
    assert "1024" in refused(vms, vm, root, description="x" * 1025)[1]
    backup = begun(vms, vm, root, id=str(uuid.UUID(int=9)))
    assert backup["id"] == str(uuid.UUID(int=9))
    finalized(vms, vm, backup["id"])
    assert "There is a backup" in refused(vms, vm, root, id=backup["id"])[1]
    assert "There is a checkpoint" in refused(vms, vm, root, to_checkpoint_id=backup["to_checkpoint_id"])[1]
    assert vms.ask("GET", f"vms/{vm}/backups/{UNKNOWN}")[0] == 404
    assert vms.ask("POST", f"vms/{vm}/backups/{UNKNOWN}/finalize", {})[0] == 404
    assert vms.ask("DELETE", f"vms/{vm}/checkpoints/{UNKNOWN}")[0] == 404
    full = begun(vms, vm, plain)
    assert "to_checkpoint_id" not in full, "a raw disk remembers nothing"


def test_only_a_cow_disk_is_enabled_for_incremental_backup(vms: Vms) -> None:
    raw = str(vms.ask("POST", "disks", disk("plain", "raw", "none")["disk"])[1]["id"])
    cow = str(vms.ask("POST", "disks", disk("cow", "cow", "none")["disk"])[1]["id"])
    vms.work()
    status, found = vms.ask("PUT", f"disks/{raw}", {"backup": "incremental"})
    assert status == 409 and "cow" in detail(found)
    assert vms.ask("PUT", f"disks/{cow}", {"backup": "incremental"})[1]["backup"] == "incremental"
    assert vms.ask("PUT", f"disks/{cow}", {"backup": "none"})[1]["backup"] == "none"
