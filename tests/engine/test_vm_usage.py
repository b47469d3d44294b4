"""What VMs use: measured twice on their host, and shown under oVirt's names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.codec import encode
from appliance.effects.clock import FakeClock
from appliance.errors import Unavailable
from appliance.model.vm_live import DiskStatistics, NicStatistics, VmStatistics
from engine.core import Engine
from engine.decide.vm_usage import Measured, Value, of_disk, of_nic, of_vm
from engine.jobs.follow import MEASURED, MEASURED_EVERY_S, Following
from tests.engine import world
from tests.engine.vm_world import Vms, fake_hosts

MAC, DISK = "56:6f:00:00:00:aa", "d1"
BEFORE = VmStatistics(
    "VM-1", "vm-1", 10.0, 1.0, 1.0, 2, 2, 1024, 2048, 900,
    disks=(DiskStatistics(DISK, "/x", 1000, 10, 1.0, 4000, 20, 4.0, 5, 0.5),),
    nics=(NicStatistics(MAC.upper(), received_bytes=1000, sent_bytes=500),),
)  # fmt: skip
NOW = replace(
    BEFORE, cpu_time_s=20.0, cpu_user_s=2.0, memory_available_kib=1000, memory_usable_kib=600, memory_unused_kib=300,
    disks=(DiskStatistics(DISK, "/x", 11_000, 20, 2.0, 4000, 20, 4.0, 5, 0.5),),
    nics=(NicStatistics(MAC.upper(), received_bytes=6000, received_errors=2, sent_bytes=500),),
)  # fmt: skip
BOTH = Measured((NOW,), (BEFORE,), 10.0)


def numbers(values: tuple[Value, ...]) -> dict[str, float]:
    return {one.name: one.number for one in values}


def test_rates_are_between_the_two_and_cpu_is_of_all_that_it_has() -> None:
    assert numbers(of_vm(BOTH, "vm-1")) == {
        "memory.used": 400 * 1024,
        "memory.free": 300 * 1024,
        "cpu.current.total": 50.0,
        "cpu.current.guest": 45.0,
        "cpu.current.hypervisor": 5.0,
    }
    found = numbers(of_nic(BOTH, "vm-1", MAC))
    assert (found["data.current.rx"], found["data.current.rx.bps"], found["data.current.tx"]) == (500.0, 4000.0, 0.0)
    assert (found["data.total.rx"], found["errors.total.rx"]) == (6000, 2)
    disk = numbers(of_disk(BOTH, DISK))
    assert (disk["data.current.read"], disk["data.current.write"], disk["disk.read.latency"]) == (1000.0, 0.0, 0.1)
    assert disk["disk.write.latency"] == 0.0, "nothing was written"


@pytest.mark.parametrize(
    "measured",
    [Measured((NOW,)), Measured((BEFORE,), (NOW,), 10.0), Measured((NOW,), (replace(BEFORE, id="other"),), 10.0)],
    ids=["first", "started-anew", "arrived"],
)
def test_without_a_before_there_is_no_rate(measured: Measured) -> None:
    assert numbers(of_vm(measured, "vm-1"))["cpu.current.total"] == 0.0
    assert numbers(of_nic(measured, "vm-1", MAC))["data.current.rx"] == 0.0


def test_what_nobody_measured_has_no_values() -> None:
    assert of_vm(BOTH, "vm-2") == of_nic(BOTH, "vm-1", "x") == of_nic(BOTH, "vm-2", MAC) == of_disk(BOTH, "d2") == ()
    assert "memory.used" not in numbers(of_vm(Measured((BEFORE,)), "vm-1")), "its guest has no balloon driver"


def test_a_host_is_asked_for_it_while_it_has_vms(engine: Engine, clock: FakeClock) -> None:
    nodes = {one.name: world.FakeNode(one, engine_here=one.name == "node2") for one in world.MEMBERS}
    nodes["node1"].used = (BEFORE,)
    following = Following(
        world.CLUSTER, 7, lambda member: nodes[member.name], engine.store, engine.observations, clock, lambda _text: None
    )
    for statistics in ((BEFORE,), (NOW,)):
        nodes["node1"].used = statistics
        for one in following.followers:
            one.turn()
            one.turn()
        clock.sleep(MEASURED_EVERY_S)
    assert [node.asked.count(MEASURED) for node in nodes.values()] == [2, 0, 0]
    (host,) = [one for one in engine.view().hosts if one.member.name == "node1"]
    assert host.measured == Measured((NOW,), (BEFORE,), MEASURED_EVERY_S)


def test_a_host_whose_statistics_fail_is_not_silent(
    engine: Engine, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = world.FakeNode(world.MEMBERS[0], used=(BEFORE,))

    def hung() -> tuple[VmStatistics, ...]:
        raise Unavailable("libvirt.deadline", subject="node1", reason="it hung", remedy="Wait.")

    monkeypatch.setattr(node, "vm_statistics", hung)
    said: list[str] = []
    following = Following(world.CLUSTER, 7, lambda _member: node, engine.store, engine.observations, clock, said.append)
    following.followers[0].turn()
    assert following.followers[0].silent_because == "" and "libvirt.deadline" in said[0]


def test_they_are_shown_of_vms_nics_and_disks(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> None:
    vms = Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))
    vm = vms.started()
    (nic,) = vms.ask("GET", f"vms/{vm}/nics")[1]["nic"]
    (attachment,) = vms.ask("GET", f"vms/{vm}/diskattachments")[1]["disk_attachment"]
    mac, disk = nic["mac"]["address"], attachment["id"]

    def own(one: VmStatistics) -> VmStatistics:
        nics = (replace(one.nics[0], mac=mac),)
        return replace(one, id=vm, name=vm, nics=nics, disks=(replace(one.disks[0], disk=disk),))

    host = vms.host_of(vm)
    state = vms.nodes.host(host).vms()
    world.observe(engine.observations)
    engine.observations.put(host, "vms", encode(state))
    engine.observations.put(host, MEASURED, encode(Measured((own(NOW),), (own(BEFORE),), 10.0)))

    def shown(path: str) -> dict[str, Any]:
        status, found = vms.ask("GET", f"{path}/statistics")
        assert status == 200
        return {one["name"]: one["values"]["value"][0]["datum"] for one in found["statistic"]}

    assert shown(f"vms/{vm}")["cpu.current.total"] == 50.0
    assert shown(f"vms/{vm}")["memory.used"] == 400 * 1024
    assert shown(f"vms/{vm}/nics/{nic['id']}")["data.total.rx"] == 6000
    assert shown(f"disks/{disk}")["data.current.read"] == 1000.0
