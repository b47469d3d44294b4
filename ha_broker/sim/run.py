"""One run: chaos, then a healed majority and what is demanded of it."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ha_broker import limits
from ha_broker.sim import guest
from ha_broker.sim.check import Broken
from ha_broker.sim.fast import REAL_EVERY, quick
from ha_broker.sim.faults import Fault, apply
from ha_broker.sim.plans import FIRST_S, HOSTS, Plan, plan
from ha_broker.sim.world import World, WorldOptions

CALM_S: Final = 20.0
"""All has been well for so long: then a demand can be made of the next fault."""
AFTER_S: Final = 25.0
"""No start may begin for so long after a harmless fault was over."""
REBOOT_S: Final = 30.0
"""L5: second brick back → start begins."""
STEADY_S: Final = 45.0
"""Once the engine is up after the healing nothing may happen any more for so long."""
SETTLED_S: Final = 8.0
"""After the healing: what the last fault has begun (a stall of 5.6 s) comes to its end."""
FRESH_S: Final = 120.0
"""The disk has to be freshly open by then: a heal, ten steady seconds, a refresh a minute at most."""
TRIES: Final = 3
"""A host that moved the engine VM so often lately may hold and alert instead."""
MOVES_S: Final = 10.0
"""… but a refresh, which ends within this."""
UP_S: Final = 115.0
"""Healed → the engine answers: boot of a host (10 s), lock standby of at most 40 s, a start, a cold boot with its
allowance. Longest with a guest that hangs and was handed over just then: 60 s until whoever got it gives it up, 15 s for its
power button, a start and a cold boot (seed 42959)."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended. ``invariant`` empty: all held."""

    seed: int
    kind: str
    invariant: str
    text: str
    faults: int
    simulated_s: float
    events: int
    starts: int


class Run:
    """One plan in one world."""

    def __init__(self, wanted: Plan, options: WorldOptions) -> None:
        self.plan = wanted
        self.world = World(options=replace(options, warm=options.warm and wanted.warm), seed=wanted.seed)
        self.applied = 0
        self._last_fault_s = 0.0
        self._healed_s = 0.0

    def outcome(self) -> Outcome:
        """Run it. Whatever a broker raises is a broken invariant, too."""
        invariant = text = ""
        try:
            self._chaos()
            self._live()
        except Broken as broken:
            invariant, text = broken.invariant, f"at {self.world.now_s:.2f} s: {broken.text}"
        except Exception as error:  # noqa: BLE001 - a broker that crashes is what is looked for
            where = traceback.extract_tb(error.__traceback__)[-1]
            at = f"{where.filename.rsplit('/', 1)[-1]}:{where.lineno}"
            invariant, text = "crash", f"at {self.world.now_s:.2f} s: {type(error).__name__} at {at}: {error}"
        world = self.world
        return Outcome(
            self.plan.seed,
            self.plan.kind,
            invariant,
            text,
            self.applied,
            world.now_s,
            world.heap.done,
            len(world.starts),
        )

    # --- chaos

    def _chaos(self) -> None:
        world = self.world
        for fault in self.plan.faults:
            world.heap.at(fault.at_s, lambda fault=fault: self._apply(fault))  # type: ignore[misc]
        world.run_to(FIRST_S)
        if not world.starts:
            raise Broken("L1", f"no start within {FIRST_S:g} s of the first turn")
        demanded = [one.at_s + one.for_s + AFTER_S for one in self.plan.faults if one.no_start or one.start_within_s]
        world.run_to(max([self.plan.chaos_s, *(one.at_s for one in self.plan.faults), *demanded]) + 0.01)

    def _apply(self, fault: Fault) -> None:
        world = self.world
        demand = (fault.start_within_s > 0 or fault.no_start) and self._well()
        before_s = world.now_s
        apply(world, fault)
        self.applied += 1
        self._last_fault_s = max(self._last_fault_s, before_s + fault.for_s)
        if demand and fault.start_within_s:
            world.heap.after(fault.start_within_s + 0.001, lambda: self._begun(fault, before_s))
        elif demand:
            world.heap.after(fault.for_s + AFTER_S, lambda: self._not_begun(fault, before_s))

    def _well(self) -> bool:
        """All hosts live, one engine VM answers, its disk is open everywhere, and has been for a while."""
        world = self.world
        hosts = list(world.hosts.values())
        holders = [host for host in hosts if host.qemu is not None]
        if len(holders) != 1 or world.now_s - self._last_fault_s < CALM_S:
            return False
        qemu = holders[0].qemu
        assert qemu is not None
        fresh = all(brick.connected and brick.open for brick in holders[0].bricks())
        enough = all(world.check.recent(host) < limits.STARTS_MAX for host in hosts)
        lively = all(host.broker_runs and world.now_s - host.run_since_s > CALM_S for host in hosts)
        return fresh and enough and lively and guest.answers(qemu, world.now_s - CALM_S) and qemu.power == "running"

    def _begun(self, fault: Fault, since_s: float) -> None:
        if not self.world.begun(since_s):
            raise Broken("L1", f"no start begun within {fault.start_within_s:g} s of “{fault.do}” at {since_s:.2f} s")

    def _not_begun(self, fault: Fault, since_s: float) -> None:
        for start in self.world.starts:
            if start.at_s >= since_s:
                late_s = start.at_s - since_s
                raise Broken("L3", f"“{fault.do}” at {since_s:.2f} s led to a start on {start.host} {late_s:.1f} s later")

    # --- liveness

    def _live(self) -> None:
        world = self.world
        self.calm()
        healed_s = self._healed_s = world.now_s
        world.run(SETTLED_S)
        for host in world.hosts.values():  # one switched on in the last second had not been read when it was lifted (34073)
            host.request = "none"
        deadline_s = healed_s + self._allowance_s()
        while not self._up():
            if self._contradiction():
                healed_s, deadline_s = world.now_s, world.now_s + self._allowance_s()
            elif not world.now_s < deadline_s:
                raise Broken(
                    "L1", f"the engine is not up {deadline_s - healed_s:g} s after the healing: {world.decisions()}"
                )
            world.run(1.0)
        world.run(2.0)
        starts = len(world.starts)
        world.run(STEADY_S)
        until_s = world.now_s + MOVES_S
        while not self._up() and world.now_s < until_s:
            world.run(1.0)
        if not self._up() or len(world.starts) != starts:
            raise Broken("L3", f"the engine did not stay where it was after the healing: {world.decisions()}")
        waiting = [name for name in self.plan.core if world.hosts[name].request is not None]
        if waiting:
            raise Broken("S6", f"{waiting[0]} never acknowledged that maintenance is to end")
        self._refreshed()

    def _refreshed(self) -> None:
        """Planned work rests on it: once all is well the data disk is open on every brick that is there."""
        world = self.world
        until_s = world.now_s + FRESH_S
        while not self._fresh() and world.now_s < until_s:
            world.run(2.0)
        if not self._fresh():
            raise Broken("refresh", f"the disk is not open on every brick {FRESH_S:g} s later: {world.decisions()}")

    def _fresh(self) -> bool:
        world = self.world
        holder = next((host for host in world.hosts.values() if host.qemu is not None), None)
        if holder is None:
            return True
        tried = [move for move in holder.notes.moves if move.at_s < self._healed_s - holder.booted_s]
        return len(tried) >= TRIES or all(brick.open or not brick.connected for brick in holder.bricks())

    def _contradiction(self) -> bool:
        """The core's copies blame each other, and a host that could settle it is away: nothing may start before it is back
        (S5). Now it comes back."""
        fresh = self.world.volume.model.fresh
        if set(self.plan.core) == set(self.world.names) or any(fresh(name) for name in self.plan.core):
            return False
        self.plan = replace(self.plan, core=HOSTS)
        self.calm()
        return True

    def _allowance_s(self) -> float:
        """How long the healed core may take."""
        hosts = [self.world.hosts[name] for name in self.plan.core]
        used = all(self.world.check.recent(host) >= limits.STARTS_MAX for host in hosts)
        return UP_S + (limits.STARTS_WINDOW_S if used else 0.0)

    def calm(self) -> None:
        """Heal the core; who is not in it loses power."""
        world = self.world
        world.heal_all()
        for name in world.names:
            (world.power_on if name in self.plan.core else world.power_off)(name)

    def _up(self) -> bool:
        world = self.world
        core = [world.hosts[name] for name in self.plan.core]
        holders = [host for host in core if host.qemu is not None]
        qemu = holders[0].qemu if len(holders) == 1 else None
        if qemu is None or qemu.power == "shutting-down":  # its button was pressed before it answered: it is on its way out
            return False
        return guest.answers(qemu, world.now_s) and all(host.epoch == qemu.epoch for host in core)


def run_seed(seed: int, options: WorldOptions | None = None) -> Outcome:
    """The random run of that seed."""
    with quick(seed % REAL_EVERY != 0):
        return Run(plan(seed), options or WorldOptions(keep_log=False)).outcome()


def run_seeds(seeds: Sequence[int]) -> list[Outcome]:
    """Those seeds, in whatever order is the quickest: what makes a run quick is entered once for all that take it."""
    outcomes = [run_seed(seed) for seed in seeds if seed % REAL_EVERY == 0]
    with quick(True):
        for seed in seeds:
            if seed % REAL_EVERY != 0:
                outcomes.append(run_seed(seed))
                gc.collect(0)  # its world, in one go: memory that is in the processor's cache is used again
    return outcomes
