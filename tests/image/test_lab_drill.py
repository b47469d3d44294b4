"""The drill with power: asks in a node, cuts here, lets a survivor measure."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any, cast

import pytest

from appliance.command import Output
from appliance.effects.clock import FakeClock
from appliance.effects.process import Completed
from appliance.errors import Conflict, Failed, Refused, Unavailable
from image.lab.drill import drill
from image.lab.operations import Lab, NodeStatus

PERMIT = {"permitted": True, "engine": {"state": "up", "host": "node1", "epoch": 7, "since": ""}}
REPORT = {"passed": True, "text": "drill: power of its host cut", "new_epoch": 8}
REFUSAL = {
    "error": {"code": "ha.drill-refused", "object": "a drill", "reason": "node3 is silent", "remedy": "Wait.", "facts": {}}
}


class FakeLab:
    """Three nodes that answer what they are told to."""

    name = "showroom"

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.off: list[str] = []
        self.powers = {"node1": "on", "node2": "on", "node3": "on"}

    def status(self) -> tuple[NodeStatus, ...]:
        return tuple(NodeStatus(name, power, "", "up", 1) for name, power in self.powers.items())  # type: ignore[arg-type]

    def exec(self, name: str, argv: Sequence[str], *, timeout_s: float, stdin: str | None = None) -> Completed:
        self.asked.append((name, tuple(argv[3:])))
        assert tuple(argv[:3]) == ("trivet", "ha", "drill")
        status, data = self.answers.pop(0)
        return Completed(tuple(argv), status, data if isinstance(data, str) else json.dumps(data), "it said so")

    def power(self, name: str, wanted: str, _say: object) -> None:
        assert wanted == "off"
        self.off.append(name)


def run(lab: FakeLab, given: str = "showroom") -> tuple[int | None, str]:
    stdout = io.StringIO()
    clock = FakeClock(wall_s=1_800_000_000.25)
    status = drill(cast(Lab, lab), clock, given, Output(False, stdout, io.StringIO()), lambda _a, _b: None)
    return status, stdout.getvalue()


def test_the_host_of_the_engine_loses_power_and_another_measures() -> None:
    lab = FakeLab((0, PERMIT), (0, REPORT))
    status, text = run(lab)
    assert (status, lab.off) == (None, ["node1"])
    assert lab.asked[0] == ("node1", ("--json", "--check"))
    measured_by, words = lab.asked[1]
    assert measured_by == "node2"
    assert words == ("--json", "--power-cut-at", "1800000000.250", "--above-epoch", "7", "--host", "node1")
    assert "drill: power of its host cut" in text and "trivet lab power node1 on --name showroom" in text


def test_an_engine_that_stayed_away_is_a_failure() -> None:
    assert run(FakeLab((0, PERMIT), (1, {**REPORT, "passed": False})))[0] == 1


def test_a_refusal_of_the_cluster_cuts_nothing() -> None:
    lab = FakeLab((2, REFUSAL))
    with pytest.raises(Conflict, match="node3 is silent") as caught:
        run(lab)
    assert (caught.value.code, caught.value.exit_code, lab.off) == ("ha.drill-refused", 2, [])


def test_without_the_labs_name_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    lab = FakeLab((0, PERMIT))
    with pytest.raises(Refused, match="showroom"):
        run(lab, given="")
    assert lab.off == []


@pytest.mark.parametrize("answer", ["", "Traceback", "[]", {"permitted": True}, {"engine": {"host": 3}}])
def test_nonsense_from_a_node_cuts_nothing(answer: object) -> None:
    lab = FakeLab((0, answer))
    with pytest.raises((Failed, Refused)):
        run(lab)
    assert lab.off == []


def test_a_lab_without_power_says_so() -> None:
    lab = FakeLab()
    lab.powers = dict.fromkeys(lab.powers, "off")
    with pytest.raises(Unavailable, match="no node of it is on"):
        run(lab)
