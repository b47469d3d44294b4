"""What running VMs and their guests say of themselves. See :class:`appliance.vm_ports.Guests`."""

from __future__ import annotations

from typing import Any

import libvirt

from appliance.effects.libvirt_link import NO_AGENT, LibvirtLink
from appliance.errors import Conflict
from appliance.model.vm_live import GuestInfo, VmStatistics
from appliance.tools.guest_info import guest_info
from appliance.tools.live_xml import DeviceNames, device_names
from appliance.tools.vm_statistics import vm_statistics

STATISTICS_TIMEOUT_S = 8.0
"""A stalled volume holds up the sizes of its files for 6 s."""
GUEST_TIMEOUT_S = 12.0
"""libvirt itself waits 5 s for an agent that does not answer, once for each of two questions."""

_WHAT = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
_HOW = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
"""NOWAIT: a VM that is just being migrated or saved tells less, and holds up nobody."""
_ASKED = (
    libvirt.VIR_DOMAIN_GUEST_INFO_OS
    | libvirt.VIR_DOMAIN_GUEST_INFO_TIMEZONE
    | libvirt.VIR_DOMAIN_GUEST_INFO_HOSTNAME
    | libvirt.VIR_DOMAIN_GUEST_INFO_USERS
    | libvirt.VIR_DOMAIN_GUEST_INFO_INTERFACES
)


class LibvirtGuests(LibvirtLink):
    """A :class:`appliance.vm_ports.Guests`."""

    def __init__(self, uri: str = "qemu:///system") -> None:
        super().__init__(uri)
        self._names: dict[tuple[str, int], DeviceNames] = {}
        """(id of the VM, number of its start) → what its devices are called; asked again when one is missing."""

    def statistics(self) -> tuple[VmStatistics, ...]:
        return self._ask(self._statistics, STATISTICS_TIMEOUT_S)

    def guest(self, name: str) -> GuestInfo:
        try:
            return self._ask(lambda wire: _guest(wire.lookupByName(name)), GUEST_TIMEOUT_S, "vm.guest", name)
        except Conflict as error:
            if error.code == "vm.no-agent":
                return GuestInfo(agent=False)
            raise

    def _statistics(self, wire: Any) -> tuple[VmStatistics, ...]:
        found, seen = [], {}
        for domain, numbers in wire.getAllDomainStats(_WHAT, _HOW):
            key = (domain.UUIDString(), domain.ID())
            names = self._names.get(key)
            if names is None or not names.cover(numbers):
                try:
                    names = device_names(domain.XMLDesc(0))
                except libvirt.libvirtError as error:
                    if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:  # it ended while we looked
                        continue
                    raise
            seen[key] = names
            found.append(vm_statistics(key[0], domain.name(), numbers, names))
        self._names = seen
        return tuple(sorted(found, key=lambda one: one.name))


def _guest(domain: Any) -> GuestInfo:
    try:
        return guest_info(domain.guestInfo(_ASKED, 0))
    except libvirt.libvirtError as error:
        if error.get_error_code() in (*NO_AGENT, libvirt.VIR_ERR_NO_DOMAIN):
            raise
    return guest_info(domain.guestInfo(0, 0))  # an older agent: whatever it knows
