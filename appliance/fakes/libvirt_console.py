"""Serial lines of the fake libvirt: real terminals, and guests that say back what is typed."""

from __future__ import annotations

import os
import select
import threading
import tty
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as Xml

LOOK_S = 0.02


@dataclass(kw_only=True)
class FakeConsoles:
    """What :class:`appliance.fakes.libvirt.FakeLibvirt` does with serial lines that have a log: it writes that itself."""

    lines: dict[str, FakeLine] = field(default_factory=dict)
    """VM → its line."""

    def say(self, name: str, data: bytes) -> None:
        """The guest says something, whether anybody listens or not."""
        self.lines[name].say(data)

    def _with_line(self, name: str, root: Xml.Element) -> None:
        """A machine has started: its console gets a terminal."""
        for device in ("serial", "console"):
            element = root.find(f"devices/{device}[@type='pty']")
            log = element.find("log") if element is not None else None
            if element is not None and log is not None and Path(log.get("file", "")).parent.is_dir():
                for old in element.findall("source"):  # of the machine whose memory is woken
                    element.remove(old)
                self.lines[name] = line = FakeLine(Path(log.get("file", "")))
                Xml.SubElement(element, "source", path=line.path)
                return

    def _end_line(self, name: str) -> None:
        if name in self.lines:
            self.lines.pop(name).end()


class FakeLine:
    """QEMU's end of a terminal, and a guest behind it."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        os.close(slave)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._echo, name="fake-guest", daemon=True)
        self._log.touch()
        self._thread.start()

    def say(self, data: bytes) -> None:
        """On the line, as far as somebody is there, and into the log."""
        with self._log.open("ab") as file:
            file.write(data)

    def end(self) -> None:
        """QEMU ends."""
        self._ended.set()
        self._thread.join()

    def _echo(self) -> None:
        while not self._ended.wait(LOOK_S):
            while select.select([self._master], [], [], 0)[0]:
                try:
                    data = os.read(self._master, 4096)
                except OSError:
                    break  # nobody has the other end open
                self.say(data)
        os.close(self._master)
