"""A VM's disks as elements of its domain, and their places on the buses. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from appliance.model.vm import VmDisk
from appliance.model.vm_parts import DiskLimits
from appliance.tools.xml_text import text

_PREFIX = {"virtio": "vd", "scsi": "sd", "sata": "sd", "ide": "hd"}

_LIMITS = {
    "total_bytes": "total_bytes_sec",
    "read_bytes": "read_bytes_sec",
    "write_bytes": "write_bytes_sec",
    "total_requests": "total_iops_sec",
    "read_requests": "read_iops_sec",
    "write_requests": "write_iops_sec",
}


def bus_of(disk: VmDisk, machine: str) -> str:
    """libvirt's name of the bus that a disk is on."""
    if disk.bus == "cdrom":
        return "ide" if is_pc(machine) else "sata"
    return disk.bus


def is_pc(machine: str) -> bool:
    """i440FX, of which ``pc`` is the newest version; everything else is q35."""
    return machine == "pc" or machine.startswith("pc-i440fx")


def label_of(prefix: str, number: int) -> str:
    """``vd``, 0 → ``vda``; 26 → ``vdaa``."""
    letters = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return prefix + letters


def prefix_of(bus: str) -> str:
    """What the labels of a bus begin with."""
    return _PREFIX[bus]


def placed(disks: tuple[VmDisk, ...], machine: str) -> list[tuple[VmDisk, str, int]]:
    """Each disk with its label and its unit on its bus, in the order given."""
    units: dict[str, int] = {}
    letters: dict[str, int] = {}
    found: list[tuple[VmDisk, str, int]] = []
    for disk in disks:
        bus = bus_of(disk, machine)
        prefix = _PREFIX[bus]
        found.append((disk, label_of(prefix, letters.get(prefix, 0)), units.get(bus, 0)))
        units[bus] = units.get(bus, 0) + 1
        letters[prefix] = letters.get(prefix, 0) + 1
    return found


def disk_element(devices: Xml.Element, disk: VmDisk, label: str, unit: int, machine: str) -> None:
    """Writable disks bypass the host's cache (what the guest was told is written, is) and stop the guest on an error: a lost
    lock must freeze it, never be reported to its file system."""
    cdrom = disk.bus == "cdrom"
    element = Xml.SubElement(devices, "disk", type="file", device="cdrom" if cdrom else "disk")
    Xml.SubElement(element, "driver", _driver(disk))
    if disk.path:
        Xml.SubElement(element, "source", file=disk.path)
    bus = bus_of(disk, machine)
    Xml.SubElement(element, "target", dev=label, bus=bus)
    if bus == "ide":  # two channels of two
        Xml.SubElement(element, "address", type="drive", controller="0", bus=str(unit // 2), target="0", unit=str(unit % 2))
    elif bus != "virtio":  # named, or libvirt derives it from the label, which SCSI and SATA share
        Xml.SubElement(element, "address", type="drive", controller="0", bus="0", target="0", unit=str(unit))
    if disk.read_only or cdrom:
        Xml.SubElement(element, "readonly")
    if disk.shareable:
        Xml.SubElement(element, "shareable")
    if disk.serial:
        text(element, "serial", disk.serial)
    if disk.boot_order:
        Xml.SubElement(element, "boot", order=str(disk.boot_order))
    if disk.limits is not None:
        _limits(element, disk.limits)


def _driver(disk: VmDisk) -> dict[str, str]:
    driver = {"name": "qemu", "type": disk.format, "cache": "none", "io": disk.io}
    if disk.read_only or disk.bus == "cdrom":
        # native needs O_DIRECT, which a page cache excludes
        return driver | {"cache": "writeback", "io": "threads" if disk.io == "native" else disk.io}
    policy = disk.on_error
    driver |= {"error_policy": policy, "rerror_policy": policy, "discard": "unmap" if disk.discard else "ignore"}
    return driver


def _limits(element: Xml.Element, limits: DiskLimits) -> None:
    tune = Xml.SubElement(element, "iotune")
    for field, tag in _LIMITS.items():
        if value := getattr(limits, field):
            text(tune, tag, str(value))


def awake_disks(root: Xml.Element, disks: Sequence[VmDisk]) -> list[str]:
    """Give a saved domain's disks the files that they have now: between saving and waking another layer may have been put
    over what it wrote to, which must not be written any more. Disks are told apart by their serials. A drive has the disc of
    now, or none: what was in it then may be gone. What cannot be, in words."""
    now = {one.serial: one for one in disks if one.serial and one.path}
    problems = []
    for element in root.findall("devices/disk"):
        if element.get("device", "disk") == "cdrom":
            _disc_of_now(element, now.get(element.findtext("serial") or ""))
        if element.get("device", "disk") != "disk":
            continue
        serial, source, driver = element.findtext("serial") or "", element.find("source"), element.find("driver")
        if source is None or driver is None or serial not in now:
            problems.append(f"the saved memory has a disk {serial or 'without serial'} that the VM does not have")
            continue
        disk = now[serial]
        if source.get("file") == disk.path:
            continue
        for old in (source, *element.findall("backingStore"), *element.findall("mirror")):
            element.remove(old)
        element.set("type", "file")
        driver.set("type", disk.format)
        Xml.SubElement(element, "source", file=disk.path)
    return problems


def _disc_of_now(drive: Xml.Element, disc: VmDisk | None) -> None:
    """A saved drive with that disc; ``None``: empty."""
    source = drive.find("source")
    if source is not None and (disc is None or source.get("file") != disc.path):
        drive.remove(source)
        source = None
    if source is None and disc is not None:
        Xml.SubElement(drive, "source", file=disc.path)
