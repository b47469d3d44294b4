"""Fault 25: the volume `engine` is full. Its bricks are moved to small file systems for that, and back.

The machine's own disk must not be filled, so each node's brick gets a tmpfs of a bounded size: it answers ENOSPC as any
file system does. Bricks of a stopped volume can be copied with their attributes; nothing else of the cluster changes.
"""

from __future__ import annotations

import time

from tests.lab.cluster import Cluster, wait
from tests.lab.faults import Fault, Scene, Timeline
from tests.lab.good_state import good_state

BRICK = "/data/bricks/engine"
SMALL = "/run/small-brick"
SPARE_MIB = 600
"""Free on the small bricks at first: above what the broker wants to see before the guest goes on (256 MiB), and little."""
BALLOON_MIB = 540
GUEST_MIB = 150
"""What the guest tries to write: more than there is beside the balloon, and little enough to go on without it."""
BALLOON = "/var/lib/trivet/volumes/engine/balloon"
GUEST_FILE = "/var/lib/trivet-engine/fill"

TO_SMALL = f"""set -e
mkdir -p {SMALL}
used=$(du -sm {BRICK} | cut -f1)
mount -t tmpfs -o size=$((used + {SPARE_MIB}))m small {SMALL}
cp -a --sparse=always {BRICK}/. {SMALL}/
mount --bind {SMALL} {BRICK}
"""
TO_LARGE = f"""
mountpoint -q {BRICK} || exit 0
set -e
umount {BRICK}
rm -rf {BRICK}/* {BRICK}/.glusterfs*
cp -a --sparse=always {SMALL}/. {BRICK}/
umount {SMALL}
"""


def _move_bricks(cluster: Cluster, script: str) -> None:
    """With the engine VM off and the volume stopped; afterwards the brokers start it again."""
    node = cluster.nodes[0]
    cluster.on(node, "trivet", "ha", "maintenance", "on")
    host = str(wait("a broker that knows", 60, lambda: cluster.ha(node)["engine"]["host"] or None))
    cluster.on(node, "trivet", "agent", "call", host, "vm_shutdown", '{"name": "HostedEngine"}')
    wait("the engine VM off", 120, lambda: not cluster.has_engine(host) or None)
    cluster.shell(node, "gluster --mode=script volume stop engine force")
    cluster.everywhere(script)
    cluster.shell(node, "gluster volume start engine")
    wait("the board again", 120, lambda: (cluster.ha(node)["hosts"] and _written(cluster, node)) or None)
    wait(
        "maintenance off", 120, lambda: cluster.on(node, "trivet", "ha", "maintenance", "off", ok=False).status == 0 or None
    )


def _maintenance_off(cluster: Cluster, node: str) -> bool:
    return cluster.on(node, "trivet", "ha", "maintenance", "off", ok=False).status == 0


def _written(cluster: Cluster, node: str) -> bool:
    probe = "touch /var/lib/trivet/volumes/engine/again && rm /var/lib/trivet/volumes/engine/again"
    return cluster.on(node, "timeout", "5", "sh", "-c", probe, ok=False).status == 0


def _small_bricks(cluster: Cluster) -> None:
    good_state(cluster)  # all nodes are needed here already, whatever was played before
    _move_bricks(cluster, TO_SMALL)


def _large_bricks(cluster: Cluster) -> None:
    _move_bricks(cluster, TO_LARGE)
    cluster.wait_health(300)


def _fill(scene: Scene) -> None:
    """First from outside, then the guest writes on what is left: its disk is sparse and grows."""
    scene.cluster.shell(scene.others[0], f"dd if=/dev/zero of={BALLOON} bs=1M count={BALLOON_MIB} status=none")
    scene.guest(f"dd if=/dev/zero of={GUEST_FILE} bs=1M count={GUEST_MIB} oflag=direct status=none")


def _stopped_and_told(scene: Scene, timeline: Timeline) -> None:
    timeline.extra["told_s"] = scene.wait_said("volume engine is full", 60).at_s
    assert scene.qemus(scene.host), "QEMU is stopped, not destroyed"
    time.sleep(10)
    assert scene.qemus(scene.host) and not scene.starts("destroyed"), "nobody would fare better elsewhere"


def _space_again(scene: Scene) -> None:
    scene.cluster.shell(scene.others[0], f"rm -f {BALLOON}")


def _goes_on(scene: Scene, timeline: Timeline) -> None:
    timeline.extra["went_on_s"] = scene.wait_said("the guest goes on", 60).at_s
    wait("the engine answers again", 120, scene.cluster.health)
    fault_s = scene.at_s
    scene.guest("true", before=f"rm -f {GUEST_FILE} && sync && fstrim /var/lib/trivet-engine")
    scene.at_s = fault_s


FULL = Fault(
    *("25", "the volume is full", _fill, "nothing"),
    watch_s=1,
    set_up=_small_bricks,
    verify=_stopped_and_told,
    mend=_space_again,
    after=_goes_on,
    take_down=_large_bricks,
)
