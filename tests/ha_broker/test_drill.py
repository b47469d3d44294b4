"""The drill: when it is refused, what it does, what it measures and what it says."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from appliance.command import Output, confirmed
from appliance.effects.clock import FakeClock
from appliance.errors import Conflict, Refused, TrivetError, Unavailable
from appliance.model.ha import HaDecision, HaStatus
from gluster.model import Brick, Peer, PoolStatus, Volume
from ha_broker.drill import commands
from ha_broker.drill.drill import DEADLINE_S, kill, watch
from ha_broker.drill.measure import Report, report_text, since
from ha_broker.drill.permit import hindrances
from tests.ha_broker.statuses import FAILOVER, NOW_S, TROUBLED, UP

NAMES = ("node1", "node2", "node3")
FQDN = "engine.trivet.lab"


def brick(name: str, **other: object) -> Brick:
    return replace(Brick(name, "/data/engine", True, 1, heal_pending=0, split_brain=0), **other)  # type: ignore[arg-type]


def pool(*bricks: Brick) -> PoolStatus:
    volume = Volume(
        "id", "engine", "Replicate", "Started", 3, bricks or tuple(map(brick, NAMES)), {"cluster.quorum-type": "auto"}
    )
    return PoolStatus(tuple(Peer(name, name, (name,), True, "Peer in Cluster") for name in NAMES), (volume,))


# --- when


def test_a_whole_cluster_may_be_drilled() -> None:
    assert hindrances(UP, pool()) == ()


@pytest.mark.parametrize(
    ("status", "pool_seen", "said"),
    [
        (FAILOVER, pool(), "the engine is down"),
        (FAILOVER, pool(), "node1 is silent"),
        (TROUBLED, pool(), "global maintenance is on"),
        (TROUBLED, pool(), "node3 is in local maintenance"),
        (TROUBLED, pool(), "no other host is able"),
        (TROUBLED, pool(), "the disk is open on 2 of 3 bricks only"),
        (replace(UP, fence=replace(UP.fence, bricks=0)), pool(), "it is not known on how many bricks"),
        (UP, None, "it is not known whether the pool is healed: glusterd is down"),
        (UP, pool(brick("node1"), brick("node2"), brick("node3", heal_pending=4)), "safe to lose one node: no"),
        (UP, pool(brick("node1"), brick("node2"), brick("node3", online=False)), "safe to lose one node: no"),
    ],
)
def test_anything_less_is_refused_with_the_reason(status: HaStatus, pool_seen: PoolStatus | None, said: str) -> None:
    assert any(said in sentence for sentence in hindrances(status, pool_seen, "glusterd is down"))


# --- what it does


class Arena:
    """A :class:`ha_broker.drill.ports.Field`: the engine VM ends, and comes back by a script of (second, what)."""

    def __init__(self, clock: FakeClock, back_after_s: float = 5.0, status: HaStatus = UP) -> None:
        self.clock = clock
        self.back_after_s = back_after_s
        self.seen = status
        self.pool_error: TrivetError | None = None
        self.ended: list[str] = []
        self.kept: dict[str, str] = {}
        self.ended_s = 1e18
        self.ended_wall_s = 0.0

    def status(self) -> HaStatus:
        return self.seen

    def pool(self) -> PoolStatus:
        if self.pool_error:
            raise self.pool_error
        return pool()

    def end_engine_vm(self, host: str) -> None:
        self.ended.append(host)
        self.ended_s, self.ended_wall_s = self.clock.monotonic_s(), self.clock.wall_s()

    def decisions(self) -> Sequence[HaDecision]:
        gone_s = self.clock.monotonic_s() - self.ended_s
        said = [
            (0.4, HaDecision(self.ended_wall_s + 0.4, "node1", "QEMU here has gone: restarting it in place", "start")),
            (0.9, HaDecision(self.ended_wall_s + 0.9, "node2", "node1 is starting the engine VM: standing by")),
            (1.2, HaDecision(self.ended_wall_s + 1.2, "node2", "node1 is starting the engine VM: standing by", "none")),
        ]
        return [*UP.decisions, *(one for after_s, one in said if gone_s >= after_s)]

    def epoch_up(self) -> int | None:
        if self.clock.monotonic_s() < self.ended_s + 0.3:
            return 7  # the old one was still heard
        return 8 if self.clock.monotonic_s() >= self.ended_s + self.back_after_s else None

    def host_of_engine(self) -> str:
        return "node1"

    def keep(self, name: str, text: str) -> str:
        self.kept[name] = text
        return f"/somewhere/{name}"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall_s=NOW_S)


def test_it_ends_the_engine_vm_where_it_is_and_measures(clock: FakeClock) -> None:
    arena = Arena(clock)
    said: list[str] = []
    report = kill(arena, clock, lambda _, text: said.append(text))
    assert arena.ended == ["node1"]
    assert (report.detection_s, report.start_s) == (0.4, 0.4)
    assert report.answers_s == pytest.approx(5.0, abs=0.25)
    assert (report.host, report.epoch, report.new_host, report.new_epoch) == ("node1", 7, "node1", 8)
    assert [one.host for one in report.decisions] == ["node1", "node2"]
    assert said[-1] == "node1 is starting the engine VM: standing by"


def test_an_engine_that_stays_away_is_a_failure_with_all_that_was_seen(clock: FakeClock) -> None:
    arena = Arena(clock, back_after_s=1e9)
    report = kill(arena, clock, lambda _a, _b: None)
    assert not report.passed
    assert clock.monotonic_s() == pytest.approx(1000 + DEADLINE_S, abs=1)
    assert report.start_s == 0.4 and report.answers_s is None
    assert "FAILED: the engine does not answer" in report_text(report)


def test_a_cut_of_power_is_measured_from_its_own_time(clock: FakeClock) -> None:
    arena = Arena(clock)
    arena.end_engine_vm("node1")
    begun = Report("power of its host cut", "node1", 7, clock.wall_s())
    clock.sleep(3)
    report = watch(arena, clock, begun, clock.monotonic_s() - 3, lambda _a, _b: None)
    assert report.answers_s == pytest.approx(5.0, abs=0.25)
    assert report.start_s == 0.4


def test_nothing_is_ended_where_it_is_refused(clock: FakeClock) -> None:
    arena = Arena(clock, status=TROUBLED)
    with pytest.raises(Conflict) as caught:
        kill(arena, clock, lambda _a, _b: None)
    assert caught.value.code == "ha.drill-refused"
    assert arena.ended == []
    arena = Arena(clock)
    arena.pool_error = Unavailable("gluster.daemon-down", subject="glusterd", reason="it is down", remedy="Start it.")
    with pytest.raises(Conflict, match="it is down"):
        kill(arena, clock, lambda _a, _b: None)


def test_decisions_are_told_once_and_by_who_made_them() -> None:
    heard = HaDecision(12.0, "node1", "starting")
    made = HaDecision(11.0, "node1", "starting", "start")
    assert since([heard, made, HaDecision(9.0, "node1", "before", "none")], 10.0) == (made,)


# --- the command


def spoken(call: object) -> tuple[int | None, str]:
    stdout = io.StringIO()
    assert callable(call)
    return call(Output(False, stdout, io.StringIO())), stdout.getvalue()


def test_the_report_for_people(clock: FakeClock) -> None:
    arena = Arena(clock)
    status, text = spoken(lambda output: commands.drill(arena, clock, FQDN, FQDN, output))
    assert status is None
    assert "drill: engine VM destroyed on node1 (epoch 7)" in text
    assert "start begins             0.40 s  node1" in text
    assert "on node1, epoch 8" in text
    assert "   0.40 s  node1  QEMU here has gone: restarting it in place" in text
    assert "passed: the engine came back" in text
    (name,) = arena.kept
    assert name == "drill-20270115T080000Z.txt"
    assert f"kept as /somewhere/{name}" in text


def test_the_report_for_programs(clock: FakeClock) -> None:
    stdout = io.StringIO()
    commands.drill(Arena(clock), clock, FQDN, FQDN, Output(True, stdout, io.StringIO()))
    data = json.loads(stdout.getvalue())
    assert (data["passed"], data["new_epoch"], data["start_s"]) == (True, 8, 0.4)
    assert data["text"].startswith("drill: ")


@pytest.mark.parametrize("given", ["", "yes", "engine.trivet.lab.", "ENGINE.trivet.lab"])
def test_without_the_typed_name_nothing_happens(clock: FakeClock, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    arena = Arena(clock)
    with pytest.raises(Refused) as caught:
        spoken(lambda output: commands.drill(arena, clock, FQDN, given, output))
    assert caught.value.code == "command.not-confirmed"
    assert arena.ended == []


def test_a_name_typed_on_the_terminal_is_taken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(f"{FQDN}\n"))
    confirmed(FQDN, "", "It will be killed.")
    assert f"Type {FQDN} to go on" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", Terminal("\n"))
    with pytest.raises(Refused, match="It will be killed"):
        confirmed(FQDN, "", "It will be killed.")


def test_the_check_does_nothing(clock: FakeClock) -> None:
    arena = Arena(clock)
    assert "a drill may begin: the engine is up on node1" in spoken(lambda output: commands.check(arena, output))[1]
    assert arena.ended == [] and arena.kept == {}


def test_power_is_cut_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(Refused) as caught:
        commands.command(argparse.Namespace(power=True), Output(False, io.StringIO(), io.StringIO()))
    assert caught.value.code == "ha.drill-power"
    assert "trivet lab drill" in caught.value.remedy
