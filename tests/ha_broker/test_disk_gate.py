"""The gate before QEMU's image lock, on a local file: OFD locks of two handles conflict within one process, too."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.errors import Conflict
from appliance.model.vm import VmSpec
from ha_broker.effects.disk_gate import F_OFD_SETLK, FLOCK, DiskGate, GatedEngineVm
from ha_broker.engine_vm import vm_spec
from ha_broker.state import LocalVm, QemuProcess
from tests.ha_broker.test_effects import CLUSTER


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "data.raw"
    path.write_bytes(bytes(4096))
    return path


@contextmanager
def qemu(disk: Path) -> Iterator[None]:
    """Somebody who holds the locks that QEMU holds on an image it writes: shared ones."""
    handle = os.open(disk, os.O_RDWR)
    for byte in (101, 103, 201):
        fcntl.fcntl(handle, F_OFD_SETLK, FLOCK.pack(fcntl.F_RDLCK, 0, byte, 1, 0))
    yield
    os.close(handle)


def test_a_free_disk_lets_one_through_at_a_time_and_qemu_inside(disk: Path) -> None:
    gate = DiskGate(disk)
    with gate.passed():
        with qemu(disk):
            pass  # the locks it takes are not in its way
        with pytest.raises(Conflict, match="another host is starting") as told, DiskGate(disk).passed():
            pass
        assert told.value.code == "vm.disk-locked"
    with gate.passed():
        pass


def test_a_holder_on_any_brick_keeps_the_gate_shut_and_leaves_nothing_locked(disk: Path) -> None:
    with qemu(disk), pytest.raises(Conflict, match="has it open") as told, DiskGate(disk).passed():
        pass
    assert told.value.code == "vm.disk-locked"
    with DiskGate(disk).passed():
        pass


def test_a_missing_disk_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), DiskGate(tmp_path / "no").passed():
        pass


class _Inner:
    def __init__(self, disk: Path) -> None:
        self.disk = disk
        self.power = LocalVm("off")
        self.done: list[str] = []

    def engine_vm(self) -> LocalVm:
        return self.power

    def qemu_process(self) -> QemuProcess:
        return QemuProcess("runs", 7)

    def start_paused(self, spec: VmSpec) -> int:
        with pytest.raises(Conflict), DiskGate(self.disk).passed():
            self.done.append("not inside the gate")
        self.done.append("start")
        return 7

    def resume(self) -> None:
        self.done.append("resume")

    def destroy(self) -> None:
        self.done.append("destroy")

    def shutdown(self) -> None:
        self.done.append("shutdown")

    def migrate(self, target: str) -> None:
        self.done.append(f"migrate {target}")


def test_only_a_start_passes_the_gate(disk: Path) -> None:
    inner = _Inner(disk)
    vm = GatedEngineVm(inner, DiskGate(disk))
    spec = vm_spec(CLUSTER, "/images/e.raw")
    assert vm.start_paused(spec) == 7
    vm.resume()
    vm.migrate("node2")
    vm.shutdown()
    vm.destroy()
    assert inner.done == ["start", "resume", "migrate node2", "shutdown", "destroy"]
    with qemu(disk), pytest.raises(Conflict):
        vm.start_paused(spec)


def test_a_vm_that_is_here_already_is_told_by_the_verb_not_by_its_own_lock(disk: Path) -> None:
    inner = _Inner(disk)
    inner.power = LocalVm("paused", 7)
    vm = GatedEngineVm(inner, DiskGate(disk))
    inner.start_paused = lambda spec: 8  # type: ignore[method-assign]
    with qemu(disk):
        assert vm.start_paused(vm_spec(CLUSTER, "/images/e.raw")) == 8
