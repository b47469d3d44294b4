"""Guests are made up: cloud-init's CD at the first start and when somebody asks, in the second drive, gone with the run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.codec import decode
from appliance.effects.clock import FakeClock
from appliance.errors import Failed
from appliance.model.domain import NoCloudSeed
from engine.api.guest_secrets import hashed
from engine.core import Engine
from engine.decide.crypt_sha512 import crypt_sha512
from engine.decide.vm_machine import DRIVE, SEED_DRIVE
from engine.jobs import owed, seeds
from engine.jobs.seed_remove import SWEEP_EVERY_S, Sweeper
from engine.jobs.vm_state import SEED
from tests.engine.job_world import files
from tests.engine.vm_world import MIB, NEW_DISK, PROFILE, Vms, detail, fake_hosts

INIT = {"host_name": "web1.lab", "user_name": "ada", "root_password": "geheim", "dns_servers": "192.0.2.53"}
BODY: dict[str, Any] = {
    "memory": 256 * MIB,
    "disk_attachments": [NEW_DISK],
    "nics": [{"name": "nic1", "vnic_profile": {"id": PROFILE}}],
}


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def discs(vms: Vms, vm: str) -> list[tuple[str, str]]:
    """What is in the drives of a VM that runs: (serial, file)."""
    return [(one.serial, Path(one.path).name) for one in vms.running(vm).spec.disks if one.bus == "cdrom"]


def seed_of(vms: Vms, tmp_path: Path, vm: str) -> NoCloudSeed:
    """The texts on the CD that is in the second drive."""
    (path,) = (one.path for one in vms.running(vm).spec.disks if one.serial == SEED_DRIVE)
    file = tmp_path / "hosts" / "domains" / Path(*Path(path).parts[-4:])
    return decode(NoCloudSeed, json.loads(file.read_text()), subject=path)


def seeds_left(tmp_path: Path) -> list[str]:
    return [path for path in files(tmp_path / "hosts") if "/seeds/" in path]


def sweep(vms: Vms) -> None:
    """One turn of the sweeper, with all that it orders."""
    Sweeper(vms.engine.store.entities, vms.engine.desk, print).turn()
    vms.work()
    vms.seen |= {one.id for one in vms.engine.jobs.list()}


def start(vms: Vms, identifier: str, **given: Any) -> None:
    vms.done("POST", f"vms/{identifier}/start", given)
    vms.look()
    assert vms.vm(identifier)["status"] == "up"


def stop(vms: Vms, vm: str) -> None:
    vms.done("POST", f"vms/{vm}/stop", {})
    assert vms.vm(vm)["status"] == "down"


def test_the_first_start_has_the_cd_and_the_next_has_not(vms: Vms, tmp_path: Path) -> None:
    vm = vms.made(**BODY, initialization=INIT)["id"]
    start(vms, vm)
    ((drive, nothing), (second, name)) = discs(vms, vm)
    assert (drive, nothing, second) == (DRIVE, "", SEED_DRIVE)
    seed = seed_of(vms, tmp_path, vm)
    assert f'"{name.removesuffix(".iso")}", "local-hostname": "web1.lab"' in seed.meta_data
    assert '"user": "ada"' in seed.user_data
    assert '"macaddress": "56:6f:' in seed.network_config
    sweep(vms)
    assert len(seeds_left(tmp_path)) == 1, "it stays while the VM has it"
    stop(vms, vm)
    sweep(vms)
    assert seeds_left(tmp_path) == []
    assert vms.engine.store.entities.list(seeds.KIND) == []
    start(vms, vm)
    assert discs(vms, vm) == [(DRIVE, "")]


def test_who_asks_gets_another_instance(vms: Vms, tmp_path: Path) -> None:
    vm = vms.made(**BODY, initialization=INIT)["id"]
    start(vms, vm)
    first = seed_of(vms, tmp_path, vm).meta_data
    stop(vms, vm)
    once = {"initialization": {"host_name": "other", "root_password": "geheimer"}}
    start(vms, vm, use_cloud_init=True, vm=once)
    seed = seed_of(vms, tmp_path, vm)
    assert '"local-hostname": "other"' in seed.meta_data
    assert seed.meta_data.split(",")[0] != first.split(",")[0], "cloud-init does everything again"
    assert '"user": "ada"' in seed.user_data, "what is not said for this once is as the VM has it"
    found = vms.vm(vm)
    assert (found["run_once"], found["initialization"]["host_name"]) == ("true", "web1.lab")
    sweep(vms)
    assert len(seeds_left(tmp_path)) == 1
    assert seeds_left(tmp_path)[0].endswith(discs(vms, vm)[1][1])


def test_a_vm_that_says_nothing_has_one_drive_unless_asked(vms: Vms, tmp_path: Path) -> None:
    vm = vms.made(**BODY)["id"]
    start(vms, vm)
    assert discs(vms, vm) == [(DRIVE, "")]
    stop(vms, vm)
    start(vms, vm, use_cloud_init=True)
    assert seed_of(vms, tmp_path, vm).user_data == "#cloud-config\n{}\n"


def test_windows_and_other_ways_are_left_alone(vms: Vms) -> None:
    vm = vms.made(**BODY, initialization=INIT, os={"type": "windows_2022"})["id"]
    for way in ("use_sysprep", "use_ignition"):
        status, fault = vms.ask("POST", f"vms/{vm}/start", {way: True})
        assert (status, f"{way} is not supported" in detail(fault)) == (409, True), fault
    status, fault = vms.ask(
        "POST", f"vms/{vm}/start", {"vm": {"os": {"type": "other"}, "initialization": {"timezone": "a b"}}}
    )
    assert (status, "no name of a time zone" in detail(fault)) == (400, True), fault
    start(vms, vm)
    assert discs(vms, vm) == [(DRIVE, "")]


def test_a_guest_that_ends_by_itself_and_one_that_is_suspended(vms: Vms, tmp_path: Path) -> None:
    vm = vms.made(**BODY, initialization=INIT)["id"]
    start(vms, vm)
    before = discs(vms, vm)
    vms.done("POST", f"vms/{vm}/suspend", {})
    sweep(vms)
    vms.done("POST", f"vms/{vm}/start", {})
    assert discs(vms, vm) == before, "its memory names that drive"
    vms.look()
    vms.nodes.host(vms.host_of(vm)).end(vm)
    vms.look()
    assert vms.vm(vm)["status"] == "down"
    sweep(vms)
    assert seeds_left(tmp_path) == []


def test_a_failed_start_leaves_nothing_and_the_next_one_tells_the_guest(vms: Vms, tmp_path: Path) -> None:
    vm = vms.made(**BODY, initialization=INIT)["id"]
    broken = Failed("vm.broken", subject=vm, reason="it breaks", remedy="Mend it.")
    for node in vms.nodes.nodes.values():
        node.fail_with["start"] = broken
    assert vms.ask("POST", f"vms/{vm}/start", {})[0] == 200
    vms.work()
    assert vms.newest().status == "failed"
    assert SEED not in vms.engine.store.entities.need("vm", vm).body
    sweep(vms)
    assert seeds_left(tmp_path) == []
    for node in vms.nodes.nodes.values():
        node.fail_with.clear()
    start(vms, vm)
    assert len(discs(vms, vm)) == 2


def test_a_restart_that_is_owed_keeps_the_cd(vms: Vms, tmp_path: Path) -> None:
    """The host was lost while the guest was being made up: it has to read the rest elsewhere."""
    vm = vms.made(**BODY, initialization=INIT, high_availability={"enabled": True, "priority": 1})["id"]
    start(vms, vm)
    entities = vms.engine.store.entities
    vms.nodes.host(vms.host_of(vm)).end(vm)
    owed.failed(entities, vms.engine.clock, entities.need("vm", vm), "", "its host is lost")
    sweep(vms)
    assert len(seeds_left(tmp_path)) == 1
    assert entities.need("vm", vm).body[SEED]
    owed.forget(entities, vm)
    sweep(vms)
    assert seeds_left(tmp_path) == []
    assert SEED not in entities.need("vm", vm).body, "the next start does not look for it"


def test_a_vm_that_is_removed_leaves_no_cd(vms: Vms, tmp_path: Path) -> None:
    vm = vms.made(**BODY, initialization=INIT)["id"]
    start(vms, vm)
    stop(vms, vm)
    vms.done("DELETE", f"vms/{vm}")
    sweep(vms)
    assert files(tmp_path / "hosts") == {}


def test_the_sweeper_rests_between_two_looks_and_after_a_failure(vms: Vms, tmp_path: Path) -> None:
    vm = vms.made(**BODY, initialization=INIT)["id"]
    start(vms, vm)
    stop(vms, vm)
    clock = FakeClock()
    desk = replace(vms.engine.desk, clock=clock)
    sweeper = Sweeper(vms.engine.store.entities, desk, print)
    vms.nodes.down |= set(vms.nodes.nodes)
    sweeper.turn()
    vms.work()
    assert vms.newest().status == "failed"
    vms.nodes.down.clear()
    clock.sleep(SWEEP_EVERY_S)
    sweeper.turn()
    assert [one for one in vms.engine.jobs.list() if one.state != "ended"] == [], "not at once"
    clock.sleep(600)
    sweeper.turn()
    vms.work()
    assert vms.newest().status == "finished"
    assert seeds_left(tmp_path) == []


def test_no_password_is_anywhere(vms: Vms, tmp_path: Path) -> None:
    """Neither in the database with its journals and events, nor on the domains, nor in an answer or a log."""
    vm = vms.made(**BODY, initialization=INIT)["id"]
    log = []
    status, answer = vms.ask("POST", f"vms/{vm}/start", {"vm": {"initialization": {"root_password": "geheim-einmal"}}})
    log += vms.work()
    assert (status, answer["status"]) == (200, "pending")
    assert vms.engine.jobs.list()[0].status == "finished"
    words = (b"geheim", b"geheim-einmal")
    found = [path for path in tmp_path.rglob("*") if path.is_file() and any(word in path.read_bytes() for word in words)]
    assert found == []
    assert "geheim" not in str((answer, vms.vm(vm), vms.ask("GET", "jobs")[1], vms.ask("GET", "events")[1], log))
    assert "$6$" not in str((answer, vms.vm(vm), vms.ask("GET", "jobs")[1], log))


def test_the_same_password_again_is_no_change(vms: Vms) -> None:
    """Each time it got a hash of its own, so a client that says the same twice (Ansible) was told of a change twice."""
    users = [{"user_name": "ada", "password": "streng geheim"}]
    given = {"initialization": {**INIT, "cloud_init": {"users": {"user": users}}}}
    vm = vms.started(**given)
    entities = vms.engine.store.entities
    before = entities.need("vm", vm)
    assert vms.ask("PUT", f"vms/{vm}", given)[0] == 200
    assert entities.need("vm", vm).body == before.body
    changed = {"initialization": {"root_password": "anders"}}
    assert vms.ask("PUT", f"vms/{vm}", changed)[0] == 200
    after = entities.need("vm", vm)
    kept = [one.body["initialization"]["root_password"] for one in (before, after)]
    assert kept[0] != kept[1] and after.body["initialization"]["cloud_init"] == before.body["initialization"]["cloud_init"]
    assert vms.ask("PUT", f"vms/{vm}", changed)[0] == 200
    assert entities.need("vm", vm).body == after.body


def test_a_hash_of_many_rounds_is_not_turned_for_a_comparison() -> None:
    kept = crypt_sha512("geheim", "salt", 5001)
    assert hashed("geheim", [kept]) != kept
    mine = hashed("geheim")
    assert (hashed("geheim", [kept, mine]), hashed("anders", [mine]) != mine) == (mine, True)
