"""One contract for running VMs: the fake libvirt, and QEMU 10 under a libvirtd of its own, in a machine that finds nothing
to boot. The verbs are the agent's; the disks are real files under both."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.fakes.libvirt import FakeLibvirt
from appliance.model.disk import DiskFile
from appliance.model.vm import VmDisk, VmNic
from appliance.model.vm_live import MigrationLimits
from appliance.verbs import vm_devices
from tests.contract.disk_node import MIB
from tests.contract.live_node import MAC, NAME, LiveNode, code, failed

# power


def test_buttons(node: LiveNode) -> None:
    node.start()
    node.vms.pause(NAME)
    node.vms.pause(NAME)
    assert node.vms.vms()[0].power == "paused"
    assert code(lambda: node.vms.reset(NAME)) == "vm.not-running"
    node.vms.resume(NAME)
    node.vms.reset(NAME)
    node.vms.reboot(NAME)
    for act in (node.vms.freeze, node.vms.thaw):
        assert code(lambda act=act: act(NAME)) == "vm.no-agent"
    node.vms.shutdown(NAME)
    node.vms.destroy(NAME)
    for act in (node.vms.pause, node.vms.reset, node.vms.reboot, node.vms.freeze, node.hypervisor.domain_xml):
        assert code(lambda act=act: act(NAME)) == "vm.unknown"


# devices


def test_a_disk_is_plugged_in_and_out(node: LiveNode) -> None:
    node.start()
    extra, other = node.create("vm/b"), node.create("vm/c", "raw")
    plain = VmDisk(str(node.at(extra)), "b", "qcow2")
    node.devices.plug_disk(NAME, plain)
    node.devices.plug_disk(NAME, plain)
    node.devices.plug_disk(NAME, VmDisk(str(node.at(other)), "c", "raw", "virtio"))
    assert [node.written(disk) for disk in "abc"] == [str(node.at(one)) for one in (node.a, extra, other)]
    assert len(set(node.domain().labels())) == 4
    assert code(lambda: node.devices.plug_disk(NAME, replace(plain, path="/other"))) == "vm.disk-exists"
    assert code(lambda: node.devices.plug_disk(NAME, VmDisk("/x", "s", bus="sata"))) == "vm.disk-bus"
    node.devices.unplug_disk(NAME, "b")
    node.devices.unplug_disk(NAME, "b")
    assert node.domain().disk("b") is None
    node.done(node.disks.remove("b", extra, False))  # nobody has it open any more
    assert code(lambda: node.devices.plug_disk("nobody", plain)) == "vm.unknown"


def test_a_disk_that_the_guest_uses_stays(node: LiveNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PCIe device goes only when the guest says so; here nobody is in the guest who could."""
    monkeypatch.setattr(vm_devices, "UNPLUG_TIMEOUT_S", 0.5)
    disk = VmDisk(str(node.at(node.create("vm/v", "raw"))), "v", "raw", "virtio")
    node.spec = replace(node.spec, disks=(*node.spec.disks, disk))
    node.start()
    if isinstance(node.hypervisor, FakeLibvirt):
        node.hypervisor.keep.add("v")
    assert code(lambda: node.devices.unplug_disk(NAME, "v")) == "vm.unplug-refused"
    assert node.domain().disk("v") is not None


def test_a_nic_is_plugged_in_and_moved(node: LiveNode) -> None:
    node.start()
    second = "56:6f:00:00:00:02"
    node.devices.plug_nic(NAME, VmNic("br-one", second))
    node.devices.plug_nic(NAME, VmNic("br-two", second, link_up=False))
    found = node.domain().nic(second.upper())
    assert found is not None
    source, link = found.find("source"), found.find("link")
    assert source is not None and source.get("bridge") == "br-two"
    assert link is not None and link.get("state") == "down"
    node.devices.set_nic(NAME, second, "", True)
    found = node.domain().nic(second)
    assert found is not None
    source, link = found.find("source"), found.find("link")
    assert source is not None and source.get("bridge") == "br-two"
    assert link is None or link.get("state") == "up"
    assert code(lambda: node.devices.set_nic(NAME, "56:6f:00:00:00:09", "br-one", True)) == "vm.nic-unknown"
    node.devices.unplug_nic(NAME, "56:6f:00:00:00:09")


def test_the_cd_is_changed(node: LiveNode) -> None:
    node.start()
    iso = node.create("iso/x.iso", "raw", MIB)
    for _ in range(2):
        node.devices.set_cd(NAME, "cd", str(node.at(iso)), False)
        assert node.written("cd") == str(node.at(iso))
    node.devices.set_cd(NAME, "cd", "", False)
    assert node.written("cd") == ""
    assert code(lambda: node.devices.set_cd(NAME, "a", "/x", False)) == "vm.drive-unknown"
    assert code(lambda: node.devices.set_cd(NAME, "no", "/x", False)) == "vm.drive-unknown"


# what it says


def test_statistics_and_guest(node: LiveNode) -> None:
    node.start()
    found = node.one()
    assert (found.id, found.memory_maximum_kib) == (node.spec.id, 128 * 1024)
    assert {disk.disk: disk.path for disk in found.disks} == {"a": str(node.at(node.a)), "cd": ""}
    assert [nic.mac for nic in found.nics] == [MAC]
    assert {one.vm: one.said.agent for one in node.hypervisor.guests()}[NAME] is False


def test_a_state_that_changes_is_another_word(node: LiveNode) -> None:
    def word() -> str:
        return dict(node.hypervisor.states()).get(NAME, "")

    assert word() == ""
    node.start()
    running = word()
    assert running and word() == running
    node.vms.pause(NAME)
    assert word() not in ("", running)
    node.vms.destroy(NAME)
    assert word() == ""


# moves


def test_memory_to_a_file_and_back(node: LiveNode) -> None:
    node.start()
    node.guest_writes(7, "0", "1M")
    file = DiskFile("data", "vm/memory")
    node.done(node.moves.suspend("suspend", NAME, file))
    node.done(node.moves.suspend("suspend", NAME, file))
    assert node.vms.find(NAME) is None and node.at(file).exists()
    node.tasks.forget("suspend")
    node.done(node.moves.suspend("suspend", NAME, file))
    assert failed(node, node.moves.suspend("other", NAME, file)) == "disk.exists"
    moved = replace(node.spec, nics=(VmNic("br-two", MAC),))
    node.done(node.moves.wake("wake", moved, file, False))
    assert node.vms.vms()[0].power == "running"
    found = node.domain().nic(MAC)
    assert found is not None
    source = found.find("source")
    assert source is not None and source.get("bridge") == "br-two"
    node.guest_reads(7, "0", "1M")
    node.done(node.moves.wake("again", moved, file, False))
    nowhere = DiskFile("data", "vm/nowhere")
    assert failed(node, node.moves.wake("nowhere", replace(moved, name="other"), nowhere, False)) == "file.unknown"


def test_a_migration_to_nowhere_leaves_it_running(node: LiveNode) -> None:
    node.start()
    state = node.moves.migrate("move", NAME, "host.invalid", MigrationLimits(deadline_s=20.0))
    assert failed(node, state) == "vm.migrate"
    assert node.vms.vms()[0].power == "running"
    assert failed(node, node.moves.migrate("gone", "nobody", "node2", MigrationLimits())) == "vm.unknown"


@pytest.mark.parametrize("node", ["fake"], indirect=True)  # with two QEMUs and TLS: tests/lab
def test_a_migration_tells_how_far_it_is_and_is_cancelled(node: LiveNode) -> None:
    node.start()
    here = node.hypervisor
    assert isinstance(here, FakeLibvirt)
    here.peers["node2"] = there = FakeLibvirt("node2", here.locks)
    here.stuck = True
    assert node.moves.migrate("move", NAME, "node2", MigrationLimits()).percent > 0
    assert failed(node, node.tasks.cancel("move")) == "vm.broken-off"
    assert node.tasks.state("move").state == "cancelled"
    here.stuck = False
    node.done(node.moves.migrate("again", NAME, "node2", MigrationLimits()))
    assert there.vms[NAME].power == "running" and NAME not in here.vms


@pytest.mark.parametrize("node", ["fake"], indirect=True)
def test_a_migration_that_goes_on_without_its_task_is_waited_for(node: LiveNode) -> None:
    node.start()
    fake = node.hypervisor
    assert isinstance(fake, FakeLibvirt)
    fake.set_power(NAME, "migrating")
    state = node.moves.migrate("move", NAME, "node2", MigrationLimits())
    assert (state.state, state.percent) == ("running", 25.0)
    fake.vanish(NAME)
    assert node.ended(state).state == "done"
