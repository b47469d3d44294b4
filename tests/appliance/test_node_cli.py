"""`trivet node …` and `trivet agent …` as a person or a script runs them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from appliance import layout
from appliance.cli import COMMANDS, refuse_member
from appliance.command import main
from appliance.effects.clock import SystemClock
from appliance.errors import Conflict
from appliance.model.ha import EngineHa, HaStatus, HostHa
from appliance.verbs.ha_status import STATUS_FILE, write_status
from tests.appliance.agents import AgentProcess, Certificates, free_port, make_member, node_root


def run(*words: str) -> tuple[int, Any]:
    stdout = io.StringIO()
    status = main([*words, "--json"], stdout, io.StringIO())
    return status, json.loads(stdout.getvalue())


def test_a_bare_node(tmp_path: Path) -> None:
    root = node_root(tmp_path / "root")
    where = ("--root", str(root.path))
    assert run("node", "status", *where)[1]["member"] is False
    status, data = run("node", "token", *where)
    assert (status, data["error"]["code"]) == (2, "join.no-token")
    root.at(layout.STATE).mkdir(parents=True)
    root.at(layout.JOIN_TOKEN_FILE).write_text("secret.pin\n")
    assert run("node", "token", *where) == (0, {"token": "secret.pin"})
    status, data = run("agent", "call", "node1", "facts", *where)
    assert (status, data["error"]["code"]) == (2, "node.bare")


def test_facts_of_this_machine(tmp_path: Path) -> None:
    status, data = run("node", "facts", "--root", str(node_root(tmp_path / "root").path))
    assert status == 0
    assert data["memory_bytes"] > 0 and data["cpu"]["threads"] >= 1


def test_a_member_sees_itself_and_who_is_missing(tmp_path: Path) -> None:
    root = node_root(tmp_path / "root")
    make_member(root, Certificates(tmp_path / "pki"))
    worked_on = HostHa("node2", False, 0, (), "", False, 9.0, maintenance=True)
    write_status(
        root.at(STATUS_FILE), HaStatus(EngineHa("up", "node2", 7, ""), "none", (worked_on,), (), 0.0), SystemClock()
    )
    agent = AgentProcess(root)
    agent.start()
    where = ("--root", str(root.path), "--port", str(agent.port))
    try:
        status, data = run("node", "status", *where)
        assert status == 0
        assert [(one["name"], one["reachable"]) for one in data["agents"]] == [("node1", True), ("node2", False)]
        assert data["agents"][1]["reason"]
        assert [one["maintenance"] for one in data["agents"]] == [False, True]
        assert (data["engine"]["host"], data["engine"]["epoch"]) == ("node2", 7)
        assert [one["mounted"] for one in data["mounts"]] == [False, False]

        assert run("agent", "call", "node1", "raise_epoch", '{"epoch": 4}', *where) == (0, 4)
        status, data = run("agent", "call", "127.0.0.1", "/v1/epoch", "--epoch", "3", *where)
        assert (status, data["error"]["code"]) == (2, "engine.stale-epoch")
        status, data = run("agent", "call", "node1", "vm_dance", *where)
        assert (status, data["error"]["code"]) == (2, "agent.route-unknown")
        for wrong in ("{", "[]"):
            assert run("agent", "call", "node1", "facts", wrong, *where)[1]["error"]["code"] == "command.usage"
        assert run("agent", "call", "node1", "folder", "{}", *where)[1]["error"]["code"] == "agent.request"
        assert run("agent", "call", "node1", "folder", '{"path": "etc"}', *where)[1]["error"]["code"] == "folder.path"
        assert run("node", "token", "--root", str(root.path))[1]["error"]["code"] == "join.already-member"
    finally:
        agent.stop()
    away = ("--root", str(root.path), "--port", str(free_port()))
    status, data = run("agent", "call", "node1", "facts", *away)
    assert (status, data["error"]["code"]) == (1, "agent.unreachable")


def test_people_read_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = node_root(tmp_path / "root")
    make_member(root, Certificates(tmp_path / "pki"))
    main(["node", "status", "--root", str(root.path), "--port", str(free_port())])
    said = capsys.readouterr().out
    assert "node1 of cluster lab" in said and "engine: NOT mounted" in said and "unknown: it has not written" in said


def test_every_command_has_an_example_that_begins_like_it() -> None:
    for command in COMMANDS:
        assert command.example.startswith(f"trivet {' '.join(command.path)}")


@pytest.mark.parametrize(
    ("told", "force", "words"),
    [
        ({"node2": "", "node3": "agent.no-member"}, True, "node2 count it as a member"),
        ({"node2": "agent.unreachable"}, False, "no other member says that it is none any more"),
        ({}, False, "no other member says"),
    ],
)
def test_a_member_does_not_leave_behind_the_others_backs(told: dict[str, str], force: bool, words: str) -> None:
    with pytest.raises(Conflict, match=words):
        refuse_member("node4", told, force)


@pytest.mark.parametrize(("told", "force"), [({"node2": "agent.no-member"}, False), ({"node2": "agent.unreachable"}, True)])
def test_a_node_that_was_removed_may_leave(told: dict[str, str], force: bool) -> None:
    refuse_member("node4", told, force)
