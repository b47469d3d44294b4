"""CPUs and memory of a VM that runs: how far it may grow, and what of its next definition it can be given at once. Pure.

It only grows: a guest gives CPUs and memory back when it wants to, so less of them waits for the next start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.decide.merge import merged
from engine.decide.vm_config import CPUS_LIMIT, MIB, NEXT, NEXT_EXISTS, cpu_count, without

MOST_SOCKETS = 16
"""oVirt's ``MaxNumOfVmSockets``: a machine has places for so many, and each costs its guest a little memory at the start."""
MOST_MEMORY = 512 * 1024 * MIB
"""Up to which a machine has places for memory: an emulated CPU addresses 1 TiB, and devices need a part of that. Who starts
with more has more, and does not grow."""


@dataclass(frozen=True)
class Growth:
    """What a running VM is to have: sockets, bytes of memory; 0: as it is."""

    sockets: int = 0
    memory: int = 0


def most_sockets(body: Mapping[str, Any]) -> int:
    """For how many sockets its machine has places."""
    has = _sockets(body)
    return max(has, min(MOST_SOCKETS, CPUS_LIMIT // (cpu_count(body) // has)))


def most_memory(body: Mapping[str, Any]) -> int:
    """Up to how many bytes its machine has places for memory."""
    most = int((body.get("memory_policy") or {}).get("max") or 0)
    return max(int(body.get("memory") or 0), min(most, MOST_MEMORY))


def growth(body: Mapping[str, Any]) -> Growth:
    """What of that which waits for the next start can be had while it runs."""
    waiting = body.get(NEXT) or {}
    sockets, memory = 0, int(waiting.get("memory") or 0)
    if "cpu" in waiting:
        wanted = _sockets(waiting)
        others = merged(waiting["cpu"], {"topology": {"sockets": _sockets(body)}})
        sockets = wanted if others == merged(body.get("cpu"), {"topology": {"sockets": _sockets(body)}}) else 0
    return Growth(
        sockets if _sockets(body) < sockets <= most_sockets(body) else 0,
        memory if int(body.get("memory") or 0) < memory <= most_memory(body) else 0,
    )


def why_not(body: Mapping[str, Any], wanted: Growth) -> str:
    """Why a running VM cannot have it; empty: it can."""
    has, memory = _sockets(body), int(body.get("memory") or 0)
    if wanted.sockets and not has < wanted.sockets <= most_sockets(body):
        return f"It has {has} sockets and can have up to {most_sockets(body)} while it runs, not {wanted.sockets}"
    if wanted.memory and not memory < wanted.memory <= most_memory(body):
        return f"It has {memory} bytes and can have up to {most_memory(body)} while it runs, not {wanted.memory}"
    return ""


def grown(body: Mapping[str, Any], got: Growth) -> dict[str, Any]:
    """The definition of a VM that was given it: that waits no more."""
    change: dict[str, Any] = {}
    if got.sockets:
        change["cpu"] = merged(body.get("cpu") or {}, {"topology": {"sockets": got.sockets}})
    if got.memory:
        change["memory"] = got.memory
    waiting = {name: value for name, value in (body.get(NEXT) or {}).items() if name not in change or value != change[name]}
    after = {**without(body, (NEXT, NEXT_EXISTS)), **change}
    return {**after, NEXT: waiting, NEXT_EXISTS: True} if waiting else after


def _sockets(body: Mapping[str, Any]) -> int:
    return int(((body.get("cpu") or {}).get("topology") or {}).get("sockets") or 1)
