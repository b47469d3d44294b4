"""Rights in the database: who has which role where, and what they see, compiled into the condition of a query.

A permission is an entity of kind ``permission``: its parent is the object (none: the whole system), its references are the
role and the user or group. So it goes with its object, and one list of a collection carries its visibility in the same SQL.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import Conflict, Denied
from engine.decide.permit import SYSTEM, Asking, Grant, Key, Reach, Verdict, is_administrator, may, reach
from engine.decide.roles import BY_ID, EVERYONE, PERMITS, PROFILE_EDITOR, ROLES, SUPER_USER, TEMPLATE_USER, Role
from engine.store.database import chunks
from engine.store.entities import Entities
from engine.store.entity import ENTITY, Entity
from engine.store.fields import ATTACHED_TO, CLUSTER, DATA_CENTER, DOMAINS, Back, Parent, Ref, Way
from engine.store.records import AccountRecord
from engine.store.search import any_of, end_of, reached

BLANK_TEMPLATE = "00000000-0000-0000-0000-000000000000"
ADMIN_ID = "00000000-0000-4000-8000-000000000001"
"""The account that the first start makes (engine/boot/first_start.py)."""
ADMIN_PERMISSION = "58ca605c-010d-0307-0224-0000000001a9"
"""oVirt's id of admin@internal's SuperUser permission."""

ABOVE: Mapping[str, tuple[Way, ...]] = {
    "vm": ((CLUSTER,), (Ref("vm_pool", "vm_pool"),)),
    "template": ((CLUSTER,), (CLUSTER, DATA_CENTER), (DATA_CENTER,)),
    "vm_pool": ((CLUSTER,),),
    "host": ((CLUSTER,),),
    "cluster": ((DATA_CENTER,),),
    "disk": (ATTACHED_TO, (Back("disk_attachment", "disk"), Parent("template")), (DOMAINS,)),
    "image_transfer": ((Ref("disk", "disk"),), (Ref("snapshot", "snapshot"),)),
    "storage_domain": ((DATA_CENTER,),),
    "network": ((DATA_CENTER,),),
    "vnic_profile": ((Ref("network", "network"),),),
    "cpu_profile": ((CLUSTER,), (Parent("cluster"),)),
    "disk_profile": ((Ref("storage_domain", "storage_domain"),), (Parent("storage_domain"),)),
    "affinity_group": ((CLUSTER,), (Parent("cluster"),)),
    "quota": ((DATA_CENTER,), (Parent("data_center"),)),
    "qos": ((DATA_CENTER,), (Parent("data_center"),)),
}
"""kind → ways to what it lies directly below. Kinds that are not here lie below their parent, and below the system."""
HOLDERS: Mapping[str, tuple[Way, ...]] = {
    "cluster": ((Back("vm", "cluster"),), (Back("vm_pool", "cluster"),)),
    "data_center": (
        (Back("cluster", "data_center"), Back("vm", "cluster")),
        (Back("storage_domain", "data_center"), Back("disk", "storage_domains")),
        (Back("cluster", "data_center"),),
    ),
    "network": ((Back("vnic_profile", "network"),),),
    "storage_domain": ((Back("disk", "storage_domains"),), (Back("disk_profile", "storage_domain"),)),
}
"""kind → ways down to objects whose users must be able to name the place they are in."""
OPEN = ("role", "instance_type", "tag", "scheduling_policy", "icon")
"""Kinds that everybody who is logged in may read: they say nothing about anybody's objects."""
DEPTH_LIMIT = 8
"""Levels of the tree: disk → VM → cluster → data center is four."""


@dataclass(frozen=True)
class Permits:
    """What accounts may do and see."""

    entities: Entities

    def grants(self, account: AccountRecord | str) -> tuple[Grant, ...]:
        """All that an account (or its id) has, by itself, through its groups, and because everybody has it."""
        identifier = account if isinstance(account, str) else account.id
        user = self.entities.get("user", identifier)
        groups = [EVERYONE, *(user.refs.get("groups", ()) if user else ())]
        found = self.entities.held_by("permission", [("user", identifier), *(("group", one) for one in groups)])
        roles = self._roles({one.ref("role") for one in found})
        names = {one.id: one.name for one in self.entities.many("group", groups).values()}
        return tuple(
            Grant(
                roles[one.ref("role")],
                one.parent or SYSTEM,
                f"group {names.get(one.ref('group'), '')}" if one.ref("group") else (user.name if user else "the user"),
            )
            for one in found
            if one.ref("role") in roles
        )

    def _roles(self, identifiers: Iterable[str]) -> dict[str, Role]:
        wanted = set(identifiers)
        own = self.entities.many("role", wanted - BY_ID.keys())
        return {one: BY_ID[one] for one in wanted if one in BY_ID} | {one.id: role_of(one) for one in own.values()}

    # doing

    def may(self, account: AccountRecord | str, permit: str, key: Key) -> Verdict:
        """Whether an account may do ``permit`` on an object (to create one: on the object that it will be in)."""
        if permit not in PERMITS:
            raise ValueError(f"{permit} is no permit")
        return may(self.grants(account), permit, self.chain(key))

    def need(self, account: AccountRecord | str, permit: str, key: Key) -> None:
        """Raises ``Denied`` ``permit.missing`` with the reason when it may not."""
        verdict = self.may(account, permit, key)
        if not verdict.allowed:
            raise Denied(
                "permit.missing",
                subject=f"{key[0]} {key[1]}",
                reason=f"User is not authorized to perform this action: {verdict.reason}",
                remedy="Ask an administrator for a role that has it.",
                facts={"permit": permit, "kind": key[0], "id": key[1]},
            )

    def chain(self, key: Key) -> tuple[Key, ...]:
        """An object and all that it lies below, the nearest first, the system last."""
        found: list[Key] = []
        level: list[Key] = [key]
        while level and len(found) < VISITED_LIMIT:
            found += level
            level = [one for one in dict.fromkeys(up for below in level for up in self._above(below)) if one not in found]
        return *(one for one in found if one != SYSTEM), SYSTEM

    def _above(self, key: Key) -> list[Key]:
        entity = self.entities.get(*key)
        if entity is None:
            return []
        found = [entity.parent] if entity.parent else []
        for way in ABOVE.get(entity.kind, ()):
            first = way[0]
            if isinstance(first, Ref):
                found += [(first.kind, one) for one in entity.refs.get(first.name, ())]
            elif isinstance(first, Back):
                attached = self.entities.referring(key, first.kind, first.name)
                found += [one.parent for one in attached if one.parent and one.parent[0] == end_of(entity.kind, way)]
        return found

    # seeing

    def is_administrator(self, account: AccountRecord | str) -> bool:
        """Whether it has an administrative role anywhere."""
        return is_administrator(self.grants(account))

    def visible(self, account: AccountRecord | str, kind: str, asking: Asking = "all") -> Any:
        """The condition on ``entity`` for :meth:`Entities.list`'s ``only``; ``None``: no restriction."""
        return self.condition(self.grants(account), kind, asking)

    def sees(self, account: AccountRecord | str, key: Key, asking: Asking = "all") -> bool:
        """Whether it may read one object."""
        only = self.visible(account, key[0], asking)
        mine = ENTITY.id == key[1]
        return self.entities.count(key[0], mine if only is None else mine & only) > 0

    def condition(self, grants: Iterable[Grant], kind: str, asking: Asking) -> Any:
        """As :meth:`visible`, of grants."""
        given = tuple(grants)
        found = reach(given, kind, asking)
        if found.everything or kind in OPEN:
            return None
        parts = [self._ids(kind, found.ids)] if found.ids else []
        parts += self._below(kind, found)
        for way in HOLDERS.get(kind, ()):
            far = end_of(kind, way)
            ids = frozenset(one.on[1] for one in given if one.on[0] == far)
            if ids:
                parts.append(reached(kind, way, ENTITY.select(ENTITY.id).where((ENTITY.kind == far) & self._ids(far, ids))))
        parts += [self._of_parent(kind, given, asking)] if kind in OWNED else []
        return any_of(parts) if parts else (ENTITY.id == "")

    def _below(self, kind: str, found: Reach) -> list[Any]:
        """Conditions: below one of the roots, by any way up."""
        parts = []
        for way in ways_up(kind):
            root = end_of(kind, way)
            ids = (found.roots or {}).get(root)
            if ids:
                parts.append(
                    reached(kind, way, ENTITY.select(ENTITY.id).where((ENTITY.kind == root) & self._ids(root, ids)))
                )
        return parts

    def _of_parent(self, kind: str, grants: Sequence[Grant], asking: Asking) -> Any:
        """What is owned is seen with its owner: NICs and snapshots with their VM."""
        parts = []
        for owner in OWNED[kind]:
            above = self.condition(grants, owner, asking)
            where = ENTITY.kind == owner
            owners = ENTITY.select(ENTITY.id).where(where if above is None else where & above)
            parts.append((ENTITY.parent_kind == owner) & ENTITY.parent_id.in_(owners))
        return any_of(parts)

    @staticmethod
    def _ids(kind: str, ids: frozenset[str]) -> Any:
        pieces = [ENTITY.id.in_(list(piece)) for piece in chunks(sorted(ids))]
        return (ENTITY.kind == kind) & any_of(pieces)

    # giving and taking

    def give(self, role_id: str, holder: Key, on: Key | None, identifier: str = "") -> Entity:
        """A permission: ``holder`` (user or group) gets a role on an object (``None``: on everything).

        Raises ``NotFound`` ``entity.reference``; ``Conflict`` ``entity.exists`` when it has it.
        """
        where = on or SYSTEM
        permission = Entity(
            "permission",
            identifier or str(uuid.uuid4()),
            refs={"role": (role_id,), holder[0]: (holder[1],)},
            parent=None if where == SYSTEM else where,
            unique_key=f"{role_id}/{holder[0]}/{holder[1]}/{where[0]}/{where[1]}",
        )
        return self.entities.add(permission)

    def take(self, identifier: str) -> None:
        """Remove a permission. Raises ``Conflict`` ``permission.last-admin``: somebody must be able to administer."""
        if identifier == ADMIN_PERMISSION:
            raise protected("the permission SuperUser of admin@internal")
        self.entities.remove("permission", identifier)

    def take_all(self, holder: Key) -> None:
        """Remove all that a user or group has, before it goes itself."""
        for permission in self.entities.referring(holder, "permission", holder[0]):
            self.entities.remove("permission", permission.id)


VISITED_LIMIT = 1_000
"""Objects above one: a shareable disk of hundreds of VMs has this many."""
OWNED: Mapping[str, tuple[str, ...]] = {
    "nic": ("vm", "template"),
    "disk_attachment": ("vm", "template"),
    "snapshot": ("vm",),
    "cdrom": ("vm", "template"),
    "watchdog": ("vm", "template"),
    "graphics_console": ("vm", "template"),
    "checkpoint": ("vm",),
    "backup": ("vm",),
    "numa_node": ("vm",),
}
"""Kinds that are seen exactly where their owner is."""


def ways_up(kind: str, depth: int = 0) -> list[Way]:
    """All ways from a kind to those above it."""
    found: list[Way] = []
    if depth < DEPTH_LIMIT:
        for way in ABOVE.get(kind, ()):
            found.append(way)
            found += [(*way, *further) for further in ways_up(end_of(kind, way), depth + 1)]
    return list(dict.fromkeys(found))


def role_of(entity: Entity) -> Role:
    """A role that somebody made. It shows what lies below, as oVirt's own makes them."""
    permits = frozenset(str(one) for one in entity.body.get("permits", ()))
    return Role(entity.id, entity.name, "", bool(entity.body.get("administrative")), True, permits, is_built_in=False)


def protected(what: str) -> Conflict:
    """What cannot be taken away, because nobody could administer the engine then."""
    return Conflict(
        "permission.last-admin",
        subject=what,
        reason="it cannot be removed or disabled: there must always be somebody who can administer the engine",
        remedy="Give the others their rights; keep this one.",
    )


def settle_rights(entities: Entities) -> int:
    """Store what is missing of roles, the group of everybody, the administrator and their permissions; how many that were.

    Run at each start, inside a transaction.
    """
    wanted = [
        *(
            Entity(
                "role",
                role.id,
                role.name,
                {
                    "administrative": role.is_admin,
                    "mutable": False,
                    "description": role.description,
                    "permits": [name for name in PERMITS if name in role.permits],
                },
                unique_key=f"/{role.name.casefold()}",
            )
            for role in ROLES
        ),
        Entity("group", EVERYONE, "Everyone", {"namespace": "*"}),
        user_entity(ADMIN_ID, "admin", "internal"),
    ]
    count = 0
    for entity in wanted:
        if entities.get(*entity.key) is None:
            entities.add(entity)
            count += 1
    permits = Permits(entities)
    blank = ("template", BLANK_TEMPLATE)
    given: list[tuple[str, str, Key, Key | None]] = [
        (ADMIN_PERMISSION, SUPER_USER, ("user", ADMIN_ID), None),
        ("58ca605c-010d-0307-0224-0000000001aa", PROFILE_EDITOR, ("group", EVERYONE), None),
        ("58ca605c-010d-0307-0224-0000000001ab", TEMPLATE_USER, ("group", EVERYONE), blank),
    ]
    for identifier, role_id, holder, on in given:
        if entities.get("permission", identifier) is None and (on is None or entities.get(*on) is not None):
            permits.give(role_id, holder, on, identifier)
            count += 1
    return count


def user_entity(identifier: str, name: str, domain: str) -> Entity:
    """The v4 user of an account. The search finds it as ``usrname=name@domain``, as clients ask."""
    body: dict[str, Any] = {
        "user_name": f"{name}@{domain}-authz",
        "principal": name,
        "namespace": "*",
        "domain": {"name": f"{domain}-authz"},
        "department": "",
        "email": "",
        "last_name": "",
    }
    return Entity("user", identifier, name, body, unique_key=f"{name.casefold()}@{domain}")
