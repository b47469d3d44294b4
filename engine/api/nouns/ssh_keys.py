"""Keys with which people come to serial consoles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from engine.api.documents import Object
from engine.api.noun import Call, Done, Made
from engine.api.stored import Child, Stored
from engine.decide.ssh_key import identity
from engine.store.entity import Entity


class SshPublicKeys(Stored):
    """Keys of a user for serial consoles: their own, or those of others for who administers users. One key is one person's,
    because by it we know who comes."""

    services, kind, entity, unique = ("SshPublicKeys",), "SshPublicKey", "ssh_public_key", False
    scopes, parent_attribute = {"User": Child()}, "user"

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        _need_own(call)
        return super().add(call, given)

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        _need_own(call)
        return super().update(call, identifier, given)

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        _need_own(call)
        return super().remove(call, identifier, given)

    def _keyed(self, entity: Entity) -> Entity:
        content = str(entity.body.get("content") or "").strip()
        return replace(entity.with_body(content=content), unique_key=identity(content))


def _need_own(call: Call) -> None:
    """Everybody may edit their own profile; who could add a key to somebody else's would be that person at each console."""
    if call.parent_id != call.account.id:
        call.rights.need("manipulate_users", ("user", call.parent_id))


SSH_KEYS = (SshPublicKeys,)
"""All of this file."""
