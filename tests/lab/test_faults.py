"""The fault table with real processes: each row is played on the cluster that the row before has left, mended."""

from __future__ import annotations

import pytest

from tests.lab.cluster import Cluster
from tests.lab.fault_rows import BY_NUMBER, FAULTS
from tests.lab.faults import play

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

MEASURED_ONLY = ("38", "1c")
"""Rows that other lab tests assert (refresh, warm start); `make bench` measures them with these faults."""


@pytest.mark.parametrize("number", [fault.number for fault in FAULTS if fault.number not in MEASURED_ONLY])
def test_row(cluster: Cluster, number: str) -> None:
    fault = BY_NUMBER[number]
    print(f"row {number}: {fault.what}")
    play(cluster, fault)
