"""Groups of the engine's own directory, and who is in which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance.errors import Refused
from engine.api.documents import Object
from engine.api.noun import Call, Done, Made, Noun
from engine.api.nouns.built_in import domain
from engine.api.observed import Rows
from engine.api.parameters import EVERY
from engine.api.stored import Held, ReadOnlyStored, Stored
from engine.decide.roles import EVERYONE
from engine.store.entity import Entity
from engine.store.permissions import Permits
from engine.users import DOMAIN


class Groups(Stored):
    """The groups that this engine knows. To add one of the directory is to know it; ours is the only one, so one that is
    not there yet is made. Users are put into groups with ``PUT users/{id}``."""

    services, kind, entity = ("Groups",), "Group", "group"
    defaults = {"namespace": "*", "domain": {"name": f"{DOMAIN}-authz"}}
    protected = frozenset({EVERYONE})
    update = Noun.update

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        if given["domain"]["id"] != domain(DOMAIN)["id"]:
            raise Refused(
                "group.unknown",
                subject=f"group {str(given['name'])[:80]}",
                reason="Cannot add Group. The directory has none of that name",
                remedy=f"Groups are made in the domain {DOMAIN}.",
            )
        return super().add(call, {name: value for name, value in given.items() if name != "domain"})

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        """With its permissions; who is in it is in it no more."""
        entities, key = self.entities(call), ("group", self.mine(call, identifier).id)

        def leave(user: Entity) -> Entity:
            return user.with_refs(groups=tuple(one for one in user.refs["groups"] if one != identifier))

        with entities.connection.transaction():
            if identifier not in self.protected:
                Permits(entities).take_all(key)
                for user in entities.referring(key, "user", "groups"):
                    entities.change("user", user.id, leave)
            return super().remove(call, identifier, given)


class UserGroups(ReadOnlyStored):
    """The groups that a user is in."""

    services, kind, entity = ("DomainUserGroups",), "Group", "group"
    defaults = Groups.defaults
    scopes = {"User": Held("groups")}


class DomainUsers(Rows):
    """Who is in a directory: ours has nobody whom this engine does not know."""

    services, kind = ("DomainUsers",), "User"

    def rows(self, call: Call) -> Sequence[Object]:
        seen = call.nouns["Users"].list(call.below("Users", ""), EVERY)
        return [one for one in seen if domain(_directory(one))["id"] == call.parent_id]


class DomainGroups(Rows):
    """The groups of a directory: ours alone has any."""

    services, kind = ("DomainGroups",), "Group"

    def rows(self, call: Call) -> Sequence[Object]:
        if call.parent_id != domain(DOMAIN)["id"]:
            return ()
        return call.nouns["Groups"].list(call.below("Groups", ""), EVERY)


def _directory(user: Object) -> str:
    return str((user.get("domain") or {}).get("name") or DOMAIN).removesuffix("-authz")


GROUPS = (Groups, UserGroups, DomainUsers, DomainGroups)
"""All of this file."""
