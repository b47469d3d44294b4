"""The jobs program as a whole, in a process of its own; its bell, its lock, and how it reaches the nodes."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from appliance.codec import encode
from appliance.effects.clock import FakeClock, SystemClock
from appliance.errors import Conflict, Refused, TrivetError, Unavailable
from appliance.model.vm import VmState
from engine.inventory import derived_id
from engine.jobs.bell import Bell, Ear, JobBells
from engine.jobs.disk_create import CreateDisk, DiskCreate
from engine.jobs.program import main, only_one
from engine.jobs.reach import WireNodes
from engine.jobs.sampling import Sampler
from engine.layout import write_private
from engine.server import build_engine
from engine.store import database
from engine.store.database import Connection
from engine.store.observed import Observations
from tests.engine import postgres, world
from tests.engine.job_world import in_a_process, nodes_at

DOMAIN = derived_id(world.CLUSTER.id, "storage-domain:vmstore")


def test_many_rings_are_one_and_nobody_listening_is_no_harm(tmp_path: Path) -> None:
    bell = Bell(tmp_path / "bell")
    bell.ring()
    ear = Ear(tmp_path / "bell")
    assert not ear.wait(0.01)
    for _ in range(500):
        bell.ring()
    assert ear.wait(0.01)
    assert not ear.wait(0.01)
    threading.Timer(0.05, bell.ring).start()
    assert ear.wait(5)
    ear.close()


def test_everybody_who_waits_for_a_job_hears_that_it_moves_and_leaves_nothing(tmp_path: Path) -> None:
    bells = JobBells(tmp_path / "waiting")
    bells.ring("job1")
    with bells.heard("job1") as one, bells.heard("job1") as two, bells.heard("job2") as other:
        threading.Timer(0.05, bells.ring, ["job1"]).start()
        assert one(5)
        assert two(5)
        assert not other(0.01)
    assert list((tmp_path / "waiting").iterdir()) == []
    bells.ring("job1")


def test_there_is_only_one_jobs_process(tmp_path: Path) -> None:
    held = only_one(tmp_path / "lock")
    with pytest.raises(Conflict) as error:
        only_one(tmp_path / "lock")
    assert error.value.code == "jobs.second"
    os.close(held)
    os.close(only_one(tmp_path / "lock"))


def test_hosts_that_were_heard_are_up_the_emptiest_first(tmp_path: Path) -> None:
    clock = FakeClock()
    observations = Observations(tmp_path / "observed", clock)
    fakes = nodes_at(tmp_path)
    disks = fakes.nodes["node1"]
    nodes = WireNodes(
        lambda: world.CLUSTER,
        observations,
        lambda member: disks,
        lambda member: fakes.host("node1"),
        lambda member: fakes.pools("node1"),
        lambda member: fakes.images("node1"),
        lambda member: fakes.storage("node1"),
        lambda member: fakes.networks("node1"),
        fakes.enrolment,
    )
    assert nodes.up() == []
    for name, free in (("node1", 1), ("node2", 3)):
        observations.put(name, "heard", True)
        observations.put(name, "statistics", {"memory_available_bytes": free})
    assert nodes.up() == ["node2", "node1"]
    assert nodes.disks("node2") is disks
    with pytest.raises(Unavailable):
        nodes.disks("node9")
    clock.sleep(60)
    assert nodes.up() == []


@pytest.mark.timeout(120)
def test_the_program_takes_up_an_order_at_once_and_ends_when_told(tmp_path: Path) -> None:
    """Its nodes do not answer here, so the job fails, for that reason; all else is as in the VM."""
    guest = world.ready_guest(tmp_path / "guest", SystemClock())
    write_private(guest.serving_file, "")
    child = os.fork()
    if child == 0:
        os._exit(in_a_process(lambda: main(guest, world.free_port(), lambda _text: None)) and 1)
    engine = build_engine(guest, SystemClock())
    deadline = time.monotonic() + 60
    while not guest.jobs_bell.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    given = CreateDisk("11111111-2222-4333-8444-555555555555", "i1", "data", DOMAIN, 8 << 20)
    job = engine.desk.wait(engine.desk.order(DiskCreate, given, owner_id="", correlation_id="c").id)
    assert (job.state, job.error["code"]) == ("ended", "job.no-host")
    assert engine.store.entities.get("disk", given.disk_id) is None
    engine.close()
    for process in children(child):
        os.kill(process, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def children(process: int) -> list[int]:
    """The child processes of one."""
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_a_url_makes_the_whole_engine_use_postgresql(tmp_path: Path, postgresql: postgres.Server) -> None:
    guest = world.Guest(tmp_path / "guest")
    write_private(guest.database_url, postgresql.empty() + "\n")
    world.ready_guest(tmp_path / "guest", SystemClock())
    assert not guest.database.exists()
    engine = build_engine(guest, SystemClock())
    assert engine.store.connection.is_postgresql
    assert engine.health()[0] == 200
    assert engine.store.starts()[0].epoch == world.START.epoch
    account = engine.accounts.verify(world.ADMIN, world.PASSWORD, "::1")
    token = engine.accounts.issue(account, "api", "s", 60).token
    assert engine.accounts.holder(token, "api") == account
    engine.close()


def test_a_missing_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(Refused) as error:
        Connection("postgresql:///trivet")
    assert error.value.code == "store.driver"
    assert isinstance(error.value, TrivetError)


def test_what_nodes_say_becomes_history(tmp_path: Path) -> None:
    clock = FakeClock()
    guest = world.ready_guest(tmp_path / "guest", clock)
    engine = world.engine_of(guest, clock)
    said: list[str] = []
    sampler = Sampler(lambda: world.CLUSTER, engine.store, engine.observations, clock, said.append)
    vm = world.CLUSTER.engine.id
    for used_s in (10.0, 40.0):
        world.observe(engine.observations, silent=("node3",))
        state = VmState(vm, "HostedEngine", "running", 1024, 2, used_s, 4242)
        engine.observations.put("node2", "vms", [encode(state)])
        sampler.turn()
        clock.sleep(60)
    (average,) = engine.store.history.of("vm", vm)
    assert average.numbers == {"memory_bytes": 1024**3, "cpu_percent": 50.0}
    assert average.amount == 2
    (host,) = engine.store.history.of("host", world.MEMBERS[0].id)
    assert host.numbers["cpu_user_percent"] == world.statistics().cpu_user_percent
    assert engine.store.history.of("host", world.MEMBERS[2].id) == ()
    sampler.turn()
    assert engine.store.history.of("vm", vm)[0].amount == 2, "what is a minute old says nothing of now"
    assert said == []
    engine.close()
