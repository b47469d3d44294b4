"""The jobs process: adopt what a dead one left, then take up what is ordered, within bounds."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from appliance.errors import TrivetError
from engine.decide.queue import Waiting, choose
from engine.jobs.run import Superseded, World, run
from engine.store.jobs import JobRecord

RUNNING_LIMIT = 12
"""Jobs at once: they mostly wait for nodes; each costs a thread and a connection of some hundred KiB."""
LOOK_EVERY_S = 1.0
"""How often the queue is looked at when nobody rings."""
PRUNE_EVERY_S = 3600.0


@dataclass
class JobsProcess:
    """Runs jobs until it is stopped. One per engine: who starts a second one has two hands at one disk."""

    world: World
    rings: Callable[[float], object]
    """Waits until somebody rings, at most so many seconds."""
    runner: str = field(default_factory=lambda: str(uuid.uuid4()))
    superseded: threading.Event = field(default_factory=threading.Event)
    _threads: dict[str, threading.Thread] = field(default_factory=dict)
    _prune_s: float = float("-inf")

    def serve(self, alive: Callable[[], object] = lambda: None) -> None:
        """Work until ``world.stopping`` is set (or a newer engine exists), then wait for the steps that are under way."""
        for job in self.world.jobs.adopt(self.runner):
            self.world.log(f"job {job.id} ({job.description}) was left by another process: it goes on")
            self._start(job)
        while not self.world.stopping.is_set():
            self.turn()
            alive()
            self.rings(LOOK_EVERY_S)
        for thread in list(self._threads.values()):
            thread.join()

    def turn(self) -> None:
        """Start what may start now."""
        self._threads = {name: thread for name, thread in self._threads.items() if thread.is_alive()}
        try:
            if not self.world.jobs.is_idle():
                self._take_up()
            now_s = self.world.clock.monotonic_s()
            if now_s - self._prune_s >= PRUNE_EVERY_S:
                self.world.jobs.prune()
                self._prune_s = now_s
        except TrivetError as error:
            self.world.log(f"the queue cannot be read: {error} [{error.code}]")

    def _take_up(self) -> None:
        for job in self.world.jobs.of(self.runner):  # those whose thread ended because the database did not answer
            if job.id not in self._threads:
                self._start(job)
        for job in self.world.jobs.take(self.runner, self._choose):
            self._start(job)

    @staticmethod
    def _choose(waiting: Sequence[JobRecord], owners: Sequence[str]) -> Iterable[str]:
        return choose([Waiting(job.id, job.owner_id) for job in waiting], owners, RUNNING_LIMIT)

    def _start(self, job: JobRecord) -> None:
        thread = threading.Thread(target=self._run, args=(job,), name=f"job {job.id}")
        self._threads[job.id] = thread
        thread.start()

    def _run(self, job: JobRecord) -> None:
        try:
            run(self.world, job.id)
        except Superseded:
            self.superseded.set()
            self.world.stopping.set()
        except TrivetError as error:
            # The database does not answer: nothing can be journalled, so nothing is done. Our next start goes on.
            self.world.log(f"job {job.id} stops: {error} [{error.code}]")
        finally:
            self.world.entities.connection.close()
