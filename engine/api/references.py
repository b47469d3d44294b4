"""References in bodies: by id or by name, resolved to ids before a noun sees them. An unknown one is a 404 with a Fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.errors import NotFound, Refused
from engine.api import mandatory
from engine.api.documents import BASE
from engine.api.model import model
from engine.api.noun import Call

REFERENCE = frozenset({"id", "name", "href"})
"""An object with nothing else in it must point at one that exists; with more in it, it may describe a new one."""
LITERAL: Mapping[tuple[str, str], frozenset[str]] = {
    ("Vm", "clone"): frozenset({"vm"}),
    ("Vm", "export"): frozenset({"host"}),
    ("Disk", "copy"): frozenset({"disk"}),
    ("StorageDomainDisk", "copy"): frozenset({"disk"}),
    ("AttachedStorageDomainDisk", "copy"): frozenset({"disk"}),
    ("StorageDomainVm", "register"): frozenset({"vm", "registration_configuration"}),
    ("StorageDomainTemplate", "register"): frozenset({"template", "registration_configuration"}),
    ("StorageDomainVm", "import"): frozenset({"vm"}),
    ("StorageDomainTemplate", "import"): frozenset({"template"}),
    ("Image", "import"): frozenset({"disk", "template"}),
    ("StorageDomainImage", "import"): frozenset({"disk", "template"}),
    ("ImportCandidates", "add"): frozenset({"vm", "template"}),
}
"""(service, action) → attributes that name what is to be made, although they look like references."""
NEW_INSIDE = frozenset({("DiskAttachment", "disk"), ("Nic", "network")})
"""(struct, attribute) that may be new: a name alone is kept when nobody has it."""


def resolve(call: Call, kind: str, given: Mapping[str, Any], service: str = "", action: str = "") -> dict[str, Any]:
    """``given`` with every reference to an object at the root as ``{"id": …}``. Raises ``NotFound`` ``api.reference``."""
    literal = LITERAL.get((service, action), frozenset())
    found = dict(given)
    for attribute in model().struct(kind).attributes:
        held = found.get(attribute.name)
        if held is None or attribute.kind not in model().structs or attribute.name in literal:
            continue
        is_new_allowed = (kind, attribute.name) in NEW_INSIDE
        if attribute.many:
            found[attribute.name] = [_one(call, attribute.kind, one, is_new_allowed) for one in held]
        else:
            found[attribute.name] = _one(call, attribute.kind, held, is_new_allowed)
    return found


def _one(call: Call, kind: str, given: Mapping[str, Any], is_new_allowed: bool) -> dict[str, Any]:
    path = model().roots.get(kind)
    noun = call.nouns.get(model().services["System"].locators[path]) if path else None
    if path is None or noun is None or not noun.serves("get") or not given:
        return dict(given) if path and given.keys() <= REFERENCE else resolve(call, kind, given)
    at_root = call.below(noun.services[0], f"{BASE}/{path}")
    name = str(given.get("name") or "")
    if not given.keys() <= REFERENCE:
        return _described(resolve(call, kind, given), "" if is_new_allowed or not name else noun.named(at_root, name))
    identifier = given.get("id") or ("" if name else str(given.get("href") or "").rstrip("/").rpartition("/")[2])
    if identifier:
        if not noun.exists(at_root, identifier):
            raise unknown(kind, identifier, path)
        return {"id": identifier}
    named = noun.named(at_root, name)
    if named is None:
        if is_new_allowed:
            return dict(given)
        raise unknown(kind, name, path)
    return {"id": named}


def _described(given: dict[str, Any], named: str | None) -> dict[str, Any]:
    """One of which a client says more than who it is, as those do that send back what they have read: ``named`` is the id
    of the one that has its name."""
    return {"id": named, **given} if named else given


def identified(call: Call, kind: str, given: Mapping[str, Any], attribute: str) -> str:
    """The id of what ``given`` names, whatever else a client says of it. Raises ``NotFound`` ``api.reference``, ``Refused``
    ``api.incomplete``."""
    said = {name: value for name, value in given[attribute].items() if name in REFERENCE}
    found = resolve(call, kind, {attribute: said})[attribute]
    if not found.get("id"):
        reason = f"{kind} [{mandatory.shown(f'{attribute}.{mandatory.REF}')}] required"
        raise Refused("api.incomplete", subject=kind, reason=reason, remedy="Name one by its id or its name.")
    return str(found["id"])


def unknown(kind: str, wanted: str, path: str) -> NotFound:
    """There is no such object, although a body refers to it."""
    return NotFound(
        "api.reference",
        subject=f"{kind} '{wanted[:200]}'",
        reason="there is none",
        remedy=f"GET {BASE}/{path} lists them.",
        facts={"kind": kind, "wanted": wanted[:200]},
    )
