"""Let a host that was evicted use its storage domains again, once nothing of the time before is left on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from appliance import layout
from appliance.errors import Conflict
from engine.decide.schedule_fence import Fate, may_return
from engine.decide.schedule_words import listed
from engine.jobs.evicted import EVICTED, record_of
from engine.jobs.host_evict import OnHost, OnHostJob, refuse, through
from engine.jobs.job import Planned, Step, Told, Work
from engine.store.entities import Entities
from engine.store.entity import Entity
from gluster.plan import REPLICA


def _clean(work: Work) -> Mapping[str, Any]:
    """End what is left of its VMs: cut off for good, they only hold open files that must never be written again."""
    given = work.parameters(OnHost)
    ours = work.entities.many("vm", [one.id.lower() for one in _there(work, given)])
    with work.at(given.name) as node:
        for state in _there(work, given):
            if state.id.lower() in ours:
                work.log(f"ending what is left of VM {ours[state.id.lower()].name}")
                node.vm_destroy(state.name)
    left = frozenset(one.id for one in _there(work, given))
    # No boot is given: whatever runs there now must be gone, a QEMU of before or one that somebody started meanwhile.
    verdict = may_return(Fate(given.host_id, given.name, answers=True, vms=left), "")
    if not verdict.certain:
        raise Conflict(
            "host.not-clean",
            subject=f"host {given.name}",
            reason=f"{verdict.reason} ({listed(left)})",
            remedy="End them on that host with virsh, or reboot it.",
        )
    return {"host": through(work, given)}


def _there(work: Work, given: OnHost) -> list[Any]:
    return [one for one in work.nodes.vms(given.name).vms() if one.name != layout.ENGINE_VM_NAME]


def _admit(work: Work) -> None:
    given = work.parameters(OnHost)
    refuse(work, through(work, given), given, is_out=False)


def _mount(work: Work) -> None:
    """Its mounts have ended with the eviction (one that lives is left alone); its self-heal daemon has not, and does not ask
    bricks again that have refused it."""
    given = work.parameters(OnHost)
    names = [one.name for one in work.nodes.reports()][:REPLICA]
    servers = tuple(sorted(names, key=lambda name: name != given.name))  # as the installer orders them: itself first
    for volume in sorted(set(given.domains.values())):
        work.nodes.pools(given.name).mount_volume(volume, servers)
    work.nodes.pools(given.name).gluster_renew_healer()


class HostAdmit(OnHostJob):
    """The host may use its domains again at the end. If the mounts cannot be made it is let in all the same, and tried
    again."""

    name = "host.admit"
    steps = (
        Step("clean", _clean),
        Step("admit", _admit, is_final=True),
        Step("mount", _mount, is_final=True),
    )
    told = Told("", "TRIVET_HOST_ADMITTED", "TRIVET_HOST_ADMISSION_FAILED")

    def describe(self, entities: Entities, given: OnHost) -> str:
        return f"Admitting Host {given.name} to {listed(given.domains)}"

    def check(self, entities: Entities, given: OnHost) -> None:
        entities.need("host", given.host_id)

    def plan(self, entities: Entities, given: OnHost) -> Sequence[Planned]:
        return (
            Planned("clean", "Ending what is left of its VMs"),
            Planned("admit", f"Letting it use {listed(given.domains)}"),
            Planned("mount", "Mounting its volumes"),
        )

    def finish(self, work: Work) -> Mapping[str, Any]:
        work.entities.change("host", work.parameters(OnHost).host_id, lambda host: host.without(EVICTED))
        return {}


def needs_admission(host: Entity, address: str, refused: frozenset[str]) -> bool:
    """Whether a host that answers is still shut out: by our record, or by what a broken-off eviction left in the pool."""
    return bool(record_of(host)) or address in refused
