"""A VM's other devices as elements of its domain. Pure."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from appliance.model.vm import VmNic, VmSpec
from appliance.model.vm_parts import Console, Graphics, Rng, Watchdog
from appliance.tools.xml_text import text

NO_TICKET = {"passwd": "*****", "passwdValidTo": "1970-01-01T00:00:01"}
"""A VNC screen that nobody gets into: its word has expired before anybody was born who could know it."""


def controllers(devices: Xml.Element, spec: VmSpec) -> None:
    """What other devices are plugged into."""
    Xml.SubElement(devices, "controller", type="usb", model="qemu-xhci" if spec.graphics else "none")
    # Also without disks: they can be attached later, and the addresses of all other devices stay the same.
    Xml.SubElement(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    if spec.hotplug_ports:
        Xml.SubElement(devices, "controller", type="pci", model="pcie-root")
        # libvirt puts the VM's own devices on the first ports that it is given
        for _ in range(spec.hotplug_ports + _taken(spec)):
            Xml.SubElement(devices, "controller", type="pci", model="pcie-root-port")


def _taken(spec: VmSpec) -> int:
    """PCIe ports that the VM's own devices take: virtio-scsi, the guest agent's channel, random numbers, what it chose."""
    old_nics = [nic for nic in spec.nics if nic.model in ("e1000", "rtl8139")]
    on_old_bus = bool(old_nics) or (spec.watchdog is not None and spec.watchdog.model == "i6300esb")
    chosen = [spec.graphics is not None, spec.memory.ballooning, on_old_bus]
    virtio = [disk for disk in spec.disks if disk.bus == "virtio"]
    return 3 + sum(chosen) + len(virtio) + len(spec.nics) - len(old_nics)


def nic_element(devices: Xml.Element, nic: VmNic) -> None:
    """A NIC on its bridge, or on a cable that ends nowhere."""
    element = Xml.SubElement(devices, "interface", type="bridge" if nic.bridge else "ethernet")
    Xml.SubElement(element, "mac", address=nic.mac)
    if nic.bridge:
        Xml.SubElement(element, "source", bridge=nic.bridge)
    Xml.SubElement(element, "model", type=nic.model)
    if not nic.link_up:
        Xml.SubElement(element, "link", state="down")
    if nic.mtu:
        Xml.SubElement(element, "mtu", size=str(nic.mtu))
    if nic.boot_order:
        Xml.SubElement(element, "boot", order=str(nic.boot_order))


def consoles(devices: Xml.Element, spec: VmSpec) -> None:
    """The serial console, and the guest agent's channel."""
    if spec.console is None:
        _plain_console(devices, spec.serial_log)
    else:
        _console(devices, spec.console)
    channel = Xml.SubElement(devices, "channel", type="unix")
    Xml.SubElement(channel, "target", type="virtio", name="org.qemu.guest_agent.0")


def _plain_console(devices: Xml.Element, log: str) -> None:
    if log:
        serial = Xml.SubElement(devices, "serial", type="file")
        Xml.SubElement(serial, "source", path=log, append="on")
    else:
        serial = Xml.SubElement(devices, "serial", type="pty")
    Xml.SubElement(serial, "target", type="isa-serial", port="0")


def _console(devices: Xml.Element, console: Console) -> None:
    if console.kind == "isa":
        element = Xml.SubElement(devices, "serial", type="pty")
        Xml.SubElement(element, "target", type="isa-serial", port="0")
    else:
        element = Xml.SubElement(devices, "console", type="pty")
        Xml.SubElement(element, "target", type="virtio", port="0")
    if console.log:
        Xml.SubElement(element, "log", file=console.log, append="on")


def screen(devices: Xml.Element, graphics: Graphics | None) -> None:
    """A VNC screen, closed until a ticket is set, and a tablet, whose pointer does not run away from the viewer's. None: no
    display; an open VNC port is an open door."""
    if graphics is None:
        return
    Xml.SubElement(devices, "input", type="tablet", bus="usb")
    settings = {"type": "vnc", "autoport": "yes", "listen": graphics.listen, **NO_TICKET}
    if graphics.keymap:
        settings["keymap"] = graphics.keymap
    element = Xml.SubElement(devices, "graphics", settings)
    Xml.SubElement(element, "listen", type="address", address=graphics.listen)
    video = Xml.SubElement(devices, "video")
    Xml.SubElement(video, "model", type=graphics.video)


def balloon(devices: Xml.Element, spec: VmSpec) -> None:
    """The balloon, and what the guest tells through it."""
    element = Xml.SubElement(devices, "memballoon", model="virtio" if spec.memory.ballooning else "none")
    if spec.memory.ballooning and spec.memory.statistics_s:
        Xml.SubElement(element, "stats", period=str(spec.memory.statistics_s))


def rng_element(devices: Xml.Element, rng: Rng) -> None:
    """Random numbers of the host."""
    element = Xml.SubElement(devices, "rng", model="virtio")
    if rng.bytes:
        Xml.SubElement(element, "rate", bytes=str(rng.bytes), period=str(rng.period_ms))
    text(element, "backend", f"/dev/{rng.source}", model="random")


def watchdog_element(devices: Xml.Element, watchdog: Watchdog | None) -> None:
    """A watchdog, if it has one."""
    if watchdog is not None:
        Xml.SubElement(devices, "watchdog", model=watchdog.model, action=watchdog.action)
