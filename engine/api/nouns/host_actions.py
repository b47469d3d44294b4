"""What can be done with a host besides keeping it: maintenance and back, and a person's word that it is off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.errors import Conflict
from engine.api import work
from engine.api.documents import Object
from engine.api.noun import Call, Done
from engine.api.tell import tell
from engine.jobs import ended
from engine.jobs.host_activate import ActivateHost, HostActivate
from engine.jobs.host_deactivate import ROOM, DeactivateHost, HostDeactivate

if TYPE_CHECKING:
    from engine.api.nouns.hosts import Hosts

MANUAL = "manual"
"""v4's fence type that is a person's word. The others switch the power, for which a host needs a fence agent."""


def deactivate(noun: Hosts, call: Call, identifier: str, given: Object) -> Done:
    """Answered when there is a place for each of its VMs; they move afterwards."""
    wanted = DeactivateHost(identifier, str(given.get("reason") or ""), call.account.id, call.correlation_id)
    return work.told(work.accepted(call, HostDeactivate, wanted, ROOM))


def activate(noun: Hosts, call: Call, identifier: str, given: Object) -> Done:
    """Answered when it has answered."""
    return work.told(work.awaited(call, HostActivate, ActivateHost(identifier)))


def refresh(noun: Hosts, call: Call, identifier: str, given: Object) -> Done:
    """Hosts are asked every two seconds, and what they are every half a minute: nothing can be older. One that does not
    answer is refused, as in v4."""
    host, seen = noun.entities(call).need("host", identifier), call.engine.view().host(identifier)
    if seen is None or seen.status != "up":
        reason = f"Cannot refresh Host capabilities. Host is {seen.status if seen is not None else 'not known yet'}"
        raise Conflict("host.status", subject=f"host {host.name}", reason=reason, remedy="Wait until it answers.")
    return Done()


def fence(noun: Hosts, call: Call, identifier: str, given: Object) -> Done:
    """``manual``: "confirm host has been rebooted". What ran there is over from now on; nothing is done to the host."""
    if str(given.get("fence_type") or "").lower() != MANUAL:
        raise _cannot(
            call, identifier, "Power Management is not configured for it", "Confirm by hand (manual) that it is off."
        )
    view = call.engine.view()
    with call.engine.store.connection.transaction():
        host = noun.entities(call).need("host", identifier)
        call.engine.jobs.refuse_held(host.key)
        seen = view.host(identifier)
        if seen is not None and seen.status != "non_responsive":
            raise _cannot(call, identifier, f"it is {seen.status}: what runs there can be asked", "Deactivate it instead.")
        boot_id = seen.facts.boot_id if seen is not None and seen.facts else ""
        ended.confirm(noun.entities(call), identifier, boot_id, call.account.principal, call.engine.now_ms())
        tell(call, "VDS_MANUAL_FENCE_STATUS", {"host": identifier})
    return Done()


def _cannot(call: Call, identifier: str, why: str, remedy: str) -> Conflict:
    name = call.engine.store.entities.name_of("host", identifier)
    return Conflict("host.fence", subject=f"host {name}", reason=f"Cannot fence Host. {why}", remedy=remedy)
