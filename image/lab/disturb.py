"""Cables and frost: what a test does to a lab that is up. Each changes what is wanted, then the kernel."""

from __future__ import annotations

from collections.abc import Callable

from appliance.effects.clock import Clock
from appliance.errors import Refused
from image.lab import ground, model, observe
from image.lab.model import Direction, LabFile, Traffic
from image.lab.operations import Lab, NodeStatus


def link(lab: Lab, name: str, wanted: str, to: str | None, direction: Direction, only: Traffic | None = None) -> LabFile:
    """Pull or plug a cable (``wanted``: cut, heal), or drop frames of one direction, pair or traffic."""
    with lab.locked():
        file = lab.wanted()
        model.find_node(file, name)
        if to is not None:
            model.find_node(file, to)
        change = model.cut_link if wanted == "cut" else model.heal_link
        file = change(file, name, to, direction, only)
        lab.keep(file)
        lab.set_links(file)
    return file


def freeze(lab: Lab, name: str) -> NodeStatus:
    """Let a node stand still, as a machine that its firmware, hypervisor or kernel holds: no process of it runs, and
    nobody answers its peers, not even for TCP. ``Conflict`` (``lab.node-off``) when it is off."""
    with lab.locked():
        file = lab.wanted()
        node = model.find_node(file, name)
        if not observe.is_on(node):
            raise model.node_is_off(node)
        file = model.freeze(file, name)
        lab.keep(file)
        # First the frames: this machine's kernel would acknowledge what the frozen node's peers send.
        lab.set_links(file)
        ground.set_frozen(observe.node_cgroup(node), True)
        return lab.node_status(file, node)


def thaw(lab: Lab, name: str) -> NodeStatus:
    """Let it go on; nothing happens when it does not stand still."""
    with lab.locked():
        file = lab.wanted()
        node = model.find_node(file, name)
        file = model.thaw(file, name)
        lab.keep(file)
        # First the frames, so that whatever its processes do next has its full effect.
        lab.set_links(file)
        if observe.is_on(node):
            ground.set_frozen(observe.node_cgroup(node), False)
        return lab.node_status(file, node)


def last(clock: Clock, duration_s: float | None, begin: Callable[[], None], end: Callable[[], None]) -> None:
    """``begin`` a fault, let it last ``duration_s``, then ``end`` it. None: it lasts.

    It is also ended when this is broken off: in the wait, or between the fault and the wait. A refusal to begin has changed
    nothing, so there is nothing to end.
    """
    if duration_s is None:
        begin()
        return
    model.check_duration(duration_s)
    try:
        begin()
        clock.sleep(duration_s)
    except Refused:
        raise
    except BaseException:
        end()
        raise
    end()
