"""Procedures of a simulated broker: the world makes their port calls, at once or later, and may let the broker die between
any two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ha_broker import limits
from ha_broker.ports import Call, Procedure, Result, call
from ha_broker.sim.check import Broken
from ha_broker.sim.heap import Act, Heap, Waiting
from ha_broker.sim.storage import Stalled

STEP_S = 0.02
"""Between two port calls of a longer procedure."""


@dataclass(eq=False, slots=True)
class _Running:
    procedure: Procedure[Any]
    work: Call
    began_s: float


class SimBeside:
    """:class:`ha_broker.ports.Beside` of one broker process. ``end`` is its death: nothing under way is gone on with.

    The first call of a procedure is made at once when it is asked; what it answers is seen ``latency_s`` later.
    """

    def __init__(
        self, heap: Heap, waiting: Waiting, booted_s: float, awake: Callable[[Act], bool], remote: frozenset[str]
    ) -> None:
        self._heap = heap
        self._waiting = waiting
        self._remote = remote
        """The keys of calls that go over the storage network."""
        self._booted_s = booted_s
        """Where the host's monotonic clock begins: no process outlives a boot."""
        self._awake = awake
        """Says whether the process runs now; if not it keeps what is to be done when it goes on."""
        self._running: dict[str, _Running] = {}
        self._results: dict[str, Result] = {}
        self._ended = False
        self.latency_s = 0.005
        self.storage_s = 0.0
        """How much later those of the board are seen: resent packets."""
        self.counted = ""
        """The key whose calls are counted by ``on_call``."""
        self.on_call: Callable[[], None] | None = None

    def ask(self, key: str, procedure: Callable[[], Procedure[Any]]) -> bool:
        results = self._results
        if key in self._running or key in results:
            return False
        if type(procedure) is partial and procedure.func is call and key != self.counted:
            # one call, as most are: the same without the generator, unless it stalls
            now_s = self._heap.now_s - self._booted_s
            try:
                value = procedure.args[0]()
            except Stalled as stalled:
                generator = procedure()
                one = self._running[key] = _Running(generator, next(generator), now_s)
                self._waiting.add(stalled.until_s, partial(self._again, key, one))
            except Broken:
                raise
            except Exception as error:  # noqa: BLE001 - carried to the loop, as the threads do
                results[key] = Result(None, error, now_s, now_s + self._takes_s(key))
            else:
                results[key] = Result(value, None, now_s, now_s + self._takes_s(key))
            return True
        generator = procedure()
        one = _Running(generator, next(generator), self._clock())
        self._running[key] = one
        self._call(key, one)
        return True

    def _clock(self) -> float:
        return self._heap.now_s - self._booted_s

    def _takes_s(self, key: str) -> float:
        return self.latency_s + self.storage_s if self.storage_s and key in self._remote else self.latency_s

    def take(self, key: str) -> Result | None:
        result = self._results.get(key)
        if result is None or result.ended_s > self._clock():
            return None
        del self._results[key]
        return result

    def pending_s(self, key: str) -> float | None:
        one = self._running.get(key) or self._results.get(key)
        if one is None or (isinstance(one, Result) and one.ended_s <= self._clock()):
            return None
        return self._clock() - one.began_s

    def settle(self, seconds: float) -> None:
        raise AssertionError("the world decides when a turn goes on")

    def busy(self) -> bool:
        """Something new is under way: a turn waits for it as long as a turn may."""
        if not self._running:
            return False
        began_s = self._clock() - limits.SETTLE_S
        return any(one.began_s >= began_s for one in self._running.values())

    def end(self) -> None:
        """kill -9 of the process."""
        self._ended = True
        self._running = {}
        self._results = {}  # a call that ends the process it is made for leaves its answer in the old one

    def _again(self, key: str, one: _Running) -> None:
        if self._running.get(key) is one and self._awake(lambda: self._again(key, one)):
            self._call(key, one)

    def _call(self, key: str, one: _Running) -> None:
        try:
            try:
                value = one.work()
            except Stalled as stalled:
                self._waiting.add(stalled.until_s, lambda: self._again(key, one))
                return
            except Broken:
                raise
            except Exception as error:  # noqa: BLE001 - handed to the procedure, as the threads do
                one.work = one.procedure.throw(error)
            else:
                one.work = one.procedure.send(value)
        except StopIteration as ended:
            self._end(key, one, ended.value, None)
        except Broken:
            raise  # no procedure may take a broken invariant for an error of a port
        except Exception as error:  # noqa: BLE001 - carried to the loop, as the threads do
            self._end(key, one, None, error)
        else:
            self._heap.after(STEP_S, lambda: self._again(key, one))
        if self.on_call is not None and key == self.counted:
            self.on_call()

    def _end(self, key: str, one: _Running, value: Any, error: Exception | None) -> None:
        if not self._ended:
            del self._running[key]
            self._results[key] = Result(value, error, one.began_s, self._clock() + self._takes_s(key))
