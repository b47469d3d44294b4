"""What the engine VM's start data mean for its files: texts only, written by :mod:`engine.boot.seed`."""

from __future__ import annotations

import re

from appliance.errors import Refused
from appliance.model.engine_start import EngineStart
from appliance.tools.addresses import is_address

BEGIN, END = "# begin trivet", "# end trivet"
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def check(start: EngineStart) -> None:
    """Refuse (``seed.invalid``) start data that would break the files made from it."""

    def address(text: str, attribute: str) -> None:
        if not is_address(text):
            raise _refuse(f"'{attribute}' is no IP address: {text!r}")

    def name(text: str, attribute: str) -> None:
        if not NAME.fullmatch(text):
            raise _refuse(f"'{attribute}' is no host name: {text!r}")

    if start.epoch < 1:
        raise _refuse(f"'epoch' must be 1 or more, not {start.epoch}")
    if not 1 <= start.prefix <= 128:
        raise _refuse(f"'prefix' must be 1 to 128, not {start.prefix}")
    address(start.address, "address")
    for text in (*start.dns, *((start.gateway,) if start.gateway else ())):
        address(text, "gateway or dns")
    name(start.fqdn, "fqdn")
    name(start.host, "host")
    for host, text in start.hosts:
        name(host, "hosts")
        address(text, "hosts")


def _refuse(reason: str) -> Refused:
    return Refused(
        "seed.invalid",
        subject="trivet-start.json on the seed disk",
        reason=reason,
        remedy="The broker of the node writes it at each start: see its log, `journalctl -u trivet-ha`.",
    )


def network(start: EngineStart) -> str:
    """A unit for systemd-networkd: the one Ethernet NIC has the address. The seed is the only authority, so no RA,
    no DHCP."""
    lines = [
        "[Match]",
        "Type=ether",
        "",
        "[Network]",
        f"Address={start.address}/{start.prefix}",
        *([f"Gateway={start.gateway}"] if start.gateway else []),
        *(f"DNS={server}" for server in start.dns),
        "LinkLocalAddressing=no",
        "IPv6AcceptRA=no",
        "DHCP=no",
    ]
    return "\n".join(lines) + "\n"


def hosts_file(old: str, start: EngineStart) -> str:
    """/etc/hosts with our block replaced; all other lines stay."""
    kept: list[str] = []
    ours = False
    for line in old.splitlines():
        ours = line == BEGIN or (ours and line != END)
        if not ours and line != END:
            kept.append(line)
    short = start.fqdn.partition(".")[0]
    names = [f"{start.address} {start.fqdn}" + (f" {short}" if short != start.fqdn else "")]
    names += [f"{address} {name}" for name, address in start.hosts]
    return "\n".join([*kept, BEGIN, *names, END]) + "\n"
