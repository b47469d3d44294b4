"""Descriptors of what lies on a domain: made of rows, written to it, read from it. See engine/decide/descriptor.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.codec import decode
from appliance.errors import NotFound, Refused, TrivetError
from engine.decide.descriptor import (
    FILES_LIMIT,
    FOLDER,
    INDEX,
    TEXT_LIMIT_BYTES,
    VERSION,
    Descriptor,
    DiskPart,
    Image,
    NicPart,
    SnapshotPart,
    digest_of,
    index_of,
    is_descriptor,
    parse,
    place_of,
    text_of,
    text_of_index,
)
from engine.decide.vm_config import TOLD
from engine.jobs.layers import images, snapshots_of
from engine.jobs.places import mount_of
from engine.jobs.ports import StorageNode
from engine.jobs.preview import PREVIEW
from engine.jobs.vm_place import ENGINE_MARK
from engine.store.entities import Entities
from engine.store.entity import Entity

FILE_MODE, FOLDER_MODE = 0o600, 0o700
"""Definitions have passwords' hashes in them."""
OURS = "trivet_"
"""What begins so is this engine's own, and means nothing elsewhere."""
NOT_TOLD = TOLD | {"creation_time", "next_run_configuration_exists", "initialization_nic_configurations"}


UNREGISTERED = "unregistered"
"""The kind of the rows below a domain that tell what it brought along and nobody has registered yet."""
DESCRIPTOR = "trivet_descriptor"
"""In such a row's body: what the domain said, as it said it."""


def descriptors_on(entities: Entities, domain: Entity) -> Iterator[Descriptor]:
    """All that the domain is to say: also of what nobody has registered here, which may be its only description."""
    for row in entities.children(domain.key, UNREGISTERED):
        yield decode(Descriptor, row.body[DESCRIPTOR], subject=f"what domain {domain.name} said of {row.name}")
    yield from described_on(entities, domain)


def described_on(entities: Entities, domain: Entity) -> Iterator[Descriptor]:
    """Of all VMs and templates that have a disk there, and of the disks there that nobody has."""
    owners: dict[tuple[str, str], Entity] = {}
    for disk in entities.referring(domain.key, "disk", "storage_domains"):
        if disk.status not in ("", "ok") or not disk.body.get("image_id"):
            continue
        attachments = entities.referring(disk.key, "disk_attachment", "disk")
        if not attachments:
            yield Descriptor(VERSION, "disk", disk.id, disk.name, disks=(_disk(disk, {}),))
        for one in attachments:
            if one.parent is not None and (owner := entities.get(*one.parent)) is not None:
                owners[owner.key] = owner
    for owner in owners.values():
        if ENGINE_MARK not in owner.body:
            yield describe(entities, owner)


def describe(entities: Entities, owner: Entity) -> Descriptor:
    """A VM or a template."""
    attachments = [one for one in entities.children(owner.key, "disk_attachment") if one.ref("disk")]
    disks = entities.many("disk", [one.ref("disk") for one in attachments])
    nics = entities.children(owner.key, "nic")
    kept = [one for one in snapshots_of(entities, owner.id) if one.status == "ok"] if owner.kind == "vm" else []
    return Descriptor(
        VERSION,
        "template" if owner.kind == "template" else "vm",
        owner.id,
        owner.name,
        entities.name_of("cluster", owner.ref("cluster")) if owner.ref("cluster") else "",
        _kept(owner.body),
        tuple(_nic(entities, one) for one in nics),
        tuple(_disk(disks[one.ref("disk")], one.body) for one in attachments if disks[one.ref("disk")].body.get("image_id")),
        tuple(_snapshot(one) for one in kept if one.body.get("snapshot_type") != PREVIEW),
    )


def _kept(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if not name.startswith(OURS) and name not in NOT_TOLD}


def _disk(disk: Entity, attachment: Mapping[str, Any]) -> DiskPart:
    body = _kept(disk.body)
    image, kind = str(body.pop("image_id")), body.pop("format")
    return DiskPart(
        disk.id, disk.name, disk.ref("storage_domains"), image, kind, body, _kept(attachment), disk.ref("backing_disk")
    )


def _nic(entities: Entities, nic: Entity) -> NicPart:
    profile = entities.get("vnic_profile", nic.ref("vnic_profile")) if nic.ref("vnic_profile") else None
    network = entities.name_of("network", profile.ref("network")) if profile is not None else ""
    return NicPart(nic.id, nic.name, _kept(nic.body), profile.name if profile is not None else "", network)


def _snapshot(one: Entity) -> SnapshotPart:
    kept = {disk: Image(layer.image, layer.format) for disk, layer in images(one).items()}  # type: ignore[arg-type]  # v4's words
    return SnapshotPart(one.id, str(one.body.get("description") or ""), int(one.body.get("date") or 0), kept)


@dataclass(frozen=True)
class Written:
    """How many files were changed, and what is too long to be described."""

    files: int = 0
    left_out: tuple[str, ...] = ()


def write(entities: Entities, node: StorageNode, domain: Entity) -> Written:
    """Part of a step: the domain says what is there now. May be repeated."""
    mount = mount_of(domain)
    said_now = {place_of(one.kind, one.id): text_of(one) for one in descriptors_on(entities, domain)}
    wanted = {path: text for path, text in said_now.items() if len(text.encode()) <= TEXT_LIMIT_BYTES}
    left_out = tuple(sorted(said_now.keys() - wanted.keys()))
    said = index_of(_read(node, mount, INDEX))
    index = {path: digest_of(text) for path, text in wanted.items()}
    there = set(_listed(node, mount))
    changed = [path for path in wanted if said.get(path) != index[path] or path not in there]
    gone = sorted(there - wanted.keys())
    if not changed and not gone and said == index:
        return Written(0, left_out)
    node.make_folder(mount, FOLDER, 0, FOLDER_MODE)
    for path in changed:
        node.write_file(mount, path, wanted[path], FILE_MODE)
    for path in gone:
        node.remove_file(mount, path)
    node.write_file(mount, INDEX, text_of_index(index), FILE_MODE)
    return Written(len(changed) + len(gone), left_out)


def read_all(node: StorageNode, mount: str) -> tuple[list[Descriptor], list[TrivetError]]:
    """(what the domain says, what of it cannot be used)."""
    found, errors = [], list[TrivetError]()
    for path in _listed(node, mount):
        try:
            found.append(parse(node.read_file(mount, path), path))
        except (NotFound, Refused) as error:
            errors.append(error)
    return found, errors


def erase(node: StorageNode, mount: str) -> None:
    """Part of a step: the domain says nothing any more. May be repeated."""
    for path in (*_listed(node, mount), INDEX):
        node.remove_file(mount, path)


def are_on(node: StorageNode, mount: str) -> bool:
    """Whether anything lies where descriptors do."""
    try:
        return bool(node.list_files(mount, FOLDER))
    except NotFound:
        return False


def _listed(node: StorageNode, mount: str) -> Iterable[str]:
    try:
        found = [one.path for one in node.list_files(mount, FOLDER) if not one.is_folder]
    except NotFound:
        return []
    names = [path.rpartition("/")[2] for path in found if is_descriptor(path)]
    return [f"{FOLDER}/{name}" for name in sorted(names)[:FILES_LIMIT]]


def _read(node: StorageNode, mount: str, path: str) -> str:
    try:
        return node.read_file(mount, path)
    except (NotFound, Refused):
        return ""
