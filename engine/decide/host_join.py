"""Whether a node can become a host of this cluster: its name, and what it says of itself before anything is changed.
Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from appliance.model.cluster import Cluster
from appliance.model.node import NodeFacts

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A host name: the nodes call each other by it, in /etc/hosts, in the pool and in certificates."""
FINGERPRINT = re.compile(r"[0-9a-f]{16,64}")
"""Of a certificate: 64 bits at least, as a token has them."""
HOSTS_LIMIT = 16
"""What the brokers' board and their votes were tried with."""
BESIDE_ENGINE_MIB = 1024
"""Memory that a node needs beside the engine's VM, as the installer asks for: each host may have to run it."""
SKEW_LIMIT_S = 5.0
"""The engine's clock is right to half a second, and certificates begin a day early; Gluster judges times of files by
seconds."""
MIB = 1024**2


@dataclass(frozen=True)
class Problem:
    """What is in the way: a stable code, a clause, what helps."""

    code: str
    reason: str
    remedy: str


def token_of(root_password: str, fingerprint: str) -> str:
    """The token that a v4 body carries: ``root_password`` is the node's join token, as its screen shows it; ``fingerprint``
    (of ``ssh``, colons allowed) pins its certificate when the token does not do so itself."""
    token = root_password.strip()
    pin = fingerprint.strip().lower().removeprefix("sha256:").replace(":", "")
    return f"{token}.{pin}" if token and pin and "." not in token else token


def unsaid(token: str) -> Problem | None:
    """Why a token opens nothing, without asking anybody."""
    if not token:
        return Problem(
            "host.token-missing",
            "nothing proves that it is to join: root_password has to be the one-time token that its screen shows",
            "Read it there (or `trivet node token` on it) and send it as root_password. A public key opens no node.",
        )
    if not FINGERPRINT.fullmatch(token.partition(".")[2].lower()):
        return Problem(
            "host.fingerprint-missing",
            "the token has no fingerprint of its certificate, so whoever is at that address would be told the secret",
            "Send the whole token (SECRET.FINGERPRINT), or the certificate's SHA-256 as ssh.fingerprint.",
        )
    return None


def unfit_name(name: str, address: str, cluster: Cluster) -> Problem | None:
    """Why a node cannot have that name or address."""
    if not NAME.fullmatch(name):
        return Problem(
            "host.name",
            "its name is no host name of lower-case letters, digits and hyphens",
            "Choose one, node4 for instance.",
        )
    if name == cluster.engine.fqdn.partition(".")[0] or address in (cluster.engine.address, cluster.engine.fqdn):
        return Problem("host.engine-name", "its name or address is the engine's own", "Choose another.")
    if len(cluster.members) >= HOSTS_LIMIT:
        return Problem(
            "host.limit", f"the cluster has {len(cluster.members)} hosts, which is all it can have", "Found another."
        )
    return None


def unfit(
    facts: NodeFacts, address: str, cluster: Cluster, version: str, skew_s: float, accelerated: bool
) -> Iterator[Problem]:
    """All that a node's own words say against it. ``accelerated``: the cluster's hosts run guests on real CPUs."""
    if facts.version != version:
        yield Problem(
            "host.version",
            f"it has version {facts.version or 'unknown'} of the node image, the engine is {version}",
            f"Boot it from the node image of version {version}.",
        )
    if facts.gluster_peers:
        yield Problem(
            "host.other-pool",
            f"its glusterd is in another pool, with {', '.join(facts.gluster_peers)}",
            "Detach it there, or install it anew.",
        )
    if not nic_of(facts, address):
        yield Problem("host.nic", f"none of its interfaces has the address {address}", "Add it by an address of its own.")
    if abs(skew_s) > SKEW_LIMIT_S:
        direction = "ahead of" if skew_s > 0 else "behind"
        yield Problem(
            "host.clock", f"its clock is {abs(skew_s):.0f} s {direction} the engine's", "Set both by one source of time."
        )
    needed_mib = cluster.engine.memory_mib + BESIDE_ENGINE_MIB
    if facts.memory_bytes < needed_mib * MIB:
        yield Problem(
            "host.memory",
            f"it has {facts.memory_bytes // MIB} MiB of memory; {needed_mib} are needed, for it may have to run the engine",
            "Add memory.",
        )
    if accelerated and not facts.cpu.hardware_virtualization:
        yield Problem(
            "host.cpu",
            "its CPU does not match the Cluster's: it would emulate guests, so none could be moved to it or from it",
            "Switch hardware virtualization (VMX or SVM) on in its firmware.",
        )


def nic_of(facts: NodeFacts, address: str) -> str:
    """The interface over which the management bridge is to be: that with the address, or what is below the bridge
    already."""
    holders = [one for one in facts.nics if any(item.partition("/")[0] == address for item in one.addresses)]
    for holder in holders:
        below = [one.name for one in facts.nics if one.bridge == holder.name]
        return below[0] if below else holder.name
    return ""


def accelerated(known: Mapping[str, NodeFacts | None]) -> bool:
    """Whether the hosts of a cluster run guests on real CPUs: one that does makes the rule."""
    return any(one.cpu.hardware_virtualization for one in known.values() if one is not None)
