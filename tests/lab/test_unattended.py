"""Nobody at the keyboard, and everything goes wrong: a node that finds an answers file at its boot installs the whole
cluster by itself, killed after every step of it."""

from __future__ import annotations

import json
from concurrent.futures import Future

import pytest

from tests.lab.cluster import trivet, wait
from tests.lab.test_install import ANSWERS, install, on, problems, put_answers, tokens_of

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(2400)]

LAB = "testkilled"
"""Of its own, because the installation goes on beside other tests (``killed_install`` in tests/conftest.py)."""
UNIT = "trivet-install-answers"
PLACE = "/etc/trivet/answers.toml"
KILLED = "/var/lib/killed"
"""The steps after which it was killed."""
DRIVER_PLACE = "/etc/trivet/killed.py"
INSTALL_S = 900.0
KILLED_S = 2100.0
"""Some fifty beginnings of one, each of which looks at all that is done already; the unit gives itself 1800 s."""
MOST_KILLS = 100
LEAST_KILLS = 25
"""Fewer would mean that the driver did not kill: an installation of three nodes has more than forty steps."""
POLL_S = 5.0
"""What is waited for takes minutes, and each question starts programs on a busy machine."""

DRIVER = """
import os, signal, sys
sys.path.insert(0, "/usr/lib/trivet/app")
from appliance.command import main
from installer import cli

KILLED = sys.argv[2]
tell = cli.tell

def tell_and_die(progress, output):
    tell(progress, output)
    killed = open(KILLED).read().split() if os.path.exists(KILLED) else []
    if progress.event == "done" and progress.step not in killed:
        with open(KILLED, "a") as file:
            print(progress.step, file=file)
        os.kill(os.getpid(), signal.SIGKILL)

cli.tell = tell_and_die
for _ in range(int(sys.argv[3])):
    command = os.fork()
    if command == 0:
        sys.exit(main(["install", "--answers", sys.argv[1]]))
    ended = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    if ended != -signal.SIGKILL:
        sys.exit(ended)
sys.exit("it is killed again and again")
"""
"""What the unit runs instead: the real command, whose observer kills it right after each step that it did for the first
time, until it is not killed any more. A process of its own each time, but forked: fifty starts of a Python took two
minutes."""

DROP_IN = f"""[Service]
ExecStart=
ExecStart=/usr/lib/trivet/venv/bin/python3 -I {DRIVER_PLACE} {PLACE} {KILLED} {MOST_KILLS}
"""


def test_an_installation_at_boot_that_is_killed_after_every_step_ends_the_same(killed_install: Future[None]) -> None:
    killed_install.result()


def install_and_kill() -> None:
    """Install on a lab of its own, all by its unit; all that has to hold afterwards. Fails with assertions."""
    trivet("lab", "down", "--name", LAB)
    trivet("lab", "up", "--name", LAB, "--nodes", "3", "--port", "0", timeout_s=600.0)
    try:
        tokens = tokens_of(LAB)
        begin(LAB, tokens)
        await_end(LAB)
        is_whole(LAB)
        keeps_its_secrets(LAB, tokens)
    finally:
        trivet("lab", "down", "--name", LAB)


def begin(lab: str, tokens: dict[str, str]) -> None:
    """node1 finds the answers at its next boot."""
    put_answers(lab, "node1", tokens, name="unattended")
    on(lab, "node1", "sh", "-c", f"mkdir -p /etc/trivet && mv {ANSWERS} {PLACE}")
    folder = f"/etc/systemd/system/{UNIT}.service.d"
    on(lab, "node1", "sh", "-c", f"mkdir -p {folder} && cat > {folder}/killed.conf", stdin=DROP_IN)
    on(lab, "node1", "sh", "-c", f"cat > {DRIVER_PLACE} && sync", stdin=DRIVER)
    trivet("lab", "power", "node1", "reset", "--name", lab, timeout_s=300)


def await_end(lab: str) -> None:
    def result() -> str | None:
        shown = on(lab, "node1", "systemctl", "show", "-p", "Result", "-p", "ActiveState", UNIT, ok=False)
        finished = on(lab, "node1", "test", "-e", "/var/lib/trivet/install/answers.toml", ok=False).status == 0
        return shown.stdout if finished and "ActiveState=inactive" in shown.stdout else None

    assert "Result=success" in wait("the unit at its end", KILLED_S, result, rest_s=POLL_S)
    assert len(on(lab, "node1", "cat", KILLED).stdout.split()) >= LEAST_KILLS


def is_whole(lab: str) -> None:
    """All that was planned is done, and the engine is up on a cluster that nobody installed by hand."""
    journal = on(lab, "node1", "cat", "/var/lib/trivet/journal/install.jsonl").stdout
    steps = [json.loads(line) for line in journal.splitlines()]
    ended = {line["step"] for line in steps if line["event"] in ("done", "already")}
    on(lab, "node1", "cp", PLACE, ANSWERS)
    planned = {step["step"] for step in install(lab, "node1", "--explain").json()["steps"]}
    assert ended == planned
    ha = json.loads(on(lab, "node2", "trivet", "ha", "status", "--json").stdout)
    assert ha["engine"]["state"] == "up"
    assert {host["name"] for host in ha["hosts"] if host["alive"]} == {"node1", "node2", "node3"}


def keeps_its_secrets(lab: str, tokens: dict[str, str]) -> None:
    """Asked again it changes nothing; no secret is in a log; and its tokens are used up."""
    secret = on(lab, "node1", "cat", "/var/lib/trivet/admin-password").stdout
    again = install(lab, timeout_s=INSTALL_S)
    assert again.status == 0, again
    assert on(lab, "node1", "cat", "/var/lib/trivet/admin-password").stdout == secret
    log = on(lab, "node1", "journalctl", "-u", UNIT, "--no-pager", "-q").stdout
    assert "%" in log
    no_secret_in_logs(lab, [secret.strip(), *(token.partition(".")[0] for token in tokens.values())])
    # Another installation, from another node, gets nowhere and says why.
    put_answers(lab, "node2", tokens, name="thief")
    assert {node for node, _code in problems(install(lab, "node2"))} >= {"node1", "node2", "node3"}


def no_secret_in_logs(lab: str, secrets: list[str]) -> None:
    script = "journalctl --no-pager; cat /var/lib/trivet/journal/* /var/log/glusterfs/*.log 2>/dev/null; true"
    for node in ("node1", "node2", "node3"):
        logs = on(lab, node, "sh", "-c", script).stdout
        assert "trivet" in logs
        for secret in secrets:
            assert secret not in logs, node
