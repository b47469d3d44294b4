"""Storage domains: what administrators say of them, with what pool and hosts said last; and how a data center has them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from appliance.errors import Refused, Unavailable
from engine.api import work
from engine.api.documents import Object
from engine.api.noun import Action, Call, Done, Made, Noun
from engine.api.references import unknown
from engine.api.stored import NOT_BODY, Referring, Stored
from engine.api.tell import tell
from engine.decide import vm_config
from engine.decide.domain_space import CRITICAL_SPACE_GIB, WARNING_LOW_SPACE_PERCENT
from engine.jobs.domain_activate import ActivateDomain, AttachDomain, DomainActivate, DomainAttach
from engine.jobs.domain_create import ADD, CreateDomain, DomainCreate, check_storage
from engine.jobs.domain_deactivate import DeactivateDomain, DomainDeactivate
from engine.jobs.domain_describe import DescribeDomain, DomainDescribe
from engine.jobs.domain_import import DomainImport, ImportDomain
from engine.jobs.domain_remove import DomainRemove, RemoveDomain
from engine.jobs.domain_use import need_not_engines, refused
from engine.jobs.evicted import RESTING, is_of_pool
from engine.jobs.places import MOUNTED_ON, mount_of
from engine.jobs.unregister import held_by, unregister
from engine.store.entities import Entities
from engine.store.entity import Entity
from gluster.model import STARTED, Volume

OWN = RESTING
"""Statuses that somebody gave it; any other is its volume's, or its mounts'."""
DETACH = "detach Storage"
OF_THE_JOB = NOT_BODY | {"storage", "type", "host", "data_center", "data_centers", "import_", "master", "available", "used",
                         "committed", "external_status"}  # fmt: skip
"""What the job works with or we say ourselves; all else that a client sends with a new domain is kept."""
SETTABLE = frozenset({
    "name", "comment", "description", "warning_low_space_indicator", "critical_space_action_blocker", "wipe_after_delete",
    "discard_after_delete", "backup",
})  # fmt: skip
"""What an administrator says of a domain: a client may send back all that it read."""


class StorageDomains(Stored):
    """All storage domains."""

    services: ClassVar[tuple[str, ...]] = ("StorageDomains",)
    kind, entity, remembered = "StorageDomain", "storage_domain", False
    defaults = {
        "backup": False,
        "block_size": 512,
        "critical_space_action_blocker": CRITICAL_SPACE_GIB,
        "warning_low_space_indicator": WARNING_LOW_SPACE_PERCENT,
        "discard_after_delete": False,
        "external_status": "ok",
        "master": False,
        "storage_format": "v5",
        "supports_discard": False,
        "supports_discard_zeroes_data": False,
        "type": "data",
        "wipe_after_delete": False,
    }
    refs = {"host": "host"}

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        """Make one on storage that a host mounts; v4 answers when it is there."""
        host, storage = str(given["host"].get("id") or ""), dict(given["storage"])
        name = str(given.get("name") or "")
        new = CreateDomain(str(uuid.uuid4()), name, storage, host, vm_config.without(given, OF_THE_JOB))
        if given.get("import_"):
            return self._import(call, given, new)
        if given["type"] != "data":
            why = f"Storage Domains of type {given['type']} are not supported by this engine"
            raise Refused("domain.type", subject=f"storage domain {name}", reason=f"Cannot {ADD}. {why}",
                          remedy="Use data: it holds ISO disks, too.")  # fmt: skip
        check_thresholds(name, given)
        check_storage(new)
        if storage["type"] == "glusterfs":
            need_started(call, name, str(storage["path"]).strip("/"), storage, ADD)
        job = work.awaited(call, DomainCreate, new)
        return Made(self.show(call, self.entities(call).need(self.entity, new.domain_id)), work.unfinished(job))

    def _import(self, call: Call, given: dict[str, Any], new: CreateDomain) -> Made:
        """One that is there already, under the id that it has: only its storage tells which, so the caller waits."""
        check_storage(new)
        order = ImportDomain(new.domain_id, new.name, new.storage, new.host_id, new.attributes,
                             str(given.get("id") or ""), str(given.get("comment") or ""))  # fmt: skip
        job = work.settled(call, work.awaited(call, DomainImport, order))
        if job.state != "ended":
            why, remedy = "it is still being looked at", "Ask for the list of storage domains in a while."
            raise Unavailable("domain.importing", subject=f"storage domain {new.name}", reason=why, remedy=remedy)
        return Made(self.show(call, self.entities(call).need(self.entity, str(job.result["storage_domain"]))))

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        """``format`` takes its mark away, so that the storage can be used anew; ``destroy`` only forgets it."""
        found = self.mine(call, identifier)
        asked = {name: call.parameters.flag(name) or bool(given.get(name)) for name in ("format", "destroy")}
        host = str(call.parameters.text("host") or (given.get("host") or {}).get("id") or "")
        chosen = host_named(self.entities(call), host) if host else ""
        job = work.awaited(call, DomainRemove, RemoveDomain(found.id, chosen, **asked))
        return work.told(job)

    def show(self, call: Call, entity: Entity) -> Object:
        volume = call.engine.view().volume(mount_of(entity))
        told = {"available": volume.available_bytes, "used": volume.used_bytes} if volume else {}
        centers = [{"id": one} for one in entity.refs.get("data_center", ())]
        disks = self.entities(call).referring(entity.key, "disk", "storage_domains")
        return {
            **super().show(call, entity),
            **told,
            "committed": sum(int(disk.body.get("provisioned_size") or 0) for disk in disks),
            "status": status_of(entity, volume),
            "data_centers": centers,
        }

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        wanted = {name: value for name, value in given.items() if name in SETTABLE}
        found = self.find(call, identifier)
        check_thresholds(found.name if found else identifier, wanted)
        with call.engine.store.connection.transaction():
            made = super().update(call, identifier, wanted)
            tell(call, "USER_UPDATE_STORAGE_DOMAIN", {"storage_domain": identifier})
        return made

    def _is_attached(self, call: Call, identifier: str, given: Object) -> Done:
        """v4 names a host that looks; any of ours would see the same."""
        domain = self.entities(call).need(self.entity, identifier)
        return Done(values={"is_attached": bool(domain.ref("data_center"))})

    def _update_ovf_store(self, call: Call, identifier: str, given: Object) -> Done:
        """It says what is on it: for whoever imports it one day."""
        return work.done(call, DomainDescribe, DescribeDomain(self.entities(call).need(self.entity, identifier).id))

    actions: ClassVar[Mapping[str, Action]] = {"isattached": _is_attached, "updateovfstore": _update_ovf_store}


class AttachedStorageDomains(StorageDomains):
    """The storage domains of a data center. Attaching, activating and deactivating are jobs, which v4's clients take for
    done when they are answered; detaching is a change of rows: in maintenance nobody has it mounted any more."""

    services = ("AttachedStorageDomains",)
    scopes = {"DataCenter": Referring("data_center")}
    update = Noun.update

    def serves_below(self, parent: str) -> bool:
        return parent in self.scopes

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        """Attach it: it is active then."""
        everywhere, name = call.nouns["StorageDomains"], str(given.get("name") or "")
        at_root = call.below("StorageDomains", "")
        identifier = str(given.get("id") or everywhere.named(at_root, name) or "")
        if not everywhere.exists(at_root, identifier):
            raise unknown(self.kind, identifier or name, "storagedomains")
        job = work.awaited(call, DomainAttach, AttachDomain(identifier, call.parent_id))
        return Made(self.show(call, self.entities(call).need(self.entity, identifier)), work.unfinished(job))

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        """Detach it, in maintenance, with what lies on it: that may be registered again, here or elsewhere."""
        with call.engine.store.connection.transaction():
            domain = self._mine(call, identifier)
            call.engine.jobs.refuse_used(domain.key, *held_by(self.entities(call), domain))
            need_not_engines(domain, DETACH)
            if domain.status != "maintenance":
                raise refused(domain, DETACH, "The Storage Domain is not in Maintenance mode", "Deactivate it first.")
            unregister(self.entities(call), domain, DETACH)
            about = {"storage_domain": domain.id, "data_center": call.parent_id}
            tell(call, "USER_DETACH_STORAGE_DOMAIN_FROM_POOL", about)
            self.entities(call).update(replace(domain, status="unattached").with_refs(data_center=()))
        return Done()

    def _activate(self, call: Call, identifier: str, given: Object) -> Done:
        domain = self._mine(call, identifier)
        need_started(call, domain.name, mount_of(domain), domain.body.get("storage") or {}, "activate Storage")
        return work.told(work.awaited(call, DomainActivate, ActivateDomain(domain.id, call.parent_id)))

    def _deactivate(self, call: Call, identifier: str, given: Object) -> Done:
        """Nothing may use it: no job, and no VM that runs."""
        domain = self._mine(call, identifier)
        return work.told(work.awaited(call, DomainDeactivate, DeactivateDomain(domain.id, call.parent_id)))

    actions = {"activate": _activate, "deactivate": _deactivate}

    def _mine(self, call: Call, identifier: str) -> Entity:
        return self.entities(call).need(*self.mine(call, identifier).key)


def need_started(call: Call, name: str, volume: str, storage: Mapping[str, Any], action: str) -> None:
    """Raises ``Conflict`` ``domain.volume``: as far as the pool has said, the volume is not there, or not started. Those of
    other pools are asked for by mounting them."""
    view = call.engine.view()
    servers = {name for one in view.cluster.members for name in (one.name, one.address)}
    if view.pool is None or not is_of_pool(Entity("storage_domain", "", name, {"storage": storage}), servers):
        return
    found = view.volume(volume)
    if found is None or found.status != STARTED:
        why = f"Its volume {volume} is {found.status.lower() if found else 'not there'}"
        raise refused(Entity("storage_domain", "", name), action, why, "Create and start the volume first.", "domain.volume")


def status_of(domain: Entity, volume: Volume | None) -> str:
    """What somebody made it, else what its volume is, or whether a host has it mounted; unknown while nobody could say."""
    if domain.locked_as or domain.status in OWN:
        return domain.shown_status
    if volume is not None:
        return "active" if volume.status == STARTED else "inactive"
    if MOUNTED_ON in domain.body:
        return "active" if domain.body[MOUNTED_ON] else "inactive"
    return "unknown"


def host_named(entities: Entities, wanted: str) -> str:
    """The id of a host that is named by id or name. Raises ``NotFound`` ``api.reference``."""
    found = next((one.id for one in entities.list("host") if wanted in (one.id, one.name)), None)
    if found is None:
        raise unknown("Host", wanted, "hosts")
    return found


def check_thresholds(name: str, given: Mapping[str, Any]) -> None:
    """Raises ``Refused`` ``domain.threshold``."""
    percent, gib = given.get("warning_low_space_indicator"), given.get("critical_space_action_blocker")
    if percent is not None and not 0 <= int(percent) <= 100:
        why = f"warning_low_space_indicator is a percentage, {percent} is none"
    elif gib is not None and int(gib) < 0:
        why = f"critical_space_action_blocker is in GiB, {gib} is less than nothing"
    else:
        return
    raise Refused(
        "domain.threshold", subject=f"storage domain {name}", reason=f"Cannot edit Storage. {why}", remedy="Correct it."
    )
