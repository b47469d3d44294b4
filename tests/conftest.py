"""What all tests share: their order, their deadlines, and that nothing is skipped where it counts."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
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
"""House rules first, because they are quick and most often the reason. Tests with a lab of their own come before those of
the installed cluster, which is up from the first that asks for it: beside its emulated engine everything else is slow."""

BUSY = Path("/run/trivet-tests-busy.lock")
OTHERS_S = 900.0
"""The cluster waits at most so long for what is run beside it; after that its bars are measured on a busy machine."""
FAILURE_CHARS = 1000
DEADLINES_S = {"lab": 1800, "images": 900, "slow": 900}
"""The first test of each kind also builds the images, boots the nodes or runs all seeds: minutes."""


BARE, CLUSTERED, IMAGES, QUICK = range(4)
"""What a test needs, in the order in which they are handed out. Of several workers (``make test``) one plays with the labs
and one boots images while the rest is run beside them; one process alone takes the quick ones first."""
WORKER = {BARE: "labs", CLUSTERED: "labs", IMAGES: "images"}
SHARED = "PYTEST_XDIST_WORKER" in os.environ
"""Whether this process is one of several."""


def _needs(item: pytest.Item) -> int:
    if item.get_closest_marker("cluster") or "installed" in getattr(item, "fixturenames", ()):
        return CLUSTERED
    return BARE if item.get_closest_marker("lab") else IMAGES if item.get_closest_marker("images") else QUICK


def _place(item: pytest.Item) -> tuple[int, int]:
    needs = _needs(item)
    folder = item.path.relative_to(ROOT / "tests").parts[0] if item.path.is_relative_to(ROOT / "tests") else ""
    alone = (QUICK, IMAGES, BARE, CLUSTERED).index(needs)
    return needs if SHARED else alone, ORDER.index(folder) if folder in ORDER else len(ORDER)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests and give those that boot machines a longer deadline."""
    _leave_open_ones(config, items)
    items.sort(key=_place)
    for item in items:
        for marker, seconds in DEADLINES_S.items():
            if item.get_closest_marker(marker) and not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(seconds))
        if (group := WORKER.get(_needs(item))) is not None:
            item.add_marker(pytest.mark.xdist_group(group))


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


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Say at once why a test failed: a run that is ended from outside never comes to its list of failures."""
    if report.failed and not SHARED:
        crash = getattr(report.longrepr, "reprcrash", None)
        why = crash.message if crash else report.longreprtext
        print(f"\nFAILED {report.nodeid} ({report.when}): {why[:FAILURE_CHARS]}", flush=True)


@pytest.fixture(scope="session", autouse=True)
def others_at_work() -> Iterator[Callable[[], None]]:
    """Held by each of several workers until it has nothing left to do; what is returned waits for all others."""
    if not SHARED:
        yield lambda: None
        return
    with BUSY.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)

        def wait_for_others() -> None:
            end_s = time.monotonic() + OTHERS_S
            while time.monotonic() < end_s:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                time.sleep(1)

        yield wait_for_others


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
def installed(request: pytest.FixtureRequest, others_at_work: Callable[[], None]) -> Iterator[str]:
    mine = os.environ.get("TRIVET_TEST_CLUSTER")
    if mine:
        yield mine
        return
    # Here, because the house rules copy this file to a place without it.
    from tests.lab.cluster import Cluster, key_of, trivet
    from tests.lab.good_state import await_saved_memory

    request.getfixturevalue("alone")
    others_at_work()
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
