"""One contract for running VMs: the fake libvirt, and QEMU 10 under a libvirtd of its own, in a machine that finds nothing
to boot. The verbs are the agent's; the disks are real files under both."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import libvirt_qemu
import pytest

from appliance.effects.clock import SystemClock
from appliance.effects.libvirt_host import LibvirtHost
from appliance.effects.process import SystemProcesses
from appliance.errors import TrivetError
from appliance.fakes.libvirt import FakeLibvirt
from appliance.model.disk import DiskFile
from appliance.model.task import TaskState
from appliance.model.vm import VmDisk, VmNic, VmSpec
from appliance.model.vm_live import DiskMerge, DiskSnapshot, MigrationLimits, VmSnapshot, VmStatistics
from appliance.model.vm_parts import CpuLayout, Graphics, MemoryLayout
from appliance.ports import Hypervisor
from appliance.tools.live_xml import LiveDomain
from appliance.verbs import vm_devices
from appliance.verbs.vm_devices import VmDevices
from appliance.verbs.vm_disks import VmDisks
from appliance.verbs.vm_moves import VmMoves
from appliance.verbs.vms import VmVerbs
from tests.contract.disk_node import MIB, Node
from tests.contract.qemu_host import qemu_host

NAME = "contract-live"
MAC = "56:6f:00:00:00:01"


class LiveNode(Node):
    """A node with a libvirt and one VM: disk ``a`` (qcow2, virtio-scsi), drive ``cd``, a NIC, a screen, room to grow."""

    def __init__(self, folder: Path, hypervisor: Hypervisor) -> None:
        super().__init__(folder)
        clock, self.hypervisor = SystemClock(), hypervisor
        self.vms = VmVerbs(hypervisor, accelerated=lambda: False)
        self.devices = VmDevices(hypervisor, clock)
        self.moves = VmMoves(hypervisor, clock, self.tasks, self.chains, owner=os.geteuid())
        processes = SystemProcesses()
        self.live = VmDisks(self.root, hypervisor, processes, clock, self.tasks, self.chains, owner=os.geteuid())
        self.a = self.create("vm/a")
        self.spec = VmSpec(
            id="5b1f4c1e-0000-4c4e-8b0e-0d5f7a1c2b3d",
            name=NAME,
            memory_mib=128,
            cpus=1,
            cpu_model="Nehalem",
            disks=(VmDisk(str(self.at(self.a)), "a", "qcow2"), VmDisk("", "cd", bus="cdrom")),
            nics=(VmNic("br-one", MAC),),
            cpu=CpuLayout(maximum=2),
            memory=MemoryLayout(maximum_mib=512, guaranteed_mib=64),
            graphics=Graphics("127.0.0.1"),
            hotplug_ports=2,
        )

    def start(self, paused: bool = False) -> None:
        self.vms.start(self.spec, paused)

    def domain(self) -> LiveDomain:
        return LiveDomain(self.hypervisor.domain_xml(NAME))

    def written(self, disk: str = "a") -> str:
        found = self.domain().disk(disk)
        assert found is not None
        return found.path

    def chain(self, disk: str = "a") -> list[str]:
        found = self.domain().disk(disk)
        assert found is not None
        return [Path(layer.path).name for layer in found.layers]

    def guest_writes(self, byte: int, offset: str, length: str, disk: str = "a") -> None:
        """As the guest would: through QEMU's own block layer. The fake has no bytes."""
        self._guest(f"write -P {byte} {offset} {length}", disk)

    def guest_reads(self, byte: int, offset: str, length: str, disk: str = "a") -> None:
        said = self._guest(f"read -P {byte} {offset} {length}", disk)
        assert "verification failed" not in said and "error" not in said.lower(), said

    def _guest(self, command: str, disk: str) -> str:
        if isinstance(self.hypervisor, FakeLibvirt):
            return ""
        found = self.domain().disk(disk)
        assert found is not None
        alias = found.element.find("alias")
        assert alias is not None
        with_libvirt: Callable[..., object] = self.hypervisor._ask  # type: ignore[attr-defined]
        order = f'qemu-io -d {alias.get("name")} "{command}"'
        said = with_libvirt(
            lambda wire: libvirt_qemu.qemuMonitorCommand(
                wire.lookupByName(NAME), order, libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
            ),
            20.0,
        )
        return str(said)

    def one(self) -> VmStatistics:
        (found,) = [one for one in self.hypervisor.statistics() if one.name == NAME]
        return found

    def ended(self, state: TaskState, limit_s: float = 30.0) -> TaskState:
        end_s = time.monotonic() + limit_s
        while not state.ended:
            assert time.monotonic() < end_s, state
            time.sleep(0.05)
            state = self.tasks.state(state.id)
        return state


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    from image.build import Builder, Quiet

    tree = Builder(SystemProcesses(), SystemClock(), Quiet(), os.environ).tools()
    folder = tmp_path_factory.mktemp("qemu")
    with qemu_host(tree, folder) as uri:
        yield uri, folder / "disks"


@pytest.fixture(params=["fake", pytest.param("qemu", marks=[pytest.mark.images, pytest.mark.timeout(600)])])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveNode]:
    if request.param == "fake":
        yield LiveNode(tmp_path, FakeLibvirt())
        return
    uri, folder = request.getfixturevalue("real")
    node = LiveNode(folder / tmp_path.name, LibvirtHost(uri))
    try:
        yield node
    finally:
        node.vms.destroy(NAME)
    assert node.left() == []


def code(call: Callable[[], object]) -> str:
    with pytest.raises(TrivetError) as caught:
        call()
    assert caught.value.subject and caught.value.reason and caught.value.remedy
    return caught.value.code


def failed(node: LiveNode, state: TaskState) -> str:
    state = node.ended(state)
    assert state.state in ("failed", "cancelled") and state.error is not None, state
    return state.error.code


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
    node.vms.shutdown(NAME)
    node.vms.destroy(NAME)
    for act in (node.vms.pause, node.vms.reset, node.vms.reboot, node.hypervisor.domain_xml, node.hypervisor.guest):
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


def test_cpus_and_memory_grow(node: LiveNode) -> None:
    node.start()
    assert (node.one().cpus, node.one().cpus_maximum) == (1, 2)
    node.devices.set_cpus(NAME, 2)
    node.devices.set_cpus(NAME, 2)
    assert node.domain().cpus == (2, 2)
    assert code(lambda: node.devices.set_cpus(NAME, 3)) == "vm.cpus"
    assert node.devices.set_memory(NAME, 300) == 384, "in pieces of 128 MiB"
    assert node.devices.set_memory(NAME, 300) == 384
    assert node.devices.set_memory(NAME, 100) == 384, "the balloon takes, nothing is plugged out"
    for wrong in (0, 63, 513):
        assert code(lambda wrong=wrong: node.devices.set_memory(NAME, wrong)) == "vm.memory"


def test_a_ticket_opens_the_screen(node: LiveNode) -> None:
    node.start()
    before_s = time.time()
    ticket = node.devices.set_ticket(NAME, "abcd1234", 120.0)
    assert ticket.address == "127.0.0.1" and before_s + 119 < ticket.expires_wall_s < time.time() + 121
    assert node.devices.set_ticket(NAME, "", 0).expires_wall_s == 0
    assert code(lambda: node.devices.set_ticket(NAME, "123456789", 1)) == "vm.ticket"
    node.vms.destroy(NAME)
    node.vms.start(replace(node.spec, graphics=None), False)
    assert code(lambda: node.devices.set_ticket(NAME, "abc", 1)) == "vm.no-screen"


# what it says


def test_statistics_and_guest(node: LiveNode) -> None:
    node.start()
    found = node.one()
    assert (found.id, found.memory_maximum_kib) == (node.spec.id, 128 * 1024)
    assert {disk.disk: disk.path for disk in found.disks} == {"a": str(node.at(node.a)), "cd": ""}
    assert [nic.mac for nic in found.nics] == [MAC]
    assert not node.hypervisor.guest(NAME).agent


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
    node.done(node.live.merge("active", NAME, DiskMerge("a", node.a)))
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


def test_a_disk_grows_while_it_runs(node: LiveNode) -> None:
    node.start()
    node.live.resize(NAME, "a", 16 * MIB)
    node.live.resize(NAME, "a", 16 * MIB)
    assert node.one().disks[0].capacity_bytes == 16 * MIB
    assert code(lambda: node.live.resize(NAME, "a", 8 * MIB)) == "disk.shrink"
    assert code(lambda: node.live.resize(NAME, "no", 8 * MIB)) == "vm.disk-unknown"


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
