"""The installer on real nodes: refusals that change nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import begin
from tests.lab.cluster import Answer, trivet

pytestmark = pytest.mark.lab

LAB = "testinstall"
ANSWERS = "/root/answers.toml"


@pytest.fixture(scope="module")
def bare_nodes(request: pytest.FixtureRequest) -> Iterator[str]:
    """Three nodes that stay bare: these tests change nothing on them."""
    begin("killed_install", request)
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
