"""``qemu-nbd`` in a transient unit: which disk it opens, and what it may do."""

from __future__ import annotations

import json
from pathlib import PurePath

from appliance.model.image_ticket import ImageTicket
from appliance.tools.imageio_conf import CONNECTIONS

DAEMON_UNIT = "trivet-imageio.service"
GROUP = "trivet-imageio"
"""The daemon's; the socket is for it alone."""
USER = "libvirt-qemu"
"""Who owns the disks."""
RUNTIME_MAX_S = 7 * 24 * 3600
"""No transfer takes a week; one that nobody ends (its engine is gone for good) must not hold its disk for ever."""
MEMORY_MAX = "256M"
"""Some 40 MiB of its own, and 8 connections with 16 MiB in flight at most."""
TASKS_MAX = 64
"""Its main loop and at most that many of QEMU's workers (64 of them would fight for one disk)."""


def unit_name(transfer: str) -> str:
    """The unit that serves a transfer's disk."""
    return f"trivet-nbd-{transfer}.service"


def start_argv(ticket: ImageTicket, place: PurePath, folder: str, socket: PurePath) -> tuple[str, ...]:
    """Serve ``place`` at ``socket`` until the unit is stopped; returns when it listens. ``folder``: below /run, of the unit.

    The daemon's end ends it (``BindsTo``): a ticket lives in the daemon's memory, so nobody could come any more.
    """
    properties = (
        "Type=forking",
        f"User={USER}",
        f"Group={GROUP}",
        "UMask=0007",
        f"RuntimeDirectory={folder}",
        "RuntimeDirectoryMode=0750",
        f"RuntimeMaxSec={RUNTIME_MAX_S}",
        "TimeoutStartSec=30",
        "TimeoutStopSec=30",
        f"BindsTo={DAEMON_UNIT}",
        f"After={DAEMON_UNIT}",
        f"MemoryMax={MEMORY_MAX}",
        f"TasksMax={TASKS_MAX}",
        "OOMPolicy=stop",
        "CapabilityBoundingSet=",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        *((f'ReadWritePaths="{place.parent}"',) if ticket.writes else ()),
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "PrivateNetwork=yes",
        "RestrictAddressFamilies=AF_UNIX",
        "RestrictNamespaces=yes",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectControlGroups=yes",
        "LockPersonality=yes",
        "SystemCallArchitectures=native",
    )
    told = tuple(f"--property={one}" for one in properties)
    return (
        *("systemd-run", "--quiet", "--collect", f"--unit={unit_name(ticket.transfer)}"),
        f"--description=A disk, served to {DAEMON_UNIT}",
        *told,
        "--",
        *nbd_argv(ticket, place, socket),
    )


def nbd_argv(ticket: ImageTicket, place: PurePath, socket: PurePath) -> tuple[str, ...]:
    """The program. Formats are said, never probed, all the way down (the chain was walked before)."""
    way = () if ticket.writes else ("--read-only",)
    if ticket.since:
        way = (*way, f"--bitmap={ticket.since}")
    return (
        *("qemu-nbd", "--fork", "--persistent", f"--shared={CONNECTIONS}", f"--socket={socket}"),
        *("--cache=none", "--aio=threads", "--discard=unmap", *way),
        f"json:{json.dumps(_node(ticket, place))}",
    )


def _node(ticket: ImageTicket, place: PurePath) -> dict[str, object]:
    file: dict[str, object] = {"driver": "file", "filename": str(place)}
    if ticket.as_file or ticket.file.format == "raw":
        return {"driver": "raw", "file": file}
    node: dict[str, object] = {"driver": ticket.file.format, "file": file}
    return {**node, "backing": None} if ticket.shallow else node


def stop_argv(transfer: str) -> tuple[str, ...]:
    """End it; it writes out what it has first. Not there: exit status 5."""
    return ("systemctl", "stop", unit_name(transfer))


def words_argv(transfer: str) -> tuple[str, ...]:
    """Its last words."""
    return ("journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=5", f"--unit={unit_name(transfer)}")
