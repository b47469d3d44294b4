"""Boot an image in an emulated machine, to look at what comes up. Debian 13's own QEMU, run out of an OS layer of the node.

QEMU runs in a private mount namespace with that layer as its root, and dies with the thread that started it: nothing is
left behind, also after ``kill -9``. Its network is a user-mode one that reaches nothing; chosen ports of the guest appear
on 127.0.0.1.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from appliance import layout
from appliance.errors import TrivetError
from appliance.ports import Processes
from image.tree import inside

Firmware = Literal["bios", "uefi"]

GUEST_NETWORK: Final = "198.18.255.0/24"
GUEST_GATEWAY: Final = "198.18.255.2"
GUEST_ADDRESS: Final = "198.18.255.100"
"""Inside the emulated network only; out of the range that the lab uses."""

INSIDE_RUN: Final = "/run/verify"
"""Where the machine's folder appears to QEMU."""

STOP_S: Final = 10.0
"""QEMU ends within a second of SIGTERM; after this it is killed."""


@dataclass(frozen=True)
class Disk:
    """A disk of the machine: a file in its folder. ``bus`` ``root`` is virtio-blk and booted from, ``blk`` virtio-blk,
    ``data`` virtio-scsi, ``cdrom`` a CD."""

    file: str
    bus: Literal["root", "blk", "data", "cdrom"]
    read_only: bool = False


@dataclass(frozen=True)
class Machine:
    """An emulated machine. ``forwards``: port on 127.0.0.1 → port of the guest.

    ``watchdog``: it has a watchdog device that resets it, and each such act is written to the folder's ``trace``. A reset
    ends QEMU. ``control``: QMP on the folder's socket ``qmp``, and a free port (``port0``) to plug a device into.
    """

    firmware: Firmware
    memory_mib: int
    disks: tuple[Disk, ...]
    forwards: tuple[tuple[int, int], ...]
    cpus: int = 2
    processor: str = layout.GUEST_CPU_MODEL
    watchdog: bool = False
    control: bool = False


def qemu_argv(machine: Machine) -> list[str]:
    """The command line of QEMU (pure)."""
    ports = "".join(f",hostfwd=tcp:127.0.0.1:{outer}-{GUEST_ADDRESS}:{inner}" for outer, inner in machine.forwards)
    network = f"user,id=net,restrict=on,ipv6=off,net={GUEST_NETWORK},host={GUEST_GATEWAY},dhcpstart={GUEST_ADDRESS}{ports}"
    argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    # Without the chipset's own watchdog: there is none but the one that is asked for.
    argv += [
        "-machine",
        "q35,smm=off",
        "-global",
        "ICH9-LPC.enable_tco=off",
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        machine.processor,
    ]
    argv += ["-smp", str(machine.cpus), "-m", str(machine.memory_mib), "-pidfile", f"{INSIDE_RUN}/pid"]
    argv += ["-serial", f"file:{INSIDE_RUN}/serial", "-device", "virtio-rng-pci"]
    argv += ["-netdev", network, "-device", "virtio-net-pci,netdev=net"]
    if machine.firmware == "uefi":
        code = "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"
        argv += ["-drive", code, "-drive", f"if=pflash,format=raw,file={INSIDE_RUN}/uefi-variables"]
    if machine.watchdog:
        argv += ["-device", "i6300esb", "-action", "watchdog=reset"]
        argv += ["-trace", "watchdog_perform_action", "-D", f"{INSIDE_RUN}/trace"]
    if machine.control:
        argv += ["-qmp", f"unix:{INSIDE_RUN}/qmp,server=on,wait=off", "-device", "pcie-root-port,id=port0,chassis=1"]
    argv += ["-device", "virtio-scsi-pci,id=scsi"]
    for number, disk in enumerate(machine.disks):
        argv += _disk(number, disk)
    return argv


def _disk(number: int, disk: Disk) -> list[str]:
    name = f"disk{number}"
    drive = f"if=none,id={name},format=raw,file={INSIDE_RUN}/{disk.file},readonly={'on' if disk.read_only else 'off'}"
    device = {
        "root": f"virtio-blk-pci,drive={name},bootindex=1",
        "blk": f"virtio-blk-pci,drive={name}",
        "data": f"scsi-hd,drive={name},serial={layout.ENGINE_DISK_SERIAL}",
        "cdrom": f"scsi-cd,drive={name}",
    }[disk.bus]
    return ["-drive", drive, "-device", device]


def free_port() -> int:
    """A port of 127.0.0.1 that is free right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def machine_folder(parent: Path) -> Iterator[Path]:
    """A folder for one machine's disks and files; gone afterwards, or with the next machine if this program is killed."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob("machine-*"):
        if not Path("/proc", left.name.split("-")[1]).exists():
            shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=f"machine-{os.getpid()}-", dir=parent) as name:
        yield Path(name)


class Running:
    """A machine that runs. ``failure`` is what QEMU ended with, if it ended by itself and badly."""

    def __init__(self, folder: Path, thread: threading.Thread) -> None:
        self._folder = folder
        self._thread = thread
        self.failure: TrivetError | None = None

    @property
    def alive(self) -> bool:
        """Whether QEMU still runs."""
        return self._thread.is_alive()

    def console(self) -> str:
        """Everything that the guest has said on its serial line."""
        serial = self._folder / "serial"
        return serial.read_text(errors="replace").replace("\r", "") if serial.exists() else ""

    def stop(self) -> None:
        """End QEMU (a power cut for the guest)."""
        pidfile = self._folder / "pid"
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._thread.is_alive() and pidfile.exists():
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(int(pidfile.read_text()), number)
            self._thread.join(STOP_S)


@contextmanager
def running(processes: Processes, tools: Path, folder: Path, machine: Machine, limit_s: float) -> Iterator[Running]:
    """Run ``machine`` while the block runs; ``limit_s`` ends it in any case. ``tools``: an OS layer's root with QEMU."""
    if machine.firmware == "uefi":
        shutil.copy(tools / "usr/share/OVMF/OVMF_VARS_4M.fd", folder / "uefi-variables")
    argv = inside(tools, qemu_argv(machine), ((folder, INSIDE_RUN),))

    def run() -> None:
        try:
            # setpriv: a kernel promise that QEMU dies with this thread, whatever becomes of this program.
            processes.run(["setpriv", "--pdeathsig", "KILL", "--", *argv], timeout_s=limit_s)
        except TrivetError as error:
            started.failure = error

    thread = threading.Thread(target=run, name="qemu", daemon=True)
    started = Running(folder, thread)
    thread.start()
    try:
        yield started
    finally:
        started.stop()
