"""VMs' serial consoles: one person at a time has one, and others are told who."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.codec import decode, encode
from appliance.effects.console_line import ConsoleLine
from appliance.effects.console_log import ConsoleLog
from appliance.effects.files import PRIVATE, make_folders
from appliance.errors import Conflict, Failed, Refused, TrivetError
from appliance.model.console import Holder
from appliance.ports import Clock, Hypervisor
from appliance.tools.live_xml import LiveDomain

LOG_WAIT_S = 5.0
"""virtlogd has the file before QEMU runs; on a host that is busy we may look before it has."""
LOOK_EVERY_S = 0.05


@dataclass(frozen=True)
class Attached:
    """A console that one has: what is typed goes into ``line``, what it says comes out of ``log``."""

    line: ConsoleLine
    log: ConsoleLog


class VmConsoles:
    """The consoles of one node. ``folder``: where it is written down who has which."""

    def __init__(self, folder: Path, hypervisor: Hypervisor, clock: Clock) -> None:
        self._folder = folder
        self._hypervisor = hypervisor
        self._clock = clock

    @contextmanager
    def attached(self, name: str, holder: str) -> Iterator[Attached]:
        """Have the console of a VM. Raises ``NotFound`` (``vm.unknown``), ``Conflict`` (``vm.no-console``,
        ``vm.console-busy``), ``Failed`` (``vm.console``)."""
        terminal, path = self._console(name)
        with self._alone(name, holder):
            log = self._opened(name, Path(path))
            try:
                line = self._line(name, terminal)
                try:
                    yield Attached(line, log)
                finally:
                    line.close()
            finally:
                log.close()

    def _console(self, name: str) -> tuple[str, str]:
        found = LiveDomain(self._hypervisor.domain_xml(name)).console()
        if not all(found):
            raise Conflict(
                "vm.no-console",
                subject=f"VM {name}",
                reason="the machine that runs has no serial console",
                remedy="Switch it on (console.enabled), then shut the VM down and start it.",
            )
        return found

    def _line(self, name: str, terminal: str) -> ConsoleLine:
        """Numbers of terminals are used again. One that is the VM's before and after it was opened was so when it was."""
        try:
            line = ConsoleLine(terminal)
        except OSError as error:
            raise _gone(name, f"its terminal {terminal} cannot be opened: {error.strerror}") from error
        try:
            if self._console(name)[0] != terminal:
                raise _gone(name, "it was started anew in this moment")
        except TrivetError:
            line.close()
            raise
        return line

    @contextmanager
    def _alone(self, name: str, holder: str) -> Iterator[None]:
        """The kernel takes the lock away from who dies, so nobody has a console for ever."""
        make_folders(self._folder, 0o700)
        place = self._folder / f"{name}.lock"
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise busy(name, _holder(descriptor)) from error
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(encode(Holder(holder, self._clock.wall_s()))).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def _opened(self, name: str, path: Path) -> ConsoleLog:
        end_s = self._clock.monotonic_s() + LOG_WAIT_S
        while True:
            try:
                return ConsoleLog(path)
            except OSError as error:
                if self._clock.monotonic_s() > end_s:
                    raise _gone(name, f"what it says cannot be read: {path}: {error.strerror}") from error
                self._clock.sleep(LOOK_EVERY_S)


def _gone(name: str, reason: str) -> Failed:
    remedy = "Connect again. `systemctl status virtlogd` on its host says what is the matter with its log."
    return Failed("vm.console", subject=f"VM {name}", reason=reason, remedy=remedy)


def _holder(descriptor: int) -> Holder | None:
    text = os.pread(descriptor, 4096, 0)
    try:
        return decode(Holder, json.loads(text), subject="a console's lock", ignore_unknown=True)
    except (ValueError, Refused):
        return None  # it was taken a moment ago, and the name is not written yet


def busy(name: str, holder: Holder | None) -> Conflict:
    """Somebody else has it."""
    who = "somebody has its serial console"
    if holder is not None:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(holder.since_wall_s))
        who = f"{holder.name} has its serial console since {since}"
    facts = {"holder": holder.name} if holder else {}
    remedy = "Ask them to end it (Enter ~ .), then connect again."
    return Conflict("vm.console-busy", subject=f"VM {name}", reason=who, remedy=remedy, facts=facts)
