"""Restore a snapshot: preview and commit in one, without a moment between in which somebody could change their mind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from appliance.codec import encode
from engine.jobs.job import Planned, Step, Told, Work
from engine.jobs.layers import memory_domains, own_layer
from engine.jobs.places import choose_host, need_active_domain
from engine.jobs.preview import HALF_DROPPED, PreviewSnapshot, commit, doomed, younger_than
from engine.jobs.snapshot_commit import drop_doomed
from engine.jobs.snapshot_create import snapshot_locks
from engine.jobs.snapshot_preview import BranchJob, begun, branch, check_preview, unbranch
from engine.store.entities import Entities
from engine.store.jobs import Lock


def _look(work: Work) -> Mapping[str, Any]:
    given = work.parameters(PreviewSnapshot)
    before = {one.id: own_layer(one) for one in work.entities.many("disk", given.images).values()}
    found = doomed(work.entities, given.vm_id, given.snapshot_id, before)
    return {**choose_host(work), "doomed": encode(found)}


class SnapshotRestore(BranchJob):
    """The snapshot is ``locked`` meanwhile and ``ok`` at the end; the younger ones have gone. If what goes cannot be dropped
    to its end, the VM previews the snapshot, which can then only be committed."""

    name = "snapshot.restore"
    steps = (
        Step("look", _look, weight=0.1),
        Step("branch", branch, unbranch),
        Step("drop", drop_doomed, is_final=True),
    )
    told = Told(
        "USER_TRY_BACK_TO_SNAPSHOT",
        "USER_COMMIT_RESTORE_FROM_SNAPSHOT_FINISH_SUCCESS",
        "USER_TRY_BACK_TO_SNAPSHOT_FINISH_FAILURE",
    )

    def describe(self, entities: Entities, given: PreviewSnapshot) -> str:
        snapshot, vm = entities.name_of("snapshot", given.snapshot_id), entities.name_of("vm", given.vm_id)
        return f"Restoring VM {vm} from Snapshot {snapshot}"

    def check(self, entities: Entities, given: PreviewSnapshot) -> None:
        check_preview(entities, given, "restore Snapshot")
        for domain in memory_domains(younger_than(entities, given.vm_id, given.snapshot_id)):
            need_active_domain(entities, domain, "restore Snapshot")

    def locks(self, entities: Entities, given: PreviewSnapshot) -> Sequence[Lock]:
        younger = younger_than(entities, given.vm_id, given.snapshot_id)
        held = snapshot_locks(entities, given.vm_id, given.snapshot_id, given.images, memory_domains(younger))
        return *held, *(Lock("snapshot", one.id) for one in younger)

    def plan(self, entities: Entities, given: PreviewSnapshot) -> Sequence[Planned]:
        return (
            Planned("look", "Finding the layers that go"),
            Planned("branch", "Putting new layers over the snapshot's"),
            Planned("drop", "Removing what was written after the snapshot"),
        )

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = begun(work)
        commit(work.entities, given.vm_id)
        return {"snapshot": given.snapshot_id}

    def given_up(self, work: Work) -> None:
        if work.is_returnable:
            work.log("its new layers could not be removed; nothing uses them, and the VM is as before")
            return
        given = begun(work)
        work.entities.change("snapshot", given.before_id, lambda one: replace(one, status=HALF_DROPPED))
