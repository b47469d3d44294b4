"""The watchdog of a VM or a template: two words in its body, which v4 shows as a collection of at most one. A machine has it
from its next start on; the guest feeds it, and QEMU does what it says when the guest does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from appliance.errors import Conflict
from engine.api.documents import Object
from engine.api.model import model
from engine.api.noun import Call, Done, Made
from engine.api.nouns import vm_making
from engine.api.nouns.templates import refuse_blank
from engine.api.observed import Rows
from engine.api.stored import gone, owner
from engine.decide.vm_machine import WATCHDOG, WATCHDOGS
from engine.inventory import derived_id
from engine.store.entity import Entity


class _Watchdogs(Rows):
    """Of whatever has one."""

    kind = "Watchdog"
    parent: ClassVar[str] = ""
    """The struct of whose they are."""

    def rows(self, call: Call) -> Sequence[Object]:
        has = self._owner(call).body.get(WATCHDOG)
        whose = model().struct(self.parent).singular
        return [{"id": self._id(call), whose: {"id": call.parent_id}, **has}] if has else []

    def serves_below(self, parent: str) -> bool:
        return parent == self.parent

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        self._refuse(call, "add Watchdog")
        if self.rows(call):
            self._conflict(call, "add Watchdog. It has one already", "Change that one, or remove it first.")
        self._set(call, given)
        return Made(self.rows(call)[0])

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        self._refuse(call, "update Watchdog")
        before = self.get(call, identifier)
        if before is None:
            raise gone(self.kind, identifier)
        self._set(call, {**before, **given})
        return self.rows(call)[0]

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        self._refuse(call, "remove Watchdog")
        if self.get(call, identifier) is None:
            raise gone(self.kind, identifier)
        self._write(call, None)
        return Done()

    def _owner(self, call: Call) -> Entity:
        return call.engine.store.entities.need(*owner(call))

    def _id(self, call: Call) -> str:
        return derived_id(call.parent_id, "watchdog")

    def _refuse(self, call: Call, action: str) -> None:
        """Raises ``Conflict`` for whose watchdog is not changed."""
        raise NotImplementedError(f"{type(self).__name__} refuses nobody")

    def _conflict(self, call: Call, what: str, remedy: str) -> None:
        subject = f"{self.parent.upper() if self.parent == 'Vm' else self.parent} {self._owner(call).name}"
        raise Conflict("vm.watchdog", subject=subject, reason=f"Cannot {what}", remedy=remedy)

    def _set(self, call: Call, given: Mapping[str, Any]) -> None:
        """Raises ``Conflict`` ``vm.watchdog`` for a model that no machine of ours has."""
        if given["model"] not in WATCHDOGS:
            what = f"set Watchdog. {given['model']} is not supported here, only {', '.join(WATCHDOGS)} is"
            self._conflict(call, what, f"Ask for {WATCHDOGS[0]}.")
        self._write(call, {"model": str(given["model"]), "action": str(given["action"])})

    def _write(self, call: Call, wanted: Mapping[str, str] | None) -> None:
        def how(before: Entity) -> Entity:
            left = before.without(WATCHDOG)
            return left if wanted is None else left.with_body(**{WATCHDOG: dict(wanted)})

        with call.engine.store.connection.transaction():
            call.engine.jobs.refuse_held(owner(call))
            call.engine.store.entities.change(*owner(call), how)


class VmWatchdogs(_Watchdogs):
    """A VM's."""

    services, parent = ("VmWatchdogs",), "Vm"

    def _refuse(self, call: Call, action: str) -> None:
        vm_making.refuse_engine(call, call.parent_id, action)


class TemplateWatchdogs(_Watchdogs):
    """What VMs made of a template begin with."""

    services, parent = ("TemplateWatchdogs",), "Template"

    def _refuse(self, call: Call, action: str) -> None:
        refuse_blank(call.parent_id, action)


WATCHDOGS_OF = (VmWatchdogs, TemplateWatchdogs)
"""All of this file."""
