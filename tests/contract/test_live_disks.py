"""One contract for the files under running VMs: snapshots, merges, sizes; the fake libvirt, and QEMU (see test_live_vms)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.fakes.libvirt import FakeLibvirt
from appliance.model.disk import DiskFile
from appliance.model.vm import VmDisk
from appliance.model.vm_live import DiskMerge, DiskSnapshot, VmSnapshot
from appliance.tools.live_xml import LiveDomain
from tests.contract.disk_node import MIB
from tests.contract.live_node import NAME, LiveNode, code, failed

# snapshots and merges


def snapshot(node: LiveNode, *names: str, disk: str = "a", memory: DiskFile | None = None) -> list[DiskFile]:
    overlays = [DiskFile("data", f"vm/{name}", "qcow2") for name in names]
    for overlay in overlays:
        wanted = VmSnapshot((DiskSnapshot(disk, overlay),), memory)
        node.done(node.live.snapshot(f"snap-{overlay.path[3:]}", NAME, wanted))
    return overlays


def test_a_chain_grows_and_is_merged_into_its_base(node: LiveNode) -> None:
    node.start()
    node.guest_writes(1, "0", "3M")
    s1, s2 = snapshot(node, "s1", "s2")
    assert node.chain() == ["s2", "s1", "a"]
    assert [one.file for one in node.chains.chain(s2)] == [s2, s1, node.a], "with relative names"
    node.guest_writes(3, "2M", "1M")
    node.done(node.live.merge("middle", NAME, DiskMerge("a", node.a, s1)))
    assert node.chain() == ["s2", "a"]
    if not isinstance(node.hypervisor, FakeLibvirt):  # which has no bytes, headers neither
        assert [one.file for one in node.chains.chain(s2)] == [s2, node.a]
    assert not node.chains.look(s2).merged
    node.done(node.live.merge("active", NAME, DiskMerge("a", node.a)))
    assert node.chains.look(s2).merged and not node.chains.look(node.a).merged, "which of the two is newer is written down"
    assert node.chain() == ["a"] and node.live.job(NAME, "a") is None
    node.guest_reads(1, "0", "2M")
    node.guest_reads(3, "2M", "1M")
    for task, merge in (("middle2", DiskMerge("a", node.a, s1)), ("active2", DiskMerge("a", node.a))):
        assert node.ended(node.live.merge(task, NAME, merge)).state == "done", "what is merged is merged"
    for number, overlay in enumerate((s1, s2)):
        node.done(node.disks.remove(f"gone-{number}", overlay, False))
    node.vms.destroy(NAME)
    if not isinstance(node.hypervisor, FakeLibvirt):
        node.holds(node.a, (1, 0, 2 * MIB), (3, 2 * MIB, MIB))
        assert node.done(node.disks.check("check", node.a, False)).result == {"errors": 0, "leaks": 0, "fixed": 0}


def test_a_snapshot_of_a_chosen_subset(node: LiveNode) -> None:
    b = node.create("vm/b", "raw")
    node.spec = replace(node.spec, disks=(*node.spec.disks, VmDisk(str(node.at(b)), "b", "raw")))
    node.start()
    (overlay,) = snapshot(node, "only-b", disk="b")
    assert node.chain("a") == ["a"] and node.chain("b") == ["only-b", "b"]
    again = VmSnapshot((DiskSnapshot("b", overlay),))
    node.tasks.forget("snap-only-b")
    assert node.ended(node.live.snapshot("snap-only-b", NAME, again)).state == "done", "it is so already"
    node.done(node.live.merge("back", NAME, DiskMerge("b", b)))
    assert node.chain("b") == ["b"]


def test_a_snapshot_that_cannot_be_leaves_everything_as_it_was(node: LiveNode) -> None:
    node.start()
    there = node.create("vm/there")
    good, other = DiskFile("data", "vm/good", "qcow2"), DiskFile("other", "x", "qcow2")
    wrong = {
        "disk.exists": VmSnapshot((DiskSnapshot("a", there),)),
        "vm.disk-unknown": VmSnapshot((DiskSnapshot("no", good),)),
        "vm.snapshot": VmSnapshot((DiskSnapshot("a", other),)),
        "vm.no-agent": VmSnapshot((DiskSnapshot("a", good),), quiesce="must"),
    }
    for expected, asked in wrong.items():
        assert failed(node, node.live.snapshot(f"t-{expected}", NAME, asked)) == expected
    assert failed(node, node.live.snapshot("empty", NAME, VmSnapshot(()))) == "vm.snapshot"
    assert failed(node, node.live.snapshot("nobody", "nobody", VmSnapshot((DiskSnapshot("a", good),)))) == "vm.unknown"
    assert node.chain() == ["a"] and not node.at(good).exists()
    assert failed(node, node.live.merge("merge", NAME, DiskMerge("a", there))) == "disk.chain"


def test_a_merge_is_waited_for_when_its_task_was_lost(node: LiveNode) -> None:
    node.start()
    node.guest_writes(1, "0", "1M")
    snapshot(node, "s1")
    node.guest_writes(2, "1M", "1M")
    found = node.domain().disk("a")
    assert found is not None
    node.hypervisor.block_commit(NAME, found.label, found.layers[0].name, found.layers[1].name, active=True)
    node.done(node.live.merge("merge", NAME, DiskMerge("a", node.a)))
    assert node.chain() == ["a"]
    node.guest_reads(2, "1M", "1M")


@pytest.mark.parametrize("node", ["fake"], indirect=True)  # QEMU copies 8 MiB before anybody can say stop
def test_a_merge_is_cancelled(node: LiveNode) -> None:
    node.start()
    snapshot(node, "s1")
    assert isinstance(node.hypervisor, FakeLibvirt)
    node.hypervisor.stuck = True
    assert node.live.merge("merge", NAME, DiskMerge("a", node.a)).state == "running"
    assert failed(node, node.tasks.cancel("merge")) == "task.cancelled"
    assert node.chain() == ["s1", "a"] and node.live.job(NAME, "a") is None


def test_a_snapshot_with_memory(node: LiveNode) -> None:
    node.start()
    memory = DiskFile("data", "vm/memory")
    snapshot(node, "s1", memory=memory)
    assert node.at(memory).exists() and node.chain() == ["s1", "a"]
    assert node.vms.vms()[0].power == "running"
    second = VmSnapshot((DiskSnapshot("a", DiskFile("data", "vm/s2", "qcow2")),), memory)
    assert failed(node, node.live.snapshot("second", NAME, second)) == "disk.exists"
    if not isinstance(node.hypervisor, FakeLibvirt):
        saved = LiveDomain(node.hypervisor.saved_xml(str(node.at(memory)))).disk("a")
        assert saved is not None and saved.path == str(node.at(node.a)), "it wakes with the disk as it was then"


def test_memory_goes_on_with_another_layer_over_what_it_wrote_to(node: LiveNode) -> None:
    """As a preview of a snapshot does it: what the snapshot keeps is not written."""
    node.start()
    node.guest_writes(1, "0", "1M")
    memory = DiskFile("data", "vm/memory")
    snapshot(node, "s1", memory=memory)
    node.guest_writes(2, "0", "2M")
    node.vms.destroy(NAME)
    branch = node.create("vm/branch", size=0, backing=node.a)
    disk, cd = node.spec.disks
    spec = replace(node.spec, disks=(replace(disk, path=str(node.at(branch)), format="qcow2"), cd))
    node.done(node.moves.wake("wake", spec, memory, True))
    assert node.vms.vms()[0].power == "paused"
    node.vms.resume(NAME)
    assert node.chain() == ["branch", "a"] or isinstance(node.hypervisor, FakeLibvirt)
    assert node.written() == str(node.at(branch)) and node.at(memory).exists()
    node.guest_reads(1, "0", "1M")
    node.guest_writes(3, "1M", "1M")
    node.vms.destroy(NAME)
    if not isinstance(node.hypervisor, FakeLibvirt):
        node.holds(branch, (1, 0, MIB), (3, MIB, MIB))
        node.holds(node.a, (1, 0, MIB), (0, MIB, MIB))
    without = replace(node.spec, disks=(cd,))
    assert failed(node, node.moves.wake("other", without, memory, True)) == "vm.saved-memory"
    assert node.vms.find(NAME) is None


def test_a_disk_grows_while_it_runs(node: LiveNode) -> None:
    node.start()
    node.live.resize(NAME, "a", 16 * MIB)
    node.live.resize(NAME, "a", 16 * MIB)
    assert node.one().disks[0].capacity_bytes == 16 * MIB
    assert code(lambda: node.live.resize(NAME, "a", 8 * MIB)) == "disk.shrink"
    assert code(lambda: node.live.resize(NAME, "no", 8 * MIB)) == "vm.disk-unknown"
