"""The console in a real browser, against the real server with TLS, with nodes that keep talking."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from appliance.effects.clock import SystemClock
from engine.store.observed import Observations
from tests.chrome import chrome
from tests.engine import world


class Talking:
    """Nodes that say something every second, until one falls silent."""

    def __init__(self, observations: Observations) -> None:
        self._observations = observations
        self.silent: tuple[str, ...] = ()
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def _talk(self) -> None:
        while not self.stopped.wait(1):
            world.observe(self._observations, self.silent)

    def stop(self) -> None:
        self.stopped.set()
        self._thread.join()


@pytest.fixture
def talking(running: world.Running) -> Iterator[Talking]:
    made = Talking(Observations(running.guest.observed, SystemClock()))
    yield made
    made.stop()


LOOKS = 5
"""The page renews its tables every two seconds: an element may go between being found and being read, but not five times."""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with chrome(tmp_path) as made:
        yield made


def log_in(browser: webdriver.Chrome, url: str, password: str) -> None:
    browser.get(url)
    browser.find_element(By.ID, "password").send_keys(password)
    browser.find_element(By.TAG_NAME, "button").click()


def text(browser: webdriver.Chrome, element: str) -> str:
    for _ in range(LOOKS - 1):
        with contextlib.suppress(StaleElementReferenceException):  # renewed under our hands: look again
            return str(browser.find_element(By.ID, element).text)
    return str(browser.find_element(By.ID, element).text)


@pytest.mark.timeout(120)
def test_logging_in_and_watching(running: world.Running, browser: webdriver.Chrome, talking: Talking) -> None:
    wait = WebDriverWait(browser, 30)
    log_in(browser, running.url, "wrong")
    assert text(browser, "message") == "User name or password is wrong."
    log_in(browser, running.url, world.PASSWORD)
    wait.until(lambda it: "3 of 3 up" in text(it, "nodes-up"))
    assert text(browser, "engine-host") == "on node2"
    assert "epoch 7" in text(browser, "engine-text")
    assert text(browser, "storage-safe") == "safe"
    assert "node2 engine up 198.18.0.12 15 %" in text(browser, "nodes").replace("\n", " ")
    assert "vmstore Started 3 of 3 0" in text(browser, "volumes").replace("\n", " ")
    assert "The engine has started on host node2 (epoch 7)." in text(browser, "events")
    wait.until(lambda it: text(it, "freshness") == "live")
    if "TRIVET_CONSOLE_PNG" in os.environ:
        browser.save_screenshot(os.environ["TRIVET_CONSOLE_PNG"])
    talking.silent = ("node3",)
    wait.until(lambda it: "2 of 3 up" in text(it, "nodes-up"))
    assert re.search(r"node3: last heard 1\d s ago", text(browser, "nodes-text"))
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == [] or all(
        "403" in entry["message"] for entry in browser.get_log("browser")
    )
    browser.find_element(By.CSS_SELECTOR, "header button").click()
    wait.until(lambda it: it.find_elements(By.ID, "password"))


def test_the_page_has_its_security_headers(running: world.Running) -> None:
    with urllib.request.urlopen(running.url, context=running.context, timeout=10) as page:
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        cookie = page.headers["Set-Cookie"]
        body = page.read().decode()
    assert "Secure" in cookie and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert "<style" not in body and " style=" not in body and "onclick" not in body


def form_of(client: FlaskClient) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get("/", base_url="https://localhost").text)
    assert found
    return found[1]


def test_forms_without_their_token_are_refused(client: FlaskClient) -> None:
    good = {"user": "admin", "password": world.PASSWORD}
    base = "https://localhost"
    assert client.post("/login", data=good, base_url=base).status_code == 403
    form_of(client)
    assert client.post("/login", data={**good, "csrf": "0" * 64}, base_url=base).status_code == 403
    assert client.post("/login", data={**good, "csrf": "ä"}, base_url=base).status_code == 403
    assert client.post("/login", data={**good, "csrf": form_of(client)}, base_url=base).status_code == 303
    assert client.get("/api/v1/overview", base_url=base).status_code == 200
    assert client.post("/logout", base_url=base).status_code == 403
    assert client.get("/api/v1/overview", base_url=base).status_code == 200
    assert client.post("/logout", data={"csrf": form_of(client)}, base_url=base).status_code == 303
    assert client.get("/api/v1/overview", base_url=base).status_code == 401


def test_an_api_token_is_no_session_and_the_other_way_round(client: FlaskClient, token: str) -> None:
    client.set_cookie("__Host-trivet-session", token, secure=True)
    assert client.get("/api/v1/overview", base_url="https://localhost").status_code == 401


def test_guessing_through_the_form_is_slowed_down(client: FlaskClient) -> None:
    base = "https://localhost"
    for _ in range(3):
        wrong = {"user": "admin", "password": "wrong", "csrf": form_of(client)}
        assert client.post("/login", data=wrong, base_url=base).status_code == 403
    answer = client.post("/login", data={**wrong, "password": world.PASSWORD}, base_url=base)
    assert answer.status_code == 429
    assert "too many wrong passwords" in answer.text.lower()


def test_names_are_escaped(client: FlaskClient) -> None:
    form = {"user": '"><script>alert(1)</script>', "password": "x", "csrf": form_of(client)}
    answer = client.post("/login", data=form, base_url="https://localhost")
    assert "<script>alert" not in answer.text
