"""/etc/hosts: the names of a cluster."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.model.cluster import Member
from appliance.tools.block import with_block


def with_names(text: str, members: Sequence[Member], engine_fqdn: str, engine_address: str) -> str:
    """``text`` with the cluster's names. Lines of others that give one of these names a loopback address lose that name.

    cloud-init and Debian's installer write ``127.0.1.1 node1``: with it a node would announce itself to Gluster and libvirt
    under an address that only it understands.
    """
    names = {member.name for member in members} | {engine_fqdn}
    kept = "\n".join(line for line in (_without(line, names) for line in text.splitlines()) if line is not None)
    lines = [f"{member.address} {member.name}" for member in members]
    lines.append(f"{engine_address} {engine_fqdn} {engine_fqdn.partition('.')[0]}")
    return with_block(kept, "names", tuple(lines))


def _without(line: str, names: set[str]) -> str | None:
    words = line.partition("#")[0].split()
    if len(words) < 2 or not words[0].startswith("127.") or not names & set(words[1:]):
        return line
    rest = [word for word in words[1:] if word not in names]
    return f"{words[0]} {' '.join(rest)}" if rest else None
