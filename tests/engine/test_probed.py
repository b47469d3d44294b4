"""Health looks once for all who ask within a second."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from appliance.errors import Unavailable
from engine.probed import SHARED_S, Probed


class Database:
    """Counts how often it was looked at, and fails when told to."""

    def __init__(self) -> None:
        self.looks = 0
        self.broken = False

    def look(self) -> None:
        self.looks += 1
        if self.broken:
            raise Unavailable("store.failed", subject="the engine's database", reason="it is full", remedy="Add space.")


def test_who_asks_within_a_second_shares_a_look_and_later_there_is_a_new_one() -> None:
    probed, database, now_s = Probed(), Database(), 10.0
    assert probed.error(database.look, lambda: now_s) is None
    database.broken = True
    now_s += SHARED_S
    assert probed.error(database.look, lambda: now_s) is None
    assert database.looks == 1
    now_s += 0.001
    failed = probed.error(database.look, lambda: now_s)
    assert failed is not None and failed.reason == "it is full"
    database.broken = False
    now_s += SHARED_S + 0.001
    assert probed.error(database.look, lambda: now_s) is None
    assert database.looks == 3


def test_who_comes_while_somebody_looks_waits_and_does_not_look_again() -> None:
    probed, database, at_work, go_on = Probed(), Database(), threading.Event(), threading.Event()

    def slow() -> None:
        at_work.set()
        assert go_on.wait(10)
        database.look()

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(probed.error, slow, time.monotonic)
        assert at_work.wait(10)
        others = [pool.submit(probed.error, database.look, time.monotonic) for _ in range(7)]
        assert not any(other.done() for other in others)
        go_on.set()
        assert [one.result(10) for one in (first, *others)] == [None] * 8
    assert database.looks == 1
