"""What it costs to follow 32 hosts with 1,000 running VMs: the real jobs program, with its followers and keepers, asks 32
simulated hosts over mutual TLS; the CPU time of its process over a minute is what counts.

The baseline puts the same questions, as often as the program did, over one kept connection with the standard library, and
reads the answers' JSON: what nobody could save.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from appliance import pki
from appliance.codec import encode
from appliance.effects.clock import SystemClock
from appliance.model.cluster import Member
from engine.builtin import BLANK_TEMPLATE, named
from engine.layout import Guest, write_private
from engine.store.durable import Store
from engine.store.entity import Entity
from tests.bench import simulated_hosts
from tests.bench.api_world import DISKS_A_VM, GIB, HOSTS, flask_mib, pss_mib, vm_body
from tests.bench.measure import Measured
from tests.bench.simulated_hosts import CA_FILE, CERTIFICATE_FILE, CHANGES, COUNTS, HOSTS_FILE, KEY_FILE, SimulatedHost
from tests.engine import world

VMS = 1_000
SETTLE_S = 40.0
"""All VMs of all hosts are written once, and each question has been put at least once."""
MEASURED_S = 60.0
"""Four of the slowest questions but one; that one, what a host is made of, comes twice."""
BOUND_PERCENT = 25.0
"""Of one core: what issue and users can spare on an engine of two."""
READY_S = 60.0
MEMBERS = tuple(
    Member(f"11111111-0000-4000-8000-0000000001{i:02}", f"bench{i:02}", f"127.9.0.{i + 1}") for i in range(HOSTS)
)
CLUSTER = replace(world.CLUSTER, members=MEMBERS)
START = replace(world.START, host=MEMBERS[0].name, hosts=tuple((one.name, one.address) for one in MEMBERS))
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from engine.jobs.program import main
from engine.layout import Guest
main(Guest(Path(sys.argv[2])), int(sys.argv[3]), lambda text: print(text, file=sys.stderr, flush=True))
"""


def bench_follow() -> list[Measured]:
    """CPU of the jobs program, in percent of a core."""
    with tempfile.TemporaryDirectory(prefix="trivet-bench-", dir="/dev/shm") as name, _followed(Path(name)) as running:
        time.sleep(SETTLE_S)
        before, cpu_s, began_s = running.counts(), running.cpu_s(), time.monotonic()
        time.sleep(MEASURED_S)
        took_s, used_s, after = time.monotonic() - began_s, running.cpu_s() - cpu_s, running.counts()
        asked = {path: after[path] - before.get(path, 0) for path in after}
        print(f"bench: asked in {took_s:.0f} s: {asked}; log: {running.log.read_text()[-500:]}", file=sys.stderr)
        alone_s, memory = running.asked_by_hand_s(asked), pss_mib(running.process)
    share = 100 * used_s / took_s
    return [
        Measured(
            f"following {HOSTS} hosts with {VMS:,} VMs",
            "% of a core",
            share,
            "the same questions, their JSON read",
            100 * alone_s / took_s,
            bound=BOUND_PERCENT,
        ),
        Measured("memory of the program that follows them", "MiB", memory, "Python with flask imported", flask_mib()),
    ]


@dataclass(frozen=True)
class Running:
    """The jobs program and the hosts that it follows."""

    guest: Guest
    port: int
    process: int
    log: Path

    def cpu_s(self) -> float:
        """CPU time of the program since its start."""
        words = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def counts(self) -> Mapping[str, int]:
        """Path → how often a host was asked for it."""
        found: Mapping[str, int] = self._ask(self._connection(), COUNTS)
        return found

    def asked_by_hand_s(self, asked: Mapping[str, int]) -> float:
        """CPU seconds of this process for as many questions."""
        connection = self._connection()
        self._ask(connection, COUNTS)
        began_s = time.process_time()
        for path, count in asked.items():
            asked_path = f"{CHANGES}none/0" if path == CHANGES else path
            for _ in range(count):
                self._ask(connection, asked_path)
        return time.process_time() - began_s

    def _connection(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.guest.ca))
        context.load_cert_chain(self.guest.certificate, self.guest.key)
        return http.client.HTTPSConnection(MEMBERS[0].address, self.port, context=context, timeout=30)

    @staticmethod
    def _ask(connection: http.client.HTTPSConnection, path: str) -> Mapping[str, int]:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        assert answer.status == 200, (path, body)
        found: Mapping[str, int] = body["result"]
        return found


@contextmanager
def _followed(folder: Path) -> Iterator[Running]:
    """The hosts in one process, the program that follows them in another."""
    guest = world.ready_guest(folder / "guest", SystemClock(), START, CLUSTER)
    write_private(guest.serving_file, "")
    _certify(folder, guest)
    _fill(folder, guest)
    port, log = world.free_port(), folder / "log"
    hosts = [sys.executable, "-I", simulated_hosts.__file__, str(folder), str(port)]
    with subprocess.Popen(hosts, stdout=subprocess.PIPE, text=True) as answering, log.open("w") as said:
        try:
            assert answering.stdout is not None and answering.stdout.readline() == "ready\n"
            program = [sys.executable, "-I", "-c", PROGRAM, str(world.REPOSITORY), str(guest.root), str(port)]
            with subprocess.Popen(program, stderr=said) as following:
                try:
                    yield Running(guest, port, following.pid, log)
                finally:
                    following.terminate()
                    following.wait(READY_S)
        finally:
            answering.terminate()


def _certify(folder: Path, guest: Guest) -> None:
    """One certificate for all of them, by the cluster's CA."""
    addresses = tuple(one.address for one in MEMBERS)
    authority = pki.Authority(guest.ca.read_text(), guest.ca_key.read_text())
    key = pki.create_key()
    request = pki.create_csr(key, "hosts", ("hosts", *addresses))
    signed = pki.sign_csr(authority, request, "node", name="hosts", sans=("hosts", *addresses), now_wall_s=time.time())
    (folder / CERTIFICATE_FILE).write_text(signed)
    write_private(folder / KEY_FILE, key)
    (folder / CA_FILE).write_text(authority.certificate_pem)


def _fill(folder: Path, guest: Guest) -> None:
    """Rows of running VMs with disks in the database, and the same VMs on the hosts."""
    held: dict[Member, list[str]] = {member: [] for member in MEMBERS}
    store = Store(guest.database_place)
    with store.connection.transaction():
        for number in range(VMS):
            member = MEMBERS[number % HOSTS]
            refs = {"cluster": world.CLUSTER.id, "template": BLANK_TEMPLATE, "host": member.id}
            vm = named("vm", f"77777777-0000-4000-8000-0000{number:08}", f"vm{number:05}", vm_body(number), **refs)
            store.entities.add(replace(vm, status="up"))
            held[member].append(vm.id)
            for place in range(DISKS_A_VM):
                image = {"image_id": vm.id, "format": "cow", "sparse": True, "provisioned_size": 10 * GIB}
                disk = Entity(
                    "disk", f"7777777{place}-1111-4000-8000-0000{number:08}", f"{vm.name}_{place}", image, status="ok"
                )
                store.entities.add(disk)
                store.entities.add(
                    Entity("disk_attachment", disk.id, "", {"interface": "virtio"}, {"disk": (disk.id,)}, ("vm", vm.id))
                )
    store.close()
    hosts = [encode(SimulatedHost(member, tuple(vms))) for member, vms in held.items()]
    (folder / HOSTS_FILE).write_text(json.dumps(hosts))
