from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.effects.clock import FakeClock, SystemClock
from engine.app import create_app
from engine.core import Engine
from tests.engine import world
from tests.engine.databases import any_store, place, postgresql
from tests.engine.job_world import desk, nodes, store
from tests.engine.sdk_world import hosts, system

__all__ = ["any_store", "desk", "hosts", "nodes", "place", "postgresql", "store", "system"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine(tmp_path: Path, clock: FakeClock) -> Iterator[Engine]:
    made = world.engine_of(world.ready_guest(tmp_path / "guest", clock), clock)
    world.observe(made.observations)
    yield made
    made.close()


@pytest.fixture
def client(engine: Engine) -> FlaskClient:
    return create_app(engine).test_client()


@pytest.fixture
def token(client: FlaskClient) -> str:
    form = {"grant_type": "password", "scope": "ovirt-app-api", "username": world.ADMIN, "password": world.PASSWORD}
    answer = client.post("/ovirt-engine/sso/oauth/token", data=form)
    assert answer.status_code == 200, answer.text
    return str(answer.get_json()["access_token"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[world.Running]:
    from engine.store.observed import Observations

    folder = tmp_path_factory.mktemp("engine")
    guest = world.ready_guest(folder / "guest", SystemClock())
    observations = Observations(guest.observed, SystemClock())
    world.observe(observations)
    server = world.serve(guest, folder / "log")
    yield server
    server.stop()
    observations.close()


MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In memory: a disk's ``fsync`` after each transaction took a third of these tests' time, and what they end is
    processes, never the machine. That of a test that failed stays."""
    if not MEMORY.is_dir():
        yield tmp_path_factory.mktemp("engine")
        return
    failed = request.session.testsfailed
    folder = Path(tempfile.mkdtemp(prefix="trivet-test-", dir=MEMORY))
    yield folder
    if request.session.testsfailed == failed:
        shutil.rmtree(folder)
