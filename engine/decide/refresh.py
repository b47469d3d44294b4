"""Which running VM is to open its disks anew, because a brick does not have them open. Pure.

A VM's disks are open on each brick that was there when the VM started or arrived, and for as long as that brick stays
connected: locks that a brick has forgotten are never taken again behind a VM's back (`client.strict-locks`). So after each
absence of a node the VMs of all others write one copy less for as long as they stay where they are, and after the absence
of a second node they could write no more. A VM that moves opens its disks on all bricks that are there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

STEADY_S = 30.0
"""Bricks must have been connected for this long: twice what the broker waits before it moves the engine: that goes first."""
HEAL_S = 120.0
"""For so long the end of the heal is waited for, while the copy that came back is behind. Not for ever: what is written
through a handle that is bad on one brick blames that brick again, so the heal of a disk in use does not end."""
AGAIN_S = 1800.0
"""Before the same VM is moved again for it: a file that the brick did not have yet could not be opened there."""


@dataclass(frozen=True)
class Mount:
    """A host's mount of a volume. ``away``: hosts of bricks that are not connected; ``unopened``: of those that are, and do
    not have all open; ``steady_s``: for how long the former has been so; ``pending``: entries that wait for healing on the
    volume, ``None``: not known; ``is_mounted``: if not, all bricks are away."""

    host: str
    host_name: str
    volume: str
    away: tuple[str, ...] = ()
    unopened: tuple[str, ...] = ()
    steady_s: float = 0.0
    pending: int | None = None
    is_mounted: bool = True

    @property
    def about(self) -> str:
        """Its name in sentences."""
        return f"{self.volume} on {self.host_name}"


@dataclass(frozen=True)
class Opened:
    """A running VM. ``volumes``: those that its disks are on; ``opened_ms``: when (wall clock); ``stays``: why it cannot be
    moved by itself, "" when it can."""

    id: str
    name: str
    host: str
    volumes: frozenset[str]
    opened_ms: int
    stays: str = ""


@dataclass(frozen=True)
class Refresh:
    """Which VM is to be moved, if any, to one of which ``hosts`` (ids), what is to be said of each mount (host and volume →
    sentence), and which VMs stay without a copy (each with the hosts of the bricks) because only people may move them."""

    vm: Opened | None = None
    hosts: tuple[str, ...] = ()
    why: str = ""
    words: tuple[tuple[str, str], ...] = ()
    staying: tuple[tuple[Opened, tuple[str, ...]], ...] = ()


def refresh(mounts: Sequence[Mount], vms: Sequence[Opened], tried: Mapping[str, float], is_moving: bool) -> Refresh:
    """At most one VM: moves cost bandwidth, and the first may show that the rest is well.

    ``tried``: VM → seconds since it was moved for it; ``is_moving``: some VM is on its way already.
    """
    words: list[tuple[str, str]] = []
    staying: list[tuple[Opened, tuple[str, ...]]] = []
    chosen, hosts, why = None, tuple[str, ...](), ""
    for mount in mounts:
        if not mount.unopened:
            continue
        bricks = ", ".join(mount.unopened)
        text = f"disks of {mount.about} are not open on the brick of {bricks}"
        on_it = [one for one in vms if one.host == mount.host and mount.volume in one.volumes]
        others = tuple(one.host for one in mounts if one.volume == mount.volume and one.host != mount.host and not one.away)
        waits = _waits(mount) or ("" if others else "waits for another host that has all bricks")
        due = [] if waits else _due(on_it, tried)
        if waits:
            words.append((mount.about, f"{text}: {waits}"))
        elif not due:
            stay = _staying(on_it)
            staying.extend((one, mount.unopened) for one in stay)
            words.append((mount.about, f"{text}: {_nobody(stay, on_it, tried)}"))
        elif is_moving or chosen is not None:
            words.append((mount.about, f"{text}: {due[0].name} is moved when no other VM is on its way"))
        else:
            chosen, hosts, why = due[0], others, f"to open its disks on the brick of {bricks} again"
            words.append((mount.about, f"{text}: {chosen.name} is moved, which opens its disks anew"))
    return Refresh(chosen, hosts, why, tuple(words), tuple(staying))


def _waits(mount: Mount) -> str:
    if mount.away:
        return f"waits for the brick of {', '.join(mount.away)}"
    if mount.steady_s < STEADY_S:
        return "waits for steady connections"
    if mount.steady_s < HEAL_S and mount.pending != 0:
        return "waits for the heal" if mount.pending is None else f"waits for the heal ({mount.pending} left)"
    return ""


def _due(vms: Collection[Opened], tried: Mapping[str, float]) -> list[Opened]:
    """Who has had them open for longest comes first: those that were opened since are well, and stay."""
    able = [one for one in vms if not one.stays and tried.get(one.id, AGAIN_S) >= AGAIN_S]
    return sorted(able, key=lambda one: (one.opened_ms, one.name))


def _staying(vms: Collection[Opened]) -> list[Opened]:
    return sorted((one for one in vms if one.stays), key=lambda one: (one.opened_ms, one.name))


def _nobody(staying: Collection[Opened], vms: Collection[Opened], tried: Mapping[str, float]) -> str:
    if staying:
        told = ", ".join(f"{one.name} ({one.stays})" for one in staying)
        return f"these VMs do not move by themselves and may miss that copy until they are migrated or restarted: {told}"
    if any(one.id in tried for one in vms):
        return f"the VMs that could be meant were moved within the last {AGAIN_S / 60:g} min"
    return "no running VM of that host is on it: a copy or a backup that is at work may be"
