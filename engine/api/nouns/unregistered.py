"""What an imported storage domain brought along and nobody has registered yet: VMs, templates, disks. Its words are read
here as a client's are: by the model, and nothing else of them is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from appliance.codec import decode
from appliance.errors import Refused, TrivetError
from engine.api import json_typed, work
from engine.api.documents import Object
from engine.api.noun import Action, Call, Done
from engine.api.nouns import ref
from engine.api.observed import Rows
from engine.api.parameters import Listing
from engine.api.references import unknown
from engine.api.stored import NOT_BODY, gone
from engine.builtin import BLANK_TEMPLATE
from engine.decide import vm_config
from engine.decide.descriptor import Descriptor, DiskPart, NicPart
from engine.jobs.descriptors import DESCRIPTOR, UNREGISTERED
from engine.jobs.register import REGISTERING, Register
from engine.jobs.vm_parts import NewNic
from engine.store.entities import Entities
from engine.store.entity import Entity

ELSEWHERE = NOT_BODY | vm_config.TOLD | {
    "cluster", "cpu_profile", "custom_compatibility_version", "disk_profile", "external_host_provider", "host_devices",
    "image_id", "instance_type", "large_icon", "lease", "original_template", "placement_policy", "quota", "small_icon",
    "storage_domain", "storage_domains", "template", "version", "vm_pool", "vnic_profile",
}  # fmt: skip
"""What names things of the installation that it comes from."""


def rows_of(call: Call, kind: str) -> list[Entity]:
    """What the domain that the call is below brought along; administrators alone see it."""
    if call.parent_kind != "StorageDomain" or not call.rights.is_administrator:
        return []
    rows = call.engine.store.entities.children(("storage_domain", call.parent_id), UNREGISTERED)
    return [one for one in rows if one.body.get("kind") == kind]


def said_by(row: Entity) -> Descriptor:
    """What the domain said of it."""
    return decode(Descriptor, row.body[DESCRIPTOR], subject=f"{row.kind} {row.name}", code="descriptor.invalid")


def attributes_of(kind: str, given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Attributes as the model knows them. Raises ``Refused`` ``descriptor.attributes``."""
    wanted = {key: value for key, value in given.items() if key not in ELSEWHERE}
    try:
        return json_typed.decode(kind, json.dumps(wanted).encode())
    except Refused as error:
        remedy = "The domain's description is damaged, or of another version. Register its disks, and make it anew."
        raise Refused("descriptor.attributes", subject=f"{kind} {name}", reason=error.reason, remedy=remedy) from error


def row_of(call: Call, registered: str, kind: str, identifier: str) -> Entity:
    """What the domain has under that id. Raises ``NotFound``."""
    row = next((one for one in rows_of(call, registered) if one.body["of"] == identifier), None)
    if row is None:
        raise gone(kind, identifier)
    return row


class Unregistered(Rows):
    """``GET …;unregistered`` lists, ``register`` makes one of ours of it."""

    registered: ClassVar[str] = ""

    def serves_below(self, parent: str) -> bool:
        return parent == "StorageDomain"

    def list(self, call: Call, listing: Listing) -> Sequence[Object]:
        return super().list(call, listing) if call.parameters.flag("unregistered") else []

    def rows(self, call: Call) -> Sequence[Object]:
        return [self._shown(one) for one in rows_of(call, self.registered)]

    def _shown(self, row: Entity) -> Object:
        said = said_by(row)
        try:
            shown = attributes_of(self.kind, said.attributes, said.name)
        except TrivetError:
            shown = {}  # its name and id are all that can be said
        return {**shown, "id": said.id, "name": said.name, "status": "down" if said.kind == "vm" else "ok"}

    def _register(self, call: Call, identifier: str, given: Object) -> Done:
        row = row_of(call, self.registered, self.kind, identifier)
        if given.get("clone"):
            why = f"Cannot register {self.kind}. A registered one has the ids that it had"
            raise Refused("register.clone", subject=f"{self.kind} {row.name}", reason=why, remedy="Register it, then clone.")
        return work.told(work.awaited(call, REGISTERING[self.registered], registration(call, row, given, self.kind)))

    actions: ClassVar[Mapping[str, Action]] = {"register": _register}


class UnregisteredVms(Unregistered):
    """VMs."""

    services, kind, registered = ("StorageDomainVms",), "Vm", "vm"


class UnregisteredTemplates(Unregistered):
    """Templates."""

    services, kind, registered = ("StorageDomainTemplates",), "Template", "template"


def registration(call: Call, row: Entity, given: Object, kind: str) -> Register:
    """The order: in which cluster it is, on which profiles its NICs are, which of its disks come along."""
    said, entities = said_by(row), call.engine.store.entities
    named = given.get("vm") or given.get("template") or {}
    name = str(named.get("name") or said.name)
    cluster = _cluster(call, said, given)
    call.rights.need("create_vm" if said.kind == "vm" else "create_template", ("cluster", cluster))
    body = attributes_of(kind, said.attributes, said.name)
    vm_config.check(name, body, f"register {kind}")
    disks = _disks_here(entities, said, is_partial=bool(given.get("allow_partial_import")))
    is_whole = len(disks) == len(said.disks)
    refs = {"cluster": (cluster,), **({"template": (BLANK_TEMPLATE,)} if said.kind == "vm" else {})}
    nics = tuple(_nic(call, cluster, one, given, has_address=said.kind == "vm") for one in said.nics)
    domain = row.parent[1] if row.parent else ""
    snapshots = said.snapshots if is_whole else ()
    return Register(said.kind, row.id, domain, said.id, name, body, refs, nics, disks, snapshots)


def disk_registration(call: Call, identifier: str) -> Register:
    """The order for a disk that nobody has. Raises ``NotFound``."""
    row = row_of(call, "disk", "Disk", identifier)
    said = said_by(row)
    disks = _disks_here(call.engine.store.entities, said, is_partial=False)
    return Register("disk", row.id, call.parent_id, said.id, said.name, disks=disks)


def unregistered_disks(call: Call) -> list[Object]:
    """Disks that nobody has, as v4 shows them."""
    found: list[Object] = []
    for one in (said_by(row).disks[0] for row in rows_of(call, "disk")):
        found.append({"id": one.id, "name": one.name, "alias": one.name, "image_id": one.image, "format": one.format,
                      "status": "ok", "storage_domains": [ref(call.parent_id)]})  # fmt: skip
    return found


def _cluster(call: Call, said: Descriptor, given: Object) -> str:
    """The one that is named, else what its own is mapped to, else the one that is called as its own was."""
    if (given.get("cluster") or {}).get("id"):
        return str(given["cluster"]["id"])
    mappings = (given.get("registration_configuration") or {}).get("cluster_mappings") or ()
    wanted = next((one.get("to") or {} for one in mappings if (one.get("from_") or {}).get("name") == said.cluster), {})
    entities = call.engine.store.entities
    for one in entities.list("cluster"):
        if one.id == wanted.get("id") or one.name == (wanted.get("name") or said.cluster):
            return one.id
    raise unknown("Cluster", str(wanted.get("id") or wanted.get("name") or said.cluster), "clusters")


def _disks_here(entities: Entities, said: Descriptor, *, is_partial: bool) -> tuple[DiskPart, ...]:
    found, missing = [], []
    for one in said.disks:
        if entities.get("storage_domain", one.domain) is None:
            missing.append(one.name)
            continue
        attributes = attributes_of("Disk", one.attributes, one.name)
        attachment = attributes_of("DiskAttachment", one.attachment, one.name)
        found.append(DiskPart(one.id, one.name, one.domain, one.image, one.format, attributes, attachment, one.backing))
    if missing and not is_partial:
        reason = f"Cannot register {said.name}. Its disks {', '.join(missing)} are on domains that are not here"
        remedy = "Import those domains, or say allow_partial_import."
        raise Refused("register.disks", subject=said.name, reason=reason, remedy=remedy)
    return tuple(found)


def _nic(call: Call, cluster: str, nic: NicPart, given: Object, *, has_address: bool) -> NewNic:
    """On the profile that its own is mapped to, else on the one of that name on the network of that name, else on none.
    With its address, unless somebody has it and it may be another."""
    entities = call.engine.store.entities
    body = attributes_of("Nic", nic.attributes, nic.name)
    mac = str((body.pop("mac", None) or {}).get("address") or "") if has_address else ""
    if mac and given.get("reassign_bad_macs") and mac.lower() in entities.unique_keys("nic"):
        mac = ""
    return NewNic(nic.id, nic.name, mac, _profile(entities, cluster, nic, given), body)


def _profile(entities: Entities, cluster: str, nic: NicPart, given: Object) -> str:
    for one in given.get("vnic_profile_mappings") or ():
        if (one.get("source_network_name"), one.get("source_network_profile_name")) == (nic.network, nic.profile):
            return str((one.get("target_vnic_profile") or {}).get("id") or "")
    center = entities.need("cluster", cluster).ref("data_center")
    for profile in entities.list("vnic_profile"):
        network = entities.get("network", profile.ref("network"))
        is_so_called = network is not None and (profile.name, network.name) == (nic.profile, nic.network)
        if network is not None and is_so_called and network.ref("data_center") == center:
            return profile.id
    return ""


NOUNS = (UnregisteredVms, UnregisteredTemplates)
