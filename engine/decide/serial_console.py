"""Serial consoles: what somebody asks for, whether it can be had now, and what comes after a line has ended. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from appliance.errors import Conflict, Refused, TrivetError

HERE = frozenset({"up", "powering_up", "powering_down", "paused", "reboot_in_progress", "migrating", "not_responding"})
"""Statuses of a VM that has a machine, and with it a line."""
BETWEEN = frozenset({"migrating", "unknown", "wait_for_launch", "reboot_in_progress"})
"""Statuses out of which one with another host may come by itself."""
MOVE_S = 30.0
"""How long a line is looked for again: the follower learns of a move within a few seconds, a silent host is one after 15."""
USAGE = "connect --vm-id ID | connect --vm-name NAME | list | nothing at all for a menu"


@dataclass(frozen=True)
class Wanted:
    """``vm``: an id or a name, as ``by`` says."""

    what: Literal["menu", "list", "connect"]
    by: Literal["", "id", "name"] = ""
    vm: str = ""


@dataclass(frozen=True)
class Seen:
    """A VM as it is now. ``is_ours``: the engine's own."""

    id: str
    name: str
    status: str
    host: str = ""
    """Name of its host; empty: none is known."""
    has_console: bool = False
    is_ours: bool = False


@dataclass(frozen=True)
class Next:
    """``attach``: try it; ``wait``: look again; ``end``: it is over, and why."""

    what: Literal["attach", "wait", "end"]
    reason: str = ""


def wanted(command: str) -> Wanted:
    """What stands behind ``ssh … ovirt-vmconsole@engine``: oVirt's words. Raises ``Refused`` (``console.usage``)."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise _usage(command) from error
    if not words:
        return Wanted("menu")
    if words == ["list"]:
        return Wanted("list")
    if words[0] == "connect":
        option, _, value = words[1].partition("=") if len(words) == 2 else ("", "", "")
        if len(words) == 3:
            option, value = words[1:]
        if option in ("--vm-id", "--vm-name") and value:
            return Wanted("connect", "id" if option == "--vm-id" else "name", value)
    raise _usage(command)


def _usage(command: str) -> Refused:
    reason = f"{command[:200]!r} is not understood"
    return Refused("console.usage", subject="the command", reason=reason, remedy=f"Say: {USAGE}.")


def has_console(body: Mapping[str, Any]) -> bool:
    """Whether a VM's definition (of the machine that runs) has a serial console."""
    return bool((body.get("console") or {}).get("enabled"))


def refusal(vm: Seen) -> TrivetError | None:
    """Why its console cannot be had now; None: it can be tried."""
    if vm.is_ours:
        reason, remedy = "it is the engine's own VM", "Look at it on its host: /var/log/libvirt/qemu, `trivet ha status`."
    elif not vm.has_console:
        reason, remedy = "it has no serial console", "Switch it on (console.enabled) and start the VM anew."
    elif vm.status not in HERE:
        reason, remedy = f"it is {vm.status.replace('_', ' ') or 'down'}", "Start it first."
    elif not vm.host:
        reason, remedy = "nobody knows on which host it is just now", "Try again in a few seconds."
    else:
        return None
    return Conflict("console.not-now", subject=f"VM {vm.name}", reason=reason, remedy=remedy)


def after(vm: Seen | None, waited_s: float, said: str = "") -> Next:
    """What comes after a line has ended without anybody asking for it. ``said``: what the last try to get it again said."""
    if vm is None:
        return Next("end", "it has been removed")
    if vm.status not in HERE and vm.status not in BETWEEN:
        return Next("end", f"it is {vm.status.replace('_', ' ') or 'down'}")
    if waited_s > MOVE_S:
        return Next("end", said or f"it is {vm.status.replace('_', ' ')} and its console did not come back")
    if vm.status not in HERE or not vm.host:
        return Next("wait")
    return Next("attach")


def listed(vms: Sequence[Seen]) -> str:
    """The VMs whose consoles one may have, numbered."""
    if not vms:
        return "No VM whose serial console you may have is running.\n"
    width = max(len(vm.name) for vm in vms)
    return "".join(f"{number:2}  {vm.name:{width}}  {vm.id}\n" for number, vm in enumerate(vms))
