"""Where a VM is, and what jobs refuse of it because of its state."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from appliance.errors import Conflict, TrivetError, Unavailable
from appliance.model.vm import VmState
from engine.jobs.job import Work
from engine.store.entities import Entities
from engine.store.entity import Entity

DOWN = ("", "down")
ON_A_HOST = frozenset({
    "up", "powering_up", "powering_down", "paused", "migrating", "reboot_in_progress", "not_responding", "unknown",
    "wait_for_launch", "saving_state", "restoring_state",
})  # fmt: skip
"""Statuses of a VM that has a QEMU, or may have one."""
ANSWERING = frozenset({"up", "powering_up", "reboot_in_progress"})
"""Statuses in which its guest can be asked for something, and its devices change."""
ENGINE_MARK = "trivet_engine"
"""In the body of the engine's own VM."""
THERE = ("running", "paused", "paused-no-space", "shutting-down", "migrating")
"""Powers of a VM that is at a host, and not only arriving there."""


def runs(vm: Entity) -> bool:
    """Whether it has a QEMU somewhere."""
    return vm.status in ON_A_HOST


def need_vm(entities: Entities, vm_id: str, action: str, wanted: Collection[str]) -> Entity:
    """The VM, if its status is one of ``wanted``. Raises ``NotFound``; ``Conflict`` ``vm.engine``, ``vm.status``."""
    vm = entities.need("vm", vm_id)
    if ENGINE_MARK in vm.body:
        raise Conflict(
            "vm.engine",
            subject=f"VM {vm.name}",
            reason=f"Cannot {action}. It is the engine's own VM, which the hosts' brokers start, move and keep",
            remedy="Use `trivet ha` on a node.",
        )
    if vm.status not in wanted:
        raise Conflict(
            "vm.status",
            subject=f"VM {vm.name}",
            reason=f"Cannot {action}. {WORDS.get(vm.status or 'down', f'VM is {vm.status}')}",
            remedy=f"Wait until it is {' or '.join(sorted(one for one in wanted if one))}.",
            facts={"status": vm.status or "down"},
        )
    return vm


WORDS = {"up": "VM is running", "down": "VM is not running", "migrating": "VM is being migrated"}
"""oVirt's sentences for a state that does not allow it: clients look for "VM is running"."""


def name_of(work: Work, host_id: str) -> str:
    """The name under which a host is reached. Raises ``Unavailable`` ``job.host-unknown``."""
    found = next((one.name for one in work.nodes.reports() if one.id == host_id), "")
    if not found:
        raise Unavailable(
            "job.host-unknown",
            subject=f"host {host_id}",
            reason="it is no member of the cluster",
            remedy="Nothing is needed.",
        )
    return found


def id_of(work: Work, host: str) -> str:
    """A host's id by its name; empty: it is no member any more."""
    return next((one.id for one in work.nodes.reports() if one.name == host), "")


def host_of(work: Work, vm: Entity) -> str:
    """The name of the host that has the VM, as far as it is known."""
    return name_of(work, vm.ref("host"))


def state_at(work: Work, host: str, vm_id: str) -> VmState | None:
    """The VM as the host has it now; asked there, not remembered."""
    return next((one for one in work.nodes.vms(host).vms() if one.id.lower() == vm_id), None)


def found_at(work: Work, hosts: Sequence[str], vm_id: str) -> str:
    """Which of the hosts has the VM now; empty: none. Raises ``Unavailable`` when one that may have it does not answer and
    none of the others has it."""
    silent: TrivetError | None = None
    for host in dict.fromkeys(hosts):
        try:
            found = state_at(work, host, vm_id)
        except Unavailable as error:
            silent = error
            continue
        if found is not None and found.power in THERE:
            return host
    if silent is not None:
        raise silent
    return ""
