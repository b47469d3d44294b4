"""From a data disk to an active engine: mount, first start if need be, migrations, the epoch, ownership,
cloud-init's folder."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable

from appliance.effects.clock import Clock
from appliance.errors import Conflict
from appliance.journal import Journal, Runner
from appliance.model.cluster import Cluster
from appliance.model.engine_start import EngineIdentity, EngineStart
from appliance.ports import Processes
from appliance.version import VERSION
from engine.boot import data, seed
from engine.boot.files import read
from engine.boot.first_start import STEPS, FirstStart
from engine.decide.data_disk import READY_LABEL
from engine.decide.epoch import judge
from engine.layout import ACCOUNT, Guest
from engine.store.durable import Store
from engine.store.records import EventRecord, StartRecord

Log = Callable[[str], None]
ENGINE_STARTED = 1
"""oVirt's AuditLogType VDC_START: clients know it as "the engine has started"."""


def activate(guest: Guest, processes: Processes, clock: Clock, log: Log) -> EngineStart:
    """Do all of it. May be run again at any point. Raises coded errors; nothing is active then."""
    start = read(EngineStart, guest.start_file, "seed.invalid", seed.REMEDY)
    data.wait_for(guest.data_device, clock, log)
    # A unit that is restarted finds its disk mounted; checking a mounted file system would harm it.
    ready = is_mounted(guest, processes) and guest.database.exists() and label_is_ready(guest, processes)
    if not ready:
        plan = data.settle(guest.data_device, processes, log)
        data.mount(guest.data_device, guest, processes)
        if plan.action == "continue-first-start":
            first_start(guest, clock, log)
            data.mark_ready(guest.data_device, processes)
            log("data disk: the first start is complete")
    record(guest, start, clock, log)
    hand_over(guest)
    return start


def is_mounted(guest: Guest, processes: Processes) -> bool:
    """Whether something is mounted at the place of the data disk."""
    argv = ["findmnt", "-n", "--mountpoint", str(guest.state)]
    return processes.run(argv, timeout_s=data.TOOL_TIMEOUT_S, ok=(0, 1)).status == 0


def label_is_ready(guest: Guest, processes: Processes) -> bool:
    """Whether the first start is complete, read from the disk."""
    return data.look(guest.data_device, processes).label == READY_LABEL


def first_start(guest: Guest, clock: Clock, log: Log) -> None:
    """Run the steps of the first start."""
    identity = read(EngineIdentity, guest.identity_file, "identity.invalid", seed.REMEDY)
    guest.state.chmod(0o755)
    guest.database.parent.mkdir(mode=0o700, exist_ok=True)
    journal = Journal(guest.state / "journal" / "first-start.jsonl", clock)
    opened: list[Store] = []

    def store() -> Store:
        opened.append(Store(guest.database))
        return opened[-1]

    runner: Runner[FirstStart] = Runner(journal, clock, lambda _progress: None, log)
    try:
        runner.run(STEPS, FirstStart(guest, identity, store))
    finally:
        for one in opened:
            one.close()
    guest.cloud.mkdir(mode=0o755, exist_ok=True)
    os.sync()


def record(guest: Guest, start: EngineStart, clock: Clock, log: Log) -> None:
    """Migrate, judge the epoch and write it down. Raises ``Conflict`` ``engine.stale-epoch``."""
    store = Store(guest.database)
    try:
        applied = store.migrate()
        if applied:
            log(f"database: migrations {', '.join(map(str, applied))} applied")
        boot_id = guest.boot_id.read_text().strip()
        known = store.starts()
        verdict = judge(start.epoch, boot_id, (known[0].epoch, known[0].boot_id) if known else None)
        if not verdict.active:
            raise Conflict(
                "engine.stale-epoch",
                subject=f"this start of the engine on {start.host}",
                reason=verdict.reason,
                remedy="Let the broker start the engine anew: it takes a higher epoch. `trivet ha status` shows the newest.",
                facts={"epoch": start.epoch, "recorded": known[0].epoch},
            )
        log(f"database: {verdict.reason}")
        if verdict.record:
            wall_ms = int(clock.wall_s() * 1000)
            store.record_start(StartRecord(start.epoch, start.host, VERSION, boot_id, wall_ms))
            store.add_event(
                EventRecord(
                    "normal",
                    "Trivet",
                    f"The engine has started on host {start.host} (epoch {start.epoch}).",
                    ENGINE_STARTED,
                    wall_ms,
                    vm_id=read(Cluster, guest.cluster, "cluster.invalid", seed.REMEDY).engine.id,
                )
            )
    finally:
        store.close()


def hand_over(guest: Guest) -> None:
    """Give web and jobs their files. Identity and CA key stay root's."""
    try:
        account = pwd.getpwnam(ACCOUNT)
    except KeyError:
        return  # a build machine: everything runs as one user there
    for path in (guest.database.parent, *guest.database.parent.iterdir(), guest.key):
        os.chown(path, account.pw_uid, account.pw_gid)
