"""Nobody at the keyboard: a node that finds an answers file at its boot installs the whole cluster by itself."""

from __future__ import annotations

import json
from concurrent.futures import Future

import pytest

from tests.lab.cluster import trivet, wait
from tests.lab.test_install import ANSWERS, on, put_answers, tokens_of

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(1200)]

LAB = "testanswers"
INSTALLED_S = 600.0


def test_a_node_with_an_answers_file_installs_the_cluster_at_its_boot(unattended_install: Future[None]) -> None:
    unattended_install.result()


def install_at_boot() -> None:
    """On a lab of its own, because it goes on beside other tests; all that has to hold. Fails with assertions."""
    trivet("lab", "down", "--name", LAB)
    trivet("lab", "up", "--name", LAB, "--nodes", "3", "--port", "0", timeout_s=600.0)
    try:
        _install_at_boot(LAB)
    finally:
        trivet("lab", "down", "--name", LAB)


def _install_at_boot(lab: str) -> None:
    put_answers(lab, "node1", tokens_of(lab), name="unattended")
    on(lab, "node1", "sh", "-c", f"mkdir -p /etc/trivet && mv {ANSWERS} /etc/trivet/answers.toml && sync")
    trivet("lab", "power", "node1", "reset", "--name", lab, timeout_s=300)

    def engine_up() -> bool | None:
        said = on(lab, "node2", "trivet", "ha", "status", "--json", ok=False)
        if said.status == 2:
            return None  # still a bare node
        return json.loads(said.stdout)["engine"]["state"] == "up" or None

    wait("the engine up on a cluster that nobody installed by hand", INSTALLED_S, engine_up)

    def result() -> str | None:
        shown = on(lab, "node1", "systemctl", "show", "-p", "Result", "-p", "ActiveState", "trivet-install-answers")
        return shown.stdout if "ActiveState=inactive" in shown.stdout else None

    assert "Result=success" in wait("the unit at its end", 120, result)
    log = on(lab, "node1", "journalctl", "-u", "trivet-install-answers", "--no-pager", "-q").stdout
    assert "%" in log
    for token in used_secrets(lab):
        assert token not in log


def used_secrets(lab: str) -> list[str]:
    """The secrets of the answers file that was used."""
    text = on(lab, "node1", "sh", "-c", "cat /etc/trivet/answers.toml 2>/dev/null", ok=False).stdout
    return [line.split('"')[1].split(".")[0] for line in text.splitlines() if line.startswith("token")]
