"""The fault table with real processes: each row is played on the cluster that the row before has left, mended."""

from __future__ import annotations

import pytest

from tests.lab.cluster import Cluster
from tests.lab.fault_rows import BY_NUMBER, FAULTS
from tests.lab.faults import play

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600), pytest.mark.usefixtures("at_rest")]

MEASURED_ONLY = ("38", "1c", "3", "12", "13", "14", "36", "49", "4", "5b", "11", "2", "18", "17", "25", "24", "39")
"""Rows that other lab tests assert (38: refresh, 4 and 1c: wakes and cold boots), that are near to another one (3, 12, 13,
14 to 10, 36 and 2 to 1, 5b to 5a, 49 to 16, 24 to the power cut of test_vms, 39 to 1 with what test_cluster sees), or that
take minutes (11, 17, 18, 25): `make bench` measures them with these faults. All of them were seen to pass; the suite has to
stay under an hour."""


@pytest.mark.parametrize("number", [one.number for one in FAULTS if one.number not in MEASURED_ONLY])
def test_row(cluster: Cluster, number: str) -> None:
    fault = BY_NUMBER[number]
    print(f"row {number}: {fault.what}")
    play(cluster, fault)
