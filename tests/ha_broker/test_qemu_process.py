"""A QEMU that stands still, as a process: real children that are really stopped, in the place of QEMU."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance.errors import Failed, TrivetError, Unavailable
from appliance.fakes.libvirt import FakeLibvirt
from appliance.model.vm import VmSpec, VmState
from appliance.tools.domain_xml import domain_xml
from appliance.verbs.vms import VmVerbs
from ha_broker import limits
from ha_broker.act import destroy
from ha_broker.effects import qemu_process
from ha_broker.effects.libvirt_vm import LibvirtEngineVm
from ha_broker.effects.qemu_process import EngineProcess
from ha_broker.effects.threads import drive
from ha_broker.effects.waking import Waking
from ha_broker.engine_vm import vm_spec
from ha_broker.ports import Ports
from ha_broker.state import LocalVm, QemuProcess
from tests.ha_broker.test_effects import CLUSTER

CALLED_QEMU = """
import pathlib, time
pathlib.Path("/proc/self/comm").write_text("qemu-system-x86")
print("ready", flush=True)
time.sleep(60)
"""
SPEC = vm_spec(CLUSTER, "/images/e.raw")


@dataclass
class Node:
    """A node's folder of process numbers, and children that stand there for QEMU."""

    folder: Path
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def qemu(self, guest: str = "guest=HostedEngine,debug-threads=on", program: str = CALLED_QEMU) -> subprocess.Popen[str]:
        """A process with QEMU's name and words, and its number where libvirt leaves it."""
        command = [sys.executable, "-c", program, "-name", guest]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        self.children.append(child)
        (self.folder / "HostedEngine.pid").write_text(str(child.pid))
        return child

    def stopped(self) -> subprocess.Popen[str]:
        """One that stands still."""
        child = self.qemu()
        child.send_signal(signal.SIGSTOP)
        end_s = time.monotonic() + 10
        while self.process.look().state != "stopped":
            assert time.monotonic() < end_s
            time.sleep(0.01)
        return child

    @property
    def process(self) -> EngineProcess:
        return EngineProcess(self.folder)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    for child in made.children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def test_what_the_kernel_says_of_it(node: Node) -> None:
    assert node.process.look() == QemuProcess("none"), "no number"
    child = node.qemu()
    assert node.process.look() == QemuProcess("runs", child.pid)
    child.send_signal(signal.SIGSTOP)
    while node.process.look() != QemuProcess("stopped", child.pid):
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert node.process.look() == QemuProcess("none"), "its number is still there, it is not"


def test_a_number_that_is_anothers_by_now_is_no_qemu(node: Node) -> None:
    (node.folder / "HostedEngine.pid").write_text("1")
    assert node.process.look() == QemuProcess("none")
    (node.folder / "HostedEngine.pid").write_text("qemu")
    assert node.process.look() == QemuProcess("none")


def test_a_stopped_process_is_killed_and_gone(node: Node) -> None:
    child = node.stopped()
    node.process.kill()
    assert child.wait(0.5) == -signal.SIGKILL
    node.process.kill()  # none there: as asked


def test_another_vms_qemu_is_never_killed(node: Node) -> None:
    for guest in ("guest=HostedEngine2,debug-threads=on", "guest=TrivetWarmVM"):
        child = node.qemu(guest)
        node.process.kill()
        assert child.poll() is None, guest


def test_a_process_that_the_kernel_does_not_let_go_is_told(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    child = node.qemu()
    monkeypatch.setattr(limits, "GONE_S", 0.05)
    monkeypatch.setattr(qemu_process.signal, "pidfd_send_signal", lambda *_: None)
    with pytest.raises(Failed) as told:
        node.process.kill()
    assert told.value.code == "vm.process-stuck"
    assert str(child.pid) in told.value.subject


class Hanging:
    """libvirt while a QEMU stands still: no call comes back before ``released``, and nothing is known of the VM."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def find(self, name: str) -> VmState | None:
        raise Unavailable("libvirt.deadline", subject="libvirt", reason="did not answer within 4 s", remedy="Look.")

    def destroy(self, name: str) -> None:
        self.released.wait(30)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AssertionError(name)


def test_destroying_ends_a_qemu_that_stands_still_whatever_libvirt_does(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ENDING_S", 0.2)
    for child in (node.stopped(), node.qemu()):
        (node.folder / "HostedEngine.pid").write_text(str(child.pid))
        verbs = Hanging()
        vm = LibvirtEngineVm(verbs, node.process)
        began_s = time.monotonic()
        left = drive(destroy(cast(Ports, SimpleNamespace(hypervisor=vm))))
        assert child.wait(1) == -signal.SIGKILL
        assert time.monotonic() - began_s < 5
        assert left == LocalVm("unknown", error="libvirt: did not answer within 4 s. Look.")
        assert vm.qemu_process() == QemuProcess("none")
        verbs.released.set()


def test_a_stopped_qemu_is_killed_before_libvirt_asks_it_politely(node: Node) -> None:
    child = node.stopped()

    class Watching(Hanging):
        def destroy(self, name: str) -> None:
            assert child.wait(1) == -signal.SIGKILL, "libvirt only tidies up"

    LibvirtEngineVm(Watching(), node.process).destroy()


def test_a_qemu_that_libvirt_can_end_is_left_to_it(node: Node) -> None:
    child, asked = node.qemu(), []

    class Well(Hanging):
        def destroy(self, name: str) -> None:
            asked.append(name)

    LibvirtEngineVm(Well(), node.process).destroy()
    assert asked == ["HostedEngine"]
    assert child.poll() is None


def test_a_restore_that_hangs_is_ended_with_its_process_and_the_boot_is_cold(node: Node) -> None:
    """libvirt's fake gives the restore up; its QEMU is a real child that stands still."""
    child, libvirt = node.stopped(), FakeLibvirt()
    libvirt.fail["restore"] = Unavailable("libvirt.deadline", subject="libvirt", reason="no end within 12 s", remedy="-")
    libvirt.saved["/warm/one"] = domain_xml(SPEC, accelerated=False)
    tried: list[TrivetError] = []

    class Hangs:
        def wake(self, spec: VmSpec, verb: Callable[[VmSpec, str], VmState], end: Callable[[], None]) -> VmState | None:
            with pytest.raises(Unavailable) as told:
                verb(spec, "/warm/one")
            tried.append(told.value)
            assert child.wait(1) == -signal.SIGKILL, "nothing is left of the restore before the cold boot"
            return None

    verbs = VmVerbs(libvirt, accelerated=lambda: False)
    vm = LibvirtEngineVm(verbs, node.process, cast(Waking, Hangs()))
    assert vm.start_paused(SPEC) == libvirt.pid
    assert [error.code for error in tried] == ["libvirt.deadline"]
    assert vm.engine_vm().power == "paused"
