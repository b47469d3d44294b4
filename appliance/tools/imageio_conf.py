"""ovirt-imageio: its configuration as text, and its tickets as JSON objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from appliance.model.image_ticket import ImageTicket

CONNECTIONS = 8
"""Of one ticket at once: what its clients open by themselves, and what qemu-nbd is told to allow."""
REMOVE_TIMEOUT_S = 10
"""How long a ticket's removal waits for what is being written: below the route's deadline, so that the caller hears why."""


@dataclass(frozen=True)
class ImageioSettings:
    """What the daemon is told. The files are as it sees them: systemd hands it copies (``LoadCredential``)."""

    address: str
    port: int
    key: PurePath
    certificate: PurePath
    ca: PurePath
    control: PurePath


def imageio_conf(settings: ImageioSettings) -> str:
    """The text of ``conf.d/50-trivet.conf``. Its log goes to the journal and begins at warnings: the line that tells of a
    new ticket would tell its secret, too."""
    return f"""\
# Written by trivet-agent.
[daemon]
drop_privileges = false
systemd_enable = false
max_connections = {CONNECTIONS}

[tls]
enable = true
key_file = {settings.key}
cert_file = {settings.certificate}
ca_file = {settings.ca}

[remote]
host = {settings.address}
port = {settings.port}

[local]
enable = false

[control]
transport = unix
socket = {settings.control}
remove_timeout = {REMOVE_TIMEOUT_S}

[handlers]
keys = stderr

[logger_root]
level = WARNING
handlers = stderr
"""


def ticket_body(ticket: ImageTicket, size_bytes: int, socket: PurePath) -> Mapping[str, Any]:
    """A ticket for a disk that is served at ``socket``. ``sparse``: zeros that are written give room back; ``dirty``: what
    was written since a checkpoint can be asked."""
    export = f":exportname={ticket.export}" if ticket.export else ""
    dirty = {"dirty": True} if ticket.since else {}
    return {
        "uuid": ticket.id,
        "transfer_id": ticket.transfer,
        "size": size_bytes,
        "url": f"nbd:unix:{socket}{export}",
        "timeout": ticket.timeout_s,
        "inactivity_timeout": ticket.inactivity_s,
        "ops": ["write"] if ticket.writes else ["read"],
        "sparse": True,
        **dirty,
    }
