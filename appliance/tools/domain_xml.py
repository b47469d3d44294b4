"""A VM as libvirt's domain XML. Pure; the expected texts are in tests/golden/domain."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from appliance.errors import Refused
from appliance.model.vm import VmSpec
from appliance.tools.domain_devices import (
    balloon,
    consoles,
    controllers,
    nic_element,
    rng_element,
    screen,
    watchdog_element,
)
from appliance.tools.domain_disks import awake_disks, bus_of, disk_element, is_pc, placed
from appliance.tools.xml_text import text

DISKS_LIMIT = 26
"""Labels end at z."""
CDROMS_LIMIT = 6
"""Ports of q35's SATA controller."""

IDE_LIMIT = 4
"""Two channels of two, all that i440FX has."""
MEMORY_SLOTS = 16
"""Pieces of memory that can be added unless the VM says otherwise: oVirt's number."""
HOST_CPU = "host-passthrough"
METADATA = "urn:trivet:vm"
"""Namespace of what we keep in a domain for ourselves."""
Xml.register_namespace("trivet", METADATA)


def domain_xml(spec: VmSpec, *, accelerated: bool) -> str:
    """The domain. ``accelerated``: KVM; otherwise emulation (libvirt would choose KVM wherever /dev/kvm exists).

    Raises ``Refused`` (``vm.spec``) for what no guest can have.
    """
    _check(spec)
    root = Xml.Element("domain", type="kvm" if accelerated else "qemu")
    text(root, "name", spec.name)
    text(root, "uuid", spec.id)
    text(root, "genid", "")
    _metadata(root, spec)
    _memory(root, spec)
    _cpus(root, spec)
    _boot(root, spec)
    features = Xml.SubElement(root, "features")
    Xml.SubElement(features, "acpi")
    Xml.SubElement(features, "apic")
    # Without system management mode: neither SeaBIOS nor OVMF needs it here, and switching to it changes the memory map
    # under the other emulated CPU, where QEMU was seen to end with an assertion (iotlb_to_section), once in many boots.
    # Secure boot does need it: only in that mode may its variables be written.
    Xml.SubElement(features, "smm", state="on" if spec.secure_boot else "off")
    _cpu(root, spec)
    if spec.time_zone:
        Xml.SubElement(root, "clock", offset="timezone", timezone=spec.time_zone)
    else:
        Xml.SubElement(root, "clock", offset="utc")
    for event, action in (("on_poweroff", spec.on_poweroff), ("on_reboot", spec.on_reboot), ("on_crash", "destroy")):
        text(root, event, action)
    _devices(Xml.SubElement(root, "devices"), spec)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode") + "\n"


def _check(spec: VmSpec) -> None:
    if not spec.name or "/" in spec.name:
        raise _refuse(spec, f"the name {spec.name!r} cannot be a file name")
    if spec.memory_mib < 1 or spec.cpus < 1:
        raise _refuse(spec, f"{spec.memory_mib} MiB and {spec.cpus} CPUs are not enough for any guest")
    drives = [disk.bus == "cdrom" for disk in spec.disks]
    for disk in spec.disks:
        if not disk.path.startswith("/") and (disk.path or disk.bus != "cdrom"):
            raise _refuse(spec, f"the disk path {disk.path!r} is not absolute")
    if any(disk.read_only and disk.bus in ("sata", "ide") for disk in spec.disks):
        raise _refuse(spec, "a disk on SATA or IDE cannot be read-only (QEMU's rule); virtio, virtio-scsi and CD-ROMs can")
    on_ide = sum(bus_of(disk, spec.machine) == "ide" for disk in spec.disks)
    if len(spec.disks) > DISKS_LIMIT or sum(drives) > CDROMS_LIMIT or on_ide > IDE_LIMIT:
        raise _refuse(
            spec, f"more than {DISKS_LIMIT} disks, or than {CDROMS_LIMIT} of them CD-ROMs, or than {IDE_LIMIT} on IDE"
        )
    _check_machine(spec)
    _check_growth(spec)


def _check_machine(spec: VmSpec) -> None:
    pc = is_pc(spec.machine)
    if any(disk.bus == ("sata" if pc else "ide") for disk in spec.disks):
        raise _refuse(spec, f"a machine {spec.machine} has no {'SATA' if pc else 'IDE'} controller")
    if pc and (spec.hotplug_ports or spec.firmware == "uefi"):
        raise _refuse(spec, f"UEFI and PCIe ports need q35, not {spec.machine}")
    if spec.firmware != "uefi" and (spec.secure_boot or spec.nvram):
        raise _refuse(spec, "secure boot and its variables are UEFI's, its firmware is the BIOS")
    if pc and spec.watchdog is not None and spec.watchdog.model == "itco":
        raise _refuse(spec, "the watchdog itco is a part of q35")


def _check_growth(spec: VmSpec) -> None:
    cpu, most = spec.cpu, max(spec.cpu.maximum, spec.cpus)
    if cpu.maximum and cpu.maximum < spec.cpus:
        raise _refuse(spec, f"it starts with {spec.cpus} CPUs, at most {cpu.maximum} are allowed")
    topology = (cpu.sockets, cpu.cores, cpu.threads)
    if any(topology) and cpu.sockets * cpu.cores * cpu.threads != most:
        raise _refuse(spec, f"{cpu.sockets} × {cpu.cores} × {cpu.threads} CPUs are not {most}")
    if any(not 0 <= pin.vcpu < most for pin in cpu.pins):
        raise _refuse(spec, f"a CPU is pinned that it does not have: there are {most}")
    if spec.memory.maximum_mib and spec.memory.maximum_mib < spec.memory_mib:
        raise _refuse(spec, f"it starts with {spec.memory_mib} MiB, at most {spec.memory.maximum_mib} are allowed")
    if spec.memory.guaranteed_mib > spec.memory_mib:
        raise _refuse(spec, f"{spec.memory.guaranteed_mib} MiB are guaranteed, it starts with {spec.memory_mib}")


def _refuse(spec: VmSpec, reason: str) -> Refused:
    return Refused("vm.spec", subject=f"VM {spec.name}", reason=reason, remedy="Correct the VM's definition.")


def _metadata(root: Xml.Element, spec: VmSpec) -> None:
    if spec.memory.guaranteed_mib:
        holder = Xml.SubElement(root, "metadata")
        Xml.SubElement(holder, f"{{{METADATA}}}vm", {"guaranteed-mib": str(spec.memory.guaranteed_mib)})


def _memory(root: Xml.Element, spec: VmSpec) -> None:
    if grows(spec):
        slots = str(spec.memory.slots or MEMORY_SLOTS)
        text(root, "maxMemory", str(spec.memory.maximum_mib), slots=slots, unit="MiB")
    text(root, "memory", str(spec.memory_mib), unit="MiB")


def grows(spec: VmSpec) -> bool:
    """Whether memory can be added to it. QEMU wants a NUMA node then, which is why others have none."""
    return spec.memory.maximum_mib > spec.memory_mib


def _cpus(root: Xml.Element, spec: VmSpec) -> None:
    most = max(spec.cpu.maximum, spec.cpus)
    if most > spec.cpus:
        text(root, "vcpu", str(most), placement="static", current=str(spec.cpus))
    else:
        text(root, "vcpu", str(spec.cpus), placement="static")
    if spec.cpu.shares or spec.cpu.pins:
        tune = Xml.SubElement(root, "cputune")
        if spec.cpu.shares:
            text(tune, "shares", str(spec.cpu.shares))
        for pin in spec.cpu.pins:
            Xml.SubElement(tune, "vcpupin", vcpu=str(pin.vcpu), cpuset=pin.host_cpus)


def _cpu(root: Xml.Element, spec: VmSpec) -> None:
    if spec.cpu_model == HOST_CPU:
        cpu = Xml.SubElement(root, "cpu", mode=HOST_CPU, check="none")
    else:
        cpu = Xml.SubElement(root, "cpu", mode="custom", match="exact", check="none")
        text(cpu, "model", spec.cpu_model, fallback="forbid")
    layout = spec.cpu
    if layout.sockets:
        numbers = {"sockets": layout.sockets, "cores": layout.cores, "threads": layout.threads}
        Xml.SubElement(cpu, "topology", {name: str(number) for name, number in numbers.items()})
    if grows(spec):
        numa = Xml.SubElement(cpu, "numa")
        last = max(layout.maximum, spec.cpus) - 1
        Xml.SubElement(numa, "cell", id="0", cpus=f"0-{last}", memory=str(spec.memory_mib), unit="MiB")


def _boot(root: Xml.Element, spec: VmSpec) -> None:
    if spec.smbios_serial:
        info = Xml.SubElement(root, "sysinfo", type="smbios")
        text(Xml.SubElement(info, "system"), "entry", spec.smbios_serial, name="serial")
    os = Xml.SubElement(root, "os", {"firmware": "efi"} if spec.firmware == "uefi" else {})
    text(os, "type", "hvm", arch="x86_64", machine=spec.machine)
    if spec.secure_boot:
        firmware = Xml.SubElement(os, "firmware")
        for feature in ("secure-boot", "enrolled-keys"):
            Xml.SubElement(firmware, "feature", enabled="yes", name=feature)
    if spec.firmware == "uefi":
        Xml.SubElement(os, "loader", secure="yes" if spec.secure_boot else "no")
    if spec.nvram:
        text(os, "nvram", spec.nvram)
    if spec.smbios_serial:
        Xml.SubElement(os, "smbios", mode="sysinfo")


def _devices(devices: Xml.Element, spec: VmSpec) -> None:
    controllers(devices, spec)
    for disk, label, unit in placed(spec.disks, spec.machine):
        disk_element(devices, disk, label, unit, spec.machine)
    for nic in spec.nics:
        nic_element(devices, nic)
    consoles(devices, spec)
    screen(devices, spec.graphics)
    balloon(devices, spec)
    rng_element(devices, spec.rng)
    watchdog_element(devices, spec.watchdog)
    Xml.SubElement(devices, "panic", model="isa")


def pluggable_disks(spec: VmSpec) -> tuple[str, ...]:
    """The disks on virtio-scsi as XML of their own, to be attached at the places that they have in :func:`domain_xml`."""
    found: list[str] = []
    for disk, label, unit in placed(spec.disks, spec.machine):
        if disk.bus == "scsi":
            holder = Xml.Element("devices")
            disk_element(holder, disk, label, unit, spec.machine)
            found.append(Xml.tostring(holder[0], encoding="unicode"))
    return tuple(found)


def awake_xml(saved: str, spec: VmSpec) -> str:
    """The domain of saved memory with what the host gives it as ``spec`` has it: bridges and the console's file. All that
    the guest sees stays, and so do its disks' files. Raises ``Refused`` (``vm.saved-memory``) for a domain that is not this
    VM's."""
    root = Xml.fromstring(saved)  # noqa: S314 - libvirt's own answer
    nics = root.findall("devices/interface")
    same = [(root.findtext("name") or "").strip() == spec.name, (root.findtext("uuid") or "").lower() == spec.id.lower()]
    if not all(same) or len(nics) != len(spec.nics):
        raise Refused(
            "vm.saved-memory",
            subject=f"VM {spec.name}",
            reason=f"the saved memory is that of {root.findtext('name')} ({root.findtext('uuid')}) with {len(nics)} NICs",
            remedy="Remove the saved memory and make it anew.",
        )
    for element, nic in zip(nics, spec.nics, strict=True):
        for gone in [child for child in element if child.tag in ("source", "target")]:
            element.remove(gone)
        element.set("type", "bridge" if nic.bridge else "ethernet")
        if nic.bridge:
            Xml.SubElement(element, "source", bridge=nic.bridge)
    if spec.serial_log:
        for source in (*root.findall("devices/serial/source"), *root.findall("devices/console/source")):
            source.set("path", spec.serial_log)
    return Xml.tostring(root, encoding="unicode")


def awake_with_disks(saved: str, spec: VmSpec) -> str:
    """As :func:`awake_xml`, with the files that the VM's disks have now: for memory that has all of its disks. Raises
    ``Refused`` (``vm.saved-memory``) also when its disks are not the VM's."""
    root = Xml.fromstring(awake_xml(saved, spec))  # noqa: S314 - our own text
    problems = awake_disks(root, spec.disks)
    if problems:
        remedy = "Give the VM the disks of that time, or start it without its memory."
        raise Refused("vm.saved-memory", subject=f"VM {spec.name}", reason="; ".join(problems), remedy=remedy)
    return Xml.tostring(root, encoding="unicode")
