"""An engine with a shop's worth of data, served by the real server on loopback, and a client that keeps its connection."""

from __future__ import annotations

import base64
import http.client
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.effects.clock import SystemClock
from engine.builtin import BLANK_TEMPLATE, named
from engine.store.durable import Store
from engine.store.entities import Entity
from tests.engine import world

HOSTS = 32
DISKS_A_VM = 3
MIB, GIB = 1024**2, 1024**3
XML, JSON, TYPED = "application/xml", "application/json", "application/vnd.trivet+json"
TURNS = 7
"""Times each list is asked for; the median counts."""


def vm_body(number: int) -> dict[str, Any]:
    """What a client of oVirt's writes and the engine keeps of a VM."""
    return {
        "description": "a VM & more" if number % 5 else "web front end",
        "bios": {"boot_menu": {"enabled": False}, "type": "q35_sea_bios"},
        "cpu": {"architecture": "x86_64", "topology": {"cores": 1, "sockets": 2, "threads": 1}},
        "cpu_shares": 1024,
        "delete_protected": number % 7 == 0,
        "display": {"monitors": 1, "type": "vnc", "copy_paste_enabled": True, "disconnect_action": "LOCK_SCREEN"},
        "high_availability": {"enabled": number % 3 == 0, "priority": 50},
        "memory": GIB,
        "memory_policy": {"ballooning": True, "guaranteed": GIB // 2, "max": 4 * GIB},
        "migration": {"auto_converge": "inherit", "compressed": "inherit", "encrypted": "inherit"},
        "os": {"boot": {"devices": ["hd", "network"]}, "type": "debian_9"},
        "placement_policy": {"affinity": "migratable"},
        "time_zone": {"name": "Etc/GMT"},
        "type": "server",
        "custom_properties": [{"name": "owner", "value": f"team{number % 9}"}],
    }


def entities(vms: int) -> Iterator[Entity]:
    """32 hosts, the VMs, and three disks for each."""

    def new_id() -> str:
        return str(uuid.uuid4())

    for number in range(HOSTS):
        yield named("host", new_id(), f"bench{number:02}", {"address": f"198.18.9.{number}"}, cluster=world.CLUSTER.id)
    for number in range(vms):
        refs = {"cluster": world.CLUSTER.id, "template": BLANK_TEMPLATE, "host": world.MEMBERS[number % 3].id}
        vm = named("vm", new_id(), f"vm{number:05}", vm_body(number), **refs)
        yield Entity(**{**vars(vm), "status": "up"})
        for place in range(DISKS_A_VM):
            image = {"image_id": new_id(), "format": "cow", "sparse": True, "provisioned_size": 10 * GIB}
            disk = Entity("disk", new_id(), f"vm{number:05}_disk{place}", image, status="ok")
            yield disk
            yield Entity("disk_attachment", disk.id, "", {"interface": "virtio"}, {"disk": (disk.id,)}, ("vm", vm.id))


@dataclass
class Client:
    """One kept connection with one token."""

    served: world.Running

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPSConnection("127.0.0.1", self.served.port, context=self._tls(), timeout=120)
        word = base64.b64encode(f"{world.ADMIN}:{world.PASSWORD}".encode()).decode()
        answer = self.get("/ovirt-engine/api", JSON, Authorization=f"Basic {word}", Prefer="persistent-auth")
        self._cookie = str(answer.headers["Set-Cookie"]).partition(";")[0]

    def _tls(self) -> ssl.SSLContext:
        return self.served.context

    def get(self, path: str, accept: str = JSON, **headers: str) -> http.client.HTTPResponse:
        """The answer, whose body is in ``self.body``. Fails the bench on anything but 200."""
        if not headers:
            headers = {"Cookie": self._cookie, "Prefer": "persistent-auth"}
        self.connection.request("GET", path, headers={"Accept": accept, **headers})
        answer = self.connection.getresponse()
        self.body = answer.read()
        assert answer.status == 200, (path, answer.status, self.body[:500])
        return answer

    def list_ms(self, path: str, accept: str) -> float:
        """Median milliseconds of a GET, the first one not counted."""
        self.get(path, accept)
        return statistics.median(self.timed_ms(path, accept) for _ in range(TURNS))

    def timed_ms(self, path: str, accept: str) -> float:
        """Milliseconds of one GET."""
        began_s = time.perf_counter()
        self.get(path, accept)
        return (time.perf_counter() - began_s) * 1e3


@contextmanager
def served(vms: int) -> Iterator[world.Running]:
    """The real server over a database with so many VMs."""
    with tempfile.TemporaryDirectory(prefix="trivet-bench-") as folder:
        clock = SystemClock()
        guest = world.ready_guest(Path(folder) / "guest", clock)
        store = Store(guest.database_place)
        with store.connection.transaction():
            for one in entities(vms):
                store.entities.add(one)
        store.close()
        running = world.serve(guest, Path(folder) / "log")
        try:
            yield running
        finally:
            running.stop()


def pss_mib(process: int) -> float:
    """Proportional memory of one process. Raises ``OSError`` when it has ended."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def memory_mib(running: world.Running) -> float:
    """Proportional memory of the server and its workers."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if running.process.pid in (int(path.name), parent):
                total += pss_mib(int(path.name))
        except OSError:
            continue  # it ended while we looked
    return total


def flask_mib() -> float:
    """Of a Python that has imported flask and nothing else: what stands beside ours."""
    program = (
        "import flask; print(next(line.split()[1] for line in open('/proc/self/smaps_rollup') if line.startswith('Pss:')))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024
