"""From a data disk to an active engine: mount, first start if need be, migrations, the epoch, ownership,
cloud-init's folder."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path

from appliance import layout
from appliance.effects.clock import Clock
from appliance.errors import Conflict, TrivetError
from appliance.journal import Journal, Runner
from appliance.model.cluster import Cluster
from appliance.model.engine_start import EngineIdentity, EngineStart
from appliance.ports import Processes
from appliance.version import VERSION
from engine.boot import data, disks, rehearsal, seed, standby, wake
from engine.boot.files import read
from engine.boot.first_start import STEPS, FirstStart
from engine.builtin import settle
from engine.decide.data_disk import READY_LABEL
from engine.decide.epoch import judge
from engine.layout import ACCOUNT, Guest, write_private
from engine.store.durable import Store
from engine.store.records import EventRecord, StartRecord

SEED_SERIAL = "trivet-seed"
"""virtio-scsi serial of the seed disk (ha_broker/engine_vm.py)."""
Log = Callable[[str], None]
LOOK_EVERY_S = 0.05
"""A look costs two system calls, and every wake waits half of this."""
REHEARSE_EVERY_S = 2.0
"""How often standby asks whether the boot is over: a start with disks never gets that far."""
CONSOLE_SOCKETS = ("trivet-engine-vmconsole.socket", "trivet-engine-vmconsole-ssh.socket")
ENGINE_STARTED = 1
"""oVirt's AuditLogType VDC_START: clients know it as "the engine has started"."""


def activate(guest: Guest, processes: Processes, clock: Clock, log: Log) -> EngineStart:
    """Wait for the disks, then do all of it. May be run again at any point. Raises coded errors; nothing is active then."""
    seed_device, device = wait_for_disks(guest, processes, clock, log)
    wake.set_clock(guest, clock, log)
    wake.renew_kernel_random(guest, log)
    wake.renew_own_random()
    wake.start_id(guest)
    start = seed.mount_and_read(guest, seed_device, log)
    wake.reload_network(guest, log)
    open_data_disk(guest, device, processes, clock, log)
    record(guest, start, clock, log)
    hand_over(guest)
    write_private(guest.active_file, f"{start.epoch}\n", 0o644)
    standby.wait_until_serving(guest, clock)
    start_later(guest, processes)
    return start


def wait_for_disks(guest: Guest, processes: Processes, clock: Clock, log: Log) -> tuple[Path, Path]:
    """Standby: wait without an end until seed and data disk are there. Rehearses once, when the boot is over."""
    look_s = clock.monotonic_s() + REHEARSE_EVERY_S
    rehearsed = False

    def rehearse_record(nobody: Guest) -> None:
        start = read(EngineStart, nobody.start_file, "seed.invalid", seed.REMEDY)
        record(nobody, start, clock, lambda _text: None)

    while True:
        seed_device = disks.find(guest, SEED_SERIAL, guest.seed_device)
        device = disks.find(guest, layout.ENGINE_DISK_SERIAL, guest.data_device)
        if seed_device is not None and device is not None:
            return seed_device, device
        if not rehearsed and clock.monotonic_s() >= look_s:
            rehearsed = rehearsal.rehearse(guest, processes, rehearse_record, log)
            look_s = clock.monotonic_s() + REHEARSE_EVERY_S
        clock.sleep(LOOK_EVERY_S)


def open_data_disk(guest: Guest, device: Path, processes: Processes, clock: Clock, log: Log) -> None:
    """Mount it, finishing the first start if need be. The file system's own words first, tools only if those are bad."""
    found = disks.superblock(device)
    # A unit that is restarted finds its disk mounted; checking a mounted file system would harm it.
    if found.label == READY_LABEL and guest.state.is_mount() and guest.database.exists():
        return
    if found.label == READY_LABEL and found.sound:
        try:
            data.mount(device, guest)
        except TrivetError as error:
            log(f"data disk: {error}; it is checked")
        else:
            log("data disk: it is the engine's and in order")
            return
    plan = data.settle(device, processes, log)
    data.mount(device, guest)
    if plan.action == "continue-first-start":
        first_start(guest, clock, log)
        data.mark_ready(device, processes)
        log("data disk: the first start is complete")


def start_later(guest: Guest, processes: Processes) -> None:
    """What nobody waits for: udev's look at the new disks, cloud-init once for each data disk, ssh where there are keys,
    serial consoles (sockets: nothing runs until somebody comes)."""
    processes.run(rehearsal.UDEV_GO_ON, timeout_s=data.TOOL_TIMEOUT_S, ok=None)
    console_host_key(guest, processes)
    wanted = {
        **dict.fromkeys(CONSOLE_SOCKETS, True),
        "trivet-engine-cloud.service": not (guest.cloud / "trivet-done").exists(),
        "ssh.service": (guest.state / "ssh" / "authorized_keys").exists(),
    }
    units = [unit for unit, needed in wanted.items() if needed]
    if units:
        processes.run(["systemctl", "start", "--no-block", *units], timeout_s=data.TOOL_TIMEOUT_S, ok=None)


def console_host_key(guest: Guest, processes: Processes) -> None:
    """The console port's own host key, made once: the machine's would be root's secret in the hands of an account that
    talks to strangers."""
    key = guest.console_host_key
    if key.exists():
        return
    key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = key.with_name("new")
    for left in (beside, beside.with_suffix(".pub")):
        left.unlink(missing_ok=True)  # of an activation that was cut short
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "trivet-vmconsole", "-f", str(beside)]
    processes.run(argv, timeout_s=data.TOOL_TIMEOUT_S)
    beside.with_suffix(".pub").replace(key.with_suffix(".pub"))
    beside.replace(key)
    os.sync()


def first_start(guest: Guest, clock: Clock, log: Log) -> None:
    """Run the steps of the first start."""
    identity = read(EngineIdentity, guest.identity_file, "identity.invalid", seed.REMEDY)
    guest.state.chmod(0o755)
    guest.database.parent.mkdir(mode=0o700, exist_ok=True)
    journal = Journal(guest.state / "journal" / "first-start.jsonl", clock)
    opened: list[Store] = []

    def store() -> Store:
        opened.append(Store(guest.database_place))
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
    store = Store(guest.database_place)
    try:
        applied = store.migrate()
        if applied:
            log(f"database: migrations {', '.join(map(str, applied))} applied")
        settle(store, read(Cluster, guest.cluster, "cluster.invalid", seed.REMEDY))
        boot_id = guest.start_id.read_text().strip()
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
