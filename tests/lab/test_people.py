"""What people see of a real cluster: the status, the page of every node, a drill, and the message about it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.cluster import Cluster, wait

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600), pytest.mark.usefixtures("at_rest")]

PYTHON = "/usr/lib/trivet/venv/bin/python3 -I"
PAGE_MEMORY_KIB = 30 * 1024
START_AFTER_KILL_S = 3.0
PATIENCE_S = 60.0
"""An emulated engine on a busy machine may miss a question for its health; then it is not called up for a while."""
CONFIG = "/etc/trivet/notify.toml"

FETCH = """
import http.client, json, socket, ssl, sys
context = ssl.create_default_context(cafile="/var/lib/trivet/pki/ca.pem")
channel = http.client.HTTPSConnection(socket.gethostname(), 443, timeout=8, context=context)
channel.request("GET", sys.argv[1])
answer = channel.getresponse()
print(json.dumps([answer.status, dict(answer.getheaders()), answer.read().decode()]))
"""

HOOK = """
import http.server, socket, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        with open("/run/hook.jsonl", "ab") as file:
            file.write(self.rfile.read(int(self.headers["Content-Length"])) + b"\\n")
        self.send_response(204)
        self.end_headers()
server = http.server.ThreadingHTTPServer((socket.gethostname(), 9443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/var/lib/trivet/pki/node.pem", "/var/lib/trivet/pki/node.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def page(cluster: Cluster, node: str, path: str) -> tuple[int, dict[str, str], str]:
    """What the page of ``node`` answers, fetched there, verified by the cluster's CA."""
    status, headers, body = json.loads(cluster.shell(node, f"{PYTHON} - {path} <<'END'\n{FETCH}\nEND"))
    return status, headers, body


def test_the_status_is_told_in_words_on_every_node(cluster: Cluster) -> None:
    before = cluster.settled()
    wanted = (
        f"engine       up on {before['host']} since ",
        "disk open on 3 of 3 bricks",
        f"the engine VM runs here with epoch {before['epoch']} and its API answers",
        "last decisions, newest first (UTC)",
        *cluster.nodes,
    )
    for node in cluster.nodes:

        def told(node: str = node) -> bool:
            said = cluster.shell(node, "trivet ha status")
            return all(words in said for words in wanted)

        wait(f"the status in words on {node}", PATIENCE_S, told)


def test_every_node_has_a_page_that_leads_to_the_engine_while_it_is_up(cluster: Cluster) -> None:
    host = cluster.settled()["host"]
    for node in cluster.nodes:

        def leads(node: str = node) -> bool:
            status, headers, _ = page(cluster, node, "/")
            return status == 302 and headers["Location"] == f"https://{cluster.ha(node)['engine']['address']}/"

        def tells(node: str = node) -> bool:
            status, headers, body = page(cluster, node, "/status")
            assert status == 200 and "default-src 'none'" in headers["Content-Security-Policy"]
            return "The engine is up" in body and f"up on {host}" in body

        wait(f"the page of {node} leads to the engine", PATIENCE_S, leads)
        wait(f"the page of {node} tells where the engine is", PATIENCE_S, tells)


def test_the_page_has_a_user_of_its_own_and_little_memory(cluster: Cluster) -> None:
    for node in cluster.nodes:
        pid = cluster.shell(node, "systemctl show --property=MainPID --value trivet-ha-page.service").strip()
        status = dict(line.split(":", 1) for line in cluster.shell(node, f"cat /proc/{pid}/status").splitlines())
        print(f"page on {node}: {status['VmRSS'].strip()} resident")
        assert int(status["VmRSS"].split()[0]) <= PAGE_MEMORY_KIB
        assert "0" not in status["Uid"].split()
        assert int(status["CapEff"], 16) == 1 << 10, "nothing but to listen on a low port"


def test_the_page_starts_while_the_volume_hangs(cluster: Cluster) -> None:
    host = cluster.settled()["host"]
    node = next(one for one in cluster.nodes if one != host)
    client = "$(pgrep -f 'glusterfs .*volumes/engine$')"
    began_s = time.monotonic()
    try:
        cluster.shell(node, f"kill -STOP {client} && sleep 2 && timeout 30 systemctl restart trivet-ha-page.service")
        status, _, _ = page(cluster, node, "/status")
    finally:
        cluster.shell(node, f"kill -CONT {client}")
    print(f"page restarted beside a hanging volume after {time.monotonic() - began_s:.1f} s")
    assert status == 200


@pytest.fixture
def hook(cluster: Cluster) -> Iterator[str]:
    """A webhook's server on the node that has the engine VM, and messages that go there."""
    node = str(cluster.settled()["host"])
    settings = f'[[webhook]]\nurl = "https://{node}:9443/in"\nca_file = "/var/lib/trivet/pki/ca.pem"\n'
    cluster.shell(node, f"cat > /run/hook.py <<'END'\n{HOOK}\nEND\nsystemd-run --unit=hook {PYTHON} /run/hook.py")
    cluster.shell(node, f"mkdir -p /etc/trivet && cat > {CONFIG} <<'END'\n{settings}END")
    yield node
    cluster.shell(
        node,
        f"rm -f {CONFIG}; systemctl stop hook trivet-ha-notify.service; rm -f /run/hook.*; systemctl reset-failed",
        ok=False,
    )


def test_a_drill_is_measured_told_and_kept(cluster: Cluster, hook: str) -> None:
    before = cluster.settled()
    other = next(node for node in cluster.nodes if node != hook)

    def messages() -> list[Any]:
        text = cluster.shell(hook, "cat /run/hook.jsonl 2>/dev/null", ok=False)
        return [json.loads(line) for line in text.splitlines()]

    wait(
        "messages have begun",
        60,
        lambda: cluster.shell(hook, "systemctl is-active trivet-ha-notify", ok=False).strip() == "active" or None,
    )
    tried = wait(
        "the test message",
        30,
        lambda: cluster.on(hook, "trivet", "ha", "notify", "test", "--json", ok=False).json()["places"],
    )
    assert [place["taken"] for place in tried] == [True]
    refused = cluster.on(other, "trivet", "ha", "drill", "--json", "--confirm", "yes", ok=False)
    assert (refused.status, refused.json()["error"]["code"]) == (2, "command.not-confirmed")

    done = cluster.on(other, "trivet", "ha", "drill", "--json", "--confirm", "engine.trivet.lab", timeout_s=300)
    report = json.loads(done.stdout)
    print(report["text"])
    assert report["passed"] and report["new_epoch"] > before["epoch"]
    assert (report["host"], report["new_host"]) == (before["host"], before["host"])
    assert 0 <= report["detection_s"] <= report["start_s"] <= START_AFTER_KILL_S
    assert "passed: the engine came back" in cluster.shell(other, f"cat {report['file']}")

    def told() -> list[Any] | None:
        kinds = [event["kind"] for message in messages() for event in message["events"]]
        return kinds if "start-begun" in kinds and "start-done" in kinds else None

    assert "decided" not in wait("the messages about it", 60, told)
    assert cluster.on(hook, "trivet", "ha", "notify", "status", "--json").json()["places"][0]["state"] == "good"
