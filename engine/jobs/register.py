"""Register what an imported storage domain brought along: a VM, a template or a disk whose images lie there. The images are
looked at before, and nothing is taken from what the domain says that they tell themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import Conflict, Failed
from appliance.model.disk import DiskFile
from engine.decide.descriptor import DiskPart, SnapshotPart
from engine.jobs.descriptors import UNREGISTERED
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.layers import IMAGES
from engine.jobs.places import choose_host, chosen_host, disk_file, need_active_domain
from engine.jobs.template_create import CreateTemplate
from engine.jobs.template_create import enter as enter_template
from engine.jobs.vm_create import CreateVm, unique_key
from engine.jobs.vm_create import enter as enter_vm
from engine.jobs.vm_parts import NewAttachment, NewNic, attach
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

WORDS = {"vm": "VM", "template": "Template", "disk": "Disk"}


@dataclass(frozen=True)
class Register:
    """``row_id``: what the domain said of it. ``body``, ``refs``, ``nics``: as it is to be here, checked by the caller.
    ``disks``: those of it that are here; ``snapshots``: none unless all its disks are."""

    kind: str
    row_id: str
    domain_id: str
    object_id: str
    name: str
    body: Mapping[str, Any] = field(default_factory=dict)
    refs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    nics: tuple[NewNic, ...] = ()
    disks: tuple[DiskPart, ...] = ()
    snapshots: tuple[SnapshotPart, ...] = ()


def layers_of(given: Register, disk: DiskPart) -> list[tuple[str, str]]:
    """(image, format) of a disk's layers, what is written last first."""
    kept = [one.images[disk.id] for one in sorted(given.snapshots, key=lambda one: one.date_ms) if disk.id in one.images]
    return [(disk.image, disk.format), *((one.image, one.format) for one in reversed(kept))]


def _files(entities: Entities, given: Register, disk: DiskPart) -> list[DiskFile]:
    domain = entities.need("storage_domain", disk.domain)
    return [disk_file(domain, disk.id, image, kind) for image, kind in layers_of(given, disk)]


def _look(work: Work) -> Mapping[str, Any]:
    """Each image, and that it lies over what it is said to lie over."""
    given = work.parameters(Register)
    sizes: dict[str, list[int]] = {}
    with work.on(chosen_host(work)) as node:
        for disk in given.disks:
            files = _files(work.entities, given, disk)
            chain = node.disk_chain(files[0])
            below = _below(work.entities, disk)
            if [one.file.path for one in chain[: len(files)]] != [one.path for one in files] or len(chain) != (
                len(files) + below
            ):
                names = ", ".join(one.file.path for one in chain)
                reason = f"Cannot register. The layers of its disk {disk.name} are {names}, which is not what was said"
                raise Failed("register.layers", subject=f"disk {disk.name}", reason=reason, remedy="Look at the domain.")
            sizes[disk.id] = [chain[0].virtual_bytes, sum(one.actual_bytes for one in chain[: len(files)])]
            work.log(f"disk {disk.name} has {len(files)} layers")
    return {"sizes": sizes}


def _below(entities: Entities, disk: DiskPart) -> int:
    """How many layers of others it lies over: its template's disk is one."""
    return 1 if disk.backing and entities.get("disk", disk.backing) is not None else 0


class Registration(JobType[Register]):
    """It is there at the end, as if it had been made here; or it is as unknown as before."""

    parameters = Register
    steps = (Step("choose-host", choose_host, weight=0.1), Step("look", _look))

    def about(self, entities: Entities, given: Register) -> Mapping[str, str]:
        cluster = next(iter(given.refs.get("cluster", ())), "")
        center = entities.need("cluster", cluster).ref("data_center") if cluster else ""
        return {"storage_domain": given.domain_id, **({"cluster": cluster, "data_center": center} if cluster else {})}

    def values(self, work: Work) -> Mapping[str, object]:
        given = work.parameters(Register)
        return {given.kind: given.name}

    def describe(self, entities: Entities, given: Register) -> str:
        domain = entities.name_of("storage_domain", given.domain_id)
        return f"Registering {WORDS[given.kind]} {given.name} of Storage Domain {domain}"

    def check(self, entities: Entities, given: Register) -> None:
        entities.need(UNREGISTERED, given.row_id)
        for domain in dict.fromkeys((given.domain_id, *(one.domain for one in given.disks))):
            need_active_domain(entities, domain, f"register {WORDS[given.kind]}")
        for kind, identifier in ((given.kind, given.object_id), *(("disk", one.id) for one in given.disks)):
            if entities.get(kind, identifier) is not None:
                reason = f"Cannot register {WORDS[given.kind]}. There is a {WORDS[kind]} with its id {identifier} already"
                raise Conflict("entity.exists", subject=f"{kind} {given.name}", reason=reason, remedy="Nothing is needed.")
        others = entities.list(given.kind) if given.kind != "disk" else ()
        if any(one.unique_key == unique_key(given.name) for one in others):
            reason = f"Cannot register {WORDS[given.kind]}. The {WORDS[given.kind]} name is already in use"
            raise Conflict(
                "entity.exists", subject=f"{given.kind} {given.name}", reason=reason, remedy="Give it another one."
            )
        for one in given.disks:
            if one.backing and entities.get("disk", one.backing) is None:
                reason = (
                    f"Cannot register {WORDS[given.kind]}. Its disk {one.name} is a layer over a template's that is not here"
                )
                raise Conflict("register.template", subject=f"disk {one.name}", reason=reason,
                               remedy="Register that template first.")  # fmt: skip

    def locks(self, entities: Entities, given: Register) -> Sequence[Lock]:
        domains = dict.fromkeys((given.domain_id, *(one.domain for one in given.disks)))
        return Lock(UNREGISTERED, given.row_id), *(Lock("storage_domain", one, "", is_shared=True) for one in domains)

    def plan(self, entities: Entities, given: Register) -> Sequence[Planned]:
        return Planned("choose-host", "Choosing a host"), Planned("look", "Looking at its images")

    def finish(self, work: Work) -> Mapping[str, Any]:
        given, entities, sizes = work.parameters(Register), work.entities, work.found("look")["sizes"]
        for disk in given.disks:
            entities.add(_disk_row(disk, sizes[disk.id]))
        owner = _enter(entities, given)
        if owner is not None:
            for disk in given.disks:
                attach(entities, entities.need(*owner.key), NewAttachment(disk.id, disk.attachment))
            for one in given.snapshots:
                entities.add(_snapshot_row(one, owner))
        entities.remove(UNREGISTERED, given.row_id)
        return {given.kind: given.object_id}


class VmRegister(Registration):
    """A VM, ``down``."""

    name = "vm.register"
    told = Told("", "IMPORTEXPORT_IMPORT_VM", "")


class TemplateRegister(Registration):
    """A template."""

    name = "template.register"
    told = Told("", "IMPORTEXPORT_IMPORT_TEMPLATE", "IMPORTEXPORT_IMPORT_TEMPLATE_FAILED")


class DiskRegister(Registration):
    """A disk that nobody has."""

    name = "disk.register"


REGISTERING: Mapping[str, type[Registration]] = {"vm": VmRegister, "template": TemplateRegister, "disk": DiskRegister}


def _enter(entities: Entities, given: Register) -> Entity | None:
    if given.kind == "vm":
        return enter_vm(entities, CreateVm(given.object_id, given.name, given.body, given.refs, given.nics))
    if given.kind == "template":
        made = CreateTemplate(given.object_id, "", given.name, given.body, given.refs, nics=given.nics)
        row = enter_template(entities, made)
        entities.set_status("template", {row.id: "ok"})
        return row
    return None


def _disk_row(disk: DiskPart, sizes: Sequence[int]) -> Entity:
    body = {
        **disk.attributes,
        "image_id": disk.image,
        "format": disk.format,
        "provisioned_size": sizes[0],
        "actual_size": sizes[1],
    }
    backing = {"backing_disk": (disk.backing,)} if disk.backing else {}
    return Entity("disk", disk.id, disk.name, body, {"storage_domains": (disk.domain,), **backing}, status="ok")


def _snapshot_row(one: SnapshotPart, vm: Entity) -> Entity:
    kept = {disk: {"image": layer.image, "format": layer.format} for disk, layer in one.images.items()}
    body = {
        "description": one.name,
        "date": one.date_ms,
        "persist_memorystate": False,
        "snapshot_type": "regular",
        IMAGES: kept,
    }
    row = Entity("snapshot", one.id, one.name, body, parent=vm.key, status="ok")
    return row.with_refs(disks=tuple(kept))
