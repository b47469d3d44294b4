"""The life of a simulated broker process: what systemd and the daemon's loop do around the production class."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ha_broker import limits
from ha_broker.broker import START, Broker
from ha_broker.observe import WRITE, reading
from ha_broker.sim.beside import SimBeside
from ha_broker.sim.heap import Act
from ha_broker.sim.host import SimHost
from ha_broker.sim.host_ports import ports_of
from ha_broker.sim.net import STORAGE
from ha_broker.sim.process import Process
from ha_broker.sim.unit import HandOver, given_up

if TYPE_CHECKING:
    from ha_broker.sim.world import World

BROKER_RESTART_S = 1.0
"""systemd's RestartSec of the unit."""
BROKER_LOADS_S = 0.3
"""Python starts and imports."""
WATCHDOG_S = 10.0
"""WatchdogSec of the unit: a broker that made no turn for so long is killed."""


class Brokers:
    """Starts, turns, stops and kills the brokers of a world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def start(self, host: SimHost, in_s: float = 0.0) -> None:
        """Let systemd start it that much later."""
        host.restart_s = self._world.heap.now_s + in_s
        boot, at_s = host.boot, host.restart_s

        def begin() -> None:
            wanted = host.power and host.process is None and host.boot == boot and host.restart_s == at_s
            if wanted and host.awake_later(begin):
                if given_up(host):
                    HandOver(self._world, host)
                else:
                    self._new_process(host)

        self._world.heap.at(at_s, begin)

    def _new_process(self, host: SimHost) -> None:
        process: Process

        heap, remote = self._world.heap, frozenset({WRITE, *map(reading, self._world.names)})
        beside = SimBeside(heap, self._world.waiting, host.booted_s, lambda act: self._runs(host, process, act), remote)
        beside.counted = START
        beside.on_call = lambda: self._called(host)
        process = Process(Broker(ports_of(host, beside), self._world.cluster, host.name), beside)
        process.first_half = partial(self._turn_begin, host, process)
        process.second_half = partial(self._turn_end, host, process)
        host.process = process
        host.run_since_s = self._world.heap.now_s
        self._turn_begin(host, process)
        if host.crash_loop:
            self._world.heap.after(0.3 + 2.7 * self._world.rng.random(), lambda: self._crash(host, process))

    def _crash(self, host: SimHost, process: Process) -> None:
        if process.alive and host.crash_loop:
            self.kill(host)

    def _called(self, host: SimHost) -> None:
        if host.die_after_calls is None:
            return
        host.calls += 1
        if host.calls >= host.die_after_calls:
            host.die_after_calls = None
            self.kill(host)

    def _runs(self, host: SimHost, process: Process, act: Act) -> bool:
        if process.alive and host.power and not host.frozen and not process.stopped:
            return True
        if not process.alive:
            return False
        if process.stopped:
            host.deferred.append(act)
            return False
        return host.awake_later(act)

    def _turn_begin(self, host: SimHost, process: Process) -> None:
        hindered = process.stopped or host.frozen or not (process.alive and host.power)
        if hindered and not self._runs(host, process, process.first_half):
            return
        world = self._world
        process.began_s = world.heap.now_s
        beside = process.beside
        late_s = 0.002 + world.options.jitter_s * world.rng.random()
        if host.lag_s:
            late_s += host.lag_s * world.rng.random()
        beside.latency_s, beside.storage_s = late_s, world.net.delay_s(STORAGE, host.name)
        late_s += beside.storage_s
        process.broker.begin()
        wait_s = limits.SETTLE_S if late_s > limits.SETTLE_S or beside.busy() else late_s
        world.heap.after(wait_s + 0.001, process.second_half)

    def _turn_end(self, host: SimHost, process: Process) -> None:
        hindered = process.stopped or host.frozen or not (process.alive and host.power)
        if hindered and not self._runs(host, process, process.second_half):
            return
        decision = process.broker.end()
        if decision is not host.decision:
            if decision.rule != host.decision.rule:
                host.rules.append(decision.rule)
            host.decision = decision
        if process.alive:
            lag_s = host.lag_s * self._world.rng.random() if host.lag_s else 0.0
            next_s = process.began_s + process.broker.turn_s + lag_s
            self._world.heap.at(next_s, process.first_half)

    def kill(self, host: SimHost, restart_s: float | None = BROKER_RESTART_S) -> None:
        """kill -9; systemd starts it again, unless ``restart_s`` is None."""
        self.end(host)
        if restart_s is not None:
            self.start(host, restart_s + BROKER_LOADS_S)

    def end(self, host: SimHost) -> None:
        """The process is gone."""
        host.asked_until_s.clear()
        if host.process is not None:
            host.process.alive = False
            host.process.beside.end()
            host.process = None

    def stop(self, host: SimHost) -> None:
        """SIGSTOP; systemd's watchdog kills it in the end."""
        process = host.process
        if process is None or process.stopped:
            return
        process.stopped = True
        self._world.heap.after(WATCHDOG_S, lambda: self._watchdog(host, process))

    def _watchdog(self, host: SimHost, process: Process) -> None:
        if process.alive and process.stopped and host.awake_later(lambda: self._watchdog(host, process)):
            self.kill(host)

    def go_on(self, host: SimHost) -> None:
        """SIGCONT."""
        if host.process is not None and host.process.stopped:
            host.process.stopped = False
            host.run_since_s = self._world.heap.now_s
            if not host.frozen:
                self.wake(host)

    def wake(self, host: SimHost) -> None:
        """What was to be done meanwhile is done now."""
        waiting, host.deferred = host.deferred, []
        for act in waiting:
            self._world.heap.after(0.0, act)
