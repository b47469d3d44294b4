"""Scheduling policies, and the units that they are made of. What they mean is in engine/decide/schedule_*.py."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from appliance.errors import Conflict, NotFound
from engine.api.documents import Object
from engine.api.noun import Call, Done, Made
from engine.api.observed import BuiltIn, Rows
from engine.api.stored import Stored, gone
from engine.decide.schedule_policies import check_property
from engine.decide.schedule_units import POLICIES, UNIT, UNITS, BuiltInPolicy, UnitType, unit_of
from engine.store.entity import Entity

BUILT_IN: Mapping[str, BuiltInPolicy] = {policy.id: policy for policy in POLICIES}


class SchedulingPolicies(Stored):
    """How VMs are spread over hosts."""

    services, kind, entity, searchable = ("SchedulingPolicies",), "SchedulingPolicy", "scheduling_policy", False
    defaults, protected = {"default_policy": False, "locked": False}, frozenset(BUILT_IN)

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        refuse_locked(identifier)
        return super().update(call, identifier, given)

    def apply(self, call: Call, before: Entity, given: Mapping[str, Any]) -> Entity:
        for one in given.get("properties") or ():
            check_property(str(given.get("name", before.name)), str(one.get("name", "")), str(one.get("value", "")))
        return super().apply(call, before, given)


class SchedulingPolicyUnits(BuiltIn):
    """The units that there are."""

    services, kind, searchable = ("SchedulingPolicyUnits",), "SchedulingPolicyUnit", False
    table = tuple(
        {
            "id": unit.id,
            "name": unit.name,
            "description": unit.description,
            "comment": "",
            "type": unit.type,
            "enabled": True,
            "internal": True,
            "properties": [{"name": name} for name in unit.properties],
        }
        for unit in UNITS
    )


class PolicyUnits(Rows):
    """The units of one policy. As in oVirt the id of each is its unit's. Those of a built-in policy are data; those of
    others are kept as what the policy owns, named by their unit."""

    unit_type: ClassVar[UnitType] = "filter"
    entity: ClassVar[str] = ""
    searchable = False

    def rows(self, call: Call) -> Sequence[Object]:
        policy = BUILT_IN.get(call.parent_id)
        found = self.built_in(policy) if policy else [(one.name, dict(one.body)) for one in self.kept(call)]
        return [self.row(call, identifier, body) for identifier, body in found]

    def built_in(self, policy: BuiltInPolicy) -> Sequence[tuple[str, Object]]:
        """(unit's id, further attributes) of a built-in policy."""
        raise NotImplementedError(f"{type(self).__name__} has no built-in rows")

    def kept(self, call: Call) -> Sequence[Entity]:
        """What the store has of the policy."""
        return call.engine.store.entities.children(("scheduling_policy", call.parent_id), self.entity)

    def row(self, call: Call, identifier: str, body: Object) -> Object:
        """A unit of the policy as v4 shows it."""
        unit, policy = UNIT[identifier], {"id": call.parent_id}
        shown = {"id": identifier, "name": unit.name, "description": "", "comment": "", **body}
        shown["scheduling_policy_unit"] = {"id": identifier}
        return shown if self.kind == "Filter" else {**shown, "scheduling_policy": policy}

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        refuse_locked(call.parent_id)
        identifier = str((given.get("scheduling_policy_unit") or {}).get("id") or given.get("id") or "")
        unit = UNIT.get(identifier)
        if unit is None or unit.type != self.unit_type:
            raise NotFound(
                "api.reference",
                subject=f"{self.unit_type} unit '{identifier[:100]}'",
                reason="there is none",
                remedy="List schedulingpolicyunits.",
            )
        body: dict[str, Any] = {name: given[name] for name in ("position", "factor") if name in given}
        key = f"{call.parent_id}/{identifier}"
        parent = ("scheduling_policy", call.parent_id)
        entities = call.engine.store.entities
        with entities.connection.transaction():
            if self.unit_type == "load_balancing":  # a policy has one
                for one in self.kept(call):
                    entities.remove(*one.key)
            entities.add(Entity(self.entity, str(uuid.uuid4()), identifier, body, parent=parent, unique_key=key))
        return Made(self.row(call, identifier, body))

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        refuse_locked(call.parent_id)
        found = next((one for one in self.kept(call) if one.name == identifier), None)
        if found is None:
            raise gone(self.kind, identifier)
        call.engine.store.entities.remove(*found.key)
        return Done()


class Filters(PolicyUnits):
    """Filters of a scheduling policy."""

    services, kind, entity, unit_type = ("Filters",), "Filter", "policy_filter", "filter"

    def built_in(self, policy: BuiltInPolicy) -> Sequence[tuple[str, Object]]:
        return [(unit_of("filter", name).id, {"position": 0}) for name in policy.filters]


class Weights(PolicyUnits):
    """What a scheduling policy weighs, and how much."""

    services, kind, entity, unit_type = ("Weights",), "Weight", "policy_weight", "weight"

    def built_in(self, policy: BuiltInPolicy) -> Sequence[tuple[str, Object]]:
        return [(unit_of("weight", name).id, {"factor": factor}) for name, factor in policy.weights]


class Balances(PolicyUnits):
    """What a scheduling policy balances."""

    services, kind, entity, unit_type = ("Balances",), "Balance", "policy_balance", "load_balancing"

    def built_in(self, policy: BuiltInPolicy) -> Sequence[tuple[str, Object]]:
        return [(unit_of("load_balancing", policy.balance).id, {})]


def refuse_locked(policy: str) -> None:
    """Refuse (``api.built-in``) to change a policy of oVirt's own."""
    if policy in BUILT_IN:
        raise Conflict(
            "api.built-in",
            subject=f"SchedulingPolicy {BUILT_IN[policy].name}",
            reason="it is built in and cannot be changed",
            remedy="Make one of your own instead of changing this.",
        )


SCHEDULING = (SchedulingPolicies, SchedulingPolicyUnits, Filters, Weights, Balances)
"""All of this file."""
