"""``kill -9`` anywhere, then the same command again: the same end. Killed are real processes, by a real SIGKILL."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.effects.clock import FakeClock
from appliance.journal import Journal, Progress
from installer import answers
from installer.fake import FakeAgents, FakeInstallingNode
from installer.fake_servers import FakeServers
from installer.install import execute, prepare
from tests.installer.test_answers import GOOD

ANSWERS = GOOD.replace("node3.example.org", "198.18.0.13")
for token in ("ABCDEFGHIJKLMNOP.0123456789abcdef", "QRSTUVWXYZ234567.0123456789abcdef"):
    ANSWERS = ANSWERS.replace(token, "ABCDEFGHIJKLMNOP")

Kill = Callable[[str], None]
SURVIVED = 0


def never(_where: str) -> None:
    """Do not kill."""


def rack(folder: Path) -> None:
    servers = FakeServers(folder / "world.json", FakeClock())
    for number in (1, 2, 3):
        servers.add(f"node{number}", f"198.18.0.1{number}")


def install(folder: Path, after_call: Kill = never, after_step: Kill = never) -> None:
    clock = FakeClock()
    servers = FakeServers(folder / "world.json", clock, after_call)
    installing = FakeInstallingNode(servers, folder / "state", "node1")
    agents = FakeAgents(servers)
    prepared = prepare(answers.parse(ANSWERS, "answers.toml"), installing, lambda _cluster: agents, clock)

    def observer(progress: Progress) -> None:
        if progress.event != "begun":
            after_step(progress.step)

    journal = Journal(folder / "journal.jsonl", clock)
    done = execute(prepared, installing, agents, clock, journal, observer, lambda _line: None)
    assert done.engine_state == "up"


def in_a_process(work: Callable[[], None]) -> int:
    """Run ``work`` in a child; 0 when it ended well, minus the signal when it was killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child must never return into pytest
            import traceback

            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(number: int) -> Kill:
    """SIGKILL to oneself at the ``number``-th time."""
    count = 0

    def kill(_where: str) -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return kill


def end_of(folder: Path) -> tuple[dict[str, Any], set[str]]:
    """The world, and which secrets and files the installing node keeps."""
    files = {str(path.relative_to(folder)) for path in (folder / "state").rglob("*") if not path.name.startswith(".")}
    return FakeServers(folder / "world.json", FakeClock()).seen(), files


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], set[str]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    rack(folder)
    assert in_a_process(lambda: install(folder)) == SURVIVED
    return folder, *end_of(folder)


def test_undisturbed_end_is_a_cluster(undisturbed: tuple[Path, dict[str, Any], set[str]]) -> None:
    folder, world, files = undisturbed
    assert {node["units"]["trivet-ha.service"] for node in world["nodes"].values()} == {"active"}
    assert {volume["status"] for volume in world["volumes"].values()} == {"Started"}
    assert set(world["files"]["engine"]) == {
        "board",
        "engine-vm",
        "engine-vm/identity.json",
        "engine-vm/data.raw",
        "engine-vm/seed.iso",
    }
    assert {"state/pki/ca.key", "state/admin-password", "state/install/answers.toml"} <= files
    for secret in ("state/pki/ca.key", "state/admin-password", "state/install/cluster.json"):
        assert (folder / secret).stat().st_mode & 0o077 == 0


def test_again_changes_nothing(undisturbed: tuple[Path, dict[str, Any], set[str]]) -> None:
    folder, world, files = undisturbed
    before = (folder / "state/admin-password").read_text()
    assert in_a_process(lambda: install(folder)) == SURVIVED
    assert end_of(folder) == (world, files)
    assert (folder / "state/admin-password").read_text() == before


@pytest.mark.timeout(600)
@pytest.mark.parametrize("where", [pytest.param("call", marks=pytest.mark.slow), "step"])
def test_killed_once_at_every_place(where: str, undisturbed: tuple[Path, dict[str, Any], set[str]], tmp_path: Path) -> None:
    """A new installation for every place: killed there, then run again."""
    _, world, files = undisturbed
    number = 0
    while True:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        rack(folder)
        ended = in_a_process(lambda folder=folder, number=number: install(folder, **{f"after_{where}": kill_at(number)}))
        if ended == SURVIVED:
            break
        assert ended == -signal.SIGKILL
        assert in_a_process(lambda folder=folder: install(folder)) == SURVIVED, f"killed at {where} {number}"
        assert end_of(folder) == (world, files), f"killed at {where} {number}"
    assert number > 30


def test_killed_again_and_again(undisturbed: tuple[Path, dict[str, Any], set[str]], tmp_path: Path) -> None:
    """One installation, killed after every seventh call for as long as it takes: it gets on all the same."""
    _, world, files = undisturbed
    rack(tmp_path)
    kills = 0
    while in_a_process(lambda: install(tmp_path, after_call=kill_at(7))) != SURVIVED:
        kills += 1
        assert kills < 40
    assert kills > 5
    assert end_of(tmp_path) == (world, files)
