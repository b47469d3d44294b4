"""Whether a brick shuts a host out for no reason that anybody gave: it runs, and the host's mount is not let in. Pure.

A brick that was started while the pool refused a host, and that missed the end of it, goes on refusing: `gluster volume
reset` of `auth.reject` brings back what the brick was started with (Gluster 11.1). The host then writes one copy less, or
gets no mount any more: a client that a single brick refuses ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.decide.refresh import Mount
from gluster.model import PoolStatus

SHUT_S = 60.0
"""Of a mount without a brick that runs: clients try every 3 s, and after an absence ports are looked at for a minute."""
AGAIN_S = 1800.0
"""Before the bricks are told again: if it was of no use, the reason is another, a network that two hosts do not share."""


@dataclass(frozen=True)
class ShutOut:
    """A volume, and the names of the hosts whose mounts lack a brick of it that runs."""

    volume: str
    hosts: tuple[str, ...]


def shut_out(mounts: Sequence[Mount], pool: PoolStatus | None, tried: Mapping[str, float]) -> tuple[ShutOut, ...]:
    """The volumes whose bricks are to be told anew whom they refuse. ``mounts``: of hosts that nobody means to refuse;
    ``tried``: volume → seconds since its bricks were told last."""
    found: list[ShutOut] = []
    for name in sorted({one.volume for one in mounts}):
        volume = pool.volume(name) if pool else None
        if volume is None or tried.get(name, AGAIN_S) < AGAIN_S:
            continue
        run = {brick.host for brick in volume.bricks if brick.online}
        hosts = [one.host_name for one in mounts if one.volume == name and one.steady_s >= SHUT_S and run & {*one.away}]
        if hosts:
            found.append(ShutOut(name, tuple(sorted(hosts))))
    return tuple(found)
