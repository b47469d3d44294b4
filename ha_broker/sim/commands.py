"""What people do in the simulated world: maintenance, a forced start, an old engine brought back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from appliance.model.stale_call import StaleCall
from ha_broker.sim.check import Broken
from ha_broker.sim.net import MANAGEMENT

if TYPE_CHECKING:
    from ha_broker.sim.faults import Fault
    from ha_broker.sim.host import SimHost
    from ha_broker.sim.world import World


def _maintenance(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    host.request = "global" if begin and fault.text != "off" else "none"


def _local_maintenance(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    host.local_maintenance = begin and fault.text != "off"
    host.local_since_s = world.now_s if host.local_maintenance else None


def _forced_start(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    host.forced = begin


def _old_engine(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    """An engine of an earlier epoch comes back somewhere and commands every agent that the host reaches."""
    epoch = max(0, world.check.given - int(fault.value or 1))
    for other in world.hosts.values():
        reached = other is host or world.net.answers(MANAGEMENT, host.name, other.name)
        if reached and other.power and not other.frozen and other.accepts(epoch) and epoch < other.epoch:
            raise Broken("S2", f"the agent of {other.name} obeys epoch {epoch} after {other.epoch}")
        if reached and other.power and not other.frozen and epoch < other.epoch:
            world.changed(f"the agent of {other.name} refuses epoch {epoch}: it knows {other.epoch}")
            call = StaleCall("engine", epoch, other.epoch, other.monotonic_s())
            other.facts = replace(other.facts, stale_call=call)


COMMANDS: Mapping[str, Callable[[World, SimHost, Fault, bool], None]] = {
    "maintenance": _maintenance,
    "local-maintenance": _local_maintenance,
    "forced-start": _forced_start,
    "old-engine": _old_engine,
}
