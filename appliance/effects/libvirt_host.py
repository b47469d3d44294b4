"""libvirt of this node. This module and :mod:`appliance.effects.libvirt_migration` alone import its binding; every call has
a deadline and coded errors."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import libvirt

from appliance.effects import libvirt_migration
from appliance.effects.bounded import Bounded
from appliance.errors import Conflict, Failed, NotFound, TrivetError, Unavailable
from appliance.model.vm import VmPower, VmState
from appliance.tools.capabilities import usable_cpu_models

T = TypeVar("T")

QUERY_TIMEOUT_S = 4.0
"""Listing domains takes milliseconds; libvirtd that hangs for 4 s is what the broker has to hear of."""
CHANGE_TIMEOUT_S = 25.0
"""Starting took 0.3 s on a healthy volume; a cut of one brick stalls it for 6 s, and the domain lock for as long again."""
RESTORE_TIMEOUT_S = 12.0
"""Waking 240 MiB took 0.6 s, at load 17 on 2 cores 4.4 s. Longer is a hang: a cold boot would be through soon."""
SAVE_TIMEOUT_S = 120.0
"""Saving 240 MiB took 0.5 s; a slow disk may take a minute, and nobody waits for it."""
CPU_PERIOD_US = 100_000
"""The kernel's own default period; a quota of as much is one CPU."""
PID_FOLDER = Path("/run/libvirt/qemu")

_LOCKED = ('Failed to get "write" lock', 'Failed to get shared "write" lock', "Failed to lock byte")

_POWER: dict[int, VmPower] = {
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "running",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "shutting-down",
    libvirt.VIR_DOMAIN_SHUTOFF: "off",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "paused",
}
libvirt.registerErrorHandler(lambda _context, _error: None, None)  # errors are raised; the binding also prints them


class LibvirtHost:
    """A :class:`appliance.ports.Hypervisor`. One connection, opened when first needed and again after libvirtd restarted."""

    def __init__(self, uri: str = "qemu:///system") -> None:
        self._uri = uri
        self._bounded = Bounded("libvirt", "libvirt")
        self._lock = threading.Lock()
        self._held: Any = None

    def domains(self) -> tuple[VmState, ...]:
        return self._ask(lambda wire: tuple(sorted(_states(wire), key=lambda vm: vm.name)), QUERY_TIMEOUT_S)

    def start(self, xml: str, *, paused: bool) -> None:
        flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else libvirt.VIR_DOMAIN_NONE
        self._ask(lambda wire: wire.createXML(xml, flags), CHANGE_TIMEOUT_S, "vm.start")

    def resume(self, name: str) -> None:
        self._ask(lambda wire: wire.lookupByName(name).resume(), CHANGE_TIMEOUT_S, "vm.resume", name)

    def shutdown(self, name: str) -> None:
        self._ask(lambda wire: wire.lookupByName(name).shutdown(), CHANGE_TIMEOUT_S, "vm.shutdown", name)

    def destroy(self, name: str) -> None:
        self._ask(lambda wire: wire.lookupByName(name).destroy(), CHANGE_TIMEOUT_S, "vm.destroy", name)

    def migrate(self, name: str, target: str, deadline_s: float) -> None:
        def move(wire: Any) -> None:
            libvirt_migration.migrate(wire.lookupByName(name), target, deadline_s)

        self._ask(move, deadline_s + libvirt_migration.ABORT_S, "vm.migrate", name)

    def cpu_models(self, accelerated: bool) -> frozenset[str]:
        """Names of the CPU models that a guest on this host can be given."""
        kind = "kvm" if accelerated else "qemu"
        said = self._ask(lambda wire: str(wire.getDomainCapabilities(None, "x86_64", "q35", kind, 0)), QUERY_TIMEOUT_S)
        return usable_cpu_models(said)

    def save(self, name: str, path: str) -> None:
        # "sparse" writes each page of memory at a place of its own, so that waking reads only what is there.
        wanted = {libvirt.VIR_DOMAIN_SAVE_PARAM_FILE: path, libvirt.VIR_DOMAIN_SAVE_PARAM_IMAGE_FORMAT: "sparse"}
        self._ask(lambda wire: wire.lookupByName(name).saveParams(wanted, 0), SAVE_TIMEOUT_S, "vm.save", name)

    def saved_xml(self, path: str) -> str:
        return self._ask(lambda wire: str(wire.saveImageGetXMLDesc(path, 0)), QUERY_TIMEOUT_S, "vm.saved-memory")

    def restore(self, path: str, xml: str) -> None:
        paused = libvirt.VIR_DOMAIN_SAVE_PAUSED
        self._ask(lambda wire: wire.restoreFlags(path, xml, paused), RESTORE_TIMEOUT_S, "vm.restore")

    def attach(self, name: str, xml: str) -> None:
        live = libvirt.VIR_DOMAIN_AFFECT_LIVE
        self._ask(lambda wire: wire.lookupByName(name).attachDeviceFlags(xml, live), CHANGE_TIMEOUT_S, "vm.attach", name)

    def restrain(self, name: str) -> None:
        """By niceness, which always works, and by libvirt's limits where the host has the cgroups for them."""
        for thread in Path(f"/proc/{_pid(name)}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), 19)

        def limit(wire: Any) -> None:
            with suppress(libvirt.libvirtError):  # no cgroups (a container): niceness has to do
                limits = {"cpu_shares": 2, "global_period": CPU_PERIOD_US, "global_quota": CPU_PERIOD_US}
                wire.lookupByName(name).setSchedulerParameters(limits)

        self._ask(limit, QUERY_TIMEOUT_S, "vm.restrain", name)

    def qemu_version(self) -> str:
        return _dotted(self._ask(lambda wire: int(wire.getVersion()), QUERY_TIMEOUT_S))

    def version(self) -> str:
        return _dotted(self._ask(lambda wire: int(wire.getLibVersion()), QUERY_TIMEOUT_S))

    def _ask(self, call: Callable[[Any], T], timeout_s: float, code: str = "libvirt.failed", name: str = "") -> T:
        def run() -> T:
            try:
                return call(self._connection())
            except libvirt.libvirtError as error:
                raise self._coded(error, code, name) from error

        try:
            return self._bounded(run, timeout_s)
        except Unavailable:
            self._forget()
            raise

    def _connection(self) -> Any:
        with self._lock:
            if self._held is None or not _answers(self._held):
                self._held = None
                self._held = libvirt.open(self._uri)
            return self._held

    def _forget(self) -> None:
        """The next call opens a new connection. Without the lock: its holder may be the one that hangs."""
        self._held = None

    def _coded(self, error: libvirt.libvirtError, code: str, name: str) -> TrivetError:
        said = error.get_error_message() or str(error)
        number = error.get_error_code()
        subject = f"VM {name}" if name else "libvirt"
        if any(words in said for words in _LOCKED):
            return Conflict(
                "vm.disk-locked",
                subject=subject,
                reason=f"another QEMU holds the lock of its disk: {said[-400:]}",
                remedy="It runs elsewhere, or its lock is not free yet. Ask the other nodes for their VMs.",
            )
        if number == libvirt.VIR_ERR_NO_DOMAIN:
            return unknown_vm(name)
        if "already exists" in said or "already active" in said or "already defined" in said:
            return Conflict("vm.exists", subject=subject, reason=said, remedy="Destroy the old one first.")
        if number in (libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_SYSTEM_ERROR) and self._held is None:
            return Unavailable(
                "libvirt.unreachable", subject="libvirt", reason=said, remedy="`systemctl status libvirtd` says why."
            )
        if not self._alive():
            return Unavailable(
                "libvirt.unreachable",
                subject="libvirt",
                reason=f"it went away: {said}",
                remedy="It is unknown whether it acted. systemd restarts libvirtd; look at the VM's state then.",
            )
        return Failed(code, subject=subject, reason=said, remedy="Look into /var/log/libvirt/qemu and libvirtd's journal.")

    def _alive(self) -> bool:
        held = self._held
        return held is not None and bool(held.isAlive())


def _answers(wire: Any) -> bool:
    """Ask it something small. ``isAlive()`` alone still says yes after libvirtd was restarted, until something is sent."""
    try:
        return bool(wire.isAlive()) and wire.getLibVersion() > 0
    except libvirt.libvirtError:
        return False


def _dotted(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def unknown_vm(name: str) -> NotFound:
    """The error for a name that no domain has."""
    return NotFound(
        "vm.unknown",
        subject=f"VM {name}",
        reason="libvirt of this node knows no such VM",
        remedy="Ask the other nodes, or start it.",
    )


def _states(wire: Any) -> list[VmState]:
    found: list[VmState] = []
    for domain in wire.listAllDomains():
        try:
            found.append(_state(domain))
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:  # it ended between the list and the look at it
                raise
    return found


def _state(domain: Any) -> VmState:
    state, reason = domain.state()
    _, maximum_kib, _, cpus, cpu_time_ns = domain.info()
    name = domain.name()
    return VmState(
        id=domain.UUIDString(),
        name=name,
        power=_power_now(domain, state, reason),
        memory_mib=maximum_kib // 1024,
        cpus=cpus,
        cpu_time_s=cpu_time_ns / 1e9,
        pid=_pid(name),
    )


def _power_now(domain: Any, state: int, reason: int) -> VmPower:
    """What the state alone does not say: whether it comes or goes, and which error stopped it."""
    power = _power(state, reason)
    if power in ("running", "paused", "migrating"):
        return libvirt_migration.direction(domain) or ("paused" if power == "migrating" else power)
    if power == "paused-io-error" and _only_no_space(domain.diskErrors()):
        return "paused-no-space"
    return power


def _power(state: int, reason: int) -> VmPower:
    if state == libvirt.VIR_DOMAIN_PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_IOERROR:
        return "paused-io-error"
    if state == libvirt.VIR_DOMAIN_PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_MIGRATION:
        return "migrating"
    return _POWER.get(state, "off")


def _only_no_space(errors: Mapping[str, int]) -> bool:
    return bool(errors) and set(errors.values()) == {libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE}


def _pid(name: str) -> int:
    try:
        return int((PID_FOLDER / f"{name}.pid").read_text())
    except (FileNotFoundError, ValueError):
        return 0  # ended, or not a QEMU
