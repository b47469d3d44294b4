"""Every planted bug is caught by an invariant; ``docs/ha-mutants.md`` says by which seed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ha_broker.sim.mutants import HUNTED, MUTANTS, Mutant, hunt, run, table
from ha_broker.sim.run import run_seed

PAGE = Path(__file__).parents[2] / "docs/ha-mutants.md"


def seeds() -> dict[str, int]:
    """Which seed caught which, by the page."""
    return {name: int(seed) for name, seed in re.findall(r"^\| `([\w-]+)` \|.*\| (\d+) \| \w+ \|$", PAGE.read_text(), re.M)}


def test_there_are_enough_of_them_and_all_are_on_the_page() -> None:
    assert len(MUTANTS) >= 20
    assert set(seeds()) == {mutant.name for mutant in MUTANTS}


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_is_caught(mutant: Mutant) -> None:
    known = seeds()[mutant.name]
    caught = hunt(mutant, (known, *range(HUNTED)))
    assert caught is not None, f"no invariant notices that {mutant.sentence}"
    assert caught.invariant in mutant.caught_by
    assert not run_seed(caught.seed).invariant, "the seed breaks an invariant also without the bug"


@pytest.mark.slow
def test_a_bug_is_gone_after_its_run() -> None:
    before = run_seed(2)
    for mutant in MUTANTS:
        run(mutant, 2)
        break
    assert run_seed(2) == before


def test_the_page_is_what_the_table_makes() -> None:
    found = [(mutant, seeds()[mutant.name]) for mutant in MUTANTS]
    text = PAGE.read_text()
    invariants = dict(re.findall(r"^\| `([\w-]+)` \|.*\| \d+ \| (\w+) \|$", text, re.M))
    assert text == table([(mutant, seed, invariants[mutant.name]) for mutant, seed in found])
