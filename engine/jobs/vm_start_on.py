"""Start a VM on the best host; where that fails, on the next best. Shared by the jobs that start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.errors import Conflict, Failed
from engine.jobs import placing
from engine.jobs.evicted import cannot_write
from engine.jobs.job import Work
from engine.jobs.vm_place import name_of
from engine.jobs.vm_spec import parts_of
from engine.jobs.vm_state import RUN, placed, unplaced

HOSTS_LIMIT = 3
"""Hosts that one start is tried on: what three of the best refuse is the VM's own trouble, and each try may take a
minute."""


def choose_host(
    work: Work,
    vm_id: str,
    hosts: Sequence[str],
    once: Mapping[str, Any] | None = None,
    domains: Sequence[str] = (),
) -> Mapping[str, Any]:
    """Part of a step's ``do``: a host for the VM, written into its row in the same transaction, so that the next placement
    counts it, and so that a repeated step finds it. ``domains``: ids of those that it needs besides its disks'."""
    with work.entities.connection.transaction():
        vm = work.entities.need("vm", vm_id)
        run = vm.body.get(RUN) or {}
        if run.get("job") == work.job_id:
            return {"id": run["host"], "host": name_of(work, str(run["host"]))}
        found = placing.place(work, parts_of(work.entities, vm, once), hosts, domains)
        work.entities.change("vm", vm_id, lambda before: placed(before, found.host, work.job_id))
        work.log(found.reason)
    return {"id": found.host, "host": found.host_name}


def forget_host(work: Work, vm_id: str) -> None:
    """Part of a step's ``undo``."""
    work.entities.change("vm", vm_id, unplaced)


def start_on_best(
    work: Work, vm_id: str, hosts: Sequence[str], once: Mapping[str, Any] | None = None, *, paused: bool = False
) -> Mapping[str, Any]:
    """Part of a step's ``do``: start it on the host in its row. If that host answers that it cannot, nothing of it is left
    there, and the next best is written into the row and tried. Raises what the last one said, with all reasons.

    A host that does not answer may have it: then nothing else is tried.
    """
    while True:
        vm = work.entities.need("vm", vm_id)
        host_id = str(vm.body[RUN]["host"])
        host = name_of(work, host_id)
        try:
            with work.at(host) as node:
                power = node.vm_start(parts_of(work.entities, vm, once).spec(), paused).power
            return {"id": host_id, "host": host, "power": power}
        except Failed as error:
            work.log(f"{host} could not start it: {error}")
            with work.at(host) as node:
                node.vm_destroy(vm_id)
            _next_best(work, vm_id, hosts, once, error)


def status_after(power: str) -> str:
    """A VM's status when its host answered a start so. ``up`` at once: the follower would say nothing else a second later,
    for which everybody would wait."""
    return {"running": "up", "paused": "paused"}.get(power, "powering_up")


def _next_best(work: Work, vm_id: str, hosts: Sequence[str], once: Mapping[str, Any] | None, error: Failed) -> None:
    """Another host in the row, or ``error`` with the reasons of all."""
    with work.entities.connection.transaction():
        vm = work.entities.need("vm", vm_id)
        run = vm.body[RUN]
        tried = {**run.get("tried", {}), str(run["host"]): error.reason}
        left = frozenset(hosts or [one.id for one in work.nodes.reports()]) - set(tried)
        if len(tried) >= HOSTS_LIMIT or not left:
            raise _all_failed(work, tried, error)
        try:
            found = placing.place(work, parts_of(work.entities, vm, once), left)
        except Conflict as refusal:
            if refusal.code != "schedule.no-host":
                raise
            raise _all_failed(work, tried, error) from refusal
        work.entities.change("vm", vm_id, lambda before: placed(before, found.host, work.job_id, tried))
    work.log(f"next: {found.reason}")


def _all_failed(work: Work, tried: Mapping[str, str], error: Failed) -> Failed:
    if len(tried) == 1:
        return error
    said = "; ".join(f"{name_of(work, host)}: {reason}" for host, reason in tried.items())
    return Failed(error.code, subject=error.subject, reason=f"no host could start it: {said}", remedy=error.remedy)


def unstart(work: Work, vm_id: str) -> None:
    """Part of a step's ``undo``: it runs on no host. One that is evicted need not answer: what is left there does no
    harm, and is ended before it is let in again."""
    vm = work.entities.need("vm", vm_id)
    host_id = str((vm.body.get(RUN) or {}).get("host") or "")
    if not host_id:
        return
    host = work.entities.get("host", host_id)
    if cannot_write(work.entities, vm, host):
        work.log(f"host {host.name if host else host_id} is evicted: nothing of it can write there")
        return
    with work.at(name_of(work, host_id)) as node:
        node.vm_destroy(vm_id)
