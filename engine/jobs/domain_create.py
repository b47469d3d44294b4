"""Create a storage domain: one host mounts the storage, makes sure that it is empty, and marks it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from appliance import layout
from appliance.errors import Conflict, Refused
from appliance.model.domain import MARK
from engine.builtin import named
from engine.decide.descriptor import FOLDER
from engine.inventory import derived_id
from engine.jobs.descriptors import are_on
from engine.jobs.domain_mounts import TYPES, connect, disconnect, mark_of, source_of
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.places import mount_of
from engine.jobs.vm_place import name_of
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

ADD = "add Storage"
NAME = re.compile(r"[A-Za-z0-9_-]{1,50}")
"""oVirt's rule for the names of storage domains."""
VOLUME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""A volume is mounted under its own name, which the nodes want so."""
EMPTY = frozenset({"lost+found", ".trashcan", ".glusterfs", MARK})
"""What may lie in the root of an empty file system, and our mark: it says itself whose it is."""


@dataclass(frozen=True)
class CreateDomain:
    """The domain to be made; the caller draws the id. ``attributes`` are those of the v4 domain that are only kept."""

    domain_id: str
    name: str
    storage: Mapping[str, Any]
    host_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


def unique_key(name: str) -> str:
    """No two domains have one name."""
    return f"/{name.casefold()}"


def row_of(given: CreateDomain) -> Entity:
    """Its row, before anything is done."""
    kind = str(given.storage.get("type"))
    body = {**given.attributes, "type": "data", "master": False, "storage": dict(given.storage)}
    if kind != "glusterfs":
        body["mount"] = given.domain_id  # volumes are known by their own name
    refs = {"host": (given.host_id,)} if kind == "localfs" else {}
    row = Entity("storage_domain", given.domain_id, given.name, body, refs, status="unattached")
    return replace(row, unique_key=unique_key(given.name))


def _domain(work: Work) -> Entity:
    return work.entities.need("storage_domain", work.parameters(CreateDomain).domain_id)


def _host(work: Work) -> str:
    return name_of(work, work.parameters(CreateDomain).host_id)


def _connect(work: Work) -> Mapping[str, Any]:
    state = connect(work, _domain(work), _host(work))
    return {"total_bytes": state.total_bytes, "free_bytes": state.free_bytes}


def _disconnect(work: Work) -> None:
    disconnect(work, _domain(work), _host(work))


def _mark(work: Work) -> None:
    domain, node = _domain(work), work.nodes.storage(_host(work))
    state = connect(work, domain, _host(work))  # it may have been unmounted by the undoing of an earlier try
    if state.mark is None:
        found = [one.path for one in node.list_files(mount_of(domain), ".")]
        left = FOLDER if not are_on(node, mount_of(domain)) else ""  # the empty folder of a domain that was formatted
        need_empty(domain, [path for path in found if path.rpartition("/")[2] != left])
    node.domain_mark(mount_of(domain), mark_of(domain))


def _unmark(work: Work) -> None:
    domain, host = _domain(work), _host(work)
    state = connect(work, domain, host)
    if state.mark is not None and state.mark.id == domain.id:  # another one's is none of ours
        work.nodes.storage(host).domain_unmark(mount_of(domain), domain.id)


def need_empty(domain: Entity, found: Sequence[str]) -> None:
    """Raises ``Conflict`` ``domain.not-empty``: somebody's files are there."""
    others = [one for one in found if one.rpartition("/")[2] not in EMPTY]
    if others:
        raise Conflict(
            "domain.not-empty",
            subject=f"storage domain {domain.name}",
            reason=f"Cannot {ADD}. There are files already: {', '.join(others[:5])}",
            remedy="Give an empty place.",
        )


class DomainCreate(JobType[CreateDomain]):
    """The domain is listed, ``locked``, from the order on; ``unattached`` at the end and mounted nowhere, or gone."""

    name = "domain.create"
    parameters = CreateDomain
    steps = (
        Step("connect", _connect, _disconnect),
        Step("mark", _mark, _unmark),
        Step("disconnect", _disconnect),
    )
    told = Told("", "USER_ADD_STORAGE_DOMAIN", "USER_ADD_STORAGE_DOMAIN_FAILED")

    def about(self, entities: Entities, given: CreateDomain) -> Mapping[str, str]:
        return {"storage_domain": given.domain_id}

    def describe(self, entities: Entities, given: CreateDomain) -> str:
        return f"Adding Storage Domain {given.name}"

    def check(self, entities: Entities, given: CreateDomain) -> None:
        entities.need("host", given.host_id)
        if not NAME.fullmatch(given.name):
            raise _refused(given, "domain.name", f"{given.name!r} is no name of one", "Use A-Z, a-z, 0-9, - and _.")
        check_storage(given)
        key = unique_key(given.name)
        mount = mount_of(row_of(given))
        for other in entities.list("storage_domain"):
            if other.id == given.domain_id:
                continue  # it is our own, entered by ``prepare``
            if other.unique_key == key:
                reason = (
                    f"Cannot {ADD}. The Storage Domain name is already in use, please choose a unique name and try again"
                )
                raise Conflict("entity.exists", subject=f"storage domain {given.name}", reason=reason, remedy="Choose one.")
            theirs = other.body.get("storage") or {}
            is_local = theirs.get("type") == "localfs" and other.ref("host") != given.host_id
            same = theirs.get("type") == given.storage.get("type") and source_of(theirs) == source_of(given.storage)
            if mount_of(other) == mount or (same and not is_local):
                reason = f"Cannot {ADD}. Storage Domain {other.name} is there already"
                raise Conflict("domain.path-used", subject=f"storage domain {given.name}", reason=reason,
                               remedy="Give another place, or use that domain.")  # fmt: skip

    def locks(self, entities: Entities, given: CreateDomain) -> Sequence[Lock]:
        return Lock("storage_domain", given.domain_id), Lock("host", given.host_id, "", is_shared=True)

    def prepare(self, entities: Entities, given: CreateDomain) -> None:
        entities.add(row_of(given))
        profile, within = derived_id(given.domain_id, "disk-profile"), given.domain_id
        entities.add(named("disk_profile", profile, given.name, {}, within, storage_domain=given.domain_id))

    def plan(self, entities: Entities, given: CreateDomain) -> Sequence[Planned]:
        host = entities.name_of("host", given.host_id)
        return (
            Planned("connect", f"Mounting it on {host}"),
            Planned("mark", "Marking it"),
            Planned("disconnect", f"Unmounting it on {host}"),
        )

    def finish(self, work: Work) -> Mapping[str, Any]:
        room = work.found("connect")
        used = int(room["total_bytes"]) - int(room["free_bytes"])
        domain_id = work.parameters(CreateDomain).domain_id
        work.entities.change(
            "storage_domain", domain_id, lambda one: one.with_body(available=int(room["free_bytes"]), used=used)
        )
        return {"storage_domain": domain_id}

    def undone(self, work: Work) -> None:
        forget_domain(work.entities, work.parameters(CreateDomain).domain_id)


def forget_domain(entities: Entities, domain_id: str) -> None:
    """Its row and its profiles go."""
    for profile in entities.referring(("storage_domain", domain_id), "disk_profile", "storage_domain"):
        entities.remove("disk_profile", profile.id)
    entities.remove("storage_domain", domain_id)


def check_storage(given: CreateDomain) -> None:
    """Refuse (``domain.storage``) what nobody could mount."""
    storage, kind = given.storage, str(given.storage.get("type") or "")
    path, address = str(storage.get("path") or ""), str(storage.get("address") or "")
    if kind not in TYPES:
        why = f"Storage of type {kind or 'none'} is not supported by this engine"
        raise _refused(given, "domain.storage", why, f"Use one of {', '.join(TYPES)}; NFS is posixfs with vfs_type nfs.")
    if not path:
        raise _refused(given, "domain.storage", "storage.path is missing", "Name the volume, device or folder.")
    if kind == "glusterfs" and not address:
        raise _refused(given, "domain.storage", "storage.address is missing", "Name a server of the volume.")
    if kind == "glusterfs" and not VOLUME.fullmatch(path.strip("/")):
        raise _refused(given, "domain.storage", f"{path} is no name of a volume", "Use /VOLUME: a-z, 0-9, - and _.")
    if kind == "posixfs" and not storage.get("vfs_type"):
        raise _refused(given, "domain.storage", "storage.vfs_type is missing", "Name the file system, as `mount -t`.")
    if kind == "localfs" and (not path.startswith("/") or path.startswith(str(layout.VOLUMES))):
        raise _refused(given, "domain.storage", f"{path} is no folder for a domain", "Give an absolute path of its own.")


def _refused(given: CreateDomain, code: str, why: str, remedy: str) -> Refused:
    return Refused(code, subject=f"storage domain {given.name}", reason=f"Cannot {ADD}. {why}", remedy=remedy)
