"""Bells between web and jobs: an order is taken up at once, who waits hears of its end, and nobody looks all the time."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ONE = b"\x01"
DRAIN_BYTES = 4096
SHORT = 8
"""Characters of a job's id in the name of a bell."""


@dataclass(frozen=True)
class Bell:
    """The way to ring: a datagram to a socket in /run. If nobody listens, the order waits for the next look."""

    path: Path

    def ring(self) -> None:
        """Say that there is something to do."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.setblocking(False)
            # Not there yet, or rung often enough already: the queue is looked at every second anyway.
            with contextlib.suppress(OSError):
                out.sendto(ONE, str(self.path))


class Ear:
    """The other end. Belongs to the one jobs process."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(str(path))

    def wait(self, timeout_s: float) -> bool:
        """Until somebody rings, at most ``timeout_s``; whether somebody did. Many rings are one."""
        self._socket.settimeout(timeout_s)
        try:
            self._socket.recv(DRAIN_BYTES)
        except TimeoutError:
            return False
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(DRAIN_BYTES)
        return True

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


@dataclass(frozen=True)
class JobBells:
    """The way back: one bell for each who waits for a job, in ``folder``."""

    folder: Path

    @contextmanager
    def heard(self, job_id: str) -> Iterator[Callable[[float], object]]:
        """Waits until the job moves, at most so many seconds. Without a socket it only waits: the job is ordered already."""
        path = self.folder / f"{self._short(job_id)}.{secrets.token_hex(3)}"
        try:
            ear = Ear(path)
        except OSError:  # no descriptor left, or no room in /run
            yield threading.Event().wait
            return
        try:
            yield ear.wait
        finally:
            ear.close()
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Take away what killed workers left. To be called before there are any."""
        for path in self.folder.glob("*"):
            path.unlink(missing_ok=True)

    def ring(self, job_id: str) -> None:
        """Say that the job has moved."""
        for path in self.folder.glob(f"{self._short(job_id)}.*"):
            Bell(path).ring()

    @staticmethod
    def _short(job_id: str) -> str:
        """A socket's whole path has 107 bytes at most; who is rung for another job looks once in vain."""
        return job_id[:SHORT]
