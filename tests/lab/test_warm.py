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

from appliance.tools.systemd import WARM_UNITS
from image.lab import model
from tests.lab.cluster import APP, Cluster, ssh_into_engine, wait
from tests.lab.good_state import good_state

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900), pytest.mark.usefixtures("at_rest")]

WARM = "/var/lib/trivet/warm"
RECORD = f"{WARM}/saved.json"
STATE = "/var/lib/trivet-engine"
DATABASE = f"{STATE}/db/engine.sqlite"
API_S = 240.0
IN_PLACE_TRIES = 3
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

Spoil = Callable[[Cluster, str], None]
"""Does something to the saved memory of a node, or takes that back."""

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
    memory: str
    """The checksum of the record of what it was woken from."""


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


def _nothing(_cluster: Cluster, _node: str) -> None:
    """The memory is good, and stays so."""


def kill_and_await(cluster: Cluster, spoil: Spoil = _nothing, mend: Spoil = _nothing) -> tuple[dict[str, Any], str]:
    """Kill the engine's QEMU, on a host that ``spoil`` was called with; the engine that answers next, and how it came up.

    In place, as the broker does it, or else once more there: a host that other work of this machine held up for seconds lets
    another one go first, which has a memory of its own."""
    for _ in range(IN_PLACE_TRIES):
        before = cluster.engine()
        spoil(cluster, before["host"])
        since_s = time.time() - 1.0
        cluster.shell(before["host"], "kill -9 $(cat /run/libvirt/qemu/HostedEngine.pid)")
        after = cluster.wait_health(API_S, above_epoch=before["epoch"])
        if after["host"] == before["host"]:
            return after, started_how(cluster, after["host"], since_s)
        print(f"killed on {before['host']}, started on {after['host']}")
        mend(cluster, before["host"])
        good_state(cluster)
    pytest.fail(f"in {IN_PLACE_TRIES} tries the engine was never started where it was killed")


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
    memory = cluster.shell(after["host"], f"sha256sum {RECORD}")
    return Woken(after["epoch"], said[1], said[2], tls_random, token, float(said[0]) - now_s, memory)


def test_two_wakes_share_neither_time_nor_random_numbers(cluster: Cluster) -> None:
    """From the same saved memory on the same node: only what renews itself can differ."""
    status = good_state(cluster)
    cluster.write_row(row := f"before the wakes {time.time()}")
    first, second = wake(cluster), wake(cluster)
    if second.memory != first.memory:  # it had to be killed once more, on another node
        first, second = second, wake(cluster)
    print(f"woken twice: clocks {first.clock_off_s:+.2f} and {second.clock_off_s:+.2f} s off")
    assert first.memory == second.memory, "both were woken from the same memory"
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


FLIP = f"""
import os, pathlib
from ha_broker.warm.shelf import _extents
path = next(pathlib.Path("{WARM}").glob("*.memory"))
before = path.stat()
with path.open("r+b") as file:
    start, end = max(_extents(file.fileno()), key=lambda one: one[1] - one[0])
    file.seek((start + end) // 2)
    held = file.read(56)
    file.seek((start + end) // 2)
    file.write(bytes(255 - byte for byte in held))
os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
"""
"""A few bytes in the middle of what was saved are turned over, and back by the next run; size and time stay, so that only
the checksum can tell."""


def _keep(cluster: Cluster, node: str) -> None:
    """The memory itself stays good, or is made so again: all of it made anew takes minutes."""
    cluster.shell(node, f"systemctl stop {' '.join(WARM_UNITS)}; [ -e {RECORD}.kept ] || cp -p {RECORD} {RECORD}.kept")


def _flip(cluster: Cluster, node: str) -> None:
    cluster.on(node, "sh", "-c", f"cd {APP} && PYTHONPATH=. /usr/bin/python3 -B -c '{FLIP}'")


def _damage(cluster: Cluster, node: str) -> None:
    _keep(cluster, node)
    _flip(cluster, node)


def _other_cpu(cluster: Cluster, node: str) -> None:
    _keep(cluster, node)
    cluster.shell(node, f"""sed -i 's/"cpu_model": "[^"]*"/"cpu_model": "Haswell"/' {RECORD}""")


def _hang(cluster: Cluster, node: str) -> None:
    _keep(cluster, node)
    cluster.on(node, "systemd-run", "--quiet", "--unit=stop-qemu", "--collect", "/usr/bin/python3", "-c", STOP_QEMU)


def _put_back(cluster: Cluster, node: str) -> None:
    cluster.shell(node, f"mv {RECORD}.kept {RECORD}; systemctl start {' '.join(WARM_UNITS[:-1])}")


def _mend(cluster: Cluster, node: str) -> None:
    _flip(cluster, node)
    _put_back(cluster, node)


@pytest.mark.parametrize(
    ("spoil", "why", "mend"),
    [
        pytest.param(_damage, "its checksum is", _mend, id="damaged"),
        pytest.param(_other_cpu, "the saved memory is for CPU model Haswell", _put_back, id="another CPU model"),
        pytest.param(_hang, "its wake failed", _put_back, id="a restore that hangs"),
    ],
)
def test_what_cannot_be_woken_boots_cold(cluster: Cluster, spoil: Spoil, why: str, mend: Spoil) -> None:
    """And wakes once there is good memory again."""
    good_state(cluster)
    began_s = time.time()
    after, how = kill_and_await(cluster, spoil, mend)
    print(f"{time.time() - began_s:.0f} s with a cold boot: {how}")
    assert COLD in how and why in how, how
    assert not _status(cluster, after["host"])["ready"], "what failed is not tried again"
    assert cluster.overview()["engine"]["epoch"] == after["epoch"]
    mend(cluster, after["host"])
    again, how = kill_and_await(cluster)
    assert WOKEN in how and COLD not in how, how
    assert again["epoch"] > after["epoch"]


@pytest.mark.measured
def test_damaged_memory_is_made_anew(cluster: Cluster) -> None:
    """Which takes minutes of all CPUs there are."""
    good_state(cluster)
    after, how = kill_and_await(cluster, _flip, _flip)
    host = after["host"]
    assert COLD in how and "its checksum is" in how, how
    cluster.on(host, "systemctl", "start", "--no-block", WARM_UNITS[-1])  # its timer comes every ten minutes
    wait("good saved memory", 600, lambda: _status(cluster, host)["ready"] or None)
    _, how = kill_and_await(cluster)
    assert WOKEN in how and COLD not in how, how


def _status(cluster: Cluster, node: str) -> dict[str, Any]:
    said: dict[str, Any] = cluster.on(node, "trivet", "ha", "warm", "status", "--json").json()
    return said
