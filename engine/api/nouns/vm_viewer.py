"""Open a VM's screen: ``ticket`` and ``remoteviewerconnectionfile``.

The host is asked here and not by a job: a job's journal would keep the word.
"""

from __future__ import annotations

import secrets
import string
from typing import Any

from appliance.errors import Conflict, Unavailable
from appliance.model.cluster import Member
from appliance.model.vm_live import VncTicket
from engine.api.documents import Object
from engine.api.noun import Call, Done
from engine.api.nouns import vm_making
from engine.api.stored import gone
from engine.api.tell import tell
from engine.decide.viewer import TICKET_CHARACTERS, VIEWER_S, Screen, viewer_file, wanted_ticket
from engine.jobs.vm_place import need_vm
from engine.jobs.vm_spec import CONSOLES, SCREENS
from engine.store.entity import Entity

SEEN = frozenset({"up", "powering_up", "powering_down", "paused", "reboot_in_progress", "migrating"})
"""Statuses in which a VM has a screen to look at."""
LETTERS = string.ascii_letters + string.digits
VIEWER_TYPE = "application/x-virt-viewer"
"""The media type of the connection file: v4 gives it to who asks for a console in this form."""


def drawn() -> str:
    """A word that nobody knows."""
    return "".join(secrets.choice(LETTERS) for _ in range(TICKET_CHARACTERS))


def ticket(noun: Any, call: Call, identifier: str, given: Object) -> Done:
    """Of a console: a word for its screen. The host forgets it when it ends; only the caller is told."""
    vm = _vm(call, identifier)
    word, valid_s = wanted_ticket(given.get("ticket") or {}, drawn(), f"VM {vm.name}")
    _open(call, vm, word, valid_s)
    return Done(values={"ticket": {"value": word, "expiry": valid_s}})


def ticket_of_vm(noun: Any, call: Call, identifier: str, given: Object) -> Done:
    """The same, of the VM: what older clients ask for."""
    return ticket(noun, call.below("VmGraphicsConsoles", "", ("Vm", identifier)), SCREENS[0].encode().hex(), given)


def connection_file(noun: Any, call: Call, identifier: str, given: Object) -> Done:
    """The file for ``remote-viewer``, with a ticket that is short-lived."""
    return Done(values={"remote_viewer_connection_file": connection_text(call, identifier)})


def connection_text(call: Call, identifier: str) -> str:
    """The same as a text."""
    vm, word = _vm(call, identifier), drawn()
    member, found = _open(call, vm, word, VIEWER_S)
    host = call.engine.store.entities.need("host", member.id)
    address = str((host.body.get("display") or {}).get("address") or member.address)
    return viewer_file(Screen(address, found.port, word, VIEWER_S, vm.name, call.engine.ca_pem))


def _vm(call: Call, identifier: str) -> Entity:
    """The VM of a console that is there and can be looked at."""
    vm_making.refuse_engine(call, call.parent_id, "set ticket")
    vm = need_vm(call.engine.store.entities, call.parent_id, "set ticket", SEEN)
    if identifier not in [one.encode().hex() for one in vm.body.get(CONSOLES, SCREENS)]:
        raise gone("GraphicsConsole", identifier)
    return vm


def _open(call: Call, vm: Entity, word: str, valid_s: int) -> tuple[Member, VncTicket]:
    member = next((one for one in call.engine.cluster.members if one.id == vm.ref("host")), None)
    if member is None:
        reason = "nobody knows on which host it is just now"
        raise Unavailable("vm.nowhere", subject=f"VM {vm.name}", reason=reason, remedy="Ask again in a few seconds.")
    found = call.engine.screens(member).vm_set_ticket(vm.id, word, float(valid_s))
    if found.port < 0:
        reason = "Cannot set ticket. Its screen has no port yet"
        raise Conflict("vm.no-port", subject=f"VM {vm.name}", reason=reason, remedy="Ask again in a few seconds.")
    with call.engine.store.connection.transaction():
        tell(call, "VM_SET_TICKET", {"vm": vm.id})
    return member, found
