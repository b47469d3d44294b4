"""Warm start on real nodes: what a woken engine VM must not take from its saved memory, and that whatever is wrong with the
memory ends in a cold boot by itself."""

from __future__ import annotations

import json
import mmap
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

from image.lab import model
from tests.lab.cluster import APP, Cluster, ssh_into_engine, wait
from tests.lab.good_state import good_state

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900), pytest.mark.usefixtures("at_rest")]

WARM = "/var/lib/trivet/warm"
RECORD = f"{WARM}/saved.json"
STATE = "/var/lib/trivet-engine"
DATABASE = f"{STATE}/db/engine.sqlite"
API_S = 240.0
CLOCK_OFF_S = 1.5
"""The guest's clock chip is read to half a second; as much again for the kernel's own steering."""
WOKEN = "the engine VM was woken from"
COLD = "the engine VM boots cold"
LONGEST_PART = 64
"""So many bytes of a key are searched for: a key that lies in memory in two pieces still shows."""
SHORTEST_SECRET = 16
"""Less would be found by chance, or always."""
HANDSHAKE, SERVER_HELLO = 22, 2
RANDOM_AT = 11
"""In a server hello, after the record's head (5), the handshake's (4) and the version (2): 32 random bytes (RFC 8446)."""

STOP_QEMU = """
import os, pathlib, signal, time
here = {entry.name for entry in pathlib.Path("/proc").iterdir()}
end = time.monotonic() + 60
while time.monotonic() < end:
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or entry.name in here:
            continue
        try:
            said = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"guest=HostedEngine," in said and b"-incoming" in said:
            os.kill(int(entry.name), signal.SIGSTOP)
            print("stopped", flush=True)
            raise SystemExit
    time.sleep(0.002)
"""
"""The next QEMU that begins to restore the engine VM stands still for ever: a restore that hangs."""


@dataclass(frozen=True)
class Woken:
    """What an engine has after its start that no other start may have, too."""

    epoch: int
    start_id: str
    kernel_random: str
    tls_random: str
    token: str
    clock_off_s: float
    """0 where the guest's clock is between this machine's before and after it was asked, which takes seconds."""


def in_guest(cluster: Cluster, script: str) -> str:
    """Run ``script`` in the engine VM, over the lab's own network."""
    ssh = ssh_into_engine(cluster.name, cluster.lab("status", "--json").json()["engine_address"])
    done = subprocess.run([*ssh, script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
    return done.stdout


def started_how(cluster: Cluster, node: str, since_s: float) -> str:
    """The broker's sentence about how it brought the engine VM up since wall time ``since_s``."""
    journal = cluster.shell(node, f"journalctl --unit=trivet-ha --since=@{since_s:.0f} --output=cat", ok=False)
    found = [line for line in journal.splitlines() if WOKEN in line or COLD in line]
    return "\n".join(found)


def kill_and_await(cluster: Cluster) -> tuple[dict[str, Any], str]:
    """Kill the engine's QEMU; the engine that answers next, and how it was started."""
    before = cluster.engine()
    since_s = time.time() - 1.0
    cluster.shell(before["host"], "kill -9 $(cat /run/libvirt/qemu/HostedEngine.pid)")
    after = cluster.wait_health(API_S, above_epoch=before["epoch"])
    assert after["host"] == before["host"], "it is started in place"
    return after, started_how(cluster, after["host"], since_s)


def server_random(cluster: Cluster) -> str:
    """The random number in the engine's answer to the first message of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = cluster.tls.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    place = urlsplit(cluster.url)
    with socket.create_connection((str(place.hostname), place.port or 443), 10) as raw:
        raw.sendall(outgoing.read())
        head = b""
        while len(head) < RANDOM_AT + 32:
            part = raw.recv(4096)
            assert part, "the engine ended the connection"
            head += part
    assert (head[0], head[5]) == (HANDSHAKE, SERVER_HELLO)
    return head[RANDOM_AT : RANDOM_AT + 32].hex()


def wake(cluster: Cluster) -> Woken:
    """Kill the engine's QEMU and look at what is woken."""
    after, how = kill_and_await(cluster)
    assert WOKEN in how and COLD not in how, how or "the broker said nothing of its start"
    tls_random = server_random(cluster)
    token = cluster.token()
    asked_s = time.time()
    said = in_guest(cluster, "date +%s.%N; cat /run/trivet/start-id; head -c 32 /dev/urandom | base64").split()
    now_s = min(max(float(said[0]), asked_s), time.time())
    return Woken(after["epoch"], said[1], said[2], tls_random, token, float(said[0]) - now_s)


def test_two_wakes_share_neither_time_nor_random_numbers(cluster: Cluster) -> None:
    """From the same saved memory on the same node: only what renews itself can differ."""
    status = good_state(cluster)
    host = status["engine"]["host"]
    memory = cluster.shell(host, f"sha256sum {RECORD}")
    cluster.write_row(row := f"before the wakes {time.time()}")
    first, second = wake(cluster), wake(cluster)
    print(f"woken twice: clocks {first.clock_off_s:+.2f} and {second.clock_off_s:+.2f} s off")
    assert cluster.shell(host, f"sha256sum {RECORD}") == memory, "both were woken from the same memory"
    assert second.epoch > first.epoch > status["engine"]["epoch"]
    for name in ("start_id", "kernel_random", "tls_random", "token"):
        assert getattr(first, name) != getattr(second, name), f"{name} is the same after two wakes"
    assert max(abs(first.clock_off_s), abs(second.clock_off_s)) < CLOCK_OFF_S, "the guest's clock is not the host's"
    assert cluster.has_row(row), "the database is the data disk's"
    assert cluster.overview()["engine"]["epoch"] == second.epoch, "a login works, and the epoch is that of this start"


def test_saved_memory_holds_no_secret(cluster: Cluster) -> None:
    """Every secret of the installation is searched for in every file, as text and as what the text stands for."""
    good_state(cluster)
    secrets = dict(_secrets(cluster))
    assert min(len(value) for value in secrets.values()) >= SHORTEST_SECRET, secrets
    assert len(secrets) == 3 + 2 * 3 + 2 * len(cluster.nodes), sorted(secrets)
    for node in cluster.nodes:
        file = _memory_of(cluster, node)
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as memory:
            assert memory.find(b"TRIVET-STANDBY") >= 0, "what is in the guest's memory is found in the file as it is"
            found = [name for name, value in secrets.items() if memory.find(value) >= 0]
        assert found == [], f"the saved memory of {node} holds {found}"
        assert cluster.shell(node, f"stat --format=%a {WARM} {WARM}/*.memory").split() == ["700", "600"]


def _memory_of(cluster: Cluster, node: str) -> Path:
    saved = json.loads(cluster.shell(node, f"cat {RECORD}"))["file"]
    return model.STATE_ROOT / cluster.name / node / "upper" / WARM.lstrip("/") / saved


def _secrets(cluster: Cluster) -> Iterable[tuple[str, bytes]]:
    """(name, bytes) of what must not be there."""
    yield "the administrator's password", cluster.password.encode()
    yield "a token", cluster.token().encode()
    hashes = in_guest(cluster, f"grep --text --only-matching --no-filename 'argon2id[$].*' {DATABASE}* | head -1")
    yield "the hash of the password", hashes.strip().encode()[:LONGEST_PART]
    for name, text in (
        ("the engine's key", in_guest(cluster, f"cat {STATE}/pki/engine.key")),
        ("the cluster's CA key", in_guest(cluster, f"cat {STATE}/ca/ca.key")),
        ("the host key of the engine VM", in_guest(cluster, f"cat {STATE}/ssh/ssh_host_ed25519_key")),
    ):
        yield from _of_key(name, text)
    for node in cluster.nodes:
        yield from _of_key(f"the key of {node}", cluster.shell(node, "cat /var/lib/trivet/pki/node.key"))


def _of_key(name: str, pem: str) -> Iterable[tuple[str, bytes]]:
    """A line of the text, and the middle of what it encodes: the private number."""
    body = re.sub(r"-----[^-]+-----", "", pem).split()
    assert len("".join(body)) > LONGEST_PART, name
    yield f"{name}, as text", max(body, key=len).encode()
    yield f"{name}, as numbers", _private_number(pem)


def _private_number(pem: str) -> bytes:
    """The 32 secret bytes of a P-256 or Ed25519 key."""
    if "OPENSSH" in pem:
        host_key = load_ssh_private_key(pem.encode(), None)
        assert isinstance(host_key, ed25519.Ed25519PrivateKey)
        return host_key.private_bytes_raw()
    key = load_pem_private_key(pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.private_numbers().private_value.to_bytes(32, "big")


def _damage(cluster: Cluster, node: str) -> None:
    """A few bytes in the middle of what was saved; size and time stay, so that only the checksum can tell."""
    program = f"""
import os, pathlib
from ha_broker.warm.shelf import _extents
path = next(pathlib.Path("{WARM}").glob("*.memory"))
before = path.stat()
with path.open("r+b") as file:
    start, end = max(_extents(file.fileno()), key=lambda one: one[1] - one[0])
    file.seek((start + end) // 2)
    file.write(b"damaged" * 8)
os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
"""
    cluster.on(node, "sh", "-c", f"cd {APP} && PYTHONPATH=. /usr/bin/python3 -B -c '{program}'")


def _other_cpu(cluster: Cluster, node: str) -> None:
    """The memory itself stays good, so its record is put back afterwards instead of all of it being made anew."""
    cluster.shell(
        node, f"""cp -p {RECORD} {RECORD}.kept; sed -i 's/"cpu_model": "[^"]*"/"cpu_model": "Haswell"/' {RECORD}"""
    )


def _hang(cluster: Cluster, node: str) -> None:
    cluster.on(node, "systemd-run", "--quiet", "--unit=stop-qemu", "--collect", "/usr/bin/python3", "-c", STOP_QEMU)


@pytest.mark.parametrize(
    ("spoil", "why", "wakes_again"),
    [
        pytest.param(_damage, "its checksum is", True, id="damaged"),
        pytest.param(_other_cpu, "the saved memory is for CPU model Haswell", True, id="another CPU model"),
        pytest.param(_hang, "its wake failed", False, id="a restore that hangs"),
    ],
)
def test_what_cannot_be_woken_boots_cold(
    cluster: Cluster, spoil: Callable[[Cluster, str], None], why: str, wakes_again: bool
) -> None:
    """And wakes once there is good memory again; after a hang that is made anew as after damage, which takes minutes."""
    host = good_state(cluster)["engine"]["host"]
    began_s = time.time()
    spoil(cluster, host)
    after, how = kill_and_await(cluster)
    print(f"{time.time() - began_s:.0f} s with a cold boot: {how}")
    assert COLD in how and why in how, how
    assert cluster.overview()["engine"]["epoch"] == after["epoch"]
    cluster.shell(host, f"[ ! -e {RECORD}.kept ] || mv {RECORD}.kept {RECORD}")
    if not wakes_again:
        return
    wait("good saved memory", 600, lambda: _ready(cluster, host) or None)
    again, how = kill_and_await(cluster)
    assert WOKEN in how and COLD not in how, how
    assert again["epoch"] > after["epoch"]


def _ready(cluster: Cluster, node: str) -> bool:
    """The maker's timer comes every ten minutes; who waits may ask it."""
    cluster.on(node, "systemctl", "start", "--no-block", "trivet-ha-warm.service", ok=False)
    return bool(cluster.on(node, "trivet", "ha", "warm", "status", "--json").json()["ready"])
