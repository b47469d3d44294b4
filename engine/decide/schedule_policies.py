"""A scheduling policy as the scheduler uses it, and how the properties of v4 are read into it.

Which filters a policy names is kept and shown, but every filter always applies: a policy without the filter for memory would
only be a trap. ``ClusterInMaintenance`` is the one exception, because it refuses what is possible. What a policy decides
is what is weighed, and what is balanced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from appliance.errors import Refused
from engine.decide.schedule_units import PARAMETERS, POLICIES, UNIT, BalanceName, PolicyName, WeightName

MIB = 1024**2


@dataclass(frozen=True)
class Policy:
    """What is weighed and balanced, and the thresholds. Defaults are oVirt's policy ``none``."""

    name: str = "none"
    weights: tuple[tuple[WeightName, int], ...] = POLICIES[0].weights
    balance: BalanceName = "none"
    high_percent: int = 80
    """A host that is busier is over-utilized …"""
    high_s: float = 120.0
    """… if it was so for that long."""
    low_percent: int = 20
    """A host that is less busy is under-utilized."""
    tight_bytes: int = 0
    """A host with less memory left is over-utilized; 0: memory does not count."""
    ample_bytes: int = 0
    """A host takes VMs from others only if it has more memory left than this."""
    high_vms: int = 10
    """A host with fewer VMs is not relieved of any for the count's sake."""
    vms_apart: int = 5
    """How many VMs more than another a host must have before one is moved."""
    engine_grace: int = 5
    """The engine VM counts as that many: its host does more than run VMs (oVirt's SPM grace)."""
    engine_spares: int = 0
    """On that many other hosts memory for the engine VM is kept free."""
    only_ha: bool = False
    """Start highly available VMs only (cluster maintenance)."""


def built_in(name: PolicyName) -> Policy:
    """One of oVirt's own."""
    return read_policy(name, {})


def read_policy(name: str, properties: Mapping[str, str], units: Sequence[tuple[str, int]] = ()) -> Policy:
    """A policy from what v4 says of it.

    ``units``: (unit's id, factor) of the filters, weights and balance of a policy that is not built in; none: those of
    ``none``. A property that cannot be read is passed over: it was refused when it was written
    (:func:`check_property`), and a start must not fail for it.
    """
    base = next((one for one in POLICIES if one.name == name), None)
    own = [(UNIT[identifier], factor) for identifier, factor in units if identifier in UNIT] if base is None else []
    base = base or POLICIES[0]
    weights = tuple((cast(WeightName, unit.means), factor) for unit, factor in own if unit.type == "weight")
    balances = [cast(BalanceName, unit.means) for unit, _factor in own if unit.type == "load_balancing"]
    filters = [unit.name for unit, _factor in own if unit.type == "filter"] if own else base.filters
    given = {key: value for key, value in {**dict(base.properties), **properties}.items() if not trouble(key, value)}

    def number(key: str, otherwise: int) -> int:
        return int(given.get(key, otherwise))

    return Policy(
        name,
        weights or base.weights,
        balances[0] if balances else base.balance,
        high_percent=number("HighUtilization", Policy.high_percent),
        high_s=60.0 * number("CpuOverCommitDurationMinutes", 2),
        low_percent=number("LowUtilization", Policy.low_percent),
        tight_bytes=number("MaxFreeMemoryForOverUtilized", 0) * MIB,
        ample_bytes=number("MinFreeMemoryForUnderUtilized", 0) * MIB,
        high_vms=number("HighVmCount", Policy.high_vms),
        vms_apart=number("MigrationThreshold", Policy.vms_apart),
        engine_grace=number("SpmVmGrace", Policy.engine_grace),
        engine_spares=number("HeSparesCount", 0),
        only_ha="ClusterInMaintenance" in filters,
    )


def trouble(key: str, value: str) -> str:
    """Why a policy cannot have that property; empty: it can."""
    pattern = PARAMETERS.get(key)
    if pattern is None:
        return f"there is no property '{key}'"
    return "" if re.fullmatch(pattern, value) else f"'{key}' cannot be {value!r}"


def check_property(policy: str, key: str, value: str) -> None:
    """Refuse (``schedule.property``) a property of a policy that it cannot have."""
    reason = trouble(key, value)
    if reason:
        pattern = PARAMETERS.get(key)
        remedy = f"It must match {pattern}." if pattern else f"There are: {', '.join(sorted(PARAMETERS))}."
        raise Refused("schedule.property", subject=f"scheduling policy {policy}", reason=reason, remedy=remedy)
