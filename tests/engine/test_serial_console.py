"""What is asked for at the console port, whether it can be had, and what comes after a line has ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.errors import Refused
from engine.decide.serial_console import MOVE_S, Next, Seen, Wanted, after, listed, refusal, wanted
from engine.decide.vm_machine import machine

UP = Seen("vm-1", "web1", "up", "node1", has_console=True)


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("", Wanted("menu")),
        ("  ", Wanted("menu")),
        ("list", Wanted("list")),
        ("connect --vm-id 1234", Wanted("connect", "id", "1234")),
        ("connect --vm-id=1234", Wanted("connect", "id", "1234")),
        ("connect --vm-name 'my web'", Wanted("connect", "name", "my web")),
    ],
)
def test_words_are_ovirts(command: str, found: Wanted) -> None:
    assert wanted(command) == found


@pytest.mark.parametrize(
    "command", ["sh", "connect", "connect --vm-id", "connect --host x", "connect --vm-id=", "list all", "'"]
)
def test_other_words_are_told_what_there_is(command: str) -> None:
    with pytest.raises(Refused, match="connect --vm-id ID") as caught:
        wanted(command)
    assert caught.value.code == "console.usage"


def test_why_a_console_cannot_be_had() -> None:
    assert refusal(UP) is None
    for vm, words in (
        (replace(UP, has_console=False), "no serial console"),
        (replace(UP, status="down"), "it is down"),
        (replace(UP, status=""), "it is down"),
        (replace(UP, status="wait_for_launch"), "it is wait for launch"),
        (replace(UP, host=""), "nobody knows"),
        (replace(UP, is_ours=True), "the engine's own"),
    ):
        error = refusal(vm)
        assert error is not None and words in error.reason and error.remedy


def test_after_a_line_has_ended() -> None:
    assert after(UP, 0.0) == Next("attach")
    assert after(replace(UP, status="migrating", host=""), 1.0) == Next("wait")
    assert after(replace(UP, status="unknown"), 1.0) == Next("wait")
    assert after(replace(UP, status="down"), 0.0) == Next("end", "it is down")
    assert after(replace(UP, status="suspended"), 0.0) == Next("end", "it is suspended")
    assert after(None, 0.0).what == "end"
    assert after(UP, MOVE_S + 1, "its host is silent") == Next("end", "its host is silent")
    assert after(replace(UP, status="unknown"), MOVE_S + 1).what == "end"


def test_the_menu_has_a_number_for_each() -> None:
    assert listed([UP, replace(UP, id="vm-2", name="longer")]) == " 0  web1    vm-1\n 1  longer  vm-2\n"
    assert "No VM" in listed([])


def test_a_machine_has_a_console_only_where_it_was_asked_for() -> None:
    assert machine("vm-1", {"memory": 1 << 30}, {}, (), ()).console is None
    console = machine("vm-1", {"memory": 1 << 30, "console": {"enabled": True}}, {}, (), ()).console
    assert console is not None and console.log == "/var/log/libvirt/consoles/vm-1.log"
