"""What the test driver cannot play: errors by their words, states by their reasons, libvirtd absent or hanging."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import libvirt
import pytest

from appliance.effects import libvirt_host
from appliance.effects.bounded import LEFT_BEHIND_LIMIT, Bounded
from appliance.errors import Conflict, Failed, TrivetError, Unavailable


class Said(libvirt.libvirtError):  # type: ignore[misc]
    def __init__(self, message: str, number: int) -> None:
        Exception.__init__(self, message)
        self.err = (number, 0, message, 2, None, None, None, 0, 0)


class Wire:
    """A connection whose every use fails with the words of a real libvirt."""

    def __init__(self, error: Said | None = None, alive: bool = True) -> None:
        self.error, self.alive = error, alive

    def isAlive(self) -> bool:
        return True

    def getLibVersion(self) -> int:
        if not self.alive:
            raise Said("Cannot write data: Broken pipe", libvirt.VIR_ERR_SYSTEM_ERROR)
        return 11_003_000

    def createXML(self, xml: str, flags: int) -> None:
        if self.error:
            raise self.error


def start_with(error: Said, monkeypatch: pytest.MonkeyPatch) -> TrivetError:
    monkeypatch.setattr(libvirt, "open", lambda _uri: Wire(error))
    with pytest.raises(TrivetError) as caught:
        libvirt_host.LibvirtHost().start("<domain/>", paused=True)
    return caught.value


def test_a_locked_disk_is_recognised_by_what_qemu_says(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        "internal error: process exited while connecting to monitor: 2026-01-01T00:00:00Z qemu-system-x86_64: -blockdev "
        '{"node-name":"x"}: Failed to get "write" lock\nIs another process using the image [/data.raw]?'
    )
    error = start_with(Said(said, libvirt.VIR_ERR_INTERNAL_ERROR), monkeypatch)
    assert (error.code, type(error)) == ("vm.disk-locked", Conflict)


def test_any_other_failure_keeps_what_libvirt_said(monkeypatch: pytest.MonkeyPatch) -> None:
    error = start_with(Said("out of cheese", libvirt.VIR_ERR_INTERNAL_ERROR), monkeypatch)
    assert (error.code, type(error), error.reason) == ("vm.start", Failed, "out of cheese")


def test_no_libvirtd_is_unavailable() -> None:
    with pytest.raises(Unavailable) as caught:
        libvirt_host.LibvirtHost("qemu+unix:///system?socket=/nonexistent/socket").domains()
    assert caught.value.code == "libvirt.unreachable"


def test_a_lost_connection_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    wires = [Wire(), Wire()]
    opened: list[Wire] = []

    def connect(_uri: str) -> Wire:
        opened.append(wires[len(opened)])
        return opened[-1]

    monkeypatch.setattr(libvirt, "open", connect)
    host = libvirt_host.LibvirtHost()
    host.start("<domain/>", paused=False)
    host.start("<domain/>", paused=False)
    assert len(opened) == 1
    wires[0].alive = False
    host.start("<domain/>", paused=False)
    assert len(opened) == 2


@pytest.mark.parametrize(
    ("state", "reason", "power"),
    [
        (libvirt.VIR_DOMAIN_RUNNING, 0, "running"),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR, "paused-io-error"),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER, "paused"),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP, "paused"),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION, "migrating"),
        (libvirt.VIR_DOMAIN_CRASHED, 0, "crashed"),
        (libvirt.VIR_DOMAIN_SHUTDOWN, 0, "shutting-down"),
        (libvirt.VIR_DOMAIN_SHUTOFF, 0, "off"),
    ],
)
def test_states(state: int, reason: int, power: str) -> None:
    assert libvirt_host._power(state, reason) == power


def test_the_pid_is_read_from_libvirts_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt_host, "PID_FOLDER", tmp_path)
    (tmp_path / "a.pid").write_text("77")
    (tmp_path / "b.pid").write_text("")
    assert [libvirt_host._pid(name) for name in "abc"] == [77, 0, 0]


def test_a_hanging_call_is_left_behind_and_too_many_are_refused() -> None:
    gate = threading.Event()
    bounded = Bounded("libvirt", "libvirt")

    def hang() -> Any:
        gate.wait(20)

    try:
        for _ in range(LEFT_BEHIND_LIMIT):
            with pytest.raises(Unavailable) as caught:
                bounded(hang, 0.02)
            assert caught.value.code == "libvirt.deadline"
        with pytest.raises(Unavailable) as caught:
            bounded(lambda: 1, 0.02)
        assert caught.value.code == "libvirt.busy"
    finally:
        gate.set()
    assert bounded(lambda: 1, 5.0) == 1


def test_what_a_bounded_call_raises_arrives() -> None:
    def fail() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        Bounded("x", "x")(fail, 1.0)
