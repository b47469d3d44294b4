"""Devices and buttons of running VMs. See :class:`appliance.vm_ports.LiveDevices`."""

from __future__ import annotations

import libvirt

from appliance.effects.libvirt_link import CHANGE_TIMEOUT_S, QUERY_TIMEOUT_S, LibvirtLink

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE


class LibvirtDevices(LibvirtLink):
    """A :class:`appliance.vm_ports.LiveDevices` and :class:`appliance.vm_ports.LivePower`."""

    def domain_xml(self, name: str) -> str:
        return self._ask(lambda wire: str(wire.lookupByName(name).XMLDesc(0)), QUERY_TIMEOUT_S, "vm.xml", name)

    def detach(self, name: str, xml: str) -> None:
        self._ask(lambda wire: wire.lookupByName(name).detachDeviceFlags(xml, _LIVE), CHANGE_TIMEOUT_S, "vm.detach", name)

    def update(self, name: str, xml: str, force: bool) -> None:
        flags = _LIVE | (libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE if force else 0)
        self._ask(lambda wire: wire.lookupByName(name).updateDeviceFlags(xml, flags), CHANGE_TIMEOUT_S, "vm.update", name)

    def set_cpus(self, name: str, cpus: int) -> None:
        self._ask(lambda wire: wire.lookupByName(name).setVcpusFlags(cpus, _LIVE), CHANGE_TIMEOUT_S, "vm.cpus", name)

    def set_balloon(self, name: str, memory_mib: int) -> None:
        kib = memory_mib * 1024
        self._ask(lambda wire: wire.lookupByName(name).setMemoryFlags(kib, _LIVE), CHANGE_TIMEOUT_S, "vm.memory", name)

    def pause(self, name: str) -> None:
        self._ask(lambda wire: wire.lookupByName(name).suspend(), CHANGE_TIMEOUT_S, "vm.pause", name)

    def reboot(self, name: str) -> None:
        self._ask(lambda wire: wire.lookupByName(name).reboot(0), CHANGE_TIMEOUT_S, "vm.reboot", name)

    def reset(self, name: str) -> None:
        self._ask(lambda wire: wire.lookupByName(name).reset(0), CHANGE_TIMEOUT_S, "vm.reset", name)
