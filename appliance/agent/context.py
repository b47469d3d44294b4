"""What the agent and every package that adds routes to it are built from."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.effects.root import Root
from appliance.model.cluster import Cluster, Membership
from appliance.ports import Clock, Hypervisor, Processes

ROUTE_MODULES: tuple[str, ...] = ("gluster.wire", "ha_broker.wire")
"""Modules that add routes: each has ``INTERFACE`` (a class of ``@route`` methods) and ``implementation(context)``. By name,
because this package imports none of the packages above it."""


@dataclass(frozen=True)
class AgentContext:
    """The node as the agent sees it. ``cluster`` and ``membership`` as of its start; both None on a bare node."""

    root: Root
    processes: Processes
    clock: Clock
    hypervisor: Hypervisor
    cluster: Cluster | None
    membership: Membership | None
