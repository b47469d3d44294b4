"""What oVirt's API brings along and nobody changes: operating systems, cluster levels, network filters, icons, domains,
scheduling policy units. Names and numbers are oVirt's, because clients match them."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from engine.api.documents import Object
from engine.api.noun import Call
from engine.api.observed import BuiltIn, Rows
from engine.decide.roles import ADMIN_PERMITS, PERMITS
from engine.inventory import derived_id

LARGE_ICON, SMALL_ICON = derived_id("built-in", "icon:large"), derived_id("built-in", "icon:small")
OPERATING_SYSTEMS = (
    (0, "other", "Other OS"),
    (1, "windows_xp", "Windows XP"),
    (3, "windows_2003", "Windows 2003"),
    (4, "windows_2008", "Windows 2008"),
    (5, "other_linux", "Linux"),
    (7, "rhel_5", "Red Hat Enterprise Linux 5.x"),
    (8, "rhel_4", "Red Hat Enterprise Linux 4.x"),
    (9, "rhel_3", "Red Hat Enterprise Linux 3.x"),
    (10, "windows_2003x64", "Windows 2003 x64"),
    (11, "windows_7", "Windows 7"),
    (12, "windows_7x64", "Windows 7 x64"),
    (13, "rhel_5x64", "Red Hat Enterprise Linux 5.x x64"),
    (14, "rhel_4x64", "Red Hat Enterprise Linux 4.x x64"),
    (15, "rhel_3x64", "Red Hat Enterprise Linux 3.x x64"),
    (16, "windows_2008x64", "Windows 2008 x64"),
    (17, "windows_2008R2x64", "Windows 2008 R2 x64"),
    (18, "rhel_6", "Red Hat Enterprise Linux 6.x"),
    (19, "rhel_6x64", "Red Hat Enterprise Linux 6.x x64"),
    (20, "windows_8", "Windows 8"),
    (21, "windows_8x64", "Windows 8 x64"),
    (23, "windows_2012x64", "Windows 2012 x64"),
    (24, "rhel_7x64", "Red Hat Enterprise Linux 7.x x64"),
    (25, "windows_2012R2x64", "Windows 2012R2 x64"),
    (26, "windows_10", "Windows 10"),
    (27, "windows_10x64", "Windows 10 x64"),
    (28, "rhel_atomic7x64", "Red Hat Atomic 7.x x64"),
    (29, "windows_2016x64", "Windows 2016 x64"),
    (30, "rhel_8x64", "Red Hat Enterprise Linux 8.x x64"),
    (31, "windows_2019x64", "Windows 2019 x64"),
    (32, "other_linux_kernel_4", "Linux kernel 4.x or newer"),
    (33, "rhcos_x64", "Red Hat Enterprise Linux CoreOS"),
    (34, "rhel_9x64", "Red Hat Enterprise Linux 9.x x64"),
    (36, "windows_11", "Windows 11"),
    (37, "windows_2022", "Windows 2022"),
    (1193, "sles_11", "SUSE Linux Enterprise Server 11+"),
    (1252, "ubuntu_12_04", "Ubuntu Precise Pangolin LTS"),
    (1253, "ubuntu_12_10", "Ubuntu Quantal Quetzal"),
    (1254, "ubuntu_13_04", "Ubuntu Raring Ringtails"),
    (1255, "ubuntu_13_10", "Ubuntu Saucy Salamander"),
    (1256, "ubuntu_14_04", "Ubuntu Trusty Tahr LTS+"),
    (1257, "ubuntu_18_04", "Ubuntu Bionic Beaver LTS+"),
    (1300, "debian_7", "Debian 7+"),
    (1301, "debian_9", "Debian 9+"),
    (1500, "freebsd", "FreeBSD 9.2"),
    (1501, "freebsdx64", "FreeBSD 9.2 x64"),
)
"""(number, unique name, what people read) of osinfo's x86_64 systems."""
NETWORK_FILTERS = (
    "allow-arp", "allow-dhcp", "allow-dhcp-server", "allow-incoming-ipv4", "allow-ipv4", "clean-traffic",
    "clean-traffic-gateway", "no-arp-ip-spoofing", "no-arp-mac-spoofing", "no-arp-spoofing", "no-ip-multicast",
    "no-ip-spoofing", "no-mac-broadcast", "no-mac-spoofing", "no-other-l2-traffic", "no-other-rarp-traffic",
    "qemu-announce-self", "qemu-announce-self-rarp", "vdsm-no-mac-spoofing",
)  # fmt: skip
"""libvirt's filters, and the one that oVirt adds."""
CPU_TYPES = (
    ("Intel Nehalem Family", 3), ("Secure Intel Nehalem Family", 4), ("Intel Westmere Family", 5),
    ("Secure Intel Westmere Family", 6), ("Intel SandyBridge Family", 7), ("Secure Intel SandyBridge Family", 8),
    ("Intel IvyBridge Family", 9), ("Secure Intel IvyBridge Family", 10), ("Intel Haswell Family", 11),
    ("Secure Intel Haswell Family", 12), ("Intel Broadwell Family", 13), ("Secure Intel Broadwell Family", 14),
    ("Intel Skylake Client Family", 15), ("Secure Intel Skylake Client Family", 16), ("Intel Skylake Server Family", 17),
    ("Secure Intel Skylake Server Family", 18), ("Intel Cascadelake Server Family", 19),
    ("Secure Intel Cascadelake Server Family", 20), ("Intel Icelake Server Family", 21),
    ("Secure Intel Icelake Server Family", 22), ("AMD Opteron G4", 4), ("AMD Opteron G5", 5), ("AMD EPYC", 6),
    ("Secure AMD EPYC", 7),
)  # fmt: skip
"""ServerCPUList of oVirt 4.5 for x86_64: name and rank within its maker."""
LEVELS = ("4.2", "4.3", "4.4", "4.5", "4.6", "4.7")


def permit(name: str) -> dict[str, Any]:
    """A permit as v4 shows it: its id is oVirt's number."""
    return {"id": str(PERMITS[name]), "name": name, "administrative": name in ADMIN_PERMITS}


def picture(pixels: int) -> str:
    """A square icon of one colour as base64 of PNG: what a VM shows that was given no icon of its own."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x33\x66\x99" * pixels) * pixels
    head = struct.pack(">IIBBBBB", pixels, pixels, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return base64.b64encode(png).decode()


class OperatingSystems(BuiltIn):
    """Operating systems that a guest may be said to have."""

    services, kind, searchable = ("OperatingSystems",), "OperatingSystemInfo", False
    table = tuple(
        {
            "id": str(number),
            "name": name,
            "description": text,
            "architecture": "x86_64",
            "large_icon": {"id": LARGE_ICON},
            "small_icon": {"id": SMALL_ICON},
            "tpm_support": "required" if name == "windows_11" else "supported",
        }
        for number, name, text in OPERATING_SYSTEMS
    )


class ClusterLevels(BuiltIn):
    """Compatibility levels, and the CPUs that a cluster of each may have."""

    services, kind, searchable = ("ClusterLevels",), "ClusterLevel", False
    table = tuple(
        {
            "id": level,
            "cpu_types": [{"name": name, "level": rank, "architecture": "x86_64"} for name, rank in CPU_TYPES],
            "permits": [permit(name) for name in PERMITS],
        }
        for level in LEVELS
    )


class NetworkFilters(BuiltIn):
    """libvirt's network filters."""

    services, kind, searchable = ("NetworkFilters",), "NetworkFilter", False
    table = tuple(
        {
            "id": derived_id("built-in", f"network-filter:{name}"),
            "name": name,
            "version": {"major": 4, "minor": 7 if name == "clean-traffic-gateway" else 2, "build": -1, "revision": -1},
        }
        for name in NETWORK_FILTERS
    )


class Icons(BuiltIn):
    """The icons of VMs that were given none."""

    services, kind, searchable = ("Icons",), "Icon", False
    table = (
        {"id": LARGE_ICON, "media_type": "image/png", "data": picture(150)},
        {"id": SMALL_ICON, "media_type": "image/png", "data": picture(43)},
    )


class Domains(Rows):
    """Where users come from: the internal domain."""

    services, kind, searchable = ("Domains",), "Domain", False

    def rows(self, call: Call) -> Sequence[Object]:
        names = sorted({account.domain for account in call.engine.store.accounts()} | {"internal"})
        return [domain(name) for name in names]


def domain(name: str) -> dict[str, Any]:
    """The domain of a profile, under the name that clients know it by."""
    return {"id": derived_id("built-in", f"domain:{name}"), "name": f"{name}-authz"}
