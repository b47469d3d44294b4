"""Who is at the other end: the three ways in which a caller of an agent knows, as contexts of the standard library."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from appliance.errors import Denied

TLS_MINIMUM = ssl.TLSVersion.TLSv1_2
"""1.2 for what an oVirt veteran may still call with; both ends of ours speak 1.3."""


class Tls(Protocol):
    """How a connection is made safe."""

    def context(self) -> ssl.SSLContext:
        """A context for one connection."""

    def admit(self, node: str, peer: ssl.SSLSocket) -> None:
        """Look at the other end after the handshake. Raises ``Denied`` when it is not who it has to be."""


@lru_cache(maxsize=4)
def _member_context(files: tuple[Path, Path, Path], _written: tuple[tuple[int, int], ...]) -> ssl.SSLContext:
    """A context of these files as they were ``_written`` (inode, time). Kept, because reading a key and a CA costs as much
    as the handshake; certificates are renewed while we run, hence the second argument."""
    ca, certificate, key = files
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(ca))
    context.minimum_version = TLS_MINIMUM
    context.load_cert_chain(certificate, key)
    return context


@dataclass(frozen=True)
class MutualTls:
    """A member calls a member: both show certificates of the cluster's CA. Paths of PEM files."""

    ca: Path
    certificate: Path
    key: Path
    cluster_id: str

    def context(self) -> ssl.SSLContext:
        files = (self.ca, self.certificate, self.key)
        return _member_context(files, tuple((found.st_ino, found.st_mtime_ns) for found in map(Path.stat, files)))

    def admit(self, node: str, peer: ssl.SSLSocket) -> None:
        found = organization(peer.getpeercert())
        if found != self.cluster_id:
            raise other_cluster(node, f"its certificate names cluster {found or 'none'}, ours is {self.cluster_id}")


@dataclass(frozen=True)
class PinnedTls:
    """A caller of a bare node: the self-signed certificate must begin with this fingerprint (hex digits of its SHA-256).

    Empty: trust on first use; ask :func:`appliance.wire.client.seen_fingerprint` and show it to a person.
    """

    fingerprint: str

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = TLS_MINIMUM
        context.check_hostname = False  # a bare node has no name that anybody signed; the pin decides
        context.verify_mode = ssl.CERT_NONE
        return context

    def admit(self, node: str, peer: ssl.SSLSocket) -> None:
        found = hashlib.sha256(peer.getpeercert(binary_form=True) or b"").hexdigest()
        if not found.startswith(self.fingerprint.lower()):
            raise Denied(
                "join.fingerprint",
                subject=node,
                reason=f"its certificate has the fingerprint {found[:16]}, the token says {self.fingerprint}",
                remedy="Read the token again with `trivet node token` there. If it still differs, somebody is in between.",
                facts={"found": found},
            )


def pin_of(token: str) -> PinnedTls:
    """The pin inside a join token (``secret.fingerprint``); a token without one pins nothing."""
    _, _, fingerprint = token.strip().partition(".")
    return PinnedTls(fingerprint)


def organization(certificate: object) -> str:
    """O of a certificate as ``SSLSocket.getpeercert()`` gives it, or empty."""
    return subject(certificate).get("organizationName", "")


def subject(certificate: object) -> dict[str, str]:
    """The subject of a certificate as ``SSLSocket.getpeercert()`` gives it; empty for none."""
    if not isinstance(certificate, dict):
        return {}
    return {key: value for group in certificate.get("subject", ()) for key, value in group}


def other_cluster(node: str, reason: str) -> Denied:
    """The error for a peer of another cluster."""
    return Denied(
        "agent.other-cluster",
        subject=node,
        reason=reason,
        remedy="Check the address: a node belongs to one cluster only. To move a node here, install it anew.",
    )


NOT_YET_VALID = 9
EXPIRED = 10
OTHER_NAME = (62, 64)
"""OpenSSL's verification results (x509_vfy.h): the last two are a host name and an IP address that the certificate lacks."""


def wrong_certificate(node: str, address: str, error: ssl.SSLCertVerificationError) -> Denied:
    """The error for a server's certificate that TLS did not accept, by what exactly was wrong with it."""
    if error.verify_code in (NOT_YET_VALID, EXPIRED):
        return wrong_date(node, f"its certificate is out of its time ({error.verify_message})")
    if error.verify_code in OTHER_NAME:
        return Denied(
            "agent.other-node",
            subject=node,
            reason=f"the agent at {address} is another member: {error.verify_message}",
            remedy="Check the addresses in cluster.json, and that no address is used twice.",
        )
    return other_cluster(node, f"its certificate is not this cluster's ({error.verify_message})")


def wrong_date(node: str, reason: str) -> Denied:
    """The error for a certificate that is not valid now, or a clock that is wrong."""
    return Denied(
        "agent.certificate-date",
        subject=node,
        reason=reason,
        remedy="Compare `date` here and there; if both are right, the certificate has to be renewed.",
    )
