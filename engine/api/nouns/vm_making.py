"""From a body to the VM that it describes, with its NICs and disks: what ``POST …/vms`` and its sub-collections mean."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from appliance.errors import Conflict, NotFound, Refused
from engine.api.model import model
from engine.api.noun import Call
from engine.api.nouns import template_disks
from engine.builtin import BLANK_TEMPLATE
from engine.decide import vm_config
from engine.decide.mac import address_of
from engine.decide.permit import may
from engine.decide.roles import USER_VM_MANAGER
from engine.decide.vm_machine import WATCHDOG
from engine.jobs.disk_create import CreateDisk, refs_of
from engine.jobs.vm_create import AddedDisk, CreateVm
from engine.jobs.vm_parts import NewAttachment, NewNic
from engine.jobs.vm_spec import CONSOLES
from engine.store.entities import Entities

SUB_COLLECTIONS = frozenset(
    attribute.name
    for attribute in model().struct("Vm").attributes
    if attribute.many and attribute.kind in model().structs and attribute.name not in ("custom_properties", "payloads")
)
"""Attributes that are collections of their own below a VM: NICs and disks in the body are made with the VM, all else of them
is ignored."""
REFERENCES = ("cluster", "template", "cpu_profile", "quota", "vm_pool", "instance_type")
OF_THE_TEMPLATE = frozenset({"id", "href", "name", "comment", "description", "creation_time", "version", "status"})
"""What a VM does not take over from its template."""
OF_THE_INSTANCE_TYPE = ("cpu", "memory", "memory_policy", "high_availability", "io", "usb", "virtio_scsi", "display")
OF_THE_DISK_JOB = frozenset(
    {"alias", "format", "image_id", "provisioned_size", "sparse", "storage_domain", "storage_domains"}
)
"""What the disk's job works with; all else that a client sends of a disk is kept as it is."""
OF_THE_ATTACHMENT = ("bootable", "interface", "read_only", "uses_scsi_reservation", "active")
"""Attributes that old clients put into the disk although they are the attachment's."""
OF_THE_MACHINE = (CONSOLES, WATCHDOG)
"""What is kept in the body and is a part of the definition: v4 has collections for it."""
OURS = "trivet_"
"""How names in a body begin that are the engine's own."""
MANDATORY_OF_A_DISK = ("provisioned_size", "format")


def translated(call: Call, given: Mapping[str, Any]) -> CreateVm:
    """The VM that a body describes. Raises what permits and references refuse."""
    entities = call.engine.store.entities
    refs = {name: (str(given[name]["id"]),) for name in REFERENCES if (given.get(name) or {}).get("id")}
    plain = vm_config.without(given, {*SUB_COLLECTIONS, *vm_config.TOLD, *refs, "name"})
    template = refs.get("template", (BLANK_TEMPLATE,))[0]
    body = vm_config.new_body(plain, _base(entities, template, refs))
    body["original_template"] = {"id": template}
    is_clone = bool(call.parameters.flag("clone"))
    if is_clone:
        refs["template"] = (BLANK_TEMPLATE,)
    identifier, name = str(uuid.uuid4()), str(given.get("name") or "")
    wishes = given.get("disk_attachments") or ()
    copied = template_disks.disks_for(call, template, name, wishes, is_clone=is_clone)
    begun = {one.disk.source_disk_id for one in copied}
    attachments = [one for one in wishes if (one.get("disk") or {}).get("id") and one["disk"]["id"] not in begun]
    added = [one for one in wishes if not (one.get("disk") or {}).get("id")]
    for one in attachments:
        call.rights.need("attach_disk", ("disk", str(one["disk"]["id"])))
    return CreateVm(
        identifier,
        name,
        body,
        refs,
        _nics(call, given, template),
        tuple(NewAttachment(str(one["disk"]["id"]), attributes_of(one)) for one in attachments),
        (*copied, *(new_disk(call, one, name, number) for number, one in enumerate(added, start=1 + len(copied)))),
    )


def _nics(call: Call, given: Mapping[str, Any], template: str) -> tuple[NewNic, ...]:
    """Those of the body; if it says nothing of NICs, as its template has them."""
    if given.get("nics") is not None:
        return tuple(new_nic(call, one) for one in given["nics"])
    entities = call.engine.store.entities
    return template_disks.nics_of(entities, entities.need("template", template))


def _base(entities: Entities, template_id: str, refs: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """What a new VM has that says nothing itself: its template's definition, and its instance type's sizes."""
    template = entities.need("template", template_id)
    base = vm_config.without(template.body, OF_THE_TEMPLATE | SUB_COLLECTIONS)
    for identifier in refs.get("instance_type", ()):
        sizes = entities.need("instance_type", identifier).body
        base |= {name: sizes[name] for name in OF_THE_INSTANCE_TYPE if name in sizes}
    return base


def definition_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a VM with that body starts with next, and nothing of its life: for what is made of it."""
    whole = vm_config.with_next_run(body)
    kept = {name: value for name, value in whole.items() if not name.startswith(OURS) or name in OF_THE_MACHINE}
    return vm_config.without(kept, {*vm_config.TOLD, *SUB_COLLECTIONS})


def own(call: Call, wanted: CreateVm) -> None:
    """Who makes a VM may use it, although they have no role on anything around it."""
    permits = call.rights.permits
    if not may(call.rights.grants, "edit_vm_properties", permits.chain(("vm", wanted.vm_id))).allowed:
        permits.give(USER_VM_MANAGER, ("user", call.account.id), ("vm", wanted.vm_id))


def refuse_engine(call: Call, identifier: str, action: str) -> None:
    """Raises ``Conflict`` ``vm.engine`` for the VM that we run in: brokers keep it."""
    if identifier == call.engine.founded.engine.id:
        raise Conflict(
            "vm.engine",
            subject="VM HostedEngine",
            reason=f"Cannot {action}. It is the engine's own VM, which the hosts' brokers start, move and keep",
            remedy="Use `trivet ha` on a node.",
        )


# NICs


def new_nic(call: Call, given: Mapping[str, Any]) -> NewNic:
    """The NIC that a body describes."""
    kept = vm_config.without(given, {"id", "href", "name", "mac", "vnic_profile", "network", "vm", "template", "statistics"})
    mac = address_of(given)
    return NewNic(str(uuid.uuid4()), str(given.get("name") or ""), mac, profile_of(call, given) or "", kept)


def profile_of(call: Call, given: Mapping[str, Any]) -> str | None:
    """The vNIC profile that is asked for, directly or by its network (old clients). Empty: none; ``None``: not said."""
    if "vnic_profile" in given:
        return str((given["vnic_profile"] or {}).get("id") or "")
    network = given.get("network")
    if network is None:
        return None
    if not network.get("id"):
        raise NotFound(
            "api.reference",
            subject=f"Network '{str(network.get('name'))[:100]}'",
            reason="there is none",
            remedy="List them.",
        )
    found = call.engine.store.entities.referring(("network", str(network["id"])), "vnic_profile", "network")
    seen = [one for one in found if call.rights.sees(one.key)]
    if not seen:
        reason = "it has no vNIC profile that you may use"
        raise Conflict("nic.profile", subject=f"network {network['id']}", reason=reason, remedy="Add one, or name one.")
    return seen[0].id


# disks


def attributes_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of an attachment's body."""
    return vm_config.without(given, {"id", "href", "disk", "vm", "template"})


def new_disk(call: Call, given: Mapping[str, Any], vm_name: str, number: int) -> AddedDisk:
    """The new disk that an attachment's body describes. Raises ``Refused`` ``api.incomplete``."""
    disk = given.get("disk") or {}
    missing = [name for name in MANDATORY_OF_A_DISK if not disk.get(name)]
    if missing:
        words = ", ".join({"provisioned_size": "provisionedSize"}.get(name, name) for name in missing)
        raise Refused(
            "api.incomplete", subject="Disk", reason=f"Disk [{words}] required for add", remedy="Add what is missing."
        )
    domain = domain_of(call, disk)
    call.rights.need("create_disk", ("storage_domain", domain))
    identifier = str(uuid.uuid4())
    left = vm_config.without(
        disk, {*OF_THE_DISK_JOB, "id", "href", "name", "status", "disk_profile", "quota", *OF_THE_ATTACHMENT}
    )
    return AddedDisk(
        CreateDisk(
            identifier,
            str(disk.get("image_id") or uuid.uuid4()),
            str(disk.get("name") or disk.get("alias") or f"{vm_name}_Disk{number}"),
            domain,
            int(disk["provisioned_size"]),
            disk["format"],
            bool(disk.get("sparse", True)),
            left,
            refs=refs_of(disk),
        ),
        {**{name: disk[name] for name in OF_THE_ATTACHMENT if name in disk}, **attributes_of(given)},
    )


def domain_of(call: Call, disk: Mapping[str, Any]) -> str:
    """The storage domain of a new disk: the one that it names, else the master domain (oVirt takes any that has room)."""
    domains = disk.get("storage_domains") or ([disk["storage_domain"]] if disk.get("storage_domain") else [])
    if domains and domains[0].get("id"):
        return str(domains[0]["id"])
    found = [one for one in call.engine.store.entities.list("storage_domain") if one.body.get("master")]
    if len(domains) > 1 or not found:
        raise Refused(
            "api.incomplete",
            subject="Disk",
            reason="Disk [storageDomains.storageDomain] required for add",
            remedy="Name one storage domain.",
        )
    return found[0].id
