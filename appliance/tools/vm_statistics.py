"""libvirt's bulk statistics of a VM (``virsh domstats``) as ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.model.vm_live import DiskStatistics, NicStatistics, VmStatistics
from appliance.tools.live_xml import DeviceNames

_NS = 1e-9


def vm_statistics(vm_id: str, name: str, numbers: Mapping[str, Any], names: DeviceNames) -> VmStatistics:
    """One VM. Disks and NICs that ``names`` does not know have come or gone this moment, and are left out."""

    def number(key: str) -> int:
        return int(numbers.get(key, 0))

    return VmStatistics(
        id=vm_id,
        name=name,
        cpu_time_s=number("cpu.time") * _NS,
        cpu_user_s=number("cpu.user") * _NS,
        cpu_system_s=number("cpu.system") * _NS,
        cpus=number("vcpu.current"),
        cpus_maximum=number("vcpu.maximum"),
        memory_kib=number("balloon.current"),
        memory_maximum_kib=number("balloon.maximum"),
        memory_rss_kib=number("balloon.rss"),
        memory_unused_kib=number("balloon.unused"),
        memory_usable_kib=number("balloon.usable"),
        memory_available_kib=number("balloon.available"),
        swap_in_kib=number("balloon.swap_in"),
        swap_out_kib=number("balloon.swap_out"),
        disks=tuple(
            _disk(names.disks[label], numbers, f"block.{index}.")
            for index in range(number("block.count"))
            if (label := str(numbers.get(f"block.{index}.name"))) in names.disks
        ),
        nics=tuple(
            _nic(names.nics[label], numbers, f"net.{index}.")
            for index in range(number("net.count"))
            if (label := str(numbers.get(f"net.{index}.name"))) in names.nics
        ),
    )


def _disk(serial: str, numbers: Mapping[str, Any], prefix: str) -> DiskStatistics:
    def number(key: str) -> int:
        return int(numbers.get(prefix + key, 0))

    return DiskStatistics(
        disk=serial,
        path=str(numbers.get(f"{prefix}path", "")),
        read_bytes=number("rd.bytes"),
        read_requests=number("rd.reqs"),
        read_time_s=number("rd.times") * _NS,
        write_bytes=number("wr.bytes"),
        write_requests=number("wr.reqs"),
        write_time_s=number("wr.times") * _NS,
        flush_requests=number("fl.reqs"),
        flush_time_s=number("fl.times") * _NS,
        allocation_bytes=number("allocation"),
        capacity_bytes=number("capacity"),
        physical_bytes=number("physical"),
    )


def _nic(mac: str, numbers: Mapping[str, Any], prefix: str) -> NicStatistics:
    def number(key: str) -> int:
        return int(numbers.get(prefix + key, 0))

    return NicStatistics(
        mac=mac,
        received_bytes=number("rx.bytes"),
        received_packets=number("rx.pkts"),
        received_errors=number("rx.errs"),
        received_drops=number("rx.drop"),
        sent_bytes=number("tx.bytes"),
        sent_packets=number("tx.pkts"),
        sent_errors=number("tx.errs"),
        sent_drops=number("tx.drop"),
    )
