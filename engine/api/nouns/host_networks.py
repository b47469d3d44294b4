"""A host's networks: what is attached to its NICs, and setting all of it up at once. Each change is one job."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from appliance import layout
from appliance.errors import Conflict, NotFound
from engine.api import work
from engine.api.documents import Object
from engine.api.noun import Call, Done, Made
from engine.api.nouns import ref
from engine.api.nouns.host_parts import nic_id_of
from engine.api.observed import Rows
from engine.api.references import unknown
from engine.api.stored import gone
from engine.builtin import MANAGEMENT_NETWORK
from engine.core import Engine
from engine.decide.host_networks import Attachment
from engine.decide.view import HostView
from engine.inventory import derived_id
from engine.jobs.host_networks import HostNetworks, SetUpNetworks
from engine.jobs.networks import attached, network_of

if TYPE_CHECKING:
    from engine.api.nouns.hosts import Hosts

NOT_HERE = {
    "modified_bonds": "Bonds are not made here: make them with the node's own network configuration",
    "removed_bonds": "Bonds are not removed here",
    "modified_labels": "Labels of NICs are not supported",
    "removed_labels": "Labels of NICs are not supported",
}
"""Parameters of v4's ``setupnetworks`` that nobody here does anything for: a client that sends them must hear of it."""


class NetworkAttachments(Rows):
    """Of a host, or of one of its NICs. That of the management network is shown, and not changed."""

    services, kind = ("NetworkAttachments",), "NetworkAttachment"

    def rows(self, call: Call) -> Sequence[Object]:
        host_id = call.parents[0][1]
        found = shown(call.engine, host_id)
        if call.parent_kind == "HostNic":
            return [one for one in found if (one.get("host_nic") or {}).get("id") == call.parent_id]
        return found

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        host_id = call.parents[0][1]
        on = {"host_nic": ref(call.parent_id)} if call.parent_kind == "HostNic" else {}
        wanted = _attachment(call, host_id, {**on, **given})
        job = work.awaited(call, HostNetworks, SetUpNetworks(host_id, (wanted,)))
        made = next((one for one in self.rows(call) if one["id"] == wanted.id), {"id": wanted.id, **given})
        return Made(made, work.unfinished(job))

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        before = self.get(call, identifier)
        if before is None:
            raise gone(self.kind, identifier)
        host_id = call.parents[0][1]
        wanted = _attachment(call, host_id, {**before, **given, "id": identifier})
        work.awaited(call, HostNetworks, SetUpNetworks(host_id, (wanted,)))
        return self.get(call, identifier) or before

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        if self.get(call, identifier) is None:
            raise gone(self.kind, identifier)
        host_id = call.parents[0][1]
        _refuse_management(call.engine, host_id, identifier)
        return work.told(work.awaited(call, HostNetworks, SetUpNetworks(host_id, (), (identifier,))))


def set_up(noun: Hosts, call: Call, identifier: str, given: Object) -> Done:
    """v4's ``setupnetworks``. What is made is lasting at once, and all of it is put back where a part does not come up; so
    ``check_connectivity`` and ``commit_on_success`` say nothing more."""
    for name, why in NOT_HERE.items():
        if given.get(name):
            subject = f"host {noun.entities(call).name_of('host', identifier)}"
            reason = f"Cannot setup Networks. {why}"
            raise Conflict("network.setup", subject=subject, reason=reason, remedy=f"Leave {name} out.")
    modified = given.get("modified_network_attachments") or ()
    again = given.get("synchronized_network_attachments") or ()
    removed = [_known(call, identifier, one) for one in given.get("removed_network_attachments") or ()]
    for one in removed:
        _refuse_management(call.engine, identifier, one)
    wanted = tuple(_attachment(call, identifier, one) for one in modified)
    if not wanted and not removed and not again:
        return Done()
    return work.told(work.awaited(call, HostNetworks, SetUpNetworks(identifier, wanted, tuple(removed))))


def commit(noun: Hosts, call: Call, identifier: str, given: Object) -> Done:
    """Whatever was set up is lasting already."""
    noun.entities(call).need("host", identifier)
    return Done()


def synchronize(noun: Hosts, call: Call, identifier: str, given: Object) -> Done:
    """Make what is attached so again."""
    return work.told(work.awaited(call, HostNetworks, SetUpNetworks(identifier)))


def shown(engine: Engine, host_id: str) -> list[Object]:
    """All attachments of a host."""
    entities, host = engine.store.entities, engine.view().host(host_id)
    found = [_management(host_id, host)]
    for one in attached(entities, host_id):
        network = network_of(entities.need("network", one.network))
        found.append({
            "id": one.id,
            "network": ref(one.network),
            "host": ref(host_id),
            **({"host_nic": ref(nic_id_of(host_id, one.nic))} if one.nic else {}),
            "ip_address_assignments": [dict(given) for given in one.assignments] or [_assigned({})],
            "properties": [dict(given) for given in one.properties],
            "in_sync": _has(host, network.bridge, network.mtu),
        })  # fmt: skip
    return found


def _management(host_id: str, host: HostView | None) -> Object:
    nics = host.nics if host is not None else ()
    uplink = next((one.name for one in nics if one.bridge == layout.MANAGEMENT_BRIDGE and one.physical), "")
    bridge = next((one for one in nics if one.name == layout.MANAGEMENT_BRIDGE), None)
    address, _, prefix = next((text for text in bridge.addresses if ":" not in text), "").partition("/") if bridge else (
        "", "", "")  # fmt: skip
    ip = {"address": address, "netmask": prefix, "version": "v4"}
    return {
        "id": _management_id(host_id),
        "network": ref(MANAGEMENT_NETWORK),
        "host": ref(host_id),
        **({"host_nic": ref(nic_id_of(host_id, uplink))} if uplink else {}),
        "ip_address_assignments": [{"assignment_method": "static", "ip": ip}] if address else [],
        "in_sync": True,
    }


def _management_id(host_id: str) -> str:
    return derived_id(host_id, "attachment:management")


def _has(host: HostView | None, bridge: str, mtu: int) -> bool:
    nics = host.nics if host is not None else ()
    return any((one.name, one.mtu) == (bridge, mtu) for one in nics)


def _refuse_management(engine: Engine, host_id: str, identifier: str) -> None:
    if identifier == _management_id(host_id):
        subject = f"host {engine.store.entities.name_of('host', host_id)}"
        reason = "Cannot setup Networks. The management network is what the node is reached by"
        raise Conflict("network.management", subject=subject, reason=reason, remedy="Leave it out.")


def _known(call: Call, host_id: str, given: Mapping[str, Any]) -> str:
    """The id of an attachment that is named by its id, or by its network. Raises ``NotFound`` ``api.reference``."""
    network = str((given.get("network") or {}).get("id") or "")
    for one in shown(call.engine, host_id):
        if one["id"] == given.get("id") or (network and one["network"]["id"] == network):
            return str(one["id"])
    raise unknown("NetworkAttachment", str(given.get("id") or network), "networkattachments")


def _attachment(call: Call, host_id: str, given: Mapping[str, Any]) -> Attachment:
    """What a client wants: named by its id or network, or new. Raises ``NotFound`` ``api.reference``, ``nic.unknown``."""
    identifier, network = str(given.get("id") or ""), str((given.get("network") or {}).get("id") or "")
    before = next(
        (one for one in attached(call.engine.store.entities, host_id) if one.id == identifier or one.network == network),
        None,
    )
    if identifier:
        _refuse_management(call.engine, host_id, identifier)
        if before is None:
            raise unknown("NetworkAttachment", identifier, "networkattachments")
    kept = before or Attachment(str(uuid.uuid4()), network)
    assignments = given.get("ip_address_assignments")
    properties = given.get("properties")
    return Attachment(
        kept.id,
        network or kept.network,
        _nic(call, host_id, given["host_nic"]) if given.get("host_nic") else kept.nic,
        kept.assignments if assignments is None else tuple(_assigned(one) for one in assignments),
        kept.properties if properties is None else tuple(properties),
    )


def _assigned(given: Mapping[str, Any]) -> Object:
    """As v4 tells it: with a method, and with the version of its address even when there is none."""
    return {
        "assignment_method": given.get("assignment_method") or "none",
        "ip": {"version": "v4", **(given.get("ip") or {})},
    }


def _nic(call: Call, host_id: str, given: Mapping[str, Any]) -> str:
    """The name of a NIC that is named by id or name. Raises ``NotFound`` ``nic.unknown``."""
    host = call.engine.view().host(host_id)
    names = [one.name for one in (host.nics if host is not None else ())]
    wanted = (str(given.get("id") or ""), str(given.get("name") or ""))
    found = next((one for one in names if nic_id_of(host_id, one) == wanted[0] or one == wanted[1]), None)
    if found is None:
        name = call.engine.store.entities.name_of("host", host_id)
        reason = f"host {name} has no NIC {wanted[1] or wanted[0]}; it has {', '.join(names) or 'not told yet'}"
        raise NotFound("nic.unknown", subject=f"host {name}", reason=reason, remedy="Name one of these.")
    return found
