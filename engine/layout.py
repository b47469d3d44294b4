"""Where things are inside the engine VM: below one root, so that tests have a guest of their own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from appliance import layout

ACCOUNT = "trivet-engine"
"""System account of web and jobs, with a fixed number (files/sysusers.conf): its files outlive the root they were
made under."""
DISK_ID = f"scsi-0QEMU_QEMU_HARDDISK_{layout.ENGINE_DISK_SERIAL}"
START_NAME = layout.ENGINE_START_FILE
IDENTITY_NAME = "trivet-identity.json"


@dataclass(frozen=True)
class Guest:
    """The files of the engine VM. ``root`` is ``/`` in the VM."""

    root: Path = Path("/")

    def at(self, path: Path | str) -> Path:
        """``path`` (absolute) below the root."""
        return self.root / str(path).lstrip("/")

    @property
    def run(self) -> Path:
        return self.at(layout.RUN)

    @property
    def start_file(self) -> Path:
        """What this start is (:class:`EngineStart`), readable by all of the VM's programs."""
        return self.run / "start.json"

    @property
    def identity_file(self) -> Path:
        """Copied from the seed at each boot, 0600; used at the first start only."""
        return self.run / "identity.json"

    @property
    def observed(self) -> Path:
        return self.at("/run/trivet-engine/observed.sqlite")

    @property
    def seed_device(self) -> Path:
        return self.at(f"/dev/disk/by-label/{layout.SEED_LABEL}")

    @property
    def data_device(self) -> Path:
        return self.at(f"/dev/disk/by-id/{DISK_ID}")

    @property
    def console(self) -> Path:
        return self.at("/dev/console")

    @property
    def state(self) -> Path:
        """Where the data disk is mounted."""
        return self.at(layout.ENGINE_STATE)

    @property
    def identity(self) -> Path:
        """On the data disk: :class:`EngineIdentity`, root's, 0600."""
        return self.state / "identity.json"

    @property
    def cluster(self) -> Path:
        """On the data disk: the cluster without secrets, for web and jobs."""
        return self.state / "cluster.json"

    @property
    def database(self) -> Path:
        return self.state / "db" / "engine.sqlite"

    @property
    def database_url(self) -> Path:
        """Absent: the database is :attr:`database`. There: it holds the URL of a PostgreSQL database (0600: it may have a
        password)."""
        return self.state / "db" / "url"

    @property
    def database_place(self) -> Path | str:
        """Where the database is, as :class:`engine.store.durable.Store` takes it."""
        url = self.database_url
        return url.read_text().strip() if url.exists() else self.database

    @property
    def jobs_bell(self) -> Path:
        """Rung by the web program when there is a job to do."""
        return self.at("/run/trivet-engine/jobs.bell")

    @property
    def job_bells(self) -> Path:
        """Holds the bells of those who wait for a job: rung by the jobs program when it moves."""
        return self.at("/run/trivet-engine/waiting")

    @property
    def jobs_lock(self) -> Path:
        """Held by the one jobs process."""
        return self.at("/run/trivet-engine/jobs.lock")

    @property
    def console_host_key(self) -> Path:
        """With which the console port shows who it is: the same after each failover."""
        return self.state / "vmconsole" / "ssh_host_ed25519_key"

    @property
    def signer_socket(self) -> Path:
        """Where nodes' certificates are asked for (units/trivet-engine-sign.socket)."""
        return self.at("/run/trivet-engine-sign.sock")

    @property
    def ca(self) -> Path:
        return self.state / "pki" / "ca.pem"

    @property
    def certificate(self) -> Path:
        return self.state / "pki" / "engine.pem"

    @property
    def key(self) -> Path:
        return self.state / "pki" / "engine.key"

    @property
    def ca_key(self) -> Path:
        """Root's alone."""
        return self.state / "ca" / "ca.key"

    @property
    def cloud(self) -> Path:
        """cloud-init's record, bound to /var/lib/cloud."""
        return self.state / "cloud"

    @property
    def start_id(self) -> Path:
        """Drawn at each activation. The kernel's boot id would be the same for all wakes from one saved memory."""
        return self.run / "start-id"

    @property
    def active_file(self) -> Path:
        """There: the data disk is ours, mounted and recorded; web and jobs may open it. Absent: standby."""
        return self.run / "active"

    @property
    def standby_socket(self) -> Path:
        """Where the web program answers ``/health`` while it is in standby."""
        return self.at("/run/trivet-engine/standby.sock")

    @property
    def serving_file(self) -> Path:
        """There: the web program has answered somebody; what else wants the CPU may come."""
        return self.at("/run/trivet-engine/serving")

    @property
    def networkd_processes(self) -> Path:
        """Process ids of systemd-networkd."""
        return self.at("/sys/fs/cgroup/system.slice/systemd-networkd.service/cgroup.procs")

    @property
    def clock_chip(self) -> Path:
        """The real-time clock (seconds since 1970): QEMU takes it from the host's clock, also after a wake."""
        return self.at("/sys/class/rtc/rtc0/since_epoch")

    @property
    def host_random(self) -> Path:
        """Random numbers of the host (virtio-rng)."""
        return self.at("/dev/hwrng")


def write_private(path: Path, text: str, mode: int = 0o600) -> None:
    """Write ``text`` so that after a power cut the file is either as before or complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        os.fchmod(descriptor, mode)
        data = text.encode()
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
