"""What answers must satisfy beyond having the right types. Pure: no node is asked, no name is resolved.

Each rule is a generator of problems; :func:`check` returns the first in the order of the rules, because a later one
often only follows from an earlier one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.tools.addresses import is_address

if TYPE_CHECKING:
    from installer.answers import Answers

LEAST_NODES = 3  # because a replica-3 volume has one brick on each of three nodes, and two of three are the quorum
MOST_NODES = 16  # because that is the largest cluster that anybody has said to want; more is untested
LEAST_ENGINE_MIB = 768  # because the engine VM was measured to need about 500 MiB, and a page cache on top
MOST_ENGINE_MIB = 65536  # because more is surely a slip of units
MOST_ENGINE_CPUS = 64  # because more is surely a slip
LEAST_DATA_GIB = 1  # because an ext4 with its journal, a database of some megabytes and one backup fit into that
MOST_DATA_GIB = 4096  # because more is surely a slip of units
MOST_SKEW_S = 60.0  # because certificates and tokens are dated to the minute

LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
CLUSTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
NIC = re.compile(r"[A-Za-z0-9_.:-]{1,15}")  # 15: the kernel's IFNAMSIZ less its final zero
DEVICE = re.compile(r"/dev/[A-Za-z0-9_./:-]+")
FOLDER = re.compile(r"/[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")  # Gluster splits bricks at ":", and shells at spaces
SSH_KEY = re.compile(r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+( .*)?")
TOKEN = re.compile(r"[^\s.]{16,128}(\.[0-9a-f]{16})?")  # cloud-init may preset a secret of any characters


@dataclass(frozen=True)
class Problem:
    """One thing wrong: a code without its family, the key, what was found and needed, and what helps."""

    code: str
    key: str
    reason: str
    remedy: str = "Correct it and try again."


def check(answers: Answers) -> Problem | None:
    """The first problem of ``answers``, or None."""
    for rule in RULES:
        for problem in rule(answers):
            return problem
    return None


def is_name(text: str) -> bool:
    """Is it a host name, with or without a domain?"""
    labels = text.split(".")
    return len(text) <= 253 and all(LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit()


def _nodes(answers: Answers) -> Iterator[Problem]:
    count = len(answers.nodes)
    if not LEAST_NODES <= count <= MOST_NODES:
        yield Problem(
            "too-few-nodes" if count < LEAST_NODES else "too-many-nodes",
            "nodes",
            f"has {count} node(s); {LEAST_NODES} to {MOST_NODES} are needed",
            "Add nodes to the file." if count < LEAST_NODES else "Take nodes out of the file.",
        )


def _unique(answers: Answers) -> Iterator[Problem]:
    for attribute in ("name", "address"):
        first: dict[str, int] = {}
        for index, node in enumerate(answers.nodes):
            value = str(getattr(node, attribute))
            if value in first:
                yield Problem(
                    f"duplicate-{attribute}",
                    f"nodes[{index}].{attribute}",
                    f"is {value!r}, which nodes[{first[value]}] has already",
                    f"Give every node {'a name' if attribute == 'name' else 'an address'} of its own.",
                )
            first[value] = index


def _names(answers: Answers) -> Iterator[Problem]:
    if not CLUSTER_NAME.fullmatch(answers.cluster.name):
        yield Problem(
            "invalid-name", "cluster.name", f"is {answers.cluster.name!r}; letters, digits, '_', '.', '-' are needed"
        )
    if not is_name(answers.engine.fqdn) or "." not in answers.engine.fqdn:
        yield Problem("invalid-name", "engine.fqdn", f"is {answers.engine.fqdn!r}; a host name with its domain is needed")
    for index, node in enumerate(answers.nodes):
        if not LABEL.fullmatch(node.name):
            yield Problem("invalid-name", f"nodes[{index}].name", f"is {node.name!r}; a host name without domain is needed")
        if node.name in (answers.engine.fqdn, answers.engine.fqdn.partition(".")[0]):
            yield Problem("duplicate-name", f"nodes[{index}].name", f"is {node.name!r}, which is the engine's name")


def _addresses(answers: Answers) -> Iterator[Problem]:
    engine = answers.engine
    given = [("engine.address", engine.address)]
    given += [("engine.gateway", engine.gateway)] if engine.gateway else []
    given += [(f"engine.dns[{index}]", address) for index, address in enumerate(engine.dns)]
    for key, address in given:
        if not is_address(address):
            yield Problem("invalid-address", key, f"is {address!r}; an IP address is needed")
    for index, node in enumerate(answers.nodes):
        if not is_address(node.address) and not is_name(node.address):
            yield Problem(
                "invalid-address", f"nodes[{index}].address", f"is {node.address!r}; an IP address or a host name is needed"
            )


def _subnet(answers: Answers) -> Iterator[Problem]:
    engine = answers.engine
    try:
        network = ipaddress.ip_interface(f"{engine.address}/{engine.prefix}").network
    except ValueError:
        yield Problem("invalid-prefix", "engine.prefix", f"is {engine.prefix}, which {engine.address} cannot have")
        return
    if ipaddress.ip_address(engine.address) in (network.network_address, network.broadcast_address):
        yield Problem("invalid-address", "engine.address", f"is {engine.address}, which is no host's address in {network}")
    outside = "Put the engine and all nodes into one subnet: the engine VM moves between them."
    if engine.gateway and ipaddress.ip_address(engine.gateway) not in network:
        yield Problem("outside-subnet", "engine.gateway", f"is {engine.gateway}, which is not in {network}", outside)
    for index, node in enumerate(answers.nodes):
        key = f"nodes[{index}].address"
        if node.address == engine.address:
            yield Problem("duplicate-address", key, f"is {node.address!r}, which is the engine's address")
        if is_address(node.address) and ipaddress.ip_address(node.address) not in network:
            yield Problem(
                "outside-subnet", key, f"is {node.address}, which is not in {network} (the engine's subnet)", outside
            )


def _sizes(answers: Answers) -> Iterator[Problem]:
    engine = answers.engine
    ranges: tuple[tuple[str, float, float, float], ...] = (
        ("engine.memory_mib", engine.memory_mib, LEAST_ENGINE_MIB, MOST_ENGINE_MIB),
        ("engine.cpus", engine.cpus, 1, MOST_ENGINE_CPUS),
        ("engine.data_disk_gib", engine.data_disk_gib, LEAST_DATA_GIB, MOST_DATA_GIB),
        ("cluster.clock_skew_s", answers.cluster.clock_skew_s, 0.1, MOST_SKEW_S),
    )
    for key, value, least, most in ranges:
        if not least <= value <= most:
            yield Problem("out-of-range", key, f"is {value:g}; {least:g} to {most:g} is needed")


def _bricks(answers: Answers) -> Iterator[Problem]:
    for index, node in enumerate(answers.nodes):
        if bool(node.brick_folder) == bool(node.brick_disk):
            found = "both brick_folder and brick_disk" if node.brick_disk else "neither brick_folder nor brick_disk"
            yield Problem("brick", f"nodes[{index}]", f"has {found}; exactly one of them is needed")
        if node.brick_folder and (not FOLDER.fullmatch(node.brick_folder) or ".." in node.brick_folder.split("/")):
            yield Problem(
                "invalid-path",
                f"nodes[{index}].brick_folder",
                f"is {node.brick_folder!r}; an absolute path of letters, digits, '_', '.', '-' below / is needed",
            )
        if node.brick_disk and (not DEVICE.fullmatch(node.brick_disk) or ".." in node.brick_disk):
            yield Problem(
                "invalid-path", f"nodes[{index}].brick_disk", f"is {node.brick_disk!r}; a device below /dev is needed"
            )


def _access(answers: Answers) -> Iterator[Problem]:
    for index, node in enumerate(answers.nodes):
        if not NIC.fullmatch(node.nic):
            yield Problem(
                "invalid-nic", f"nodes[{index}].nic", f"is {node.nic!r}; the name of a network interface is needed"
            )
        if not TOKEN.fullmatch(node.token):
            # The value is not repeated: it may be a true token with one character too many.
            yield Problem(
                "invalid-token",
                f"nodes[{index}].token",
                "does not look like a join token",
                f"`trivet node token` on {node.name} prints it.",
            )
    for index, key in enumerate(answers.engine.ssh_authorized_keys):
        if not SSH_KEY.fullmatch(key):
            yield Problem("invalid-ssh-key", f"engine.ssh_authorized_keys[{index}]", "is not an OpenSSH public key")


RULES: tuple[Callable[[Answers], Iterator[Problem]], ...] = (
    _nodes,
    _names,
    _unique,
    _addresses,
    _subnet,
    _sizes,
    _bricks,
    _access,
)
