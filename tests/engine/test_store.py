from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.effects.clock import FakeClock
from appliance.errors import Conflict, Refused, Unavailable
from engine.decide import slowdown
from engine.store import logins as logins_module
from engine.store.durable import Store
from engine.store.migrate import migrate, shipped
from engine.store.observed import Observations
from engine.store.records import EventRecord, ItemRecord

NEXT = len(shipped()) + 1
ASKING, PROBES = 4, 50
"""Three brokers and a console. Before the probe was one transaction, this failed on PostgreSQL, and now and then on
SQLite."""


@pytest.fixture
def store(any_store: Store) -> Store:
    return any_store


@pytest.fixture
def sqlite(tmp_path: Path) -> Store:
    """For what makes tables, and for what only SQLite has."""
    made = Store(tmp_path / "own.sqlite")
    made.migrate()
    return made


def event(custom_id: int | None = None, origin: str = "test") -> EventRecord:
    return EventRecord("normal", origin, "it happened", 9801, 1, custom_id=custom_id)


def test_migrations_are_numbered_without_gaps_and_run_once(store: Store) -> None:
    assert sorted(shipped()) == list(range(1, len(shipped()) + 1))
    assert store.migrate() == ()


def test_a_failed_migration_leaves_nothing_half_done(sqlite: Store) -> None:
    steps = {**shipped(), NEXT: ("bad", ("CREATE TABLE half (id INTEGER)", "CREATE NONSENSE"))}
    with pytest.raises(Exception, match="syntax"):
        migrate(sqlite.connection, steps)
    assert "half" not in sqlite._database.get_tables()
    good = {**shipped(), NEXT: ("good", ("CREATE TABLE half (id INTEGER)",))}
    assert migrate(sqlite.connection, good) == (NEXT,)


def test_a_database_of_a_newer_version_is_refused(sqlite: Store) -> None:
    migrate(sqlite.connection, {**shipped(), 99: ("later", ("CREATE TABLE later (id INTEGER)",))})
    with pytest.raises(Refused) as error:
        sqlite.migrate()
    assert error.value.code == "store.newer"


def test_commits_are_durable(sqlite: Store) -> None:
    read = sqlite._database.execute_sql
    assert read("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert read("PRAGMA synchronous").fetchone()[0] == 2


def test_events_grow_and_custom_ids_are_unique_per_origin(store: Store) -> None:
    first, second = store.add_event(event(1)), store.add_event(event(1, "other"))
    assert second.id > first.id
    with pytest.raises(Conflict) as error:
        store.add_event(event(1))
    assert error.value.code == "event.exists"
    third, fourth = store.add_event(event()), store.add_event(event())
    assert len(store.events()) == 4
    assert [one.id for one in store.events(after=first.id, limit=2)] == [fourth.id, third.id]
    assert store.audit.get(fourth.id + 1) is None


def test_a_broken_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "engine.sqlite"
    path.write_bytes(b"this is not a database" * 1000)
    with pytest.raises(Unavailable) as error:
        Store(path).probe(1)
    assert error.value.code == "store.failed"


def test_several_who_ask_at_once_for_health_do_not_take_each_others_write_for_damage(store: Store) -> None:
    def ask(first: int) -> None:
        for wall_ms in range(first, first + PROBES):
            store.probe(wall_ms)
        store.close()

    with ThreadPoolExecutor(ASKING) as pool:
        list(pool.map(ask, range(0, ASKING * PROBES, PROBES)))


def test_items_are_replaced(store: Store) -> None:
    store.put_item(ItemRecord("host", "1", "a", {"x": 1}))
    store.put_item(ItemRecord("host", "1", "b", {"x": 1}))
    assert store.items("host") == (ItemRecord("host", "1", "b", {"x": 1}),)
    assert store.item("vm", "1") is None


def test_what_was_said_is_one_object_until_something_newer_is_said(tmp_path: Path) -> None:
    """Also by another process, and within one reading of the clock."""
    clock = FakeClock()
    jobs, web = (Observations(tmp_path / "observed.sqlite", clock) for _ in range(2))
    jobs.put("node1", "facts", {"cpus": 2})
    jobs.put("node2", "facts", {"cpus": 2})
    first, again = web.all(), web.all()
    assert first[("node1", "facts")].body is again[("node1", "facts")].body
    jobs.put("node2", "facts", {"cpus": 3})
    later = web.all()
    assert later[("node2", "facts")].body == {"cpus": 3}
    assert later[("node1", "facts")].body is first[("node1", "facts")].body
    jobs.drop("node1")
    assert web.all().keys() == {("node2", "facts")}


def test_failures_to_log_in_are_known_to_all_and_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    who, other, logins = ("ann@internal", "198.18.0.1"), ("ann@internal", "198.18.0.2"), store.logins
    assert logins.failures(who) is None
    for now_s in (100.0, 101.0, 102.5):
        logins.failed(who, lambda before, now_s=now_s: slowdown.failed(before, now_s))
    assert logins.failures(who) == slowdown.Failures(3, 102.5)
    assert logins.failures(other) is None
    logins.succeeded(who)
    assert logins.failures(who) is None
    monkeypatch.setattr(logins_module, "REMEMBERED", 3)
    for number in range(5):
        logins.failed((f"name{number}", "a"), lambda before, number=number: slowdown.failed(before, 200.0 + number))
    assert [number for number in range(5) if logins.failures((f"name{number}", "a"))] == [2, 3, 4]
    logins.failed(who, lambda before: slowdown.failed(before, 204.0 + slowdown.FORGET_AFTER_S))
    assert [number for number in range(5) if logins.failures((f"name{number}", "a"))] == [4], "the others are too old"


def test_observations_know_their_age(tmp_path: Path) -> None:
    clock = FakeClock()
    observations = Observations(tmp_path / "observed.sqlite", clock)
    observations.put("node1", "heard", True)
    clock.sleep(12)
    clock.jump_wall(3600)
    observations.put("node2", "heard", True)
    heard = observations.all()
    assert heard["node1", "heard"].age_s == 12
    assert heard["node2", "heard"].age_s == 0
    observations.drop("node1")
    assert set(observations.all()) == {("node2", "heard")}
