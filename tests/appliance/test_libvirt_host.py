"""What the test driver cannot play: errors by their words, states by their reasons, libvirtd absent or hanging."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import libvirt
import pytest

from appliance.effects import libvirt_host, libvirt_migration
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


@pytest.mark.parametrize("words", ["Transport endpoint is not connected", "File descriptor in bad state"])
def test_a_disk_that_cannot_be_reached_is_no_fault_of_the_vm(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = f"internal error: process exited while connecting to monitor: -blockdev: Could not open '/data.raw': {words}"
    error = start_with(Said(said, libvirt.VIR_ERR_INTERNAL_ERROR), monkeypatch)
    assert (error.code, type(error)) == ("vm.disk-unreachable", Unavailable)
    assert words in error.reason


def test_questions_that_hang_keep_nobody_from_ending_a_vm(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, ended = threading.Event(), []

    class Vm:
        def state(self) -> None:
            gate.wait(20)

        def destroy(self) -> None:
            ended.append("VM")

    wire = Wire()
    wire.lookupByName = lambda _name: Vm()  # type: ignore[attr-defined]
    monkeypatch.setattr(libvirt, "open", lambda _uri: wire)
    monkeypatch.setattr(libvirt_host, "QUERY_TIMEOUT_S", 0.02)
    host = libvirt_host.LibvirtHost()
    try:
        for _ in range(LEFT_BEHIND_LIMIT + 1):
            with pytest.raises(Unavailable):
                host.domain("VM")
        host.destroy("VM")
        assert ended == ["VM"]
    finally:
        gate.set()


def test_any_other_failure_keeps_what_libvirt_said(monkeypatch: pytest.MonkeyPatch) -> None:
    error = start_with(Said("out of cheese", libvirt.VIR_ERR_INTERNAL_ERROR), monkeypatch)
    assert (error.code, type(error), error.reason) == ("vm.start", Failed, "out of cheese")


def test_a_qemu_that_ended_without_a_word_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """virtlogd writes them, and libvirt may look before it has."""
    silent = Said("internal error: QEMU unexpectedly closed the monitor (vm='web1')", libvirt.VIR_ERR_INTERNAL_ERROR)
    locked = f'{silent.get_error_message()}: qemu-system-x86_64: -blockdev: Failed to get "write" lock'
    asked = [silent, Said(locked, libvirt.VIR_ERR_INTERNAL_ERROR)]
    wire = Wire()

    def create(_xml: str, _flags: int) -> None:
        raise asked.pop(0)

    wire.createXML = create  # type: ignore[method-assign]
    monkeypatch.setattr(libvirt, "open", lambda _uri: wire)
    with pytest.raises(Conflict) as caught:
        libvirt_host.LibvirtHost().start("<domain/>", paused=False)
    assert (caught.value.code, asked) == ("vm.disk-locked", [])


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


class Domain:
    """A domain whose job and disk errors are as given."""

    def __init__(self, job: dict[str, int] | Said, errors: dict[str, int] | None = None) -> None:
        self.job, self.errors = job, errors or {}
        self.aborted = threading.Event()
        self.parameters: dict[str, object] = {}

    def name(self) -> str:
        return "HostedEngine"

    def jobStats(self) -> dict[str, int]:
        if isinstance(self.job, Said):
            raise self.job
        return self.job

    def diskErrors(self) -> dict[str, int]:
        return self.errors

    def migrateSetMaxDowntime(self, milliseconds: int) -> None:
        self.parameters["downtime"] = milliseconds

    def migrateToURI3(self, uri: str, parameters: dict[str, object], flags: int) -> None:
        self.parameters |= {"to": uri, "flags": flags, **parameters}
        if not self.aborted.wait(20):
            return
        raise Said("operation aborted: migration out job: canceled by client", libvirt.VIR_ERR_OPERATION_ABORTED)

    def abortJob(self) -> None:
        self.aborted.set()


INCOMING = Said(
    "Operation not supported: migration statistics are available only on the source host",
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
)
OUT = {"type": 2, "operation": libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT}
NO_SPACE, OTHER = libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE, libvirt.VIR_DOMAIN_DISK_ERROR_UNSPEC
PAUSED = libvirt.VIR_DOMAIN_PAUSED


@pytest.mark.parametrize(
    ("state", "reason", "domain", "power"),
    [
        (libvirt.VIR_DOMAIN_RUNNING, 0, Domain({"type": 0}), "running"),
        (libvirt.VIR_DOMAIN_RUNNING, 0, Domain(OUT), "migrating"),
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION, Domain(OUT), "migrating"),
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP, Domain(INCOMING), "incoming"),
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION, Domain(INCOMING), "incoming"),
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER, Domain({"type": 0}), "paused"),
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION, Domain({"type": 0}), "paused"),
        (libvirt.VIR_DOMAIN_RUNNING, 0, Domain(Said("not running", libvirt.VIR_ERR_OPERATION_INVALID)), "running"),
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR, Domain({}, {"sda": NO_SPACE}), "paused-no-space"),
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR, Domain({}, {"sda": NO_SPACE, "sdb": OTHER}), "paused-io-error"),
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR, Domain({}), "paused-io-error"),
    ],
)
def test_what_a_state_means_now(state: int, reason: int, domain: Domain, power: str) -> None:
    assert libvirt_host._power_now(domain, state, reason) == power


def test_a_migration_that_takes_too_long_is_broken_off() -> None:
    domain = Domain({})
    with pytest.raises(Failed) as caught:
        libvirt_migration.migrate(domain, "node2", 0.05)
    assert caught.value.code == "vm.migrate-deadline"
    assert "within 0 s" in caught.value.reason and "canceled" in caught.value.reason
    assert domain.parameters["to"] == "qemu+tls://node2/system"
    assert domain.parameters["downtime"] == libvirt_migration.DOWNTIME_MS
    assert domain.parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] == libvirt_migration.BANDWIDTH_MIB_S


def test_nobody_waits_for_a_target_that_takes_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(libvirt_migration, "LIBVIRT_TLS_PORT", listener.getsockname()[1])
        libvirt_migration.check_reached("web", "127.0.0.1")
    with pytest.raises(Failed) as caught:
        libvirt_migration.check_reached("web", "127.0.0.1")
    assert caught.value.code == "vm.migrate"
    assert "VM web" in str(caught.value) and "libvirt of 127.0.0.1 took no connection" in caught.value.reason


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
