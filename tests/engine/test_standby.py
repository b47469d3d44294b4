"""Standby: the programs wait with everything imported, share nothing with other wakes, and go active in one step."""

from __future__ import annotations

import json
import os
import random
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from appliance.effects.clock import FakeClock, SystemClock
from appliance.effects.process import Completed, SystemProcesses
from appliance.fakes.process import ScriptedProcesses
from appliance.model.engine_start import EngineStart
from engine.boot import disks, rehearsal, wake
from engine.boot.activate import record
from engine.boot.files import read
from engine.layout import Guest, write_private
from tests.engine import world

DEADLINE_S = 50.0


def ask(path: Path) -> tuple[str, dict[str, str]]:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(5)
        channel.connect(str(path))
        channel.sendall(b"GET /health HTTP/1.1\r\nHost: standby\r\n\r\n")
        head, _, body = channel.recv(4096).partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0].decode(), json.loads(body)


def test_the_web_program_waits_in_standby_and_answers_who_came_early(tmp_path: Path) -> None:
    guest = world.ready_guest(tmp_path, SystemClock())
    guest.active_file.unlink()
    port = world.free_port()
    words = ["engine", "web", "--root", str(tmp_path), "--address", "127.0.0.1", "--port", str(port)]
    code = f"import sys; sys.path.insert(0, {str(world.REPOSITORY)!r}); from appliance.command import main; main({words!r})"
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", code], stdout=out, stderr=out, env={"PATH": os.environ["PATH"]}
        )
    try:
        end_s = time.monotonic() + DEADLINE_S
        while not guest.standby_socket.exists():
            assert process.poll() is None and time.monotonic() < end_s, log.read_text()
            time.sleep(0.1)
        status, said = ask(guest.standby_socket)
        assert (status, said["status"]) == ("HTTP/1.1 503 Standby", "standby")
        assert not guest.serving_file.exists()
        early = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        write_private(guest.active_file, "")
        context = ssl.create_default_context(cafile=str(guest.ca))
        with context.wrap_socket(early, server_hostname="localhost") as channel:
            channel.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            assert b'"status": "up"' in channel.recv(65536) + channel.recv(65536)
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/health", context=context, timeout=20) as answer:
            assert json.loads(answer.read())["epoch"] == world.START.epoch
        assert guest.serving_file.exists()
        end_s = time.monotonic() + DEADLINE_S
        while guest.standby_socket.exists():  # the other worker may see later that the engine is active
            assert time.monotonic() < end_s, log.read_text()
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait(20)


class Tools(SystemProcesses):
    """The real tools, but for those that would speak to this machine's systemd and kernel."""

    def __init__(self, state: str) -> None:
        self._scripted = ScriptedProcesses({"systemctl is-system-running": state, "modprobe": "", "sync": "", "udevadm": ""})

    def run(self, argv: Sequence[str], **named: Any) -> Completed:
        return (self._scripted if argv[0] in ("systemctl", "modprobe", "sync", "udevadm") else super()).run(argv, **named)


def test_the_rehearsal_uses_a_guest_of_nobody_and_says_that_all_is_ready(tmp_path: Path) -> None:
    said: list[str] = []
    used: list[Path] = []

    def recorded(nobody: Guest) -> None:
        start = read(EngineStart, nobody.start_file, "seed.invalid", "Look.")
        record(nobody, start, FakeClock(), lambda _text: None)
        used.append(nobody.root)

    guest = Guest(tmp_path)
    assert not rehearsal.rehearse(guest, Tools("starting"), recorded, said.append)
    assert (said, used) == ([], [])
    assert rehearsal.rehearse(guest, Tools("running"), recorded, said.append)
    assert said == [rehearsal.READY]
    assert not used[0].exists()
    assert not guest.active_file.exists()


def test_the_disks_are_found_by_the_kernels_serial(tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    assert disks.find(guest, "trivet-data", guest.data_device) is None
    for name, serial in (("sda", b"trivet-seed"), ("sdb", b"trivet-data")):
        page = guest.at(f"/sys/block/{name}/device/vpd_pg80")
        page.parent.mkdir(parents=True)
        page.write_bytes(b"\0\x80\0\x0b" + serial)
        write_private(guest.at(f"/dev/{name}"), "")
    assert disks.find(guest, "trivet-data", guest.data_device) == guest.at("/dev/sdb")


@pytest.mark.parametrize(("state", "sound"), [(b"\1\0", True), (b"\3\0", False), (b"\0\0", False)])
def test_the_superblock_says_whether_tools_are_needed(tmp_path: Path, state: bytes, sound: bool) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(16 << 20)
    assert disks.superblock(disk) == disks.Superblock("", False)
    SystemProcesses().run(["mkfs.ext4", "-q", "-F", "-L", "trivet-data", str(disk)], timeout_s=30)
    with disk.open("r+b") as file:
        file.seek(disks.SUPERBLOCK_AT + disks.STATE_AT)
        file.write(state)
    assert disks.superblock(disk) == disks.Superblock("trivet-data", sound)


def test_the_clock_follows_the_chip_by_half_a_second(tmp_path: Path) -> None:
    guest, clock, told, said = Guest(tmp_path), FakeClock(), [], []
    wake.set_clock(guest, clock, said.append, told.append)
    assert told == []
    write_private(guest.clock_chip, f"{int(clock.wall_s())}\n")
    wake.set_clock(guest, clock, said.append, told.append)
    assert told == []
    write_private(guest.clock_chip, "1900000000\n")
    wake.set_clock(guest, clock, said.append, told.append)
    assert told == [1900000000.5]


def test_a_woken_process_draws_other_numbers_than_its_twin() -> None:
    state = random.getstate()
    drawn = set()
    for _ in range(2):
        random.setstate(state)  # as restoring the memory does
        wake.renew_own_random()
        drawn.add(random.random())
    assert len(drawn) == 2


def test_each_start_has_an_id_of_its_own(tmp_path: Path) -> None:
    first, second = Guest(tmp_path / "1"), Guest(tmp_path / "2")
    assert wake.start_id(first) == wake.start_id(first)
    assert wake.start_id(first) != wake.start_id(second)
