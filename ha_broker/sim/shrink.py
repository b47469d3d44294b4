"""From a plan that breaks an invariant to a short one that breaks the same: delta debugging over its events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ha_broker.sim.faults import Fault
from ha_broker.sim.plans import FIRST_S, Plan

RUNS_MAX: Final = 250
"""A run takes a fifth of a second: within a minute there is a readable list, if not the shortest."""
MARGIN_S: Final = 30.0
"""After the last event that is left."""

Breaks = Callable[[Plan], bool]


class Shrinker:
    """``breaks`` runs a plan and says whether the same invariant is broken."""

    def __init__(self, breaks: Breaks) -> None:
        self._breaks = breaks
        self.runs = 0

    def shrink(self, plan: Plan) -> Plan:
        """The shortest found."""
        shortest = self._without(plan)
        for change in (_early_end, _healthy_core, _cold):
            shortest = self._try(shortest, change(shortest))
        for index in range(len(shortest.faults)):
            shortest = self._try(shortest, _never_ends(shortest, index))
        return self._without(shortest)

    def _without(self, plan: Plan) -> Plan:
        """Leave out halves, quarters … single events, as long as it goes on breaking."""
        size = max(1, len(plan.faults) // 2)
        while self.runs < RUNS_MAX:
            before = len(plan.faults)
            start = 0
            while start < len(plan.faults) and self.runs < RUNS_MAX:
                less = replace(plan, faults=plan.faults[:start] + plan.faults[start + size :])
                shorter = self._try(plan, less)
                start += size if shorter is plan else 0
                plan = shorter
            if size == 1 and len(plan.faults) == before:
                break
            size = max(1, size // 2)
        return plan

    def _try(self, plan: Plan, other: Plan) -> Plan:
        if other == plan or self.runs >= RUNS_MAX:
            return plan
        self.runs += 1
        return other if self._breaks(other) else plan


def _early_end(plan: Plan) -> Plan:
    last_s = max((fault.at_s + fault.for_s for fault in plan.faults), default=FIRST_S)
    return replace(plan, chaos_s=min(plan.chaos_s, round(last_s + MARGIN_S, 1)))


def _healthy_core(plan: Plan) -> Plan:
    return replace(plan, core=("node1", "node2", "node3"))


def _cold(plan: Plan) -> Plan:
    return replace(plan, warm=False)


def _never_ends(plan: Plan, index: int) -> Plan:
    faults: list[Fault] = list(plan.faults)
    faults[index] = replace(faults[index], for_s=0.0)
    return replace(plan, faults=tuple(faults))
