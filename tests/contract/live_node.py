"""A node with a libvirt (fake or real) and a VM on it, as the contract of running VMs needs it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import libvirt_qemu
import pytest

from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from appliance.errors import TrivetError
from appliance.fakes.libvirt import FakeLibvirt
from appliance.model.task import TaskState
from appliance.model.vm import VmDisk, VmNic, VmSpec
from appliance.model.vm_live import VmStatistics
from appliance.model.vm_parts import CpuLayout, Graphics, MemoryLayout
from appliance.ports import Hypervisor
from appliance.tools.live_xml import LiveDomain
from appliance.verbs.vm_backups import VmBackups
from appliance.verbs.vm_devices import VmDevices
from appliance.verbs.vm_disks import VmDisks
from appliance.verbs.vm_mirrors import VmMirrors
from appliance.verbs.vm_moves import VmMoves
from appliance.verbs.vms import VmVerbs
from tests.contract.disk_node import Node

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
        self.mirrors = VmMirrors(self.root, hypervisor, processes, clock, self.tasks, self.chains, owner=os.geteuid())
        # a socket's name has 107 characters: not below the node's own root
        self.nbd = folder.parent / "nbd"
        self.backups = VmBackups(
            self.root, hypervisor, processes, clock, self.chains, owner=os.geteuid(), group=os.getegid(), nbd=self.nbd
        )
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

    def guest_flushes(self, disk: str = "a") -> None:
        """What it wrote is to last from now on."""
        self._guest("flush", disk)

    def kill_qemu(self) -> None:
        """Its QEMU is told to be gone at once, as with its host: it writes nothing more, and says nothing."""
        if isinstance(self.hypervisor, FakeLibvirt):
            self.hypervisor.vanish(NAME)
            return
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended meanwhile
            if f"guest={NAME},".encode() in command and str(self.places["data"]).encode() in command:
                os.kill(int(folder.name), signal.SIGKILL)

    def kill(self) -> None:
        """… and libvirt has noticed."""
        self.kill_qemu()
        end_s = time.monotonic() + 60.0
        while any(one.name == NAME and one.power != "crashed" for one in self.vms.vms()):
            assert time.monotonic() < end_s, "libvirt has not noticed that its QEMU is gone"
            time.sleep(0.1)

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


def code(call: Callable[[], object]) -> str:
    with pytest.raises(TrivetError) as caught:
        call()
    assert caught.value.subject and caught.value.reason and caught.value.remedy
    return caught.value.code


def failed(node: LiveNode, state: TaskState) -> str:
    state = node.ended(state)
    assert state.state in ("failed", "cancelled") and state.error is not None, state
    return state.error.code
