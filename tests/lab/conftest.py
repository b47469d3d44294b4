"""Real nodes for the lab tests: a bare lab for the lab's own tests, an installed cluster for all others.

Both are made by the program that a person would use, under names of their own, and are taken down at the end. With
``TRIVET_TEST_CLUSTER=NAME`` the tests use the cluster of that lab as it stands and leave it standing: for work on one test.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import DOWN_S, UP_S
from tests.lab.cluster import Cluster, trivet
from tests.lab.guest import administrator

BARE = "testbare"
TREE = ("--tree", os.environ["TRIVET_TEST_TREE"]) if "TRIVET_TEST_TREE" in os.environ else ()
"""An extracted node tree to try the lab itself with, while the image is being worked on."""


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("a lab needs root")


@pytest.fixture(scope="module")
def bare_lab(alone: None) -> Iterator[str]:
    """The name of a lab of three nodes on which nothing is installed."""
    trivet("lab", "down", "--name", BARE, timeout_s=DOWN_S)
    trivet("lab", "up", "--name", BARE, "--nodes", "3", "--port", "0", *TREE, timeout_s=UP_S)
    yield BARE
    trivet("lab", "down", "--name", BARE, timeout_s=DOWN_S)


@pytest.fixture(scope="session")
def known(installed: str) -> Cluster:
    """The installed cluster: address, password and nodes do not change."""
    trivet("lab", "up", "--name", installed, timeout_s=UP_S)
    return Cluster(installed)


@pytest.fixture
def cluster(known: Cluster) -> Cluster:
    """The installed cluster, every node on and every link healed, whatever the test before has done to it."""
    known.make_whole(UP_S)
    return known


@pytest.fixture
def system(cluster: Cluster) -> Iterator[Any]:
    """The API as the administrator sees it."""
    with administrator(cluster) as made:
        yield made
