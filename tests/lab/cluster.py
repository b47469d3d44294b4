"""A driver of a real three-node cluster for the lab tests: everything goes through the program a person would use."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from appliance.errors import TrivetError
from image.lab import model
from image.lab.operations import Lab

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")

POLL_S = 0.2
POLL_REST = 2.0
"""After a question that took long, rest so many times as long: questions must not take the CPUs from what they wait for."""
VIRSH_LIST = "virsh -c qemu:///system list --name"
APP = "/usr/lib/trivet/app"
COMMAND_TIMEOUT_S = 120.0
HEAL_EVERY_S = 10.0
"""glusterd does one thing at a time for a volume, and the brokers have things to ask of it, too."""
SSH_ATTEMPTS = 60
API_TIMEOUT_S = 60.0
"""An emulated engine pauses for 10 to 18 s when a lost node boots beside it."""
NEWEST_EVENTS = 100
"""More than come between a row's writing and the question for it; each one costs an emulated CPU."""
BLOCK_BYTES = 4096
"""What the tests of the fence write and read at a time: the smallest that a direct read of any disk allows."""


@dataclass(frozen=True)
class Answer:
    """What a command line left."""

    status: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        return json.loads(self.stdout)


def trivet(*words: str, timeout_s: float = COMMAND_TIMEOUT_S, ok: bool = True, stdin: str | None = None) -> Answer:
    """Run ``./trivet WORDS``; unless ``ok`` is false, a bad end fails the test with all that was said."""
    done = subprocess.run(
        [str(ROOT / "trivet"), *words], capture_output=True, text=True, timeout=timeout_s, input=stdin, cwd=ROOT
    )
    if ok:
        assert done.returncode == 0, f"trivet {' '.join(words)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return Answer(done.returncode, done.stdout, done.stderr)


def wait(what: str, within_s: float, probe: Callable[[], T | None], rest_s: float = POLL_S) -> T:
    """What ``probe`` returns once it returns something; fails when it did not within ``within_s``. ``rest_s``: the least
    time between two questions."""
    end_s = time.monotonic() + within_s
    while True:
        asked_s = time.monotonic()
        found = probe()
        if found is not None and found is not False:
            return found
        now_s = time.monotonic()
        assert now_s < end_s, f"not within {within_s:g} s: {what}"
        time.sleep(max(rest_s, POLL_REST * (now_s - asked_s)))


def key_of(name: str) -> Path:
    """The private key with which a test logs into the engine VM of lab ``name``, made at the first call."""
    key = ROOT / "build/lab-keys" / name
    if not key.exists():
        key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(key)], check=True)
    return key


def ssh_into_engine(name: str, address: str) -> list[str]:
    """The command that runs another one in the engine VM of lab ``name``. Right after a start it is tried each second: an
    engine that answers starts its ssh afterwards, which takes an emulated CPU some time."""
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=30")
    words = [word for one in (*options, f"ConnectionAttempts={SSH_ATTEMPTS}") for word in ("-o", one)]
    space = ["ip", "netns", "exec", model.switch_namespace(name)]
    return [*space, "ssh", *words, "-i", str(key_of(name)), f"root@{address}"]


class Cluster:
    """The cluster of lab ``name``, installed by ``trivet run``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lab = Lab(name, SystemProcesses(), SystemClock())
        self._healed_s = float("-inf")
        status = self.status()
        self.nodes: tuple[str, ...] = tuple(node["name"] for node in status["nodes"])
        self.url: str = status["url"]
        self.ca_file: str = status["ca_file"]
        self.tls = ssl.create_default_context(cafile=self.ca_file)
        self.password = Path(status["password_file"]).read_text().strip()

    # --- the program

    def status(self) -> Any:
        return trivet("status", "--name", self.name, "--json").json()

    def lab(self, *words: str, ok: bool = True, timeout_s: float = COMMAND_TIMEOUT_S) -> Answer:
        return trivet("lab", *words, "--name", self.name, ok=ok, timeout_s=timeout_s)

    def is_whole(self) -> bool:
        """Every node on, every cable plugged, nothing dropped: then `trivet lab up` has nothing to do."""
        whole = all((node.power, node.link) == ("on", "up") for node in self._lab.status())
        return whole and not self._lab.wanted().drops

    def make_whole(self, timeout_s: float) -> None:
        """Whatever was done to its machines and cables."""
        if not self.is_whole():
            self.lab("up", timeout_s=timeout_s)

    def power_of(self, node: str) -> str:
        """``on`` or ``off``."""
        return next(one.power for one in self._lab.status() if one.name == node)

    def root(self, node: str) -> Path:
        """The node's files as this machine sees them, its mounts among them."""
        return Path(f"/proc/{self._lab.running(node)[1]}/root")

    def begin(self, node: str, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Begin a command in a node; its output is a pipe."""
        return subprocess.Popen(self._lab.enter(*self._lab.running(node), argv), stdout=subprocess.PIPE)

    def on(self, node: str, *argv: str, ok: bool = True, timeout_s: float = COMMAND_TIMEOUT_S) -> Answer:
        """Run a command in a node: as `trivet lab exec`, but without the start of a Python for each."""
        try:
            done = self._lab.exec(node, argv, timeout_s=timeout_s)
        except TrivetError as error:
            assert not ok, f"{node}: {error}"
            return Answer(2, "", str(error))
        if ok:
            assert done.status == 0, f"{node}: {argv} ended with {done.status}\n{done.stdout}\n{done.stderr}"
        return Answer(done.status, done.stdout, done.stderr)

    def shell(self, node: str, script: str, ok: bool = True, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        return self.on(node, "sh", "-c", script, ok=ok, timeout_s=timeout_s).stdout

    def everywhere(self, script: str, ok: bool = True) -> None:
        """On all nodes at once."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: self.shell(node, script, ok=ok), self.nodes))

    def read(self, node: str, path: str) -> str:
        """A file that the node wrote, from its disk as this machine holds it; empty when there is none."""
        file = model.STATE_ROOT / self.name / node / "upper" / path.lstrip("/")
        return file.read_text(errors="replace") if file.exists() else ""

    def power(self, node: str, wanted: str) -> float:
        """Switch the power; returns the wall time just before."""
        at_s = time.time()
        self.lab("power", node, wanted)
        return at_s

    def link(self, node: str, wanted: str) -> float:
        at_s = time.time()
        self.lab("link", node, wanted)
        return at_s

    def ha(self, node: str) -> Any:
        return self.on(node, "trivet", "ha", "status", "--json", ok=False).json()

    def events(self, node: str, since_s: float) -> list[dict[str, Any]]:
        """What the broker of ``node`` has done since wall time ``since_s``; also of one that is off or stands still."""
        text = "".join(self.read(node, f"/var/lib/trivet/ha/{name}") for name in ("events.old.jsonl", "events.jsonl"))
        events = [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]
        return [event for event in events if event["wall_s"] >= since_s]

    def first_event(self, nodes: tuple[str, ...], kind: str, since_s: float, within_s: float) -> dict[str, Any]:
        """The earliest event of ``kind`` on ``nodes``, with ``node`` added."""

        def probe() -> dict[str, Any] | None:
            found = [
                {**event, "node": node} for node in nodes for event in self.events(node, since_s) if event["kind"] == kind
            ]
            return min(found, key=lambda event: event["wall_s"], default=None)

        return wait(f"{kind} on one of {', '.join(nodes)}", within_s, probe)

    def guests(self, node: str, ok: bool = True) -> list[str]:
        """The VMs that libvirt of ``node`` has running or paused. Without ``ok``: none, if it cannot be asked."""
        return self.shell(node, VIRSH_LIST, ok=ok).split()

    def has_engine(self, node: str, ok: bool = True) -> bool:
        """Whether the engine VM is among them: a standby VM, whose memory is being saved, may be there at any time."""
        return "HostedEngine" in self.guests(node, ok)

    def resident_bytes(self, node: str) -> int:
        """Memory of Trivet's programs on ``node``, counted by their own code, but by Debian's Python: it is none of them."""
        count = "from appliance.effects.own_memory import resident_bytes; print(resident_bytes())"
        return int(self.shell(node, f"cd {APP} && PYTHONPATH=. /usr/bin/python3 -B -c '{count}'"))

    def block(self, node: str, file: str, offset_mib: int) -> bytes:
        """``BLOCK_BYTES`` of a file on a volume, as ``node`` reads it from the bricks, past all caches."""
        blocks = offset_mib * (1 << 20) // BLOCK_BYTES
        copy = f"dd if={file} iflag=direct bs={BLOCK_BYTES} skip={blocks} count=1 status=none"
        return bytes.fromhex(self.shell(node, f"{copy} | od -An -v -tx1"))

    # --- the engine

    def health(self) -> dict[str, Any] | None:
        """What /health says, or None while nobody answers with "up"."""
        try:
            with urllib.request.urlopen(self.url.rstrip("/") + "/health", timeout=4, context=self.tls) as answer:
                said = json.loads(answer.read())
        except (OSError, ValueError):
            return None
        return said if said["status"] == "up" else None

    def wait_health(self, within_s: float, above_epoch: int = 0) -> dict[str, Any]:
        """/health once it is up with an epoch above ``above_epoch``."""

        def probe() -> dict[str, Any] | None:
            said = self.health()
            return self._placed(said) if said is not None and said["epoch"] > above_epoch else None

        return wait(f"the engine up with an epoch above {above_epoch}", within_s, probe)

    def _placed(self, said: dict[str, Any]) -> dict[str, Any]:
        """/health names the host of the start; after a migration it is another one."""
        first = sorted(self.nodes, key=lambda node: node != said["host"])
        here = (node for node in first if self.has_engine(node, ok=False))
        return {**said, "host": next(here, said["host"])}

    def engine(self) -> dict[str, Any]:
        """Where the engine is, healthy now or soon."""
        return self.wait_health(180)

    def has_saved_memory(self) -> bool:
        """Whether each node can wake the engine VM: read from outside, because it is asked for minutes."""
        return all(self.read(node, "/var/lib/trivet/warm/saved.json") for node in self.nodes)

    def is_safe(self, node: str) -> bool:
        """Whether the pool may lose a node, as ``node`` sees it. If not, the self-heal daemons are asked to look now: by
        themselves they do so once a minute, and a run of the tests has some thirty such minutes."""
        pool = self.on(node, "trivet", "gluster", "status", "--json", ok=False)
        safe = pool.status == 0 and bool(pool.json()["safe_to_lose_one_node"])
        if not safe and time.monotonic() - self._healed_s >= HEAL_EVERY_S:
            self.shell(node, "for one in engine vmstore; do gluster --mode=script volume heal $one; done", ok=False)
            self._healed_s = time.monotonic()
        return safe

    def settled(self, within_s: float = 240) -> dict[str, Any]:
        """Engine up, all hosts alive, nothing left to heal: the state in which a test may begin."""

        def probe() -> dict[str, Any] | None:
            said = self.health()
            if said is None:
                return None
            said = self._placed(said)
            ha = self.ha(said["host"])
            alive = all(host["alive"] for host in ha["hosts"]) and len(ha["hosts"]) == len(self.nodes)
            return said if alive and ha["engine"]["state"] == "up" and self.is_safe(said["host"]) else None

        return wait("the cluster settled", within_s, probe)

    def call(self, verb: str, path: str, body: str | None = None) -> str:
        """One call of the API as admin@internal, XML in and out; fails the test on anything but 2xx."""
        token = base64.b64encode(f"admin@internal:{self.password}".encode()).decode()
        request = urllib.request.Request(
            self.url.rstrip("/") + path,
            method=verb,
            data=body.encode() if body else None,
            headers={"Authorization": f"Basic {token}", "Accept": "application/xml", "Content-Type": "application/xml"},
        )
        with urllib.request.urlopen(request, timeout=API_TIMEOUT_S, context=self.tls) as answer:
            return str(answer.read().decode())

    def token(self) -> str:
        """A new bearer token of admin@internal from the SSO endpoint."""
        form = {
            "grant_type": "password",
            "scope": "ovirt-app-api",
            "username": "admin@internal",
            "password": self.password,
        }
        request = urllib.request.Request(
            self.url.rstrip("/") + "/ovirt-engine/sso/oauth/token",
            data=urllib.parse.urlencode(form).encode(),
            headers={"Accept": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20, context=self.tls) as answer:
            return str(json.loads(answer.read())["access_token"])

    def overview(self) -> Any:
        """What the console shows, with a bearer token from the SSO endpoint."""
        request = urllib.request.Request(
            self.url.rstrip("/") + "/api/v1/overview", headers={"Authorization": f"Bearer {self.token()}"}
        )
        with urllib.request.urlopen(request, timeout=20, context=self.tls) as answer:
            return json.loads(answer.read())

    def write_row(self, text: str) -> None:
        """Put a durable row into the engine's database: an event of an outside tool."""
        custom_id = zlib.crc32(text.encode()) % 10**9
        self.call(
            "POST",
            "/ovirt-engine/api/events",
            f"<event><custom_id>{custom_id}</custom_id><origin>test</origin><severity>normal</severity>"
            f"<description>{text}</description></event>",
        )

    def has_row(self, text: str) -> bool:
        return text in self.call("GET", f"/ovirt-engine/api/events?max={NEWEST_EVENTS}")
