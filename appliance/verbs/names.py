"""The cluster's names in /etc/hosts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from appliance.effects.files import PUBLIC, write_if_different
from appliance.effects.root import Root
from appliance.errors import Refused
from appliance.model.cluster import Member
from appliance.tools.addresses import is_address
from appliance.tools.block import with_block
from appliance.tools.hosts import with_names

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def set_names(root: Root, members: Sequence[Member], engine_fqdn: str, engine_address: str) -> bool:
    """Put the names into /etc/hosts; answers whether something changed. Raises ``Refused`` (``names.invalid``)."""
    for name, address in (*((member.name, member.address) for member in members), (engine_fqdn, engine_address)):
        _check(name, address)
    path = root.at("/etc/hosts")
    held = path.read_text() if path.exists() else ""
    return write_if_different(path, with_names(held, members, engine_fqdn, engine_address), PUBLIC)


def forget_names(root: Root) -> None:
    """Take the cluster's names out of /etc/hosts again."""
    path = root.at("/etc/hosts")
    if path.exists():
        write_if_different(path, with_block(path.read_text(), "names", ()), PUBLIC)


def _check(name: str, address: str) -> None:
    """A name with a line break would write a line of its own."""
    if not is_address(address):
        raise _refuse(name, f"{address!r} is not an IP address")
    if not _NAME.fullmatch(name):
        raise _refuse(name, "it is not a host name")


def _refuse(name: str, reason: str) -> Refused:
    return Refused("names.invalid", subject=repr(name), reason=reason, remedy="Use letters, digits, dots and hyphens.")
