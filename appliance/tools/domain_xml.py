"""A VM as libvirt's domain XML. Pure; the expected texts are in tests/golden/domain."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from appliance.errors import Refused
from appliance.model.vm import VmDisk, VmNic, VmSpec

DISKS_LIMIT = 26
"""Labels end at z."""
CDROMS_LIMIT = 6
"""Ports of q35's SATA controller."""

_BUS = {"virtio": "virtio", "scsi": "scsi", "cdrom": "sata"}
_PREFIX = {"virtio": "vd", "scsi": "sd", "cdrom": "sd"}


def domain_xml(spec: VmSpec, *, accelerated: bool) -> str:
    """The domain. ``accelerated``: KVM; otherwise emulation (libvirt would choose KVM wherever /dev/kvm exists).

    Raises ``Refused`` (``vm.spec``) for what no guest can have.
    """
    _check(spec)
    root = Xml.Element("domain", type="kvm" if accelerated else "qemu")
    _text(root, "name", spec.name)
    _text(root, "uuid", spec.id)
    _text(root, "genid", "")
    _text(root, "memory", str(spec.memory_mib), unit="MiB")
    _text(root, "vcpu", str(spec.cpus), placement="static")
    _boot(root, spec)
    features = Xml.SubElement(root, "features")
    Xml.SubElement(features, "acpi")
    Xml.SubElement(features, "apic")
    # Without system management mode: neither SeaBIOS nor OVMF needs it here, and switching to it changes the memory map
    # under the other emulated CPU, where QEMU was seen to end with an assertion (iotlb_to_section), once in many boots.
    Xml.SubElement(features, "smm", state="off")
    cpu = Xml.SubElement(root, "cpu", mode="custom", match="exact", check="none")
    _text(cpu, "model", spec.cpu_model, fallback="forbid")
    Xml.SubElement(root, "clock", offset="utc")
    for event, action in (("on_poweroff", "destroy"), ("on_reboot", spec.on_reboot), ("on_crash", "destroy")):
        _text(root, event, action)
    _devices(Xml.SubElement(root, "devices"), spec)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode") + "\n"


def _check(spec: VmSpec) -> None:
    if not spec.name or "/" in spec.name:
        raise _refuse(spec, f"the name {spec.name!r} cannot be a file name")
    if spec.memory_mib < 1 or spec.cpus < 1:
        raise _refuse(spec, f"{spec.memory_mib} MiB and {spec.cpus} CPUs are not enough for any guest")
    relative = [disk.path for disk in spec.disks if not disk.path.startswith("/")]
    if relative:
        raise _refuse(spec, f"the disk path {relative[0]!r} is not absolute")
    if len(spec.disks) > DISKS_LIMIT or sum(disk.bus == "cdrom" for disk in spec.disks) > CDROMS_LIMIT:
        raise _refuse(spec, f"more than {DISKS_LIMIT} disks, or than {CDROMS_LIMIT} of them CD-ROMs")


def _refuse(spec: VmSpec, reason: str) -> Refused:
    return Refused("vm.spec", subject=f"VM {spec.name}", reason=reason, remedy="Correct the VM's definition.")


def _boot(root: Xml.Element, spec: VmSpec) -> None:
    os = Xml.SubElement(root, "os", {"firmware": "efi"} if spec.firmware == "uefi" else {})
    _text(os, "type", "hvm", arch="x86_64", machine="q35")
    if spec.firmware == "uefi":
        Xml.SubElement(os, "loader", secure="no")


def _devices(devices: Xml.Element, spec: VmSpec) -> None:
    Xml.SubElement(devices, "controller", type="usb", model="none")
    # Also without disks: they can be attached later, and the addresses of all other devices stay the same.
    Xml.SubElement(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    for disk, label, unit in _placed(spec):
        _disk(devices, disk, label, unit)
    for nic in spec.nics:
        _nic(devices, nic)
    _console(devices, spec.serial_log)
    channel = Xml.SubElement(devices, "channel", type="unix")
    Xml.SubElement(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    Xml.SubElement(devices, "memballoon", model="virtio")
    rng = Xml.SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")
    Xml.SubElement(devices, "panic", model="isa")


def _placed(spec: VmSpec) -> list[tuple[VmDisk, str, int]]:
    """Each disk with its label and its unit on its bus, in the order of the spec."""
    units = dict.fromkeys(_BUS, 0)
    letters = dict.fromkeys(_PREFIX.values(), 0)
    placed: list[tuple[VmDisk, str, int]] = []
    for disk in spec.disks:
        prefix = _PREFIX[disk.bus]
        placed.append((disk, f"{prefix}{chr(ord('a') + letters[prefix])}", units[disk.bus]))
        units[disk.bus] += 1
        letters[prefix] += 1
    return placed


def pluggable_disks(spec: VmSpec) -> tuple[str, ...]:
    """The disks on virtio-scsi as XML of their own, to be attached at the places that they have in :func:`domain_xml`."""
    found: list[str] = []
    for disk, label, unit in _placed(spec):
        if disk.bus == "scsi":
            holder = Xml.Element("devices")
            _disk(holder, disk, label, unit)
            found.append(Xml.tostring(holder[0], encoding="unicode"))
    return tuple(found)


def awake_xml(saved: str, spec: VmSpec) -> str:
    """The domain of saved memory with what the host gives it as ``spec`` has it: bridges and the console's file. All that
    the guest sees stays. Raises ``Refused`` (``vm.saved-memory``) for a domain that is not this VM's."""
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


def _disk(devices: Xml.Element, disk: VmDisk, label: str, unit: int) -> None:
    """Writable disks bypass the host's cache (what the guest was told is written, is) and stop the guest on an error: a lost
    lock must freeze it, never be reported to its file system."""
    element = Xml.SubElement(devices, "disk", type="file", device="cdrom" if disk.bus == "cdrom" else "disk")
    driver = {"name": "qemu", "type": disk.format, "cache": "none", "io": "io_uring"}
    if disk.read_only or disk.bus == "cdrom":
        driver["cache"] = "writeback"
    else:
        driver |= {"error_policy": "stop", "rerror_policy": "stop", "discard": "unmap"}
    Xml.SubElement(element, "driver", driver)
    Xml.SubElement(element, "source", file=disk.path)
    Xml.SubElement(element, "target", dev=label, bus=_BUS[disk.bus])
    if disk.bus != "virtio":  # named, or libvirt derives it from the label, which SCSI and SATA share
        Xml.SubElement(element, "address", type="drive", controller="0", bus="0", target="0", unit=str(unit))
    if disk.read_only or disk.bus == "cdrom":
        Xml.SubElement(element, "readonly")
    if disk.serial:
        _text(element, "serial", disk.serial)
    if disk.boot_order:
        Xml.SubElement(element, "boot", order=str(disk.boot_order))


def _nic(devices: Xml.Element, nic: VmNic) -> None:
    element = Xml.SubElement(devices, "interface", type="bridge" if nic.bridge else "ethernet")
    Xml.SubElement(element, "mac", address=nic.mac)
    if nic.bridge:
        Xml.SubElement(element, "source", bridge=nic.bridge)
    Xml.SubElement(element, "model", type="virtio")


def _console(devices: Xml.Element, log: str) -> None:
    """The first serial console. No display: nothing of ours has one, and an open VNC port is an open door."""
    if log:
        serial = Xml.SubElement(devices, "serial", type="file")
        Xml.SubElement(serial, "source", path=log, append="on")
    else:
        serial = Xml.SubElement(devices, "serial", type="pty")
    Xml.SubElement(serial, "target", type="isa-serial", port="0")


def _text(parent: Xml.Element, tag: str, text: str, **attributes: str) -> None:
    element = Xml.SubElement(parent, tag, attributes)
    if text:
        element.text = text
