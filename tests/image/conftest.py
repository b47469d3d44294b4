"""What the tests that boot images share: who builds them, and who boots them."""

from __future__ import annotations

import os

import pytest

from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from image.build import Builder, Quiet
from image.recipe import CACHE
from image.verify import Verifier


@pytest.fixture(scope="module")
def builder() -> Builder:
    return Builder(SystemProcesses(), SystemClock(), Quiet(), os.environ)


@pytest.fixture(scope="module")
def verifier(builder: Builder) -> Verifier:
    return Verifier(SystemProcesses(), SystemClock(), Quiet(), builder.tools(), CACHE / "verify")
