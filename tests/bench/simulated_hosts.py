"""Hosts that only answer: a process that speaks the agent's wire for all of them, each on an address of loopback. What they
say changes with each answer, as real ones' does; ``GET /counts`` tells how often each question was asked.

``python -I simulated_hosts.py FOLDER PORT``: FOLDER has ``hosts.json`` (what they are) and the PEM files.
"""

from __future__ import annotations

import json
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from appliance.codec import decode, encode
from appliance.model.cluster import Member
from appliance.model.vm import VmState
from appliance.model.vm_live import (
    DiskStatistics,
    GuestAnswer,
    GuestInfo,
    GuestNic,
    NicStatistics,
    VmStatistics,
)
from appliance.wire.definition import NodeApi, VmApi
from appliance.wire.signatures import methods
from appliance.wire.vm_api import GuestApi, VmBackupApi
from gluster.wire import GlusterApi
from tests.engine import world

COUNTS = "/counts"
CHANGES = "/v1/vm-changes/"
"""How a question that waits begins; nothing changes here."""
HOSTS_FILE, CA_FILE, CERTIFICATE_FILE, KEY_FILE = "hosts.json", "ca.pem", "hosts.pem", "hosts.key"
DISKS_A_VM = 3
GIB = 1024**3


@dataclass(frozen=True)
class SimulatedHost:
    """A member, and the ids of the VMs that run on it."""

    member: Member
    vms: tuple[str, ...]


@dataclass
class Answers:
    """What one host says. ``turn`` grows with each answer."""

    host: SimulatedHost
    turn: int = 0

    def statistics(self) -> object:
        return replace(world.statistics(), memory_available_bytes=5 * GIB - self.turn * 4096)

    def facts(self) -> object:
        return world.facts(self.host.member)

    def vms(self) -> object:
        return tuple(VmState(one, f"vm-{one[:8]}", "running", 1024, 2, 100.0 + self.turn, 4242) for one in self.host.vms)

    def vm_statistics(self) -> object:
        return tuple(self._used(one) for one in self.host.vms)

    def vm_guests(self) -> object:
        nic = GuestNic("enp1s0", "56:6f:00:00:00:aa", ("198.18.40.5/24", "fe80::1/64"))
        said = GuestInfo(
            True, "web1", (nic,), "debian", "Debian GNU/Linux 13 (trixie)", "13", "6.12.0", "x86_64", "CET", 3600
        )
        return tuple(GuestAnswer(one, said) for one in self.host.vms)

    def vm_backups(self) -> object:
        return ()

    def gluster_pool(self) -> object:
        return world.pool()

    def ha_status(self) -> object:
        return world.ha()

    def _used(self, vm: str) -> VmStatistics:
        grown = self.turn * 4096
        disks = tuple(DiskStatistics(f"{vm[:18]}{place}", f"/x/{vm}/{place}", grown, grown) for place in range(DISKS_A_VM))
        nics = (NicStatistics("56:6f:00:00:00:aa", grown, grown),)
        return VmStatistics(vm, f"vm-{vm[:8]}", 1.0 * self.turn, 0.5, 0.5, 2, 2, 2**20, 2**20, 2**19, disks=disks, nics=nics)


def paths() -> Mapping[str, Callable[[Answers], object]]:
    """Path → who answers it."""
    asked = ("statistics", "facts", "vms", "vm_statistics", "vm_guests", "vm_backups", "gluster_pool", "ha_status")
    known = {
        one.name: one.route.path for kind in (NodeApi, VmApi, GuestApi, VmBackupApi, GlusterApi) for one in methods(kind)
    }
    return {known[name]: getattr(Answers, name) for name in asked}


def handler(hosts: Mapping[str, Answers]) -> type[BaseHTTPRequestHandler]:
    """Of requests to any of them: which one is asked is the address that was called."""
    known, counts, one_at_a_time = paths(), Counter[str](), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == COUNTS:
                self._say(200, {"result": dict(counts)})
            elif self.path.startswith(CHANGES):
                counts[CHANGES] += 1
                time.sleep(int(self.path.rpartition("/")[2]) / 1000)
                self._say(200, {"result": "as before"})
            elif self.path not in known:
                self._say(404, {"error": {"code": "bench.unknown", "reason": self.path}})
            else:
                self._answer(hosts[self.connection.getsockname()[0]])

        def _answer(self, host: Answers) -> None:
            with one_at_a_time:
                counts[self.path] += 1
                host.turn += 1
            self._say(200, {"result": encode(known[self.path](host))})

        def _say(self, status: int, body: Mapping[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    return Handler


def serve(folder: Path, port: int) -> None:
    """Until it is ended."""
    told = json.loads((folder / HOSTS_FILE).read_text())
    hosts = [decode(SimulatedHost, one, subject=HOSTS_FILE) for one in told]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / CERTIFICATE_FILE, folder / KEY_FILE)
    context.load_verify_locations(folder / CA_FILE)
    context.verify_mode = ssl.CERT_REQUIRED
    answering = handler({one.member.address: Answers(one) for one in hosts})
    servers = [ThreadingHTTPServer((one.member.address, port), answering) for one in hosts]
    for server in servers:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
