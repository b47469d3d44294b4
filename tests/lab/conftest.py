"""Real nodes for the lab tests: a bare lab for the lab's own tests, an installed cluster for all others.

Both are made by the program that a person would use, under names of their own, and are taken down at the end. With
``TRIVET_TEST_CLUSTER=NAME`` the tests use the cluster of that lab as it stands and leave it standing: for work on one test.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cluster import Cluster, trivet

BARE = "testbare"
CLUSTER = "testcluster"
CLUSTER_PORT = "8453"
"""Not 8443, because the machine's owner may have a cluster of their own up."""
UP_S = 900.0
"""The first one also builds the node image, or waits while another build runs."""
RUN_S = 1500.0
DOWN_S = 120.0
TREE = ("--tree", os.environ["TRIVET_TEST_TREE"]) if "TRIVET_TEST_TREE" in os.environ else ()
"""An extracted node tree to try the lab itself with, while the image is being worked on."""


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("a lab needs root")


@pytest.fixture(scope="session")
def _alone() -> Iterator[None]:
    """Two test runs would take each other's labs down."""
    with Path("/run/trivet-lab-tests.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail("another run of the lab tests is going on on this machine; wait for its end")
        yield


@pytest.fixture(scope="module")
def bare_lab(_alone: None) -> Iterator[str]:
    """The name of a lab of three nodes on which nothing is installed."""
    trivet("lab", "down", "--name", BARE, timeout_s=DOWN_S)
    trivet("lab", "up", "--name", BARE, "--nodes", "3", "--port", "0", *TREE, timeout_s=UP_S)
    yield BARE
    trivet("lab", "down", "--name", BARE, timeout_s=DOWN_S)


@pytest.fixture(scope="session")
def _installed(request: pytest.FixtureRequest) -> Iterator[str]:
    mine = os.environ.get("TRIVET_TEST_CLUSTER")
    if mine:
        yield mine
        return
    request.getfixturevalue("_alone")
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
