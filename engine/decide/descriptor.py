"""What lies on a storage domain about the VMs, templates and disks whose images are there, so that another installation can
use them: written by us, read as if by an enemy. Pure.

A file each, ``descriptors/<kind>-<id>.json``, and ``descriptors/index.json`` with the digest of each, written last. Nothing
of it names a path: images are where oVirt has them (``images/<disk>/<image>``), and ids are checked before they are used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from appliance.codec import decode, encode
from appliance.errors import Refused

FOLDER = "descriptors"
INDEX = f"{FOLDER}/index.json"
VERSION = 1
LIST_LIMIT = 1_000
"""Disks, NICs, layers, snapshots of one VM: more than any has."""
FILES_LIMIT = 10_000
"""Descriptors that are read of one domain: ten times the VMs that a cluster is built for."""
TEXT_LIMIT_BYTES = 256 * 1024
"""Of one descriptor: what a host writes and reads in one call. A VM with all its snapshots has a tenth of it."""
DIGEST_CHARACTERS = 16

Kind = Literal["vm", "template", "disk"]
ImageFormat = Literal["raw", "cow"]
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,255}")


@dataclass(frozen=True)
class Image:
    """One layer of a disk."""

    image: str
    format: ImageFormat


@dataclass(frozen=True)
class DiskPart:
    """A disk, and how the VM has it (``attachment``; a disk of its own: nothing). ``backing``: the template's disk that it
    is a layer over. ``domain``: where its images are."""

    id: str
    name: str
    domain: str
    image: str
    format: ImageFormat
    attributes: Mapping[str, Any] = field(default_factory=dict)
    attachment: Mapping[str, Any] = field(default_factory=dict)
    backing: str = ""


@dataclass(frozen=True)
class NicPart:
    """A NIC; its profile and network by name, for ids mean nothing elsewhere."""

    id: str
    name: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    profile: str = ""
    network: str = ""


@dataclass(frozen=True)
class SnapshotPart:
    """A snapshot: which image it keeps of which disk."""

    id: str
    name: str
    date_ms: int
    images: Mapping[str, Image] = field(default_factory=dict)


@dataclass(frozen=True)
class Descriptor:
    """A VM or a template with its disks, or a disk that nobody has."""

    version: int
    kind: Kind
    id: str
    name: str
    cluster: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    nics: tuple[NicPart, ...] = ()
    disks: tuple[DiskPart, ...] = ()
    snapshots: tuple[SnapshotPart, ...] = ()


def text_of(descriptor: Descriptor) -> str:
    """As it is written: the same for the same."""
    return json.dumps(encode(descriptor), sort_keys=True, separators=(",", ":"))


def digest_of(text: str) -> str:
    """To tell whether it has changed."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARACTERS]


def place_of(kind: str, identifier: str) -> str:
    """Where it lies on the domain."""
    return f"{FOLDER}/{kind}-{identifier}.json"


def is_descriptor(path: str) -> bool:
    """Whether a file of the folder may be one."""
    name = path.rpartition("/")[2]
    return name.endswith(".json") and name.partition("-")[0] in ("vm", "template", "disk")


def text_of_index(index: Mapping[str, str]) -> str:
    """What lies beside the descriptors: path → digest."""
    return json.dumps(index, sort_keys=True, separators=(",", ":"))


def index_of(text: str) -> dict[str, str]:
    """Path → digest, as far as it can be read: what it lacks is written anew."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {str(path): str(digest) for path, digest in found.items()} if isinstance(found, dict) else {}


def parse(text: str, path: str) -> Descriptor:
    """What a domain says. Raises ``Refused`` ``descriptor.invalid``."""
    try:
        found = decode(Descriptor, json.loads(text), subject=path, code="descriptor.invalid", ignore_unknown=True)
    except (ValueError, RecursionError) as error:
        raise _invalid(path, f"it is not JSON ({error})") from error
    if found.version != VERSION:
        raise _invalid(path, f"it is of version {found.version}, and this engine reads {VERSION}")
    _check(found, path)
    if path.rpartition("/")[2] != place_of(found.kind, found.id).rpartition("/")[2]:
        raise _invalid(path, f"it says that it is {found.kind} {found.id}")
    return found


def _check(found: Descriptor, path: str) -> None:
    """Every id that becomes a part of a path or a row, every name, every length."""
    lists = (found.nics, found.disks, found.snapshots, *(one.images for one in found.snapshots))
    if any(len(one) > LIST_LIMIT for one in lists):
        raise _invalid(path, f"one of its lists has more than {LIST_LIMIT} entries")
    ids = [found.id, *(one.id for one in found.nics), *(one.id for one in found.snapshots)]
    for disk in found.disks:
        ids += [disk.id, disk.domain, disk.image, *([disk.backing] if disk.backing else ())]
    for one in found.snapshots:
        ids += [*one.images, *(layer.image for layer in one.images.values())]
    for identifier in ids:
        if not _ID.fullmatch(identifier):
            raise _invalid(path, f"{identifier[:80]!r} is no id")
    for name in (found.name, *(disk.name for disk in found.disks), *(nic.name for nic in found.nics)):
        if not _NAME.fullmatch(name):
            raise _invalid(path, f"{name[:80]!r} is no name")
    mine = {one.id for one in found.disks}
    if len(mine) != len(found.disks) or any(not one.images.keys() <= mine for one in found.snapshots):
        raise _invalid(path, "its snapshots have disks that it has not, or a disk is there twice")
    if found.kind == "disk" and [one.id for one in found.disks] != [found.id]:
        raise _invalid(path, "it is a disk, and has others")


def _invalid(path: str, why: str) -> Refused:
    return Refused("descriptor.invalid", subject=path, reason=why, remedy="It is left out; its images are not touched.")
