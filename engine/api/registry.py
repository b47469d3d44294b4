"""What the API serves: a row a collection. Root links, routes and the list of what is not served yet come from here
and the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.api.nouns import events, hosts, places, root, vms
from engine.core import Engine

Rows = Callable[[Engine], list[dict[str, Any]]]
SubRows = Callable[[Engine, str], list[dict[str, Any]] | None]


@dataclass(frozen=True)
class Noun:
    """A collection at the root. ``kind`` is its struct; ``below`` its sub-collections: path → (struct, rows)."""

    path: str
    kind: str
    rows: Rows
    below: Mapping[str, tuple[str, SubRows]] = field(default_factory=dict)


def _within(rows: Rows, belongs: Callable[[dict[str, Any], str], bool], parents: Rows) -> SubRows:
    def scoped(engine: Engine, identifier: str) -> list[dict[str, Any]] | None:
        if all(parent["id"] != identifier for parent in parents(engine)):
            return None
        return [row for row in rows(engine) if belongs(row, identifier)]

    return scoped


def _event_rows(engine: Engine) -> list[dict[str, Any]]:
    return [events.event_object(event) for event in engine.store.events()]


_DC_CLUSTERS = _within(places.clusters, lambda row, parent: row["data_center"]["id"] == parent, places.data_centers)
_DC_DOMAINS = _within(
    places.storage_domains, lambda row, parent: any(one["id"] == parent for one in row["data_centers"]), places.data_centers
)

NOUNS: Mapping[str, Noun] = {
    noun.path: noun
    for noun in (
        Noun("hosts", "Host", hosts.rows, {"statistics": ("Statistic", hosts.statistics), "nics": ("HostNic", hosts.nics)}),
        Noun("clusters", "Cluster", places.clusters),
        Noun(
            "datacenters",
            "DataCenter",
            places.data_centers,
            {"clusters": ("Cluster", _DC_CLUSTERS), "storagedomains": ("StorageDomain", _DC_DOMAINS)},
        ),
        Noun("storagedomains", "StorageDomain", places.storage_domains),
        Noun("vms", "Vm", vms.rows, {"statistics": ("Statistic", vms.statistics)}),
        Noun("events", "Event", _event_rows),
        Noun("users", "User", root.users),
    )
}
