"""What running VMs and their guests say of themselves. See :class:`appliance.vm_ports.Guests`."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import libvirt

from appliance.effects.bounded import LEFT_BEHIND_LIMIT
from appliance.effects.libvirt_link import NO_AGENT, QUERY_TIMEOUT_S, LibvirtLink
from appliance.errors import TrivetError
from appliance.model.vm_live import GuestAnswer, GuestInfo, VmStatistics
from appliance.tools.guest_info import guest_info
from appliance.tools.live_xml import DeviceNames, device_names
from appliance.tools.vm_statistics import vm_statistics

STATISTICS_TIMEOUT_S = 8.0
"""A stalled volume holds up the sizes of its files for 6 s."""
GUEST_TIMEOUT_S = 12.0
"""libvirt itself waits 5 s for an agent that does not answer, once for each of two questions."""
GUESTS_WITHIN_S = 12.0
"""No further guest is asked after this: with the last ones asked, an answer comes within the route's 30 s. Who was not
reached is asked with the next question, for those who hang are not asked then."""
HUNG_AFTER_S = 2.0
"""An agent answers within some 10 ms, a guest without one is known to libvirt at once: who takes longer hangs."""
HUNG_S = 60.0
"""How long it is not asked again."""

FREEZE_TIMEOUT_S = 40.0
"""A guest writes out all that it has not written yet. Less than the engine keeps a caller, who has to hear how it ended."""

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


Run = tuple[str, int]
"""A VM's name, and the number of its start."""


class LibvirtGuests(LibvirtLink):
    """A :class:`appliance.vm_ports.Guests`."""

    def __init__(self, uri: str = "qemu:///system") -> None:
        super().__init__(uri)
        self._names: dict[tuple[str, int], DeviceNames] = {}
        """(id of the VM, number of its start) → what its devices are called; asked again when one is missing."""
        self._hung: dict[Run, float] = {}
        """Whose agent did not answer → until when it is not asked again."""

    def statistics(self) -> tuple[VmStatistics, ...]:
        return self._ask(self._statistics, STATISTICS_TIMEOUT_S)

    def states(self) -> tuple[tuple[str, str], ...]:
        return self._ask(_powers, QUERY_TIMEOUT_S)

    def freeze(self, name: str) -> None:
        self._ask(lambda wire: wire.lookupByName(name).fsFreeze(), FREEZE_TIMEOUT_S, "vm.freeze", name, lane="guests")

    def thaw(self, name: str) -> None:
        self._ask(lambda wire: wire.lookupByName(name).fsThaw(), FREEZE_TIMEOUT_S, "vm.thaw", name, lane="guests")

    def guests(self) -> tuple[GuestAnswer, ...]:
        now_s = time.monotonic()
        self._hung = {run: until_s for run, until_s in self._hung.items() if until_s > now_s}
        asked = [run for run in self._ask(_running, GUEST_TIMEOUT_S) if run not in self._hung]
        with ThreadPoolExecutor(LEFT_BEHIND_LIMIT, "guests") as pool:
            found = pool.map(lambda run: self._guest(run, now_s + GUESTS_WITHIN_S), asked)
            return tuple(one for one in found if one is not None)

    def _guest(self, run: Run, until_s: float) -> GuestAnswer | None:
        """None: nobody knows what it would say. Whatever is wrong with one guest, the others are asked."""
        name, _start = run
        begun_s = time.monotonic()
        if begun_s > until_s:
            return None
        try:
            said = self._ask(lambda wire: _guest(wire.lookupByName(name)), GUEST_TIMEOUT_S, "vm.guest", name, lane="guests")
            return GuestAnswer(name, said)
        except TrivetError as error:
            if time.monotonic() - begun_s < HUNG_AFTER_S:
                return GuestAnswer(name, GuestInfo(agent=False)) if error.code == "vm.no-agent" else None
            self._hung[run] = begun_s + HUNG_S
            return None

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


def _powers(wire: Any) -> tuple[tuple[str, str], ...]:
    found = wire.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, _HOW)
    words = ((one.name(), f"{one.ID()} {said.get('state.state')} {said.get('state.reason')}") for one, said in found)
    return tuple(sorted(words))


def _running(wire: Any) -> list[Run]:
    return sorted((one.name(), one.ID()) for one in wire.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING))


def _guest(domain: Any) -> GuestInfo:
    try:
        return guest_info(domain.guestInfo(_ASKED, 0))
    except libvirt.libvirtError as error:
        if error.get_error_code() in (*NO_AGENT, libvirt.VIR_ERR_NO_DOMAIN):
            raise
    return guest_info(domain.guestInfo(0, 0))  # an older agent: whatever it knows
