"""The real clock and its fake under one class: what holds for one holds for the other."""

from __future__ import annotations

import pytest

from appliance.effects.clock import Clock, FakeClock, SystemClock

YEAR_2020_S = 1_577_836_800.0


@pytest.fixture(params=[SystemClock, FakeClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    made: Clock = request.param()
    return made


class TestBothClocks:
    def test_sleeping_moves_both_readings_by_at_least_that_much(self, clock: Clock) -> None:
        monotonic_s, wall_s = clock.monotonic_s(), clock.wall_s()
        clock.sleep(0.02)
        assert 0.019 <= clock.monotonic_s() - monotonic_s < 5
        assert 0.019 <= clock.wall_s() - wall_s < 5

    def test_wall_time_is_seconds_since_1970(self, clock: Clock) -> None:
        assert clock.wall_s() > YEAR_2020_S

    def test_time_does_not_run_backwards(self, clock: Clock) -> None:
        with pytest.raises(ValueError, match="non-negative"):
            clock.sleep(-1)


def test_a_jump_of_the_wall_clock_leaves_deadlines_alone() -> None:
    clock = FakeClock()
    monotonic_s, wall_s = clock.monotonic_s(), clock.wall_s()
    clock.jump_wall(-86_400)
    assert clock.monotonic_s() == monotonic_s
    assert clock.wall_s() == wall_s - 86_400
