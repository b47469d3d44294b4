"""A forced start asked for on a terminal: typed confirmation, the broker's decision, and no request left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.effects.clock import FakeClock
from appliance.errors import Conflict, Refused, TrivetError, Unavailable
from appliance.model.ha import EngineHa, HaDecision, HaStatus
from ha_broker.force import command, confirm, force_start


class Answering:
    """A broker that takes the request at the second look and says ``sentence``; None: it never takes it."""

    def __init__(self, request: Path, sentence: str | None, state: str = "down") -> None:
        self.clock = FakeClock()
        self._request = request
        self._sentence = sentence
        self._state = state
        self._looks = 0

    def ask(self) -> tuple[HaStatus, TrivetError | None]:
        self._looks += 1
        said: tuple[HaDecision, ...] = (HaDecision(self.clock.wall_s() - 60, "node1", "the forced start is refused: old"),)
        if self._looks > 2 and self._sentence is not None:
            self._request.unlink(missing_ok=True)
            said += (HaDecision(self.clock.wall_s(), "node1", self._sentence),)
        return HaStatus(EngineHa(self._state, "node2", 3, ""), "none", (), said, 0.1), None  # type: ignore[arg-type]


def forced(tmp_path: Path, broker: Answering) -> str:
    return force_start(tmp_path / "forced", broker.ask, "node1", broker.clock)


def test_a_start(tmp_path: Path) -> None:
    sentence = "somebody confirmed a forced start: this host starts the engine VM"
    assert forced(tmp_path, Answering(tmp_path / "forced", sentence)) == sentence


def test_without_a_quorum_the_way_out_is_named(tmp_path: Path) -> None:
    text = (
        "the forced start is refused: own writes to the board are refused (EROFS): without a second brick no write is safe"
    )
    with pytest.raises(Conflict) as caught:
        forced(tmp_path, Answering(tmp_path / "forced", text))
    assert caught.value.code == "ha.forced-refused"
    assert "two bricks are enough" in caught.value.remedy


def test_an_engine_that_runs_is_not_started(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="answers on node2"):
        forced(tmp_path, Answering(tmp_path / "forced", None, state="up"))
    assert list(tmp_path.iterdir()) == []


def test_a_broker_that_does_not_decide(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        forced(tmp_path, Answering(tmp_path / "forced", None))
    assert caught.value.code == "ha.forced-deadline"
    assert list(tmp_path.iterdir()) == []


def test_the_confirmation(capsys: pytest.CaptureFixture[str]) -> None:
    confirm("office", lambda: "office\n")
    with pytest.raises(Refused) as caught:
        confirm("office", lambda: "yes\n")
    assert caught.value.code == "ha.not-confirmed"
    assert "runs on no other host" in capsys.readouterr().err


def test_force_has_to_be_said(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        command(False, tmp_path / "forced", tmp_path / "status", FakeClock())
    assert caught.value.code == "ha.start-needs-force"
