"""What a node's system disk gets before its first boot: a NoCloud seed as on metal, and what only the lab needs. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from image.lab.model import ENGINE_FQDN, NODE_NIC, PREFIX_LENGTH, LabNode, engine_address

SEED_FOLDER: Final = PurePosixPath("var/lib/cloud/seed/nocloud")
LAB_MARK_BEGIN: Final = "# --- lab: begin (only in a lab node, where libvirt runs inside a container) ---"
LAB_MARK_END: Final = "# --- lab: end ---"


@dataclass(frozen=True)
class SeedFile:
    """A file to write below the node's root. ``append`` keeps what the image has there."""

    path: PurePosixPath
    text: str
    append: bool = False
    mode: int = 0o644


def seed(node: LabNode, others: Sequence[LabNode], ssh_keys: Sequence[str] = ()) -> tuple[SeedFile, ...]:
    """All files of ``node``; ``others`` are all nodes of the lab, for ``/etc/hosts``.

    resolv.conf is empty because with an unreachable name server every Gluster operation times out.
    """
    return (
        SeedFile(SEED_FOLDER / "meta-data", f"instance-id: {node.namespace}\nlocal-hostname: {node.name}\n"),
        SeedFile(SEED_FOLDER / "user-data", _user_data(ssh_keys), mode=0o600),
        SeedFile(SEED_FOLDER / "network-config", _network(node)),
        SeedFile(PurePosixPath("etc/hosts"), _hosts(others)),
        SeedFile(PurePosixPath("etc/resolv.conf"), ""),
        SeedFile(PurePosixPath("etc/machine-id"), f"{node.machine_id}\n", mode=0o444),
        SeedFile(PurePosixPath("etc/libvirt/qemu.conf"), _marked(_QEMU), append=True, mode=0o600),
        SeedFile(PurePosixPath("etc/libvirt/libvirtd.conf"), _marked([f'host_uuid = "{node.uuid}"']), append=True),
    )


_QEMU = [
    "# File owners cannot be remembered: the tree is an overlay and the volume is FUSE.",
    "remember_owner = 0",
    "# No mount namespace and no AppArmor for QEMU: the container offers neither.",
    "namespaces = []",
    'security_driver = "none"',
]


def _marked(lines: Sequence[str]) -> str:
    return "\n".join(["", LAB_MARK_BEGIN, *lines, LAB_MARK_END, ""])


def _user_data(ssh_keys: Sequence[str]) -> str:
    # JSON is YAML, and quoting is then nobody's problem.
    data = {"manage_etc_hosts": False, "ssh_authorized_keys": list(ssh_keys), "disable_root": False}
    return "#cloud-config\n" + json.dumps(data, indent=1) + "\n"


def _network(node: LabNode) -> str:
    nic = {"match": {"name": NODE_NIC}, "addresses": [f"{node.address}/{PREFIX_LENGTH}"], "dhcp4": False, "dhcp6": False}
    return json.dumps({"version": 2, "ethernets": {NODE_NIC: nic}}, indent=1) + "\n"


def _hosts(nodes: Sequence[LabNode]) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{node.address} {node.name}" for node in nodes]
    if nodes:
        lines.append(f"{engine_address(nodes[0].index)} {ENGINE_FQDN}")
    return "\n".join(lines) + "\n"
