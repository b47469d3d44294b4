"""The installing node, really: files under ``layout.STATE``, its name service, and the engine's address."""

from __future__ import annotations

import http.client
import ipaddress
import json
import secrets
import socket
import ssl
import uuid
from pathlib import Path

from appliance import layout, pki
from appliance.codec import decode, encode
from appliance.effects.clock import Clock
from appliance.effects.files import PRIVATE, write_atomically
from appliance.errors import Refused, Unavailable
from appliance.model.cluster import Cluster, Member
from appliance.model.engine_start import EngineIdentity
from appliance.passwords import hash_password
from image.manifest import check_sums
from image.recipe import ENGINE

PASSWORD_BYTES = 18  # because 144 random bits cannot be guessed, and 24 characters can still be typed once
HEALTH_TIMEOUT_S = 5.0  # because the engine answers within milliseconds; emulated and busy, within a second or two
LAB_ADDRESSES = ("127.0.0.1", "localhost")
"""Also in the engine's certificate: `trivet lab forward` and SSH tunnels reach it there."""


class ThisNode:
    """The node that the installer runs on. ``state`` is its folder for what must outlast a reboot."""

    def __init__(self, clock: Clock, state: Path = layout.STATE, images: Path = layout.IMAGES) -> None:
        self._clock = clock
        self._draft_file = state / "install" / "cluster.json"
        self._answers_file = state / "install" / "answers.toml"
        self._password_file = state / layout.ADMIN_PASSWORD_FILE.name
        self._pki = state / layout.PKI.name
        self._images = images

    def resolve(self, name: str) -> str:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError):
            return ""
        return str(found[0][4][0])

    def has_address(self, address: str) -> bool:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((address, 0))  # the kernel binds to own addresses only
            except OSError:
                return False
        return True

    def engine_image_problem(self) -> str:
        try:
            check_sums(self._images / ENGINE.file_name)
        except Refused as wrong:
            return f"{wrong.subject}: {wrong.reason}"
        return ""

    def new_id(self, what: str) -> str:
        return str(uuid.uuid4())

    def draft(self) -> Cluster | None:
        if not self._draft_file.exists():
            return None
        data = json.loads(self._draft_file.read_text())
        return decode(Cluster, data, subject=str(self._draft_file), code="install.draft")

    def keep_draft(self, cluster: Cluster) -> None:
        write_secret(self._draft_file, json.dumps(encode(cluster), indent=2) + "\n")

    def ca_pem(self) -> str:
        certificate, key = self._pki / "ca.pem", self._pki / "ca.key"
        return certificate.read_text() if certificate.exists() and key.exists() else ""

    def make_ca(self, cluster: Cluster) -> None:
        authority = pki.create_ca(cluster.id, cluster.name, self._clock.wall_s())
        # The key first: a certificate without its key is what an interruption must not leave, and ca_pem() wants both.
        write_secret(self._pki / "ca.key", authority.key_pem)
        write_secret(self._pki / "ca.pem", authority.certificate_pem)

    def sign_node(self, cluster: Cluster, member: Member, csr_pem: str) -> str:
        sans = (member.name, member.address)
        return pki.sign_csr(self._authority(), csr_pem, "node", name=member.name, sans=sans, now_wall_s=self._clock.wall_s())

    def has_admin_password(self) -> bool:
        return self._password_file.exists()

    def make_admin_password(self) -> None:
        if not self.has_admin_password():
            write_secret(self._password_file, secrets.token_urlsafe(PASSWORD_BYTES) + "\n")

    def engine_identity(self, cluster: Cluster, ssh_authorized_keys: tuple[str, ...]) -> EngineIdentity:
        engine = cluster.engine
        authority = self._authority()
        key = pki.create_key()
        sans = (engine.fqdn, engine.address, *LAB_ADDRESSES)
        request = pki.create_csr(key, engine.fqdn, sans)
        certificate = pki.sign_csr(
            authority, request, "engine", name=engine.fqdn, sans=sans, now_wall_s=self._clock.wall_s()
        )
        password = self._password_file.read_text().strip()
        return EngineIdentity(
            cluster=cluster,
            admin_password_hash=hash_password(password),
            ca_pem=authority.certificate_pem,
            ca_key_pem=authority.key_pem,
            engine_pem=certificate,
            engine_key_pem=key,
            ssh_authorized_keys=ssh_authorized_keys,
        )

    def kept_answers(self) -> str:
        return self._answers_file.read_text() if self._answers_file.exists() else ""

    def keep_answers(self, text: str) -> None:
        write_secret(self._answers_file, text)

    def engine_health(self, cluster: Cluster) -> dict[str, object]:
        return health(cluster.engine.address, layout.ENGINE_PORT, self._pki / "ca.pem")

    def _authority(self) -> pki.Authority:
        return pki.Authority((self._pki / "ca.pem").read_text(), (self._pki / "ca.key").read_text())


def health(address: str, port: int, ca: Path) -> dict[str, object]:
    """What ``/health`` of the engine at ``address`` says, its certificate checked against ``ca``.

    Raises ``Unavailable`` (``engine.unreachable``) when it does not answer 200 with a JSON object in time.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca))
        connection = http.client.HTTPSConnection(address, port, timeout=HEALTH_TIMEOUT_S, context=context)
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            found = json.loads(answer.read(65536))
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unhealthy(address, port, str(error) or type(error).__name__) from error
    if answer.status != http.client.OK or not isinstance(found, dict):
        raise _unhealthy(address, port, f"answered {answer.status}")
    return found


def _unhealthy(address: str, port: int, reason: str) -> Unavailable:
    return Unavailable(
        "engine.unreachable",
        subject="engine",
        reason=f"https://{address}:{port}/health: {reason}",
        remedy="`trivet ha status` on any node says where the engine VM is and what is waited for.",
    )


def write_secret(path: Path, text: str) -> None:
    """Write ``path`` (0600, its folder 0700) so that after a crash it is either there in full or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, text, PRIVATE)
