"""The old engine after a failover: what it tries to write or to command is refused, and nothing of it stays.

The faults themselves, one by one, are in test_faults.py.
"""

from __future__ import annotations

import re
import uuid

import pytest

from tests.lab.cluster import BLOCK_BYTES, Cluster, wait

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900), pytest.mark.usefixtures("at_rest")]

OLD_QEMU_GONE_S = 10.0
DATA_DISK = "/var/lib/trivet/volumes/engine/engine-vm/data.raw"
OFFSETS_MIB = (32, 500)
"""Below and beyond 64 MiB, the size of a shard: beyond it a sharded volume would let an old holder write."""


def test_a_partitioned_engine_is_fenced_and_goes(cluster: Cluster) -> None:
    """The old host keeps its QEMU while cut off (the worst case: its broker is stopped) and tries to write later."""
    before = cluster.settled()
    lost = before["host"]
    others = tuple(node for node in cluster.nodes if node != lost)
    cluster.on(lost, "systemctl", "stop", "trivet-ha.service")
    try:
        cut_s = cluster.link(lost, "cut")
        begun = cluster.first_event(others, "start-begun", cut_s, 60)
        after = cluster.wait_health(240, above_epoch=before["epoch"])
        print(f"partition: start begun after {begun['wall_s'] - cut_s:.1f} s on {begun['node']}")
        assert after["host"] in others
        cluster.write_row(row := f"written by the new engine {uuid.uuid4()}")
        assert cluster.has_engine(lost), "the old QEMU is there"
        cluster.link(lost, "heal")
        wait("the old host sees the others again", 60, lambda: _peers_back(cluster, lost, others) or None)
        held = {offset_mib: cluster.block(after["host"], DATA_DISK, offset_mib) for offset_mib in OFFSETS_MIB}
        assert bytes([0xBB]) * BLOCK_BYTES not in held.values()
        for offset_mib in OFFSETS_MIB:
            let_old_qemu_write(cluster, lost, offset_mib)
        for offset_mib in OFFSETS_MIB:
            found = cluster.block(after["host"], DATA_DISK, offset_mib)
            assert found != bytes([0xBB]) * BLOCK_BYTES, f"the fenced QEMU wrote at {offset_mib} MiB"
    finally:
        cluster.link(lost, "heal")
        started_s = float(cluster.shell(lost, "date +%s.%N && systemctl start trivet-ha.service").split()[0])
    wait("the old QEMU gone", OLD_QEMU_GONE_S, lambda: not cluster.has_engine(lost) or None)
    cluster.first_event((lost,), "destroyed", started_s, OLD_QEMU_GONE_S)  # written when libvirt has said yes
    assert cluster.has_row(row)
    now = cluster.settled()
    assert now["epoch"] == after["epoch"], "the return of the old host must not restart the engine"
    check_data_disk(cluster, row)


def _peers_back(cluster: Cluster, node: str, others: tuple[str, ...]) -> bool:
    listing = "import os; print(len(os.listdir('/var/lib/trivet/volumes/engine/board')))"
    seen = cluster.on(node, "timeout", "5", "python3", "-c", listing, ok=False)
    return seen.status == 0 and int(seen.stdout) >= len(others)


def let_old_qemu_write(cluster: Cluster, node: str, offset_mib: int) -> None:
    """Let QEMU of ``node`` write a block of 0xbb into the data disk, past its guest.

    It says on its own stdout how that went, which is not ours: what counts is what the disk holds afterwards.
    tests/lab/test_fence.py shows that this can do damage.
    """
    blocks = cluster.shell(node, "virsh -c qemu:///system qemu-monitor-command HostedEngine --hmp 'info block'")
    device = re.search(r"data\.raw.*?Attached to:\s+(\S+)", blocks, re.DOTALL)
    assert device, blocks
    command = f'qemu-io -d {device.group(1)} "write -P 0xbb {offset_mib}M {BLOCK_BYTES}"'
    virsh = ("virsh", "-c", "qemu:///system", "qemu-monitor-command", "HostedEngine", "--hmp", command)
    said = cluster.on(node, "timeout", "30", *virsh)
    assert "rror" not in said.stdout + said.stderr, "the command itself must have been taken"


def check_data_disk(cluster: Cluster, row: str) -> None:
    """Stop the engine in maintenance, check its disk's file system offline, and start it again with everything there."""
    before = cluster.engine()
    cluster.on(before["host"], "trivet", "ha", "maintenance", "on")
    try:
        # The disk may just be being opened anew on the returned bricks: by a migration, which maintenance does not stop.
        node = wait("the engine VM at rest on one host", 120, lambda: _at_rest(cluster))
        cluster.on(node, "trivet", "agent", "call", node, "vm_shutdown", '{"name": "HostedEngine"}')
        wait("the engine VM off", 120, lambda: not any(cluster.has_engine(one) for one in cluster.nodes) or None)
        checked = cluster.on(node, "e2fsck", "-fn", DATA_DISK, ok=False)
        assert checked.status == 0, f"the data disk is damaged:\n{checked.stdout}{checked.stderr}"
    finally:
        cluster.on(before["host"], "trivet", "ha", "maintenance", "off")
    cluster.wait_health(240, above_epoch=before["epoch"])
    assert cluster.has_row(row)


def _at_rest(cluster: Cluster) -> str | None:
    holders = [node for node in cluster.nodes if cluster.has_engine(node)]
    if len(holders) != 1:
        return None
    engine = cluster.ha(holders[0])["engine"]
    return holders[0] if (engine["state"], engine["host"]) == ("up", holders[0]) else None


def test_an_old_epoch_is_refused_by_every_agent(cluster: Cluster) -> None:
    epoch = cluster.settled()["epoch"]
    assert epoch >= 2, "the test before has restarted the engine"
    for caller in cluster.nodes:
        for node in cluster.nodes:
            current = cluster.on(caller, "trivet", "agent", "call", node, "facts", "--epoch", str(epoch), "--json")
            assert current.status == 0
            stale = cluster.on(
                caller, "trivet", "agent", "call", node, "facts", "--epoch", str(epoch - 1), "--json", ok=False
            )
            assert (stale.status, stale.json()["error"]["code"]) == (2, "engine.stale-epoch")
