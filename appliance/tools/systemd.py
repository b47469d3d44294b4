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
# tried again by {keep_name(volume)} for as long as the other nodes are not there yet
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


VOLUME_LOOK_S = 3
"""How often a volume's mount is looked at: a node that came back shall have its volumes before its broker has to explain why
not."""
DOMAIN_LOOK_S = 10
"""The mounts of other storage domains: what is tried again is a server elsewhere."""


def keep_name(volume: str) -> str:
    """The service that mounts a volume, or another storage domain, again."""
    return f"trivet-volume-{volume}.service"


def keep_mounted(name: str, mount_point: Path, every_s: int) -> tuple[str, str]:
    """(file name, content) of the service that starts a mount again (/usr/libexec/trivet-keep-mounted of the node's image
    says why and how)."""
    unit = mount_unit_name(mount_point).replace(chr(92), chr(92) * 2)
    return (
        keep_name(name),
        f"""\
# Written by trivet-agent.
[Unit]
Description=Keep {name} mounted
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/libexec/trivet-keep-mounted "{unit}" {mount_point} {every_s}
Restart=always
RestartSec={every_s}
LogLevelMax=warning

[Install]
WantedBy=multi-user.target
""",
    )


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
{after}# tried again by {keep_name(domain)}
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
