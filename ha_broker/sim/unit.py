"""What systemd does when it has given a simulated broker up: ``trivet-ha-handover.service``, with the production rule
(:func:`ha_broker.last_resort.way`), and a new chance for the broker later."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from appliance.errors import Refused, TrivetError, Unavailable
from ha_broker import board, last_resort
from ha_broker.ports import Event
from ha_broker.sim.host import WALL_S, SimHost
from ha_broker.sim.storage import Stalled
from ha_broker.state import LocalVm, Register, Slot, own_epoch

if TYPE_CHECKING:
    from ha_broker.sim.world import World

START_LIMIT: Final = 6
"""StartLimitBurst of the unit."""
START_LIMIT_S: Final = 120.0
"""StartLimitIntervalSec of the unit."""

Program = Generator[float | Callable[[], Any], Any, None]
"""Yields seconds to sleep, or a call to make."""


def given_up(host: SimHost) -> bool:
    """Whether systemd refuses one more start of the broker now; a start that is not refused is counted."""
    now_s = host.world.now_s
    host.unit_starts = [at_s for at_s in host.unit_starts if now_s - at_s < START_LIMIT_S]
    if len(host.unit_starts) >= START_LIMIT:
        return True
    host.unit_starts.append(now_s)
    return False


class HandOver:
    """One run of the unit on one host."""

    def __init__(self, world: World, host: SimHost) -> None:
        self._world = world
        self._host = host
        self._boot = host.boot
        self._program = self._steps()
        host.hand_overs += 1
        world.changed(f"systemd gives the broker of {host.name} up")
        self._go(None, None)

    # --- making the program's calls

    def _go(self, value: Any, error: Exception | None) -> None:
        try:
            wanted = self._program.send(value) if error is None else self._program.throw(error)
        except StopIteration:
            self._end()
            return
        except (TrivetError, OSError) as failed:
            self._last(str(failed))
            return
        if isinstance(wanted, float):
            self._later(self._world.now_s + wanted, lambda: self._go(None, None))
        else:
            self._call(wanted, self._world.now_s + last_resort.MIGRATE_DEADLINE_S)

    def _call(self, work: Callable[[], Any], until_s: float) -> None:
        try:
            value = work()
        except Stalled as stalled:
            if self._world.now_s >= until_s:
                self._go(None, Unavailable("sim.deadline", subject="libvirt", reason="no answer", remedy="-"))
            else:
                self._later(min(stalled.until_s, until_s), lambda: self._call(work, until_s))
        except (TrivetError, OSError) as failed:
            self._go(None, failed)
        else:
            self._go(value, None)

    def _later(self, at_s: float, act: Callable[[], None]) -> None:
        def awake() -> None:
            if self._host.boot == self._boot and self._host.awake_later(awake):
                act()

        self._world.heap.at(at_s, awake)

    # --- the unit

    def _steps(self) -> Program:
        host, tried = self._host, False
        before: dict[str, Slot] = yield self._slots
        yield last_resort.READING_PAUSE_S
        after: dict[str, Slot] = yield self._slots
        register = max((slot.maintenance for slot in after.values()), default=Register())
        alive = [slot for name, slot in after.items() if name != host.name and slot != before.get(name)]
        for _ in range(last_resort.LOOKS):
            vm: LocalVm = yield host.engine_vm
            step = last_resort.way(vm, own_epoch(host.notes, vm, 0), alive, register.value, tried)
            self._world.told(host, Event(WALL_S + self._world.now_s, host.name, "decided", 0, step.sentence))
            if step.act in ("done", "leave"):
                return
            if step.act == "migrate":
                try:
                    yield partial(host.migrate, step.target)
                except TrivetError:
                    tried = True
            elif step.act == "stop":
                yield host.shutdown
                yield last_resort.SHUTDOWN_S
                yield host.destroy
            elif step.act == "wait":
                yield 5.0
            else:
                yield host.destroy

    def _slots(self) -> dict[str, Slot]:
        found: dict[str, Slot] = {}
        for name in self._world.names:
            try:
                data = self._world.volume.read(self._host.name, f"board/{name}.slot")
                if data is not None:
                    found[name] = board.from_bytes(name, data)
            except (Refused, OSError):
                continue
        return found

    def _last(self, why: str) -> None:
        """The unit failed: its very last step ends QEMU."""
        self._world.changed(f"the hand-over on {self._host.name} failed ({why}): QEMU is killed")
        self._host.drop_qemu()
        self._end()

    def _end(self) -> None:
        now_s, in_s = self._world.now_s, last_resort.retry_s(self._host.hand_overs)
        if not now_s < self._host.restart_s < now_s + in_s:  # else somebody starts it before
            self._world.brokers.start(self._host, in_s)
        self._host.unit_starts.clear()
