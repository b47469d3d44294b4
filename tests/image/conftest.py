"""The machines that the tests of the images boot: all of the selected ones, two at a time, from the first test that asks on.

An emulated machine of two CPUs uses one of them for most of its boot, so that two of them side by side take little longer
than one. A test that boots is marked with the function that does it, and gets what that function found as ``booted``.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from image.build import Builder, Quiet
from image.recipe import CACHE, Kind
from image.verify import Verifier

SIDE_BY_SIDE = 2
"""What the project is built for: two cores."""


@pytest.fixture(scope="session")
def builder() -> Builder:
    return Builder(SystemProcesses(), SystemClock(), Quiet(), os.environ)


@pytest.fixture(scope="session")
def verifier(builder: Builder) -> Verifier:
    return Verifier(SystemProcesses(), SystemClock(), Quiet(), builder.tools(), CACHE / "verify")


def _parameters(item: pytest.Item) -> dict[str, Any]:
    call = getattr(item, "callspec", None)
    return dict(call.params) if call is not None else {}


@pytest.fixture(scope="session")
def ahead(request: pytest.FixtureRequest, builder: Builder, verifier: Verifier) -> Iterator[Mapping[str, Future[Any]]]:
    """What the selected tests boot, by test."""
    for kind in Kind:
        builder.build(kind)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        boots = {
            item.nodeid: pool.submit(mark.kwargs["by"], builder, verifier, **_parameters(item))
            for item in request.session.items
            if (mark := item.get_closest_marker("boots"))
        }
        yield boots
        for boot in boots.values():
            boot.cancel()
    table = subprocess.run(["ps", "-e", "-o", "args"], capture_output=True, text=True, check=True).stdout
    left = [line for line in table.splitlines() if line.startswith("qemu-system") and "/run/verify/" in line]
    assert left == [], "a machine was left behind"


@pytest.fixture
def booted(request: pytest.FixtureRequest, ahead: Mapping[str, Future[Any]]) -> Any:
    """What the function of the test's mark ``boots`` found."""
    return ahead[request.node.nodeid].result()
