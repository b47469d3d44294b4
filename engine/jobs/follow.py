"""Follow the nodes: one thread each, so that a node that does not answer keeps nobody waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from appliance import layout
from appliance.codec import encode
from appliance.effects.clock import Clock
from appliance.errors import Conflict, TrivetError, Unavailable
from appliance.model.cluster import Cluster, Member
from appliance.model.vm import VmState
from appliance.model.vm_live import VmStatistics
from engine.decide.follow import Change, HostStatus, changes, host_status
from engine.decide.vm_usage import Measured
from engine.followed import Node, NodeOf
from engine.jobs.follow_domains import DomainFollower
from engine.jobs.follow_vms import VmFollower
from engine.members import Members
from engine.store.durable import Store
from engine.store.observed import Observations
from engine.store.records import EventRecord
from gluster.model import PoolStatus

TURN_S = 2.0
"""How often a node is asked: the console shows a change within two of these."""
SOON_S = 0.5
"""… while a VM is being started there: its host has told of the change, but the job that holds it ends later."""
REST_FACTOR = 6.0
"""After a turn that took long, rest so many times as long: twice as long left 44 % of an emulated CPU to the handshakes."""
REST_MAX_S = 5.0
"""… but no longer: with the turn itself it stays well below the silence (10 s) of which people are told."""
FACTS_EVERY_S = 30.0
MEASURED_EVERY_S = 15.0
"""What VMs use; people and monitoring look each minute or so, and a host with none is not asked."""
MEASURED = "vm-statistics"
"""Observation kind: a :class:`engine.decide.vm_usage.Measured`."""
POOL_EVERY_S = 6.0
"""Heal counts walk the bricks' indices: not more often than anybody can react."""
NO_MARK = "none"
HEARD = "heard"
"""Observation kind: the node answered. Its age is the node's silence."""
ENGINE = "engine"
"""Observation node: what the engine says of itself."""
SUPERSEDED = "superseded"

CODES: dict[HostStatus, int] = {"up": 13, "non_responsive": 12}
"""oVirt's AuditLogType numbers: VDS_DETECTED, VDS_FAILURE."""
SECURITY_EVENT = 10_700
"""Ours, beyond oVirt's numbers: an agent refused this engine because a newer one exists."""


def rest_s(every_s: float, took_s: float) -> float:
    """How long to rest after a turn that took ``took_s`` and is wanted every ``every_s``."""
    return max(every_s, min(REST_MAX_S, REST_FACTOR * took_s))


@dataclass(eq=False)
class Follower:
    """Asks one node. Not shared between threads."""

    member: Member
    node: Node
    observations: Observations
    clock: Clock
    on_stale: Callable[[TrivetError], None]
    log: Callable[[str], None]
    vms: VmFollower | None = None
    due_s: dict[str, float] = field(default_factory=dict)
    silent_because: str = ""
    measured: tuple[float, tuple[VmStatistics, ...]] = (0.0, ())
    """What its VMs had used at which monotonic time."""
    mark: str = NO_MARK
    """Of the states of its VMs, as its agent gave it last."""
    began_s: float = 0.0
    """Monotonic time since when it is asked: a host that has just joined is not silent yet."""

    def turn(self) -> float:
        """Ask once what is due; answers how many seconds to rest."""
        began_s = self.clock.monotonic_s()
        name = self.member.name
        try:
            self.observations.put(name, "statistics", encode(self.node.statistics()))
            self.observations.put(name, HEARD, True)
            asked_ms = int(self.clock.wall_s() * 1000)
            running = self.node.vms()
            self.observations.put(name, "vms", encode(running))
            self._tell_vms(running, asked_ms)
            self._often("facts", FACTS_EVERY_S, lambda: encode(self.node.facts()))
            if any(one.name != layout.ENGINE_VM_NAME for one in running):
                self._often(MEASURED, MEASURED_EVERY_S, self._measure)
            if self.silent_because:
                self.log(f"{name} answers again")
            self.silent_because = ""
        except Conflict as error:
            if error.code == "engine.stale-epoch":
                self.on_stale(error)
            self._silent(error)
        except TrivetError as error:
            self._silent(error)
        is_starting = not self.silent_because and self.vms is not None and self.vms.is_starting(self.member.id)
        return SOON_S if is_starting else rest_s(TURN_S, self.clock.monotonic_s() - began_s)

    def rest(self, rest_s: float, wait: Callable[[float], object]) -> None:
        """Until the next turn: at its agent, which answers as soon as a VM changes its state; ``wait`` waits here, where
        that cannot be."""
        end_s = self.clock.monotonic_s() + rest_s
        if not self.silent_because and self._changed(rest_s):
            return
        wait(max(0.0, end_s - self.clock.monotonic_s()))

    def _changed(self, within_s: float) -> bool:
        before = self.mark
        try:
            self.mark = self.node.vm_changes(before, int(within_s * 1000))
        except TrivetError:  # the next turn will say what is the matter, if anything is: older agents cannot tell
            self.mark = NO_MARK
        return NO_MARK not in (before, self.mark) and self.mark != before

    def _tell_vms(self, running: tuple[VmState, ...], asked_ms: int) -> None:
        """Into the VMs' rows. A database that does not answer says nothing about the node, and the next turn tells again."""
        if self.vms is None:
            return
        try:
            self.vms.heard(self.member.id, running, asked_ms)
        except TrivetError as error:
            self.log(f"what {self.member.name} says of its VMs could not be written: {error} [{error.code}]")

    def _measure(self) -> object:
        """All VMs of now, beside those of the last time: rates need both. Whose statistics fail has answered otherwise."""
        before_s, before = self.measured
        try:
            found = self.node.vm_statistics()
        except Unavailable as error:
            self.log(f"{self.member.name}: {MEASURED}: {error} [{error.code}]")
            return encode(Measured(()))
        now_s = self.clock.monotonic_s()
        self.measured = (now_s, found)
        return encode(Measured(found, before, now_s - before_s))

    def _silent(self, error: TrivetError) -> None:
        if str(error) != self.silent_because:
            self.log(f"{error} [{error.code}]")
        self.silent_because = str(error)

    def _often(self, kind: str, every_s: float, ask: Callable[[], object]) -> None:
        now_s = self.clock.monotonic_s()
        if now_s >= self.due_s.get(kind, now_s):
            self.observations.put(self.member.name, kind, ask())
            self.due_s[kind] = now_s + every_s

    def aside(self, kind: str, ask: Callable[[], object]) -> None:
        """Ask what concerns the whole cluster. A failure says nothing about this node, which has answered otherwise."""
        try:
            self.observations.put(self.member.name, kind, encode(ask()))
        except TrivetError as error:
            if error.code == "engine.stale-epoch":
                self.on_stale(error)
            self.log(f"{self.member.name}: {kind}: {error} [{error.code}]")


class Following:
    """All followers, and what is concluded from them."""

    def __init__(
        self,
        cluster: Cluster,
        epoch: int,
        node_of: NodeOf,
        store: Store,
        observations: Observations,
        clock: Clock,
        log: Callable[[str], None],
    ) -> None:
        self._members = Members(cluster, store.entities)
        self._node_of = node_of
        self._epoch = epoch
        self._store = store
        self._observations = observations
        self._clock = clock
        self._log = log
        self._statuses: dict[str, HostStatus] = {}
        self._superseded = threading.Event()
        self.stopped = threading.Event()
        self._vms = VmFollower(store, clock)
        self._domains = DomainFollower(store.entities, clock)
        self.followers = tuple(self._follower(member) for member in cluster.members)
        self._threads: dict[int, threading.Thread] = {}

    def _follower(self, member: Member) -> Follower:
        node = self._node_of(member)
        began_s = self._clock.monotonic_s()
        return Follower(member, node, self._observations, self._clock, self._stale, self._log, self._vms, began_s=began_s)

    def keep_up(self) -> None:
        """Follow the members of now. While the database cannot say who they are, those of before."""
        try:
            members = self._members().members
        except TrivetError as error:
            self._log(f"the members could not be read ({error})")
            return
        held = {one.member: one for one in self.followers}
        if tuple(held) != members:
            self.followers = tuple(held.get(member) or self._follower(member) for member in members)

    @property
    def speaker(self) -> Follower:
        """The node that is asked about pool and brokers: the first that is up."""
        return next((one for one in self.followers if self._statuses.get(one.member.name) == "up"), self.followers[0])

    def _stale(self, error: TrivetError) -> None:
        """A newer engine exists: stop asking and commanding, say so, for ever (this VM is to be destroyed)."""
        if self._superseded.is_set():
            return
        self._superseded.set()
        self._log(f"SECURITY: this engine is superseded: {error} [{error.code}]")
        self._observations.put(ENGINE, SUPERSEDED, {"epoch": self._epoch, "reason": str(error)})
        self._event("alert", SECURITY_EVENT, f"This engine (epoch {self._epoch}) is superseded: {error}", "")

    @property
    def superseded(self) -> bool:
        return self._superseded.is_set()

    def conclude(self) -> tuple[Change, ...]:
        """Judge the hosts' states now, and record what changed as events."""
        self.keep_up()
        heard = self._observations.all()
        now_s = self._clock.monotonic_s()
        now: dict[str, HostStatus] = {}
        for one in self.followers:
            last = heard.get((one.member.name, HEARD))
            now[one.member.name] = host_status(last.age_s if last else None, now_s - one.began_s)
        found = changes(self._statuses, now)
        self._statuses = now
        if self.superseded:
            return ()
        ids = {one.member.name: one.member.id for one in self.followers}
        for change in found:
            severity = "normal" if change.status == "up" else "error"
            why = {one.member.name: one.silent_because for one in self.followers}[change.host]
            sentence = f"{change.sentence} {why}" if why and change.status == "non_responsive" else change.sentence
            self._event(severity, CODES[change.status], sentence, ids[change.host])
            if change.status == "non_responsive":
                self._lost(ids[change.host])
        return found

    def _lost(self, host_id: str) -> None:
        """Nobody knows of its VMs now."""
        try:
            self._vms.silent(host_id)
        except TrivetError as error:
            self._log(f"the VMs of host {host_id} could not be marked ({error})")

    def _event(self, severity: str, code: int, text: str, host_id: str) -> None:
        wall_ms = int(self._clock.wall_s() * 1000)
        event = EventRecord(severity, "Trivet", text, code, wall_ms, host_id=host_id)  # type: ignore[arg-type]
        try:
            self._store.add_event(event)
        except TrivetError as error:
            self._log(f"an event could not be stored ({error}): {text}")

    def run(self, alive: Callable[[], object]) -> None:
        """Follow until stopped. ``alive`` is called each turn (the watchdog's food)."""
        # In threads of their own: glusterd may take many seconds to answer, and its node is not silent for that.
        targets = (
            partial(self._ask, "ha", TURN_S, lambda node: node.ha_status()),
            partial(self._ask, "pool", POOL_EVERY_S, self.pool),
        )
        threads = [threading.Thread(target=target, daemon=True) for target in targets]
        for thread in threads:
            thread.start()
        self._start_threads()
        while not self.stopped.wait(TURN_S):
            self.conclude()
            self._start_threads()
            if all(thread.is_alive() for thread in (*threads, *self._threads.values())) or self.superseded:
                alive()  # a thread that died is a defect: let the watchdog restart the unit

    def _start_threads(self) -> None:
        """One for each follower; that of a host that has left ends by itself."""
        wanted = {id(one): one for one in self.followers}
        self._threads = {key: thread for key, thread in self._threads.items() if key in wanted}
        for key, follower in wanted.items():
            if key not in self._threads:
                self._threads[key] = threading.Thread(target=self._follow, args=(follower,), daemon=True)
                self._threads[key].start()

    def _follow(self, follower: Follower) -> None:
        while follower in self.followers and not self.stopped.is_set() and not self.superseded:
            follower.rest(follower.turn(), self.stopped.wait)
        self._observations.close()
        self._store.close()

    def pool(self, node: Node) -> PoolStatus:
        """Ask a node for the pool, and write down what concerns the storage domains. A database that does not answer says
        nothing about the pool."""
        found = node.pool()
        try:
            self._domains.heard(found)
        except TrivetError as error:
            self._log(f"what the pool says of its volumes could not be written: {error} [{error.code}]")
        return found

    def _ask(self, kind: str, every_s: float, ask: Callable[[Node], object]) -> None:
        while not self.stopped.is_set() and not self.superseded:
            began_s = self._clock.monotonic_s()
            speaker = self.speaker
            speaker.aside(kind, partial(ask, speaker.node))
            self.stopped.wait(rest_s(every_s, self._clock.monotonic_s() - began_s))
        self._observations.close()
