"""``trivet engine jobs``: follow the nodes and run the jobs, in one process that systemd watches."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance.effects.clock import SystemClock
from appliance.effects.notify import tell_systemd
from appliance.errors import Conflict
from appliance.model.cluster import Cluster
from appliance.model.engine_start import EngineStart
from engine.boot.files import read
from engine.boot.seed import REMEDY
from engine.boot.standby import wait_until_active, wait_until_serving
from engine.enrolment import WireEnrolment
from engine.followed import wire_nodes
from engine.jobs import keep_descriptors, keep_domains, keep_guests, keep_ha, keep_networks, keep_refresh, keep_transfers
from engine.jobs.bell import Bell, Ear, JobBells
from engine.jobs.desk import Desk
from engine.jobs.follow import Following
from engine.jobs.keep_backups import BackupKeeper
from engine.jobs.keep_descriptors import DescriptorKeeper
from engine.jobs.keep_domains import DomainKeeper
from engine.jobs.keep_guests import GuestKeeper
from engine.jobs.keep_ha import Keeper
from engine.jobs.keep_networks import NetworkKeeper
from engine.jobs.keep_refresh import RefreshKeeper
from engine.jobs.keep_transfers import TransferKeeper
from engine.jobs.process import JobsProcess
from engine.jobs.reach import WireNodes
from engine.jobs.run import World
from engine.jobs.sampling import Sampler
from engine.jobs.seed_remove import Sweeper
from engine.jobs.types import BY_NAME
from engine.jobs.watcher import Watcher
from engine.layout import Guest
from engine.members import Members
from engine.nodes import wire_disks, wire_images, wire_networks, wire_pools, wire_storage, wire_vms
from engine.store.durable import Store
from engine.store.jobs import Jobs
from engine.store.observed import Observations

Log = Callable[[str], None]
Turns = Watcher | Sweeper | DescriptorKeeper
"""What looks again and again."""


def only_one(path: Path) -> int:
    """Hold the lock of the jobs process while it lives. Raises ``Conflict`` ``jobs.second``: two would both adopt."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Conflict(
            "jobs.second",
            subject="trivet engine jobs",
            reason="another one is running",
            remedy="Stop that one: `systemctl restart trivet-engine-jobs`.",
        ) from error
    return descriptor


def keep(keepers: Sequence[Turns], every_s: float, stopping: threading.Event) -> None:
    """Take the keepers' turns, one after another, until the process ends."""
    while not stopping.wait(every_s):
        for one in keepers:
            one.turn()
    keepers[0].entities.connection.close()


def wire(
    guest: Guest, cluster: Cluster, epoch: int, agent_port: int, members: Members, observations: Observations
) -> WireNodes:
    """All that jobs ask of hosts."""
    disks = wire_disks(guest, cluster, epoch, agent_port)
    vms = wire_vms(guest, cluster, epoch, agent_port)
    pools = wire_pools(guest, cluster, epoch, agent_port)
    images = wire_images(guest, cluster, epoch, agent_port)
    storage = wire_storage(guest, cluster, epoch, agent_port)
    networks = wire_networks(guest, cluster, epoch, agent_port)
    enrolment = WireEnrolment(cluster, guest, epoch, agent_port)
    return WireNodes(members, observations, disks, vms, pools, images, storage, networks, enrolment)


def keepers(world: World, desk: Desk, log: Log) -> tuple[threading.Thread, ...]:
    """Who looks again and again, beside each other: a host whose daemon or whose mount hangs must not delay what keeps VMs
    running."""

    def keeping(name: str, every_s: float, *turns: Turns) -> threading.Thread:
        return threading.Thread(target=keep, args=(turns, every_s, world.stopping), name=name)

    entities, nodes = world.entities, world.nodes
    transfers, backups = TransferKeeper(entities, nodes, desk, log), BackupKeeper(entities, nodes, desk, log)
    return (
        keeping("ha", keep_ha.KEEP_EVERY_S, Keeper(entities, nodes, desk, log), Sweeper(entities, desk, log)),
        keeping("transfers", keep_transfers.LOOK_EVERY_S, transfers, backups),
        keeping("domains", keep_domains.KEEP_EVERY_S, DomainKeeper(entities, nodes, desk, log)),
        keeping("guests", keep_guests.TURN_S, GuestKeeper(entities, nodes, desk, log)),
        keeping("networks", keep_networks.KEEP_EVERY_S, NetworkKeeper(entities, nodes, desk, log)),
        keeping("refresh", keep_refresh.TURN_S, RefreshKeeper(entities, nodes, desk, log)),
        keeping("descriptors", keep_descriptors.KEEP_EVERY_S, DescriptorKeeper(entities, desk, log)),
    )


def main(guest: Guest, agent_port: int, log: Log) -> None:
    """Wait until the engine is active, then work until a signal ends it."""
    clock = SystemClock()
    wait_until_active(guest, clock)
    wait_until_serving(guest, clock)
    held = only_one(guest.jobs_lock)
    cluster = read(Cluster, guest.cluster, "cluster.invalid", REMEDY)
    start = read(EngineStart, guest.start_file, "seed.invalid", REMEDY)
    store, observations = Store(guest.database_place), Observations(guest.observed, clock)
    nodes = wire_nodes(guest, cluster, start.epoch, agent_port)
    following = Following(cluster, start.epoch, nodes, store, observations, clock, log)
    jobs, members = Jobs(store.entities, clock), Members(cluster, store.entities)
    reached = wire(guest, cluster, start.epoch, agent_port, members, observations)
    world = World(store.entities, jobs, reached, clock, BY_NAME, log, moved=JobBells(guest.job_bells).ring)
    ear = Ear(guest.jobs_bell)
    desk = Desk(store.entities, jobs, BY_NAME, clock, Bell(guest.jobs_bell).ring)
    process = JobsProcess(world, ear.wait)
    worker = threading.Thread(target=process.serve, name="jobs")
    sampler = Sampler(members, store, observations, clock, log)
    sampling = threading.Thread(target=sampler.run, args=(world.stopping,), name="history")
    keeps = keepers(world, desk, log)

    def stop(_number: int, _frame: object) -> None:
        following.stopped.set()
        world.stopping.set()

    def alive() -> None:
        if following.superseded:
            world.stopping.set()  # a newer engine has the journal, too
        if all(one.is_alive() for one in (worker, *keeps)) or world.stopping.is_set():
            tell_systemd("WATCHDOG=1")

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    worker.start()
    sampling.start()
    for one in keeps:
        one.start()
    tell_systemd("READY=1")
    following.run(alive)
    world.stopping.set()
    worker.join()
    sampling.join()
    for one in keeps:
        one.join()
    ear.close()
    os.close(held)
