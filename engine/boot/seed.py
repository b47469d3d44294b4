"""Read the seed disk: who we are at this start. The first thing that an engine does when it goes active."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

from appliance.codec import encode
from appliance.effects import mounting
from appliance.model.engine_start import EngineStart
from engine.boot.files import FILE_LIMIT_BYTES, read
from engine.decide import guest as texts
from engine.layout import IDENTITY_NAME, START_NAME, Guest, write_private

REMEDY = "The broker of the node writes the seed at each start: see its log, `journalctl -u trivet-ha`."


def mount_and_read(guest: Guest, device: Path, log: Callable[[str], None]) -> EngineStart:
    """Apply the seed on ``device``, then unmount it. Raises ``Failed`` ``mount.failed``, ``Refused`` ``seed.invalid``."""
    place = guest.run / "seed"
    place.mkdir(parents=True, exist_ok=True)
    mounting.mount(device, place, "iso9660", mounting.READ_ONLY | mounting.NO_SUID | mounting.NO_DEVICES | mounting.NO_EXEC)
    try:
        return apply(guest, place, log)
    finally:
        mounting.unmount(place)


def apply(
    guest: Guest, seed: Path, log: Callable[[str], None], set_hostname: Callable[[str], None] | None = None
) -> EngineStart:
    """Write what follows from the files in ``seed``: network, names, hostname, and the copies for the other programs."""
    start = read(EngineStart, seed / START_NAME, "seed.invalid", REMEDY)
    texts.check(start)
    guest.run.mkdir(parents=True, exist_ok=True)
    guest.run.chmod(0o755)  # web and jobs read start.json; what is secret in there has its own mode
    write_private(guest.at("/run/systemd/network/10-trivet.network"), texts.network(start), 0o644)
    hosts = guest.at("/etc/hosts")
    write_private(hosts, texts.hosts_file(hosts.read_text() if hosts.exists() else "127.0.0.1 localhost\n", start), 0o644)
    write_private(guest.at("/etc/hostname"), f"{start.fqdn}\n", 0o644)
    if guest.root == Path("/"):
        (set_hostname or socket.sethostname)(start.fqdn)
    identity = seed / IDENTITY_NAME
    if identity.exists():
        with identity.open(encoding="utf-8") as file:
            write_private(guest.identity_file, file.read(FILE_LIMIT_BYTES))
    write_private(guest.start_file, json.dumps(encode(start), indent=2), 0o644)  # last: it says that the rest is there
    log(f"this is start {start.epoch}, on {start.host}; our address is {start.address}")
    return start
