"""The page of a node: what it says, what it refuses, and that nobody can keep others from it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from appliance.effects.clock import FakeClock, SystemClock
from appliance.effects.network import listen
from appliance.model.ha import HaStatus, HostHa
from appliance.verbs.ha_status import write_status
from ha_broker.page import server, view
from ha_broker.page.http import Answer, Request, parse, to_bytes
from ha_broker.page.site import Site
from tests.appliance.agents import REPOSITORY, RUN, Certificates, free_port
from tests.chrome import chrome
from tests.ha_broker.statuses import FAILOVER, NOW_S, SILENT, TROUBLED, UP

HTML = "text/html; charset=utf-8"


# --- requests (pure)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("", 400),
        ("GET", 400),
        ("GET / HTTP/1.1 ", 400),
        ("get / HTTP/1.1", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET status HTTP/1.1", 400),
        ("GET http://elsewhere.test/ HTTP/1.1", 400),
        ("GET /\x00 HTTP/1.1", 400),
        ("GET /ä HTTP/1.1", 400),
        ("GET / HTTP/2.0", 505),
        ("PRI * HTTP/2.0", 400),
        ("POST /status HTTP/1.1", 405),
        ("DELETE / HTTP/1.1", 405),
        ("CONNECT /a HTTP/1.1", 405),
        (f"GET /{'a' * 9000} HTTP/1.1", 431),
    ],
)
def test_bad_requests_are_told_so(line: str, status: int) -> None:
    found = parse(line.encode() + b"\r\nHost: node1")
    assert isinstance(found, Answer)
    assert found.status == status


def test_a_good_request_keeps_method_and_path_only() -> None:
    assert parse(b"GET /status?x=1 HTTP/1.1\r\nHost: a\r\nCookie: b") == Request("GET", "/status")
    assert parse(b"HEAD / HTTP/1.0") == Request("HEAD", "/")


def test_a_header_can_not_be_smuggled_in() -> None:
    with pytest.raises(ValueError, match="line break"):
        to_bytes(Answer(302, headers={"Location": "https://a/\r\nSet-Cookie: b"}), True, 0.0)


# --- what is at which path


def site(folder: Path, status: HaStatus | None) -> Site:
    clock = FakeClock(wall_s=NOW_S)
    path = folder / "run" / "ha-status.json"
    if status is not None:
        write_status(path, status, clock)
        clock.sleep(status.broker_age_s)
    return Site(path, clock)


def shown(folder: Path, status: HaStatus | None, path: str = "/") -> str:
    found = site(folder, status).answer(Request("GET", path))
    assert (found.status, found.kind) == (200, HTML)
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", found.body.partition("</style>")[2]))


def test_while_the_engine_is_up_the_root_leads_to_it(tmp_path: Path) -> None:
    found = site(tmp_path, UP).answer(Request("GET", "/"))
    assert (found.status, found.headers["Location"]) == (302, "https://198.18.0.100/")
    assert found.headers["Cache-Control"] == "no-store"
    assert "The engine is up" in shown(tmp_path, UP, "/status")


def test_an_address_of_ipv6_is_put_in_brackets() -> None:
    assert view.engine_url(replace(UP, engine=replace(UP.engine, address="fd00::1"))) == "https://[fd00::1]/"
    assert view.engine_url(replace(UP, engine=replace(UP.engine, address=""))) == ""


def test_while_it_is_down_the_root_says_why_and_until_when(tmp_path: Path) -> None:
    said = shown(tmp_path, FAILOVER)
    assert "The engine is down" in said
    assert "node1 silent for 6 s - last heard: node1 runs the engine VM" in said
    assert "the disk's lock refused the start: node1 probably still has it" in said.replace("&#x27;", "'")
    assert "at most: node2 until 08:00:03 UTC (3 s), node3 until 08:00:05 UTC (5 s)" in said
    assert "07:59:58 node2 nobody has the engine VM; node3 may try before this host" in said
    assert "load 4.0 on 2 CPUs: -100" in said


def test_fence_maintenance_and_alerts_are_told(tmp_path: Path) -> None:
    said = shown(tmp_path, TROUBLED, "/status")
    assert "refresh waits for heal (12 entries)" in said
    assert "global: no broker starts or restarts the engine VM; local on node3" in said
    assert "the engine answers, but took 3 s to do so ha.engine-slow" in said
    assert "not eligible: 212 MiB of memory available, 1280 MiB needed" in said


def test_a_silent_broker_is_named_and_never_leads_away(tmp_path: Path) -> None:
    said = shown(tmp_path, SILENT)
    assert "This node's broker is silent" in said.replace("&#x27;", "'")
    assert "it finished its last turn 42 s ago; what is shown is from then" in said
    assert "engine.trivet.lab" in said


@pytest.mark.parametrize("content", [None, "", "{", "[]", "\x00" * 100, '{"written_monotonic_s": 1}'])
def test_without_a_readable_status_the_page_is_still_a_page(tmp_path: Path, content: str | None) -> None:
    answering = site(tmp_path, None)
    if content is not None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "ha-status.json").write_text(content)
    found = answering.answer(Request("GET", "/"))
    assert found.status == 200
    assert "broker is silent" in found.body
    data = json.loads(answering.answer(Request("GET", "/status.json")).body)
    assert data["error"]["code"] == "ha.broker-silent"
    assert data["engine"]["state"] == "unknown"


def test_the_json_is_the_documented_status(tmp_path: Path) -> None:
    found = site(tmp_path, UP).answer(Request("GET", "/status.json"))
    data = json.loads(found.body)
    assert found.kind == "application/json"
    assert data["engine"]["host"] == "node1"
    assert {"name", "alive", "score", "reasons", "decision"} <= set(data["hosts"][0])
    assert "error" not in data


@pytest.mark.parametrize("path", ["/favicon.ico", "/../etc/passwd", "/status/", "/%2e%2e/", "//"])
def test_nothing_else_is_there(tmp_path: Path, path: str) -> None:
    assert site(tmp_path, UP).answer(Request("GET", path)).status == 404


def test_words_of_others_are_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&"
    host = HostHa(evil, True, 5, (evil,), evil, False, 0.0)
    status = replace(
        FAILOVER, hosts=(host,), host=evil, warm=evil, decisions=(replace(FAILOVER.decisions[0], sentence=evil),)
    )
    body = site(tmp_path, status).answer(Request("GET", "/")).body
    assert "<script" not in body
    assert body.count("&lt;script&gt;") >= 5


def test_the_style_may_be_used_and_nothing_else(tmp_path: Path) -> None:
    body = site(tmp_path, FAILOVER).answer(Request("GET", "/")).body
    assert "unsafe" not in view.POLICY and "default-src 'none'" in view.POLICY
    assert body.count("<style>") == 1 and " style=" not in body and "<script" not in body and "src=" not in body


def test_there_is_no_secret_on_it(tmp_path: Path) -> None:
    for status in (UP, FAILOVER, TROUBLED, SILENT):
        for path in ("/status", "/status.json"):
            body = site(tmp_path, status).answer(Request("GET", path)).body
            assert not re.search(r"password|passwd|secret|token|BEGIN|private key|/var/lib/trivet/pki", body, re.IGNORECASE)


# --- the server


@dataclass
class Served:
    port: int
    context: ssl.SSLContext
    status: Path
    server: server.PageServer

    def get(self, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, http.client.HTTPMessage, bytes]:
        channel = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self.context)
        with contextlib.closing(channel):
            channel.request(method, path, body)
            answer = channel.getresponse()
            return answer.status, answer.headers, answer.read()

    def raw(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return self.context.wrap_socket(plain, server_hostname="127.0.0.1")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    tls = Certificates(tmp_path / "pki").tls("node2")
    status = tmp_path / "run" / "ha-status.json"
    clock = SystemClock()
    write_status(status, FAILOVER, clock)
    listener = listen("127.0.0.1", 0, server.BACKLOG)
    port = int(listener.getsockname()[1])
    one = server.PageServer(listener, server.server_context(tls.certificate, tls.key), Site(status, clock), clock)
    thread = threading.Thread(target=one.serve)
    thread.start()
    yield Served(port, ssl.create_default_context(cafile=str(tls.ca)), status, one)
    one.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_it_is_served_with_the_nodes_certificate_and_strict_headers(served: Served) -> None:
    status, headers, body = served.get("/")
    assert status == 200
    assert b"The engine is down" in body
    assert headers["Content-Security-Policy"] == view.POLICY
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "Server" not in headers
    assert int(headers["Content-Length"]) == len(body)
    assert served.get("/", "HEAD")[2] == b""


def test_refusals_have_the_headers_too(served: Served) -> None:
    for path, method, expected in (
        ("/x", "GET", 404),
        ("/", "POST", 405),
        ("/", "TRACE", 405),
        ("/" + "a" * 20_000, "GET", 431),
    ):
        status, headers, _ = served.get(path, method, b"x" * 10 if method == "POST" else None)
        assert (status, headers["Content-Security-Policy"]) == (expected, view.POLICY)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_tls_is_refused(served: Served) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as plain, pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(plain)


def test_what_is_no_tls_is_dropped_and_the_next_one_served(served: Served) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + b"\xff" * 2000, b"\x00" * 50, b""):
        plain = socket.create_connection(("127.0.0.1", served.port), timeout=10)
        with contextlib.suppress(OSError), plain:  # it may hang up at any byte
            plain.sendall(garbage)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(4096):
                continue
    assert served.get("/status")[0] == 200


def test_slow_peers_are_let_go_and_do_not_keep_others_out(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTION_S", 1.5)
    began_s = time.monotonic()
    silent = [socket.create_connection(("127.0.0.1", served.port), timeout=10) for _ in range(3)]
    dripping = [served.raw() for _ in range(3)]
    assert served.get("/status")[0] == 200  # while six of eight places of this address are taken
    for channel in dripping:
        with pytest.raises(OSError):
            while True:
                channel.sendall(b"G")
                time.sleep(0.1)
    for plain in silent:
        assert plain.recv(1) == b""
    assert time.monotonic() - began_s < 8
    for one in (*silent, *dripping):
        one.close()


def test_one_address_has_so_many_places_and_no_more(served: Served) -> None:
    held = [socket.create_connection(("127.0.0.1", served.port), timeout=10) for _ in range(server.CONNECTIONS_PER_ADDRESS)]
    time.sleep(0.3)  # until all of them were taken
    with pytest.raises(OSError):
        served.get("/status")
    for one in held:
        one.close()
    until_s = time.monotonic() + 10
    while True:
        try:
            assert served.get("/status")[0] == 200
            break
        except OSError:
            assert time.monotonic() < until_s
            time.sleep(0.1)


def test_endless_headers_end(served: Served) -> None:
    with served.raw() as channel, pytest.raises(OSError):
        channel.sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(200):
            channel.sendall(b"X: " + b"a" * 4096 + b"\r\n")
            time.sleep(0.005)


@pytest.mark.timeout(120)
def test_in_a_browser(served: Served, tmp_path: Path) -> None:
    with chrome(tmp_path / "profile") as browser:
        wait = WebDriverWait(browser, 30)
        write_status(served.status, FAILOVER, SystemClock())  # a browser that takes long to begin finds an old one
        browser.get(f"https://127.0.0.1:{served.port}/")
        assert browser.find_element(By.ID, "head").text == "The engine is down"
        assert "node3 may try before this host" in browser.find_element(By.ID, "decisions").text
        assert "198.18.0.100" in str(browser.find_element(By.ID, "engine-link").get_attribute("href"))
        assert browser.find_element(By.TAG_NAME, "table").value_of_css_property("border-collapse") == "collapse"
        if "TRIVET_PAGE_PNG" in os.environ:
            browser.save_screenshot(os.environ["TRIVET_PAGE_PNG"])
        write_status(served.status, replace(FAILOVER, engine=replace(UP.engine, state="starting")), SystemClock())
        wait.until(lambda it: it.find_element(By.ID, "head").text == "The engine is starting")
        assert [entry for entry in browser.get_log("browser") if "Content Security Policy" in entry["message"]] == []


def test_the_program_serves_it_in_little_memory(tmp_path: Path) -> None:
    tls = Certificates(tmp_path).tls("node")
    port = free_port()
    argv = [sys.executable, "-I", "-c", RUN, str(REPOSITORY), "ha", "page", "--address", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(argv, env={"CREDENTIALS_DIRECTORY": str(tmp_path)}, stderr=subprocess.PIPE, text=True)
    try:
        asked = Served(port, ssl.create_default_context(cafile=str(tls.ca)), tmp_path, None)  # type: ignore[arg-type]
        until_s = time.monotonic() + 20
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                status, _, body = asked.get("/status")
                break
            assert process.poll() is None and time.monotonic() < until_s
            time.sleep(0.1)
        assert status == 200 and b"it has not written /run/trivet/ha-status.json" in body
        resident = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        assert resident and int(resident[1]) < 40 * 1024, "the bar is 30 MiB on a node; this Python is another"
    finally:
        process.terminate()
        process.wait(10)
