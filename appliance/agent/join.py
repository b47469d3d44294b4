"""How a bare node becomes a member: a one-time token, a signing request, a certificate."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from typing import NoReturn

from appliance import layout, pki
from appliance.effects.files import PRIVATE, PUBLIC, make_folders, write_atomically
from appliance.effects.root import Root
from appliance.errors import Conflict, Denied, Refused
from appliance.model.cluster import Cluster, Membership
from appliance.model.node import FolderFacts
from appliance.ports import Clock
from appliance.verbs.facts import Facts
from appliance.verbs.folders import folder_facts
from appliance.verbs.membership import CA_CERTIFICATE, NODE_CERTIFICATE, NODE_KEY, MembershipFiles
from appliance.verbs.reach import reach
from appliance.wire.definition import JoinHello, Reached

BARE_CERTIFICATE = layout.PKI / "bare.pem"
BARE_KEY = layout.PKI / "bare.key"
USED_TOKENS = layout.STATE / "join-tokens-used"
"""SHA-256 of each token that was used up, a line each: a token used twice deserves another answer than a wrong one."""
PRESET_SECRET = "/etc/trivet/join-secret"  # noqa: S105 - a path
"""cloud-init may give the secret of an unattended installation here (0600)."""

SECRET_BYTES = 10
"""80 bits, 16 characters of base32: beyond guessing even without the delay, short enough to type."""
FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 5.0
"""Below the deadline of the join routes (10 s): a person who mistyped still reads why."""
DELAYED_AT_ONCE = 2
"""Of the agent's threads so many may wait for a wrong token's delay; further wrong ones are refused at once and unjudged."""


class JoinDoor:
    """Keeps the token and judges callers by it. One for each agent process."""

    def __init__(self, root: Root, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(DELAYED_AT_ONCE)
        self._wrong = 0

    def prepare(self, node_name: str) -> str:
        """Key, self-signed certificate and token of a bare node, made where they are missing; the token."""
        at = self._root.at
        make_folders(at(layout.STATE), 0o711)  # QEMU passes through to the volumes
        make_folders(at(layout.PKI), 0o700)
        if not (at(BARE_KEY).exists() and at(BARE_CERTIFICATE).exists()):
            key = pki.create_key()
            write_atomically(at(BARE_KEY), key, PRIVATE)
            write_atomically(at(BARE_CERTIFICATE), pki.self_signed(key, node_name, self._clock.wall_s()), PUBLIC)
        token = f"{self._secret()}.{self.fingerprint()[:16]}"
        if not at(layout.JOIN_TOKEN_FILE).exists() or self.token() != token:
            write_atomically(at(layout.JOIN_TOKEN_FILE), f"{token}\n", PRIVATE)
        return token

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the bare node's certificate."""
        return pki.fingerprint(self._root.at(BARE_CERTIFICATE).read_text())

    def token(self) -> str:
        """The token, or empty when it is used up."""
        path = self._root.at(layout.JOIN_TOKEN_FILE)
        return path.read_text().strip() if path.exists() else ""

    def admit(self, token: str) -> None:
        """Return when ``token`` is right. Raises ``Denied`` (``join.token-wrong``, after a growing delay) and ``Conflict``
        (``join.token-used``)."""
        right = self.token()
        secret = token.strip().partition(".")[0]
        if right and hmac.compare_digest(secret.encode(), right.partition(".")[0].encode()):
            with self._lock:
                self._wrong = 0
            return
        self._refuse(secret)

    def use_up(self) -> None:
        """The token opens nothing any more."""
        token = self.token()
        if not token:
            return
        path = self._root.at(USED_TOKENS)
        held = path.read_text() if path.exists() else ""
        write_atomically(path, f"{held}{_digest(token.partition('.')[0])}\n", PRIVATE)
        self._root.at(layout.JOIN_TOKEN_FILE).unlink(missing_ok=True)

    def _refuse(self, secret: str) -> NoReturn:
        with self._lock:
            self._wrong += 1
            delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(self._wrong - 1, 10))
        if self._waiting.acquire(blocking=False):
            try:
                self._clock.sleep(delay_s)
            finally:
                self._waiting.release()
        used = self._root.at(USED_TOKENS)
        if used.exists() and _digest(secret) in used.read_text().split():
            raise Conflict(
                "join.token-used",
                subject="join token",
                reason="this token was used already; each opens the node once",
                remedy="`trivet node token` on the node prints the present one, if the node is bare again.",
            )
        raise Denied(
            "join.token-wrong",
            subject="join token",
            reason="it is not this node's",
            remedy="`trivet node token` on the node prints it. Each wrong one slows the answer to the next.",
        )

    def _secret(self) -> str:
        preset = self._root.at(PRESET_SECRET)
        if preset.exists():
            found = preset.read_text().strip()
            if len(found) < 16:
                raise Refused(
                    "join.secret-short",
                    subject=str(preset),
                    reason=f"it has {len(found)} characters, at least 16 are needed",
                    remedy="Put a longer secret there, or remove the file: the node then makes one itself.",
                )
            return found
        held = self.token().partition(".")[0]
        return held or base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode().lower()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class JoinRoutes:
    """Implements :class:`appliance.wire.definition.JoinApi`. ``joined`` is called when the node has become a member."""

    def __init__(self, root: Root, clock: Clock, facts: Facts, door: JoinDoor, joined: Callable[[], None]) -> None:
        self._root = root
        self._clock = clock
        self._facts = facts
        self._door = door
        self._joined = joined
        self._files = MembershipFiles(root)
        self._lock = threading.Lock()

    def join_hello(self, token: str) -> JoinHello:
        self._admit(token)
        return JoinHello(self._facts.read(None), self._door.fingerprint())

    def join_folder(self, token: str, path: str) -> FolderFacts:
        self._admit(token)
        return folder_facts(self._root, path)

    def join_reach(self, token: str, name: str, port: int) -> Reached:
        self._admit(token)
        return reach(name, port)

    def join_csr(self, token: str, name: str, address: str) -> str:
        self._admit(token)
        path = self._root.at(NODE_KEY)
        with self._lock:
            if not path.exists():
                write_atomically(path, pki.create_key(), PRIVATE)
        return pki.create_csr(path.read_text(), name, (name, address))

    def join_accept(self, token: str, certificate_pem: str, ca_pem: str, cluster: Cluster, membership: Membership) -> None:
        with self._lock:
            self._admit(token)
            self._check(certificate_pem, ca_pem, cluster, membership)
            at = self._root.at
            write_atomically(at(NODE_CERTIFICATE), certificate_pem, PUBLIC)
            write_atomically(at(CA_CERTIFICATE), ca_pem, PUBLIC)
            self._files.write(cluster, membership)
            self._door.use_up()
        self._joined()

    def _admit(self, token: str) -> None:
        self._door.admit(token)
        if self._files.membership() is not None:
            raise Conflict(
                "join.already-member",
                subject="this node",
                reason="it is a member of a cluster already",
                remedy="To move it to another cluster, remove it from this one first.",
            )

    def _check(self, certificate_pem: str, ca_pem: str, cluster: Cluster, membership: Membership) -> None:
        member = cluster.member(membership.name)
        if member is None or member.id != membership.node_id or cluster.id != membership.cluster_id:
            raise _mismatch(f"the cluster has no member {membership.name} with the id {membership.node_id}")
        path = self._root.at(NODE_KEY)
        if not path.exists():
            raise _mismatch("this node was not asked for a signing request yet")
        subject = pki.verify_member(certificate_pem, ca_pem, path.read_text())
        if (subject.name, subject.cluster_id, subject.unit) != (member.name, cluster.id, "node"):
            raise _mismatch(
                f"the certificate is for {subject.unit} {subject.name} of {subject.cluster_id}, not for node {member.name}"
            )
        if member.address not in subject.sans or member.name not in subject.sans:
            raise _mismatch(f"the certificate names {', '.join(subject.sans)}, not {member.name} and {member.address}")


def _mismatch(reason: str) -> Refused:
    return Refused(
        "join.mismatch",
        subject="the membership offered",
        reason=reason,
        remedy="Ask for a signing request, sign it with the cluster's CA, and send the cluster that lists this node.",
    )
