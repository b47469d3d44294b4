"""What ``trivet ha status`` prints, against golden files (TRIVET_GOLDEN=write writes them anew; read the diff)."""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.command import Output
from appliance.effects.clock import FakeClock
from appliance.model.ha import EngineHa, HaDecision, HaStatus
from ha_broker import words
from ha_broker.heard import Heard
from ha_broker.state import LocalVm, Notes, Observation, OwnStorage, Peer, Register, Score, Slot
from ha_broker.text import Screen, text
from ha_broker.watch import watch
from tests.ha_broker.statuses import FAILOVER, NOW_S, SILENT, TROUBLED, UP

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "ha"
CONSOLE = Screen(80, 24)

CASES = {
    "up": (UP, Screen()),
    "up-console": (UP, CONSOLE),
    "failover": (FAILOVER, Screen()),
    "failover-console": (FAILOVER, CONSOLE),
    "troubled-console": (TROUBLED, CONSOLE),
    "silent": (SILENT, Screen()),
    "nothing": (HaStatus(EngineHa("unknown", "", 0, ""), "none", (), (), 0.0), Screen()),
    "up-colours": (UP, Screen(80, 24, True)),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    status, screen = CASES[name]
    found = text(status, NOW_S, screen) + "\n"
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("TRIVET_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(found)
    assert found == file.read_text()


@pytest.mark.parametrize("status", [UP, FAILOVER, TROUBLED])
def test_three_nodes_fit_a_console(status: HaStatus) -> None:
    lines = text(status, NOW_S, CONSOLE).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_colours_change_no_word() -> None:
    plain, coloured = (text(TROUBLED, NOW_S, Screen(80, 24, colours)) for colours in (False, True))
    assert re.sub("\x1b\\[[0-9]*m", "", coloured) == plain != coloured


def test_a_small_screen_keeps_the_newest_decisions() -> None:
    found = text(UP, NOW_S, Screen(80, 5))
    assert found.endswith("  node1  the engine VM runs here with epoch 7 and its API answers")
    assert len(found.split("(UTC)\n")[1].splitlines()) == 3


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59.9, "59 s"), (61, "1 min"), (7860, "2 h 11 min"), (180000, "2 days")]
)
def test_spans(seconds: float, said: str) -> None:
    assert words.span(seconds) == said


@pytest.mark.parametrize("since", ["", "yesterday", "2027-01-15T05:48:30"])
def test_a_start_of_unknown_time_is_left_out(since: str) -> None:
    assert words.engine_words(replace(UP.engine, since=since), NOW_S) == "up on node1, epoch 7"


def test_a_wait_that_is_over_is_not_shown() -> None:
    assert words.waiting_words(replace(FAILOVER, broker_age_s=6.0), NOW_S) == ""
    assert words.waiting_words(replace(FAILOVER, broker_age_s=4.0), NOW_S) == "at most: node3 until 08:00:01 UTC (1 s)"


# --- watching


class Stopping(FakeClock):
    """Ctrl-C during the third wait."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.monotonic_s() >= 1003:
            raise KeyboardInterrupt


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError("no descriptor")


def test_watching_a_pipe_gives_blocks_and_ends_with_ctrl_c() -> None:
    stdout = io.StringIO()
    watch(lambda: ({}, "a\nb"), Output(False, stdout, io.StringIO()), Stopping())
    assert stdout.getvalue() == "a\nb\n\n" * 3 + "\n"


def test_watching_with_json_gives_a_document_a_line() -> None:
    stdout = io.StringIO()
    watch(lambda: ({"engine": "läuft"}, "-"), Output(True, stdout, io.StringIO()), Stopping())
    assert [json.loads(line) for line in stdout.getvalue().splitlines()] == [{"engine": "läuft"}] * 3


def test_watching_on_a_terminal_draws_in_place() -> None:
    stdout = Terminal()
    output = Output(False, stdout, io.StringIO())
    watch(lambda: ({}, "long line\nb"), output, Stopping())
    assert output.terminal() == (80, 24)
    screen = "long line\x1b[K\nb\x1b[K\x1b[J"
    assert stdout.getvalue() == f"\x1b[H\x1b[J{screen}" + f"\x1b[H{screen}" * 2 + "\n"


def test_a_reader_who_leaves_ends_it() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        watch(lambda: ({}, "x"), Output(False, Gone(), io.StringIO()), FakeClock())


# --- what other hosts decided


def board(decision: str, *, silent: bool = False) -> Observation:
    slot = Slot("node2", "boot", 1, 1000, decision=decision)
    peers = (Peer("node2", slot, True, silent, 0.5), Peer("node3", None, True, True, 99.0))
    return Observation(1.0, "node1", LocalVm("off"), OwnStorage(9.0, 1.0), peers, Score(1000), Register(), Notes())


def test_only_what_changes_is_heard() -> None:
    heard = Heard()
    assert heard.new(board("standing by"), 1.0) == ()
    assert heard.new(board("standing by"), 2.0) == ()
    assert heard.new(board("starting it"), 3.0) == (HaDecision(3.0, "node2", "starting it"),)
    assert heard.new(board("starting more", silent=True), 4.0) == ()
    assert heard.new(board("starting it"), 5.0) == ()
