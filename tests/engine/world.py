"""An engine to test with: a guest's file tree in a temporary folder, certificates, fake nodes, and the real server
on loopback."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.codec import encode
from appliance.effects.clock import Clock, FakeClock
from appliance.errors import TrivetError, Unavailable
from appliance.model.cluster import Cluster, EngineVm, Member
from appliance.model.engine_start import EngineIdentity, EngineStart
from appliance.model.ha import EngineHa, HaStatus, HostHa
from appliance.model.node import CpuFacts, Nic, NodeFacts, NodeStatistics
from appliance.model.vm import VmState
from appliance.model.vm_live import VmStatistics
from appliance.passwords import hash_password
from engine.accounts import Accounts
from engine.boot.activate import first_start, record
from engine.core import Engine
from engine.layout import Guest, write_private
from engine.store.durable import Store
from engine.store.observed import Observations
from gluster.model import Brick, Peer, PoolStatus, Volume

PASSWORD = "correct horse battery"
ADMIN = "admin@internal"
REPOSITORY = Path(__file__).resolve().parents[2]
MEMBERS = tuple(Member(f"11111111-0000-4000-8000-00000000000{i}", f"node{i}", f"198.18.0.{10 + i}") for i in (1, 2, 3))
CLUSTER = Cluster(
    "22222222-0000-4000-8000-000000000001",
    "trivet",
    MEMBERS,
    EngineVm(
        "33333333-0000-4000-8000-000000000001",
        "engine.trivet.lab",
        "198.18.0.100",
        24,
        "198.18.0.1",
        (),
        "52:54:00:00:00:01",
        1024,
        2,
        4 * 1024**3,
    ),
)
START = EngineStart(
    7, "node2", "198.18.0.100", 24, "198.18.0.1", (), "engine.trivet.lab", tuple((one.name, one.address) for one in MEMBERS)
)


def certificates(cluster: Cluster = CLUSTER) -> tuple[str, str, str, str]:
    """(CA certificate, CA key, engine certificate, engine key) as PEM."""

    def key() -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(ec.SECP256R1())

    def pem(one: ec.EllipticCurvePrivateKey) -> str:
        form = serialization.PrivateFormat.PKCS8
        return one.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()

    def builder(name: str, issuer: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        def who(common: str) -> x509.Name:
            return x509.Name(
                [x509.NameAttribute(NameOID.COMMON_NAME, common), x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster.id)]
            )

        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(who(name))
            .issuer_name(who(issuer))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=30))
        )

    ca_key, engine_key = key(), key()
    ca = builder("Trivet CA", "Trivet CA", ca_key.public_key()).add_extension(x509.BasicConstraints(True, None), True)
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("engine.trivet.lab")]
    )
    own = builder("engine", "Trivet CA", engine_key.public_key()).add_extension(names, False)
    ca_pem, own_pem = (
        one.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode() for one in (ca, own)
    )
    return ca_pem, pem(ca_key), own_pem, pem(engine_key)


def identity(cluster: Cluster = CLUSTER) -> EngineIdentity:
    ca, ca_key, own, own_key = certificates(cluster)
    return EngineIdentity(cluster, hash_password(PASSWORD), ca, ca_key, own, own_key)


def ready_guest(root: Path, clock: Clock, start: EngineStart = START, cluster: Cluster = CLUSTER) -> Guest:
    """A guest whose data disk is initialised (its mount point is a plain folder here)."""
    guest = Guest(root)
    guest.state.mkdir(parents=True, exist_ok=True)
    write_private(guest.start_id, "boot-1\n")
    write_private(guest.start_file, json.dumps(encode(start)))
    write_private(guest.identity_file, json.dumps(encode(identity(cluster))))
    first_start(guest, clock, lambda _text: None)
    record(guest, start, clock, lambda _text: None)
    write_private(guest.active_file, "")
    return guest


def facts(member: Member) -> NodeFacts:
    return NodeFacts(
        member.name,
        member.id,
        CLUSTER.id,
        "0.1.0",
        0.0,
        "boot",
        "6.12.0-1-cloud-amd64",
        CpuFacts("Intel Xeon", 1, 2, 1, False),
        8 * 1024**3,
        (),
        (
            Nic("eth0", "52:54:00:00:00:11", True, 1500, (), "ovirtmgmt", True),
            Nic("ovirtmgmt", "52:54:00:00:00:11", True, 1500, (f"{member.address}/24",), "", False),
            Nic("eth1", "52:54:00:00:01:11", True, 1500, (), "", True),
        ),
        "11.1",
        "11.3.0",
        "10.0.2",
        tuple(one.name for one in MEMBERS if one is not member),
        "Supermicro",
        "X11",
        "S1",
    )


def statistics(available: int = 5 * 1024**3) -> NodeStatistics:
    return NodeStatistics(8 * 1024**3, available, 0, 0, 0.42, 0.4, 0.3, 12.0, 3.0, 85.0, 86_400.0, ())


def pool(online: bool = True, pending: int = 0) -> PoolStatus:
    def volume(name: str) -> Volume:
        bricks = tuple(
            Brick(
                one.name,
                f"/data/{name}",
                online or one.name != "node3",
                42,
                49152,
                100 * 1024**3,
                60 * 1024**3,
                "xfs",
                pending,
                0,
            )
            for one in MEMBERS
        )
        return Volume(
            f"v-{name}",
            name,
            "Replicate",
            "Started",
            3,
            bricks,
            {"cluster.quorum-type": "auto"},
            100 * 1024**3,
            40 * 1024**3,
            60 * 1024**3,
        )

    peers = tuple(
        Peer(one.id, one.name, (one.name,), online or one.name != "node3", "Peer in Cluster") for one in MEMBERS[1:]
    )
    return PoolStatus(peers, (volume("engine"), volume("vmstore")))


def ha(host: str = "node2") -> HaStatus:
    hosts = tuple(
        HostHa(
            one.name,
            True,
            3400,
            (),
            "the engine runs here" if one.name == host else f"stands by: {host} holds the engine",
            one.name == host,
            0.4,
        )
        for one in MEMBERS
    )
    return HaStatus(EngineHa("up", host, 7, "2026-11-23T14:00:00Z"), "none", hosts, (), 0.3)


@dataclass
class FakeNode:
    """A node that answers what it is told to, or fails."""

    member: Member
    engine_here: bool = False
    error: TrivetError | None = None
    pool_error: TrivetError | None = None
    asked: list[str] = field(default_factory=list)
    statistics_now: NodeStatistics = field(default_factory=statistics)
    mark: str = "as before"
    used: tuple[VmStatistics, ...] = ()
    """Of the VMs that it has beside the engine's."""

    def _answer(self, what: str) -> None:
        self.asked.append(what)
        if self.error:
            raise self.error

    def facts(self) -> NodeFacts:
        self._answer("facts")
        return facts(self.member)

    def statistics(self) -> NodeStatistics:
        self._answer("statistics")
        return self.statistics_now

    def vms(self) -> tuple[VmState, ...]:
        self._answer("vms")
        own = (VmState(CLUSTER.engine.id, "HostedEngine", "running", 1024, 2, 12.5, 4242),) if self.engine_here else ()
        return (*own, *(VmState(one.id, one.name, "running", 1024, 1, one.cpu_time_s, 1) for one in self.used))

    def vm_statistics(self) -> tuple[VmStatistics, ...]:
        self._answer("vm-statistics")
        return self.used

    def vm_changes(self, mark: str, wait_ms: int) -> str:
        self._answer("vm-changes")
        return self.mark

    def ha_status(self) -> HaStatus:
        self._answer("ha")
        return ha()

    def pool(self) -> PoolStatus:
        self._answer("pool")
        if self.pool_error:
            raise self.pool_error
        return pool()


def unreachable(name: str) -> Unavailable:
    return Unavailable("agent.unreachable", subject=name, reason="did not answer", remedy="Look.")


def observe(observations: Observations, silent: tuple[str, ...] = (), **changes: object) -> None:
    """All nodes have just said everything."""
    for member in MEMBERS:
        if member.name in silent:
            continue
        node = FakeNode(member, engine_here=member.name == "node2")
        said = {"statistics": node.statistics(), "facts": node.facts(), "vms": node.vms(), "heard": True}
        for kind, body in {**said, **changes}.items():
            observations.put(member.name, kind, encode(body))
    observations.put("node1", "ha", encode(ha()))
    observations.put("node1", "pool", encode(pool()))


def observe_one(observations: Observations, member: Member) -> None:
    """A host that has joined since has just said everything; it has no VM."""
    said = {"statistics": statistics(), "facts": facts(member), "vms": [], "heard": True}
    for kind, body in said.items():
        observations.put(member.name, kind, encode(body))


def engine_of(guest: Guest, clock: FakeClock) -> Engine:
    store = Store(guest.database)
    observations = Observations(guest.observed, clock)
    return Engine(
        CLUSTER, START, store, observations, Accounts(store, clock), clock, guest.ca.read_text(), clock.monotonic_s()
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Running:
    """The real server in a process of its own."""

    guest: Guest
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.guest.ca))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def serve(guest: Guest, log: Path) -> Running:
    """`trivet engine web` on a free port of loopback; returns when it answers."""
    port = free_port()
    words = ["engine", "web", "--root", str(guest.root), "--address", "127.0.0.1", "--port", str(port)]
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); from appliance.command import main; sys.exit(main({words!r}))"
    )
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", code],
            stdout=out,
            stderr=out,
            env={"PATH": os.environ["PATH"], "MALLOC_ARENA_MAX": "2"},
        )
    running = Running(guest, port, process)
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{running.url}/health", context=running.context, timeout=2).close()
            return running
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    if process.poll() is None:
        running.stop()
    raise AssertionError(log.read_text())
