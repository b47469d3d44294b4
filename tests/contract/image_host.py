"""A node that serves disks: the real ovirt-imageio and the real qemu-nbd, started as systemd starts them on a node."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from appliance import layout
from appliance.effects.clock import SystemClock
from appliance.effects.imageio_control import ImageioControl
from appliance.effects.process import Completed, SystemProcesses, failure
from appliance.tools.qemu_nbd import DAEMON_UNIT
from appliance.verbs.chains import Chains
from appliance.verbs.image_tickets import ImageTickets
from appliance.verbs.mounts import Mounts
from appliance.verbs.volume_files import VolumeFiles
from tests.appliance.agents import REPOSITORY, Certificates, free_port, make_member
from tests.contract.disk_node import DOMAINS, Node

IMAGEIO = REPOSITORY / "build" / "imageio"
"""Made by image/dev.sh."""


class SystemdHere:
    """A :class:`appliance.ports.Processes` that does what systemd would do with our units, where there is no systemd."""

    def __init__(self, run: Path, daemon_argv: Sequence[str]) -> None:
        self._run = run
        self.folders = run
        """Below which units have their folders."""
        self._daemon_argv = daemon_argv
        self._real = SystemProcesses()
        self.started: dict[str, subprocess.Popen[bytes]] = {}
        self.served: dict[str, Path] = {}
        self.last_words: dict[str, str] = {}
        self.before_start: Callable[[], object] = lambda: None
        """What systemd does first: ``LoadCredential``."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ok: Sequence[int] | None = (0,),
    ) -> Completed:
        doors: dict[str, Callable[[Sequence[str]], tuple[int, str]]] = {
            "systemctl": self._systemctl, "systemd-run": self._systemd_run, "journalctl": self._journalctl,
        }  # fmt: skip
        if argv[0] not in doors:
            return self._real.run(argv, timeout_s=timeout_s, stdin=stdin, env=env, cwd=cwd, ok=ok)
        status, said = doors[argv[0]](argv)
        done = Completed(tuple(argv), status, said, "")
        if ok is not None and status not in ok:
            raise failure(done)
        return done

    def stream(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        line: Callable[[str], None],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ok: Sequence[int] = (0,),
        cancelled: Callable[[], bool] | None = None,
    ) -> int:
        return self._real.stream(argv, timeout_s=timeout_s, line=line, env=env, cwd=cwd, ok=ok, cancelled=cancelled)

    def _systemctl(self, argv: Sequence[str]) -> tuple[int, str]:
        verb, unit = argv[1], argv[2]
        if verb in ("start", "restart"):
            if verb == "restart":
                self.end(unit)
            if not self.is_active(unit):
                self.before_start()
                (self._run / "trivet-imageio").mkdir(parents=True, exist_ok=True)
                self.started[unit] = subprocess.Popen(self._daemon_argv, stdin=subprocess.DEVNULL)
        elif verb == "stop":
            if unit not in self.served:
                return 5, ""
            self.end(unit)
        elif verb == "is-active":
            return (0, "active\n") if self.is_active(unit) else (3, "inactive\n")
        return 0, ""

    def _systemd_run(self, argv: Sequence[str]) -> tuple[int, str]:
        unit = next(word.partition("=")[2] for word in argv if word.startswith("--unit="))
        properties = dict(word[11:].split("=", 1) for word in argv if word.startswith("--property="))
        folder = self.folders / properties["RuntimeDirectory"]
        folder.mkdir(parents=True)
        pid_file = folder / "pid"
        command = [*argv[argv.index("--") + 1 :], f"--pid-file={pid_file}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        self.last_words[unit] = done.stderr
        if done.returncode != 0:
            shutil.rmtree(folder)
            return 1, "Job failed"
        self.served[unit] = folder
        return 0, ""

    def _journalctl(self, argv: Sequence[str]) -> tuple[int, str]:
        unit = next(word.partition("=")[2] for word in argv if word.startswith("--unit="))
        return 0, self.last_words.get(unit, "")

    def pid(self, unit: str) -> int:
        return int((self.served[unit] / "pid").read_text())

    def is_active(self, unit: str) -> bool:
        if unit in self.started:
            return self.started[unit].poll() is None
        return unit in self.served and Path(f"/proc/{self.pid(unit)}").exists()

    def end(self, unit: str) -> None:
        """Stop a unit; the daemon's end ends what is bound to it."""
        if unit in self.started:
            process = self.started.pop(unit)
            process.terminate()
            process.wait(30)
            for bound in list(self.served):
                self.end(bound)
        elif unit in self.served:
            if self.is_active(unit):
                pid = self.pid(unit)
                subprocess.run(["kill", str(pid)], check=True)
                while Path(f"/proc/{pid}").exists():
                    time.sleep(0.01)
            shutil.rmtree(self.served.pop(unit))


class ImageHost:
    """A member with two domains, its tickets, and a CA to trust."""

    def __init__(self, folder: Path, domains: tuple[str, ...]) -> None:
        self.node = Node(folder, domains)
        self.root = self.node.root
        self.port = free_port()
        self.certificates = Certificates(folder / "ca")
        make_member(self.root, self.certificates)
        self.ca = folder / "ca" / "ca.pem"
        run, conf = self.root.at("/run"), self.root.at(layout.IMAGEIO_CONF)
        argv = [str(IMAGEIO / "bin/python3"), "-I", str(IMAGEIO / "bin/ovirt-imageio"), "-c", str(conf)]
        self.systemd = SystemdHere(run, argv)
        self.serve(self.node.chains, self.root.at(layout.NBD_RUN))

    def serve(self, chains: Chains, nbd: Path) -> None:
        """The tickets, for the disks of ``chains``."""
        self.systemd.folders = nbd.parent
        files = VolumeFiles(self.root, Mounts(self.root, self.systemd), is_mount=lambda _path: True)
        self.tickets = ImageTickets(
            self.root,
            self.systemd,
            SystemClock(),
            chains,
            files,
            ImageioControl(self.root.at(layout.IMAGEIO_SOCKET)),
            owner=os.geteuid(),
            credentials=self.root.at(layout.PKI),
            nbd=nbd,
            port=self.port,
        )

    def url(self, ticket: str) -> str:
        return f"https://127.0.0.1:{self.port}/images/{ticket}"


@contextmanager
def image_host(domains: tuple[str, ...] = DOMAINS) -> Iterator[ImageHost]:
    """In a folder with a short name: a socket's path has 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="ti", dir="/tmp"))
    host = ImageHost(folder, domains)
    try:
        yield host
    finally:
        host.systemd.end(DAEMON_UNIT)
        shutil.rmtree(folder)
