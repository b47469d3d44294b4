"""``trivet gluster``."""

from __future__ import annotations

import io
import json

import pytest

from appliance.command import main
from appliance.effects.clock import FakeClock
from appliance.effects.process import Completed
from gluster import cli
from gluster.adapter import GlusterPool
from tests.gluster.recorded import Scripted


def run(processes: Scripted, *words: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    monkeypatch.setattr(cli, "_pool", lambda: GlusterPool(processes, FakeClock()))
    stdout, stderr = io.StringIO(), io.StringIO()
    return main(["gluster", *words], stdout, stderr), stdout.getvalue(), stderr.getvalue()


def test_status_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    status, text, _ = run(Scripted("brick-down"), "status", monkeypatch=monkeypatch)
    assert status == 0
    assert "engine   node3     /data/bricks/engine   no   ?             ?" in text
    assert text.strip().splitlines()[-1].startswith("safe to lose one node: no, because volume engine: brick node3:")


def test_status_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    status, text, _ = run(Scripted("healthy"), "status", "--json", monkeypatch=monkeypatch)
    answer = json.loads(text)
    assert status == 0
    assert set(answer) == {"safe_to_lose_one_node", "verdict", "peers", "volumes", "problems"}
    assert [brick["heal_pending"] for volume in answer["volumes"] for brick in volume["bricks"]] == [0] * 6
    assert answer["volumes"][0]["verdict"]["volume"] == "engine"


def test_status_of_a_bare_node(monkeypatch: pytest.MonkeyPatch) -> None:
    status, text, _ = run(Scripted("bare"), "status", monkeypatch=monkeypatch)
    assert status == 0
    assert text == "no peers\n\nno volumes\n\nsafe to lose one node: no, because there is no volume\n"


def test_status_without_glusterd_fails_with_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    down = Completed(("gluster",), 1, "", "Connection failed. Please check if gluster daemon is operational.\n")
    status, _, text = run(Scripted(answers={"gluster": down}), "status", monkeypatch=monkeypatch)
    assert status == 1
    assert "code: gluster.daemon-down" in text


def test_heal(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Scripted(answers={"gluster volume heal engine": Completed(("gluster",), 0, "ok", "")})
    assert run(processes, "heal", "engine", monkeypatch=monkeypatch)[0] == 0
    assert " ".join(processes.calls[-1][0]) == "gluster --mode=script volume heal engine"


def test_heal_of_an_unknown_volume_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    status, _, text = run(Scripted(), "heal", "nosuch", monkeypatch=monkeypatch)
    assert status == 2
    assert "code: gluster.volume-unknown" in text
