"""Make saved memory: boot the engine image alone, wait for its standby, save its memory, prove it by a restore, put it away.

Everything that fails leaves what was there before, no VM, and a coded error; the engine VM boots cold then.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from appliance import layout
from appliance.effects.clock import Clock
from appliance.errors import Conflict, Failed, TrivetError, Unavailable
from appliance.model.vm import VmSpec, VmState
from ha_broker.warm.facts import FAILED, PANIC, READY, STANDBY_NAME, Machine, Saved, file_name, standby
from ha_broker.warm.shelf import REMEDY, Shelf, checksum, rename_inside

STANDBY_DEADLINE_S = 900.0
"""A cold boot takes 20 s on idle emulated CPUs. This one gets only what nobody else wants: 130 s at load 14."""
LOOK_EVERY_S = 1.0
SETTLE_S = 3.0
"""After the guest's word: its last log lines and writes are through then."""
PROOF_S = 2.0
"""How long the woken guest must run: a wrong image of memory or devices ends in a stopped QEMU at once."""
DISK_RESERVE_MIB = 512
"""Beyond the guest's whole memory: this must never be what fills /var."""
QEMU_MIB = 256
"""Of QEMU itself, beside the guest's memory (about 150 MiB measured under emulation)."""
CONSOLE_TAIL_LINES = 12

Log = Callable[[str], None]


class Verbs(Protocol):
    """What is needed of :class:`appliance.verbs.vms.VmVerbs`."""

    def find(self, name: str) -> VmState | None: ...

    def start(self, spec: VmSpec, paused: bool) -> VmState: ...

    def wake(self, spec: VmSpec, saved: str) -> VmState: ...

    def restrain(self, name: str) -> None: ...

    def resume(self, name: str) -> None: ...

    def save(self, name: str, path: str) -> None: ...

    def destroy(self, name: str) -> None: ...

    def qemu_version(self) -> str: ...


@dataclass(frozen=True)
class Maker:
    """Makes saved memory of ``spec`` (the engine VM as it is started here). ``console`` is the standby VM's."""

    verbs: Verbs
    shelf: Shelf
    clock: Clock
    spec: VmSpec
    wanted: Machine
    console: Path
    memory_available_mib: Callable[[], int]
    log: Log
    in_maintenance: Callable[[], bool]
    """Whether this node is being taken out of service, or is: nothing new begins on it."""

    def make(self) -> Saved:
        """Make it, whether or not there is good memory already. Raises ``Unavailable`` (``ha.warm-memory``,
        ``ha.warm-disk``, ``ha.warm-standby``), ``Conflict`` (``ha.warm-engine-starts``, ``ha.warm-maintenance``),
        ``Failed`` (``ha.warm-proof``, ``ha.warm-format``, ``vm.save``)."""
        engine_here = self.verbs.find(layout.ENGINE_VM_NAME) is not None
        self._give_way(engine_here)
        self.room(engine_here)
        self.verbs.destroy(STANDBY_NAME)  # of a maker that was killed
        saved = self.shelf.saved()
        self.shelf.clean(() if saved is None else (saved.file, "saved.json"))
        version = self.verbs.qemu_version()
        making = self.shelf.folder / "making"
        try:
            self.console.unlink(missing_ok=True)
            self.verbs.start(standby(self.spec), paused=True)
            self.verbs.restrain(STANDBY_NAME)
            self.verbs.resume(STANDBY_NAME)
            self.log(f"a standby engine VM boots ({self.wanted.image[:12]}, QEMU {version})")
            self._await_standby(engine_here)
            self.verbs.save(STANDBY_NAME, str(making))
            restore_s = self._prove(making)
            rename_inside(making, ((STANDBY_NAME, self.spec.name), (standby(self.spec).id, self.spec.id)))
            return self._put(making, version, restore_s)
        except TrivetError:
            making.unlink(missing_ok=True)
            raise
        finally:
            self.verbs.destroy(STANDBY_NAME)

    def room(self, engine_here: bool) -> None:
        """Refuse where the maker could take what the engine VM needs."""
        one = self.spec.memory_mib + QEMU_MIB
        needed, found = one * (1 if engine_here else 2), self.memory_available_mib()
        if found < needed:
            reason = f"{found} MiB of memory are available; {needed} are needed, so that the engine VM always finds its own"
            raise Unavailable("ha.warm-memory", subject="this node", reason=reason, remedy="Move VMs away from this node.")
        self.shelf.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        free_mib = shutil.disk_usage(self.shelf.folder).free >> 20
        if free_mib < self.spec.memory_mib + DISK_RESERVE_MIB:
            reason = f"{free_mib} MiB are free, {self.spec.memory_mib + DISK_RESERVE_MIB} are needed"
            raise Unavailable(
                "ha.warm-disk", subject=str(self.shelf.folder), reason=reason, remedy="Free space below /var on this node."
            )

    def _await_standby(self, engine_was_here: bool) -> None:
        deadline_s = self.clock.monotonic_s() + STANDBY_DEADLINE_S
        while READY not in (said := self._console()):
            self._give_way(engine_was_here)
            over = FAILED in said or PANIC in said or self.verbs.find(STANDBY_NAME) is None
            if over or self.clock.monotonic_s() >= deadline_s:
                tail = "\n".join(said.splitlines()[-CONSOLE_TAIL_LINES:])
                reason = (
                    f"it did not reach standby within {STANDBY_DEADLINE_S:g} s or said so. Its console's last lines:\n{tail}"
                )
                raise Unavailable("ha.warm-standby", subject="the standby engine VM", reason=reason, remedy=REMEDY)
            self.clock.sleep(LOOK_EVERY_S)
        self.clock.sleep(SETTLE_S)

    def _give_way(self, engine_was_here: bool) -> None:
        if not engine_was_here and self.verbs.find(layout.ENGINE_VM_NAME) is not None:
            reason = "the engine VM is being started on this node, and needs what it takes"
            raise Conflict("ha.warm-engine-starts", subject="the standby engine VM", reason=reason, remedy=REMEDY)
        if self.in_maintenance():
            reason = "this node is in local maintenance"
            remedy = "Nothing is needed: it is made once the node is back in service."
            raise Conflict("ha.warm-maintenance", subject="the standby engine VM", reason=reason, remedy=remedy)

    def _prove(self, making: Path) -> float:
        """Wake it once, as the standby VM that it was, and see it run; the seconds that the restore took."""
        began_s = self.clock.monotonic_s()
        before = self.verbs.wake(standby(self.spec), str(making))
        restore_s = self.clock.monotonic_s() - began_s
        self.verbs.restrain(STANDBY_NAME)
        self.verbs.resume(STANDBY_NAME)
        self.clock.sleep(PROOF_S)
        after = self.verbs.find(STANDBY_NAME)
        if after is None or after.power != "running" or after.cpu_time_s <= before.cpu_time_s:
            power = "gone" if after is None else after.power
            reason = f"the guest that was woken from it does not run ({power})"
            raise Failed("ha.warm-proof", subject=str(making), reason=reason, remedy=REMEDY)
        self.verbs.destroy(STANDBY_NAME)
        return restore_s

    def _put(self, making: Path, version: str, restore_s: float) -> Saved:
        making.chmod(0o600)
        with making.open("rb") as file:
            os.fsync(file.fileno())
        place = self.shelf.folder / file_name(self.wanted, version)
        making.replace(place)
        found = place.stat()
        made = datetime.fromtimestamp(self.clock.wall_s(), UTC).isoformat(timespec="seconds")
        saved = Saved(
            place.name, self.wanted, found.st_size, found.st_mtime_ns, checksum(place), made, version, round(restore_s, 2)
        )
        self.shelf.put(saved)
        return saved

    def _console(self) -> str:
        return self.console.read_text(errors="replace") if self.console.exists() else ""
