"""One broker: observe → decide → act, a turn in two halves, so that a simulated world can interleave many brokers.

``begin`` asks for this turn's readings, ``end`` takes what came, decides, acts, and publishes. Neither ever blocks on
the volume, on libvirt or on the network.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from appliance.model.cluster import Cluster
from ha_broker import board, limits
from ha_broker.act import Progress, StartEnd, StartOrder, destroy, start
from ha_broker.decide import decide, engine_seen, recent_starts
from ha_broker.fence import words
from ha_broker.handover import MoveOrder, Mover
from ha_broker.memory import Memory
from ha_broker.observe import Doing, Observer
from ha_broker.ports import Ports, Procedure, Result, call
from ha_broker.score import lately_unreached
from ha_broker.state import Attempt, Decision, EngineSeen, LocalVm, Observation, Register, Slot, Work, own_epoch
from ha_broker.status import ha_status, told_by
from ha_broker.tell import Teller

START = "start the engine VM"
DESTROY = "destroy the engine VM"
SHUTDOWN = "shut the engine VM down"
RESUME = "resume the engine VM"
IDLE = Doing()


class Broker:
    """The broker of one host."""

    def __init__(self, ports: Ports, cluster: Cluster, host: str) -> None:
        self._ports = ports
        self._cluster = cluster
        self._host = host
        self._boot_id = ports.host.boot_id()
        self._observer = Observer(ports, cluster, host)
        self._memory = Memory(ports.notes, ports.clock.monotonic_s())
        self._tell = Teller(ports, host)
        self._mover = Mover(ports, self._memory, self._tell)
        self._progress: Progress | None = None
        self._button: tuple[int, float] | None = None
        self._under_way: set[str] = set()
        """What was begun and whose end was not seen yet; a migration is the mover's."""
        self._sequence = 0
        self._said: EngineSeen = "none"
        self._up = False
        self.turn_s = limits.TURN_S
        """How long after the begin of this turn the next one has to begin."""

    def begin(self) -> None:
        """First half of a turn: begin the readings."""
        self._observer.ask(self._up)

    def end(self) -> Decision:
        """Second half: decide by what came in, act, publish. Answers the decision."""
        self._finish()
        seen = self._observer.collect(self._memory.notes, self._doing())
        self._learn(seen)
        self._request()
        decision = decide(seen)
        self._perform(decision, seen)
        self._tell.turn(decision, seen)
        sending_to = self._mover.sending_to
        self._publish(decision, seen, sending_to)
        self._up = seen.engine_up
        moving = sending_to != "" or seen.vm.power == "incoming"
        quiet = seen.maintenance.value == "global" or (seen.nobody_for_s == 0 and seen.work is None)
        hurried = seen.storage.good_for_s < limits.GRACE_S + limits.TURN_S or not quiet or moving
        self.turn_s = self._observer.planned_s = limits.HURRIED_TURN_S if hurried else limits.TURN_S
        return decision

    # --- what was begun in earlier turns

    def _doing(self) -> Doing:
        if not self._under_way and self._button is None and not self._mover.sending_to:
            return IDLE
        pressed_s = None if self._button is None else self._ports.clock.monotonic_s() - self._button[1]
        return Doing(self._work(), pressed_s, self._mover.handing_to)

    def _work(self) -> Work | None:
        if not self._under_way:
            return self._mover.work()
        pending = self._ports.beside.pending_s
        started_s = pending(START)
        if started_s is not None and self._progress is not None:
            return Work(self._progress.step, started_s, self._progress.cancelled)
        destroying_s = pending(DESTROY)
        if destroying_s is not None:
            return Work(DESTROY, destroying_s, kind="destroy")
        asked_s = pending(SHUTDOWN)
        if asked_s is not None:
            return Work(SHUTDOWN, asked_s, kind="shutdown")
        asked_s = pending(RESUME)
        return self._mover.work() if asked_s is None else Work(RESUME, asked_s, kind="resume")

    def _ask(self, key: str, procedure: Callable[[], Procedure[Any]]) -> bool:
        begun = self._ports.beside.ask(key, procedure)
        if begun:
            self._under_way.add(key)
        return begun

    def _take(self, key: str) -> Result | None:
        ended = self._ports.beside.take(key)
        if ended is not None:
            self._under_way.discard(key)
        return ended

    def _finish(self) -> None:
        ended = self._take(START) if self._under_way else None
        if ended is not None:
            error = StartEnd("failed", None, LocalVm("unknown", error=str(ended.error)), f"the start failed: {ended.error}")
            self._finish_start(ended.value if ended.error is None else error, ended.ended_s)
        ended = self._take(DESTROY) if self._under_way else None
        if ended is not None and ended.error is None:
            self._observer.set_vm(ended.value, ended.ended_s)
            self._tell.event("destroyed", "QEMU here was destroyed")
        elif ended is not None:
            self._tell.event("destroy-failed", f"QEMU here could not be destroyed: {ended.error}")
        moved = self._mover.finish()
        if moved is not None:
            self._observer.set_vm(*moved)
        if self._under_way:
            self._finish_asked(SHUTDOWN, "shutdown", "the guest's power button was pressed")
            self._finish_asked(RESUME, "resumed", "the guest goes on")

    def _finish_asked(self, key: str, kind: str, sentence: str) -> None:
        ended = self._take(key)
        if ended is not None:
            self._tell.event(kind, sentence if ended.error is None else f"{sentence}, in vain: {ended.error}")

    def _finish_start(self, end: StartEnd, ended_s: float) -> None:
        self._progress = None
        self._observer.set_vm(end.vm, ended_s)
        at_s = self._memory.notes.attempts[-1].at_s if end.outcome == "done" else ended_s
        self._memory.end(Attempt(at_s, end.outcome), end.held)
        kind = "start-done" if end.outcome == "done" else "start-failed" if self._memory.spent_last else "standby"
        self._tell.event(kind, end.sentence, end.held.epoch if end.held else 0)

    # --- learning

    def _learn(self, seen: Observation) -> None:
        self._raise_epoch(seen)
        self._mover.settle(seen)
        if self._button is not None and seen.vm.power != "unknown" and seen.vm.pid != self._button[0]:
            self._button = None
        attempts = seen.notes.attempts
        if attempts and "unhealthy" in [attempt.outcome for attempt in attempts]:
            elsewhere = any(p.claims and p.slot is not None and p.slot.engine_up for p in seen.peers)
            if seen.engine_up or elsewhere:
                self._memory.healthy()
        if seen.work is None:
            self._memory.let_go(seen)
        if seen.work is None and self._button is None and self._memory.adopt(seen, self._now):
            self._tell.event("adopted", f"the engine VM with epoch {seen.local_epoch} is looked after from here")

    def _raise_epoch(self, seen: Observation) -> None:
        """An epoch under which a host runs the engine VM was made under the lock: no agent may obey a lower one any
        more (S2). That of the VM here, too: one that was migrated hither while /var was full was told to no agent here."""
        highest = own_epoch(seen.notes, seen.vm, 0) if seen.vm.power == "running" else 0
        for peer in seen.peers:
            slot = peer.slot
            if slot is not None and slot.engine_epoch > highest and slot.engine in ("running", "migrating"):
                highest = slot.engine_epoch
        if highest <= self._ports.epochs.local():
            return
        try:
            self._ports.epochs.raise_local(highest)
            self._tell.fault("agent", "")
        except OSError as error:  # a full /var (fault 44): the agent itself refuses whatever it cannot remember
            self._tell.fault("agent", f"this node's agent could not be told of epoch {highest}: {error}")

    def _request(self) -> None:
        """Maintenance asked for on this host: into the register, acknowledged once it is on the board."""
        asked = self._ports.requests.maintenance()
        if asked is None:
            return
        register = self._observer.register
        if register.value != asked or register.counter == 0:
            self._observer.register = Register(register.counter + 1, self._host, asked)
        elif self._observer.written == register:
            self._ports.requests.done()

    # --- acting

    def _perform(self, decision: Decision, seen: Observation) -> None:
        if decision.rule in ("guest-never-up", "hold-console") and not seen.guest.answered:
            self._memory.unhealthy(seen.now_s)
        if decision.action == "start":
            self._start(decision, seen)
        elif decision.action == "destroy":
            self._destroy(decision)
        elif decision.action == "migrate" and decision.move is not None:
            self._mover.begin(MoveOrder(decision.target, seen.own_epoch, decision.move), decision.sentence)
        elif decision.action == "shutdown":
            self._shutdown(decision, seen)
        elif decision.action == "resume":
            self._ask(RESUME, partial(call, self._ports.hypervisor.resume))
        if seen.forced and decision.rule != "forced-waits":
            self._ports.requests.forced_done()
            if decision.rule != "forced":
                self._tell.event("forced-refused", f"a forced start was asked for: {decision.sentence}")

    def _start(self, decision: Decision, seen: Observation) -> None:
        if self._ports.beside.pending_s(START) is not None:
            return
        image = self._ports.host.facts().image
        notes = self._memory.begin(seen.now_s)
        order = StartOrder(self._cluster, self._host, image, seen.epoch_known, notes, self._now())
        progress = Progress(seen.now_s)
        if self._ask(START, lambda: start(self._ports, order, progress)):
            self._progress, self._button = progress, None
            self._tell.event("start-begun", decision.sentence)

    def _destroy(self, decision: Decision) -> None:
        if self._progress is not None:
            self._progress.lost = decision.rule == "start-storage-lost"
            self._progress.cancelled = True
        self._mover.cancel()
        if self._ask(DESTROY, partial(destroy, self._ports)) and not decision.again:
            self._memory.change(held=None, moving="")

    def _shutdown(self, decision: Decision, seen: Observation) -> None:
        if not self._ask(SHUTDOWN, partial(call, self._ports.hypervisor.shutdown)):
            return
        self._button = (seen.vm.pid, seen.now_s)
        if not decision.again:
            self._memory.change(held=None)
        if decision.move is not None:
            self._memory.change(released_s=seen.now_s)
        if decision.move == "unreached":
            self._memory.change(unreached_s=seen.now_s)

    def _now(self) -> str:
        return datetime.fromtimestamp(self._ports.clock.wall_s(), UTC).isoformat(timespec="seconds")

    # --- telling

    def _publish(self, decision: Decision, seen: Observation, sending_to: str) -> None:
        if decision.action != "destroy":
            working = self._progress is not None and not self._progress.cancelled
            self._said = engine_seen(seen.vm, working, self._said, bool(sending_to))
        slot = self._slot(decision, seen, sending_to)
        if self._observer.own_slot_read:
            self._observer.write(board.to_bytes(slot, self._observer.board_version), slot.maintenance)
        self._show(seen, slot)

    def _show(self, seen: Observation, slot: Slot) -> None:
        """The status, for people and programs on this node."""
        status = ha_status(seen, slot, self._tell.decisions, self._tell.alerts)
        self._ports.status.write(told_by(status, self._cluster.engine, slot.host))

    def _slot(self, decision: Decision, seen: Observation, sending_to: str) -> Slot:
        self._sequence = board.next_sequence(self._sequence, seen.now_s)
        here = self._said in ("running", "migrating")
        holding = seen.vm.power not in ("off", "crashed", "unknown", "incoming")
        notes = self._memory.notes
        return Slot(
            host=self._host,
            boot_id=self._boot_id,
            sequence=self._sequence,
            score=seen.score.value,
            reasons=seen.score.reasons,
            engine=self._said,
            engine_epoch=seen.own_epoch if here else 0,
            engine_up=seen.engine_up,
            engine_since=notes.held.since if here and notes.held else "",
            epoch_known=seen.epoch_known,
            maintenance=self._observer.register,
            decision=decision.sentence,
            starts=recent_starts(notes.attempts, seen.now_s),
            local_maintenance=seen.local_maintenance,
            engine_reached=seen.engine_reached,
            brick_here=seen.pool.here(self._host),
            fence=words(seen) if holding else "",
            handing_to=sending_to,
            open_on=seen.pool.open_on if holding else (),
            wait_s=round(decision.until_s - seen.now_s, 1) if decision.until_s is not None else 0.0,
            reads=board.VERSION,
            unreached=lately_unreached(notes, seen.now_s),
        )
