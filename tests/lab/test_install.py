"""The installer on real nodes: refusals that change nothing, and one installation that is killed after every step of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from tests.conftest import begin
from tests.lab.cluster import Answer, trivet

pytestmark = pytest.mark.lab

LAB = "testinstall"
KILLED_LAB = "testkilled"
"""Of its own, because the installation goes on beside other tests (``killed_install`` in tests/conftest.py)."""
ANSWERS = "/root/answers.toml"
INSTALL_S = 900.0
KILLED_S = 1500.0
"""Some fifty beginnings of one, each of which looks at all that is done already."""
MOST_KILLS = 100
LEAST_KILLS = 25
"""Fewer would mean that the driver did not kill: an installation of three nodes has more than forty steps."""

DRIVER = """
import os, signal, sys
sys.path.insert(0, "/usr/lib/trivet/app")
from appliance.command import main
from installer import cli

KILLED = "/root/killed"
tell = cli.tell

def tell_and_die(progress, output):
    tell(progress, output)
    killed = open(KILLED).read().split() if os.path.exists(KILLED) else []
    if progress.event == "done" and progress.step not in killed:
        with open(KILLED, "a") as file:
            print(progress.step, file=file)
        os.kill(os.getpid(), signal.SIGKILL)

cli.tell = tell_and_die
for _ in range(int(sys.argv[2])):
    command = os.fork()
    if command == 0:
        sys.exit(main(["install", "--json", "--answers", sys.argv[1]]))
    ended = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    if ended != -signal.SIGKILL:
        sys.exit(ended)
sys.exit("it is killed again and again")
"""
"""Runs inside a node: the real command, whose observer kills it right after each step that it did for the first time, until
it is not killed any more. A process of its own each time, but forked: fifty starts of a Python took two minutes."""


@pytest.fixture(scope="module")
def bare_nodes(request: pytest.FixtureRequest) -> Iterator[str]:
    """Three nodes that stay bare: these tests change nothing on them."""
    begin("unattended_install", request)
    trivet("lab", "down", "--name", LAB)
    trivet("lab", "up", "--name", LAB, "--nodes", "3", "--port", "0", timeout_s=600.0)
    yield LAB
    trivet("lab", "down", "--name", LAB)


def on(lab: str, node: str, *argv: str, stdin: str | None = None, ok: bool = True, timeout_s: float = 120.0) -> Answer:
    return trivet("lab", "exec", "--name", lab, node, "--", *argv, stdin=stdin, ok=ok, timeout_s=timeout_s)


def address(lab: str, node: str) -> str:
    status = trivet("lab", "status", "--name", lab, "--json").json()
    return next(str(one["address"]) for one in status["nodes"] if one["name"] == node)


def put_answers(lab: str, node: str, tokens: dict[str, str], name: str = "killed", **changes: str) -> None:
    """Write an answers file into ``node``. ``changes``: nodeN → text of its table's additional or other lines."""
    own = address(lab, "node1")
    lines = [
        "[cluster]",
        f'name = "{name}"',
        "[engine]",
        'fqdn = "engine.trivet.lab"',
        f'address = "{own.rpartition(".")[0]}.100"',
        "prefix = 24",
        "data_disk_gib = 4",
    ]
    for one, token in tokens.items():
        lines += ["[[nodes]]", f'name = "{one}"', f'address = "{address(lab, one)}"', f'token = "{token}"']
        lines += [changes.get(one, 'nic = "eth0"\nbrick_folder = "/data/bricks"')]
    on(lab, node, "sh", "-c", f"umask 077; cat > {ANSWERS}", stdin="\n".join(lines) + "\n")


def tokens_of(lab: str) -> dict[str, str]:
    return {
        node: json.loads(on(lab, node, "trivet", "node", "token", "--json").stdout)["token"]
        for node in ("node1", "node2", "node3")
    }


def install(lab: str, node: str = "node1", *more: str, timeout_s: float = 180.0) -> Answer:
    return on(lab, node, "trivet", "install", "--json", "--answers", ANSWERS, *more, ok=False, timeout_s=timeout_s)


def problems(answer: Answer) -> set[tuple[str, str]]:
    """(node, code) of each problem that the preflight named; the command must have refused."""
    error: dict[str, Any] = json.loads(answer.stdout)["error"]
    assert answer.status == 2, answer
    assert error["code"] == "install.preflight"
    for problem in error["facts"]["problems"]:
        assert problem["found"] and problem["needed"] and problem["remedy"]
    return {(problem["node"], problem["code"]) for problem in error["facts"]["problems"]}


def fingerprint(lab: str) -> str:
    """What an installation would have changed on a bare node."""
    script = (
        "ls -A /var/lib/trivet /var/lib/trivet/pki /data; cat /etc/hosts; ip -br addr; gluster --mode=script peer status"
    )
    return "".join(on(lab, node, "sh", "-c", script).stdout for node in ("node1", "node2", "node3"))


def test_refusals_change_nothing(bare_nodes: str) -> None:
    before = fingerprint(bare_nodes)
    tokens = tokens_of(bare_nodes)
    wrong = {**tokens, "node2": "aaaaaaaaaaaaaaaa." + tokens["node2"].partition(".")[2]}
    pinned = {**tokens, "node2": tokens["node2"].partition(".")[0] + ".0000000000000000"}
    put_answers(bare_nodes, "node1", wrong, node3='nic = "eth7"\nbrick_folder = "/bricks"')
    assert problems(install(bare_nodes)) >= {
        ("node2", "preflight.join-token-wrong"),
        ("node3", "preflight.nic-missing"),
        ("node3", "preflight.brick-on-root"),
    }
    put_answers(bare_nodes, "node1", pinned, node3='nic = "eth0"\nbrick_disk = "/dev/nothing"')
    assert problems(install(bare_nodes)) == {("node2", "preflight.join-fingerprint"), ("node3", "preflight.disk-missing")}
    on(bare_nodes, "node3", "sh", "-c", "mkdir /data/full && touch /data/full/file")
    put_answers(bare_nodes, "node1", tokens, node3='nic = "eth0"\nbrick_folder = "/data/full"')
    assert problems(install(bare_nodes)) == {("node3", "preflight.brick-not-empty")}
    on(bare_nodes, "node3", "rm", "-r", "/data/full")
    assert fingerprint(bare_nodes) == before


def test_a_silent_node_is_named(bare_nodes: str) -> None:
    put_answers(bare_nodes, "node1", tokens_of(bare_nodes))
    trivet("lab", "link", "node3", "cut", "--name", bare_nodes)
    try:
        assert problems(install(bare_nodes)) == {("node3", "preflight.agent-unreachable")}
    finally:
        trivet("lab", "link", "node3", "heal", "--name", bare_nodes)


def test_explain_shows_the_plan_and_changes_nothing(bare_nodes: str) -> None:
    before = fingerprint(bare_nodes)
    put_answers(bare_nodes, "node1", tokens_of(bare_nodes))
    shown = install(bare_nodes, "node1", "--explain")
    assert shown.status == 0, shown
    plan = shown.json()
    names = [step["step"] for step in plan["steps"]]
    assert names.index("pki.ca") < names.index("join.node2") < names.index("volume.engine.start") < names.index("engine.up")
    assert plan["seconds"] > 30
    assert fingerprint(bare_nodes) == before


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_after_every_step_it_ends_the_same(killed_install: Future[None]) -> None:
    killed_install.result()


def install_and_kill() -> None:
    """Install on a lab of its own, killed after each step; all that has to hold afterwards. Fails with assertions."""
    trivet("lab", "down", "--name", KILLED_LAB)
    trivet("lab", "up", "--name", KILLED_LAB, "--nodes", "3", "--port", "0", timeout_s=600.0)
    try:
        _install_and_kill(KILLED_LAB)
    finally:
        trivet("lab", "down", "--name", KILLED_LAB)


def _install_and_kill(lab: str) -> None:
    tokens = tokens_of(lab)
    put_answers(lab, "node1", tokens)
    python = ("/usr/lib/trivet/venv/bin/python3", "-I", "-c")
    on(lab, "node1", *python, DRIVER, ANSWERS, str(MOST_KILLS), timeout_s=KILLED_S)
    assert len(on(lab, "node1", "cat", "/root/killed").stdout.split()) >= LEAST_KILLS
    steps = [
        json.loads(line) for line in on(lab, "node1", "cat", "/var/lib/trivet/journal/install.jsonl").stdout.splitlines()
    ]
    ended = {line["step"] for line in steps if line["event"] in ("done", "already")}
    planned = {step["step"] for step in install(lab, "node1", "--explain").json()["steps"]}
    assert ended == planned
    ha = json.loads(on(lab, "node2", "trivet", "ha", "status", "--json").stdout)
    assert ha["engine"]["state"] == "up"
    assert {host["name"] for host in ha["hosts"] if host["alive"]} == {"node1", "node2", "node3"}

    secret = on(lab, "node1", "cat", "/var/lib/trivet/admin-password").stdout
    again = install(lab, timeout_s=INSTALL_S)
    assert again.status == 0, again
    assert on(lab, "node1", "cat", "/var/lib/trivet/admin-password").stdout == secret
    _no_secret_in_logs(lab, [secret.strip(), *(token.partition(".")[0] for token in tokens.values())])

    # The tokens are used up: another installation, from another node, gets nowhere and says why.
    put_answers(lab, "node2", tokens, name="thief")
    assert {node for node, _code in problems(install(lab, "node2"))} >= {"node1", "node2", "node3"}


def _no_secret_in_logs(lab: str, secrets: list[str]) -> None:
    script = "journalctl --no-pager; cat /var/lib/trivet/journal/* /var/log/glusterfs/*.log 2>/dev/null; true"
    for node in ("node1", "node2", "node3"):
        logs = on(lab, node, "sh", "-c", script).stdout
        assert "trivet" in logs
        for secret in secrets:
            assert secret not in logs, node
