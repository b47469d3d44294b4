"""The web program's workers: whichever answers, the caller notices nothing."""

from __future__ import annotations

import http.client
import os
import re
import signal
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest

from engine.decide.slowdown import delay_s
from engine.server import WORKERS
from tests.engine import world

ASKED = 16
"""Connections of their own, so that both workers had some: that one had none is one case in 32,768."""
FORM_HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}
WITHIN_S = 30.0
LOCKED_S = 8.0
"""A login that is refused unread takes 0.02 s, and ten times as long beside a cluster that boots."""


def workers(running: world.Running) -> list[int]:
    master = running.process.pid
    return [int(word) for word in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


def ask(running: world.Running, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str, str]:
    """Over a connection of its own: status, text, the cookie that was set."""
    connection = http.client.HTTPSConnection("127.0.0.1", running.port, context=running.context, timeout=WITHIN_S)
    with closing(connection):
        connection.request(method, path, body, {**FORM_HEADERS, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), str(answer.headers["Set-Cookie"] or "").partition(";")[0]


def token(running: world.Running, password: str) -> int:
    form = {"grant_type": "password", "scope": "ovirt-app-api", "username": world.ADMIN, "password": password}
    return ask(running, "POST", "/ovirt-engine/sso/oauth/token", urlencode(form), Accept="application/json")[0]


def all_there(running: world.Running, but: int = 0) -> None:
    """One for each CPU, and not more than two; ``but``: without that one."""
    end_s = time.monotonic() + WITHIN_S
    while len(found := workers(running)) != min(WORKERS, os.cpu_count() or 1) or but in found:
        assert time.monotonic() < end_s, found
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def both(running: world.Running) -> None:
    all_there(running)


def test_a_form_of_one_is_taken_by_the_other(running: world.Running) -> None:
    status, text, cookie = ask(running, "GET", "/")
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', text)
    assert status == 200 and found and cookie
    form = {"user": "admin", "password": world.PASSWORD}
    of_it, of_nobody = urlencode({**form, "csrf": found[1]}), urlencode({**form, "csrf": "0" * 64})
    assert [ask(running, "POST", "/login", of_it, Cookie=cookie)[0] for _ in range(ASKED)] == [303] * ASKED
    assert ask(running, "POST", "/login", of_nobody, Cookie=cookie)[0] == 403


def test_wrong_passwords_are_counted_together(running: world.Running) -> None:
    count = 0
    while delay_s(count) < LOCKED_S:
        time.sleep(delay_s(count))
        assert token(running, "wrong") == 400
        count += 1
    assert [token(running, world.PASSWORD) for _ in range(ASKED)] == [400] * ASKED, "too early, whoever is asked"


def test_one_that_dies_is_forked_anew_and_meanwhile_the_other_answers(running: world.Running) -> None:
    killed = workers(running)[0]
    os.kill(killed, signal.SIGKILL)
    assert ask(running, "GET", "/health")[0] == 200
    all_there(running, but=killed)
    assert {ask(running, "GET", "/health")[0] for _ in range(ASKED)} == {200}
