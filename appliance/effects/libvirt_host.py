"""libvirt of this node: its VMs and their power. What else is asked of it is in the modules beside, which it puts together;
only these import libvirt's binding. Every call has a deadline and coded errors."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import libvirt

from appliance.effects import libvirt_migration
from appliance.effects.libvirt_backups import LibvirtBackups
from appliance.effects.libvirt_blocks import LibvirtBlocks
from appliance.effects.libvirt_devices import LibvirtDevices
from appliance.effects.libvirt_guests import LibvirtGuests
from appliance.effects.libvirt_link import CHANGE_TIMEOUT_S, QUERY_TIMEOUT_S
from appliance.effects.libvirt_moves import LibvirtMoves
from appliance.errors import Failed
from appliance.model.vm import VmPower, VmState
from appliance.tools.capabilities import usable_cpu_models

RESTORE_TIMEOUT_S = 12.0
"""Waking 240 MiB took 0.6 s, at load 17 on 2 cores 4.4 s. Longer is a hang: a cold boot would be through soon."""
SAVE_TIMEOUT_S = 120.0
"""Saving 240 MiB took 0.5 s; a slow disk may take a minute, and nobody waits for it."""
RESTRAINED_GROUP_NICENESS = 10
"""A tenth of a full weight. At 19 (a seventieth) a guest on a busy host is starved until its units run into their limits; at
0 three of them beside an emulated engine were taken for its failure."""
PREFERRED_GROUP_NICENESS = -10
"""Ten times a full weight. While a restarted brick was healed, an emulated engine beside it answered after 1 to 3 s for
half a minute; with this weight nobody noticed the heal."""
WEIGH_TRIES = 5
WEIGH_AGAIN_S = 0.1
"""The kernel's pause between two such orders; five times it, because others may give some."""
PREFERRED_SHARES = 1000
"""Ten times what libvirt gives a VM (100, as cgroups of version 2 count)."""
CPU_PERIOD_US = 100_000
"""The kernel's own default period; a quota of as much is one CPU."""
PID_FOLDER = Path("/run/libvirt/qemu")

_POWER: dict[int, VmPower] = {
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "running",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "shutting-down",
    libvirt.VIR_DOMAIN_SHUTOFF: "off",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "paused",
}


def _went_without_a_word(error: Failed) -> bool:
    """Whether QEMU ended while it started, and libvirt read its log before virtlogd had written QEMU's last words into it:
    they begin with its program's name."""
    return error.code == "vm.start" and "monitor" in error.reason and "qemu-system" not in error.reason


class LibvirtHost(LibvirtDevices, LibvirtGuests, LibvirtBlocks, LibvirtBackups, LibvirtMoves):
    """A :class:`appliance.ports.Hypervisor`."""

    def domains(self) -> tuple[VmState, ...]:
        return self._ask(lambda wire: tuple(sorted(_states(wire), key=lambda vm: vm.name)), QUERY_TIMEOUT_S)

    def domain(self, name: str) -> VmState | None:
        def look(wire: Any) -> VmState | None:
            try:
                return _state(wire.lookupByName(name))
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
                return None

        return self._ask(look, QUERY_TIMEOUT_S)

    def start(self, xml: str, *, paused: bool) -> None:
        flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else libvirt.VIR_DOMAIN_NONE

        def create() -> None:
            self._ask(lambda wire: wire.createXML(xml, flags), CHANGE_TIMEOUT_S, "vm.start")

        try:
            create()
        except Failed as error:
            if not _went_without_a_word(error):
                raise
            create()  # the reason decides what the broker does

    def resume(self, name: str) -> None:
        self._ask(lambda wire: wire.lookupByName(name).resume(), CHANGE_TIMEOUT_S, "vm.resume", name)

    def shutdown(self, name: str) -> None:
        self._ask(lambda wire: wire.lookupByName(name).shutdown(), CHANGE_TIMEOUT_S, "vm.shutdown", name)

    def destroy(self, name: str) -> None:
        self._ask(lambda wire: wire.lookupByName(name).destroy(), CHANGE_TIMEOUT_S, "vm.destroy", name, lane="ending")

    def migrate(self, name: str, target: str, deadline_s: float) -> None:
        def move(wire: Any) -> None:
            domain = wire.lookupByName(name)
            libvirt_migration.check_reached(name, target)
            libvirt_migration.migrate(domain, target, deadline_s)

        self._ask(move, deadline_s + libvirt_migration.ABORT_S, "vm.migrate", name, lane="long")

    def cpu_models(self, accelerated: bool) -> frozenset[str]:
        """Names of the CPU models that a guest on this host can be given."""
        return usable_cpu_models(self.capabilities(accelerated))

    def capabilities(self, accelerated: bool) -> str:
        kind = "kvm" if accelerated else "qemu"
        return self._ask(lambda wire: str(wire.getDomainCapabilities(None, "x86_64", "q35", kind, 0)), QUERY_TIMEOUT_S)

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
        process = Path(f"/proc/{_pid(name)}")
        for thread in (process / "task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), 19)
        self._weigh(
            name,
            RESTRAINED_GROUP_NICENESS,
            {"cpu_shares": 2, "global_period": CPU_PERIOD_US, "global_quota": CPU_PERIOD_US},
            "vm.restrain",
        )

    def prefer(self, name: str) -> None:
        self._weigh(name, PREFERRED_GROUP_NICENESS, {"cpu_shares": PREFERRED_SHARES}, "vm.prefer")

    def _weigh(self, name: str, niceness: int, limits: dict[str, int], code: str) -> None:
        """By both that a host may have: the kernel's sessions, which it weighs as groups (threads' niceness counts within
        their own only), and cgroups, which libvirt knows; a container has none."""
        _weigh_session(Path(f"/proc/{_pid(name)}/autogroup"), niceness)

        def limit(wire: Any) -> None:
            with suppress(libvirt.libvirtError):
                wire.lookupByName(name).setSchedulerParameters(limits)

        self._ask(limit, QUERY_TIMEOUT_S, code, name)

    def qemu_version(self) -> str:
        return _dotted(self._ask(lambda wire: int(wire.getVersion()), QUERY_TIMEOUT_S))

    def version(self) -> str:
        return _dotted(self._ask(lambda wire: int(wire.getLibVersion()), QUERY_TIMEOUT_S))


def _weigh_session(autogroup: Path, niceness: int) -> None:
    """The kernel takes ten such orders a second, whoever gives them."""
    for _ in range(WEIGH_TRIES):
        try:
            autogroup.write_text(str(niceness))
        except FileNotFoundError:  # a kernel without them, or it ended meanwhile
            return
        except BlockingIOError:
            time.sleep(WEIGH_AGAIN_S)
        except PermissionError as error:
            raise Failed(
                "vm.weight",
                subject=str(autogroup),
                reason=f"this program may not set niceness {niceness}: {error.strerror}",
                remedy="Give its unit CAP_SYS_NICE; the VM runs without, only slower on a busy host.",
            ) from error
        else:
            return


def _dotted(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


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
