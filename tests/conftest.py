"""What all tests share: their order, their deadlines, and that nothing is skipped where it counts."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

CLUSTER = "testcluster"
CLUSTER_PORT = "8453"
"""Not 8443, because the machine's owner may have a cluster of their own up."""
UP_S = 900.0
"""The first one also builds the node image, or waits while another build runs."""
RUN_S = 1500.0
DOWN_S = 120.0
ORDER = ("tidy", "appliance", "gluster", "ha_broker", "engine", "image", "installer", "contract")
"""House rules first, because they are quick and most often the reason; what boots machines last: it takes longest. Tests
with a lab of their own come before those of the installed cluster, which is up from the first that asks for it: beside its
emulated engine everything else is slow."""

DEADLINES_S = {"lab": 1800, "images": 900, "slow": 900}
"""The first test of each kind also builds the images, boots the nodes or runs all seeds: minutes."""


def _place(item: pytest.Item) -> tuple[int, int]:
    uses_cluster = item.get_closest_marker("cluster") or "installed" in getattr(item, "fixturenames", ())
    boots = 3 if uses_cluster else 2 if item.get_closest_marker("lab") else 1 if item.get_closest_marker("images") else 0
    folder = item.path.relative_to(ROOT / "tests").parts[0] if item.path.is_relative_to(ROOT / "tests") else ""
    return boots, ORDER.index(folder) if folder in ORDER else len(ORDER)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests and give those that boot machines a longer deadline."""
    _leave_open_ones(config, items)
    items.sort(key=_place)
    for item in items:
        for marker, seconds in DEADLINES_S.items():
            if item.get_closest_marker(marker) and not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(seconds))


def _leave_open_ones(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of what is being built: named, counted as deselected, and run by who works on them (``TRIVET_OPEN=1``)."""
    if os.environ.get("TRIVET_OPEN"):
        return
    open_ones = [item for item in items if item.get_closest_marker("open")]
    items[:] = [item for item in items if not item.get_closest_marker("open")]
    config.hook.pytest_deselected(items=open_ones)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Where CI is set, a test that did not run is a failure: a skipped test proves nothing and hides a broken machine."""
    if os.environ.get("CI") and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"This test did not run ({why}). With CI set all have to: make the machine able to, or delete it."


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip of a test into a failure in CI."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a skip of a whole module into a failure in CI."""
    report = yield
    _refuse_skip(report)
    return report


SLOWEST_SHOWN = 14
"""Files: what is not among them takes seconds."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say where the minutes went, because the whole run has to stay under an hour."""
    spent_s: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                spent_s[report.location[0]] += round(report.duration)
    terminalreporter.section("minutes by file")
    for file, seconds in spent_s.most_common(SLOWEST_SHOWN):
        terminalreporter.line(f"{seconds / 60:6.1f}  {file}")


@pytest.fixture(scope="session", autouse=True)
def images_begun(request: pytest.FixtureRequest) -> Iterator[None]:
    """Begin the images while the fast tests run, which use one core. Who needs an image waits for this build, or makes it
    anew and says why when this one failed."""
    wanted = {"images", "lab"}
    if os.geteuid() or not any(wanted & {mark.name for mark in item.iter_markers()} for item in request.session.items):
        yield
        return
    command = [str(ROOT / "trivet"), "image", "build", "node"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as building:
        Path(f"/proc/{building.pid}/autogroup").write_text("10")  # what is tested comes first
        yield
        building.terminate()


@pytest.fixture(scope="session")
def alone() -> Iterator[None]:
    """Two test runs would take each other's labs down."""
    with Path("/run/trivet-lab-tests.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail("another run of the lab tests is going on on this machine; wait for its end")
        yield


@pytest.fixture(scope="session")
def installed(request: pytest.FixtureRequest) -> Iterator[str]:
    mine = os.environ.get("TRIVET_TEST_CLUSTER")
    if mine:
        yield mine
        return
    # Here, because the house rules copy this file to a place without it.
    from tests.lab.cluster import Cluster, key_of, trivet
    from tests.lab.good_state import await_saved_memory

    request.getfixturevalue("alone")
    trivet("stop", "--name", CLUSTER, timeout_s=DOWN_S)
    trivet("lab", "up", "--name", CLUSTER, "--nodes", "3", "--port", CLUSTER_PORT, timeout_s=UP_S)
    trivet("run", "--name", CLUSTER, "--ssh-key", f"{key_of(CLUSTER)}.pub", timeout_s=RUN_S)
    await_saved_memory(Cluster(CLUSTER))  # made beside the tests it takes three times as long, and slows them down
    yield CLUSTER
    trivet("stop", "--name", CLUSTER, timeout_s=DOWN_S)


@pytest.fixture(scope="session")
def killed_install(alone: None) -> Iterator[Future[None]]:
    """The installation that is killed after every step: minutes in which it mostly waits, so it goes on beside others."""
    from tests.lab.test_install import install_and_kill

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(install_and_kill)
