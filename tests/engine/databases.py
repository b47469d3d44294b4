"""Fixtures: a store on each of the databases that we speak, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.store.durable import Store
from tests.engine import postgres


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Server]:
    with postgres.server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a new database is."""
    if request.param == "sqlite":
        return tmp_path / "engine.sqlite"
    server: postgres.Server = request.getfixturevalue("postgresql")
    return server.empty()


@pytest.fixture
def any_store(place: Path | str) -> Iterator[Store]:
    """A migrated store on either."""
    made = Store(place)
    made.migrate()
    yield made
    made.close()
