"""``kill -9`` of the jobs process at every place of a job, then another process: shared by the tests of jobs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from appliance.errors import TrivetError
from engine.jobs.desk import Desk
from engine.store.durable import Store
from tests.engine.job_world import Points, desk_of, in_a_process, nodes_at, work_off

Check = Callable[[Path, str, str], None]
"""(folder, job, where it was killed): raises when the end is not the only one that it may have."""


def kill_everywhere(
    folder: Path,
    prepare: Callable[[Path], None],
    order: Callable[[Desk], str],
    check: Check,
    fail_with: Mapping[str, TrivetError],
    least_places: int,
) -> None:
    """Run it undisturbed, then once for each place between two things that last, killed there."""
    prepared, whole = folder / "prepared", folder / "undisturbed"
    prepared.mkdir()
    prepare(prepared)
    shutil.copytree(prepared, whole)
    store, points = Store(whole / "engine.sqlite"), Points()
    job_id = order(desk_of(store))
    work_off(store, nodes_at(whole / "hosts", points, fail_with), points)
    store.close()
    check(whole, job_id, "undisturbed")
    assert points.passed >= least_places
    for number, where in enumerate(points.names, start=1):
        _kill_at(folder / str(number), prepared, order, check, fail_with, number, where)


def _kill_at(
    folder: Path,
    prepared: Path,
    order: Callable[[Desk], str],
    check: Check,
    fail_with: Mapping[str, TrivetError],
    number: int,
    where: str,
) -> None:
    shutil.copytree(prepared, folder)
    store = Store(folder / "engine.sqlite")
    job_id = order(desk_of(store))
    store.close()

    def killed() -> None:
        die = Points(number)
        work_off(Store(folder / "engine.sqlite"), nodes_at(folder / "hosts", die, fail_with), die)

    assert in_a_process(killed) == -9, f"nothing happens any more at {number} ({where})"
    again = Store(folder / "engine.sqlite")
    work_off(again, nodes_at(folder / "hosts", fail_with=fail_with))
    again.close()
    check(folder, job_id, f"killed {where} ({number})")
    shutil.rmtree(folder)
