"""Nobody at the keyboard: a node that finds an answers file at its boot installs the whole cluster by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.lab.cluster import trivet, wait
from tests.lab.test_install import ANSWERS, on, put_answers, tokens_of

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(1200)]

LAB = "testanswers"
INSTALLED_S = 600.0


@pytest.fixture
def bare_nodes() -> Iterator[str]:
    trivet("lab", "down", "--name", LAB)
    trivet("lab", "up", "--name", LAB, "--nodes", "3", "--port", "0", timeout_s=600.0)
    yield LAB
    trivet("lab", "down", "--name", LAB)


def test_a_node_with_an_answers_file_installs_the_cluster_at_its_boot(bare_nodes: str) -> None:
    put_answers(bare_nodes, "node1", tokens_of(bare_nodes), name="unattended")
    on(bare_nodes, "node1", "sh", "-c", f"mkdir -p /etc/trivet && mv {ANSWERS} /etc/trivet/answers.toml && sync")
    trivet("lab", "power", "node1", "reset", "--name", bare_nodes, timeout_s=300)

    def engine_up() -> bool | None:
        said = on(bare_nodes, "node2", "trivet", "ha", "status", "--json", ok=False)
        if said.status == 2:
            return None  # still a bare node
        return json.loads(said.stdout)["engine"]["state"] == "up" or None

    wait("the engine up on a cluster that nobody installed by hand", INSTALLED_S, engine_up)

    def result() -> str | None:
        shown = on(bare_nodes, "node1", "systemctl", "show", "-p", "Result", "-p", "ActiveState", "trivet-install-answers")
        return shown.stdout if "ActiveState=inactive" in shown.stdout else None

    assert "Result=success" in wait("the unit at its end", 120, result)
    log = on(bare_nodes, "node1", "journalctl", "-u", "trivet-install-answers", "--no-pager", "-q").stdout
    assert "%" in log
    for token in used_secrets(bare_nodes):
        assert token not in log


def used_secrets(lab: str) -> list[str]:
    """The secrets of the answers file that was used."""
    text = on(lab, "node1", "sh", "-c", "cat /etc/trivet/answers.toml 2>/dev/null", ok=False).stdout
    return [line.split('"')[1].split(".")[0] for line in text.splitlines() if line.startswith("token")]
