"""Real nodes for the lab tests: a bare lab for the lab's own tests, an installed cluster for all others.

Both are made by the program that a person would use, under names of their own, and are taken down at the end. With
``TRIVET_TEST_CLUSTER=NAME`` the tests use the cluster of that lab as it stands and leave it standing: for work on one test.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab.cluster import Cluster, trivet

BARE = "testbare"
CLUSTER = "testcluster"
CLUSTER_PORT = "8453"
"""Not 8443, because the machine's owner may have a cluster of their own up."""
UP_S = 300.0
RUN_S = 1500.0
DOWN_S = 120.0


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("a lab needs root")


@pytest.fixture(scope="module")
def bare_lab() -> Iterator[str]:
    """The name of a lab of three nodes on which nothing is installed."""
    trivet("lab", "down", "--name", BARE, timeout_s=DOWN_S)
    trivet("lab", "up", "--name", BARE, "--nodes", "3", "--port", "0", timeout_s=UP_S)
    yield BARE
    trivet("lab", "down", "--name", BARE, timeout_s=DOWN_S)


@pytest.fixture(scope="session")
def _installed() -> Iterator[str]:
    mine = os.environ.get("TRIVET_TEST_CLUSTER")
    if mine:
        yield mine
        return
    trivet("stop", "--name", CLUSTER, timeout_s=DOWN_S)
    trivet("lab", "up", "--name", CLUSTER, "--nodes", "3", "--port", CLUSTER_PORT, timeout_s=UP_S)
    trivet("run", "--name", CLUSTER, timeout_s=RUN_S)
    yield CLUSTER
    trivet("stop", "--name", CLUSTER, timeout_s=DOWN_S)


@pytest.fixture
def cluster(_installed: str) -> Cluster:
    """The installed cluster, every node on and every link healed, whatever the test before has done to it."""
    trivet("lab", "up", "--name", _installed, timeout_s=UP_S)
    return Cluster(_installed)
