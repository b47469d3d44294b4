"""What a VM's definition may be, and which of its changes wait for the next start. Pure; attributes are the v4 model's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from appliance.errors import Conflict, Refused
from engine.decide import guest_init
from engine.decide.merge import merged

MIB = 1024**2
NAME = re.compile(r"[\w.-]{1,255}")
"""oVirt's rule: letters and digits of any language, point, hyphen, underscore."""
CPUS_LIMIT = 255
"""QEMU's q35 without an interrupt remapper; oVirt's per-VM limit is higher only with one."""
MEMORY_LEAST = 16 * MIB
"""Below it no firmware comes up: somebody wrote MiB where bytes are meant."""
MEMORY_GROWTH = 4
"""oVirt's factor: how much more memory a VM may be given while it runs, when nobody says."""

NEXT = "trivet_next"
"""In the body: what was changed while it ran. Names that begin so are ours, and no codec writes them."""
NEXT_EXISTS = "next_run_configuration_exists"
AT_ONCE = frozenset({
    "name", "description", "comment", "delete_protected", "high_availability", "stateless", "placement_policy",
    "migration", "migration_downtime", "custom_properties", "storage_error_resume_behaviour", "large_icon", "small_icon",
    "cpu_profile", "quota", "stop_reason", "sso", "lease", "vm_pool", "instance_type", "start_paused", "origin",
    "use_latest_template_version", "initialization",
})  # fmt: skip
"""What changes nothing of the machine that runs."""
TOLD = frozenset({
    "id", "href", "status", "status_detail", "host", "creation_time", "start_time", "stop_time", "fqdn", "run_once",
    "has_illegal_images", "guest_operating_system", "guest_time_zone", "original_template", "dynamic_cpu", NEXT_EXISTS,
})  # fmt: skip
"""What the engine says of a VM and nobody else: a client that sends back what it read is not refused for it."""


def new_body(given: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """The definition of a new VM: what the client wants over its template (or instance type). Memory that is not spelt out
    follows from what is."""
    body: dict[str, Any] = merged(base, given)
    said = given.get("memory_policy") or {}
    if "memory" in given or not body.get("memory_policy"):
        memory = int(body["memory"])
        policy = dict(body.get("memory_policy") or {})
        policy["guaranteed"] = said.get("guaranteed", memory)
        policy["max"] = said.get("max", MEMORY_GROWTH * memory)
        policy.setdefault("ballooning", True)
        body["memory_policy"] = policy
    return body


def check(name: str, body: Mapping[str, Any], action: str) -> None:
    """Refuse (``vm.name``, ``vm.memory``, ``vm.cpus``, ``vm.initialization``) what no host could start.
    ``action``: ``add VM``, ``edit VM``."""
    if not NAME.fullmatch(name):
        reason = f"Cannot {action}. Its name has 1 to 255 letters, digits, '.', '-' and '_', and nothing else"
        raise Refused("vm.name", subject=f"VM '{name[:60]}'", reason=reason, remedy="Choose another name.")
    memory = int(body.get("memory") or 0)
    policy = body.get("memory_policy") or {}
    guaranteed, most = int(policy.get("guaranteed") or 0), int(policy.get("max") or memory)
    if memory < MEMORY_LEAST:
        raise _refuse("vm.memory", name, f"Cannot {action}. Its memory of {memory} bytes is below 16 MiB", "It is in bytes.")
    if guaranteed > memory:
        reason = f"Cannot {action}. Physical Memory Guaranteed cannot exceed Memory Size ({guaranteed} > {memory} bytes)"
        raise _refuse("vm.memory", name, reason, "Lower memory_policy.guaranteed, or raise memory.")
    if most < memory:
        reason = f"Cannot {action}. Maximum memory cannot be less than Memory Size ({most} < {memory} bytes)"
        raise _refuse("vm.memory", name, reason, "Raise memory_policy.max.")
    cpus = cpu_count(body)
    if not 1 <= cpus <= CPUS_LIMIT:
        reason = f"Cannot {action}. {cpus} CPUs are not between 1 and {CPUS_LIMIT}"
        raise _refuse("vm.cpus", name, reason, "Correct cpu.topology.")
    guest_init.check(name, body, action)


def cpu_count(body: Mapping[str, Any]) -> int:
    """Virtual CPUs: sockets × cores × threads."""
    topology = (body.get("cpu") or {}).get("topology") or {}
    count = 1
    for part in ("sockets", "cores", "threads"):
        value = topology.get(part)
        count *= 1 if value is None else int(value)
    return count


def with_room(body: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The change with a maximum that holds the new memory, where nobody names one: as oVirt does, because clients that raise
    the memory say nothing else."""
    said = given.get("memory_policy") or {}
    most = int((with_next_run(body).get("memory_policy") or {}).get("max") or 0)
    memory = int(given.get("memory") or 0)
    if memory <= most or said.get("max") is not None or not most:
        return dict(given)
    return {**given, "memory_policy": {**said, "max": MEMORY_GROWTH * memory}}


def with_changes(
    body: Mapping[str, Any], given: Mapping[str, Any], *, runs: bool, all_later: bool = False
) -> tuple[dict[str, Any], frozenset[str]]:
    """The body after a change, and the names of what waits for the next start. ``all_later``: the client asked for it.

    While it runs, what the machine is made of is kept beside the definition that it runs with; a change back to that takes
    the waiting one away.
    """
    after = dict(body)
    waiting = dict(after.get(NEXT) or {})
    for name, value in with_room(body, given).items():
        if not runs or (name in AT_ONCE and not all_later):
            after[name] = merged(after.get(name), value)
            waiting.pop(name, None)
            continue
        wanted = merged(merged(after.get(name), waiting.get(name)) if name in waiting else after.get(name), value)
        if wanted == after.get(name):
            waiting.pop(name, None)
        else:
            waiting[name] = wanted
    return _waiting(after, waiting), frozenset(waiting)


def with_next_run(body: Mapping[str, Any]) -> dict[str, Any]:
    """The definition with which it starts next: what waited is in force."""
    after = {**body, **(body.get(NEXT) or {})}
    return _waiting(after, {})


def _waiting(body: dict[str, Any], waiting: Mapping[str, Any]) -> dict[str, Any]:
    body.pop(NEXT, None)
    body.pop(NEXT_EXISTS, None)
    if waiting:
        body |= {NEXT: dict(waiting), NEXT_EXISTS: True}
    return body


def without(given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """``given`` but those."""
    gone = set(names)
    return {name: value for name, value in given.items() if name not in gone}


def check_removable(name: str, body: Mapping[str, Any], status: str) -> None:
    """Refuse (``vm.protected``, ``vm.runs``) to remove it."""
    if body.get("delete_protected"):
        reason = "Cannot remove VM. Delete protection is enabled. In order to delete, disable Delete protection first"
        raise Conflict("vm.protected", subject=f"VM {name}", reason=reason, remedy="Set delete_protected to false.")
    if status not in ("down", ""):
        reason = (
            f"Cannot remove VM. VM is running ({status})" if status != "suspended" else "Cannot remove VM. It is suspended"
        )
        raise Conflict("vm.runs", subject=f"VM {name}", reason=reason, remedy="Stop it first.")


def _refuse(code: str, name: str, reason: str, remedy: str) -> Refused:
    return Refused(code, subject=f"VM {name}", reason=reason, remedy=remedy)
