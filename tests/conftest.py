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
OTHERS_S = 240.0
"""Whole appliances wait at most so long for what is run beside them; after that they boot beside what only computes, with a
64th of a share."""
FAILURE_CHARS = 1000
DEADLINES_S = {"lab": 1800, "images": 1500, "slow": 900}
"""The first test of each kind also builds the images, boots the nodes or runs all seeds: minutes."""


PHASES = ("quick", "long", "bare", "images", "cluster", "rest", "alone")
QUICK, LONG, BARE, IMAGES, CLUSTERED, AT_REST, ALONE = range(7)
"""What a test needs, in the order in which one process alone takes them."""
LABS = (BARE, CLUSTERED, AT_REST, ALONE)
"""Of three workers (``make test``) one plays with these, which mostly wait; at last what boots a whole appliance: beside a
cluster a node took 12 min instead of two, and those who made the cluster's saved memory got no CPU …"""
BESIDE = (QUICK, IMAGES, LONG)
"""… and the others take these: what has deadlines of its own while the bare labs leave most of the CPU, then one the images'
boots, the other what only computes."""
LONG_S = 600
"""Who asks for so much time has patience: it gets what CPU the machines leave, and :data:`PATIENCE` times as long."""
PATIENCE = 3
SHARED = "PYTEST_XDIST_WORKER" in os.environ
"""Whether this process is one of several."""
BACKGROUND = ("killed_install", "saved_memory")
"""Fixtures of what goes on beside other tests: who asks how it ended comes last of its phase."""
GIVEN_WAY = pytest.StashKey[Path | None]()


def _needs(item: pytest.Item) -> int:
    fixtures = getattr(item, "fixturenames", ())
    if "nothing_else" in fixtures:
        return ALONE
    if item.get_closest_marker("cluster") or "installed" in fixtures:
        return AT_REST if "at_rest" in fixtures else CLUSTERED
    if item.get_closest_marker("lab"):
        return BARE
    if item.get_closest_marker("images"):
        return IMAGES
    return LONG if item.get_closest_marker("slow") or _deadline_s(item) >= LONG_S else QUICK


def _deadline_s(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0.0


def _place(item: pytest.Item) -> tuple[int, bool, int]:
    needs = _needs(item)
    folder = item.path.relative_to(ROOT / "tests").parts[0] if item.path.is_relative_to(ROOT / "tests") else ""
    waits = any(name in BACKGROUND for name in getattr(item, "fixturenames", ()))
    turn = (*LABS, *BESIDE).index(needs) if SHARED else needs
    return turn, waits, ORDER.index(folder) if folder in ORDER else len(ORDER)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests and give those that boot machines a longer deadline."""
    _leave_measured_ones(config, items)
    items.sort(key=_place)
    for item in items:
        for marker, seconds in DEADLINES_S.items():
            if item.get_closest_marker(marker) and not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(seconds))
        if SHARED:
            _share(item)


def _share(item: pytest.Item) -> None:
    """Say which tests stay together, and give patience to those that wait for others' CPU."""
    needs = _needs(item)
    if needs == LONG:
        item.add_marker(pytest.mark.timeout(PATIENCE * _deadline_s(item)), append=False)
        return
    groups = {IMAGES: "images", QUICK: str(item.path.relative_to(ROOT))}  # quick: one world a file, in its order
    item.add_marker(pytest.mark.xdist_group(groups.get(needs, "labs")))


def _leave_measured_ones(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes minutes and is a measurement: named, counted as deselected, and run by ``make bench``, which sets
    ``TRIVET_MEASURED``."""
    if os.environ.get("TRIVET_MEASURED"):
        return
    measured = [item for item in items if item.get_closest_marker("measured")]
    items[:] = [item for item in items if not item.get_closest_marker("measured")]
    config.hook.pytest_deselected(items=measured)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Where CI is set, a test that did not run is a failure: a skipped test proves nothing and hides a broken machine."""
    if os.environ.get("CI") and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"This test did not run ({why}). With CI set all have to: make the machine able to, or delete it."


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip of a test into a failure in CI, and write down of which phase it was."""
    report = yield
    _refuse_skip(report)
    report.phase = PHASES[_needs(item)]  # type: ignore[attr-defined] # pytest-xdist takes it along
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
    reports = [one for some in terminalreporter.stats.values() for one in some if isinstance(one, pytest.TestReport)]
    spent_s: Counter[str] = Counter()
    for report in reports:
        spent_s[report.location[0]] += round(report.duration)
    terminalreporter.section("minutes by file")
    for file, seconds in spent_s.most_common(SLOWEST_SHOWN):
        terminalreporter.line(f"{seconds / 60:6.1f}  {file}")
    for line in _phases(reports):
        terminalreporter.line(line)


def _phases(reports: list[pytest.TestReport]) -> list[str]:
    """What each worker did when, in minutes since the first test: the next slow run explains itself."""
    spans: dict[str, dict[str, list[float]]] = {}
    for report in sorted(reports, key=lambda one: one.start):
        worker = spans.setdefault(getattr(report, "worker_id", "alone"), {})
        span = worker.setdefault(getattr(report, "phase", ""), [report.start, report.stop])
        span[1] = max(span[1], report.stop)
    begun_s = min((report.start for report in reports), default=0.0)
    return [
        f"  {worker}: "
        + ", ".join(f"{phase} {(a - begun_s) / 60:.1f} to {(b - begun_s) / 60:.1f} min" for phase, (a, b) in phases.items())
        for worker, phases in sorted(spans.items())
    ]


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Say at once why a test failed: a run that is ended from outside never comes to its list of failures."""
    if report.failed and not SHARED:
        crash = getattr(report.longrepr, "reprcrash", None)
        why = crash.message if crash else report.longreprtext
        print(f"\nFAILED {report.nodeid} ({report.when}): {why[:FAILURE_CHARS]}", flush=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The worker that computes gives way from its first long test on."""
    config = item.config
    if _needs(item) == LONG and hasattr(config, "workerinput") and GIVEN_WAY not in config.stash:
        # Here, because the house rules copy this file to a place without it.
        from tests.share import give_back, give_way

        group = config.stash[GIVEN_WAY] = give_way()
        config.add_cleanup(lambda: give_back(group))


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
def saved_memory(installed: str) -> None:
    """Who takes a host or a link away waits until every node has made the memory that its engine VM is woken from: minutes
    that all others use."""
    from tests.lab.cluster import Cluster
    from tests.lab.good_state import await_saved_memory

    await_saved_memory(Cluster(installed))


@pytest.fixture(scope="session")
def at_rest(saved_memory: None) -> None:
    """The bars of what asks for this are seconds of the cluster: seen when nothing but what gives way (:mod:`tests.share`)
    is at work on this machine. Measured by ``make bench``, beside nothing."""


@pytest.fixture(scope="session")
def nothing_else(alone: None, others_at_work: Callable[[], None]) -> None:
    """Nobody else is at work, and the tests' own cluster is not up any more."""
    from tests.lab.cluster import trivet

    others_at_work()
    trivet("stop", "--name", CLUSTER, timeout_s=DOWN_S)


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
    from tests.lab.good_state import make_in_turn

    request.getfixturevalue("alone")
    trivet("stop", "--name", CLUSTER, timeout_s=DOWN_S)
    trivet("lab", "up", "--name", CLUSTER, "--nodes", "3", "--port", CLUSTER_PORT, timeout_s=UP_S)
    trivet("run", "--name", CLUSTER, "--ssh-key", f"{key_of(CLUSTER)}.pub", timeout_s=RUN_S)
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(make_in_turn, Cluster(CLUSTER))
        yield CLUSTER
        trivet("stop", "--name", CLUSTER, timeout_s=DOWN_S)  # which ends the makers, too
        making.result()


@pytest.fixture(scope="session")
def killed_install(alone: None) -> Iterator[Future[None]]:
    """The installation that is killed after every step: minutes in which it mostly waits, so it goes on beside others."""
    from tests.lab.test_unattended import install_and_kill

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(install_and_kill)


def begin(name: str, request: pytest.FixtureRequest) -> None:
    """Begin what goes on in the background, if a test of this run asks how it ended."""
    if any(name in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue(name)
