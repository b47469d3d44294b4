"""The networks of a cluster: which there are, and what a cluster says of each (``required``, ``display``, ``usages``). The
rest of a network is the data center's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.api.documents import Object
from engine.api.noun import Call, Done, Made
from engine.api.nouns.kept import Networks
from engine.api.references import unknown
from engine.api.stored import Held
from engine.jobs.networks import IN_CLUSTER, REQUIRED, named, said_of
from engine.store.entity import Entity


class ClusterNetworks(Networks):
    """Adding assigns one that exists."""

    services = ("ClusterNetworks",)
    scopes = {"Cluster": Held("networks")}
    remembered = False  # what is shown changes with the cluster

    def show(self, call: Call, entity: Entity) -> Object:
        cluster = self.entities(call).need("cluster", call.parent_id)
        said = said_of(cluster, entity.id)
        usages = dict.fromkeys([*said.get("usages", ()), *(entity.body.get("usages") or self.defaults["usages"])])
        return {
            **super().show(call, entity),
            "cluster": {"id": cluster.id},
            REQUIRED: said[REQUIRED],
            "display": bool(said.get("display")),
            "usages": list(usages),
        }

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        with call.engine.store.connection.transaction():
            made = super().add(call, {**given, "id": given.get("id") or self._by_name(call, str(given.get("name") or ""))})
            identifier = str(made.value["id"])
            self._say(call, identifier, given)
            return Made(self.show(call, self.entities(call).need(self.entity, identifier)))

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        found = self.mine(call, identifier)
        self._say(call, identifier, given)
        return self.show(call, found)

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        with call.engine.store.connection.transaction():
            done = super().remove(call, identifier, given)
            self._forget(call, identifier)
            return done

    def _by_name(self, call: Call, name: str) -> str:
        """Raises ``NotFound``."""
        found = named(self.entities(call), call.parent_id).get(name)
        if found is None:
            raise unknown("Network", name, "networks")
        return found.id

    def _say(self, call: Call, identifier: str, given: Mapping[str, Any]) -> None:
        wanted = {name: given[name] for name in (REQUIRED, "display", "usages") if given.get(name) is not None}

        def how(cluster: Entity) -> Entity:
            said = {**said_of(cluster, identifier), **wanted}
            return cluster.with_body(**{IN_CLUSTER: {**(cluster.body.get(IN_CLUSTER) or {}), identifier: said}})

        if wanted:
            self.entities(call).change("cluster", call.parent_id, how)

    def _forget(self, call: Call, identifier: str) -> None:
        def how(cluster: Entity) -> Entity:
            others = {one: said for one, said in (cluster.body.get(IN_CLUSTER) or {}).items() if one != identifier}
            return cluster.with_body(**{IN_CLUSTER: others})

        self.entities(call).change("cluster", call.parent_id, how)
