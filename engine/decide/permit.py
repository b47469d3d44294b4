"""Who may do what on which object, and why. Pure: grants and the object's place in the tree come in as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.decide.roles import Role

Key = tuple[str, str]
"""(kind, id)."""
SYSTEM: Key = ("system", "aaa00000-0000-0000-0000-123456789aaa")
"""The top of the tree, under oVirt's id of it."""


@dataclass(frozen=True)
class Grant:
    """A role on an object; ``to`` says through what the user has it (their own name, or a group's)."""

    role: Role
    on: Key
    to: str = ""


@dataclass(frozen=True)
class Verdict:
    """``reason`` is a sentence for people, also when it is allowed."""

    allowed: bool
    reason: str


def may(grants: Iterable[Grant], permit: str, chain: Sequence[Key]) -> Verdict:
    """Whether ``grants`` allow ``permit`` on an object.

    ``chain``: the object, and all that it lies below up to :data:`SYSTEM`, the nearest first. To create, it is the chain of
    the object in which the new one will be.
    """
    places = {key: number for number, key in enumerate(chain)}
    found = [one for one in grants if permit in one.role.permits and one.on in places]
    if found:
        nearest = min(found, key=lambda one: places[one.on])
        where = "itself" if places[nearest.on] == 0 else f"its {nearest.on[0].replace('_', ' ')}"
        return Verdict(True, f"{nearest.to or 'the user'} has role {nearest.role.name} on {where}")
    return Verdict(False, f"no role with permit {permit} on it, nor on {above(chain)}")


def above(chain: Sequence[Key]) -> str:
    """The kinds above an object in words, each once: ``cluster, data center, system``."""
    kinds = list(dict.fromkeys(kind.replace("_", " ") for kind, _id in chain[1:]))
    return ", ".join(kinds) or "the system"


def is_administrator(grants: Iterable[Grant]) -> bool:
    """Whether the user has an administrative role anywhere: such may ask without ``Filter: true``."""
    return any(one.role.is_admin for one in grants)


@dataclass(frozen=True)
class Reach:
    """What somebody sees of a kind: ``everything``, or ``ids`` of it, and all below the ``roots`` (kind → ids)."""

    everything: bool
    ids: frozenset[str] = frozenset()
    roots: Mapping[str, frozenset[str]] | None = None


Asking = Literal["all", "own"]
"""``all``: as an administrator looks; ``own``: as ``Filter: true`` asks."""


def reach(grants: Iterable[Grant], kind: str, asking: Asking) -> Reach:
    """What grants let somebody see of ``kind``.

    An administrator of the system who does not ask for their own sees everything. All others see what they have a role on,
    and what lies below it if that role shows it. (oVirt lets every kind of administrator see everything. We do not, because
    the administrator of one tenant's cluster has no business with another's.)
    """
    given = tuple(grants)
    if any(one.on == SYSTEM and one.role.shows_below and (asking == "own" or one.role.is_admin) for one in given):
        return Reach(True)
    own = frozenset(one.on[1] for one in given if one.on[0] == kind)
    roots: dict[str, set[str]] = {}
    for one in given:
        if one.role.shows_below and one.on != SYSTEM and one.on[0] != kind:
            roots.setdefault(one.on[0], set()).add(one.on[1])
    return Reach(False, own, {name: frozenset(ids) for name, ids in roots.items()})
