"""How a start ends: what only had to wait for the volume, and what was wrong with it."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.errors import Conflict, Failed, Unavailable
from ha_broker.act import DISK_LOCKED, DISK_UNREACHABLE, Progress, StartEnd, StartOrder, destroy, start
from ha_broker.effects.threads import drive
from ha_broker.ports import Procedure
from ha_broker.state import LocalVm, Notes, Outcome
from tests.ha_broker.test_effects import CLUSTER

ORDER = StartOrder(CLUSTER, "node2", "/images/e.raw", 3, Notes(), "2026-01-01T00:00:00+00:00")
NOT_CONNECTED = OSError(errno.ENOTCONN, "Transport endpoint is not connected")
UNREACHABLE = Unavailable(DISK_UNREACHABLE, subject="VM", reason="Transport endpoint is not connected", remedy="-")
FAILED = Failed("vm.start", subject="VM", reason="no such machine type", remedy="-")


@dataclass
class Ports:
    """Every port in one: the call named in ``fails`` raises, all are listed."""

    fails: dict[str, Exception] = field(default_factory=dict)
    called: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        if name in ("hypervisor", "seed", "epochs", "notes"):
            return self
        if name == "agents":
            return SimpleNamespace(epochs=lambda *_: {}, raise_epoch=lambda *_: None)

        def called(*_arguments: object) -> Any:
            self.called.append(name)
            if name in self.fails:
                raise self.fails[name]
            answers = {"start_paused": 7, "local": 3, "engine_vm": LocalVm("off")}
            return answers.get(name, 4 if name == "read_record" and "write_record" in self.called else 3)

        return called


def ended(ports: Ports, progress: Progress | None = None) -> StartEnd:
    return drive(start(ports, ORDER, progress or Progress(0.0)))  # type: ignore[arg-type,no-any-return]


def test_a_start_that_goes_well() -> None:
    end = ended(Ports())
    assert (end.outcome, end.vm, end.held.epoch if end.held else 0) == ("done", LocalVm("running", 7), 4)


@pytest.mark.parametrize(
    ("call", "error", "outcome"),
    [
        ("start_paused", UNREACHABLE, "unreachable"),
        ("start_paused", NOT_CONNECTED, "unreachable"),
        ("ensure", NOT_CONNECTED, "unreachable"),
        ("write_record", OSError(errno.EBADFD, "File descriptor in bad state"), "unreachable"),
        ("write_record", OSError(errno.ENOSPC, "No space left on device"), "no-space"),
        ("write", OSError(errno.EDQUOT, "Disk quota exceeded"), "no-space"),
        ("raise_local", OSError(errno.ENOSPC, "No space left on device"), "failed"),  # this host's /var
        ("save", OSError(errno.ENOSPC, "No space left on device"), "failed"),
        ("start_paused", FAILED, "failed"),
        ("start_paused", Unavailable("libvirt.deadline", subject="libvirt", reason="25 s", remedy="-"), "failed"),
        ("start_paused", Conflict(DISK_LOCKED, subject="VM", reason="held", remedy="-"), "locked"),
        ("resume", UNREACHABLE, "failed"),
    ],
)
def test_only_a_volume_that_is_not_there_is_waiting(call: str, error: Exception, outcome: Outcome) -> None:
    ports = Ports({call: error})
    end = ended(ports)
    assert end.outcome == outcome
    assert ("destroy" in ports.called) is (outcome != "locked")
    words = {"unreachable": "did not reach the disk at", "failed": "the start failed at", "locked": "lock refused"}
    words["no-space"] = "the volume engine is full: the start ended at"
    assert words[outcome] in end.sentence


def broken_off(lost: bool) -> StartEnd:
    """The loop breaks it off while QEMU is being started."""
    progress, ports = Progress(0.0), Ports()
    procedure: Procedure[StartEnd] = start(ports, ORDER, progress)  # type: ignore[arg-type]
    work = next(procedure)
    try:
        while True:
            value = work()
            if ports.called[-1] == "start_paused":
                progress.lost, progress.cancelled = lost, True
            work = procedure.send(value)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def test_a_start_that_was_broken_off_because_the_own_storage_was_lost_is_waiting_too() -> None:
    assert broken_off(True).outcome == "unreachable"
    assert broken_off(False).outcome == "failed", "it took too long"


def test_a_qemu_was_destroyed_also_where_libvirt_says_nothing_afterwards() -> None:
    silent = Unavailable("libvirt.deadline", subject="libvirt", reason="did not answer", remedy="Look.")
    vm = drive(destroy(Ports({"engine_vm": silent})))  # type: ignore[arg-type]
    assert (vm.power, vm.error) == ("unknown", "libvirt: did not answer. Look.")
