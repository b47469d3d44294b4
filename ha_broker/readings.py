"""The slower readings of a broker: the volume's bricks, what is to be healed, free space, and the engine's /health. All
are asked beside the loop, and a start never waits for any of them: the last answer is used."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ha_broker import limits
from ha_broker.ports import Ports, Procedure, call
from ha_broker.state import Brick, Guest, Heal, LocalVm, Peer, PoolView

BRICKS = "look at the bricks"
HEAL = "ask what is to be healed"
FREE = "ask for free space"
HEALTH = "ask the engine's health"
EXECUTING = ("running", "migrating", "shutting-down")
"""States of a VM in which its guest may answer."""
NO_GUEST = Guest()
PATIENT = "ask the engine's health patiently"
"""Beside the other one, once that got no answer: a slow engine is told from one that hangs, and a new one is found at
once."""


def may_answer(vm: LocalVm) -> bool:
    """Its guest may run here; also where libvirt does not say so, but its process is here."""
    return vm.power in EXECUTING or (vm.power == "unknown" and vm.pid != 0)


class PoolReadings:
    """What is known of the volume ``engine`` as a whole."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._asked_s: dict[str, float] = {}
        self._bricks: tuple[Brick, ...] = ()
        self._heal: Heal | None = None
        self._free_bytes: int | None = None
        self._bricks_s = 0.0
        self._every_s = 0.0
        self._heal_s = 0.0
        self._stale_since_s: float | None = None
        self._steady_since_s = 0.0
        self._calm = True
        self._questions: dict[str, Callable[[], Procedure[Any]]] = {
            BRICKS: partial(call, ports.pool.bricks),
            HEAL: partial(call, ports.pool.heal),
            FREE: partial(call, ports.pool.free_bytes),
        }

    def ask(self, vm: LocalVm, nobody: bool, no_space: bool = False) -> None:
        """Begin what is due. ``nobody`` has the engine VM; ``no_space``: the last start here found the volume full."""
        here = vm.here
        self._every_s = 0.0 if here else limits.BRICKS_EVERY_S
        now_s = self._ports.clock.monotonic_s()
        self._question(BRICKS, self._every_s, now_s)
        calm = not nobody and vm.power != "paused-io-error"
        if self._calm and not calm:
            self._asked_s.pop(HEAL, None)  # something has just happened to the disk: is it still whole?
        self._calm = calm
        every_s = limits.HEAL_EVERY_S if here or nobody else limits.HEAL_EVERY_IDLE_S
        self._question(HEAL, limits.HEAL_EVERY_WAITING_S if here and self._stale_since_s is not None else every_s, now_s)
        if vm.power == "paused-no-space" or (nobody and no_space):
            self._question(FREE, limits.FREE_EVERY_S, now_s)

    def _question(self, key: str, every_s: float, now_s: float) -> None:
        """Ask it, if it is due."""
        if now_s - self._asked_s.get(key, -every_s) >= every_s:
            self._asked_s[key] = now_s
            self._ports.beside.ask(key, self._questions[key])

    def view(self, now_s: float) -> PoolView:
        """As it is known now."""
        self._take_answers()
        bricks = self._bricks if now_s - self._bricks_s < self._every_s + limits.BRICKS_FRESH_S else ()
        stale_s = 0.0 if self._stale_since_s is None else now_s - self._stale_since_s
        steady_s, heal_age_s = now_s - self._steady_since_s, now_s - self._heal_s
        return PoolView(bricks, stale_s, steady_s, self._heal, heal_age_s, self._free_bytes)

    def _take_answers(self) -> None:
        self._take_bricks()
        take = self._ports.beside.take
        ended = take(HEAL)
        if ended is not None and ended.error is None:
            self._heal_s = ended.began_s
            self._heal = ended.value
        ended = take(FREE)
        if ended is not None:
            self._free_bytes = ended.value if ended.error is None else None

    def _take_bricks(self) -> None:
        ended = self._ports.beside.take(BRICKS)
        if ended is None:
            return
        bricks: tuple[Brick, ...] = ended.value if ended.error is None else ()
        self._bricks_s = ended.ended_s
        if bricks == self._bricks:
            return
        before = {brick.host: brick.connected for brick in self._bricks}
        if {brick.host: brick.connected for brick in bricks} != before:
            self._steady_since_s = ended.ended_s
        self._bricks = bricks
        if not PoolView(bricks).to_open:
            self._stale_since_s = None
        elif self._stale_since_s is None:
            self._stale_since_s = ended.ended_s


class HealthReadings:
    """How the engine answers to this host, and what the others say of that."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._questions = {
            HEALTH: partial(call, partial(ports.health.epoch_up, limits.HEALTH_DEADLINE_S)),
            PATIENT: partial(call, partial(ports.health.epoch_up, limits.HEALTH_PATIENT_S)),
        }
        self._asked_s = -limits.HEALTH_PATIENT_S
        self._missed = False
        self._answer: tuple[float, int] | None = None
        self._here: tuple[int, float] | None = None
        self._answered_here = False
        self._unreached_since_s: float | None = None
        self._slow_since_s: float | None = None
        self._claim: tuple[int, float] | None = None
        self._still_since_s: float | None = None

    def ask(self, vm: LocalVm, up: bool, claimed: bool) -> None:
        """Ask /health if it is due. ``claimed``: another host says that the engine VM runs there."""
        here = may_answer(vm)
        if not here and not claimed:
            return
        now_s = self._ports.clock.monotonic_s()
        every_s = limits.HEALTH_EVERY_OTHER_S
        if here:
            every_s = limits.HEALTH_EVERY_S if up else limits.HEALTH_EVERY_STARTING_S
        if now_s - self._asked_s < every_s:
            return
        self._asked_s = now_s
        self._question(HEALTH)
        if self._missed and (self._answered_here or not here):
            self._question(PATIENT)

    def _question(self, key: str) -> None:
        self._ports.beside.ask(key, self._questions[key])

    def collect(self) -> None:
        """Take the answers that came."""
        take = self._ports.beside.take
        for key in (HEALTH, PATIENT):
            ended = take(key)
            if ended is None:
                continue
            epoch: int | None = ended.value if ended.error is None else None
            if epoch is not None and (self._answer is None or epoch >= self._answer[1]):
                self._answer = (ended.ended_s, epoch)
            if key == HEALTH:
                self._missed = epoch is None
                self._paced(ended.began_s, self._missed or ended.ended_s - ended.began_s > limits.HEALTH_SLOW_S)

    def _paced(self, began_s: float, slow: bool) -> None:
        if not slow:
            self._slow_since_s = None
        elif self._slow_since_s is None:
            self._slow_since_s = began_s

    def up(self, epoch: int, now_s: float) -> bool:
        """It answered "up" with that epoch lately."""
        return self._answered(epoch) and self._answer is not None and now_s - self._answer[0] < limits.HEALTH_FRESH_S

    def _answered(self, epoch: int) -> bool:
        return self._answer is not None and self._answer[1] == epoch

    def guest(self, vm: LocalVm, epoch: int, peers: tuple[Peer, ...], button_s: float | None, now_s: float) -> Guest:
        """Of the engine VM that runs here."""
        if not may_answer(vm):
            self._here, self._unreached_since_s, self._still_since_s = None, None, None
            return NO_GUEST if button_s is None else Guest(button_s=button_s)
        if self._here is None or self._here[0] != vm.pid:
            self._here, self._answered_here = (vm.pid, now_s), False
        if vm.process != "stopped":
            self._still_since_s = None
        elif self._still_since_s is None:
            self._still_since_s = now_s
        since_s = self._here[1]
        answered_s = self._answer[0] if self._answer is not None and self._answered(epoch) else since_s
        self._answered_here = self._answered_here or (self._answered(epoch) and answered_s >= since_s)
        others = False
        reached: tuple[str, ...] = ()
        for peer in peers:
            if peer.silent or peer.slot is None:
                continue
            others = True
            if peer.newer or peer.slot.engine_reached:
                reached += (peer.name,)
        if reached or not others or not self.up(epoch, now_s):
            self._unreached_since_s = None
        elif self._unreached_since_s is None:
            self._unreached_since_s = now_s
        slow = self._answered_here and self._slow_since_s is not None
        return Guest(
            running_s=now_s - since_s,
            answered=self._answered_here,
            unanswered_s=now_s - max(answered_s, since_s),
            reached_by=reached,
            unreached_s=0.0 if self._unreached_since_s is None else now_s - self._unreached_since_s,
            slow_s=now_s - self._slow_since_s if slow and self._slow_since_s is not None else 0.0,
            button_s=button_s,
            still_s=0.0 if self._still_since_s is None else now_s - self._still_since_s,
        )

    def reached(self, vm: LocalVm, peers: tuple[Peer, ...], now_s: float) -> bool:
        """What this host says of the engine on its slot."""
        if may_answer(vm):
            return True
        epoch = -1
        for peer in peers:
            slot = peer.slot
            if slot is not None and slot.engine_epoch > epoch and slot.engine in ("running", "migrating") and peer.claims:
                epoch = slot.engine_epoch
        if epoch < 0:
            self._claim = None
            return True
        if self._claim is None or self._claim[0] != epoch:
            self._claim = (epoch, now_s)
        answered_s = self._answer[0] if self._answer is not None and self._answered(epoch) else self._claim[1]
        return now_s - answered_s < limits.REACHED_FRESH_S or now_s - self._claim[1] < limits.REACHED_FRESH_S
