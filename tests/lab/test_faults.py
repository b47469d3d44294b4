"""The fault table with real processes: each row is played on the cluster that the row before has left, mended."""

from __future__ import annotations

import pytest
from _pytest.mark.structures import ParameterSet

from tests.lab.cluster import Cluster
from tests.lab.fault_rows import BY_NUMBER, FAULTS
from tests.lab.faults import play

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

MEASURED_ONLY = ("38", "1c", "3", "12", "13", "14", "36")
"""Rows that other lab tests assert (refresh, warm start), or that are long and near to another one (3, 12, 13, 14 to 10, 36
to 1): `make bench` measures them with these faults."""


OPEN = ("5b", "11", "2", "39", "17", "25")
"""Rows not yet seen to pass on an idle machine (25: passes, but in four minutes)."""


def _parameter(number: str) -> ParameterSet:
    return pytest.param(number, marks=[pytest.mark.open] if number in OPEN else [])


@pytest.mark.parametrize("number", [_parameter(one.number) for one in FAULTS if one.number not in MEASURED_ONLY])
def test_row(cluster: Cluster, number: str) -> None:
    fault = BY_NUMBER[number]
    print(f"row {number}: {fault.what}")
    play(cluster, fault)
