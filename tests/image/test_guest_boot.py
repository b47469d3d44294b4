"""The test guest, booted for real: what it acknowledged survives a kill of its QEMU, and the power button ends it."""

from __future__ import annotations

import json
import mmap
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.effects.process import SystemProcesses
from image.build import Builder, Quiet
from image.guest.build import GuestBuilder
from image.guest.records import Record, Said, lost_records, read_console, read_records
from image.qemu import Disk, Firmware, Machine, Running, machine_folder, running
from image.recipe import CACHE, MIB
from image.verify import Verifier

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="building needs root")]

LIMIT_S = 240.0
"""It is up after 24 s beside a whole lab (load 5 to 6, at idle priority); a busier machine gets ten times that."""

MEMORY_MIB: dict[Firmware, int] = {"bios": 128, "uefi": 256}
"""OVMF and what it loads take more than the guest does: with 128 MiB the kernel found no place, and OVMF stopped."""

DATA_BYTES = 8 * MIB
"""2048 records: far more than the test waits for."""

ENOUGH = 60
"""Records of a run before its machine is killed: some seconds of them."""


@pytest.fixture
def folder(builder: Builder) -> Iterator[Path]:
    """A machine's folder with the boot disk and an empty data disk."""
    image = GuestBuilder(SystemProcesses(), Quiet(), builder).build().image
    with machine_folder(CACHE / "verify") as made:
        SystemProcesses().run(["cp", "--sparse=always", str(image), str(made / "root")], timeout_s=LIMIT_S)
        with (made / "data").open("wb") as file:
            file.truncate(DATA_BYTES)
        yield made


def machine(firmware: Firmware, *disks: Disk) -> Machine:
    return Machine(firmware, MEMORY_MIB[firmware], (Disk("root", "root"), *disks), (), cpus=1, control=True)


def press(folder: Path, *commands: dict[str, object]) -> None:
    """Send QMP commands; each must succeed."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(LIMIT_S)
        line.connect(str(folder / "qmp"))
        answers = line.makefile("r")
        assert "QMP" in json.loads(answers.readline())
        for command in ({"execute": "qmp_capabilities"}, *commands):
            line.sendall(json.dumps(command).encode() + b"\n")
            answer = json.loads(answers.readline())
            while "event" in answer:
                answer = json.loads(answers.readline())
            assert "return" in answer, answer


def recorded(guest: Running, least: int) -> tuple[Said, ...] | None:
    """What the guest said of its records, once the last run acknowledged so many."""
    said = read_console(guest.console())
    if not said or said[-1].acknowledged is None or said[-1].acknowledged - said[-1].first < least:
        return None
    return said


def on_disk(folder: Path) -> dict[int, Record]:
    with (folder / "data").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return read_records(data)


def ended(guest: Running, verifier: Verifier) -> None:
    """Wait until the guest has switched itself off."""
    deadline_s = time.monotonic() + LIMIT_S
    while guest.alive and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert not guest.alive and guest.failure is None, guest.console()[-1000:]


def test_what_it_acknowledged_survives_a_kill_and_the_power_button_ends_it(
    builder: Builder, verifier: Verifier, folder: Path
) -> None:
    two = machine("bios", Disk("data", "blk"))
    with running(SystemProcesses(), builder.tools(), folder, two, 2 * LIMIT_S) as guest:
        began_s = time.monotonic()
        verifier.until(guest, lambda: "TRIVET-GUEST up" in guest.console() or None, LIMIT_S, "the guest is not up")
        up_s = time.monotonic() - began_s
        verifier.until(guest, lambda: recorded(guest, ENOUGH), LIMIT_S, "no records")
        os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
        deadline_s = time.monotonic() + LIMIT_S
        while guest.alive and time.monotonic() < deadline_s:
            time.sleep(0.01)
        killed = read_console(guest.console())
    found = on_disk(folder)
    (first,) = killed
    print(f"\nguest: up after {up_s:.1f} s; acknowledged {first.acknowledged}, newest on the disk {max(found)}")
    assert first.disk == "vdb" and first.first == 0 and first.acknowledged is not None and first.acknowledged >= ENOUGH
    assert first.slots == DATA_BYTES // 4096
    assert lost_records(killed, found) == ()

    for left in ("pid", "serial", "qmp"):
        (folder / left).unlink()  # of the one that was killed
    with running(SystemProcesses(), builder.tools(), folder, two, 2 * LIMIT_S) as guest:
        verifier.until(guest, lambda: recorded(guest, ENOUGH), LIMIT_S, "no records after the restart")
        press(folder, {"execute": "system_powerdown"})
        ended(guest, verifier)
        console = guest.console()
    assert "TRIVET-GUEST power button" in console and "TRIVET-GUEST down" in console
    (second,) = read_console(console)
    assert second.first == max(found) + 1 and second.run.boot != first.run.boot
    after = on_disk(folder)
    assert second.acknowledged == max(after), "the last word is exact after a clean end"
    assert lost_records((first, second), after) == ()


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_a_disk_that_is_plugged_into_the_running_guest_is_recorded_on(
    builder: Builder, verifier: Verifier, folder: Path, firmware: Firmware
) -> None:
    with running(SystemProcesses(), builder.tools(), folder, machine(firmware), 2 * LIMIT_S) as guest:
        pattern = re.compile(r"TRIVET-GUEST address eth0 198\.18\.255\.100\n")
        verifier.until(guest, lambda: pattern.search(guest.console()), LIMIT_S, "it got no address")
        assert "disks vda:42MiB nics eth0\n" in guest.console() and read_console(guest.console()) == ()
        disk = {"driver": "raw", "node-name": "data", "file": {"driver": "file", "filename": "/run/verify/data"}}
        device = {"driver": "virtio-blk-pci", "drive": "data", "id": "data", "bus": "port0"}
        press(folder, {"execute": "blockdev-add", "arguments": disk}, {"execute": "device_add", "arguments": device})
        verifier.until(guest, lambda: recorded(guest, ENOUGH), LIMIT_S, "no records on the plugged disk")
        assert "disks vda:42MiB,vdb:8MiB nics eth0\n" in guest.console()
        press(folder, {"execute": "system_powerdown"})
        ended(guest, verifier)
        said = read_console(guest.console())
    assert lost_records(said, on_disk(folder)) == ()


def test_a_disk_with_something_else_on_it_is_left_alone(builder: Builder, verifier: Verifier, folder: Path) -> None:
    with (folder / "data").open("r+b") as file:
        file.write(b"a letter")
    before = (folder / "data").read_bytes()
    foreign = machine("bios", Disk("data", "data"))
    with running(SystemProcesses(), builder.tools(), folder, foreign, 2 * LIMIT_S) as guest:
        verifier.until(guest, lambda: "left alone sda" in guest.console() or None, LIMIT_S, "nothing was said of it")
        press(folder, {"execute": "system_powerdown"})
        ended(guest, verifier)
    assert (folder / "data").read_bytes() == before
