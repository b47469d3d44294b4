"""May a host leave the cluster, or be switched off, as far as the engine VM is concerned? Pure: asked by whoever is about to
do it."""

from __future__ import annotations

from appliance.model.ha import HaStatus


def may_leave(status: HaStatus, host: str) -> str:
    """Why ``host`` may not be removed now, in a sentence; empty: it may (fault 47)."""
    leaving = next((one for one in status.hosts if one.name == host), None)
    if leaving is None:
        return ""
    if leaving.engine_here or status.engine.host == host:
        return f"the engine VM is on {host}: put {host} into maintenance first, which moves it"
    if status.engine.state == "unknown":
        return "it is not known where the engine VM is"
    if not any(one.alive and one.score > 0 for one in status.hosts if one.name != host):
        return f"no host but {host} is able to run the engine VM"
    needed = [name for name in status.fence.open_hosts if name != host]
    if status.fence.bricks and 2 * len(needed) <= status.fence.bricks:
        return f"without {host} the engine's disk would not be open on a majority of its bricks ({status.fence.text})"
    return ""
