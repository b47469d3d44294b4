"""A person's word that a host has been rebooted, or is off: kept in its row until it answers again, whatever it says then.

A host that answers starts VMs anew, in a boot that nobody has confirmed the end of: so the word goes with its first answer,
before anything can be placed there (:class:`engine.jobs.follow_vms.VmFollower`). Hence all that may have run there while the
word stands ran in the boot that it is about, also when this engine never heard that boot's id: it may have started since.
"""

from __future__ import annotations

from engine.store.entities import Entities
from engine.store.entity import Entity

ENDED = "trivet_ended"
"""In a host's body: ``boot`` (the id of its last boot that was heard, or a word for it), ``who``, ``wall_ms``."""


def confirm(entities: Entities, host_id: str, boot_id: str, who: str, wall_ms: int) -> Entity:
    """Write it down."""
    record = {"boot": boot_id or f"the boot before {wall_ms}", "who": who, "wall_ms": wall_ms}
    return entities.change("host", host_id, lambda host: host.with_body(**{ENDED: record}))


def boot_of(host: Entity | None) -> str:
    """The boot whose end was confirmed; empty: none."""
    return str((host.body.get(ENDED) or {}).get("boot") or "") if host is not None else ""


def ended_boots(host: Entity | None) -> dict[str, str]:
    """Boot → who confirmed its end, as :class:`engine.decide.schedule_fence.Fate` has it."""
    boot = boot_of(host)
    return {boot: str(host.body[ENDED]["who"])} if host is not None and boot else {}


def forget(entities: Entities, host: Entity) -> None:
    """The host answers: the word was about the time before."""
    if ENDED in host.body:
        entities.change(*host.key, lambda before: before.without(ENDED))
