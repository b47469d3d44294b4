"""``trivet gluster …``: the pool as this node sees it."""

from __future__ import annotations

import argparse

from appliance.codec import encode
from appliance.command import Command, Option, Output, require_root, table
from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from gluster import verbs
from gluster.adapter import GlusterPool
from gluster.health import Verdict, verdict
from gluster.model import PoolStatus
from gluster.observe import pool_status

UNKNOWN = "?"


def status_json(status: PoolStatus, judged: Verdict) -> dict[str, object]:
    """What ``trivet gluster status --json`` prints."""
    return {
        "safe_to_lose_one_node": judged.safe,
        "verdict": judged.sentence,
        "peers": encode(status.peers),
        "volumes": [
            {**encode(volume), "verdict": encode(one)} for volume, one in zip(status.volumes, judged.volumes, strict=True)
        ],
        "problems": list(status.problems),
    }


def status_text(status: PoolStatus, judged: Verdict) -> str:
    """The same for people: peers, volumes, bricks, what could not be found out, and the verdict."""
    parts = [
        table(("PEER", "CONNECTED", "STATE"), [(peer.name, _word(peer.connected), peer.state) for peer in status.peers])
        if status.peers
        else "no peers",
        table(
            ("VOLUME", "STATUS", "KIND", "SIZE", "USED", "AVAILABLE", "WRITABLE", "SAFE"),
            [
                (
                    volume.name,
                    volume.status,
                    f"{volume.kind} {volume.replica}",
                    *map(_size, (volume.size_bytes, volume.used_bytes, volume.available_bytes)),
                    _word(one.writable),
                    _word(one.safe),
                )
                for volume, one in zip(status.volumes, judged.volumes, strict=True)
            ],
        )
        if status.volumes
        else "no volumes",
    ]
    if status.volumes:
        rows = [
            (volume.name, brick.host, brick.path, _word(brick.online), _count(brick.heal_pending), _count(brick.split_brain))
            for volume in status.volumes
            for brick in volume.bricks
        ]
        parts.append(table(("VOLUME", "BRICK OF", "FOLDER", "UP", "HEAL PENDING", "SPLIT-BRAIN"), rows))
    if status.problems:
        parts.append("\n".join(f"! {problem}" for problem in status.problems))
    return "\n\n".join([*parts, judged.sentence])


def _word(value: bool | None) -> str:
    return UNKNOWN if value is None else "yes" if value else "no"


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1024**3:.1f} GiB" if size_bytes else UNKNOWN


def _pool() -> GlusterPool:
    require_root()
    return GlusterPool(SystemProcesses(), SystemClock())


def _status(_arguments: argparse.Namespace, output: Output) -> int | None:
    status = pool_status(_pool())
    judged = verdict(status)
    output.result(status_json(status, judged), status_text(status, judged))
    return None


def _heal(arguments: argparse.Namespace, output: Output) -> int | None:
    verbs.heal(_pool(), arguments.volume)
    output.result(
        {"volume": arguments.volume, "healing": "asked"}, f"the self-heal daemons look at volume {arguments.volume} now"
    )
    return None


COMMANDS: tuple[Command, ...] = (
    Command(
        ("gluster", "status"),
        "peers, volumes, bricks, what waits for healing, and whether one node may be lost",
        "trivet gluster status --json",
        _status,
    ),
    Command(
        ("gluster", "heal"),
        "let the self-heal daemons look at a volume now",
        "trivet gluster heal engine",
        _heal,
        (Option(("volume",), "name of the volume"),),
    ),
)
