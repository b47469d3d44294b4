"""A real three-node volume under the verbs of the model: the same sequences run on both."""

from __future__ import annotations

import errno
import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any, Final

from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from gluster.daemon_settings import DROP_IN, with_settings
from gluster.options import options_for
from image.lab import disturb
from image.lab.model import nodes_of
from image.lab.operations import Lab

NODE_PROGRAM = Path(__file__).with_name("volume_node.py")
KINDS: Final[Mapping[str, Mapping[str, str]]] = {"strict": {}, "shard": {"features.shard": "on"}}
"""Volumes with the options of the volume ``engine``, and what each changes. Not here: ``client.strict-locks off``, because
glusterd sets that option on all volumes at once (seen with 11.1); see :meth:`RealPool.strict`."""
ANSWER_S = 40.0
FILE_MIB = 256
SPOTS_MIB: Final = {False: 1, True: 128}
"""Where is written: below and beyond the first 64 MiB."""


def name_of(code: int) -> str:
    """``ok`` or the error's name."""
    return "ok" if code == 0 else errno.errorcode.get(code, str(code))


class Node:
    """The program on one node."""

    def __init__(self, lab: Lab, name: str) -> None:
        node, pid = lab.running(name)
        argv = lab.enter(node, pid, ["python3", "-u", "-c", NODE_PROGRAM.read_text()])
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answers: dict[int, Future[dict[str, Any]]] = {}
        self._number = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            self._answers.pop(answer["id"]).set_result(answer)

    def ask(self, do: str, **words: Any) -> Future[dict[str, Any]]:
        """Begin it."""
        self._number += 1
        future: Future[dict[str, Any]] = Future()
        self._answers[self._number] = future
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": self._number, "do": do, **words}) + "\n")
        self._process.stdin.flush()
        return future

    def shell(self, script: str) -> str:
        """Run it to its end; what it said."""
        return str(self.ask("shell", script=script).result(ANSWER_S * 2)["said"])

    def stop(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()


class RealPool:
    """Three nodes, one volume of each kind, mounted on every node."""

    def __init__(self, lab_name: str) -> None:
        self.lab = Lab(lab_name, SystemProcesses(), SystemClock())
        self.hosts = tuple(node.name for node in nodes_of(self.lab.wanted()))
        self._settings()
        self.nodes = {host: Node(self.lab, host) for host in self.hosts}
        self.files = 0

    def _settings(self) -> None:
        """glusterd as the installer leaves it."""
        for host in self.hosts:
            text = self.lab.exec(host, ["cat", "/etc/glusterfs/glusterd.vol"], timeout_s=10).stdout
            folder = "/etc/systemd/system/glusterd.service.d"
            for place, content in (("/etc/glusterfs/glusterd.vol", with_settings(text)), (f"{folder}/trivet.conf", DROP_IN)):
                script = f"mkdir -p {folder} && cat > {place}"
                self.lab.exec(host, ["sh", "-c", script], timeout_s=10, stdin=content)
            self.lab.exec(host, ["sh", "-c", "systemctl daemon-reload && systemctl restart glusterd"], timeout_s=60)

    def make(self) -> None:
        """Peers, volumes, mounts."""
        first = self.nodes[self.hosts[0]]
        for host in self.hosts[1:]:
            assert "success" in first.shell(f"gluster --mode=script peer probe {host}")
        self.until("peers connected", 30, lambda: first.shell("gluster pool list").count("Connected") == len(self.hosts))
        for kind, changes in KINDS.items():
            bricks = " ".join(f"{host}:/data/model/{kind}" for host in self.hosts)
            for node in self.nodes.values():
                node.shell(f"mkdir -p /data/model /mnt/{kind}")
            options = " ".join(f"{name} '{value}'" for name, value in {**options_for("engine"), **changes}.items())
            for words in (f"create {kind} replica 3 {bricks}", f"set {kind} {options}", f"start {kind}"):
                said = first.shell(f"gluster --mode=script volume {words}")
                assert "success" in said, said
            for host in self.hosts:
                self.mount(host, kind)

    def mount(self, host: str, kind: str) -> None:
        said = self.nodes[host].shell(f"mount -t glusterfs {host}:/{kind} /mnt/{kind} && ls -d /mnt/{kind}")
        assert said.strip() == f"/mnt/{kind}", said

    def strict(self, wanted: bool) -> None:
        """``client.strict-locks`` of all volumes."""
        kind, value = next(iter(KINDS)), "on" if wanted else "off"
        said = self.nodes[self.hosts[0]].shell(f"gluster --mode=script volume set {kind} client.strict-locks {value}")
        assert "success" in said, said
        for host in self.hosts:
            for name in KINDS:  # a mount that was made before does not say which setting it follows
                self.nodes[host].shell(f"umount -l /mnt/{name}")
                self.mount(host, name)
        self.connected()  # a mount is there with two bricks; a sequence that cuts one of them begins with three

    def connected(self) -> None:
        """Every mount has every brick."""
        seen = "grep -hs '^connected = 1' /mnt/*/.meta/graphs/active/*-client-*/private | wc -l"
        self.until("all bricks connected", 60, lambda: all(
            node.shell(seen).strip() == str(len(KINDS) * len(self.hosts)) for node in self.nodes.values()
        ))  # fmt: skip

    def until(self, what: str, within_s: float, probe: Callable[[], bool]) -> None:
        """Wait for it."""
        end_s = time.monotonic() + within_s
        while not probe():
            assert time.monotonic() < end_s, f"not within {within_s:g} s: {what}"
            time.sleep(0.5)

    def stop(self) -> None:
        for node in self.nodes.values():
            node.stop()


class RealBench:
    """One sequence on all kinds of volumes at once, each with a file of its own. Verbs as the model's bench."""

    def __init__(self, pool: RealPool) -> None:
        self.pool = pool
        pool.files += 1
        self.file = f"file{pool.files}"
        self.where: dict[str, str] = {}
        first = pool.nodes[pool.hosts[0]]
        for kind in KINDS:
            first.shell(f"truncate -s {FILE_MIB}M /mnt/{kind}/{self.file}")

    def _all(self, host: str, do: str, handle: str, **words: Any) -> dict[str, str]:
        node = self.pool.nodes[host]
        asked = {
            kind: node.ask(do, handle=f"{self.file}/{kind}/{handle}", **{
                name: value.format(kind=kind) if isinstance(value, str) else value for name, value in words.items()
            })
            for kind in KINDS
        }  # fmt: skip
        found = {}
        for kind, future in asked.items():
            try:
                found[kind] = name_of(future.result(ANSWER_S)["errno"])
            except FutureTimeout:
                found[kind] = "hangs"
        return found

    def open(self, handle: str, host: str, take: bool = True) -> dict[str, str]:
        self.where[handle] = host
        return self._all(host, "open", handle, path=f"/mnt/{{kind}}/{self.file}", take=take)

    def open_without_gate(self, handle: str, host: str) -> dict[str, str]:
        self.where[handle] = host
        return self._all(host, "open_without_gate", handle, path=f"/mnt/{{kind}}/{self.file}")

    def take(self, handle: str) -> dict[str, str]:
        return self._all(self.where[handle], "take", handle)

    def drop(self, handle: str) -> dict[str, str]:
        return self._all(self.where[handle], "drop", handle)

    def close(self, handle: str) -> dict[str, str]:
        return self._all(self.where[handle], "close", handle)

    def write(self, handle: str, beyond: bool = False) -> dict[str, str]:
        return self._all(self.where[handle], "write", handle, mib=SPOTS_MIB[beyond], byte=0xA5)

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def cut(self, source: str, target: str) -> None:
        disturb.link(self.pool.lab, source, "cut", target, "out")

    def mend(self, source: str, target: str) -> None:
        disturb.link(self.pool.lab, source, "heal", target, "out")

    def kill_brick(self, host: str) -> None:
        self.pool.nodes[host].shell("kill -9 $(pgrep -f 'glusterfsd.*/data/model/')")

    def start_brick(self, host: str) -> None:
        for kind in KINDS:
            self.pool.nodes[host].shell(f"gluster --mode=script volume start {kind} force")

    def kill_client(self, host: str) -> None:
        self.pool.nodes[host].shell("kill -9 $(pgrep -f 'glusterfs .*/mnt/')")

    def start_client(self, host: str) -> None:
        """A new one. The old one is ended first: if it was evicted and still runs, it is let in again with its handles."""
        for kind in KINDS:  # the brackets keep the pattern from matching the shell that holds it
            self.pool.nodes[host].shell(f"kill -9 $(pgrep -f '[g]lusterfs .*/mnt/{kind}'); umount -l /mnt/{kind}")
            self.pool.mount(host, kind)

    def reject(self, host: str) -> None:
        address = next(node.address for node in nodes_of(self.pool.lab.wanted()) if node.name == host)
        other = next(name for name in self.pool.hosts if name != host)
        for kind in KINDS:
            self.pool.nodes[other].shell(f"gluster --mode=script volume set {kind} auth.reject {address}")

    def accept(self, host: str) -> None:
        other = next(name for name in self.pool.hosts if name != host)
        for kind in KINDS:
            self.pool.nodes[other].shell(f"gluster --mode=script volume reset {kind} auth.reject")

    def healed(self) -> None:
        """Wait until nothing is to be healed, so that the next sequence begins on good copies."""
        node = self.pool.nodes[self.pool.hosts[0]]

        def clean() -> bool:
            said = [node.shell(f"gluster volume heal {kind}; gluster volume heal {kind} info summary") for kind in KINDS]
            return all(text.count("Total Number of entries: 0") == len(self.pool.hosts) for text in said)

        self.pool.until("healed", 90, clean)
