"""What turns the pool that is into the pool that is wanted, and what of Gluster's own forbids to begin. Pure.

The installer's preflight asks :func:`unfit` and :func:`strangers` before anything is changed, its steps ask :func:`plan`
what is left to do; each prefix of the steps leaves a pool from which planning again gives the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from appliance.errors import Conflict, TrivetError
from appliance.layout import ENGINE_VOLUME, VMSTORE_VOLUME
from appliance.model.cluster import Member
from appliance.model.node import FolderFacts
from gluster.model import STARTED, BrickPlace, PoolStatus, Volume, VolumeSpec
from gluster.options import because, options_for

REPLICA = 3
"""Every file is on three nodes: the least with which two are a majority when one is gone."""

PEER_SETTLED = "Peer in Cluster"
"""Gluster's word for a peer that has taken the pool's configuration."""

WANTED_VOLUMES = (ENGINE_VOLUME, VMSTORE_VOLUME)


@dataclass(frozen=True)
class Step:
    """One change. ``values`` are the options of a ``set`` step; ``reason`` says why it is needed."""

    kind: Literal["probe", "create", "set", "start"]
    subject: str
    reason: str
    values: Mapping[str, str] = field(default_factory=dict)


def wanted_volumes(folders: Sequence[tuple[str, str]]) -> tuple[VolumeSpec, ...]:
    """Both volumes. ``folders``: (member, its folder for bricks); the first three get bricks (further members join by
    growing the volume)."""
    return tuple(
        VolumeSpec(
            name=name,
            replica=REPLICA,
            bricks=tuple(BrickPlace(host, f"{folder.rstrip('/')}/{name}") for host, folder in folders[:REPLICA]),
            options=options_for(name),
        )
        for name in WANTED_VOLUMES
    )


def plan(observed: PoolStatus, self_name: str, members: Sequence[Member], wanted: Sequence[VolumeSpec]) -> tuple[Step, ...]:
    """The steps from ``observed`` to a pool of ``members`` with the ``wanted`` volumes; empty: it is so already.

    Raises ``Conflict`` (``gluster.volume-differs``) when a volume of that name has other bricks.
    """
    known = {name for peer in observed.peers for name in peer.names}
    steps = [
        Step("probe", member.name, f"{member.name} is not in the pool of {self_name} yet")
        for member in members
        if member.name != self_name and not {member.name, member.address} & known
    ]
    for spec in wanted:
        steps += _volume_steps(observed, spec)
    return tuple(steps)


def _volume_steps(observed: PoolStatus, spec: VolumeSpec) -> list[Step]:
    volume = observed.volume(spec.name)
    steps = []
    if volume is None:
        steps.append(Step("create", spec.name, f"there is no volume {spec.name}"))
    elif volume.places != spec.bricks or volume.replica != spec.replica:
        raise volume_differs(spec, volume.places, volume.replica)
    differing = differing_options(spec.options, volume.options if volume else {})
    if differing:
        first = next(iter(differing))
        reason = f"{len(differing)} options differ, {first} first"
        if spec.name in WANTED_VOLUMES and spec.options == options_for(spec.name):
            reason += f" ({because(spec.name, first)})"
        steps.append(Step("set", spec.name, reason, differing))
    if volume is None or volume.status != STARTED:
        steps.append(Step("start", spec.name, f"volume {spec.name} is {'new' if volume is None else volume.status.lower()}"))
    return steps


_SAME = {"enable": "on", "yes": "on", "true": "on", "1": "on", "disable": "off", "no": "off", "false": "off", "0": "off"}


def differing_options(wanted: Mapping[str, str], held: Mapping[str, str]) -> dict[str, str]:
    """The wanted options that are not held with that value (Gluster's words for on and off are equal)."""
    return {
        name: value
        for name, value in wanted.items()
        if name not in held or _SAME.get(held[name], held[name]) != _SAME.get(value, value)
    }


def volume_differs(spec: VolumeSpec, places: Sequence[BrickPlace], replica: int) -> TrivetError:
    """The error for a volume of the wanted name with other bricks."""
    return Conflict(
        "gluster.volume-differs",
        subject=f"volume {spec.name}",
        reason=f"it has replica {replica} on {_listed(places)}; wanted is replica {spec.replica} on {_listed(spec.bricks)}",
        remedy="Choose these bricks in the answers, or delete the volume if nothing on it is needed.",
    )


@dataclass(frozen=True)
class Unfit:
    """Why a folder cannot take a brick: stable code, value found, value needed, what helps."""

    code: str
    found: str
    needed: str
    remedy: str


def unfit(folder: FolderFacts, *, root_allowed: bool) -> tuple[Unfit, ...]:
    """Everything against bricks in a folder that holds none of this pool's yet."""
    path, found = folder.path, []
    if folder.exists and not folder.empty:
        remedy = "Move its contents away, or name another folder. Trivet deletes nothing."
        found.append(Unfit("brick-not-empty", f"{path} is not empty", "an empty folder, or one that does not exist", remedy))
    if folder.on_root_file_system and not root_allowed:
        # A full volume would fill it, and a node with a full root is lost.
        remedy = "Mount one there, or set cluster.allow_root_brick = true for a try."
        found.append(Unfit("brick-on-root", f"{path} is on the root file system", "a file system of its own", remedy))
    if not folder.extended_attributes:
        said = f"{path} is on {folder.file_system}, which does not store trusted extended attributes"
        found.append(Unfit("brick-file-system", said, "XFS or ext4", "Name a folder on such a file system."))
    return tuple(found)


def strangers(peers: Sequence[str], ours: Collection[str], *, bare: bool) -> tuple[str, ...]:
    """Peers that a node's glusterd must not have: those of another pool, and on a ``bare`` node any at all."""
    return tuple(sorted(peer for peer in peers if bare or peer not in ours))


def settled(pool: PoolStatus, other: Member) -> bool:
    """Whether ``other`` is connected and has taken the pool's configuration: volumes cannot be made on it before."""
    return any(
        peer.connected and peer.state == PEER_SETTLED and {other.name, other.address} & {peer.name, *peer.names}
        for peer in pool.peers
    )


def bricks_of(volumes: Sequence[Volume], names: Collection[str]) -> tuple[str, ...]:
    """``volume on path`` of each brick that the node of these names (name, address) has: it cannot leave the pool with
    them."""
    return tuple(f"{volume.name} on {place.path}" for volume in volumes for place in volume.places if place.host in names)


def peer_has_bricks(name: str, held: Sequence[str]) -> TrivetError:
    """The error for a node that is to leave the pool and holds a part of it."""
    return Conflict(
        "gluster.peer-has-bricks",
        subject=f"node {name}",
        reason=f"the pool needs its bricks: {_listed(held)}",
        remedy="Move each brick to another node (gluster volume replace-brick VOLUME OLD NEW commit force), let it heal, "
        "then try again.",
    )


def brick_not_empty(where: str) -> TrivetError:
    """The error for a brick folder with foreign files."""
    return Conflict(
        "gluster.brick-not-empty",
        subject=where,
        reason="the folder holds files that are not this volume's; needed: an empty or absent folder",
        remedy="Empty it if nothing in it is needed, or choose another folder.",
    )


def _listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items))
