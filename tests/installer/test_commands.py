"""What the commands say: plans, results, refusals, and how `trivet run` understands `trivet install`."""

from __future__ import annotations

import io
import json
import socket
from pathlib import Path

import pytest

from appliance.command import Output, main
from appliance.errors import EXIT_REFUSED
from appliance.journal import Progress
from installer import answers, cli, showroom_cli
from installer.fake import FakeAgents, FakeInstallingNode
from installer.fake_servers import FakeServers
from installer.install import Installed, Prepared, prepare
from installer.showroom import Spoken
from tests.installer.test_crash import ANSWERS, rack


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    from appliance.effects.clock import FakeClock

    rack(tmp_path)
    servers = FakeServers(tmp_path / "world.json", FakeClock())
    installing = FakeInstallingNode(servers, tmp_path / "state", "node1")
    agents = FakeAgents(servers)
    return prepare(answers.parse(ANSWERS, "answers.toml"), installing, lambda _cluster: agents, servers.clock)


def test_the_plan_as_table_and_as_data(prepared: Prepared) -> None:
    text = cli.explained_text(prepared)
    assert "Make the cluster's certificate authority" in text
    assert "Nothing was changed." in text
    data = cli.explained(prepared)
    assert json.loads(json.dumps(data)) == data
    assert data["cluster"] == "rack1"


def test_a_token_without_fingerprint_shows_what_was_trusted(prepared: Prepared) -> None:
    said = io.StringIO()
    cli.tell_fingerprints(prepared, Output(False, io.StringIO(), said))
    assert said.getvalue().count("shows the fingerprint 0000000000000000") == 3


def test_progress_says_what_happens() -> None:
    said = io.StringIO()
    cli.tell(Progress("join.node1", "Join node1", "begun", 12.0, 3.4), Output(False, io.StringIO(), said))
    assert said.getvalue() == "[ 12 %]    3.4 s  Join node1: …\n"


def test_the_result_names_the_password_file_and_never_a_password() -> None:
    installed = Installed("rack1", "https://e/", "admin@internal", "/var/lib/p", "/var/lib/ca", "up", "node1", 1, ("node1",))
    text = cli.installed_text(installed)
    assert "the engine runs on node1 (epoch 1)" in text
    assert "in the file /var/lib/p" in text


def run(*words: str) -> tuple[int, dict[str, object]]:
    stdout = io.StringIO()
    status = main([*words, "--json"], stdout=stdout, stderr=io.StringIO())
    return status, json.loads(stdout.getvalue())["error"]


def test_answers_that_are_not_there() -> None:
    status, error = run("install", "--answers", "/no/such/file")
    assert (status, error["code"]) == (EXIT_REFUSED, "answers.missing")


def test_install_without_answers_option() -> None:
    status, error = run("install")
    assert (status, error["code"]) == (EXIT_REFUSED, "command.usage")


def test_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for words in (("install", "--answers", "x"), ("run",), ("stop",), ("status",)):
        status, error = run(*words)
        assert (status, error["code"]) == (EXIT_REFUSED, "command.not-root"), words


def test_status_of_a_lab_that_is_not_up() -> None:
    status, error = run("status", "--name", "nobodyslab")
    assert (status, error["code"]) == (EXIT_REFUSED, "lab.not-up")


def test_stop_of_a_lab_that_is_not_up_leaves_nothing() -> None:
    stdout = io.StringIO()
    assert main(["stop", "--name", "nobodyslab", "--json"], stdout=stdout, stderr=io.StringIO()) == 0
    assert json.loads(stdout.getvalue()) == {"name": "nobodyslab", "left": []}


def test_a_port_that_is_taken_is_refused_before_anything_is_built() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        status, error = run("run", "--name", "nobodyslab", "--port", port)
    assert (status, error["code"]) == (EXIT_REFUSED, "lab.port-taken")
    assert port in str(error["reason"])


def test_how_run_understands_install() -> None:
    heard: list[object] = []
    spoken = Spoken(lambda percent, text: heard.append((percent, text)), heard.append)
    output = Output(True, io.StringIO(), io.StringIO())
    assert output.as_json
    for line in (
        '{"percent": 12.5, "elapsed_s": 1.0, "text": "Join node1: done"}',
        '{"log": "node1 answers"}',
        "{",
        ' "error": {"code": "install.preflight", "object": "cluster x", "reason": "2 things", "remedy": "Do them."}',
        "}",
    ):
        spoken.line(line)
    assert heard == [(12.5, "Join node1: done"), "node1 answers"]
    error = spoken.error(2)
    assert error is not None
    assert error.exit_code == EXIT_REFUSED
    assert (error.code, error.subject, error.reason) == ("install.preflight", "cluster x", "2 things")


def test_an_install_that_died_without_a_word() -> None:
    spoken = Spoken(lambda _percent, _text: None, lambda _line: None)
    spoken.line("Killed")
    assert spoken.error(-9) is None


def test_status_for_people() -> None:
    data: dict[str, object] = {
        "name": "trivet",
        "engine": {"state": "up", "host": "node2", "epoch": 7, "health": {"status": "up"}},
        "url": "https://127.0.0.1:8443",
        "user": "admin@internal",
        "password_file": "/x/admin-password",
        "ca_file": "/x/ca.pem",
        "nodes": [{"name": "node1", "power": "off", "address": "198.18.0.11", "link": "up"}],
    }
    text = showroom_cli.described(data)
    assert "up on node2, epoch 7; it answers" in text
    assert "in the file /x/admin-password" in text
    data["engine"] = {"state": "unknown", "host": "", "epoch": 0, "health": {"reason": "refused"}}
    assert "unknown on no node, epoch 0; it does not answer (refused)" in showroom_cli.described(data)


def test_hints_name_the_lab_only_if_it_is_another() -> None:
    assert "--name" not in showroom_cli.hints("trivet")
    assert "./trivet stop --name other" in showroom_cli.hints("other")
