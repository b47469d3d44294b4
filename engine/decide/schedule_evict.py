"""When a host that does not answer is cut off from its storage domains, so that its HA VMs can run elsewhere. Pure.

Eviction ends every VM that the host still runs from there. So it needs two witnesses, the engine and the pool, a
majority that sees both, and something to win: a highly available VM.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.decide.schedule_fence import Verdict


@dataclass(frozen=True)
class Suspect:
    """A host, as it is known now. ``connected``: whether the pool's daemons still have its one, as another node says;
    ``None``: nobody could say. ``ha_vms``: names of the highly available VMs that it may have."""

    name: str
    answers: bool
    connected: bool | None
    is_evicted: bool
    ha_vms: tuple[str, ...]


def to_evict(host: Suspect, answering: int, members: int) -> Verdict:
    """Whether to evict it now; ``answering`` of all ``members`` of the cluster answer. The reason is a sentence."""
    if host.answers:
        return Verdict(False, f"{host.name} answers")
    if host.is_evicted:
        return Verdict(False, f"{host.name} is evicted")
    if not host.ha_vms:
        return Verdict(False, f"nothing on {host.name} is highly available: its VMs wait for it")
    if 2 * answering <= members:
        return Verdict(False, f"only {answering} of {members} hosts answer: it may be the engine that is cut off")
    if host.connected is None:
        return Verdict(False, f"nobody can say whether the pool has lost {host.name}, too")
    if host.connected:
        reason = f"{host.name} does not answer, but its glusterd is connected to the pool: its VMs may well run"
        return Verdict(False, reason)
    return Verdict(True, f"{host.name} answers neither the engine nor the pool")
