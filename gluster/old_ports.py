"""Answer, and hang up, on the ports that this node's bricks had before they were restarted.

A client of Gluster 11.1 asks glusterd for a brick's port once, keeps it, and asks again only after a connection that stood
has ended. One that is told a port that is no more is refused, asks nobody, and tries that port every 3 s for as long as it
lives (seen by ``strace`` of mounts and self-heal daemons): its disks never have that copy again, and no heal can be ordered.
glusterd tells such a port when it has a wrong one in its store, which ``trivet-note-brick-ports`` puts right, and for a
moment after each brick's end. A connection that is accepted and closed is all that such a client needs to ask again.

A program of its own, and of the standard library only: one that imports all of Trivet costs four times the memory.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LOOK_S = 5.0
"""Between two looks at the bricks: a client tries every 3 s, and a copy that comes back 5 s later costs nothing."""
KEPT = 16
"""Old ports that are answered for each brick, the latest: a brick is restarted a few times in a node's life, and one that
crashes again and again is not to collect sockets."""
BACKLOG = 64
"""A port's callers that may wait: one for each volume's mount and healer of 16 nodes, twice."""

Ports = Mapping[str, int]
"""Brick → the port on which its process listens."""


@dataclass
class Known:
    """Which ports each brick had, the present one last."""

    ports: dict[str, list[int]] = field(default_factory=dict)

    def note(self, running: Ports) -> None:
        """Take in what is running now. A brick that is not running keeps what it had."""
        for brick, port in running.items():
            before = [old for old in self.ports.get(brick, ()) if old != port]
            self.ports[brick] = [*before[-KEPT:], port]

    def old(self, running: Ports) -> frozenset[int]:
        """The ports to answer: of bricks that run elsewhere now, and that no brick has.

        A brick that is down has nowhere else to be found: who asks for it is refused, as ever.
        """
        return frozenset(old for brick in running for old in self.ports.get(brick, ())) - frozenset(running.values())

    def text(self) -> str:
        """One line for each brick: its name, and its ports."""
        return "".join(f"{brick} {' '.join(map(str, ports))}\n" for brick, ports in sorted(self.ports.items()))

    @staticmethod
    def read(text: str) -> Known:
        """What :meth:`text` wrote; a line that is none (half written when the power went) is left out."""
        known = Known()
        for line in text.splitlines():
            brick, _, ports = line.partition(" ")
            if ports and all(port.isdecimal() for port in ports.split()):
                known.ports[brick] = [int(port) for port in ports.split()]
        return known


def port_of(command: bytes) -> int | None:
    """The port in a brick's command line (``/proc/PID/cmdline``); None when that is another process's."""
    words = command.split(b"\0")
    if not words[0].endswith(b"/glusterfsd") or b"--brick-port" not in words[:-1]:
        return None
    port = words[words.index(b"--brick-port") + 1]
    return int(port) if port.isdigit() else None


def running_bricks(run: Path, proc: Path) -> dict[str, int]:
    """The ports of this node's bricks: by glusterd's files of their process ids, each of which may be one of the past."""
    found: dict[str, int] = {}
    for pid_file in sorted(run.glob("vols/*/*.pid")):
        # The brick may end, and its file go, at any time.
        with contextlib.suppress(OSError):
            port = port_of((proc / pid_file.read_text().strip() / "cmdline").read_bytes())
            if port is not None:
                found[f"{pid_file.parent.name}/{pid_file.stem}"] = port
    return found


class Answerer:
    """Listens on ports, and ends each connection at once."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[int, socket.socket] = {}

    def listen(self, ports: frozenset[int]) -> None:
        """On these and no others. A port that somebody else has is tried again with the next call."""
        for port in self._sockets.keys() - ports:
            left = self._sockets.pop(port)
            self._selector.unregister(left)
            left.close()
        for port in ports - self._sockets.keys():
            # Somebody has it: then who calls there is answered.
            with contextlib.suppress(OSError):
                self._sockets[port] = made = socket.create_server(("", port), backlog=BACKLOG)
                made.setblocking(False)
                self._selector.register(made, selectors.EVENT_READ, port)
                sys.stdout.write(f"a brick had port {port} before it was restarted: clients that call there are sent on\n")
                sys.stdout.flush()

    def answer(self, for_s: float) -> int:
        """Hang up on whoever calls within ``for_s``; how many did."""
        end_s, calls = time.monotonic() + for_s, 0
        while (left_s := end_s - time.monotonic()) > 0:
            for key, _ in self._selector.select(left_s):
                with contextlib.suppress(OSError):  # who called has left meanwhile
                    self._sockets[key.data].accept()[0].close()
                    calls += 1
        return calls


def main(argv: list[str]) -> int:
    """``RUN STATE``: glusterd's folder of process ids, and the file that keeps the ports over a restart of this program."""
    run, state = Path(argv[0]), Path(argv[1])
    known = Known.read(state.read_text() if state.exists() else "")
    answerer = Answerer()
    while True:
        running = running_bricks(run, Path("/proc"))
        before = known.text()
        known.note(running)
        if known.text() != before:
            state.write_text(known.text())
        answerer.listen(known.old(running))
        answerer.answer(LOOK_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
