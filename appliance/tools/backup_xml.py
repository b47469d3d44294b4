"""libvirt's descriptions of backups and checkpoints. Disks are named by libvirt's labels here. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from xml.etree import ElementTree as Xml

from appliance.tools.live_xml import text_of


@dataclass(frozen=True)
class Served:
    """A disk of a backup. ``since``: the checkpoint from which on what was written is told; empty: none."""

    label: str
    export: str
    scratch: PurePath
    since: str = ""


def backup_xml(socket: PurePath, disks: Sequence[Served]) -> str:
    """A backup that clients pull from an NBD server of QEMU's at ``socket``. The scratch files are there already."""
    root = Xml.Element("domainbackup", mode="pull")
    Xml.SubElement(root, "server", transport="unix", socket=str(socket))
    holder = Xml.SubElement(root, "disks")
    for one in disks:
        disk = Xml.SubElement(holder, "disk", name=one.label, backup="yes", type="file", exportname=one.export)
        disk.set("backupmode", "incremental" if one.since else "full")
        if one.since:
            disk.set("incremental", one.since)
        Xml.SubElement(disk, "driver", type="qcow2")
        Xml.SubElement(disk, "scratch", file=str(one.scratch))
    return text_of(root)


def checkpoint_xml(name: str, labels: Collection[str], others: Collection[str], *, is_known: bool = False) -> str:
    """A checkpoint of the disks ``labels``, each with a bitmap of the checkpoint's name; ``others`` have none. ``is_known``:
    its bitmaps are there, libvirt is to learn of it (and wants a time, which nobody reads)."""
    root = Xml.Element("domaincheckpoint")
    Xml.SubElement(root, "name").text = name
    if is_known:
        Xml.SubElement(root, "creationTime").text = "0"
    holder = Xml.SubElement(root, "disks")
    for label in labels:
        Xml.SubElement(holder, "disk", name=label, checkpoint="bitmap", bitmap=name)
    for label in others:
        Xml.SubElement(holder, "disk", name=label, checkpoint="no")
    return text_of(root)


def socket_of(xml: str) -> str:
    """Where a backup that goes on is served; empty: nowhere."""
    server = Xml.fromstring(xml).find("server")  # noqa: S314 - libvirt's own answer
    return server.get("socket", "") if server is not None else ""
