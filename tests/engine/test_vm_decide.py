"""The pure part of VMs: a definition's machine, what waits for the next start, what a host's word means."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.errors import Refused
from appliance.model.vm_parts import CpuPin
from appliance.tools.domain_xml import domain_xml
from engine.decide import vm_config
from engine.decide.vm_follow import SHUTDOWN_LIMIT_S, Known, News, heard, silent
from engine.decide.vm_machine import DRIVE, DiskPart, NicPart, check_startable, cpu_model, machine

MIB, GIB = 1024**2, 1024**3
ID = "44444444-0000-4000-8000-000000000001"
ROOT, DATA = (
    DiskPart("d1", "/v/d1", {}, {"format": "cow"}),
    DiskPart("d2", "/v/d2", {"bootable": True, "interface": "virtio"}, {}),
)
NIC = NicPart("ovirtmgmt", {"mac": {"address": "56:6f:00:00:00:01"}, "interface": "e1000"}, 9000)


def made(body: dict[str, Any], **more: Any) -> Any:
    given: dict[str, Any] = {"cluster": {}, "disks": (ROOT, DATA), "nics": (NIC,), **more}
    return machine(ID, {"memory": GIB, **body}, given.pop("cluster"), given.pop("disks"), given.pop("nics"), **given)


def test_every_definition_is_a_domain_that_hosts_can_write() -> None:
    bodies: tuple[dict[str, Any], ...] = (
        {},
        {"bios": {"type": "q35_secure_boot"}, "console": {"enabled": True}},
        {"bios": {"type": "i440fx_sea_bios"}, "time_zone": {"name": "Europe/Berlin"}},
        {"cpu": {"mode": "host_passthrough", "topology": {"sockets": 2, "cores": 2, "threads": 2}}, "cpu_shares": 100},
        {"serial_number": {"policy": "custom", "value": "S1"}, "rng_device": {"source": "random", "rate": {"bytes": 9}}},
    )
    for body in bodies:
        assert ID in domain_xml(made(body), accelerated=False)


def test_what_a_definition_means() -> None:
    spec = made(
        {"cpu": {"topology": {"sockets": 2, "cores": 3}, "cpu_tune": {"vcpu_pins": [{"vcpu": 1, "cpu_set": "0-2"}]}}}
    )
    assert (spec.cpus, spec.cpu.sockets, spec.cpu.cores, spec.cpu.threads) == (6, 16, 3, 1)
    assert spec.cpu.maximum == 48, "places for as many sockets as can be plugged in"
    assert spec.cpu.pins == (CpuPin(1, "0-2"),)
    assert (spec.firmware, spec.machine, spec.hotplug_ports) == ("bios", "q35", 4)
    assert [(one.serial, one.bus, one.format, one.boot_order) for one in spec.disks] == [
        ("d1", "scsi", "qcow2", 0),
        ("d2", "virtio", "raw", 1),
        (DRIVE, "cdrom", "raw", 0),
    ]
    assert [(one.bridge, one.model, one.mtu, one.link_up) for one in spec.nics] == [("ovirtmgmt", "e1000", 9000, True)]
    uefi = made({"bios": {"type": "cluster_default"}}, cluster={"bios_type": "q35_ovmf"})
    assert (uefi.firmware, uefi.secure_boot) == ("uefi", False)
    order = made({"os": {"boot": {"devices": ["network", "cdrom", "hd"]}}}, cd_path="/v/cd")
    assert [one.boot_order for one in order.disks] == [0, 3, 2]
    assert order.nics[0].boot_order == 1
    assert made({}, has_screen=False).graphics is None
    policy = made({"memory_policy": {"guaranteed": 512 * MIB, "ballooning": False}}).memory
    assert (policy.guaranteed_mib, policy.ballooning) == (512, False)


@pytest.mark.parametrize(
    ("body", "cluster", "model"),
    [
        ({}, {}, "Nehalem"),
        ({}, {"cpu": {"type": "Secure Intel Cascadelake Server Family"}}, "Cascadelake-Server"),
        ({}, {"cpu": {"type": "AMD Opteron G5"}}, "Opteron_G5"),
        ({"custom_cpu_model": "EPYC"}, {"cpu": {"type": "Intel Haswell Family"}}, "EPYC"),
        ({"cpu": {"mode": "host_passthrough"}}, {}, "host-passthrough"),
    ],
)
def test_cpu_models(body: dict[str, Any], cluster: dict[str, Any], model: str) -> None:
    assert cpu_model(body, cluster) == model


def test_what_has_nothing_to_boot_from() -> None:
    assert check_startable("a", {}, (ROOT,), 0, "") == ""
    assert "nothing to boot from" in check_startable("a", {}, (), 1, "/v/cd")
    assert check_startable("a", {"os": {"boot": {"devices": ["hd", "network"]}}}, (), 1, "") == ""


def test_what_waits() -> None:
    body = {"memory": GIB, "description": "a", "cpu": {"topology": {"sockets": 1}}}
    more = {"description": "b", "memory": 2 * GIB, "cpu": {"topology": {"cores": 2}}}
    after, waiting = vm_config.with_changes(body, more, runs=True)
    assert (after["description"], after["memory"], waiting) == ("b", GIB, {"memory", "cpu"})
    again, waiting = vm_config.with_changes(after, {"cpu": {"topology": {"threads": 2}}}, runs=True)
    final = vm_config.with_next_run(again)
    assert final == {"description": "b", "memory": 2 * GIB, "cpu": {"topology": {"sockets": 1, "cores": 2, "threads": 2}}}
    _back, waiting = vm_config.with_changes(after, {"memory": GIB, "cpu": {"topology": {"cores": None}}}, runs=True)
    assert waiting == {"cpu"}
    assert vm_config.with_changes(body, more, runs=False)[1] == frozenset()


def test_more_memory_than_the_maximum_raises_that_unless_it_is_named() -> None:
    body = {"memory": GIB, "memory_policy": {"guaranteed": GIB, "max": 4 * GIB}}
    raised, _none = vm_config.with_changes(body, {"memory": 8 * GIB}, runs=False)
    assert raised["memory_policy"] == {"guaranteed": GIB, "max": 32 * GIB}
    named, _none = vm_config.with_changes(body, {"memory": 8 * GIB, "memory_policy": {"max": 5 * GIB}}, runs=False)
    with pytest.raises(Refused, match="Maximum memory"):
        vm_config.check("a", named, "edit VM")


HOST = "h1"
STATES = (
    ("powering_up", HOST, "running", "up", HOST, "USER_RUN_VM"),
    ("up", HOST, "running", None, "", ""),
    ("unknown", HOST, "running", "up", HOST, ""),
    ("reboot_in_progress", HOST, "running", "up", HOST, ""),
    ("up", HOST, "shutting-down", "powering_down", HOST, ""),
    ("powering_down", HOST, "running", None, "", ""),
    ("up", HOST, "paused", "paused", HOST, "VM_PAUSED"),
    ("up", HOST, "paused-io-error", "paused", HOST, "VM_PAUSED_EIO"),
    ("up", HOST, None, "down", "", "VM_DOWN"),
    ("up", HOST, "off", "down", "", "VM_DOWN"),
    ("powering_down", HOST, None, "down", "", "VM_DOWN"),
    ("unknown", HOST, None, "down", "", "VM_DOWN_ERROR"),
    ("down", "", "running", "up", HOST, ""),
    ("down", "", "incoming", None, "", ""),
    ("up", "h2", "running", "up", HOST, ""),
    ("up", "h2", "migrating", None, "", ""),
    ("up", "h2", None, None, "", ""),
    ("up", HOST, "incoming", None, "", ""),
)


@pytest.mark.parametrize(("status", "at", "power", "after", "host", "event"), STATES)
def test_a_hosts_word(status: str, at: str, power: Any, after: str | None, host: str, event: str) -> None:
    known = Known("v1", status, at, 1000, 1000 if status == "powering_down" else None)
    told = {} if power is None else {"v1": power}
    news = heard(HOST, told, [known], 2000, 2000)
    assert [(one.status, one.host, one.event) for one in news] == ([] if after is None else [(after, host, event)])
    assert heard(HOST, told, [known], 1000, 2000) == (), "it changed after the question was sent"


def test_a_guest_that_does_not_shut_down_is_up_again() -> None:
    known = Known("v1", "powering_down", HOST, 1000, asked_ms=1000)
    late_ms = 1000 + int(SHUTDOWN_LIMIT_S * 1000)
    assert heard(HOST, {"v1": "running"}, [known], late_ms, late_ms - 1) == ()
    assert heard(HOST, {"v1": "running"}, [known], late_ms, late_ms) == (News("v1", "up", HOST, "VM_POWER_DOWN_FAILED"),)


def test_silence_makes_unknown_once() -> None:
    known = [Known("v1", "up", HOST, 1), Known("v2", "unknown", HOST, 1)]
    assert [(one.id, one.status, one.host) for one in silent(known)] == [("v1", "unknown", HOST)]
