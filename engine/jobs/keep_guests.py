"""Keep what guests say of themselves: each host tells what all its guests' agents say, and what is new goes into their VMs'
rows.

Into the rows, because addresses outlive an engine that moves, and whoever has rendered a VM sees by its generation that it
is another one. A question for each guest would not do: with 1,000 of them it is 67 a second, and an agent that hangs costs
12 s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from appliance.codec import encode
from appliance.errors import TrivetError
from appliance.model.vm_live import GuestAnswer, GuestInfo
from engine.jobs.ports import HostReport, VmNode
from engine.jobs.vm_place import ENGINE_MARK
from engine.jobs.vm_state import GUEST
from engine.jobs.watcher import Watcher
from engine.store.entity import Entity

TURN_S = 15.0
"""A client that waits for a VM's address asks each few seconds; oVirt's engine looks as often."""
HOSTS_AT_ONCE = 8
"""A host with guests that hang takes some 20 s: half of a cluster of sixteen may be so before others wait."""
NICS_LIMIT = 64
"""Of one guest: one with thousands of containers tells of each."""


@dataclass
class GuestKeeper(Watcher):
    """One for the engine; its turns are taken one after the other."""

    watched: ClassVar[str] = "guests"

    def turn(self) -> None:
        """Ask all hosts that have running guests."""
        try:
            running = {one.id: one for one in self.entities.list("vm") if is_asked(one)}
            holding = {vm.ref("host") for vm in running.values()}
            hosts = [one for one in self.nodes.reports() if one.is_up and one.id in holding] if running else []
            nodes = [self.nodes.vms(one.name) for one in hosts]
        except TrivetError as error:
            self._tell("all", f"{self.watched}: {error} [{error.code}]")
            return
        with ThreadPoolExecutor(HOSTS_AT_ONCE, "guests") as pool:
            answers = list(pool.map(self._ask, hosts, nodes))
        for host, said in zip(hosts, answers, strict=True):
            for one in said:
                vm = running.get(one.vm)
                if vm is not None and vm.ref("host") == host.id and one.said.agent:
                    self._tried(vm.id, lambda vm=vm, one=one: self._write(vm, kept(one.said)))  # type: ignore[misc]

    def _ask(self, host: HostReport, node: VmNode) -> Sequence[GuestAnswer]:
        found: list[GuestAnswer] = []
        self._tried(host.name, lambda: found.extend(node.vm_guests()))
        return found

    def _write(self, vm: Entity, said: Mapping[str, Any]) -> None:
        """Unless the VM has gone on meanwhile: then it is asked again there."""
        if vm.body.get(GUEST) == said:
            return
        with self.entities.connection.transaction():
            now = self.entities.get("vm", vm.id)
            if now is not None and is_asked(now) and now.ref("host") == vm.ref("host") and now.body.get(GUEST) != said:
                self.entities.update(now.with_body(**{GUEST: dict(said)}))


def is_asked(vm: Entity) -> bool:
    """Whether its guest runs, as far as we know, and no job has the VM."""
    return vm.status == "up" and not vm.locked_as and ENGINE_MARK not in vm.body


def kept(said: GuestInfo) -> dict[str, Any]:
    """What is kept of it: who is logged in at this moment is not."""
    return dict(encode(replace(said, users=(), nics=said.nics[:NICS_LIMIT])))
