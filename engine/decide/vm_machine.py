"""From a VM's definition to the machine of a host. Pure: v4's attributes in, :class:`appliance.model.vm.VmSpec` out.

A VM is called by its id on its host: names change and are used again, and the follower must never take one VM for another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from appliance import layout
from appliance.model.vm import DiskBus, VmDisk, VmNic, VmSpec
from appliance.model.vm_parts import Console, CpuLayout, CpuPin, Graphics, MemoryLayout, Rng, Watchdog
from engine.decide.mac import address_of
from engine.decide.serial_console import has_console
from engine.decide.vm_growth import most_memory, most_sockets

MIB = 1024**2
DRIVE = "cd"
"""The serial of the CD drive that every machine has."""
SEED_DRIVE = "seed"
"""Of the drive with cloud-init's CD."""
ANYWHERE = "0.0.0.0"  # noqa: S104 - the screen moves with its VM, so it listens where every node has an address; tickets shut it
BUSES: Mapping[str, DiskBus] = {"virtio_scsi": "scsi", "virtio": "virtio", "sata": "sata", "ide": "ide"}
"""v4's words of a disk's interface, and ours."""
Model = Literal["virtio", "e1000", "e1000e", "rtl8139"]
MODELS: Mapping[str, Model] = {
    "virtio": "virtio", "e1000": "e1000", "e1000e": "e1000e", "rtl8139": "rtl8139", "rtl8139_virtio": "virtio",
}  # fmt: skip
CPU_NAMES: Mapping[str, str] = {
    "Skylake Client": "Skylake-Client", "Skylake Server": "Skylake-Server", "Cascadelake Server": "Cascadelake-Server",
    "Icelake Server": "Icelake-Server", "Opteron G4": "Opteron_G4", "Opteron G5": "Opteron_G5",
}  # fmt: skip
"""Cluster CPU types whose names differ from libvirt's."""
HOTPLUG_PORTS = 4
"""Devices that can be plugged in while a q35 runs, beyond virtio-scsi disks: each port is a bridge more for the firmware."""
WATCHDOG = "trivet_watchdog"
"""In the body: ``model`` and ``action`` of its watchdog."""
WATCHDOGS = ("i6300esb",)
"""Models that both machines have; v4's other one is of S390."""
Reaction = Literal["reset", "poweroff", "pause", "none", "dump"]
REACTIONS: Mapping[str, Reaction] = {
    "reset": "reset", "poweroff": "poweroff", "pause": "pause", "none": "none", "dump": "dump",
}  # fmt: skip
UTC = ("", "Etc/GMT", "UTC", "Etc/UTC", "GMT")
BOOTS = ("hd", "cdrom", "network")


@dataclass(frozen=True)
class DiskPart:
    """A disk of the VM. ``path`` absolute on the hosts; ``attachment`` and ``disk`` are v4's attributes."""

    id: str
    path: str
    attachment: Mapping[str, Any] = field(default_factory=dict)
    disk: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NicPart:
    """A NIC on a bridge (empty: on none)."""

    bridge: str
    nic: Mapping[str, Any] = field(default_factory=dict)
    mtu: int = 0


def machine(
    vm_id: str,
    body: Mapping[str, Any],
    cluster: Mapping[str, Any],
    disks: Sequence[DiskPart],
    nics: Sequence[NicPart],
    cd_path: str = "",
    *,
    seed_path: str = "",
    has_screen: bool = True,
) -> VmSpec:
    """The machine. ``cluster``: the attributes of its cluster, which say what a VM leaves open. ``seed_path``: cloud-init's
    CD, in a second drive that is there only with it."""
    boots = tuple((body.get("os") or {}).get("boot", {}).get("devices") or ("hd",))
    firmware = str((body.get("bios") or {}).get("type") or "cluster_default")
    if firmware == "cluster_default":
        firmware = str(cluster.get("bios_type") or "q35_sea_bios")
    is_pc = firmware == "i440fx_sea_bios"
    memory_mib = int(body.get("memory") or 0) // MIB
    drives = (*(disk_of(one) for one in disks), VmDisk(cd_path, DRIVE, bus="cdrom", read_only=True))
    if seed_path:
        drives = (*drives, VmDisk(seed_path, SEED_DRIVE, bus="cdrom", read_only=True))
    cards = tuple(nic_of(one) for one in nics)
    drives, cards = in_order(boots, drives, cards, {one.id for one in disks if one.attachment.get("bootable")})
    return VmSpec(
        vm_id,
        vm_id,
        memory_mib,
        cpus_of(body)[3],
        cpu_model(body, cluster),
        drives,
        cards,
        firmware="uefi" if firmware in ("q35_ovmf", "q35_secure_boot") else "bios",
        secure_boot=firmware == "q35_secure_boot",
        machine=str(body.get("custom_emulated_machine") or ("pc" if is_pc else "q35")),
        cpu=cpu_layout(body),
        memory=memory_layout(body, memory_mib),
        graphics=Graphics(ANYWHERE, keymap=str((body.get("display") or {}).get("keyboard_layout") or ""))
        if has_screen
        else None,
        console=Console(log=str(layout.CONSOLE_LOGS / f"{vm_id}.log")) if has_console(body) else None,
        rng=rng_of(body),
        watchdog=watchdog_of(body),
        time_zone=time_zone(body),
        smbios_serial=serial(body),
        hotplug_ports=0 if is_pc else HOTPLUG_PORTS,
    )


def watchdog_of(body: Mapping[str, Any]) -> Watchdog | None:
    """Its watchdog, if it has one."""
    wanted = body.get(WATCHDOG)
    return Watchdog(action=REACTIONS.get(str(wanted["action"]), "reset")) if wanted else None


def cpus_of(body: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Sockets, cores, threads, and all together."""
    topology = (body.get("cpu") or {}).get("topology") or {}
    sockets, cores, threads = (int(topology.get(name) or 1) for name in ("sockets", "cores", "threads"))
    return sockets, cores, threads, sockets * cores * threads


def cpu_layout(body: Mapping[str, Any]) -> CpuLayout:
    """Topology with the places of sockets that can be plugged in, pins and shares."""
    sockets, cores, threads = most_sockets(body), *cpus_of(body)[1:3]
    tune = (body.get("cpu") or {}).get("cpu_tune") or {}
    pins = tuple(
        CpuPin(int(one["vcpu"]), str(one["cpu_set"]))
        for one in tune.get("vcpu_pins") or ()
        if one.get("cpu_set") is not None
    )
    return CpuLayout(sockets * cores * threads, sockets, cores, threads, pins, int(body.get("cpu_shares") or 0))


def memory_layout(body: Mapping[str, Any], memory_mib: int) -> MemoryLayout:
    """How memory may grow and shrink while it runs."""
    policy = body.get("memory_policy") or {}
    guaranteed_mib = min(memory_mib, int(policy.get("guaranteed") or 0) // MIB)
    most_mib = most_memory(body) // MIB
    return MemoryLayout(
        maximum_mib=most_mib if most_mib > memory_mib else 0,
        guaranteed_mib=guaranteed_mib,
        ballooning=policy.get("ballooning") is not False,
    )


def cpu_model(body: Mapping[str, Any], cluster: Mapping[str, Any]) -> str:
    """libvirt's name of the CPU: the VM's own, else that of the cluster's type, else what every host can run."""
    if (body.get("cpu") or {}).get("mode") == "host_passthrough":
        return "host-passthrough"
    if body.get("custom_cpu_model"):
        return str(body["custom_cpu_model"])
    kind = str((cluster.get("cpu") or {}).get("type") or "").removeprefix("Secure ").removesuffix(" Family")
    kind = kind.removeprefix("Intel ").removeprefix("AMD ")
    return CPU_NAMES.get(kind, kind) or layout.GUEST_CPU_MODEL


def disk_of(part: DiskPart) -> VmDisk:
    """One disk. Its serial is its id: the guest finds it by that, and so do the verbs."""
    attachment, disk = part.attachment, part.disk
    return VmDisk(
        part.path,
        part.id,
        format="qcow2" if disk.get("format") == "cow" else "raw",
        bus=BUSES.get(str(attachment.get("interface") or "virtio_scsi"), "scsi"),
        read_only=bool(attachment.get("read_only")),
        shareable=bool(disk.get("shareable")),
        discard=bool(attachment.get("pass_discard")),
        on_error="report" if disk.get("propagate_errors") else "stop",
    )


def nic_of(part: NicPart) -> VmNic:
    """One NIC."""
    nic = part.nic
    return VmNic(
        part.bridge,
        address_of(nic),
        model=MODELS.get(str(nic.get("interface") or "virtio"), "virtio"),
        link_up=nic.get("linked") is not False,
        mtu=part.mtu,
    )


def in_order(
    boots: Sequence[str], disks: tuple[VmDisk, ...], nics: tuple[VmNic, ...], bootable: set[str]
) -> tuple[tuple[VmDisk, ...], tuple[VmNic, ...]]:
    """Disks and NICs with their turn at booting. Of the disks the one that is said to be bootable, else the first."""
    hard = [one.serial for one in disks if one.bus != "cdrom"]
    first = [one for one in hard if one in bootable] or hard[:1]
    turns: dict[str, int] = {}
    for device in boots:
        names = {"hd": first, "cdrom": [DRIVE], "network": [one.mac for one in nics]}.get(device, [])
        for name in names:
            turns.setdefault(name, len(turns) + 1)
    return (
        tuple(replace(one, boot_order=turns.get(one.serial, 0)) for one in disks),
        tuple(replace(one, boot_order=turns.get(one.mac, 0)) for one in nics),
    )


def rng_of(body: Mapping[str, Any]) -> Rng:
    """Where its random numbers come from."""
    device = body.get("rng_device") or {}
    rate = device.get("rate") or {}
    source: Literal["urandom", "random"] = "random" if device.get("source") == "random" else "urandom"
    return Rng(source, int(rate.get("bytes") or 0), int(rate.get("period") or 1000))


def time_zone(body: Mapping[str, Any]) -> str:
    """What the guest takes its hardware clock for; empty: UTC."""
    name = str((body.get("time_zone") or {}).get("name") or "")
    return "" if name in UTC else name


def serial(body: Mapping[str, Any]) -> str:
    """The machine's serial number, where it is said; else its id (which is ``vm`` and ``none`` here)."""
    said = body.get("serial_number") or {}
    return str(said.get("value") or "") if said.get("policy") == "custom" else ""


def check_startable(name: str, body: Mapping[str, Any], disks: Sequence[DiskPart], nics: int, cd_path: str) -> str:
    """Why it could not boot, in oVirt's words; empty: it can."""
    boots = tuple((body.get("os") or {}).get("boot", {}).get("devices") or ("hd",))
    able = {"hd": bool(disks), "cdrom": bool(cd_path), "network": nics > 0}
    if not any(able.get(one, False) for one in boots):
        return f"Cannot run VM. {name} has nothing to boot from: no active disk, CD or NIC for its boot order {list(boots)}"
    return ""
