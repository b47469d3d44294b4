"""Is it safe to lose one node, and why (not)? Pure: from a :class:`gluster.model.PoolStatus` to a verdict in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gluster.model import STARTED, Brick, PoolStatus, Volume


@dataclass(frozen=True)
class VolumeVerdict:
    """``writable``: a quorum of bricks is up in every replica set. ``safe``: still so after the loss of any one node."""

    volume: str
    writable: bool
    safe: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """``sentence`` is what a person reads: "safe to lose one node: no, because …"."""

    safe: bool
    sentence: str
    volumes: tuple[VolumeVerdict, ...]


def verdict(status: PoolStatus) -> Verdict:
    """The verdict on the whole pool: every volume is safe, and every peer connected."""
    volumes = tuple(volume_verdict(volume) for volume in status.volumes)
    against = [f"peer {peer.name} is disconnected" for peer in status.peers if not peer.connected]
    against += [f"volume {one.volume}: {reason}" for one in volumes if not one.safe for reason in one.reasons]
    if not volumes:
        against.append("there is no volume")
    if against:
        return Verdict(False, f"safe to lose one node: no, because {'; '.join(against)}", volumes)
    names = " and ".join(one.volume for one in volumes)
    because = f"all bricks of {names} are up, nothing waits for healing, and without any one node a quorum remains"
    return Verdict(True, f"safe to lose one node: yes, because {because}", volumes)


def volume_verdict(volume: Volume) -> VolumeVerdict:
    """The verdict on one volume. ``reasons`` of a safe one say what holds, else what is in the way."""
    if volume.status != STARTED:
        return VolumeVerdict(volume.name, False, False, (f"it is not started ({volume.status.lower()})",))
    sets = [volume.bricks[begin : begin + volume.replica] for begin in range(0, len(volume.bricks), max(1, volume.replica))]
    writable = all(sum(1 for brick in one if brick.online) >= quorum(len(one)) for one in sets)
    against: list[str] = []
    for one in sets:
        against += _quorum_reasons(one)
    if volume.options.get("cluster.quorum-type") != "auto":
        against.append("its clients need no quorum (cluster.quorum-type is not auto), so two halves could both write")
    against += _heal_reasons(volume.bricks)
    if against:
        return VolumeVerdict(volume.name, writable, False, tuple(against))
    return VolumeVerdict(volume.name, True, True, (f"{len(volume.bricks)} of {len(volume.bricks)} bricks up, all healed",))


def quorum(bricks: int) -> int:
    """How many bricks of a replica set have to be up for writing: more than half."""
    return bricks // 2 + 1


def _quorum_reasons(bricks: Sequence[Brick]) -> list[str]:
    """Why this replica set would not outlive the loss of one more node; empty when it would."""
    reasons = [f"brick {brick.place} is down" for brick in bricks if brick.online is False]
    reasons += [f"the state of brick {brick.place} is unknown" for brick in bricks if brick.online is None]
    up = [brick for brick in bricks if brick.online]
    need = quorum(len(bricks))
    if len(up) < need:
        reasons.append(f"only {len(up)} of {len(bricks)} bricks are up and writing needs {need}: it cannot be written now")
        return reasons
    hosts = {brick.host for brick in up}
    worst = max(sum(1 for brick in up if brick.host == host) for host in hosts)
    if len(up) - worst < need:
        reasons.append(f"one node less leaves {len(up) - worst} of {len(bricks)} bricks, and writing needs {need}")
    return reasons


def _heal_reasons(bricks: Sequence[Brick]) -> list[str]:
    reasons = []
    split = max((brick.split_brain or 0 for brick in bricks), default=0)
    if split:
        reasons.append(
            f"{split} entries are in split-brain (`gluster volume heal … info split-brain`): a person has to choose"
        )
    pending = max((brick.heal_pending or 0 for brick in bricks), default=0)
    if pending:
        holders = ", ".join(brick.host for brick in bricks if brick.heal_pending)
        reasons.append(f"{pending} files wait for healing, their newest copy is on {holders}")
    healing = max((brick.healing or 0 for brick in bricks), default=0)
    if healing:
        reasons.append(f"{healing} files are being healed: until that is done, a copy is old")
    unknown = [str(brick.place) for brick in bricks if brick.online and brick.heal_pending is None]
    if unknown:
        reasons.append(f"the heal state of {', '.join(unknown)} is unknown")
    return reasons
