"""Verify an image: boot its raw disk under a firmware and read back, over network and serial line, that its units are up."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from appliance import layout, pki
from appliance.effects.clock import Clock
from appliance.errors import Failed
from appliance.model.cluster import Cluster, EngineVm, Member
from appliance.model.engine_start import EngineIdentity, EngineStart
from appliance.ports import Processes
from appliance.tools.seed import iso_command
from appliance.verbs.seed import render_seed
from image.build import Report
from image.manifest import check_sums
from image.qemu import GUEST_ADDRESS, GUEST_GATEWAY, Disk, Firmware, Machine, Running, free_port, machine_folder, running
from image.recipe import LOGS, MIB, Kind

BOOT_LIMIT_S: Final = 720.0
"""An engine takes 20 to 60 s here under emulation, a node 140; beside other emulated machines several times as long."""

REPORT_WAIT_S: Final = 300.0
"""After the answer, until the guest's boot has ended: the engine's first start runs cloud-init then."""

LOOK_EVERY_S: Final = 0.25
ANSWER_TIMEOUT_S: Final = 5.0
DATA_DISK_BYTES: Final = 1024 * MIB
GROWN_BYTES: Final = 1024 * MIB
"""The node's disk is made this much larger than its image: the root must grow into it."""

NODE_MEMORY_MIB: Final = 1536
ENGINE_MEMORY_MIB: Final = 1024
SSH_PORT: Final = 22
NODE_NAME: Final = "verify-node"
NO_USER_DATA: Final = "#cloud-config\n{}\n"
REPORT: Final = re.compile(r"TRIVET-BOOT (?P<what>[a-z ]+): (?P<value>.*)")
REPORT_END: Final = "time"
"""The boot report's last line."""

CONSOLE_LINES: Final = 25
T = TypeVar("T")

Ask = Callable[[int], str | None]
"""Asks the guest through a port of 127.0.0.1; the answer in words, or nothing yet."""


@dataclass(frozen=True)
class Verified:
    """What a boot showed. Times are seconds since QEMU started."""

    kind: str
    firmware: str
    answer: str
    answer_s: float
    report_s: float
    failed_units: str
    root: str
    time: str


class Verifier:
    """Boots images. ``tools`` is the root of a node's OS layer, whose QEMU and firmware are used."""

    def __init__(self, processes: Processes, clock: Clock, report: Report, tools: Path, scratch: Path) -> None:
        self._processes = processes
        self._clock = clock
        self._report = report
        self._tools = tools
        self._scratch = scratch

    def verify(self, kind: Kind, image: Path, firmware: Firmware) -> Verified:
        """Boot ``image`` (a copy, or read-only) and wait until it answers and has reported.

        Raises ``Refused`` (``image.checksum`` …) and ``Failed`` (``image.boot-failed``) with the console's last lines.
        """
        check_sums(image)
        with machine_folder(self._scratch) as folder:
            prepare = self.prepare_node if kind is Kind.NODE else self.prepare_engine
            machine, ask = prepare(image, firmware, folder)
            with running(self._processes, self._tools, folder, machine, BOOT_LIMIT_S + REPORT_WAIT_S) as guest:
                try:
                    return self.watch(kind, firmware, guest, ask, machine.forwards[0][0])
                finally:
                    self._keep_console(f"verify-{kind.value}-{firmware}.log", guest.console())

    def _keep_console(self, name: str, console: str) -> None:
        LOGS.mkdir(parents=True, exist_ok=True)
        (LOGS / name).write_text(console)
        self._report.log(f"console: {LOGS / name}")

    def prepare_node(
        self, image: Path, firmware: Firmware, folder: Path, user_data: str = NO_USER_DATA
    ) -> tuple[Machine, Ask]:
        """A node on a disk larger than its image, with a NoCloud seed that names it."""
        disk = folder / "disk"
        self._processes.run(["zstd", "-d", "-q", "--sparse", str(image), "-o", str(disk)], timeout_s=BOOT_LIMIT_S)
        with disk.open("r+b") as file:
            file.truncate(disk.stat().st_size + GROWN_BYTES)
        files = folder / "seed"
        files.mkdir()
        (files / "meta-data").write_text(json.dumps({"instance-id": str(uuid.uuid4()), "local-hostname": NODE_NAME}))
        (files / "user-data").write_text(user_data)
        self._processes.run(iso_command(files, folder / "seed.iso"), timeout_s=ANSWER_TIMEOUT_S)
        disks = (Disk("disk", "root"), Disk("seed.iso", "cdrom", read_only=True))
        forwards = ((free_port(), layout.AGENT_PORT),)
        return Machine(firmware, NODE_MEMORY_MIB, disks, forwards), ask_agent

    def prepare_engine(self, image: Path, firmware: Firmware, folder: Path) -> tuple[Machine, Ask]:
        """An engine VM with a throw-away identity and the data disk ``folder/data`` (if need be an empty one)."""
        start, identity = throw_away_identity(self._clock.wall_s())
        return self.engine_machine(image, firmware, folder, start, identity), health_asker(identity.ca_pem)

    def engine_machine(
        self, image: Path, firmware: Firmware, folder: Path, start: EngineStart, identity: EngineIdentity
    ) -> Machine:
        """An engine VM at that start, its root read-only as on a node. Forwards: the API, ssh."""
        self._processes.run(["cp", "--sparse=always", str(image), str(folder / "root")], timeout_s=BOOT_LIMIT_S)
        if not (folder / "data").exists():
            with (folder / "data").open("wb") as file:
                file.truncate(DATA_DISK_BYTES)
        render_seed(self._processes, folder / "seed.iso", start, identity, identity.cluster.id, scratch=folder)
        disks = (Disk("root", "root", read_only=True), Disk("data", "data"), Disk("seed.iso", "cdrom", read_only=True))
        return Machine(firmware, ENGINE_MEMORY_MIB, disks, ((free_port(), layout.ENGINE_PORT), (free_port(), SSH_PORT)))

    def watch(self, kind: Kind, firmware: Firmware, guest: Running, ask: Ask, port: int) -> Verified:
        """Wait until a machine that boots answers and has reported. Raises ``Failed`` (``image.boot-failed``)."""
        began_s = self._clock.monotonic_s()
        answer = self.until(guest, lambda: ask(port), BOOT_LIMIT_S, f"{kind.value} did not answer on its port")
        answer_s = self._clock.monotonic_s() - began_s
        self._report.log(f"{kind.value} under {firmware}: answered after {answer_s:.1f} s: {answer}")
        complaint = f"{kind.value} did not finish booting"
        reported = self.until(guest, lambda: boot_report(guest.console()), REPORT_WAIT_S, complaint)
        found = Verified(
            kind.value,
            firmware,
            answer,
            round(answer_s, 1),
            round(self._clock.monotonic_s() - began_s, 1),
            reported["failed units"],
            reported["root"],
            reported["time"],
        )
        if found.failed_units != "none":
            raise boot_failed(f"{kind.value} under {firmware}", f"units failed: {found.failed_units}", guest.console())
        if kind is Kind.NODE and f"{NODE_NAME} login:" not in guest.console():
            raise boot_failed(f"node under {firmware}", f"cloud-init did not name it {NODE_NAME}", guest.console())
        return found

    def until(self, guest: Running, look: Callable[[], T | None], limit_s: float, complaint: str) -> T:
        """Look again and again until there is something. Raises ``Failed`` (``image.boot-failed``)."""
        deadline_s = self._clock.monotonic_s() + limit_s
        while True:
            found = look()
            if found is not None:
                return found
            if not guest.alive:
                ended = str(guest.failure) if guest.failure else "the machine switched itself off"
                raise boot_failed(complaint, ended, guest.console())
            if self._clock.monotonic_s() >= deadline_s:
                raise boot_failed(complaint, f"waited {limit_s:g} s", guest.console())
            self._clock.sleep(LOOK_EVERY_S)


def boot_failed(subject: str, reason: str, console: str) -> Failed:
    """The error of a boot, with what the console said last."""
    last = "\n".join(console.splitlines()[-CONSOLE_LINES:])
    return Failed(
        "image.boot-failed",
        subject=subject,
        reason=f"{reason}. The console's last lines:\n{last}",
        remedy="Look for the first failed unit above; `trivet image build` makes the image again.",
    )


def boot_report(console: str) -> dict[str, str] | None:
    """The boot report's lines as what → value, once all of them are there."""
    found = {match["what"]: match["value"].strip() for match in REPORT.finditer(console)}
    return found if REPORT_END in found else None


def ask_agent(port: int) -> str | None:
    """Whether a node's agent answers: any answer of its own to a token that is none."""
    # Its certificate is its own work, and the token to pin it by is inside: only the fact of an answer counts here.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    body = json.dumps({"token": "AAAAAAAAAAAAAAAA"})
    answered = request(port, context, "POST", "/v1/join/hello", body)
    if answered is None:
        return None
    status, text = answered
    code = text.get("error", text)
    return f"HTTP {status} {code.get('code', '') if isinstance(code, dict) else ''}".strip()


def health_asker(ca_pem: str) -> Ask:
    """Asks ``/health`` of an engine whose certificate the CA has signed; an answer is one that says "up"."""
    context = ssl.create_default_context(cadata=ca_pem)

    def ask(port: int) -> str | None:
        answered = request(port, context, "GET", "/health", None)
        if answered is None or answered[1].get("status") != "up":
            return None
        return json.dumps(answered[1])

    return ask


def request(
    port: int, context: ssl.SSLContext, method: str, path: str, body: str | None
) -> tuple[int, dict[str, object]] | None:
    """Status and JSON of an answer of 127.0.0.1; ``None`` while nobody (or something else) answers."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_S, context=context)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError):
        return None  # not up yet: the caller's deadline decides
    finally:
        connection.close()
    return (response.status, answer) if isinstance(answer, dict) else None


def throw_away_identity(now_wall_s: float) -> tuple[EngineStart, EngineIdentity]:
    """A start and an identity that live as long as the test: an engine of a cluster whose nodes do not answer."""
    members = tuple(Member(str(uuid.uuid4()), f"verify{number}", f"198.18.255.1{number}") for number in (1, 2, 3))
    cluster_id = str(uuid.uuid4())
    vm = EngineVm(
        id=str(uuid.uuid4()),
        fqdn="engine.verify",
        address=GUEST_ADDRESS,
        prefix=24,
        gateway=GUEST_GATEWAY,
        dns=(),
        mac="52:54:00:12:34:56",
        memory_mib=ENGINE_MEMORY_MIB,
        cpus=2,
        data_disk_bytes=DATA_DISK_BYTES,
    )
    ca = pki.create_ca(cluster_id, "verify", now_wall_s)
    key = pki.create_key()
    names = (vm.fqdn, vm.address, "127.0.0.1")
    certificate = pki.sign_csr(
        ca, pki.create_csr(key, vm.fqdn, names), "engine", name=vm.fqdn, sans=names, now_wall_s=now_wall_s
    )
    hosts = tuple((one.name, one.address) for one in members)
    start = EngineStart(1, members[0].name, vm.address, vm.prefix, vm.gateway, (), vm.fqdn, hosts)
    # Nobody knows a password for this hash: it is that of random bytes.
    password_hash = "$argon2id$v=19$m=65536,t=3,p=4$" + "A" * 22 + "$" + "A" * 43
    cluster = Cluster(cluster_id, "verify", members, vm)
    return start, EngineIdentity(cluster, password_hash, ca.certificate_pem, ca.key_pem, certificate, key)
