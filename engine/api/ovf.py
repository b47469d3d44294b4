"""OVF in oVirt's flavour: the definition of a VM as converters bring it along (virt-v2v) and as backups keep it.

What is read and written is what virt-v2v and `all_content` clients use: name, size, firmware, disks, NICs. Numbers are
oVirt's (BiosType, VmType, ResourceSubType of NICs).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lxml import etree

from appliance.errors import Refused
from engine.api.xml import root_of
from engine.decide.descriptor import Descriptor

TEXT_LIMIT_CHARACTERS: Final = 1_000_000
"""Longer than any VM's: one with a hundred disks has a tenth of it."""
PARTS_LIMIT: Final = 1_000
"""Disks, or NICs, of one VM: more than any has."""
MIB, GIB = 1024**2, 1024**3
FIRMWARE: Final = {"0": "i440fx_sea_bios", "1": "q35_sea_bios", "2": "q35_ovmf", "3": "q35_secure_boot"}
"""BiosType in an OVF, which is oVirt's own number less one."""
TYPES: Final = {"0": "desktop", "1": "server", "2": "high_performance"}
MODELS: Final = {"1": "rtl8139", "2": "e1000", "3": "virtio"}
BUSES: Final = {"VirtIO": "virtio", "VirtIO_SCSI": "virtio_scsi", "IDE": "ide", "SATA": "sata"}
CPU, MEMORY, NIC, DRIVE = "3", "4", "10", "17"
"""rasd:ResourceType (CIM)."""
UNITS: Final = {"KiloBytes": 1024, "MegaBytes": MIB, "GigaBytes": GIB}
BLANK: Final = "00000000-0000-0000-0000-000000000000"
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
OVF: Final = "http://schemas.dmtf.org/ovf/envelope/1/"
RASD: Final = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
NAMESPACES: Final = {
    "ovf": OVF,
    "rasd": RASD,
    "xsi": "http://www.w3.org/2001/XMLSchema-instance",
    "ovirt": "http://www.ovirt.org/ovf",
}


# reading


def vm_of(text: str, systems: Mapping[str, str]) -> dict[str, Any]:
    """The VM as a v4 body: attachments of disks that exist, NICs with the *name* of their network. ``systems``: number →
    name of the operating systems. Raises ``Refused`` ``ovf.invalid``."""
    root = _root(text)
    system = next((one for name in ("VirtualSystem", "Content") for one in _all(root, name)), None)
    if system is None:
        raise _refuse("it describes no virtual system")
    found: dict[str, Any] = {"name": _text(system, "Name"), "description": _text(system, "Description")}
    found |= _named(FIRMWARE, "bios", "type", _text(system, "BiosType"))
    if _text(system, "VmType") in TYPES:
        found["type"] = TYPES[_text(system, "VmType")]
    if _text(system, "TimeZone"):
        found["time_zone"] = {"name": _text(system, "TimeZone")}
    found["os"] = {"type": _system(system, systems)}
    for item in _limited(root, "Item"):
        kind = _text(item, "ResourceType")
        if kind == CPU:
            parts = {"sockets": "num_of_sockets", "cores": "cpu_per_socket", "threads": "threads_per_cpu"}
            found["cpu"] = {"topology": {name: _number(item, tag, 1) for name, tag in parts.items()}}
        elif kind == MEMORY:
            found["memory"] = _number(item, "VirtualQuantity", 0) * UNITS.get(_text(item, "AllocationUnits"), MIB)
        elif kind == NIC:
            found.setdefault("nics", []).append(_nic(item))
    found["disk_attachments"] = [_attachment(one) for one in _limited(root, "Disk")]
    return {name: value for name, value in found.items() if value not in ("", [])}


def _root(text: str) -> Any:
    if len(text) > TEXT_LIMIT_CHARACTERS:
        raise _refuse(f"it has more than {TEXT_LIMIT_CHARACTERS} characters")
    return root_of(text.encode(), lambda reason, _remedy: _refuse(reason))


def _refuse(reason: str) -> Refused:
    remedy = "Send it as virt-v2v -o rhv-upload writes it, or say name, cluster and disks in the body."
    return Refused("ovf.invalid", subject="the OVF of the VM", reason=reason, remedy=remedy)


def _all(root: Any, name: str) -> Iterator[Any]:
    return (one for one in root.iter() if isinstance(one.tag, str) and etree.QName(one).localname == name)


def _limited(root: Any, name: str) -> Iterator[Any]:
    for count, one in enumerate(_all(root, name)):
        if count >= PARTS_LIMIT:
            raise _refuse(f"it has more than {PARTS_LIMIT} parts <{name}>")
        yield one


def _text(parent: Any, name: str) -> str:
    """Of a child; empty: there is none."""
    found = next((one for one in parent if isinstance(one.tag, str) and etree.QName(one).localname == name), None)
    return "" if found is None else (found.text or "").strip()


def _number(parent: Any, name: str, usual: int) -> int:
    text = _text(parent, name)
    if not text:
        return usual
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise _refuse(f"{name} is {text[:40]!r}, not a number")
    return int(text)


def _attribute(element: Any, name: str) -> str:
    return next((str(held) for key, held in element.attrib.items() if etree.QName(key).localname == name), "")


def _named(words: Mapping[str, str], attribute: str, part: str, number: str) -> dict[str, Any]:
    return {attribute: {part: words[number]}} if number in words else {}


def _system(system: Any, systems: Mapping[str, str]) -> str:
    """The operating system, by oVirt's number or by what is written; ``other``: neither is known."""
    marked = [one for one in _all(system, "Section") if _attribute(one, "type").endswith("OperatingSystemSection_Type")]
    for one in (*_all(system, "OperatingSystemSection"), *marked):
        number, words = one.get(f"{{{NAMESPACES['ovirt']}}}id"), _text(one, "Description").lower()
        if number in systems or words in systems.values():
            return systems.get(number, words)
    return "other"


def _nic(item: Any) -> dict[str, Any]:
    nic: dict[str, Any] = {
        "name": _text(item, "Name") or "nic1",
        "interface": MODELS.get(_text(item, "ResourceSubType"), "virtio"),
        "network": {"name": _text(item, "Connection")},
    }
    if _text(item, "MACAddress"):
        nic["mac"] = {"address": _text(item, "MACAddress").lower()}
    return nic


def _attachment(disk: Any) -> dict[str, Any]:
    """Of a disk that exists: an export domain's flavour names it in the path of its image, the other by its id."""
    folder, slash, _ = _attribute(disk, "fileRef").partition("/")
    identifier = folder if slash else _attribute(disk, "diskId")
    if not _ID.fullmatch(identifier):
        raise _refuse(f"the disk id {identifier[:80]!r} is none")
    return {
        "disk": {"id": identifier},
        "interface": BUSES.get(_attribute(disk, "disk-interface"), "virtio"),
        "bootable": _attribute(disk, "boot").lower() == "true",
        "active": True,
    }


# writing


def text_of(vm: Descriptor, systems: Mapping[str, str]) -> str:
    """The VM as others read it. ``systems``: name → number of the operating systems."""
    root = etree.Element(f"{{{OVF}}}Envelope", {f"{{{OVF}}}version": "4.4.0.0"}, nsmap=NAMESPACES)
    references = etree.SubElement(root, "References")
    networks, disks = etree.SubElement(root, "NetworkSection"), etree.SubElement(root, "DiskSection")
    system = etree.SubElement(root, "VirtualSystem", {f"{{{OVF}}}id": vm.id})
    said = vm.attributes
    _say(system, "Name", vm.name)
    _say(system, "Description", str(said.get("description") or ""))
    _say(system, "TemplateId", BLANK)
    _say(system, "BiosType", _number_of(FIRMWARE, str((said.get("bios") or {}).get("type") or ""), "1"))
    _say(system, "VmType", _number_of(TYPES, str(said.get("type") or ""), "1"))
    _say(system, "TimeZone", str((said.get("time_zone") or {}).get("name") or ""))
    name = str((said.get("os") or {}).get("type") or "other")
    attributes = {f"{{{OVF}}}id": vm.id, f"{{{OVF}}}required": "false"}
    attributes[f"{{{NAMESPACES['ovirt']}}}id"] = systems.get(name, "0")
    _say(etree.SubElement(system, "OperatingSystemSection", attributes), "Description", name)
    hardware = etree.SubElement(system, "VirtualHardwareSection")
    _size(hardware, said)
    for disk in vm.disks:
        file = f"{disk.id}/{disk.image}"
        etree.SubElement(references, "File", {f"{{{OVF}}}href": file, f"{{{OVF}}}id": disk.image})
        etree.SubElement(disks, "Disk", {f"{{{OVF}}}{key}": held for key, held in _disk_words(disk, file).items()})
        _item(hardware, DRIVE, {"Caption": f"Drive {disk.name}", "InstanceId": disk.image, "HostResource": file})
    for nic in vm.nics:
        etree.SubElement(networks, "Network", {f"{{{OVF}}}name": nic.network})
        words = {
            "Caption": f"Ethernet adapter on {nic.network}",
            "InstanceId": nic.id,
            "ResourceSubType": _number_of(MODELS, str(nic.attributes.get("interface") or ""), "3"),
            "Connection": nic.network,
            "Name": nic.name,
            "MACAddress": str((nic.attributes.get("mac") or {}).get("address") or ""),
        }
        _item(hardware, NIC, words)
    return str(etree.tostring(root, encoding="unicode"))


def _size(hardware: Any, said: Mapping[str, Any]) -> None:
    topology = (said.get("cpu") or {}).get("topology") or {}
    words = {
        "num_of_sockets": str(topology.get("sockets") or 1),
        "cpu_per_socket": str(topology.get("cores") or 1),
        "threads_per_cpu": str(topology.get("threads") or 1),
    }
    _item(hardware, CPU, words)
    memory = int(said.get("memory") or GIB) // MIB
    _item(hardware, MEMORY, {"AllocationUnits": "MegaBytes", "VirtualQuantity": str(memory)})


def _disk_words(disk: Any, file: str) -> dict[str, str]:
    size = int(disk.attributes.get("provisioned_size") or 0)
    interface = str(disk.attachment.get("interface") or "")
    return {
        "diskId": disk.image,
        "fileRef": file,
        "size": str(-(-size // GIB)),
        "capacity": str(size),
        "parentRef": disk.backing,
        "volume-format": "COW" if disk.format == "cow" else "RAW",
        "volume-type": "Preallocated" if disk.attributes.get("sparse") is False else "Sparse",
        "disk-interface": next((word for word, held in BUSES.items() if held == interface), "VirtIO"),
        "disk-alias": disk.name,
        "boot": "true" if disk.attachment.get("bootable") else "false",
    }


def _item(hardware: Any, kind: str, words: Mapping[str, str]) -> None:
    item = etree.SubElement(hardware, "Item")
    for name, held in {"ResourceType": kind, **words}.items():
        _say(item, f"{{{RASD}}}{name}", held)


def _say(parent: Any, name: str, text: str) -> None:
    etree.SubElement(parent, name).text = text


def _number_of(words: Mapping[str, str], word: str, usual: str) -> str:
    return next((number for number, held in words.items() if held == word), usual)
