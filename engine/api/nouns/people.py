"""Users, groups, roles, permits and permissions: who there is, and who may do what where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from appliance.errors import Conflict, NotFound, Refused
from engine.api.documents import Object
from engine.api.model import model
from engine.api.noun import Call, Done, Made, Noun
from engine.api.nouns.built_in import permit
from engine.api.observed import Rows
from engine.api.references import identified
from engine.api.stored import Referring, Stored, gone, need_expected, owner
from engine.decide.permit import SYSTEM
from engine.decide.roles import BY_ID, PERMITS
from engine.store.entity import Entity
from engine.store.permissions import Permits
from engine.users import DOMAIN
from engine.users import Users as Directory


class Users(Stored):
    """The users that this engine knows. To add one of the directory is to know it, which all are; one that is not there
    yet is made when a password comes along, because ours is the only directory."""

    services, kind, entity, unique, refs = ("Users",), "User", "user", False, {"groups": "groups"}
    defaults = {"namespace": "*", "department": "", "email": "", "last_name": ""}
    changeable = frozenset({"groups", "password", "department", "email", "last_name"})

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        named = str(given.get("user_name") or given.get("principal") or "")
        name, _, profile = named.rpartition("@") if "@" in named else (named, "", "")
        domain = str((given.get("domain") or {}).get("name") or profile or DOMAIN).removesuffix("-authz")
        account = call.engine.store.account(name, domain)
        if account is not None:
            return Made(self.show(call, self.entities(call).need("user", account.id)))
        if domain != DOMAIN or not given.get("password"):
            raise Refused(
                "user.unknown",
                subject=f"user {name[:80]}@{domain[:80]}",
                reason="Cannot add User. The directory has none of that name",
                remedy=f"Send a password with it to make one in the domain {DOMAIN}.",
            )
        return Made(self.show(call, Directory(call.engine.store, call.engine.accounts).add(name, str(given["password"]))))

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        """Ours is the directory: an administrator puts people into groups here, and sets a password that was forgotten. Who
        may do that could get any role, so it takes the permit to give all of them."""
        found = self.mine(call, identifier)
        fixed = sorted(set(given) - self.changeable - {"id"})
        if fixed:
            remedy = f"Leave that out; {', '.join(sorted(self.changeable))} can be changed."
            reason = f"its {', '.join(fixed)} cannot be changed"
            raise Refused("user.fixed", subject=f"User {found.name}", reason=reason, remedy=remedy)
        call.rights.need("manipulate_permissions", SYSTEM)

        def how(before: Entity) -> Entity:
            need_expected(call, before)
            return self.apply(call, before, {name: value for name, value in given.items() if name != "password"})

        with call.engine.store.connection.transaction():
            after = self.entities(call).change("user", identifier, how)
            if given.get("password"):
                Directory(call.engine.store, call.engine.accounts).set_password(identifier, str(given["password"]))
        return self.show(call, after)

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        if self.find(call, identifier) is None:
            raise gone(self.kind, identifier)
        Directory(call.engine.store, call.engine.accounts).remove(identifier)
        return Done()


class Roles(Stored):
    """Roles. The built-in ones cannot be changed."""

    services, kind, entity, searchable = ("Roles",), "Role", "role", False
    defaults = {"administrative": False, "mutable": True}
    protected = frozenset(BY_ID)

    def show(self, call: Call, entity: Entity) -> Object:
        value = dict(super().show(call, entity))
        value["permits"] = [permit(name) for name in value.get("permits", ())]
        return value

    def apply(self, call: Call, before: Entity, given: Any) -> Entity:
        if before.id in self.protected:
            raise built_in(before)
        changed = dict(given)
        if "permits" in changed:
            changed["permits"] = [name_of(one) for one in changed["permits"]]
        return super().apply(call, before, {**changed, "mutable": True})


class AssignedRoles(Rows):
    """The roles that a user or group has anywhere."""

    services, kind = ("AssignedRoles",), "Role"

    def rows(self, call: Call) -> Sequence[Object]:
        entities = call.engine.store.entities
        kind, identifier = owner(call)
        held = {one.ref("role") for one in entities.referring((kind, identifier), "permission", kind)}
        roles = Roles()
        return [roles.show(call, one) for one in entities.many("role", sorted(held)).values()]


class RolePermits(Rows):
    """The permits of a role. All that there are stand in each cluster level."""

    services, kind = ("Permits",), "Permit"

    def rows(self, call: Call) -> Sequence[Object]:
        role = call.engine.store.entities.need("role", call.parent_id)
        return [permit(name) for name in role.body.get("permits", ())]

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        name = name_of(given)
        self._change(call, lambda permits: [*(one for one in permits if one != name), name])
        return Made(permit(name))

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        name = name_of({"id": identifier})
        self._change(call, lambda permits: [one for one in permits if one != name])
        return Done()

    def _change(self, call: Call, how: Any) -> None:
        def changed(before: Entity) -> Entity:
            if before.id in BY_ID:
                raise built_in(before)
            return before.with_body(permits=how(before.body.get("permits", ())))

        call.engine.store.entities.change("role", call.parent_id, changed)


HOLDERS = {"User": Referring("user"), "Group": Referring("group")}
"""Below whom permissions are listed by who has them, and not by what they are on."""


class Permissions(Stored):
    """Permissions: on an object (below it), of a user or group, or on the whole system (at the root)."""

    services, kind, entity, unique = ("AssignedPermissions", "SystemPermissions"), "Permission", "permission", False
    refs = {"role": "role", "user": "user", "group": "group"}
    scopes = HOLDERS
    update = Noun.update

    def serves_below(self, parent: str) -> bool:
        return True

    def _scoped(self, call: Call) -> Iterable[Entity]:
        if call.parent_kind in HOLDERS:
            return super()._scoped(call)
        return self.entities(call).children(owner(call), self.entity)

    def _seen(self, call: Call) -> Iterable[Entity]:
        return self._scoped(call)  # who sees the object sees who may use it

    def find(self, call: Call, identifier: str) -> Entity | None:
        found = self.entities(call).get(self.entity, identifier)
        if found is None or (not call.parents and not call.rights.sees(found.key)):
            return None
        if call.parent_kind in HOLDERS:
            return found if call.parent_id in found.refs.get(HOLDERS[call.parent_kind].name, ()) else None
        return found if not call.parents or found.parent == owner(call) else None

    def show(self, call: Call, entity: Entity) -> Object:
        value = {name: held for name, held in super().show(call, entity).items() if name not in ("name", "comment")}
        known = {attribute.name for attribute in model().struct("Permission").attributes}
        if entity.parent and entity.parent[0] in known:
            value[entity.parent[0]] = {"id": entity.parent[1]}
        return value

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        holder, on = self._holder(call, given), None
        if call.parents and call.parent_kind not in HOLDERS:
            on = owner(call)
        else:
            places = [name for name, held in given.items() if name not in self.refs and isinstance(held, dict)]
            on = (places[0], str(given[places[0]]["id"])) if places and given[places[0]].get("id") else None
        made = Permits(self.entities(call)).give(identified(call, "Permission", given, "role"), holder, on)
        return Made(self.show(call, made))

    def _holder(self, call: Call, given: dict[str, Any]) -> tuple[str, str]:
        if call.parent_kind in HOLDERS:
            return owner(call)
        for kind in ("user", "group"):
            held = given.get(kind)
            if held and held.get("id"):
                return kind, str(held["id"])
            if held and held.get("user_name"):
                name, _, profile = str(held["user_name"]).partition("@")
                account = call.engine.store.account(name, profile.removesuffix("-authz") or "internal")
                if account is None:
                    raise NotFound(
                        "api.reference", subject=f"User '{name}'", reason="there is none", remedy="GET users lists them."
                    )
                return "user", account.id
        raise Refused(
            "api.incomplete",
            subject="Permission",
            reason="Permission [user.id|group.id] required for add",
            remedy="Say who gets it.",
        )

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        if self.find(call, identifier) is None:
            raise gone(self.kind, identifier)
        Permits(self.entities(call)).take(identifier)
        return Done()


def name_of(given: Object) -> str:
    """The permit that is meant, by id or name. Raises ``NotFound``."""
    wanted = str(given.get("id") or given.get("name") or "")
    for name, number in PERMITS.items():
        if wanted in (name, str(number)):
            return name
    raise NotFound(
        "api.reference", subject=f"Permit '{wanted[:80]}'", reason="there is none", remedy="A cluster level lists them."
    )


def built_in(entity: Entity) -> Conflict:
    """A role that oVirt brings along."""
    return Conflict(
        "api.built-in",
        subject=f"Role {entity.name}",
        reason="it is built in and cannot be changed",
        remedy="Make one of your own.",
    )


PEOPLE = (Users, Roles, AssignedRoles, RolePermits, Permissions)
"""All of this file."""
