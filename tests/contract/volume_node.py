"""The program that runs on each node of the contract test: opens, locks and writes files of mounted volumes, as QEMU does.

Reads one JSON object a line ({"id", "do", "handle", …}), answers one a line ({"id", "errno", "took_s", "said"}). Each handle
has a thread of its own, because a call to a volume may hang. It runs under the node's own Python and imports nothing
of the project: its source is handed over on the command line.
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import queue
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

SETLK, GETLK = 37, 36
BLOCK = 4096
MIB = 1 << 20
QEMU_BYTES = (100, 101, 103, 201)
GATE_BYTE = 1000
TELL = threading.Lock()


def lock(fd: int, command: int, kind: int, first: int, count: int = 1) -> int:
    """The kind of the lock that the kernel answers with."""
    answer = fcntl.fcntl(fd, command, struct.pack("hhxxxxqqixxxx", kind, os.SEEK_SET, first, count, 0))
    return int(struct.unpack("hhxxxxqqixxxx", answer)[0])


class Handle:
    """A file, opened by one imagined QEMU."""

    def __init__(self) -> None:
        self.path = ""
        self.fd = -1
        self.work: queue.SimpleQueue[tuple[int, Callable[..., Any], dict[str, Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            number, act, words = self.work.get()
            perform(number, lambda act=act, words=words: act(self, **words))  # type: ignore[misc]

    def open(self, path: str, take: bool) -> None:
        """With ``take`` as a start does it: the gate first, then QEMU's locks."""
        self.path = path
        gate = os.open(path, os.O_RDWR)
        try:
            if take:
                lock(gate, SETLK, fcntl.F_WRLCK, GATE_BYTE)
                lock(gate, SETLK, fcntl.F_WRLCK, QEMU_BYTES[0], 200)
                lock(gate, SETLK, fcntl.F_UNLCK, QEMU_BYTES[0], 200)
            self.fd = os.open(path, os.O_RDWR | os.O_DIRECT)
            if take:
                self.take()
        finally:
            os.close(gate)

    def open_without_gate(self, path: str) -> None:
        """As QEMU alone does it."""
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.take()

    def take(self) -> None:
        """QEMU's lock: shared ones, then the question whether another has conflicting ones."""
        try:
            for byte in QEMU_BYTES:
                lock(self.fd, SETLK, fcntl.F_RDLCK, byte)
            if lock(self.fd, GETLK, fcntl.F_WRLCK, QEMU_BYTES[0], 200) != fcntl.F_UNLCK:
                raise BlockingIOError(errno.EAGAIN, "held")
        except OSError:
            self.drop()
            raise

    def drop(self) -> None:
        """Give QEMU's locks back."""
        lock(self.fd, SETLK, fcntl.F_UNLCK, QEMU_BYTES[0], 200)

    def write(self, mib: int, byte: int) -> None:
        """One block."""
        block = mmap.mmap(-1, BLOCK)
        block.write(bytes([byte]) * BLOCK)
        os.pwrite(self.fd, block, mib * MIB)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        os.close(fd)


def perform(number: int, act: Callable[[], Any]) -> None:
    """Do it, and tell how it ended."""
    began_s = time.monotonic()
    code, said = 0, None
    try:
        said = act()
    except OSError as error:
        code = error.errno or -1
    took_s = round(time.monotonic() - began_s, 3)
    with TELL:
        print(json.dumps({"id": number, "errno": code, "took_s": took_s, "said": said}), flush=True)


def shell(script: str) -> str:
    """Run it; what it said."""
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def main() -> None:
    """Serve until the standard input ends."""
    handles: dict[str, Handle] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        number, do, name = asked.pop("id"), asked.pop("do"), asked.pop("handle", "")
        if do == "shell":
            threading.Thread(target=perform, args=(number, lambda asked=asked: shell(**asked)), daemon=True).start()
        else:
            if name not in handles:
                handles[name] = Handle()
            handle = handles[name]
            handle.work.put((number, getattr(Handle, do), asked))


if __name__ == "__main__":
    main()
