"""The cluster's CA at work: nodes' certificates, signed by a program of its own, which alone may read the CA's key.

Jobs run as a user without rights and hand a signing request through a socket; systemd starts the signer for it as root,
without a network, and it ends with the answer. It signs for nodes, nothing else: whoever takes the jobs process over cannot
make a certificate of an engine, nor take the key away.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path

from appliance import pki
from appliance.codec import decode
from appliance.errors import Refused, TrivetError, Unavailable, from_json
from appliance.model.cluster import Cluster
from engine.boot.files import read
from engine.boot.seed import REMEDY
from engine.layout import Guest

LIMIT_BYTES = 64 * 1024
"""A request has about 600 bytes."""
TIMEOUT_S = 60.0
"""The signer imports its cryptography first: seconds on an emulated CPU."""


@dataclass(frozen=True)
class SignNode:
    """What is asked: a node's certificate."""

    name: str
    address: str
    csr_pem: str


def answer(guest: Guest, text: str, now_wall_s: float) -> str:
    """One request's answer, both JSON: ``{"certificate_pem": …}`` or ``{"error": …, "status": …}``."""
    try:
        return json.dumps({"certificate_pem": _sign(guest, text, now_wall_s)})
    except TrivetError as error:
        return json.dumps({"error": error.as_json(), "status": error.status})


def _sign(guest: Guest, text: str, now_wall_s: float) -> str:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise Refused("signer.request", subject="request", reason=f"it is no JSON ({error})", remedy="Repair.") from error
    asked = decode(SignNode, data, subject="request", code="signer.request")
    cluster = read(Cluster, guest.cluster, "cluster.invalid", REMEDY)
    if {asked.name, asked.address} & {cluster.engine.fqdn, cluster.engine.address}:
        raise Refused(
            "signer.engine",
            subject=f"node {asked.name}",
            reason="its name or address is the engine's own, and nobody else may have a certificate for those",
            remedy="Choose others.",
        )
    authority = pki.Authority(guest.ca.read_text(), guest.ca_key.read_text())
    sans = (asked.name, asked.address)
    return pki.sign_csr(authority, asked.csr_pem, "node", name=asked.name, sans=sans, now_wall_s=now_wall_s)


def signed(place: Path, name: str, address: str, csr_pem: str) -> str:
    """The certificate (PEM), asked of the signer. Raises what it raised, or ``Unavailable`` ``engine.signer``."""
    question = json.dumps({"name": name, "address": address, "csr_pem": csr_pem}).encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(TIMEOUT_S)
            channel.connect(str(place))
            channel.sendall(question)
            channel.shutdown(socket.SHUT_WR)
            found = json.loads(_all(channel))
    except (OSError, ValueError) as error:
        raise Unavailable(
            "engine.signer",
            subject="the cluster's CA",
            reason=f"its signer did not answer ({error})",
            remedy="Look at `systemctl status trivet-engine-sign.socket` in the engine VM.",
        ) from error
    if "certificate_pem" in found:
        return str(found["certificate_pem"])
    raise from_json(int(found.get("status", 500)), found.get("error") or {})


def _all(channel: socket.socket) -> bytes:
    parts, size = [], 0
    while part := channel.recv(LIMIT_BYTES):
        parts.append(part)
        size += len(part)
        if size > LIMIT_BYTES:
            raise ValueError("the answer has no end")
    return b"".join(parts)
