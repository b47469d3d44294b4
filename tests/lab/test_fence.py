"""The fence is the storage: a holder that was cut off can write its old disk never again, and these tests can fail.

The same experiment runs on scratch volumes: with the options of the volume `engine` and with sharding switched on, both in
one partition, and with strict locks switched off (in another one, because glusterd sets that option on all volumes). The
first must refuse the old holder everywhere; the other two must show the damage that was measured when the fence was
designed, which proves that the experiment can see it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pytest

from tests.lab.cluster import BLOCK_BYTES, Cluster, wait

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600), pytest.mark.cluster]

BELOW_MIB = 32
BEYOND_MIB = 300
"""Below and beyond the first shard (64 MiB)."""
UNTOUCHED_MIB = 600
"""Beyond it, too, in a shard that the old holder has never written: its client asks for such a shard anew."""
OFFSETS_MIB = (BELOW_MIB, BEYOND_MIB, UNTOUCHED_MIB)
OLD, NEW, STALE = 0xAA, 0xCC, 0xBB
"""What the holder writes, what its successor writes, and what the old holder writes when it has come back."""
IMAGE_BYTES = 1 << 30
LOCK_FREE_S = 30.0
CHANGE_S = 60.0
"""Until a volume can be changed: :data:`gluster.ports.CHANGE_DEADLINE_S`."""
ENGINES: Mapping[str, str] = {}
SHARDED: Mapping[str, str] = {"features.shard": "on"}
NOT_STRICT: Mapping[str, str] = {"client.strict-locks": "off"}
"""What a scratch volume has otherwise than `engine`."""

START_QEMU = (
    "qemu-system-x86_64 -nodefaults -display none -S -daemonize -m 64 -machine q35,accel=tcg -pidfile /run/{name}.pid "
    "-monitor unix:/run/{name}.sock,server=on,wait=off -device virtio-scsi-pci "
    "-drive if=none,id=d0,file=/mnt/{name}/disk.raw,format=raw,cache=none,aio=io_uring -device scsi-hd,drive=d0"
)
"""A QEMU that runs no guest: what counts is who may write its disk."""

MONITOR = """
import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[2]); s.settimeout(40)
def until_prompt():
    text = b""
    while not text.endswith(b"(qemu) "): text += s.recv(65536)
    return text.decode(errors="replace")
until_prompt(); s.sendall(sys.argv[1].encode() + b"\\n"); print(until_prompt())
"""


@dataclass(frozen=True)
class Disk:
    """A disk on a scratch volume of its own, which is mounted on two nodes: ``old`` holds it first, then ``new``."""

    cluster: Cluster
    name: str
    changes: Mapping[str, str]
    old: str
    new: str

    def make(self, options: Mapping[str, str]) -> None:
        bricks = " ".join(f"{node}:/data/{self.name}/brick" for node in self.cluster.nodes)
        for node in self.cluster.nodes:
            self.cluster.shell(node, f"mkdir -p /data/{self.name} /mnt/{self.name}")
        wanted = " ".join(f"{option} '{value}'" for option, value in {**options, **self.changes}.items())
        for words in (f"create {self.name} replica 3 {bricks}", f"set {self.name} {wanted}", f"start {self.name}"):
            self.cluster.shell(self.new, f"gluster --mode=script volume {words}")
        for node in (self.old, self.new):
            self.cluster.shell(node, f"mount -t glusterfs {node}:/{self.name} /mnt/{self.name}")
        self.cluster.shell(self.old, f"truncate -s {IMAGE_BYTES} /mnt/{self.name}/disk.raw")

    def let_go(self) -> None:
        """End the QEMUs and the mounts."""
        kill = f"[ -s /run/{self.name}.pid ] && kill -9 $(cat /run/{self.name}.pid); rm -f /run/{self.name}.*; sleep 1"
        for node in (self.old, self.new):
            self.cluster.shell(node, f"{kill}; umount -l /mnt/{self.name}", ok=False)

    def delete(self) -> None:
        for act in (f"stop {self.name} force", f"delete {self.name}"):
            wait(f"volume {act}", CHANGE_S, partial(self._changed, act))
        for node in self.cluster.nodes:
            self.cluster.shell(node, f"rm -rf /data/{self.name}")

    def _changed(self, act: str) -> bool | None:
        """Refused while another change holds the lock. A scratch volume that stayed would fail all tests after it."""
        done = self.cluster.on(self.new, "gluster", "--mode=script", "volume", *act.split(), ok=False)
        return True if done.status == 0 or "does not exist" in done.stdout + done.stderr else None

    def start(self, node: str) -> bool:
        """Start a QEMU with the disk; False when the image lock refuses it."""
        done = self.cluster.on(node, "timeout", "30", "sh", "-c", START_QEMU.format(name=self.name), ok=False)
        if done.status == 0:
            return True
        assert "lock" in done.stderr or done.status == 124, done.stderr
        return False

    def write(self, node: str, pattern: int, offset_mib: int) -> None:
        """Let QEMU of ``node`` try to write a block of ``pattern``. What counts is what :meth:`read` finds afterwards."""
        command = f'qemu-io d0 "write -P {pattern:#x} {offset_mib}M {BLOCK_BYTES}"'
        monitor = ("python3", "-c", MONITOR, command, f"/run/{self.name}.sock")
        done = self.cluster.on(node, "timeout", "45", *monitor, ok=False)
        said = done.stdout + done.stderr
        assert "rror" not in said, f"the command itself must have been taken: {said}"

    def read(self, offset_mib: int) -> int | None:
        """The byte that fills the block, as the new holder's node reads it from the volume, past caches; None: a mixture."""
        block = self.cluster.block(self.new, f"/mnt/{self.name}/disk.raw", offset_mib)
        return block[0] if len(set(block)) == 1 else None

    def connected(self) -> bool:
        """Whether the old holder's mount has all bricks. Asked of the mount, never of the disk: a lookup of a sharded file
        makes its next write look at the file through the old handle first, which strict locks refuse; a guest that goes on
        writing asks for no lookup."""
        bricks = f"grep -hs '^connected = 1' /mnt/{self.name}/.meta/graphs/active/*-client-*/private | wc -l"
        return self.cluster.shell(self.old, bricks, ok=False).strip() == str(len(self.cluster.nodes))


def volume_options(cluster: Cluster, node: str) -> dict[str, str]:
    """The options that the installer gave the volume `engine`."""
    info = cluster.shell(node, "gluster volume info engine")
    lines = info.split("Options Reconfigured:", 1)[1].strip().splitlines()
    # glusterd lists nfs.disable after a change of the volume, and does not know it when it is set.
    return dict(line.split(": ", 1) for line in lines if ": " in line and not line.startswith("nfs."))


@pytest.fixture
def disks(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[tuple[Disk, ...]]:
    """One for each volume that the test asks for, none of them on a node that could lose the engine."""
    new = cluster.settled()["host"]  # the engine's host is never the one that is cut: only the scratch disks change hands
    old = next(node for node in cluster.nodes if node != new)
    kinds: tuple[Mapping[str, str], ...] = request.param
    made = tuple(Disk(cluster, f"fence{number}", changes, old, new) for number, changes in enumerate(kinds))
    options = volume_options(cluster, new)
    try:
        for disk in made:
            disk.make(options)
        yield made
    finally:
        cluster.link(old, "heal")
        for disk in made:
            disk.let_go()
        wait("all peers connected", 60, lambda: _peers_connected(cluster, new) or None)
        # glusterd sets this option on all volumes: what the experiment switched off, it switched off for `engine`, too.
        cluster.shell(new, "gluster --mode=script volume set engine client.strict-locks on")
        for disk in made:
            disk.delete()


def _peers_connected(cluster: Cluster, node: str) -> bool:
    return cluster.shell(node, "gluster pool list", ok=False).count("Connected") == len(cluster.nodes)


def take_over(disks: Sequence[Disk]) -> list[list[int]]:
    """Cut the holder off, let another take its disks, heal, let the old one try; where it wrote (MiB), by disk."""
    cluster, old, new = disks[0].cluster, disks[0].old, disks[0].new
    for disk in disks:
        _hold(disk)
    cluster.link(old, "cut")
    cut_s = time.monotonic()
    for disk in disks:
        wait("the lock of the vanished holder is free", LOCK_FREE_S, partial(disk.start, new))
        print(f"{disk.name}: lock free {time.monotonic() - cut_s:.1f} s after the cut")
    for disk in disks:
        for offset_mib in OFFSETS_MIB:
            disk.write(old, STALE, offset_mib)  # as any guest would go on; without a majority of bricks it cannot succeed
            assert disk.read(offset_mib) != STALE, "who is cut off must not be able to write"
        for offset_mib in OFFSETS_MIB:
            disk.write(new, NEW, offset_mib)
            assert disk.read(offset_mib) == NEW, "the new holder must be able to write"
    cluster.link(old, "heal")
    wait("all peers connected", 60, lambda: _peers_connected(cluster, new) or None)
    for disk in disks:
        wait("the old mount has all bricks", 60, disk.connected)
    return [_written_by_the_old(disk) for disk in disks]


def _hold(disk: Disk) -> None:
    assert disk.start(disk.old)
    for offset_mib in (BELOW_MIB, BEYOND_MIB):
        disk.write(disk.old, OLD, offset_mib)
        assert disk.read(offset_mib) == OLD, "the healthy holder must be able to write"
    assert not disk.start(disk.new), "while the holder is healthy, the image lock must refuse a second QEMU"


def _written_by_the_old(disk: Disk) -> list[int]:
    for offset_mib in OFFSETS_MIB:
        disk.write(disk.old, STALE, offset_mib)
    found = {offset_mib: disk.read(offset_mib) for offset_mib in OFFSETS_MIB}
    assert set(found.values()) <= {NEW, STALE}, found
    written = [offset_mib for offset_mib, byte in found.items() if byte == STALE]
    print(f"{disk.name} ({dict(disk.changes)}): the old holder wrote at {written} of {list(found)} MiB")
    return written


@pytest.mark.parametrize("disks", [(ENGINES, SHARDED)], indirect=True, ids=["engine's options and sharding on"])
def test_the_old_holder_can_write_nowhere_but_beyond_the_first_shard_of_a_sharded_disk(disks: tuple[Disk, ...]) -> None:
    fenced, sharded = take_over(disks)
    assert fenced == []
    assert UNTOUCHED_MIB in sharded, (
        "beyond the first shard the old holder's write must go through: else this test cannot fail"
    )


@pytest.mark.parametrize("disks", [(NOT_STRICT,)], indirect=True, ids=["strict locks off"])
def test_without_strict_locks_the_damage_shows(disks: tuple[Disk, ...]) -> None:
    (written,) = take_over(disks)
    assert BELOW_MIB in written, "the old holder's write must go through: else this test cannot fail"
