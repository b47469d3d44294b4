"""Keep what guests say of themselves: their agents are asked, and what is new goes into their VMs' rows.

Into the rows, because addresses outlive an engine that moves, and whoever has rendered a VM sees by its generation that it
is another one. A guest without an agent is asked seldom: libvirt waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from appliance.codec import encode
from appliance.errors import TrivetError
from appliance.model.vm_live import GuestInfo
from engine.jobs.vm_place import ENGINE_MARK
from engine.jobs.vm_state import GUEST
from engine.jobs.watcher import Watcher
from engine.store.entity import Entity

TURN_S = 5.0
"""How soon after its start a guest is asked first."""
ASK_EVERY_S = 15.0
"""A client that waits for a VM's address asks each few seconds; oVirt's engine looks as often."""
SILENT_EVERY_S = 60.0
"""For a guest whose agent did not answer: each such question costs its host up to 12 s of waiting."""
NICS_LIMIT = 64
"""Of one guest: one with thousands of containers tells of each."""


@dataclass
class GuestKeeper(Watcher):
    """One for the engine; its turns are taken one after the other."""

    watched: ClassVar[str] = "guests"
    _due_s: dict[str, float] = field(default_factory=dict)

    def turn(self) -> None:
        """Ask all whose turn it is."""
        try:
            running = [one for one in self.entities.list("vm") if is_asked(one)]
            self._due_s = {one.id: self._due_s.get(one.id, 0.0) for one in running}
            due = [one for one in running if self.desk.clock.monotonic_s() >= self._due_s[one.id]]
            hosts = {one.id: one.name for one in self.nodes.reports() if one.is_up} if due else {}
        except TrivetError as error:
            self._tell("all", f"{self.watched}: {error} [{error.code}]")
            return
        for vm in due:
            if vm.ref("host") in hosts:
                self._tried(vm.id, lambda vm=vm: self._ask(vm, hosts[vm.ref("host")]))  # type: ignore[misc]

    def _ask(self, vm: Entity, host: str) -> None:
        self._due_s[vm.id] = self.desk.clock.monotonic_s() + SILENT_EVERY_S
        said = self.nodes.vms(host).vm_guest(vm.id)
        if said.agent:
            self._due_s[vm.id] = self.desk.clock.monotonic_s() + ASK_EVERY_S
            self._write(vm, kept(said))

    def _write(self, vm: Entity, said: Mapping[str, Any]) -> None:
        """Unless the VM has gone on meanwhile: then it is asked again there."""
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
