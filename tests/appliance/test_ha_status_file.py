"""The broker's status file as others read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.codec import encode
from appliance.effects.clock import FakeClock
from appliance.errors import Failed, Unavailable
from appliance.model.ha import EngineHa, HaStatus
from appliance.verbs.ha_status import read_status, write_status

STATUS = HaStatus(EngineHa("up", "node1", 7, ""), "none", (), (), 0.0)


def test_ha_status_ages(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "trivet" / "ha-status.json"
    with pytest.raises(Unavailable):
        read_status(path, clock)
    write_status(path, STATUS, clock)
    clock.sleep(4)
    clock.jump_wall(3600)
    found = read_status(path, clock)
    assert found.broker_age_s == 4.0 and found.engine.epoch == 7
    for text in ("", "[]", "{}", json.dumps(encode(STATUS)), json.dumps({**encode(STATUS), "written_monotonic_s": "x"})):
        path.write_text(text)
        with pytest.raises(Failed) as caught:
            read_status(path, clock)
        assert caught.value.code == "ha.status-damaged"
