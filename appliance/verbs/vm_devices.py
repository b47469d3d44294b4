"""Devices of a running VM: plugged in and out, changed in place. Disks by their serial, NICs by their address."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from xml.etree import ElementTree as Xml

from appliance.errors import Conflict, NotFound, Refused, TrivetError, Unavailable
from appliance.model.vm import VmDisk, VmNic
from appliance.model.vm_live import Screen, VncTicket
from appliance.ports import Clock, Hypervisor
from appliance.tools import live_xml
from appliance.tools.live_xml import LiveDisk, LiveDomain

UNPLUG_TIMEOUT_S = 15.0
"""A Linux guest lets go of a device in under a second; one that boots or hangs never does."""
LOOK_EVERY_S = 0.25
MEMORY_STEP_MIB = 128
"""Linux guests take memory in sections of that size."""
TICKET_LIMIT_CHARACTERS = 8
"""Of VNC's own authentication: the rest would be ignored."""


class VmDevices:
    """Verbs, all idempotent: asked twice, the second call finds it so. All raise ``NotFound`` (``vm.unknown``)."""

    def __init__(self, hypervisor: Hypervisor, clock: Clock) -> None:
        self._hypervisor = hypervisor
        self._clock = clock

    def plug_disk(self, name: str, disk: VmDisk) -> None:
        """Plug it in. Raises ``Conflict`` (``vm.disk-exists``: its serial is that of another file; ``vm.disk-locked``),
        ``Refused`` (``vm.disk-bus``), ``Failed`` (``vm.attach``)."""
        if disk.bus not in ("virtio", "scsi"):
            reason = f"{disk.bus} knows no plugging in while the machine runs"
            raise Refused("vm.disk-bus", subject=_vm(name), reason=reason, remedy="Use virtio-scsi or virtio.")
        domain = self._domain(name)
        found = domain.disk(disk.serial)
        if found is None:
            self._hypervisor.attach(name, domain.new_disk(disk))
        elif found.path != disk.path:
            raise Conflict(
                "vm.disk-exists",
                subject=_vm(name),
                reason=f"its disk {disk.serial} is {found.path}, not {disk.path}",
                remedy="Unplug that one first.",
            )

    def unplug_disk(self, name: str, disk: str) -> None:
        """Plug it out; the guest has let go of it when this returns. Not there: nothing. Raises ``Conflict``
        (``vm.unplug-refused``)."""
        self._unplug(name, f"disk {disk}", lambda domain: _element(domain.disk(disk)))

    def plug_nic(self, name: str, nic: VmNic) -> None:
        """Plug it in. There already: its bridge and link are made so."""
        domain = self._domain(name)
        if domain.nic(nic.mac) is None:
            self._hypervisor.attach(name, live_xml.new_nic(nic))
        else:
            self.set_nic(name, nic.mac, nic.bridge, nic.link_up)

    def unplug_nic(self, name: str, mac: str) -> None:
        """As :meth:`unplug_disk`."""
        self._unplug(name, f"NIC {mac}", lambda domain: domain.nic(mac))

    def set_nic(self, name: str, mac: str, bridge: str, link_up: bool) -> None:
        """Put it on another bridge (empty: the one it is on), its cable in or out. Raises ``NotFound``
        (``vm.nic-unknown``)."""
        found = self._domain(name).nic(mac)
        if found is None:
            raise NotFound("vm.nic-unknown", subject=_vm(name), reason=f"it has no NIC {mac}", remedy="Plug it in.")
        self._hypervisor.update(name, live_xml.with_link(found, bridge, link_up), False)

    def set_cd(self, name: str, drive: str, path: str, force: bool) -> None:
        """Put a CD (a file's absolute path) into the drive with that serial; empty: take it out. Raises ``NotFound``
        (``vm.drive-unknown``), ``Failed`` (``vm.update``: the guest keeps it shut; ``force`` opens it)."""
        found = self._domain(name).disk(drive)
        if found is None or found.element.get("device") != "cdrom":
            raise NotFound("vm.drive-unknown", subject=_vm(name), reason=f"it has no drive {drive}", remedy="Look again.")
        if found.path != path:
            self._hypervisor.update(name, live_xml.with_cd(found.element, path), force)

    def set_cpus(self, name: str, cpus: int) -> None:
        """Plug CPUs in or out. Raises ``Refused`` (``vm.cpus``: beyond its maximum), ``Failed`` (``vm.cpus``: the guest
        keeps them, or they were there from the start)."""
        has, most = self._domain(name).cpus
        if not 1 <= cpus <= most:
            reason = f"{cpus} CPUs were asked for, it can have 1 to {most} while it runs"
            raise Refused("vm.cpus", subject=_vm(name), reason=reason, remedy="Change its definition and start it anew.")
        if cpus != has:
            self._hypervisor.set_cpus(name, cpus)

    def set_memory(self, name: str, memory_mib: int) -> int:
        """Give it more memory, or take some by the balloon; answers what is plugged in then (in steps of 128 MiB).

        Raises ``Refused`` (``vm.memory``: beyond its maximum, or below what it is guaranteed), ``Failed`` (``vm.memory``,
        ``vm.attach``).
        """
        domain = self._domain(name)
        most = max(domain.memory_maximum_mib, domain.memory_mib)
        least = max(1, domain.guaranteed_mib)
        if not least <= memory_mib <= most:
            reason = f"{memory_mib} MiB were asked for, it can have {least} to {most} MiB while it runs"
            raise Refused("vm.memory", subject=_vm(name), reason=reason, remedy="Change its definition and start it anew.")
        missing = memory_mib - domain.memory_mib
        if missing > 0:
            step = math.ceil(missing / MEMORY_STEP_MIB) * MEMORY_STEP_MIB
            self._hypervisor.attach(name, live_xml.new_memory(min(step, most - domain.memory_mib)))
        self._hypervisor.set_balloon(name, memory_mib)
        return self._domain(name).memory_mib

    def screen(self, name: str) -> Screen:
        """Where its screen is. Raises ``NotFound`` (``vm.no-screen``)."""
        return _screen(self._graphics(name))

    def set_ticket(self, name: str, word: str, valid_s: float) -> VncTicket:
        """``word`` opens its screen for so long; empty: nothing does any more. A viewer that is in stays in. Raises
        ``NotFound`` (``vm.no-screen``), ``Refused`` (``vm.ticket``)."""
        if len(word) > TICKET_LIMIT_CHARACTERS or valid_s < 0:
            reason = f"a word of VNC has at most {TICKET_LIMIT_CHARACTERS} characters, and an end in the future"
            raise Refused("vm.ticket", subject=_vm(name), reason=reason, remedy="Choose a shorter one.")
        found = self._graphics(name)
        until_s = self._clock.wall_s() + valid_s
        valid_to = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(until_s))
        self._hypervisor.update(name, live_xml.with_ticket(found, word, valid_to), False)
        where = _screen(found)
        return VncTicket(where.address, where.port, until_s if word else 0.0)

    def _graphics(self, name: str) -> Xml.Element:
        found = self._domain(name).graphics()
        if found is None:
            raise NotFound("vm.no-screen", subject=_vm(name), reason="it has no screen", remedy="Start it with one.")
        return found

    def _domain(self, name: str) -> LiveDomain:
        return LiveDomain(self._hypervisor.domain_xml(name))

    def _unplug(self, name: str, what: str, find: Callable[[LiveDomain], Xml.Element | None]) -> None:
        found = find(self._domain(name))
        if found is None:
            return
        try:
            self._hypervisor.detach(name, live_xml.text_of(found))
        except TrivetError as error:
            if isinstance(error, Unavailable) or find(self._domain(name)) is not None:
                raise
        end_s = self._clock.monotonic_s() + UNPLUG_TIMEOUT_S
        while find(self._domain(name)) is not None:
            if self._clock.monotonic_s() >= end_s:
                raise Conflict(
                    "vm.unplug-refused",
                    subject=_vm(name),
                    reason=f"its guest did not let go of {what} within {UNPLUG_TIMEOUT_S:g} s",
                    remedy="Stop using it in the guest (unmount it), or shut the VM down.",
                )
            self._clock.sleep(LOOK_EVERY_S)


def _screen(graphics: Xml.Element) -> Screen:
    return Screen(graphics.get("listen", ""), int(graphics.get("port", "-1")))


def _element(disk: LiveDisk | None) -> Xml.Element | None:
    return disk.element if disk is not None else None


def _vm(name: str) -> str:
    return f"VM {name}"
