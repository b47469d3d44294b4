"""What tests with the official SDK share: the real server's jobs and follower, and how clients wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ovirtsdk4 as sdk
import pytest

from appliance.effects.clock import SystemClock
from engine.fakes.hosts import FakeNodes
from engine.jobs.bell import JobBells
from engine.jobs.desk import Desk
from engine.jobs.follow_vms import VmFollower
from engine.jobs.keep_backups import BackupKeeper
from engine.jobs.keep_ha import Keeper
from engine.jobs.keep_transfers import TransferKeeper
from engine.jobs.process import JobsProcess
from engine.jobs.run import World
from engine.jobs.types import BY_NAME
from engine.members import Members
from engine.store.durable import Store
from engine.store.jobs import Jobs
from engine.store.observed import Observations
from tests.engine import world
from tests.engine.vm_world import fake_hosts

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def hosts(running: world.Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeNodes]:
    """The running engine's hosts, which are fakes."""
    nodes = fake_hosts(tmp_path_factory.mktemp("hosts"))
    with at_work(running, nodes):
        yield nodes


@contextmanager
def at_work(running: world.Running, nodes: FakeNodes) -> Iterator[None]:
    """The jobs process, the follower and the keepers of the running engine, as threads over ``nodes``."""
    clock = SystemClock()
    store = Store(running.guest.database_place)
    made = World(
        store.entities,
        Jobs(store.entities, clock),
        nodes,
        clock,
        BY_NAME,
        lambda _text: None,
        moved=JobBells(running.guest.job_bells).ring,
    )
    jobs = threading.Thread(target=JobsProcess(made, lambda _s: time.sleep(0.02)).serve)

    def follow() -> None:
        follower, observations = VmFollower(store, clock), Observations(running.guest.observed, clock)
        desk = Desk(store.entities, made.jobs, BY_NAME, clock)
        keeper = Keeper(store.entities, nodes, desk, lambda _text: None)
        transfers = TransferKeeper(store.entities, nodes, desk, lambda _text: None)
        backups = BackupKeeper(store.entities, nodes, desk, lambda _text: None)
        while not made.stopping.wait(0.2):
            members = Members(world.CLUSTER, store.entities)().members
            nodes.keep_up(members)
            world.observe(observations)
            for member in members[len(world.MEMBERS) :]:
                world.observe_one(observations, member)
            for name, identifier in list(nodes.ids.items()):
                if name not in nodes.nodes:
                    continue
                asked_ms = follower.now_ms()
                if nodes.is_up(name):
                    follower.heard(identifier, nodes.host(name).vms(), asked_ms)
                else:
                    follower.silent(identifier)
            keeper.turn()
            transfers.turn()
            backups.turn()
        observations.close()
        store.close()

    following = threading.Thread(target=follow)
    jobs.start()
    following.start()
    yield
    made.stopping.set()
    jobs.join()
    following.join()


def connected(running: world.Running) -> Any:
    """The SDK's connection to that server, as the administrator."""
    return sdk.Connection(
        url=f"{running.url}/ovirt-engine/api", username=world.ADMIN, password=world.PASSWORD, ca_file=str(running.guest.ca)
    )


@pytest.fixture(scope="module")
def system(running: world.Running, hosts: FakeNodes) -> Iterator[Any]:
    """The SDK's services, as an administrator uses them."""
    made = connected(running)
    yield made.system_service()
    made.close()


def until(true: Callable[[], bool]) -> None:
    """Wait as clients do."""
    end_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.05)


def gone(service: Any) -> bool:
    try:
        service.get()
    except sdk.NotFoundError:
        return True
    return False
