"""The Gluster pool: settings, bricks, peers, volumes, mounts."""

from __future__ import annotations

from collections.abc import Iterator

from appliance import layout
from appliance.errors import TrivetError
from appliance.journal import Log
from appliance.model.cluster import Cluster, Member
from gluster.model import STARTED, BrickPlace, PoolStatus, Volume
from installer.answers import Answers, NodeAnswers
from installer.ports import World
from installer.steps.step import InstallStep, wait_until

BRICK_MOUNT = "/var/lib/trivet/bricks"
"""Where a brick disk is mounted; the bricks are folders on it."""
VOLUMES = (layout.ENGINE_VOLUME, layout.VMSTORE_VOLUME)
POOL_DEADLINE_S = 60.0  # because peers greet each other within seconds, and glusterd tries a lost one again every three


def brick_folder(node: NodeAnswers) -> str:
    """The folder that holds the node's bricks."""
    return node.brick_folder or BRICK_MOUNT


def pool_steps(answers: Answers, cluster: Cluster, here: str) -> Iterator[InstallStep]:
    """glusterd's time-outs, brick disks, brick folders, and the peers, all probed by ``here``."""
    for member in cluster.members:
        yield _settings(member)
    for member, node in zip(cluster.members, answers.nodes, strict=True):
        if node.brick_disk:
            yield _brick_disk(member, node.brick_disk)
        yield _bricks(member, brick_folder(node))
    first = _member(cluster, here)
    for member in cluster.members:
        if member.name != here:
            yield _peer(first, member)


def volume_steps(answers: Answers, cluster: Cluster, here: str) -> Iterator[InstallStep]:
    """Create, set options, start: ``engine``, then ``vmstore``."""
    first = _member(cluster, here)
    for volume in VOLUMES:
        bricks = tuple(
            BrickPlace(member.name, f"{brick_folder(node)}/{volume}")
            for member, node in list(zip(cluster.members, answers.nodes, strict=True))[: _bricks_of(cluster)]
        )
        yield from _volume(first, volume, bricks)


def mount_steps(cluster: Cluster) -> Iterator[InstallStep]:
    """Both volumes on every member, each from itself first."""
    for volume in VOLUMES:
        for member in cluster.members:
            yield _mount(member, volume)
