from __future__ import annotations

import dataclasses

import pytest

from appliance.errors import Refused
from engine.decide import guest, slowdown
from engine.decide.data_disk import DiskFacts, after_fsck, decide
from engine.decide.epoch import judge
from engine.decide.follow import changes, host_status
from engine.decide.slowdown import Failures
from tests.engine.world import START


@pytest.mark.parametrize(
    ("disk", "action"),
    [
        (DiskFacts(4096, "", "", True), "format"),
        (DiskFacts(4096, "", "", False), "refuse"),
        (DiskFacts(4096, "ext4", "trivet-data", False), "mount"),
        (DiskFacts(4096, "ext4", "trivet-new", False), "continue-first-start"),
        (DiskFacts(4096, "ext4", "", False), "refuse"),
        (DiskFacts(4096, "ext3", "trivet-data", False), "refuse"),
        (DiskFacts(4096, "xfs", "trivet-data", False), "refuse"),
        (DiskFacts(4096, "dos", "", True), "refuse"),
    ],
)
def test_only_a_blank_disk_is_formatted(disk: DiskFacts, action: str) -> None:
    assert decide(disk).action == action


def test_a_damaged_disk_is_formatted_only_before_its_first_start_was_complete() -> None:
    assert after_fsck("mount", 0).action == after_fsck("mount", 1).action == "mount"
    assert after_fsck("mount", 4).action == after_fsck("mount", 8).action == "refuse"
    assert after_fsck("continue-first-start", 8).action == "format"
    assert after_fsck("continue-first-start", 1).action == "continue-first-start"


def test_epochs_only_grow() -> None:
    assert judge(1, "a", None).record
    assert judge(8, "b", (7, "a")).active
    again = judge(7, "a", (7, "a"))
    assert again.active and not again.record
    assert not judge(7, "b", (7, "a")).active
    assert not judge(6, "a", (7, "a")).active
    assert "not higher than 7" in judge(6, "a", (7, "a")).reason


def test_wrong_passwords_wait_longer_and_longer() -> None:
    failures, waits = None, []
    for now_s in range(10):
        failures = slowdown.failed(failures, float(now_s) / 100)
        waits.append(slowdown.delay_s(failures.count))
    assert waits == [0, 0, 1, 2, 4, 8, 16, 30, 30, 30]
    assert slowdown.wait_s(failures, 0.09) == 30
    assert slowdown.wait_s(None, 0.09) == 0
    assert slowdown.wait_s(failures, 31.0) == 0
    assert slowdown.wait_s(failures, -3600.0) == 30, "the clock was set back"


def test_old_failures_are_forgotten() -> None:
    failures = slowdown.failed(Failures(7, 0.0), slowdown.FORGET_AFTER_S + 1)
    assert failures.count == 1


def test_network_and_hosts_file() -> None:
    text = guest.network(START)
    assert "Address=198.18.0.100/24\nGateway=198.18.0.1\n" in text
    assert "DHCP=no" in text
    assert "Gateway" not in guest.network(dataclasses.replace(START, gateway=""))
    once = guest.hosts_file("127.0.0.1 localhost\n", START)
    assert once == guest.hosts_file(once, START)
    assert "127.0.0.1 localhost" in once
    assert "198.18.0.100 engine.trivet.lab engine\n198.18.0.11 node1\n" in once


@pytest.mark.parametrize(
    "change",
    [
        {"address": "198.18.0.100\nGateway=6.6.6.6"},
        {"epoch": 0},
        {"prefix": 0},
        {"fqdn": "a b"},
        {"hosts": (("node1", "here"),)},
        {"dns": ("x",)},
    ],
)
def test_start_data_that_would_break_files_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(Refused, match=r"trivet-start\.json"):
        guest.check(dataclasses.replace(START, **change))  # type: ignore[arg-type]


def test_hosts_change_state_after_silence_only() -> None:
    assert host_status(None, 1.0) == "initializing"
    assert host_status(None, 60.0) == "non_responsive"
    assert host_status(5.7, 60.0) == "up"  # a lost brick stalls answers this long
    assert host_status(10.0, 60.0) == "non_responsive"
    found = changes({"a": "up", "b": "non_responsive"}, {"a": "non_responsive", "b": "up", "c": "initializing"})
    assert [(one.host, one.status) for one in found] == [("a", "non_responsive"), ("b", "up")]
    assert found[1].sentence == "Host b is back."
