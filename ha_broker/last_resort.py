"""When this node's broker cannot be kept alive: the engine VM is moved away, else stopped, so that another host starts it.

``trivet-ha-handover.service`` runs this once systemd has given the broker up (its start limit). Nothing here needs the
broker, and nothing starts the engine VM: what the disk's lock does not allow cannot be done by mistake. The host's slot
goes silent with its broker, so nobody hands anything to it until the broker is back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, Protocol, TypeVar

from appliance.errors import Failed, Refused, TrivetError, Unavailable
from appliance.model.ha import MaintenanceState
from ha_broker import board
from ha_broker.ports import Event, Ports, Procedure, call
from ha_broker.state import LocalVm, Register, Slot, own_epoch

T = TypeVar("T")

CODE: Final = "ha.broker-crash-loop"
"""Of the alert that a person gets."""

READING_PAUSE_S: Final = 2.5
"""Between two readings of the board: a living broker writes once a second, twice in 2.5 s also when one write is slow."""

READING_DEADLINE_S: Final = 10.0
"""Both readings and the pause: outlasts the stall that everybody has when a brick is lost (5.6 s); then the volume is dead
here."""

LOOK_DEADLINE_S: Final = 10.0
"""libvirt answers in milliseconds; one that is silent for ten seconds will not move a VM either."""

MIGRATE_DEADLINE_S: Final = 60.0
"""A migration took 2 s; libvirt is told to give up long before this."""

SHUTDOWN_S: Final = 20.0
"""From the power button to an engine VM that is off; then the plug is pulled, because the engine is of no use to anybody
while nobody watches it, and its disk is made for that."""

POLL_S: Final = 0.5
MOVING: Final = ("migrating", "incoming")
LOOKS: Final = 4
"""How often it is looked and decided anew: an arriving or leaving VM, a failed migration and a stop fit into it."""

FIRST_RETRY_S: Final = 60.0
"""The broker's first new chance: what broke it for a moment (memory, a full disk) is often over after a minute."""

MOST_RETRY_S: Final = 1800.0
"""… doubled with each hand-over up to this: a host that is repaired comes back within half an hour, unattended."""

STEADY_S: Final = 120.0
"""A broker that has turned this long is well again: longer than the window of its unit's start limit would need to fire."""


@dataclass(frozen=True)
class Way:
    """What to do with the engine VM here, and why, in a sentence. ``target``: the host that it is migrated to."""

    act: Literal["done", "leave", "wait", "migrate", "stop", "destroy"]
    sentence: str
    target: str = ""


def way(vm: LocalVm, epoch: int, alive: Sequence[Slot], maintenance: MaintenanceState, tried: bool) -> Way:
    """The next step. Pure.

    ``alive``: slots of other hosts that were written while we looked; ``epoch``: of the engine VM here, 0 when not
    known; ``tried``: a migration has failed.
    """
    if vm.power == "off":
        return Way("done", "the engine VM is not here")
    if vm.power in MOVING:
        return Way("wait", f"the engine VM is {vm.power}: what was begun may end first")
    newer = [slot for slot in alive if slot.engine == "running" and 0 < epoch < slot.engine_epoch]
    if newer:
        reason = f"{newer[0].host} runs it with epoch {newer[0].engine_epoch}"
        return Way("destroy", f"the engine VM here is an old one, {reason}: its QEMU is destroyed")
    if vm.power == "shutting-down":
        return Way("stop", "the engine VM is shutting down")
    if vm.power != "running":
        return Way("destroy", f"the engine VM is {vm.power} here and nobody watches it: its QEMU is destroyed")
    if maintenance == "global":
        return Way(
            "leave", "global maintenance is on, so nobody would start it elsewhere: the engine VM is left running here"
        )
    able = sorted((slot for slot in alive if slot.score > 0 and not slot.local_maintenance), key=lambda one: one.host)
    if able and not tried:
        target = max(able, key=lambda one: one.score).host
        return Way(
            "migrate", f"the engine VM is migrated to {target}, the fittest of the hosts with a living broker", target
        )
    why = "the migration failed" if tried else "no host with a living broker can take it"
    return Way("stop", f"{why}: the engine VM is stopped, so that whoever is able starts it")


def retry_s(count: int) -> float:
    """How long after its ``count``-th hand-over (from 1) the broker is started again."""
    return float(min(MOST_RETRY_S, FIRST_RETRY_S * 2 ** max(0, count - 1)))


class Record(Protocol):
    """How often the broker of this host was given up: see :class:`ha_broker.effects.unit.HandOvers`."""

    def count(self) -> int: ...

    def add(self) -> int: ...

    def clear(self) -> None: ...


class Recovery:
    """Tells, once, that a broker which had been given up is well again."""

    def __init__(self, ports: Ports, host: str, record: Record) -> None:
        self._ports = ports
        self._host = host
        self._record = record
        self._steady_at_s = ports.clock.monotonic_s() + STEADY_S if record.count() else None

    def turned(self) -> None:
        """The broker has finished a turn."""
        if self._steady_at_s is None or self._ports.clock.monotonic_s() < self._steady_at_s:
            return
        self._steady_at_s = None
        self._record.clear()
        sentence = f"the broker of {self._host} has been running for {STEADY_S:g} s again"
        self._ports.events.write(Event(self._ports.clock.wall_s(), self._host, "alert-over", 0, sentence, CODE, self._host))


class HandOver:
    """One hand-over, every call of it bounded: threads that hang on a dead volume or libvirt are left behind."""

    def __init__(self, ports: Ports, host: str, others: Sequence[str]) -> None:
        self._ports = ports
        self._host = host
        self._others = tuple(others)
        self._asked = 0

    def run(self) -> str:
        """Get the engine VM off this host; answers what became of it. Raises ``Failed`` (``ha.hand-over``),
        ``Unavailable`` (``ha.hand-over-deadline``: libvirt is silent)."""
        said: list[str] = []
        maintenance, alive = self._board()
        tried = False
        for _ in range(LOOKS):
            vm = self._look()
            step = way(vm, own_epoch(self._ports.notes.load(), vm, 0), alive, maintenance, tried)
            said.append(step.sentence)
            self._ports.events.write(Event(self._ports.clock.wall_s(), self._host, "decided", 0, step.sentence))
            if step.act in ("done", "leave"):
                return "; ".join(said)
            if step.act == "migrate":
                failure = self._try(partial(self._ports.hypervisor.migrate, step.target), MIGRATE_DEADLINE_S)
                tried = failure != ""
                said += [failure] if failure else []
            elif step.act == "wait":
                self._until(lambda now: now.power not in MOVING, MIGRATE_DEADLINE_S)
            elif step.act == "destroy" or not self._shut_down():
                self._bounded(partial(call, self._ports.hypervisor.destroy), LOOK_DEADLINE_S)
        raise Failed(
            "ha.hand-over",
            subject="the engine VM",
            reason=f"it is still here after {LOOKS} tries: {'; '.join(said)}",
            remedy="`virsh destroy HostedEngine` on this node; the unit does it as its very last step.",
        )

    # --- looking

    def _look(self) -> LocalVm:
        return self._bounded(partial(call, self._ports.hypervisor.engine_vm), LOOK_DEADLINE_S)

    def _board(self) -> tuple[MaintenanceState, tuple[Slot, ...]]:
        """The maintenance setting, and the other hosts' slots that were written while we looked."""

        def look() -> Procedure[tuple[dict[str, Slot], dict[str, Slot]]]:
            before = yield from self._slots()
            yield from call(partial(self._ports.clock.sleep, READING_PAUSE_S))
            return before, (yield from self._slots())

        try:
            before, after = self._bounded(look, READING_DEADLINE_S)
        except Unavailable:
            return "none", ()  # the volume is dead here: nobody can be asked, and nobody could take the VM from here
        register = max((slot.maintenance for slot in after.values()), default=Register())
        alive = tuple(after[name] for name in self._others if name in after and after[name] != before.get(name))
        return register.value, alive

    def _slots(self) -> Procedure[dict[str, Slot]]:
        found = {}
        for name in (*self._others, self._host):
            try:
                data = yield from call(partial(self._ports.board.read, name))
                if data is not None:
                    found[name] = board.from_bytes(name, data)
            except (OSError, Refused):
                continue  # a host whose slot cannot be read is none that could be trusted with the VM
        return found

    # --- acting

    def _shut_down(self) -> bool:
        if self._try(self._ports.hypervisor.shutdown, LOOK_DEADLINE_S):
            return False
        return self._until(lambda now: now.power == "off", SHUTDOWN_S)

    def _until(self, so: Callable[[LocalVm], bool], within_s: float) -> bool:
        end_s = self._ports.clock.monotonic_s() + within_s
        while not so(self._look()):
            if self._ports.clock.monotonic_s() >= end_s:
                return False
            self._ports.clock.sleep(POLL_S)
        return True

    def _try(self, work: Callable[[], None], within_s: float) -> str:
        """What went wrong; empty: nothing."""
        try:
            self._bounded(partial(call, work), within_s)
        except TrivetError as error:
            return str(error)
        return ""

    def _bounded(self, procedure: Callable[[], Procedure[T]], within_s: float) -> T:
        """The procedure in a thread of its own, waited for no longer than that."""
        self._asked += 1
        key = f"hand over {self._asked}"
        beside, clock = self._ports.beside, self._ports.clock
        beside.ask(key, procedure)
        end_s = clock.monotonic_s() + within_s
        while (result := beside.take(key)) is None:
            if clock.monotonic_s() >= end_s:
                raise Unavailable(
                    "ha.hand-over-deadline",
                    subject="the hand-over of the engine VM",
                    reason=f"no answer within {within_s:g} s",
                    remedy="Look at libvirtd and at the volume engine on this node.",
                )
            beside.settle(min(POLL_S, within_s))
        if result.error is not None:
            raise result.error
        value: Any = result.value
        return value  # type: ignore[no-any-return]
