"""From a body to a copy of a VM: of what it is now (``clone``), or of what a snapshot keeps (``POST …/vms`` with
``snapshots``)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import Conflict, Refused
from engine.api import work
from engine.api.noun import Call
from engine.api.nouns import template_disks, vm_making
from engine.api.references import resolve
from engine.api.stored import gone
from engine.builtin import BLANK_TEMPLATE
from engine.decide import vm_config
from engine.jobs.layers import CONFIG, images
from engine.jobs.vm_clone import CloneVm, VmClone
from engine.jobs.vm_create import AddedDisk, CreateVm
from engine.jobs.vm_parts import NewAttachment, NewNic
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import JobRecord

REFERENCES = ("cluster", "cpu_profile", "quota", "instance_type")
"""What a copy refers to, as its source does."""
OF_ITS_PLACE = frozenset({"id", "name", "mac", "vnic_profile"})
"""Of a NIC that a snapshot keeps: what is no attribute of a copy. Addresses are drawn anew."""


@dataclass(frozen=True)
class _Source:
    """What is copied. ``disks``: (attributes of the attachment, disk with the format that is copied); ``shared``: disks that
    stay one, with such attributes."""

    vm: Entity
    body: Mapping[str, Any]
    nics: tuple[NewNic, ...]
    disks: Sequence[tuple[Mapping[str, Any], Entity]]
    shared: Sequence[tuple[Mapping[str, Any], Entity]] = ()
    snapshot_id: str = ""


def of_snapshot(call: Call, given: Mapping[str, Any]) -> CloneVm:
    """The VM that a body with ``snapshots`` describes. Raises ``NotFound``, ``Refused`` ``vm.snapshots``, ``Denied``."""
    named = [str(one.get("id") or "") for one in given["snapshots"]]
    if len(named) != 1:
        reason = f"Cannot add VM. {len(named)} snapshots are named; a VM begins as one"
        raise Refused("vm.snapshots", subject=f"VM {given.get('name')}", reason=reason, remedy="Name one.")
    entities = call.engine.store.entities
    snapshot = entities.get("snapshot", named[0])
    if snapshot is None or snapshot.parent is None or not call.rights.sees(snapshot.parent):
        raise gone("Snapshot", named[0])
    return _wanted(call, _kept(entities, snapshot), given)


def of_vm(call: Call, identifier: str, given: Mapping[str, Any]) -> CloneVm:
    """The copy that an action describes. Raises ``NotFound``, ``Conflict`` ``vm.clone-snapshots``, ``Denied``."""
    vm_making.refuse_engine(call, identifier, "clone VM")
    entities = call.engine.store.entities
    vm = entities.need("vm", identifier)
    if given.get("discard_snapshots") is False:
        reason = "Cannot clone VM. Copies have no snapshots"
        remedy = "Leave discard_snapshots out; make a copy of a snapshot by POST …/vms with `snapshots`."
        raise Conflict("vm.clone-snapshots", subject=f"VM {vm.name}", reason=reason, remedy=remedy)
    attached = template_disks.disks_of(entities, vm)
    own = [(one.body, disk) for one, disk in attached if not disk.body.get("shareable")]
    shared = [(one.body, disk) for one, disk in attached if disk.body.get("shareable")]
    source = _Source(vm, vm.body, template_disks.nics_of(entities, vm), own, shared)
    return _wanted(call, source, resolve(call, "Vm", given["vm"]), str((given.get("storage_domain") or {}).get("id") or ""))


def order(call: Call, wanted: CloneVm) -> JobRecord:
    """Order the copy; it is the caller's."""
    job = work.order(call, VmClone, wanted)
    vm_making.own(call, wanted.new)
    return job


def _kept(entities: Entities, snapshot: Entity) -> _Source:
    """What a snapshot keeps. Its disks have the attributes that they had; those of now, if it does not say."""
    config, layers = snapshot.body.get(CONFIG) or {}, images(snapshot)
    vm = entities.need("vm", snapshot.parent[1] if snapshot.parent else "")
    now = {one.ref("disk"): one.body for one in entities.children(vm.key, "disk_attachment")}
    then = config.get("drives") or {}
    disks = sorted(entities.many("disk", layers).values(), key=lambda one: (one.created_ms, one.id))
    kept = [(then.get(one.id) or now.get(one.id) or {}, one.with_body(format=layers[one.id].format)) for one in disks]
    nics = tuple(_nic(entities, one) for one in config.get("nics") or ())
    return _Source(vm, config.get("vm") or vm.body, nics, kept, snapshot_id=snapshot.id)


def _nic(entities: Entities, kept: Mapping[str, Any]) -> NewNic:
    profile = str((kept.get("vnic_profile") or {}).get("id") or "")
    is_known = bool(profile) and entities.get("vnic_profile", profile) is not None
    attributes = vm_config.without(kept, OF_ITS_PLACE)
    return NewNic(str(uuid.uuid4()), str(kept["name"]), "", profile if is_known else "", attributes)


def _wanted(call: Call, source: _Source, given: Mapping[str, Any], domain: str = "") -> CloneVm:
    """The copy: the source, but for what ``given`` says. ``domain``: where its disks go, unless that says more."""
    refs = _references(source.vm, given)
    for cluster in refs.get("cluster", ()):
        call.rights.need("create_vm", ("cluster", cluster))
    call.rights.need("manipulate_vm_snapshots", source.vm.key)
    name = str(given.get("name") or "")
    plain = vm_config.without(given, {*vm_making.SUB_COLLECTIONS, *vm_config.TOLD, *vm_making.REFERENCES, "name"})
    body = vm_config.new_body(plain, vm_config.without(vm_making.definition_of(source.body), {"name"}))
    body["original_template"] = source.body.get("original_template") or {"id": BLANK_TEMPLATE}
    for _, disk in source.shared:
        call.rights.need("attach_disk", disk.key)
    said = given.get("nics")
    new = CreateVm(
        str(uuid.uuid4()),
        name,
        body,
        refs,
        source.nics if said is None else tuple(vm_making.new_nic(call, one) for one in said),
        tuple(NewAttachment(disk.id, attributes) for attributes, disk in source.shared),
        _copies(call, source, name, given.get("disk_attachments") or (), domain),
    )
    return CloneVm(new, source.vm.id, source.snapshot_id)


def _references(vm: Entity, given: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """A profile belongs to its cluster, so it does not go along to another one."""
    said = {name: (str(given[name]["id"]),) for name in REFERENCES if (given.get(name) or {}).get("id")}
    refs = {name: vm.refs[name] for name in REFERENCES if vm.refs.get(name)}
    if said.get("cluster", refs.get("cluster")) != refs.get("cluster"):
        refs.pop("cpu_profile", None)
    return {**refs, **said, "template": (BLANK_TEMPLATE,)}


def _copies(call: Call, source: _Source, vm_name: str, wishes: Any, domain: str) -> tuple[AddedDisk, ...]:
    found = []
    for number, (attributes, disk) in enumerate(source.disks, start=1):
        wish = dict(template_disks.wish_for(wishes, disk.id))
        if domain and not wish.get("storage_domains"):
            wish["storage_domains"] = [{"id": domain}]
        name = str(wish.get("name") or wish.get("alias") or f"{vm_name}_Disk{number}")
        found.append(template_disks.new_disk(call, attributes, disk, wish, name, snapshot_id=source.snapshot_id))
    return tuple(found)
