"""A scheduling policy as the scheduler uses it, and how the properties of v4 are read into it.

Which filters a policy names is kept and shown, but every filter always applies: a policy without the filter for memory would
only be a trap. ``ClusterInMaintenance`` is the one exception, because it refuses what is possible. What a policy decides
is what is weighed, and what is balanced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from appliance.errors import Refused
from engine.decide.schedule_units import PARAMETERS, POLICIES, BalanceName, BuiltInPolicy, PolicyName, WeightName

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
    found = next(one for one in POLICIES if one.name == name)
    return read_policy(name, dict(found.properties), found.weights, found.balance, found.filters)


def read_policy(
    name: str,
    properties: Mapping[str, str],
    weights: tuple[tuple[WeightName, int], ...] | None = None,
    balance: BalanceName | None = None,
    filters: tuple[str, ...] | None = None,
) -> Policy:
    """A policy from v4's properties. What is not given comes from the built-in one of that name, else from ``none``.

    Refuses (``schedule.property``) a property that no unit has, or a value that it cannot have.
    """
    base: BuiltInPolicy = next((one for one in POLICIES if one.name == name), POLICIES[0])
    for key, value in properties.items():
        check_property(name, key, value)
    given = {**dict(base.properties), **properties}
    policy = Policy(name, base.weights if weights is None else weights, base.balance if balance is None else balance)
    policy = replace(policy, only_ha="ClusterInMaintenance" in (base.filters if filters is None else filters))

    def number(key: str, otherwise: int) -> int:
        return int(given.get(key, otherwise))

    return replace(
        policy,
        high_percent=number("HighUtilization", policy.high_percent),
        high_s=60.0 * number("CpuOverCommitDurationMinutes", 2),
        low_percent=number("LowUtilization", policy.low_percent),
        tight_bytes=number("MaxFreeMemoryForOverUtilized", 0) * MIB,
        ample_bytes=number("MinFreeMemoryForUnderUtilized", 0) * MIB,
        high_vms=number("HighVmCount", policy.high_vms),
        vms_apart=number("MigrationThreshold", policy.vms_apart),
        engine_grace=number("SpmVmGrace", policy.engine_grace),
        engine_spares=number("HeSparesCount", 0),
    )


def check_property(policy: str, key: str, value: str) -> None:
    """Refuse (``schedule.property``) a property of a policy that it cannot have."""
    pattern = PARAMETERS.get(key)
    if pattern is not None and re.fullmatch(pattern, value):
        return
    reason = f"'{key}' cannot be {value!r}" if pattern else f"there is no property '{key}'"
    remedy = f"It must match {pattern}." if pattern else f"There are: {', '.join(sorted(PARAMETERS))}."
    raise Refused("schedule.property", subject=f"scheduling policy {policy}", reason=reason, remedy=remedy)
