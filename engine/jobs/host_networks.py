"""Set up a host's networks: what is attached to it becomes bridges there, all at once, or all stays as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from appliance.codec import decode, encode
from appliance.errors import Refused, TrivetError
from appliance.model.network import LogicalNetwork
from engine.builtin import MANAGEMENT_NETWORK
from engine.decide.host_networks import Attachment, changed
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.networks import KIND, attached, bridges
from engine.jobs.vm_place import name_of
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock


@dataclass(frozen=True)
class SetUpNetworks:
    """Which host; what is attached anew or otherwise, and the ids of what is not any more. Neither: as it should be already
    is made so again."""

    host_id: str
    modified: tuple[Attachment, ...] = ()
    removed: tuple[str, ...] = ()


def _wanted(entities: Entities, given: SetUpNetworks) -> tuple[Attachment, ...]:
    before = attached(entities, given.host_id)
    return changed(before, given.modified, given.removed, f"host {entities.name_of('host', given.host_id)}")


def _look(work: Work) -> Mapping[str, Any]:
    host = name_of(work, work.parameters(SetUpNetworks).host_id)
    return {"host": host, "before": encode(work.nodes.networks(host).networks())}


def _set(work: Work) -> None:
    wanted = bridges(work.entities, _wanted(work.entities, work.parameters(SetUpNetworks)))
    work.log(f"to be there: {', '.join(one.name for one in wanted) or 'none besides the management network'}")
    work.nodes.networks(str(work.found("look")["host"])).set_networks(wanted)


def _put_back(work: Work) -> None:
    found = work.found("look")
    before = decode(tuple[LogicalNetwork, ...], found["before"], subject=f"job {work.job_id}")
    try:
        work.nodes.networks(str(found["host"])).set_networks(before)
    except TrivetError as error:
        if error.code != "network.in-use":  # a VM has come onto a new one meanwhile: it stays until the next set-up
            raise
        work.log(f"{error}")


class HostNetworks(JobType[SetUpNetworks]):
    """At the end the host has exactly the attached networks; or what it had, and so say the rows."""

    name = "host.networks"
    parameters = SetUpNetworks
    steps = (Step("look", _look, weight=0.1), Step("set", _set, _put_back))
    told = Told("", "NETWORK_COMMINT_NETWORK_CHANGES", "NETWORK_COMMINT_NETWORK_CHANGES_FAILED")

    def about(self, entities: Entities, given: SetUpNetworks) -> Mapping[str, str]:
        return {"host": given.host_id}

    def describe(self, entities: Entities, given: SetUpNetworks) -> str:
        return f"Setting up Networks of Host {entities.name_of('host', given.host_id)}"

    def check(self, entities: Entities, given: SetUpNetworks) -> None:
        entities.need("host", given.host_id)
        for one in given.modified:
            entities.need("network", one.network)
            if one.network == MANAGEMENT_NETWORK:
                raise Refused(
                    "network.management",
                    subject=f"host {entities.name_of('host', given.host_id)}",
                    reason="Cannot setup Networks. The management network is what nodes are reached by, and is set up when "
                    "a node joins",
                    remedy="Leave it out.",
                )
        bridges(entities, _wanted(entities, given))

    def locks(self, entities: Entities, given: SetUpNetworks) -> Sequence[Lock]:
        networks = dict.fromkeys(one.network for one in _wanted(entities, given))
        return Lock("host", given.host_id, ""), *(Lock("network", one, "", is_shared=True) for one in networks)

    def plan(self, entities: Entities, given: SetUpNetworks) -> Sequence[Planned]:
        host = entities.name_of("host", given.host_id)
        return Planned("look", f"Asking {host}"), Planned("set", f"Making the bridges on {host}")

    def finish(self, work: Work) -> Mapping[str, Any]:
        given, entities = work.parameters(SetUpNetworks), work.entities
        wanted = {one.id: _row(given.host_id, one) for one in _wanted(entities, given)}
        for row in entities.children(("host", given.host_id), KIND):
            if row.id not in wanted:
                entities.remove(KIND, row.id)
        for row in wanted.values():
            if entities.get(KIND, row.id) is None:
                entities.add(row)
            else:
                entities.change(KIND, row.id, lambda one, row=row: replace(one, body=row.body, refs=row.refs))  # type: ignore[misc]
        return {}


def _row(host_id: str, one: Attachment) -> Entity:
    body = {
        "nic": one.nic,
        "ip_address_assignments": [dict(given) for given in one.assignments],
        "properties": [dict(given) for given in one.properties],
    }
    return Entity(KIND, one.id, "", body, {"network": (one.network,)}, parent=("host", host_id))
