"""The gate before QEMU's own image lock, because that lock alone lets a second writer in (measured).

QEMU takes *shared* locks on some bytes of its image and then *asks* (``F_OFD_GETLK``) whether another has conflicting ones.
Gluster's replication answers that question from one brick only, the last one in reach. When that brick has restarted since
the holder opened the disk, it knows of no lock: a second QEMU started on another host, and both wrote (seen, with strict
locks and without sharding). *Taking* a lock is different: every brick in reach has to grant it. So before QEMU is started:

1. an exclusive lock on ``GATE_BYTE`` is taken and kept until QEMU has its own: one start at a time in the whole cluster;
2. an exclusive lock on all bytes that QEMU locks is taken and given back: refused if any brick in reach knows a holder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from appliance.errors import Conflict
from appliance.model.vm import VmSpec
from ha_broker.act import DISK_LOCKED
from ha_broker.ports import Hypervisor
from ha_broker.state import LocalVm, QemuProcess

QEMU_FIRST_BYTE: Final = 100
"""QEMU's file driver locks bytes from 100 (what it does) and from 200 (what others may not do), a few of each."""
QEMU_BYTES: Final = 200

GATE_BYTE: Final = 1000
"""Far from QEMU's bytes. Nobody reads or writes it: a lock on a byte is no access to it."""

F_OFD_SETLK: Final = 37
"""Of Linux; Python's fcntl names it since 3.9 only where the C library does."""
FLOCK: Final = struct.Struct("hhxxxxqqixxxx")


class DiskGate:
    """The gate of the disk at ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Inside, nobody else can pass, and nobody held the disk at the begin. Raises ``Conflict`` (``vm.disk-locked``),
        ``OSError``."""
        handle = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._lock(handle, GATE_BYTE, 1, "another host is starting the VM at this moment")
            self._lock(handle, QEMU_FIRST_BYTE, QEMU_BYTES, "a brick knows of a QEMU that has it open")
            _set(handle, fcntl.F_UNLCK, QEMU_FIRST_BYTE, QEMU_BYTES)
            yield
        finally:
            os.close(handle)

    def _lock(self, handle: int, first: int, count: int, held: str) -> None:
        try:
            _set(handle, fcntl.F_WRLCK, first, count)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise Conflict(
                DISK_LOCKED,
                subject=str(self._path),
                reason=held,
                remedy="Nothing needs to be done: the lock becomes free when its holder ends or is cut off.",
            ) from error


def _set(handle: int, kind: int, first: int, count: int) -> None:
    fcntl.fcntl(handle, F_OFD_SETLK, FLOCK.pack(kind, os.SEEK_SET, first, count, 0))


class GatedEngineVm:
    """A :class:`ha_broker.ports.Hypervisor` that starts nothing without having passed the gate."""

    def __init__(self, inner: Hypervisor, gate: DiskGate) -> None:
        self._inner = inner
        self._gate = gate

    def engine_vm(self) -> LocalVm:
        return self._inner.engine_vm()

    def qemu_process(self) -> QemuProcess:
        return self._inner.qemu_process()

    def start_paused(self, spec: VmSpec) -> int:
        if self._inner.engine_vm().power not in ("off", "crashed"):
            return self._inner.start_paused(spec)  # it says what is here already; the lock we would meet is its own
        with self._gate.passed():
            return self._inner.start_paused(spec)

    def resume(self) -> None:
        self._inner.resume()

    def destroy(self) -> None:
        self._inner.destroy()

    def shutdown(self) -> None:
        self._inner.shutdown()

    def migrate(self, target: str) -> None:
        self._inner.migrate(target)
