"""Power management of hosts: kept for clients that set it up, and told as it was said.

This engine does not switch hosts off: what a lost host could still write is kept from the disks by eviction
(engine/DESIGN.md, *schedule_evict*), which needs no device that may be lost together with the host. So the password is not
kept: a secret that nobody needs is one that nobody can steal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.api.noun import Call
from engine.api.stored import Child, Stored
from engine.store.entity import Entity


class FenceAgents(Stored):
    """The fence agents of a host."""

    services, kind, entity, unique = ("FenceAgents",), "Agent", "fence_agent", False
    scopes, parent_attribute = {"Host": Child()}, "host"
    defaults = {"encrypt_options": False, "concurrent": False}

    def apply(self, call: Call, before: Entity, given: Mapping[str, Any]) -> Entity:
        return super().apply(call, before, {name: value for name, value in given.items() if name != "password"})


FENCE_AGENTS = (FenceAgents,)
"""All of this file."""
