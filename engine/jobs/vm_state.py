"""What a VM's row says of its run: where it is, since when, what waits for its next start. Pure changes of one entity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.decide.vm_config import with_next_run
from engine.store.entity import Entity

RUN = "trivet_run"
"""In the body: the host that a job has chosen for it, and that job; so that a repeated step chooses no other. While it is
started, also ``tried``: the hosts that could not (id → why)."""
ARRIVED = "arrived_ms"
"""In ``RUN``: when it came to its host by a migration, if it did: its disks were opened then, and not at its start."""
MOVE = "trivet_move"
"""In the body: where a job is moving it."""
MEMORY = "trivet_memory"
"""In the body of a suspended VM: where its memory is (``domain``: id, ``path``)."""
ASKED = "trivet_asked_ms"
"""In the body: when its guest was asked to shut down."""
SEED = "trivet_seed"
"""In the body: the row of cloud-init's CD in its second drive (engine/jobs/seeds.py), from its start until it is down."""
INITIALIZED = "trivet_initialized"
"""In the body: it was started with that CD once, and gets none any more unless somebody asks."""
GROW = "trivet_grow"
"""In the body: what jobs are about to give it while it runs (job → ``sockets``, ``memory``)."""
RESUME = "trivet_resume"
"""In the body of a VM that is down: the memory of a snapshot that its next start goes on from (``domain``: id, ``path``,
``snapshot``: id). Once it has been up its disks are newer, so it is forgotten then."""
GUEST = "trivet_guest"
"""In the body of a VM that runs: what its guest agent said last (:class:`appliance.model.vm_live.GuestInfo` as JSON)."""
FROZEN = "trivet_frozen"
"""In the body of a VM whose guest's file systems are frozen: since when (ms)."""
OF_THE_RUN = (RUN, FROZEN, MOVE, MEMORY, RESUME, ASKED, GROW, GUEST, "run_once", "status_detail")


def placed(vm: Entity, host_id: str, job_id: str, tried: Mapping[str, str] | None = None) -> Entity:
    """It is to run there. ``tried``: hosts on which this start failed already, and why."""
    run = {"host": host_id, "job": job_id, **({"tried": dict(tried)} if tried else {})}
    return vm.with_body(**{RUN: run}).with_refs(host=host_id)


def unplaced(vm: Entity) -> Entity:
    """It runs nowhere."""
    return vm.without(RUN).with_refs(host=())


def started(vm: Entity, status: str, now_ms: int, **more: Any) -> Entity:
    """It runs, with what waited for this start in force."""
    run = {name: value for name, value in (vm.body.get(RUN) or {}).items() if name != "tried"}
    body = {**with_next_run(vm.without(*OF_THE_RUN).body), RUN: run, "start_time": now_ms, **more}
    return replace(vm, body=body, status=status)


def went_down(vm: Entity, now_ms: int) -> Entity:
    """It has ended; what waited for its next start is its definition now."""
    ended = vm.without(*OF_THE_RUN, SEED)
    body = {**with_next_run(ended.body), "stop_time": now_ms}
    return replace(ended, body=body, status="down").with_refs(host=())


def forget_memory(vm: Entity, snapshot_id: str) -> Entity:
    """Its next start does not go on from that snapshot's memory."""
    return vm.without(RESUME) if (vm.body.get(RESUME) or {}).get("snapshot") == snapshot_id else vm
