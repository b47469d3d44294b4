"""One broker: observe → decide → act, a turn in two halves, so that a simulated world can interleave many brokers.

``begin`` asks for this turn's readings, ``end`` takes what came, decides, acts, and publishes. Neither ever blocks on
the volume, on libvirt or on the network.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from appliance.model.cluster import Cluster
from appliance.model.ha import HaDecision
from ha_broker import board, limits
from ha_broker.act import Progress, StartEnd, StartOrder, destroy, start
from ha_broker.decide import decide, engine_seen, recent_starts
from ha_broker.heard import Heard
from ha_broker.observe import Observer
from ha_broker.ports import Event, Ports
from ha_broker.state import Attempt, Decision, EngineSeen, LocalVm, Notes, Observation, Register, Slot, Work
from ha_broker.status import ha_status, told_by

START = "start the engine VM"
DESTROY = "destroy the engine VM"


class Broker:
    """The broker of one host."""

    def __init__(self, ports: Ports, cluster: Cluster, host: str) -> None:
        self._ports = ports
        self._cluster = cluster
        self._host = host
        self._observer = Observer(ports, cluster, host)
        self._notes = ports.notes.load()
        self._progress: Progress | None = None
        self._sequence = 0
        self._said: EngineSeen = "none"
        self._last = Decision("none", "", "")
        self._findings: dict[str, str] = {}
        self._decisions: deque[HaDecision] = deque(maxlen=limits.DECISIONS_KEPT)
        self._heard = Heard()
        self._engine = (False, False)
        self._hurried = False

    @property
    def turn_s(self) -> float:
        """How long after the begin of this turn the next one has to begin."""
        return limits.HURRIED_TURN_S if self._hurried else limits.TURN_S

    def begin(self) -> None:
        """First half of a turn: begin the readings."""
        here, up = self._engine
        self._observer.ask(here, up)

    def end(self) -> Decision:
        """Second half: decide by what came in, act, publish. Answers the decision."""
        self._finish()
        seen = self._observer.collect(self._notes, self._work())
        self._raise_epoch(seen)
        self._request()
        decision = decide(seen)
        self._perform(decision, seen)
        self._tell(decision, seen)
        self._publish(decision, seen)
        self._engine = (seen.vm.power == "running", seen.engine_up)
        quiet = seen.maintenance.value == "global" or (seen.nobody_for_s == 0 and seen.work is None)
        self._hurried = seen.storage.good_for_s < limits.GRACE_S + limits.TURN_S or not quiet
        return decision

    # --- what was begun in earlier turns

    def _work(self) -> Work | None:
        started_s = self._ports.beside.pending_s(START)
        if started_s is not None and self._progress is not None:
            return Work(self._progress.step, started_s, self._progress.cancelled)
        destroying_s = self._ports.beside.pending_s(DESTROY)
        return None if destroying_s is None else Work(DESTROY, destroying_s, kind="destroy")

    def _finish(self) -> None:
        ended = self._ports.beside.take(START)
        if ended is not None:
            error = StartEnd("failed", None, LocalVm("unknown", error=str(ended.error)), f"the start failed: {ended.error}")
            self._finish_start(ended.value if ended.error is None else error, ended.ended_s)
        ended = self._ports.beside.take(DESTROY)
        if ended is not None and ended.error is None:
            self._observer.set_vm(ended.value, ended.ended_s)
            self._event("destroyed", "QEMU here was destroyed")
        elif ended is not None:
            self._event("destroy-failed", f"QEMU here could not be destroyed: {ended.error}")

    def _finish_start(self, end: StartEnd, ended_s: float) -> None:
        self._progress = None
        self._observer.set_vm(end.vm, ended_s)
        attempts = (*self._notes.attempts[:-1], Attempt(self._notes.attempts[-1].at_s, end.outcome))
        if end.outcome != "done":
            attempts = (*attempts[:-1], Attempt(ended_s, end.outcome))
        self._save(Notes(end.held, attempts))
        kind = {"done": "start-done", "locked": "standby"}.get(end.outcome, "start-failed")
        self._event(kind, end.sentence, end.held.epoch if end.held else 0)

    # --- acting

    def _perform(self, decision: Decision, seen: Observation) -> None:
        if decision.action == "start":
            self._start(decision, seen)
        elif decision.action == "destroy":
            if self._progress is not None:
                self._progress.cancelled = True
            if self._ports.beside.ask(DESTROY, partial(destroy, self._ports)):
                self._save(replace(self._notes, held=None))

    def _start(self, decision: Decision, seen: Observation) -> None:
        since = datetime.fromtimestamp(self._ports.clock.wall_s(), UTC).isoformat(timespec="seconds")
        image = self._ports.host.facts().image
        recent = [a for a in self._notes.attempts if seen.now_s - a.at_s < limits.STARTS_WINDOW_S]
        notes = Notes(None, (*recent, Attempt(seen.now_s, "begun")))
        order = StartOrder(self._cluster, self._host, image, seen.epoch_known, notes, since)
        progress = Progress(seen.now_s)
        if self._ports.beside.ask(START, lambda: start(self._ports, order, progress)):
            self._progress = progress
            self._save(notes)
            self._event("start-begun", decision.sentence)

    def _save(self, notes: Notes) -> None:
        self._notes = notes
        self._ports.notes.save(notes)

    def _raise_epoch(self, seen: Observation) -> None:
        """An epoch under which a host runs the engine VM was made under the lock: no agent may obey a lower one any
        more (S2)."""
        running = [p.slot.engine_epoch for p in seen.peers if p.slot is not None and p.slot.engine == "running"]
        if max(running, default=0) <= self._ports.epochs.local():
            return
        try:
            self._ports.epochs.raise_local(max(running))
            self._findings.pop("", None)
        except OSError as error:  # a full /var (fault 44): the agent itself refuses whatever it cannot remember
            if self._findings.get("") != str(error):
                self._event("finding", f"this node's agent could not be told of epoch {max(running)}: {error}")
            self._findings[""] = str(error)

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

    # --- telling

    def _event(self, kind: str, sentence: str, epoch: int = 0) -> None:
        self._ports.events.write(Event(self._ports.clock.wall_s(), self._host, kind, epoch, sentence))

    def _tell(self, decision: Decision, seen: Observation) -> None:
        if (decision.rule, decision.sentence) != (self._last.rule, self._last.sentence):
            self._decisions.append(HaDecision(self._ports.clock.wall_s(), self._host, decision.sentence, decision.action))
            if decision.action != "start":
                self._event("decided", decision.sentence, seen.epoch_known)
        self._last = decision
        self._decisions.extend(self._heard.new(seen, self._ports.clock.wall_s()))
        for peer in seen.peers:
            if peer.finding and self._findings.get(peer.name, "") != peer.finding:
                self._event("finding", f"slot of {peer.name}: {peer.finding}; the host counts as silent")
            self._findings[peer.name] = peer.finding

    def _publish(self, decision: Decision, seen: Observation) -> None:
        working = self._progress is not None and not self._progress.cancelled
        if decision.action != "destroy":
            self._said = engine_seen(seen.vm, working, self._said)
        slot = self._slot(decision, seen)
        if self._observer.own_slot_read:
            self._observer.write(board.to_bytes(slot), slot.maintenance)
        status = ha_status(seen, slot, tuple(self._decisions))
        self._ports.status.write(told_by(status, self._cluster.engine, slot.host, decision, seen.now_s))

    def _slot(self, decision: Decision, seen: Observation) -> Slot:
        self._sequence = board.next_sequence(self._sequence, seen.now_s)
        running = self._said == "running"
        held = self._notes.held
        return Slot(
            host=self._host,
            boot_id=self._ports.host.boot_id(),
            sequence=self._sequence,
            score=seen.score.value,
            reasons=seen.score.reasons,
            engine=self._said,
            engine_epoch=seen.own_epoch if running else 0,
            engine_up=seen.engine_up,
            engine_since=held.since if running and held else "",
            epoch_known=seen.epoch_known,
            maintenance=self._observer.register,
            decision=decision.sentence,
            starts=recent_starts(self._notes.attempts, seen.now_s),
        )
