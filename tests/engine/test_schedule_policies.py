"""oVirt's policies and units as data, and reading the properties of a policy."""

from __future__ import annotations

import re

import pytest

from appliance.errors import Refused
from engine.decide.schedule_balance import BALANCES
from engine.decide.schedule_policies import Policy, built_in, check_property, read_policy
from engine.decide.schedule_units import PARAMETERS, POLICIES, UNIT, UNITS, unit_of
from engine.decide.schedule_weights import WEIGHTS


def test_the_tables_agree_with_each_other() -> None:
    assert len(UNIT) == len(UNITS)
    assert len({(unit.type, unit.name) for unit in UNITS}) == len(UNITS)
    assert {unit.means for unit in UNITS if unit.type == "weight"} == set(WEIGHTS)
    assert {unit.means for unit in UNITS if unit.type == "load_balancing"} == set(BALANCES)
    assert {name for unit in UNITS for name in unit.properties} <= PARAMETERS.keys()
    for policy in POLICIES:
        assert {unit_of("filter", name).id for name in policy.filters}
        assert {unit_of("weight", name).id for name, _factor in policy.weights}
        assert unit_of("load_balancing", policy.balance).means == policy.balance
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", one.id) for one in (*UNITS, *POLICIES))


def test_the_built_in_policies() -> None:
    assert built_in("none") == Policy()
    saving = built_in("power_saving")
    assert (saving.balance, saving.high_percent, saving.low_percent, saving.high_s) == ("power_saving", 80, 20, 120.0)
    assert [name for name, _factor in saving.weights[:2]] == ["pack_cpu", "pack_memory"]
    counted = built_in("vm_evenly_distributed")
    assert (counted.high_vms, counted.vms_apart, counted.engine_grace) == (10, 5, 5)
    assert [one.name for one in POLICIES if built_in(one.name).only_ha] == ["cluster_maintenance"]


def test_properties_are_read_over_those_of_the_policy_of_that_name() -> None:
    found = read_policy(
        "power_saving", {"HighUtilization": "60", "MaxFreeMemoryForOverUtilized": "512", "HeSparesCount": "1"}
    )
    assert (found.high_percent, found.low_percent, found.tight_bytes, found.engine_spares) == (60, 20, 512 * 1024**2, 1)
    own = read_policy("mine", {"CpuOverCommitDurationMinutes": "5"}, [(unit_of("weight", "even_vms").id, 3), ("unknown", 1)])
    assert (own.name, own.weights, own.balance, own.high_s, own.only_ha) == (
        "mine",
        (("even_vms", 3),),
        "none",
        300.0,
        False,
    )
    moving = read_policy(
        "mine", {}, [(unit_of("load_balancing", "even").id, 0), (unit_of("filter", "ClusterInMaintenance").id, 0)]
    )
    assert (moving.weights, moving.balance, moving.only_ha) == (POLICIES[0].weights, "even", True)
    assert read_policy("none", {"HighUtilization": "x", "Speed": "fast"}) == Policy()


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("HighUtilization", "49", "'HighUtilization' cannot be '49'"),
        ("HighUtilization", "100", "'HighUtilization' cannot be '100'"),
        ("LowUtilization", "50", "'LowUtilization' cannot be '50'"),
        ("MigrationThreshold", "1", "'MigrationThreshold' cannot be '1'"),
        ("CpuOverCommitDurationMinutes", "0", "'CpuOverCommitDurationMinutes' cannot be '0'"),
        ("HighVmCount", "-3", "'HighVmCount' cannot be '-3'"),
        ("Speed", "fast", "there is no property 'Speed'"),
    ],
)
def test_a_property_that_cannot_be_is_refused(key: str, value: str, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        check_property("none", key, value)
    assert (caught.value.code, caught.value.reason) == ("schedule.property", reason)
