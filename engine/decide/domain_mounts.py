"""Which storage domains a host lacks, and which it should not have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from appliance.model.domain import DomainState


@dataclass(frozen=True)
class Wanted:
    """A domain: under which name it is mounted, and whether this host is to have it."""

    id: str
    mount: str
    here: bool


@dataclass(frozen=True)
class Difference:
    """Ids of domains: ``there`` are mounted as they should be, ``missing`` and ``needless`` are not."""

    there: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    needless: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.needless)


def difference(wanted: Iterable[Wanted], states: Mapping[str, DomainState]) -> Difference:
    """What a host has (mount → state) against what it is to have. A mount that bears another domain's mark, or that does not
    answer, is none."""
    there: list[str] = []
    missing: list[str] = []
    needless: list[str] = []
    for one in wanted:
        state = states.get(one.mount)
        is_mounted = state is not None and state.mounted
        is_good = state is not None and state.answers and state.mark is not None and state.mark.id == one.id
        if one.here:
            (there if is_mounted and is_good else missing).append(one.id)
        elif is_mounted:
            needless.append(one.id)
    return Difference(tuple(there), tuple(missing), tuple(needless))
