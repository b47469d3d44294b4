"""A fault that lasts for a while ends also when its command is broken off, wherever that happens."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from appliance.errors import Refused
from image.lab.disturb import last

REFUSED = Refused("lab.node-unknown", subject="node9", reason="there is none", remedy="Name another.")


class Broken:
    """A clock whose wait ends with ``error``."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.slept_s: list[float] = []

    def wall_s(self) -> float:
        return 0.0

    def monotonic_s(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        if self.error:
            raise self.error


def told(error: BaseException | None, log: list[str]) -> Callable[[], None]:
    def begin() -> None:
        log.append("begun")
        if error:
            raise error

    return begin


@pytest.mark.parametrize(
    ("in_begin", "in_wait", "seen"),
    [
        (None, None, ["begun", "ended"]),
        (KeyboardInterrupt(), None, ["begun", "ended"]),
        (None, KeyboardInterrupt(), ["begun", "ended"]),
        (REFUSED, None, ["begun"]),
    ],
    ids=["undisturbed", "broken off at the fault", "broken off in the wait", "refused"],
)
def test_what_was_begun_is_ended(in_begin: BaseException | None, in_wait: BaseException | None, seen: list[str]) -> None:
    log: list[str] = []
    error = in_begin or in_wait
    try:
        last(Broken(in_wait), 5.0, told(in_begin, log), lambda: log.append("ended"))
    except BaseException as raised:  # noqa: BLE001 - what was raised is what is looked at
        assert raised is error
    else:
        assert error is None
    assert log == seen


def test_without_a_duration_it_lasts_and_a_wrong_one_changes_nothing() -> None:
    log: list[str] = []
    last(Broken(), None, told(None, log), lambda: log.append("ended"))
    assert log == ["begun"]
    with pytest.raises(Refused):
        last(Broken(), -1.0, told(None, log), lambda: log.append("ended"))
    assert log == ["begun"]
