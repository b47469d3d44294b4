"""What VMs use, out of two measurements of their host: totals since their start, and rates between the two. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from appliance.model.vm_live import DiskStatistics, NicStatistics, VmStatistics

KIB = 1024
T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """All VMs of a host now, and ``between_s`` before (empty: they were not measured then)."""

    now: tuple[VmStatistics, ...]
    before: tuple[VmStatistics, ...] = ()
    between_s: float = 0.0


@dataclass(frozen=True)
class Value:
    """A number under oVirt's name. ``kind`` gauge or counter; ``unit`` as oVirt's; ``whole``: no decimals."""

    name: str
    text: str
    kind: str
    unit: str
    number: float
    whole: bool = False


def _by(identifier: Callable[[T], str], wanted: str, among: Iterable[T]) -> T | None:
    return next((one for one in among if identifier(one) == wanted), None)


def _rate(now: float, before: float | None, between_s: float) -> float:
    """A second; 0 where there is nothing to compare with, or it was started anew between."""
    return (now - before) / between_s if before is not None and between_s > 0 and now >= before else 0.0


def _pair(measured: Measured, vm_id: str) -> tuple[VmStatistics | None, VmStatistics | None]:
    return (
        _by(lambda one: one.id.lower(), vm_id, measured.now),
        _by(lambda one: one.id.lower(), vm_id, measured.before),
    )


def of_vm(measured: Measured, vm_id: str) -> tuple[Value, ...]:
    """A VM's memory and CPU. What only a guest with a balloon driver knows is left out where it does not tell."""
    now, before = _pair(measured, vm_id)
    if now is None:
        return ()
    # of one CPU to that of all that it has, as oVirt's
    percent = 100.0 / max(1, now.cpus)
    total = percent * _rate(now.cpu_time_s, before.cpu_time_s if before else None, measured.between_s)
    own = percent * _rate(
        now.cpu_user_s + now.cpu_system_s, before.cpu_user_s + before.cpu_system_s if before else None, measured.between_s
    )
    guest = () if not now.memory_available_kib else (
        Value("memory.used", "Memory used (agent)", "gauge", "bytes",
              float(max(0, now.memory_available_kib - now.memory_usable_kib) * KIB), whole=True),
        Value("memory.free", "Memory free (agent)", "gauge", "bytes", float(now.memory_unused_kib * KIB), whole=True),
    )  # fmt: skip
    return (
        *guest,
        Value("cpu.current.total", "Total CPU used", "gauge", "percent", round(total, 2)),
        Value("cpu.current.guest", "CPU used by guest", "gauge", "percent", round(max(0.0, total - own), 2)),
        Value("cpu.current.hypervisor", "CPU overhead", "gauge", "percent", round(min(own, total), 2)),
    )


def of_nic(measured: Measured, vm_id: str, mac: str) -> tuple[Value, ...]:
    """What goes through a NIC, as its guest sees the directions."""
    now, before = _pair(measured, vm_id)

    def nic(vm: VmStatistics | None) -> NicStatistics | None:
        return _by(lambda one: one.mac.lower(), mac.lower(), vm.nics) if vm else None

    here, was = nic(now), nic(before)
    if here is None:
        return ()
    rx = _rate(here.received_bytes, was.received_bytes if was else None, measured.between_s)
    tx = _rate(here.sent_bytes, was.sent_bytes if was else None, measured.between_s)
    return (
        Value("data.current.rx", "Receive data rate", "gauge", "bytes_per_second", round(rx, 1)),
        Value("data.current.tx", "Transmit data rate", "gauge", "bytes_per_second", round(tx, 1)),
        Value("data.current.rx.bps", "Receive data rate", "gauge", "bits_per_second", round(8 * rx, 1)),
        Value("data.current.tx.bps", "Transmit data rate", "gauge", "bits_per_second", round(8 * tx, 1)),
        Value("errors.total.rx", "Total received errors", "counter", "none", float(here.received_errors), whole=True),
        Value("errors.total.tx", "Total transmitted errors", "counter", "none", float(here.sent_errors), whole=True),
        Value("data.total.rx", "Total received data", "counter", "bytes", float(here.received_bytes), whole=True),
        Value("data.total.tx", "Total transmitted data", "counter", "bytes", float(here.sent_bytes), whole=True),
    )


def of_disk(measured: Measured, disk_id: str) -> tuple[Value, ...]:
    """What goes through a disk, in whichever VM of the host it is; latencies are means between the measurements."""

    def disk(vms: Iterable[VmStatistics]) -> DiskStatistics | None:
        return next((one for vm in vms for one in vm.disks if one.disk == disk_id), None)

    now, was = disk(measured.now), disk(measured.before)
    if now is None:
        return ()

    def latency(times: Callable[[DiskStatistics], float], requests: Callable[[DiskStatistics], int]) -> float:
        done = requests(now) - (requests(was) if was else 0)
        return round((times(now) - (times(was) if was else 0.0)) / done, 6) if done > 0 else 0.0

    rate_read = _rate(now.read_bytes, was.read_bytes if was else None, measured.between_s)
    rate_write = _rate(now.write_bytes, was.write_bytes if was else None, measured.between_s)
    reading = latency(lambda one: one.read_time_s, lambda one: one.read_requests)
    writing = latency(lambda one: one.write_time_s, lambda one: one.write_requests)
    flushing = latency(lambda one: one.flush_time_s, lambda one: one.flush_requests)
    return (
        Value("data.current.read", "Read data rate", "gauge", "bytes_per_second", round(rate_read, 1)),
        Value("data.current.write", "Write data rate", "gauge", "bytes_per_second", round(rate_write, 1)),
        Value("disk.read.latency", "Disk read latency", "gauge", "seconds", reading),
        Value("disk.write.latency", "Disk write latency", "gauge", "seconds", writing),
        Value("disk.flush.latency", "Disk flush latency", "gauge", "seconds", flushing),
    )
