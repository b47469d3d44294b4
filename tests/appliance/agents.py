"""A real agent on loopback: its own process, gunicorn, TLS, and a root folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from appliance import layout, pki
from appliance.effects.root import Root
from appliance.errors import TrivetError
from appliance.model.cluster import Cluster, EngineVm, Member, Membership
from appliance.verbs.membership import CA_CERTIFICATE, NODE_CERTIFICATE, NODE_KEY, MembershipFiles
from appliance.wire.client import alive
from appliance.wire.tls import MutualTls

REPOSITORY = Path(__file__).resolve().parents[2]
RUN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from appliance.command import main; sys.exit(main())"
START_S = 30.0
CLUSTER_ID = "5b1f4c1e-9c8e-4c4e-8b0e-0d5f7a1c2b3d"


def cluster(cluster_id: str = CLUSTER_ID, name: str = "lab") -> Cluster:
    members = (Member("id-1", "node1", "127.0.0.1"), Member("id-2", "node2", "127.0.0.2"))
    engine = EngineVm("id-e", "engine.test", "127.0.0.9", 24, "", (), "52:54:00:00:00:01", 1024, 2, 1 << 30)
    return Cluster(cluster_id, name, members, engine)


class Certificates:
    """A cluster's CA and what it signs, as files below ``folder``."""

    def __init__(self, folder: Path, cluster_id: str = CLUSTER_ID) -> None:
        self.folder = folder
        self.cluster_id = cluster_id
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = pki.create_ca(cluster_id, "lab", time.time())
        (folder / "ca.pem").write_text(self.ca.certificate_pem)

    def tls(self, name: str, unit: pki.Unit = "node", days_from_now: int = 0, address: str = "127.0.0.1") -> MutualTls:
        """A member's files. ``days_from_now`` moves the certificate's time, ``address`` is the one it names."""
        key = pki.create_key()
        csr = pki.create_csr(key, name, (name, address))
        now_wall_s = time.time() + days_from_now * 86400
        signed = pki.sign_csr(self.ca, csr, unit, name=name, sans=(name, address), now_wall_s=now_wall_s)
        (self.folder / f"{name}.key").write_text(key)
        (self.folder / f"{name}.pem").write_text(signed)
        return MutualTls(self.folder / "ca.pem", self.folder / f"{name}.pem", self.folder / f"{name}.key", self.cluster_id)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def node_root(folder: Path) -> Root:
    """A root with the kernel's own file systems and nothing else."""
    folder.mkdir(parents=True)
    for name in ("proc", "sys"):
        (folder / name).symlink_to(f"/{name}")
    return Root(folder)


def make_member(root: Root, certificates: Certificates) -> None:
    """What join_accept leaves, without the joining."""
    tls = certificates.tls("node1")
    root.at(layout.PKI).mkdir(parents=True, exist_ok=True)
    for source, place in ((tls.ca, CA_CERTIFICATE), (tls.certificate, NODE_CERTIFICATE), (tls.key, NODE_KEY)):
        root.at(place).write_text(source.read_text())
    MembershipFiles(root).write(cluster(certificates.cluster_id), Membership(certificates.cluster_id, "id-1", "node1"))


class AgentProcess:
    """The process; ``start`` returns when it answers, ``stop`` when it has gone."""

    def __init__(self, root: Root, port: int | None = None) -> None:
        self.root = root
        self.port = port or free_port()
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.process = self._spawn()
        end_s = time.monotonic() + START_S
        while True:
            try:
                alive("127.0.0.1", self.port, 2.0)
                return
            except TrivetError:
                if time.monotonic() > end_s or self.process.poll() is not None:
                    self.stop()
                    raise
                time.sleep(0.1)

    def run_to_end(self) -> subprocess.CompletedProcess[str]:
        process = self._spawn()
        stdout, stderr = process.communicate(timeout=START_S)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def wait(self) -> int:
        """Until it ends by itself."""
        assert self.process is not None
        return self.process.wait(START_S)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
            self.process.wait(START_S)

    def _spawn(self) -> subprocess.Popen[str]:
        words = ["agent", "serve", "--root", str(self.root.path), "--address", "127.0.0.1", "--port", str(self.port)]
        return subprocess.Popen(
            [sys.executable, "-I", "-c", RUN, str(REPOSITORY), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
