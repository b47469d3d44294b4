"""Logical networks and what they are attached to, from the store for engine/decide/host_networks.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from appliance.model.network import LogicalNetwork
from engine.decide.host_networks import USUAL_MTU, Attachment, Network, bridge_of, logical
from engine.store.entities import Entities
from engine.store.entity import Entity

KIND = "network_attachment"
"""The rows below a host: what is attached to it besides the management network."""


IN_CLUSTER = "trivet_networks"
"""In a cluster's body: what it says of its networks, by their ids."""
REQUIRED = "required"


def named(entities: Entities, cluster_id: str) -> dict[str, Entity]:
    """The networks of a cluster's data center by their names, which others may have, too."""
    center = entities.need("cluster", cluster_id).ref("data_center")
    return {one.name: one for one in entities.referring(("data_center", center), "network", "data_center")}


def said_of(cluster: Entity, network_id: str) -> dict[str, Any]:
    """What a cluster says of one of its networks: as in v4, hosts are to have it unless it says otherwise."""
    return {REQUIRED: True, **((cluster.body.get(IN_CLUSTER) or {}).get(network_id) or {})}


def missing(cluster: Entity, names: Mapping[str, str], hosts: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Host → the required networks that it lacks and others of the cluster have. One that no host has hinders none: it was
    made just now, and nobody has attached it yet. ``names``: network id → name; ``hosts``: host → the networks it has."""
    has = {host: frozenset(networks) for host, networks in hosts.items()}
    somewhere = frozenset[str]().union(*has.values())
    required = {names[one] for one in cluster.refs.get("networks", ()) if one in names and said_of(cluster, one)[REQUIRED]}
    return {host: tuple(sorted((required & somewhere) - mine)) for host, mine in has.items()}


def attached(entities: Entities, host_id: str) -> tuple[Attachment, ...]:
    """What is attached to a host, besides the management network."""
    return tuple(
        Attachment(
            one.id,
            one.ref("network"),
            str(one.body.get("nic") or ""),
            tuple(one.body.get("ip_address_assignments") or ()),
            tuple(one.body.get("properties") or ()),
        )
        for one in sorted(entities.children(("host", host_id), KIND), key=lambda one: one.id)
    )


def network_of(entity: Entity) -> Network:
    """A logical network, as hosts get it."""
    body = entity.body
    bridge = bridge_of(entity.id, entity.name, str(body.get("vdsm_name") or ""))
    vlan = int((body.get("vlan") or {}).get("id") or 0)
    return Network(entity.id, entity.name, bridge, vlan, int(body.get("mtu") or 0) or USUAL_MTU)


def bridges(entities: Entities, attachments: Sequence[Attachment]) -> tuple[LogicalNetwork, ...]:
    """What a host with these attachments is to have. Raises as :func:`engine.decide.host_networks.logical`."""
    rows = entities.many("network", [one.network for one in attachments])
    return logical(attachments, {identifier: network_of(row) for identifier, row in rows.items()})
