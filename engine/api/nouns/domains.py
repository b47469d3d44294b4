"""Storage domains: what administrators say of them, with what the pool said last; and how a data center has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from appliance import layout
from appliance.errors import Conflict, Refused
from engine.api.documents import Object
from engine.api.noun import Action, Call, Done, Made, Noun
from engine.api.references import unknown
from engine.api.stored import Referring, Stored, gone
from engine.api.tell import tell
from engine.decide.domain_space import CRITICAL_SPACE_GIB, WARNING_LOW_SPACE_PERCENT
from engine.jobs.places import mount_of
from engine.jobs.vm_place import runs
from engine.store.entities import Entities
from engine.store.entity import Entity
from gluster.model import STARTED, Volume

OWN = ("maintenance", "unattached")
"""Statuses that somebody gave it; any other is its volume's."""
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
    add = Noun.add
    remove = Noun.remove

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

    actions: ClassVar[Mapping[str, Action]] = {"isattached": _is_attached}


class AttachedStorageDomains(StorageDomains):
    """The storage domains of a data center. All hosts have all volumes mounted, so what changes is the status alone."""

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
        with call.engine.store.connection.transaction():
            domain = self.entities(call).need(self.entity, identifier)
            call.engine.jobs.refuse_used(domain.key)
            if domain.ref("data_center"):
                raise refused(domain, "attach Storage", "The Storage Domain is attached to a Data Center already")
            made = self.entities(call).update(replace(domain, status="").with_refs(data_center=call.parent_id))
            self._tell(call, "USER_ATTACH_STORAGE_DOMAIN_TO_POOL", domain)
        return Made(self.show(call, made))

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        """Detach it: only in maintenance, and without disks."""
        with call.engine.store.connection.transaction():
            domain = self._mine(call, identifier, "detach Storage")
            if domain.status != "maintenance":
                raise refused(
                    domain, "detach Storage", "The Storage Domain is not in Maintenance mode", "Deactivate it first."
                )
            disks = self.entities(call).referring(domain.key, "disk", "storage_domains")
            if disks:
                why = f"It has {len(disks)} disks, {disks[0].name} among them"
                raise refused(domain, "detach Storage", why, "Remove them, or move them to another domain.", "domain.disks")
            self._tell(call, "USER_DETACH_STORAGE_DOMAIN_FROM_POOL", domain)
            self.entities(call).update(replace(domain, status="unattached").with_refs(data_center=()))
        return Done()

    def _activate(self, call: Call, identifier: str, given: Object) -> Done:
        with call.engine.store.connection.transaction():
            domain = self._mine(call, identifier, "activate Storage")
            if domain.status != "maintenance":
                raise refused(domain, "activate Storage", "The Storage Domain is active already", "Nothing is needed.")
            volume = call.engine.view().volume(mount_of(domain))
            if volume is not None and volume.status != STARTED:
                why = f"Its volume {volume.name} is {volume.status.lower()}"
                raise refused(domain, "activate Storage", why, "Start the volume first.", "domain.volume")
            self.entities(call).update(replace(domain, status=""))
            self._tell(call, "USER_ACTIVATED_STORAGE_DOMAIN", domain)
        return Done()

    def _deactivate(self, call: Call, identifier: str, given: Object) -> Done:
        """Nothing may use it: no job, and no VM that runs."""
        with call.engine.store.connection.transaction():
            domain = self._mine(call, identifier, "deactivate Storage")
            if domain.status == "maintenance":
                raise refused(
                    domain, "deactivate Storage", "The Storage Domain is in Maintenance mode", "Nothing is needed."
                )
            users = users_of(self.entities(call), domain)
            if users:
                why = f"There are running VMs with disks on it: {', '.join(users)}"
                raise refused(domain, "deactivate Storage", why, "Shut them down first.", "domain.in-use")
            self.entities(call).update(replace(domain, status="maintenance"))
            self._tell(call, "USER_DEACTIVATED_STORAGE_DOMAIN", domain)
        return Done()

    actions = {"activate": _activate, "deactivate": _deactivate}

    def _mine(self, call: Call, identifier: str, action: str) -> Entity:
        """The domain, which no job uses. Raises ``Conflict`` ``domain.engine`` for the one that we live on."""
        found = self.find(call, identifier)
        if found is None:
            raise gone(self.kind, identifier)
        call.engine.jobs.refuse_used(found.key)
        if mount_of(found) == layout.ENGINE_VOLUME:
            raise refused(found, action, "The engine's own disk is on it", "It cannot be done.", "domain.engine")
        return self.entities(call).need(*found.key)

    @staticmethod
    def _tell(call: Call, name: str, domain: Entity) -> None:
        tell(call, name, {"storage_domain": domain.id, "data_center": call.parent_id})


def status_of(domain: Entity, volume: Volume | None) -> str:
    """What somebody made it, else what its volume is; unknown while nobody could say."""
    if domain.locked_as or domain.status in OWN:
        return domain.shown_status
    if volume is None:
        return "unknown"
    return "active" if volume.status == STARTED else "inactive"


def users_of(entities: Entities, domain: Entity) -> list[str]:
    """The VMs that run with a disk or a CD of the domain."""
    disks = {one.id for one in entities.referring(domain.key, "disk", "storage_domains")}
    found = []
    for vm in entities.list("vm"):
        if not runs(vm):
            continue
        has = {one.ref("disk") for one in entities.children(vm.key, "disk_attachment")} | set(vm.refs.get("iso", ()))
        if has & disks:
            found.append(vm.name)
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


def refused(domain: Entity, action: str, why: str, remedy: str = "Look at it.", code: str = "domain.status") -> Conflict:
    """It cannot be done with the domain as it is."""
    return Conflict(code, subject=f"storage domain {domain.name}", reason=f"Cannot {action}. {why}", remedy=remedy)
