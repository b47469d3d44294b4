"""What turns the pool that is into the pool that is wanted, and what forbids to begin. Pure.

The installer asks :func:`refusals` before it changes anything, and :func:`plan` for the steps; each prefix of the steps
leaves a pool from which planning again gives the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from appliance.errors import Conflict, Refused, TrivetError
from appliance.layout import ENGINE_VOLUME, VMSTORE_VOLUME
from appliance.model.cluster import Member
from appliance.model.node import FolderFacts, NodeFacts
from appliance.wire.definition import Reached
from gluster.model import STARTED, BrickPlace, PoolStatus, VolumeSpec
from gluster.options import because, options_for

REPLICA = 3
"""Every file is on three nodes: the least with which two are a majority when one is gone."""

CLOCK_SKEW_LIMIT_S = 2.0
"""A node whose clock is followed by NTP is within 0.1 s; 2 s off means that nobody sets it. Certificates made on one
node would not be valid yet on another, and events of three nodes could not be put in order."""

OWN_ADDRESS_PREFIX = "127."
"""A member's name must not resolve to the loopback, as /etc/hosts of many installers has it: peers would probe
themselves."""

WANTED_VOLUMES = (ENGINE_VOLUME, VMSTORE_VOLUME)


@dataclass(frozen=True)
class NodeView:
    """What was found out about one node before the pool is made.

    ``bricks`` maps volume → the folder its brick shall be; ``reached`` maps other member's name → how this node reaches
    it (empty: not asked yet); ``clock_offset_s`` is its wall clock minus the asker's in the middle of the question,
    ``clock_doubt_s`` half of the time the question took.
    """

    member: Member
    facts: NodeFacts
    bricks: Mapping[str, FolderFacts]
    reached: Mapping[str, Reached] = field(default_factory=dict)
    clock_offset_s: float = 0.0
    clock_doubt_s: float = 0.0


@dataclass(frozen=True)
class Step:
    """One change. ``values`` are the options of a ``set`` step; ``reason`` says why it is needed."""

    kind: Literal["probe", "create", "set", "start"]
    subject: str
    reason: str
    values: Mapping[str, str] = field(default_factory=dict)


def wanted_volumes(members: Sequence[Member], brick_folder: str) -> tuple[VolumeSpec, ...]:
    """Both volumes, their bricks on the first three members (further members join by growing the volume)."""
    folder = brick_folder.rstrip("/")
    return tuple(
        VolumeSpec(
            name=name,
            replica=REPLICA,
            bricks=tuple(BrickPlace(member.name, f"{folder}/{name}") for member in members[:REPLICA]),
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


def refusals(
    views: Sequence[NodeView], observed: PoolStatus | None = None, *, root_allowed: bool = False
) -> tuple[TrivetError, ...]:
    """Everything that forbids to make the pool, each naming node, value found, value needed and what helps.

    ``observed`` is the pool as far as it exists: bricks that already are this pool's may hold files.
    """
    found: list[TrivetError] = []
    if len(views) < REPLICA:
        found.append(
            Refused(
                "gluster.too-few-nodes",
                subject="the cluster",
                reason=f"it has {len(views)} nodes ({_listed([view.member.name for view in views]) or 'none'}); "
                f"needed: {REPLICA}, so that two are a majority when one is gone",
                remedy="Name at least three nodes in the answers.",
            )
        )
    for view in views:
        found += _pool_refusals(view, views)
        found += _name_refusals(view, views)
        for volume, folder in view.bricks.items():
            found += _brick_refusals(view, volume, folder, observed, root_allowed)
    found += _clock_refusals(views)
    return tuple(found)


def _pool_refusals(view: NodeView, views: Sequence[NodeView]) -> list[TrivetError]:
    ours = {name for one in views for name in (one.member.name, one.member.address)}
    foreign = sorted(set(view.facts.gluster_peers) - ours)
    if not foreign:
        return []
    return [
        Conflict(
            "gluster.other-pool",
            subject=view.member.name,
            reason=f"its glusterd has peers of another pool: {_listed(foreign)}; needed: none but this cluster's nodes",
            remedy=f"Detach it (`gluster peer detach {view.member.name}` on {foreign[0]}), or leave it out of the answers.",
            facts={"peers": foreign},
        )
    ]


def _name_refusals(view: NodeView, views: Sequence[NodeView]) -> list[TrivetError]:
    found: list[TrivetError] = []
    for other in views:
        reached = view.reached.get(other.member.name)
        if reached is None:
            continue
        needed = other.member.address
        own = other.member.name == view.member.name
        if reached.resolved == needed or (own and reached.resolved and not reached.resolved.startswith(OWN_ADDRESS_PREFIX)):
            continue
        what = f"resolves to {reached.resolved}" if reached.resolved else "does not resolve"
        found.append(
            Refused(
                "gluster.name-not-resolvable",
                subject=view.member.name,
                reason=f"the name {other.member.name} {what} there; needed: {needed}",
                remedy=f"Correct the name server or /etc/hosts of {view.member.name}, or the address in the answers.",
                facts={"name": other.member.name, "found": reached.resolved, "needed": needed},
            )
        )
    return found


def _brick_refusals(
    view: NodeView, volume: str, folder: FolderFacts, observed: PoolStatus | None, root_allowed: bool
) -> list[TrivetError]:
    held = observed.volume(volume) if observed else None
    if held and BrickPlace(view.member.name, folder.path) in held.places:
        return []
    found: list[TrivetError] = []
    where = f"{view.member.name}:{folder.path}"
    if folder.exists and not folder.empty:
        found.append(brick_not_empty(where))
    if folder.on_root_file_system and not root_allowed:
        found.append(
            Refused(
                "gluster.brick-on-root",
                subject=where,
                reason="it is on the root file system, which a full volume would fill; needed: a file system of its own",
                remedy="Name a disk for the bricks, or another folder, or allow the root file system in the answers.",
            )
        )
    if not folder.extended_attributes:
        found.append(
            Refused(
                "gluster.no-extended-attributes",
                subject=where,
                reason=f"its file system ({folder.file_system}) keeps no trusted extended attributes; needed: XFS or ext4",
                remedy="Put the bricks on XFS or ext4.",
            )
        )
    return found


def brick_not_empty(where: str) -> TrivetError:
    """The error for a brick folder with foreign files."""
    return Conflict(
        "gluster.brick-not-empty",
        subject=where,
        reason="the folder holds files that are not this volume's; needed: an empty or absent folder",
        remedy="Empty it if nothing in it is needed, or choose another folder.",
    )


def _clock_refusals(views: Sequence[NodeView]) -> list[TrivetError]:
    if len(views) < 2:
        return []
    slow = min(views, key=lambda view: view.clock_offset_s)
    fast = max(views, key=lambda view: view.clock_offset_s)
    skew_s = fast.clock_offset_s - slow.clock_offset_s
    if skew_s - slow.clock_doubt_s - fast.clock_doubt_s <= CLOCK_SKEW_LIMIT_S:
        return []
    return [
        Refused(
            "gluster.clock-skew",
            subject=fast.member.name,
            reason=f"its clock is {skew_s:.1f} s ahead of {slow.member.name}'s; needed: at most {CLOCK_SKEW_LIMIT_S:g} s",
            remedy="Let both follow the same time server (`timedatectl timesync-status`).",
            facts={"skew_s": round(skew_s, 3), "slow": slow.member.name},
        )
    ]


def _listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items))
