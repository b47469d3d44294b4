"""The invariants of the HA broker, looked at after every event of the simulated world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.model.ha import MaintenanceState
from ha_broker import limits
from ha_broker.ports import Event

if TYPE_CHECKING:
    from ha_broker.sim.guest import Qemu
    from ha_broker.sim.host import SimHost
    from ha_broker.sim.world import World

LINGER_S = 10.0
"""S3: within this time of the broker's running a QEMU that has lost the disk is destroyed."""
LOOK_AGAIN_S = 1.0
"""At a QEMU that stands still: its time counts from the last such look."""
OBEY_S = 2.0
"""S6: a setting that has been on the board this long was read by everybody who may start (own storage good for 1.8 s)."""


UNAWARE_S = 15.0
"""S7: a start whose QEMU dies in its middle may go on for this long (two stalls of the volume) until it finds out at its
resume. What it writes is an epoch that no guest gets, below or beside the next one."""
TRIES_MAX = 30
"""L2: no ping-pong. Beginnings of a start of one host within the window, also those that the lock refused (17 at most, each
40 s after the one before) or that did not reach the disk (a dozen in the minute in which they are waiting)."""
SAID_S = 4.0
"""Who has had the engine VM this long has said so on the board."""
HEARD_S = 1.6
"""A slot that was written within this time is no silent one."""
BLIP_S = 5.0
"""L3: a silence shorter than this restarts nothing."""
LAST_LOOK_S = limits.STALL_S + limits.TURN_S
"""Whoever was silent for longer than a blip and is heard again may have missed the last look before a start: a read that
takes longer is a stall of the reader's own, and the turn after it decides."""


class Broken(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant
        self.text = text


class Check:
    """Remembers what the invariants need of the past."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._last: Qemu | None = None
        self._highest: dict[str, int] = {}
        self.given = 0
        """The highest epoch that a guest got."""
        self._starts: dict[tuple[str, int], list[float]] = {}
        self._tries: dict[tuple[str, int], list[float]] = {}
        self._maintenance: tuple[float, MaintenanceState] = (0.0, "none")
        self._local_since: dict[str, float] = {}

    # --- after every event that changed anything

    def all(self) -> None:
        """S1, S2, S3 on the state as it is now."""
        world = self._world
        writers: list[Qemu] = []
        for host in world.hosts.values():
            qemu = host.qemu
            if qemu is not None:
                if qemu.executes and world.volume.may_write(qemu.handle):
                    writers.append(qemu)
                self._linger(host, qemu)
            if host.epoch < self._highest.get(host.name, 0):
                raise Broken("S2", f"the agent of {host.name} went back from {self._highest[host.name]} to {host.epoch}")
            self._highest[host.name] = host.epoch
        if len(writers) > 1:
            names = " and ".join(f"{one.host} (epoch {one.epoch})" for one in writers)
            raise Broken("S1", f"{names} can write the data disk at the same time")
        if writers and writers[0].power == "running":
            above = [name for name, epoch in self._highest.items() if epoch > writers[0].epoch]
            if above:
                text = f"the engine VM on {writers[0].host} writes with epoch {writers[0].epoch}"
                raise Broken("S2", f"{text}, the agent of {above[0]} takes only {self._highest[above[0]]}")

    def _linger(self, host: SimHost, qemu: Qemu) -> None:
        if qemu.power == "running" and qemu.broken:
            raise Broken("S3", f"QEMU on {host.name} had an I/O error and runs again")
        overtaken = 0 < qemu.epoch < self.given
        if (qemu.broken or overtaken) and qemu.lost_since_s is None:
            now_s = self._world.heap.now_s
            qemu.lost_since_s = now_s
            self._world.heap.at(now_s + LINGER_S + 0.001, lambda: self._still_there(host, qemu))

    def _still_there(self, host: SimHost, qemu: Qemu) -> None:
        if qemu.ended or qemu.lost_since_s is None:
            return
        now_s = self._world.heap.now_s
        if qemu.still:  # it does nothing, libvirt tells nobody of its disk, and the kernel may not let it be killed (05c)
            qemu.lost_since_s = now_s
            self._world.heap.at(now_s + LOOK_AGAIN_S, lambda: self._still_there(host, qemu))
            return
        ran_s = host.runs_for_s()
        left_s = LINGER_S - min(ran_s, now_s - qemu.lost_since_s)
        if left_s <= 0:
            raise Broken("S3", f"QEMU on {host.name} lost the disk {now_s - qemu.lost_since_s:.1f} s ago and is still there")
        self._world.heap.at(now_s + max(left_s, 0.1), lambda: self._still_there(host, qemu))

    # --- when it happens

    def wrote(self, qemu: Qemu) -> None:
        """A guest's write reached the disk."""
        last = self._last
        if last is not qemu and last is not None:
            if qemu.epoch < last.epoch:
                raise Broken("S1", f"{qemu.host} wrote with epoch {qemu.epoch} after {last.host} had with {last.epoch}")
            if qemu.epoch == last.epoch and not last.ended:
                raise Broken("S1", f"{qemu.host} and {last.host} both write with epoch {qemu.epoch}")
        self._last = qemu

    def resumed(self, qemu: Qemu) -> None:
        """A guest begins to run under a new epoch."""
        if qemu.epoch <= self.given:
            raise Broken("S2", f"{qemu.host} starts with epoch {qemu.epoch}, {self.given} was given before")
        self.given = qemu.epoch
        host = self._world.hosts[qemu.host]
        if host.epoch < qemu.epoch:
            raise Broken("S2", f"{qemu.host} starts with epoch {qemu.epoch}, its own agent takes {host.epoch}")
        if host.read_record() != qemu.epoch:
            raise Broken("S2", f"{qemu.host} starts with epoch {qemu.epoch}, the record says {host.read_record()}")
        if qemu.split:  # one that came about after the disk was opened is met by a VM that is there already
            raise Broken("S5", f"{qemu.host} starts although {qemu.split[0]} is in split-brain")

    def resumed_stopped(self, qemu: Qemu) -> None:
        """A stopped QEMU is told to go on."""
        if qemu.broken:
            raise Broken("S3", f"QEMU on {qemu.host} is resumed after an I/O error")

    def under_lock(self, host: SimHost, what: str) -> None:
        """S7: shared state is written only by who has the disk, or had it until its QEMU died a moment ago."""
        held = host.qemu is not None and host.qemu.power == "paused"
        if not held and self._world.heap.now_s - host.lost_paused_s > UNAWARE_S:
            raise Broken("S7", f"{host.name} writes {what} without holding the data disk")

    def destroying(self, host: SimHost) -> None:
        """L4: a good engine VM is destroyed only for a reason; counted for plans that give none."""
        qemu = host.qemu
        if qemu is not None and qemu.executes and not qemu.hung and self._world.volume.may_write(qemu.handle):
            self._world.good_destroyed += 1

    def slot_written(self, host: SimHost, said_s: float) -> None:
        """A broker's slot has reached the board. ``said_s``: when it was made; one that a stall held back is no news."""
        now_s = self._world.heap.now_s
        if said_s - host.said_s >= BLIP_S:
            host.heard_again_s = now_s
        host.said_s, host.wrote_s = said_s, now_s
        qemu = host.qemu
        if (
            qemu is not None
            and qemu.told_s is None
            and qemu.power == "running"
            and said_s > max(qemu.here_s, qemu.resumed_s)
        ):
            qemu.told_s = now_s

    def maintenance_is(self, value: MaintenanceState) -> None:
        """The setting is on the board."""
        self._maintenance = (self._world.heap.now_s, value)

    def told(self, host: SimHost, event: Event) -> None:
        """S6 and L2 at each start."""
        if not event.sentence.strip():
            raise Broken("L6", f"{host.name} did “{event.kind}” without a sentence")
        begun = self._starts.setdefault((host.name, host.boot), [])
        if event.kind == "standby" and begun:
            begun.pop()
        if event.kind != "start-begun":
            return
        now_s = self._world.heap.now_s
        since_s, value = self._maintenance
        lifted = any(one.request == "none" for one in self._world.hosts.values())
        if value == "global" and now_s - since_s > OBEY_S and not host.forced and not lifted:
            raise Broken("S6", f"{host.name} begins a start in global maintenance")
        if host.local_since_s is not None and now_s - host.local_since_s > OBEY_S and not host.forced:
            raise Broken("S6", f"{host.name} begins a start in local maintenance")
        self._rival(host)
        begun.append(now_s)
        self._ping_pong(host, now_s)
        recent = [at_s for at_s in begun if now_s - at_s < limits.STARTS_WINDOW_S]
        if len(recent) > limits.STARTS_MAX and not host.forgets:
            raise Broken("L2", f"{host.name} begins its start number {len(recent)} within {limits.STARTS_WINDOW_S:g} s")
        self._starts[host.name, host.boot] = recent

    def _ping_pong(self, host: SimHost, now_s: float) -> None:
        tries = self._tries.setdefault((host.name, host.boot), [])
        tries[:] = [at_s for at_s in tries if now_s - at_s < limits.STARTS_WINDOW_S] + [now_s]
        if len(tries) > TRIES_MAX and not host.forgets:
            raise Broken("L2", f"{host.name} begins a start for the {len(tries)}th time within {limits.STARTS_WINDOW_S:g} s")

    def _rival(self, host: SimHost) -> None:
        """L3: nobody begins a start while the one who has the engine VM says so on the board."""
        now_s = self._world.heap.now_s
        for other in self._world.hosts.values():
            qemu = other.qemu
            if other is host or qemu is None or qemu.power != "running" or qemu.broken or other.slot_spoiled_s > now_s:
                continue
            settled = now_s - qemu.resumed_s > SAID_S and other.runs_for_s() > SAID_S and now_s - qemu.here_s > SAID_S
            # Who sent it knows where it is without being told, until a silence that is no blip has made it doubt that.
            settled = settled or (qemu.came_from == host.name and other.heard_again_s <= qemu.here_s)
            heard = self._world.volume.reads_well(host.name) and now_s - other.wrote_s < HEARD_S
            told = qemu.told_s is not None and now_s - qemu.told_s > LAST_LOOK_S  # a write may be held up (seed 15265)
            heard = heard and (told or qemu.came_from == host.name)
            if settled and heard and now_s - other.heard_again_s > LAST_LOOK_S:
                raise Broken("L3", f"{host.name} begins a start although {other.name} runs the engine VM and says so")

    def recent(self, host: SimHost) -> int:
        """Starts of that host that count for L2 now."""
        now_s = self._world.heap.now_s
        return sum(1 for at_s in self._starts.get((host.name, host.boot), ()) if now_s - at_s < limits.STARTS_WINDOW_S)
