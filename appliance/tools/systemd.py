"""systemd: names of units for paths, states, and the unit files of mounts."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

_PLAIN = frozenset(string.ascii_letters + string.digits + ":_.")

HA_UNITS = ("trivet-ha.service", "trivet-ha-page.service", "trivet-ha-notify.path")
"""The broker, and what tells people of it."""
WARM_UNITS = ("trivet-ha-warm.timer", "trivet-ha-warm.path", "trivet-ha-warm.service")
"""Begun by the broker; stopped with it."""
ALLOWED_UNITS = (
    "glusterd.service",
    "libvirtd.service",
    "libvirtd.socket",
    "libvirtd-tls.socket",
    "virtlogd.service",
    "trivet-agent.service",
    *HA_UNITS,
    *WARM_UNITS,
)
"""What may be acted on over the wire: the services that make a node. Whoever calls is a member, but no member needs more."""


def escape_path(path: Path | str) -> str:
    """``/var/lib/x-y`` → ``var-lib-x\\x2dy``, as systemd-escape --path."""
    text = str(path).strip("/")
    if not text:
        return "-"
    parts = "/".join(part for part in text.split("/") if part)
    escaped = ["-" if char == "/" else char if char in _PLAIN else _hex(char) for char in parts]
    if escaped[0] == ".":
        escaped[0] = "\\x2e"
    return "".join(escaped)


def _hex(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode())


def full_name(unit: str) -> str:
    """``glusterd`` → ``glusterd.service``; names with a suffix stay."""
    return unit if unit.rpartition(".")[2] in ("service", "socket", "mount", "timer", "path") else f"{unit}.service"


def mount_unit_name(mount_point: Path | str) -> str:
    """The name that systemd demands of a mount's unit."""
    return f"{escape_path(mount_point)}.mount"


def gluster_mount(volume: str, mount_point: Path, servers: tuple[str, ...]) -> str:
    """The mount unit of a volume: ``servers[0]`` gives the volume's description, the others when it does not answer.

    No page cache (``direct-io-mode``): a host that has read a file keeps its pages although another host writes it since,
    also for whoever opens it later (seen with 11.1: a disk read on the host it had left lacked what was written elsewhere).
    """
    options = ["_netdev", "log-level=WARNING", "direct-io-mode=enable"]
    if servers[1:]:
        options.append(f"backup-volfile-servers={':'.join(servers[1:])}")
    return f"""\
# Written by trivet-agent.
[Unit]
Description=Gluster volume {volume}
Wants=glusterd.service network-online.target
After=glusterd.service network-online.target
# tried again by {retry_name(volume)}.timer for as long as the other nodes are not there yet
StartLimitIntervalSec=0

[Mount]
What={servers[0]}:/{volume}
Where={mount_point}
Type=glusterfs
Options={",".join(options)}
# a FUSE client that died or hangs must not keep its mount
LazyUnmount=yes
# mount.glusterfs waits for the volume's description; 45 s is beyond the dialogue of glusterd with all its servers
TimeoutSec=45

[Install]
WantedBy=multi-user.target
"""


def retry_name(volume: str) -> str:
    """Name (without suffix) of the units that mount a volume again."""
    return f"trivet-volume-{volume}"


def gluster_retry(volume: str, mount_point: Path) -> tuple[tuple[str, str], ...]:
    """(file name, content) of the timer and service that start the mount until it is there.

    A mount unit has no Restart=. When all nodes boot together, none can give the volume's description before a majority is
    up, so the first tries fail. Starting a mounted unit again does nothing.

    A mount whose FUSE client has died stays mounted, for systemd too: it is taken away first. That is seen by the missing
    process, because a living client without the volume's quorum gives the same error (ENOTCONN).
    """
    unit = mount_unit_name(mount_point).replace(chr(92), chr(92) * 2)
    client = f"--process-name fuse .* {mount_point}$$"
    dead = f'grep -q " {mount_point} fuse.glusterfs " /proc/self/mounts && ! pgrep -f -- "{client}" >/dev/null'
    service = f"""\
# Written by trivet-agent.
[Unit]
Description=Mount Gluster volume {volume} if it is not
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/bin/sh -c '{dead} && umount -l {mount_point}; exec systemctl start "{unit}"'
TimeoutStartSec=60
LogLevelMax=warning
"""
    timer = f"""\
# Written by trivet-agent.
[Unit]
Description=Mount Gluster volume {volume} again and again until it is there

[Timer]
# 3 s: a node that came back shall have its volumes before its broker has to explain why not
OnBootSec=5
OnActiveSec=3
OnUnitInactiveSec=3
AccuracySec=1

[Install]
WantedBy=timers.target
"""
    return (f"{retry_name(volume)}.service", service), (f"{retry_name(volume)}.timer", timer)


@dataclass(frozen=True)
class MountSource:
    """What is mounted, as the words of mount(8); ``options`` with commas, empty: the defaults."""

    what: str
    type: str
    options: str


NETWORK_TYPES = ("nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "glusterfs", "fuse.sshfs")
"""File systems that need the network: mounted after it is up, and taken away before it goes."""


def domain_mount(domain: str, mount_point: Path, source: MountSource) -> str:
    """The mount unit of a storage domain that is no volume of ours."""
    network = source.type in NETWORK_TYPES
    options = ",".join(filter(None, ["_netdev" if network else "", source.options]))
    after = "Wants=network-online.target\nAfter=network-online.target\n" if network else ""
    named = f"Options={_literal(options)}\n" if options else ""
    return f"""\
# Written by trivet-agent.
[Unit]
Description=Storage domain {domain}
{after}# tried again by {retry_name(domain)}.timer
StartLimitIntervalSec=0

[Mount]
What={_literal(source.what)}
Where={mount_point}
Type={source.type}
{named}LazyUnmount=yes
TimeoutSec=45

[Install]
WantedBy=multi-user.target
"""


def _literal(text: str) -> str:
    """systemd would put something else for a percent sign."""
    return text.replace("%", "%%")


def mount_retry(domain: str, mount_point: Path) -> tuple[tuple[str, str], ...]:
    """(file name, content) of the timer and service that start the mount of a domain until it is there."""
    unit = mount_unit_name(mount_point).replace(chr(92), chr(92) * 2)
    service = f"""\
# Written by trivet-agent.
[Unit]
Description=Mount storage domain {domain} if it is not
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/usr/bin/systemctl start "{unit}"
TimeoutStartSec=60
LogLevelMax=warning
"""
    timer = f"""\
# Written by trivet-agent.
[Unit]
Description=Mount storage domain {domain} again and again until it is there

[Timer]
OnBootSec=5
OnActiveSec=10
OnUnitInactiveSec=10
AccuracySec=1

[Install]
WantedBy=timers.target
"""
    return (f"{retry_name(domain)}.service", service), (f"{retry_name(domain)}.timer", timer)


def brick_mount(uuid: str, mount_point: Path) -> str:
    """The mount unit of a brick disk."""
    return f"""\
# Written by trivet-agent.
[Unit]
Description=Brick disk at {mount_point}
Before=glusterd.service

[Mount]
What=/dev/disk/by-uuid/{uuid}
Where={mount_point}
Type=xfs
# nofail by WantedBy: a node with a dead brick disk still boots and says so
Options=noatime,inode64

[Install]
WantedBy=multi-user.target glusterd.service
"""
