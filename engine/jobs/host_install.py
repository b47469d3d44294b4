"""Make a node a host: a new one, or one whose installation failed, or that is in maintenance and to be set up anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.errors import Conflict
from engine.builtin import named
from engine.jobs import enrol
from engine.jobs.enrol import TOKEN, refuse_another
from engine.jobs.follow_vms import DETAIL, INITIALIZING
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.members import NODE, OUTSIDE
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

INSTALLING = "installing"
LEAVING = "down"
"""What a host shows while a job adds it, or takes it away."""
FAILED = "install_failed"


@dataclass(frozen=True)
class AddHost:
    """A new host: ``name`` and ``address`` (an IP address) are what the nodes call it from then on. ``attributes``: what
    else a client said of it; no secret, because the journal keeps them."""

    host_id: str
    name: str
    address: str
    cluster_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class InstallHost:
    """Which host. ``activate``: it serves afterwards, else it is in maintenance."""

    host_id: str
    activate: bool = True


Do = Callable[[Work, str], Mapping[str, Any]]
TITLES: Mapping[str, tuple[Do, str, float]] = {
    "join": (enrol.join, "Giving {name} its certificate", 4.0),
    "inspect": (enrol.inspect, "Asking {name} what it can", 0.5),
    "settle": (enrol.settle, "Setting up network, pool and libvirt of {name}", 6.0),
    "tell": (enrol.tell, "Telling all hosts of {name}", 1.0),
    "pool": (enrol.pool, "Taking {name} into the pool", 3.0),
    "mount": (enrol.mount, "Mounting the volumes on {name}", 2.0),
    "serve": (enrol.serve, "Starting the broker of {name}", 2.0),
}
"""Step → what does it, what people see, its share of the whole."""


def _step(name: str, kind: type[AddHost] | type[InstallHost]) -> Step:
    do, _title, weight = TITLES[name]
    return Step(name, lambda work: do(work, work.parameters(kind).host_id), weight=weight)


def _plan(name: str, *without: str) -> Sequence[Planned]:
    return tuple(Planned(one, title.format(name=name)) for one, (_do, title, _w) in TITLES.items() if one not in without)


def _failed(work: Work, host_id: str, *, was_inside: bool) -> None:
    """Nothing is taken back on the node: the next try goes on from there. A host that was one before is in maintenance
    again."""

    def how(host: Entity) -> Entity:
        after = host.without(TOKEN)
        return after if was_inside else replace(after.with_body(**{DETAIL: work.why}), status=FAILED)

    work.entities.change("host", host_id, how)


class HostAdd(JobType[AddHost]):
    """The host is ``installing`` from the first moment on, then ``initializing``, and up when it has been heard; if it
    cannot be made one it is ``install_failed``, and can be installed again or removed."""

    name = "host.add"
    parameters = AddHost
    steps = tuple(_step(one, AddHost) for one in TITLES)
    told = Told("USER_ADD_VDS", "VDS_INSTALL", "VDS_INSTALL_FAILED")

    def about(self, entities: Entities, given: AddHost) -> Mapping[str, str]:
        return {"host": given.host_id}

    def describe(self, entities: Entities, given: AddHost) -> str:
        return f"Adding new Host {given.name} to Cluster {entities.name_of('cluster', given.cluster_id)}"

    def check(self, entities: Entities, given: AddHost) -> None:
        entities.need("cluster", given.cluster_id)
        refuse_another(entities, given.host_id, (INSTALLING, LEAVING))
        for host in entities.list("host"):
            if given.name in (host.name.casefold(), host.body.get(NODE)):
                raise _taken(given, "The Host name is already in use", "Choose a unique name.")
            if host.body.get("address") == given.address:
                raise _taken(given, f"Host {host.name} has the same address already", "Remove that one first.")

    def locks(self, entities: Entities, given: AddHost) -> Sequence[Lock]:
        return (Lock("host", given.host_id, INSTALLING),)

    def prepare(self, entities: Entities, given: AddHost) -> None:
        body = {**given.attributes, "address": given.address, NODE: given.name, OUTSIDE: True}
        fresh = named("host", given.host_id, given.name, body, cluster=given.cluster_id)
        entities.add(replace(fresh, status=FAILED))  # seen only if the job is given up

    def plan(self, entities: Entities, given: AddHost) -> Sequence[Planned]:
        return _plan(given.name)

    def finish(self, work: Work) -> Mapping[str, Any]:
        return _finished(work, work.parameters(AddHost).host_id, INITIALIZING)

    def undone(self, work: Work) -> None:
        _failed(work, work.parameters(AddHost).host_id, was_inside=False)


class HostInstall(JobType[InstallHost]):
    """The same steps for a host that there is. One in maintenance that cannot be set up stays in maintenance."""

    name = "host.install"
    parameters = InstallHost
    steps = tuple(_step(one, InstallHost) for one in TITLES)
    told = Told("VDS_INSTALL_IN_PROGRESS", "VDS_INSTALL", "VDS_INSTALL_FAILED")

    def about(self, entities: Entities, given: InstallHost) -> Mapping[str, str]:
        return {"host": given.host_id}

    def describe(self, entities: Entities, given: InstallHost) -> str:
        return f"Installing Host {entities.name_of('host', given.host_id)}"

    def check(self, entities: Entities, given: InstallHost) -> None:
        host = entities.need("host", given.host_id)
        refuse_another(entities, given.host_id, (INSTALLING, LEAVING))
        if host.status not in ("maintenance", FAILED):
            why = "Cannot install Host. Host must be in Maintenance mode, or its installation must have failed"
            raise Conflict("host.status", subject=f"host {host.name}", reason=why, remedy="Deactivate it first.")

    def locks(self, entities: Entities, given: InstallHost) -> Sequence[Lock]:
        return (Lock("host", given.host_id, INSTALLING),)

    def plan(self, entities: Entities, given: InstallHost) -> Sequence[Planned]:
        name = entities.need("host", given.host_id).name
        return _plan(name) if given.activate else _plan(name, "serve")

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(InstallHost)
        return _finished(work, given.host_id, INITIALIZING if given.activate else "maintenance")

    def undone(self, work: Work) -> None:
        host_id = work.parameters(InstallHost).host_id
        _failed(work, host_id, was_inside=not work.entities.need("host", host_id).body.get(OUTSIDE))


def _finished(work: Work, host_id: str, status: str) -> Mapping[str, Any]:
    work.entities.change("host", host_id, lambda host: replace(host.without(OUTSIDE, DETAIL, TOKEN), status=status))
    return {"host": host_id}


def _taken(given: AddHost, why: str, remedy: str) -> Conflict:
    return Conflict("host.exists", subject=f"host {given.name}", reason=f"Cannot add Host. {why}", remedy=remedy)
