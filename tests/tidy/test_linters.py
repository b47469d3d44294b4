"""ruff, mypy and import-linter as ordinary tests, so that one command is enough."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy.sources import ROOT

TOOLS = Path(sys.executable).parent


def check(what_helps: str, *argv: str) -> None:
    done = subprocess.run([TOOLS / argv[0], *argv[1:]], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{what_helps}"


def test_ruff_finds_nothing() -> None:
    what_helps = "Correct what it names; `build/venv/bin/ruff check --fix` does some of it."
    # Without the cache: it kept an answer from before a module existed, and a fresh clone then disagreed.
    check(what_helps, "ruff", "check", "--no-cache", "--output-format=concise", ".")


@pytest.mark.timeout(300)
def test_mypy_strict_finds_nothing() -> None:
    check("Give the types; a cast needs a comment that says why it is true.", "mypy", "--no-error-summary")


def test_packages_import_only_downwards() -> None:
    what_helps = "Move the shared part down (into appliance or gluster), or pass it in as an argument; see tests/DESIGN.md."
    check(what_helps, "lint-imports", "--no-cache")
