"""What guests say of themselves: from their agents into the rows of their VMs, and out through the API."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.effects.clock import FakeClock
from appliance.errors import Unavailable
from appliance.model.vm_live import GuestInfo, GuestNic
from engine.api.nouns.vm_guest import offset
from engine.core import Engine
from engine.jobs.desk import Desk
from engine.jobs.keep_guests import NICS_LIMIT, GuestKeeper
from engine.jobs.types import BY_NAME
from tests.engine.vm_world import Vms, fake_hosts

SAID = GuestInfo(
    agent=True,
    hostname="web1",
    nics=(GuestNic("enp1s0", "56:6f:00:00:00:aa", ("198.18.40.5/24", "fe80::1/64")),),
    os_id="debian",
    os_name="Debian GNU/Linux 13 (trixie)",
    os_version="13",
    kernel="6.12.0",
    machine="x86_64",
    time_zone="CET",
    time_zone_offset_s=3600,
    users=("ann",),
)
HUNG = Unavailable("libvirt.deadline", subject="libvirt", reason="it hung", remedy="-")


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


@pytest.fixture
def keeper(vms: Vms) -> GuestKeeper:
    store = vms.engine.store.entities
    return GuestKeeper(store, vms.nodes, Desk(store, vms.engine.jobs, BY_NAME, FakeClock()), print)


def says(vms: Vms, vm: str, said: GuestInfo) -> None:
    vms.nodes.host("node1").guest_says(vm, said)


def devices(vms: Vms, path: str) -> list[dict[str, object]]:
    status, found = vms.ask("GET", f"{path}/reporteddevices")
    assert status == 200
    return list(found.get("reported_device", ()))


def test_names_system_and_addresses_are_shown_until_it_ends(vms: Vms, keeper: GuestKeeper) -> None:
    vm = vms.started()
    keeper.turn()
    assert "fqdn" not in vms.vm(vm) and devices(vms, f"vms/{vm}") == []
    says(vms, vm, SAID)
    keeper.turn()
    shown = vms.vm(vm)
    assert shown["fqdn"] == "web1"
    assert shown["guest_time_zone"] == {"name": "CET", "utc_offset": "+01:00"}
    system = shown["guest_operating_system"]
    assert (system["family"], system["distribution"], system["architecture"]) == ("Linux", SAID.os_name, "x86_64")
    assert system["kernel"]["version"]["full_version"] == "6.12.0"
    (device,) = devices(vms, f"vms/{vm}")
    assert device["ips"] == {"ip": [{"address": "198.18.40.5", "version": "v4"}, {"address": "fe80::1", "version": "v6"}]}
    assert vms.ask("GET", f"vms/{vm}/reporteddevices/{device['id']}")[1]["mac"] == {"address": "56:6f:00:00:00:aa"}
    vms.done("POST", f"vms/{vm}/stop", {})
    assert "fqdn" not in vms.vm(vm) and devices(vms, f"vms/{vm}") == []


def test_a_nic_of_the_vm_has_the_addresses_of_the_guests_with_its_mac(vms: Vms, keeper: GuestKeeper) -> None:
    vm = vms.started()
    (nic,) = vms.ask("GET", f"vms/{vm}/nics")[1]["nic"]
    other = GuestNic("docker0", "02:42:00:00:00:01", ("198.18.41.1/24",))
    says(vms, vm, replace(SAID, nics=(GuestNic("enp1s0", nic["mac"]["address"], ("198.18.40.6/24",)), other)))
    keeper.turn()
    assert [one["name"] for one in devices(vms, f"vms/{vm}")] == ["enp1s0", "docker0"]
    assert [one["name"] for one in devices(vms, f"vms/{vm}/nics/{nic['id']}")] == ["enp1s0"]


def test_only_what_is_new_is_written_and_a_host_that_hangs_is_asked_again(vms: Vms, keeper: GuestKeeper) -> None:
    vm = vms.started()

    def generation() -> int:
        return vms.engine.store.entities.need("vm", vm).generation

    says(vms, vm, replace(SAID, nics=SAID.nics * (NICS_LIMIT + 1)))
    keeper.turn()
    assert len(devices(vms, f"vms/{vm}")) == NICS_LIMIT
    before = generation()
    says(vms, vm, replace(SAID, nics=SAID.nics * (NICS_LIMIT + 1), users=("bob",)))
    keeper.turn()
    assert generation() == before, "who is logged in is nobody's business"
    says(vms, vm, SAID)
    for name in vms.nodes.nodes:
        vms.nodes.host(name).fail_with["guests"] = HUNG
    keeper.turn()
    for name in vms.nodes.nodes:
        vms.nodes.host(name).fail_with.clear()
    assert generation() == before
    keeper.turn()
    assert len(devices(vms, f"vms/{vm}")) == 1 and generation() == before + 1


def test_a_host_that_hangs_keeps_no_other_from_telling(vms: Vms, keeper: GuestKeeper) -> None:
    on_1, on_2 = (
        vms.started(name=f"on-{host}", placement_policy={"hosts": [{"name": host}]}) for host in ("node1", "node2")
    )
    says(vms, on_1, SAID)
    says(vms, on_2, SAID)
    vms.nodes.host("node1").fail_with["guests"] = HUNG
    said: list[str] = []
    keeper.log = said.append
    keeper.turn()
    keeper.turn()
    assert "fqdn" not in vms.vm(on_1) and vms.vm(on_2)["fqdn"] == "web1"
    assert len(said) == 1 and "node1" in said[0]


def test_what_a_vm_is_copied_to_has_not_its_guest(vms: Vms, keeper: GuestKeeper) -> None:
    vm = vms.started()
    says(vms, vm, SAID)
    keeper.turn()
    vms.done("POST", f"vms/{vm}/stop", {})
    vms.done("POST", f"vms/{vm}/clone", {"vm": {"name": "twin"}})
    (twin,) = vms.ask("GET", "vms?search=name%3Dtwin")[1]["vm"]
    assert "fqdn" not in twin


@pytest.mark.parametrize(("seconds", "text"), [(0, "+00:00"), (-16200, "-04:30"), (20700, "+05:45")])
def test_offsets_are_written_as_everywhere(seconds: int, text: str) -> None:
    assert offset(seconds) == text
