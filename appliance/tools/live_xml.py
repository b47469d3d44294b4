"""A running domain's description read, and pieces of it changed. Disks are found by serial, NICs by MAC. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as Xml

from appliance.model.vm import VmDisk, VmNic
from appliance.tools.domain_devices import NO_TICKET, nic_element
from appliance.tools.domain_disks import bus_of, disk_element, label_of, prefix_of
from appliance.tools.domain_xml import METADATA


@dataclass(frozen=True)
class DeviceNames:
    """libvirt's labels of devices (``sda``, ``vnet3``) → our names for them."""

    disks: Mapping[str, str] = field(default_factory=dict)
    nics: Mapping[str, str] = field(default_factory=dict)

    def cover(self, numbers: Mapping[str, Any]) -> bool:
        """Whether these are all devices that libvirt's statistics speak of."""
        labels = {str(value) for key, value in numbers.items() if key.endswith(".name")}
        return labels <= {*self.disks, *self.nics}


@dataclass(frozen=True)
class Layer:
    """A file in the chain of a disk as QEMU has it open. ``name`` is what libvirt calls it in a merge (``sda[3]``)."""

    path: str
    name: str


@dataclass(frozen=True)
class LiveDisk:
    """A disk of a running VM: its element, its label, and its chain, what is written first."""

    element: Xml.Element
    label: str
    layers: tuple[Layer, ...]

    @property
    def path(self) -> str:
        """The file that is written now; empty: a drive without a CD."""
        return self.layers[0].path if self.layers else ""


class LiveDomain:
    """A domain's description as libvirt gives it."""

    def __init__(self, xml: str) -> None:
        self.root = Xml.fromstring(xml)  # noqa: S314 - libvirt's own answer

    @property
    def machine(self) -> str:
        """``pc-q35-10.0``."""
        return _attribute(self.root, "os/type", "machine")

    @property
    def memory_mib(self) -> int:
        """All the memory that is plugged in."""
        return _kib(self.root.find("memory")) // 1024

    @property
    def memory_maximum_mib(self) -> int:
        """What it may grow to; 0: it cannot."""
        return _kib(self.root.find("maxMemory")) // 1024

    @property
    def guaranteed_mib(self) -> int:
        """What the balloon must leave it."""
        return int(_attribute(self.root, f"metadata/{{{METADATA}}}vm", "guaranteed-mib") or 0)

    @property
    def cpus(self) -> tuple[int, int]:
        """Plugged in, and at most."""
        element = self.root.find("vcpu")
        most = int(element.text or 1) if element is not None else 1
        return int(element.get("current", most)) if element is not None else most, most

    def labels(self) -> tuple[str, ...]:
        """Of all its disks and drives."""
        return tuple(_attribute(one, "target", "dev") for one in self.root.findall("devices/disk"))

    def disk(self, serial: str) -> LiveDisk | None:
        """The disk with that serial."""
        found = [one for one in self.root.findall("devices/disk") if one.findtext("serial") == serial]
        return _live_disk(found[0]) if found else None

    def nic(self, mac: str) -> Xml.Element | None:
        """The NIC with that address."""
        for element in self.root.findall("devices/interface"):
            if _attribute(element, "mac", "address").lower() == mac.lower():
                return element
        return None

    def graphics(self) -> Xml.Element | None:
        """Its VNC screen."""
        return self.root.find("devices/graphics[@type='vnc']")

    def console(self) -> tuple[str, str]:
        """The terminal of its first serial console, and the file that gets what it says; empty: it has none, or no log."""
        for device in ("serial", "console"):
            element = self.root.find(f"devices/{device}[@type='pty']")
            if element is not None and _attribute(element, "log", "file"):
                return _attribute(element, "source", "path"), _attribute(element, "log", "file")
        return "", ""

    def new_disk(self, disk: VmDisk) -> str:
        """``disk`` as a device to plug in, on the first free place of its bus."""
        bus = bus_of(disk, self.machine)
        labels, units = set(), set()
        for element in self.root.findall("devices/disk"):
            labels.add(_attribute(element, "target", "dev"))
            if _attribute(element, "target", "bus") == bus:
                units.add(_attribute(element, "address", "unit"))
        label = next(one for number in range(1000) if (one := label_of(prefix_of(bus), number)) not in labels)
        unit = next(number for number in range(1000) if str(number) not in units)
        return _alone(lambda holder: disk_element(holder, disk, label, unit, self.machine))


def new_nic(nic: VmNic) -> str:
    """``nic`` as a device to plug in."""
    return _alone(lambda holder: nic_element(holder, nic))


def new_memory(memory_mib: int) -> str:
    """A piece of memory to plug in."""
    return (
        f'<memory model="dimm"><target><size unit="MiB">{memory_mib}</size><node>0</node></target></memory>'  # of one node
    )


def text_of(element: Xml.Element) -> str:
    """An element as libvirt takes it."""
    return Xml.tostring(element, encoding="unicode")


def with_cd(element: Xml.Element, path: str) -> str:
    """A drive with another CD, or (empty path) none."""
    changed = copy.deepcopy(element)
    for gone in changed.findall("source") + changed.findall("backingStore"):
        changed.remove(gone)
    if path:
        Xml.SubElement(changed, "source", file=path)
    return text_of(changed)


def with_link(element: Xml.Element, bridge: str, link_up: bool) -> str:
    """A NIC on another bridge (empty: the one it is on), its cable in or out."""
    changed = copy.deepcopy(element)
    for gone in changed.findall("link"):
        changed.remove(gone)
    Xml.SubElement(changed, "link", state="up" if link_up else "down")
    source = changed.find("source")
    if bridge and source is not None:
        source.attrib.clear()
        source.set("bridge", bridge)
    return text_of(changed)


def with_ticket(element: Xml.Element, word: str, valid_to: str) -> str:
    """A VNC screen that ``word`` opens until ``valid_to`` (ISO, UTC); an empty word shuts it."""
    changed = copy.deepcopy(element)
    settings = {"passwd": word, "passwdValidTo": valid_to} if word else NO_TICKET
    for name, value in settings.items():
        changed.set(name, value)
    return text_of(changed)


def snapshot_xml(name: str, overlays: Mapping[str, str], others: tuple[str, ...], memory: str) -> str:
    """A snapshot: label → file that it is written to from now on; ``others`` stay; ``memory``: a file or empty."""
    root = Xml.Element("domainsnapshot")
    Xml.SubElement(root, "name").text = name
    if memory:
        Xml.SubElement(root, "memory", snapshot="external", file=memory)
    else:
        Xml.SubElement(root, "memory", snapshot="no")
    disks = Xml.SubElement(root, "disks")
    for label, path in overlays.items():
        disk = Xml.SubElement(disks, "disk", name=label, snapshot="external", type="file")
        Xml.SubElement(disk, "driver", type="qcow2")
        Xml.SubElement(disk, "source", file=path)
    for label in others:
        Xml.SubElement(disks, "disk", name=label, snapshot="no")
    return text_of(root)


def mirror_xml(path: str, kind: str) -> str:
    """The file that a disk is mirrored into. What lies below it libvirt reads in its header, and so keeps names relative."""
    disk = Xml.Element("disk", type="file")
    Xml.SubElement(disk, "driver", type=kind)
    Xml.SubElement(disk, "source", file=path)
    return text_of(disk)


def device_names(xml: str) -> DeviceNames:
    """What the devices of a domain are called."""
    root = Xml.fromstring(xml)  # noqa: S314 - libvirt's own answer
    disks = {_attribute(one, "target", "dev"): one.findtext("serial", "") for one in root.findall("devices/disk")}
    nics = {_attribute(one, "target", "dev"): _attribute(one, "mac", "address") for one in root.findall("devices/interface")}
    return DeviceNames(disks, nics)


def _live_disk(element: Xml.Element) -> LiveDisk:
    return LiveDisk(element, _attribute(element, "target", "dev"), layers_of(element))


def layers_of(disk: Xml.Element) -> tuple[Layer, ...]:
    """The chain of a disk's element. libvirt writes the number of the first file at its source, of those below at their
    backingStore."""
    label = _attribute(disk, "target", "dev")
    layers: list[Layer] = []
    at: Xml.Element | None = disk
    while at is not None and (source := at.find("source")) is not None:
        number = at.get("index") or source.get("index") or str(len(layers))
        layers.append(Layer(source.get("file", ""), f"{label}[{number}]"))
        at = at.find("backingStore")
    return tuple(layers)


def _attribute(element: Xml.Element, tag: str, name: str) -> str:
    found = element.find(tag)
    return found.get(name, "") if found is not None else ""


def _kib(element: Xml.Element | None) -> int:
    if element is None or not element.text:
        return 0
    return int(element.text) * {"KiB": 1, "MiB": 1024, "GiB": 1024 * 1024}[element.get("unit", "KiB")]


def _alone(fill: Any) -> str:
    holder = Xml.Element("devices")
    fill(holder)
    return text_of(holder[0])
