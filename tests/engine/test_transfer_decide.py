"""What becomes of an image transfer: decided from what is seen."""

from __future__ import annotations

import pytest

from engine.decide.transfer import FINISHED, MAY, Direction, Seen, TimeoutPolicy, judge, on_silence, room_of


@pytest.mark.parametrize(
    ("direction", "policy", "stop"),
    [("upload", "legacy", "pause"), ("download", "legacy", "cancel"), ("upload", "cancel", "cancel"),
     ("download", "pause", "pause")],
)  # fmt: skip
def test_silence_is_answered_as_the_policy_says(direction: Direction, policy: TimeoutPolicy, stop: str) -> None:
    assert on_silence(direction, policy) == stop
    assert judge(Seen(True, idle_s=60), direction, policy, 60).what == "go-on", "not a second too early"
    assert judge(Seen(True, idle_s=60.5), direction, policy, 60).what == stop


@pytest.mark.parametrize("policy", ["legacy", "pause", "cancel"])
@pytest.mark.parametrize(
    "seen", [Seen(False), Seen(True, is_known=False), Seen(True, is_served=False), Seen(False, idle_s=1e6)]
)
def test_what_breaks_is_paused_and_never_cancelled(seen: Seen, policy: TimeoutPolicy) -> None:
    for direction in ("upload", "download"):
        verdict = judge(seen, direction, policy, 60)  # type: ignore[arg-type]
        assert verdict.what == "pause" and verdict.reason


def test_what_has_ended_may_be_asked_nothing() -> None:
    assert not any(phase in phases for phase in FINISHED for phases in MAY.values())


def test_a_full_qcow2_has_room_for_its_tables() -> None:
    for size in (1024**2, 1024**3, 1024**4):
        clusters = -(-size // 65536)
        assert room_of(size) >= size + clusters * 8 + clusters * 2 + 4 * 65536
