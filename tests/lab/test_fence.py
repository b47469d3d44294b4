"""The fence is the storage: a holder that was cut off can write its old disk never again, and these tests can fail.

The same experiment runs on three scratch volumes: with the options of the volume `engine`, with strict locks switched off,
and with sharding switched on. The first must refuse the old holder everywhere; the other two must show the damage that was
measured when the fence was designed, which proves that the experiment can see it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.lab.cluster import BLOCK_BYTES, Cluster, wait

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

BELOW_MIB = 32
BEYOND_MIB = 300
"""Below and beyond the first shard (64 MiB)."""
UNTOUCHED_MIB = 600
"""Beyond it, too, in a shard that the old holder has never written: its client asks for such a shard anew."""
OFFSETS_MIB = (BELOW_MIB, BEYOND_MIB, UNTOUCHED_MIB)
OLD, NEW, STALE = 0xAA, 0xCC, 0xBB
"""What the holder writes, what its successor writes, and what the old holder writes when it has come back."""
IMAGE_BYTES = 1 << 30
DISK = "/mnt/fence/disk.raw"
LOCK_FREE_S = 30.0
CONNECTED = "grep -hs '^connected = 1' /mnt/fence/.meta/graphs/active/*-client-*/private | wc -l"
"""How many bricks a mount has. Asked of the mount, never of the disk: a lookup of a sharded file makes its next write look
at the file through the old handle first, which strict locks refuse; a guest that goes on writing asks for no lookup."""

START_QEMU = (
    "qemu-system-x86_64 -nodefaults -display none -S -daemonize -m 64 -machine q35,accel=tcg -pidfile /run/fence.pid "
    "-monitor unix:/run/fence.sock,server=on,wait=off -device virtio-scsi-pci "
    "-drive if=none,id=d0,file=/mnt/fence/disk.raw,format=raw,cache=none,aio=io_uring -device scsi-hd,drive=d0"
)
"""A QEMU that runs no guest: what counts is who may write its disk."""

MONITOR = """
import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.connect("/run/fence.sock"); s.settimeout(40)
def until_prompt():
    text = b""
    while not text.endswith(b"(qemu) "): text += s.recv(65536)
    return text.decode(errors="replace")
until_prompt(); s.sendall(sys.argv[1].encode() + b"\\n"); print(until_prompt())
"""


@dataclass
class Experiment:
    """A scratch volume `fence` with a disk on it, mounted on two nodes."""

    cluster: Cluster
    old: str
    new: str

    def start(self, node: str) -> bool:
        """Start a QEMU with the disk; False when the image lock refuses it."""
        done = self.cluster.on(node, "timeout", "30", "sh", "-c", START_QEMU, ok=False)
        if done.status == 0:
            return True
        assert "lock" in done.stderr or done.status == 124, done.stderr
        return False

    def monitor(self, node: str, command: str) -> str:
        done = self.cluster.on(node, "timeout", "45", "python3", "-c", MONITOR, command, ok=False)
        return done.stdout + done.stderr

    def write(self, node: str, pattern: int, offset_mib: int) -> None:
        """Let QEMU of ``node`` try to write a block of ``pattern``. What counts is what :meth:`read` finds afterwards."""
        said = self.monitor(node, f'qemu-io d0 "write -P {pattern:#x} {offset_mib}M {BLOCK_BYTES}"')
        assert "rror" not in said, f"the command itself must have been taken: {said}"

    def read(self, offset_mib: int) -> int | None:
        """The byte that fills the block, as the new holder's node reads it from the volume, past caches; None: a mixture."""
        block = self.cluster.block(self.new, DISK, offset_mib)
        return block[0] if len(set(block)) == 1 else None


def volume_options(cluster: Cluster, node: str) -> dict[str, str]:
    """The options that the installer gave the volume `engine`."""
    info = cluster.shell(node, "gluster volume info engine")
    lines = info.split("Options Reconfigured:", 1)[1].strip().splitlines()
    # glusterd lists nfs.disable after a change of the volume, and does not know it when it is set.
    return dict(line.split(": ", 1) for line in lines if ": " in line and not line.startswith("nfs."))


@pytest.fixture
def experiment(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Experiment]:
    settled = cluster.settled()
    new = settled["host"]  # the engine's host is never the one that is cut: only the scratch disk changes hands
    old = next(node for node in cluster.nodes if node != new)
    overrides: Mapping[str, str] = request.param
    bricks = " ".join(f"{node}:/data/fence/brick" for node in cluster.nodes)
    try:
        for node in cluster.nodes:
            cluster.shell(node, "mkdir -p /data/fence /mnt/fence")
        cluster.shell(new, f"gluster --mode=script volume create fence replica 3 {bricks}")
        for option, value in {**volume_options(cluster, new), **overrides}.items():
            cluster.shell(new, f"gluster --mode=script volume set fence {option} '{value}'")
        cluster.shell(new, "gluster volume start fence")
        for node in (old, new):
            cluster.shell(node, f"mount -t glusterfs {node}:/fence /mnt/fence")
        cluster.shell(old, f"truncate -s {IMAGE_BYTES} /mnt/fence/disk.raw")
        yield Experiment(cluster, old, new)
    finally:
        cluster.link(old, "heal")
        for node in (old, new):
            cluster.shell(node, "[ -s /run/fence.pid ] && kill -9 $(cat /run/fence.pid); rm -f /run/fence.*; sleep 1; "
                          "umount -l /mnt/fence", ok=False)  # fmt: skip
        wait("all peers connected", 60, lambda: _peers_connected(cluster, new) or None)
        # glusterd sets this option on all volumes: what the experiment switched off, it switched off for `engine`, too.
        cluster.shell(new, "gluster --mode=script volume set engine client.strict-locks on")
        for act in ("stop fence force", "delete fence"):
            cluster.shell(new, f"gluster --mode=script volume {act}", ok=False)
        for node in cluster.nodes:
            cluster.shell(node, "rm -rf /data/fence")


def _peers_connected(cluster: Cluster, node: str) -> bool:
    return cluster.shell(node, "gluster pool list", ok=False).count("Connected") == len(cluster.nodes)


def take_over(experiment: Experiment) -> list[int]:
    """Cut the holder off, let another take the disk, heal, let the old one try; answers the offsets (MiB) where it wrote."""
    cluster, old, new = experiment.cluster, experiment.old, experiment.new
    assert experiment.start(old)
    for offset_mib in (BELOW_MIB, BEYOND_MIB):
        experiment.write(old, OLD, offset_mib)
        assert experiment.read(offset_mib) == OLD, "the healthy holder must be able to write"
    assert not experiment.start(new), "while the holder is healthy, the image lock must refuse a second QEMU"
    cluster.link(old, "cut")
    cut_s = time.monotonic()
    wait("the lock of the vanished holder is free", LOCK_FREE_S, lambda: experiment.start(new) or None)
    print(f"lock free {time.monotonic() - cut_s:.1f} s after the cut")
    for offset_mib in OFFSETS_MIB:
        experiment.write(old, STALE, offset_mib)  # as any guest would go on; without a majority of bricks it cannot succeed
        assert experiment.read(offset_mib) != STALE, "who is cut off must not be able to write"
    for offset_mib in OFFSETS_MIB:
        experiment.write(new, NEW, offset_mib)
        assert experiment.read(offset_mib) == NEW, "the new holder must be able to write"
    cluster.link(old, "heal")
    wait("all peers connected", 60, lambda: _peers_connected(cluster, new) or None)
    wait("the old mount has all bricks", 60, lambda: cluster.shell(old, CONNECTED, ok=False).strip() == "3" or None)
    for offset_mib in OFFSETS_MIB:
        experiment.write(old, STALE, offset_mib)
    found = {offset_mib: experiment.read(offset_mib) for offset_mib in OFFSETS_MIB}
    assert set(found.values()) <= {NEW, STALE}, found
    print(f"the old holder wrote at {[at for at, byte in found.items() if byte == STALE]} of {list(found)} MiB")
    return [offset_mib for offset_mib, byte in found.items() if byte == STALE]


@pytest.mark.parametrize("experiment", [{}], indirect=True, ids=["engine's options"])
def test_the_old_holder_can_write_nowhere(experiment: Experiment) -> None:
    assert take_over(experiment) == []


@pytest.mark.parametrize("experiment", [{"client.strict-locks": "off"}], indirect=True, ids=["strict locks off"])
def test_without_strict_locks_the_damage_shows(experiment: Experiment) -> None:
    assert BELOW_MIB in take_over(experiment), "the old holder's write must go through: else this test cannot fail"


@pytest.mark.parametrize("experiment", [{"features.shard": "on"}], indirect=True, ids=["sharding on"])
def test_with_sharding_the_damage_shows_beyond_the_first_shard(experiment: Experiment) -> None:
    written = take_over(experiment)
    assert UNTOUCHED_MIB in written, (
        "beyond the first shard the old holder's write must go through: else this test cannot fail"
    )
