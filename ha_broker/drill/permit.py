"""May a drill begin? Only where losing the engine VM (and then one host) costs nothing but time. Pure."""

from __future__ import annotations

from appliance.model.ha import HaStatus
from gluster.health import verdict
from gluster.model import PoolStatus


def hindrances(status: HaStatus, pool: PoolStatus | None, pool_error: str = "") -> tuple[str, ...]:
    """Why not, each a sentence; empty: it may. ``pool`` None: it could not be asked, for ``pool_error``."""
    found = [*_engine(status), *_hosts(status), *_fence(status)]
    if pool is None:
        found.append(f"it is not known whether the pool is healed: {pool_error}")
    elif not (safe := verdict(pool)).safe:
        found.append(safe.sentence)
    return tuple(found)


def _engine(status: HaStatus) -> list[str]:
    found = []
    if status.engine.state != "up" or not status.engine.host:
        found.append(f"the engine is {status.engine.state}, and only one that is up can be missed")
    if status.maintenance == "global":
        found.append("global maintenance is on: nobody would start the engine VM again")
    return found


def _hosts(status: HaStatus) -> list[str]:
    found = [f"{host.name} is silent" for host in status.hosts if not host.alive]
    found += [f"{host.name} is in local maintenance" for host in status.hosts if host.maintenance]
    able = [host for host in status.hosts if host.alive and host.score > 0 and not host.maintenance]
    if not any(host.name != status.engine.host for host in able):
        found.append("no other host is able to run the engine VM")
    return found


def _fence(status: HaStatus) -> list[str]:
    fence = status.fence
    if not fence.bricks:
        return ["it is not known on how many bricks the disk is open"]
    if fence.open_on < fence.bricks:
        return [f"the disk is open on {fence.open_on} of {fence.bricks} bricks only ({fence.text})"]
    return []
