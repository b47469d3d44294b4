"""The way to a serial console as it is on an engine and a node: the image's own sshd, the door, the engine's and the node's
programs, each started for a connection as systemd starts them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from appliance.codec import encode
from appliance.effects.clock import SystemClock
from engine.decide.roles import USER_VM_MANAGER
from engine.decide.ssh_key import identity
from engine.layout import Guest, write_private
from engine.store.durable import Store
from engine.store.entity import Entity
from engine.store.permissions import Permits, user_entity
from engine.store.records import AccountRecord
from tests.appliance.agents import REPOSITORY, RUN, Certificates, cluster, free_port, make_member, node_root
from tests.contract.live_node import NAME
from tests.engine import world

ACCOUNT = "ovirt-vmconsole"
VM = "web1"
PATIENCE_S = 800.0
"""For one answer: emulated, and the machine's CPU may be somebody else's for a while."""

UP = r"""
tree=$1 folder=$2 port=$3 code=$4
mount -t tmpfs tmpfs "$folder/over"
mkdir "$folder/over/upper" "$folder/over/work"
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$folder/over/upper,workdir=$folder/over/work" "$folder/root"
root="$folder/root"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev"
mkdir "$root/dev/pts"
# as every system has it: terminals are their user's, and group tty's
mount -t devpts -o newinstance,gid=5,mode=620,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
for name in null zero random urandom tty; do touch "$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"; done
echo 'ovirt-vmconsole:x:791:791::/:/bin/sh' >> "$root/etc/passwd"
echo 'ovirt-vmconsole:x:791:' >> "$root/etc/group"
mkdir -p "$root/usr/lib/trivet/app/engine/consoles" "$root/run/trivet-engine-vmconsole"
cp "$code/engine/consoles/door.py" "$root/usr/lib/trivet/app/engine/consoles/"
cp "$code/engine/files/vmconsole.conf" "$root/etc/ssh/trivet-vmconsole.conf"
mount --bind "$folder/door" "$root/run/trivet-engine-vmconsole"
install -o 791 -g 791 -m 600 "$folder/host-key" "$root/host-key"
exec systemd-socket-activate --accept --inetd --listen "127.0.0.1:$port" -- \
    chroot --userspec=791:791 --groups=791 "$root" /usr/sbin/sshd -i -e -f /etc/ssh/trivet-vmconsole.conf -h /host-key
"""


class Acceptor:
    """A listening socket that starts something for each connection, as systemd does with ``Accept=yes``."""

    def __init__(self, listener: socket.socket, start: Callable[[socket.socket], subprocess.Popen[bytes] | None]) -> None:
        self._listener = listener
        self._start = start
        self.processes: list[subprocess.Popen[bytes]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            process = self._start(connection)
            if process is not None:
                connection.close()
                self.processes.append(process)

    def close_listener(self) -> None:
        """Nobody can come any more."""
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._thread.join()

    def close(self) -> None:
        self.close_listener()
        for process in self.processes:
            process.kill()
            process.wait()


def program(*words: str) -> Callable[[socket.socket], subprocess.Popen[bytes]]:
    """``trivet`` with these words, its standard input the connection."""
    argv = [sys.executable, "-I", "-c", RUN, str(REPOSITORY), *words]
    return lambda connection: subprocess.Popen(argv, stdin=connection, stdout=subprocess.DEVNULL)


class VmconsoleHost:
    """An engine with people and a VM, a node's files, and sshd before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node = node_root(folder / "node")
        certificates = Certificates(folder / "ca")
        make_member(self.node, certificates)
        self.guest = self._engine(certificates)
        self.store = Store(self.guest.database)
        body = {"console": {"enabled": True}}
        refs = {"cluster": (world.CLUSTER.id,), "host": (world.MEMBERS[0].id,)}
        self.store.entities.add(Entity("vm", NAME, VM, body, refs, status="up"))
        self.console_port, self.ssh_port = free_port(), free_port()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host-key")], check=True)
        public = " ".join((folder / "host-key.pub").read_text().split()[:2])
        (folder / "known").write_text(f"[127.0.0.1]:{self.ssh_port} {public}\n")
        (folder / "door").mkdir()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "door" / "socket"))
        os.chown(folder / "door" / "socket", 0, 791)
        (folder / "door" / "socket").chmod(0o660)
        listener.listen(8)
        words = ("engine", "vmconsole", "--root", str(self.guest.root), "--console-port", str(self.console_port))
        self.door = Acceptor(listener, program(*words))

    def _engine(self, certificates: Certificates) -> Guest:
        guest = world.ready_guest(self.folder / "guest", SystemClock())
        tls = certificates.tls("engine", "engine")
        for place, source in ((guest.ca, tls.ca), (guest.certificate, tls.certificate), (guest.key, tls.key)):
            place.write_text(source.read_text())
        # the hosts that the engine has stored, all on this machine
        members = tuple(replace(one, address="127.0.0.1") for one in world.MEMBERS)
        write_private(guest.cluster, json.dumps(encode(replace(cluster(), members=members))), 0o644)
        return guest

    def person(self, name: str, *, may: bool = True, known: bool = True) -> Path:
        """Somebody with a key; its path."""
        key = self.folder / f"key-{name}"
        if key.exists():
            return key
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)], check=True)
        if known:
            content = key.with_suffix(".pub").read_text().strip()
            self.store.put_account(AccountRecord(f"user-{name}", name, "internal", "", True))
            self.store.entities.add(user_entity(f"user-{name}", name, "internal"))
            row = Entity("ssh_public_key", f"key-{name}", "", {"content": content}, parent=("user", f"user-{name}"))
            self.store.entities.add(replace(row, unique_key=identity(content)))
            role = USER_VM_MANAGER if may else "00000000-0000-0000-0001-000000000001"
            Permits(self.store.entities).give(role, ("user", f"user-{name}"), ("vm", NAME))
        return key

    def ssh(self, key: Path, *words: str) -> list[str]:
        """The client's command line."""
        known = f"UserKnownHostsFile={self.folder}/known"
        options = (known, "IdentitiesOnly=yes", "StrictHostKeyChecking=yes", "BatchMode=yes")
        given = [part for one in options for part in ("-o", one)]
        where = ["-p", str(self.ssh_port), "-i", str(key), f"{ACCOUNT}@127.0.0.1"]
        return ["ssh", "-F", "none", *given, *where, *words]

    def asked(self, key: Path, *words: str, before: Sequence[str] = ()) -> tuple[int, str]:
        """What one command says, to its end."""
        argv = self.ssh(key, *words)
        argv[1:1] = before
        done = subprocess.run(argv, capture_output=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL, check=False)
        return done.returncode, (done.stdout + done.stderr).decode()

    @contextmanager
    def at_console(self, key: Path, *words: str) -> Iterator[Terminal]:
        """Somebody at a terminal."""
        argv = self.ssh(key, *words)
        argv[1:1] = ["-tt"]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            yield Terminal(process)
        finally:
            process.kill()
            process.wait()

    def close(self) -> None:
        self.door.close()
        self.store.close()


class Terminal:
    """A client that somebody sits at."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.read = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        while data := self.process.stdout.read1(4096):  # type: ignore[attr-defined]
            self.read += data

    def types(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def reads(self, words: bytes) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while words not in self.read:
            assert time.monotonic() < end_s and self.process.poll() is None, self.read
            time.sleep(0.05)

    def ended(self) -> int:
        return self.process.wait(PATIENCE_S)


@contextmanager
def vmconsole_host(tree: Path) -> Iterator[VmconsoleHost]:
    """In a folder with a short name: a socket's path has 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="tc", dir="/tmp"))
    folder.chmod(0o755)
    for name in ("over", "root"):
        (folder / name).mkdir()
    host = VmconsoleHost(folder)
    words = [str(tree), str(folder), str(host.ssh_port), str(REPOSITORY)]
    alone = ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
    argv = [*alone, "sh", "-euc", UP, "sh", *words]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(process, host.ssh_port, folder / "log")
        yield host
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        host.close()
        shutil.rmtree(folder)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5.0).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > end_s:
                raise AssertionError(log.read_text()[-2000:]) from None
            time.sleep(0.2)
