"""One contract for serial consoles: the fake libvirt, and a guest that says back what it hears, under QEMU, libvirt and
virtlogd of the node image."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.effects.clock import SystemClock
from appliance.effects.console_log import ConsoleLog
from appliance.errors import Conflict
from appliance.fakes.libvirt import FakeLibvirt
from appliance.model.vm import VmDisk
from appliance.model.vm_parts import Console
from appliance.verbs.vm_console import Attached, VmConsoles
from tests.contract.echo_guest import boot_sector
from tests.contract.live_node import NAME, LiveNode, code
from tests.contract.vmconsole_host import Acceptor

UP = b"up\r\n"
LIMIT_S = 400.0
"""An emulated machine whose CPU is somebody else's for half a minute."""


class Consoles:
    """A node with a VM that has a console, and who comes to it."""

    acceptor: Acceptor
    """Where the node takes connections, in tests that have one."""

    def __init__(self, node: LiveNode) -> None:
        self.node = node
        self.folder = folder = node.root.path
        self.log = folder / "console.log"
        disk = folder / "echo.raw"
        disk.write_bytes(boot_sector().ljust(1024**2, b"\0"))
        self.verbs = VmConsoles(folder / "consoles", node.hypervisor, SystemClock())
        boot = VmDisk(str(disk), "boot", "raw", boot_order=1)
        node.spec = replace(node.spec, disks=(boot, *node.spec.disks[1:]), console=Console(log=str(self.log)), graphics=None)

    def start(self) -> None:
        self.node.start()
        if isinstance(self.node.hypervisor, FakeLibvirt):
            self.node.hypervisor.say(NAME, UP)
        until(lambda: self.log.exists() and UP in self.log.read_bytes())

    @contextmanager
    def at(self, holder: str = "ann@internal") -> Iterator[Person]:
        with self.verbs.attached(NAME, holder) as attached:
            yield Person(attached)


class Person:
    """Somebody who types and reads."""

    def __init__(self, attached: Attached) -> None:
        self.attached = attached
        self.read = b""

    def types(self, text: bytes) -> None:
        self.attached.line.write(text)

    def has_ended(self) -> bool:
        return not self.attached.line.drain()

    def reads(self, text: bytes) -> None:
        until(lambda: self.sees(text), lambda: f"{len(self.read)} bytes, wanted {len(text)}: {self.read[-80:]!r}")

    def sees(self, text: bytes) -> bool:
        self.attached.line.drain()
        self.attached.line.flush()
        self.read += self.attached.log.more()
        return text in self.read


def until(holds: Callable[[], bool], said: Callable[[], str] = str) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end_s, said()
        time.sleep(0.02)


@pytest.fixture
def consoles(node: LiveNode) -> Consoles:
    return Consoles(node)


def test_who_comes_sees_what_was_said_and_is_heard(consoles: Consoles) -> None:
    consoles.start()
    with consoles.at() as ann:
        ann.reads(UP)
        ann.types(b"login")
        ann.reads(b"login")
    with consoles.at() as bob:
        bob.types(b" again")
        bob.reads(b"login again")
        assert bob.read.startswith(UP), "all that was said before is there once"


def test_what_is_said_while_nobody_listens_is_kept(consoles: Consoles) -> None:
    consoles.start()
    with consoles.at() as ann:
        ann.types(b"left behind")
        ann.reads(b"left behind")
    consoles.node.vms.reset(NAME)
    if isinstance(consoles.node.hypervisor, FakeLibvirt):
        consoles.node.hypervisor.say(NAME, UP)
    until(lambda: consoles.log.read_bytes().count(UP) == 2)
    with consoles.at() as bob:
        bob.reads(UP + b"left behind" + UP)
        bob.types(b"here")
        bob.reads(UP + b"here")


def test_one_person_at_a_time_and_others_are_told_who(consoles: Consoles) -> None:
    consoles.start()
    with consoles.at("ann@internal"):
        with pytest.raises(Conflict, match="ann@internal has its serial console since 20") as caught, consoles.at("bob"):
            raise AssertionError("two people have it")
        assert caught.value.code == "vm.console-busy"
    with consoles.at("bob") as bob:
        bob.types(b"free")
        bob.reads(b"free")


def test_who_is_killed_has_it_no_longer(consoles: Consoles) -> None:
    consoles.start()
    began = consoles.folder / "began"
    child = os.fork()
    if child == 0:
        consoles.folder.joinpath("pid").write_text(str(os.getpid()))
        with consoles.verbs._alone(NAME, "ann@internal"):
            began.touch()
            signal.pause()
    until(began.exists)
    assert code(lambda: consoles.verbs.attached(NAME, "bob").__enter__()) == "vm.console-busy"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with consoles.at("bob") as bob:
        bob.reads(UP)


def test_it_ends_with_its_vm(consoles: Consoles) -> None:
    consoles.start()
    with consoles.at() as ann:
        consoles.node.vms.destroy(NAME)
        until(ann.has_ended)
        ann.types(b"nobody hears this")
        assert ann.attached.line.unsent == 0, "what nobody will take does not pile up"
    assert code(lambda: consoles.verbs.attached(NAME, "ann").__enter__()) == "vm.unknown"


def test_a_terminal_that_is_somebody_elses_by_now_is_left_alone(consoles: Consoles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our look and our opening it the VM ended, and its terminal's number was given away."""
    consoles.start()
    real, answers = consoles.node.hypervisor.domain_xml, iter((False, True))
    monkeypatch.setattr(
        consoles.node.hypervisor,
        "domain_xml",
        lambda name: real(name).replace("/dev/pts/", "/dev/pts/9" * next(answers) or "/dev/pts/"),
    )
    assert code(lambda: consoles.verbs.attached(NAME, "ann").__enter__()) == "vm.console"


def test_a_machine_without_one_has_none(consoles: Consoles) -> None:
    consoles.node.spec = replace(consoles.node.spec, console=None)
    consoles.node.start()
    assert code(lambda: consoles.verbs.attached(NAME, "ann").__enter__()) == "vm.no-console"


def test_a_log_that_is_not_there_is_said(consoles: Consoles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.verbs.vm_console.LOG_WAIT_S", 0.2)
    consoles.start()
    consoles.log.unlink()
    assert code(lambda: consoles.verbs.attached(NAME, "ann").__enter__()) == "vm.console"


def test_a_log_that_is_full_is_turned_over_and_read_on(consoles: Consoles) -> None:
    """The bound of these tests is 16 KiB and one file of before; a node's is in tools/libvirt_conf.py."""
    consoles.start()
    lines = b"".join(b"%05d\r\n" % number for number in range(300))
    with consoles.at() as ann:
        ann.reads(UP)
        for part in range(1, 11):
            ann.types(lines)
            if isinstance(consoles.node.hypervisor, FakeLibvirt) and part == 5:
                consoles.log.rename(consoles.log.with_name("console.log.0"))
            ann.reads(UP + lines * part)  # nothing twice, nothing left out
    if not isinstance(consoles.node.hypervisor, FakeLibvirt):
        files = list(consoles.folder.glob("console.log*"))
        assert len(files) == 2 and sum(one.stat().st_size for one in files) < 3 * 16384


def test_a_log_begins_with_its_last_screens(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"old" * 1000 + b"new")
    log = ConsoleLog(path, history_bytes=3)
    assert (log.more(), log.more()) == (b"new", b"")
    log.close()
