"""Write what hosts say of their VMs into the VMs' rows: status, host, the event that tells people. The decision is pure
(engine/decide/vm_follow.py)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from appliance.effects.clock import Clock
from appliance.model.vm import VmPower, VmState
from engine.decide.vm_follow import Known, News, heard, silent
from engine.jobs import ended, owed
from engine.jobs.evicted import record_of
from engine.jobs.vm_place import ENGINE_MARK
from engine.jobs.vm_state import ASKED, RUN, went_down
from engine.store.audit import Audit
from engine.store.durable import Store
from engine.store.entity import Entity

DETAIL = "status_detail"
STARTING = frozenset({"wait_for_launch", "powering_up"})
INITIALIZING = "initializing"
"""Of a host that was installed, until it answers."""


class VmFollower:
    """For all hosts; used by their threads."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._starting: dict[str, bool] = {}

    def is_starting(self, host_id: str) -> bool:
        """Whether a VM is being started there, as far as the host's last word goes: people wait for it to be up."""
        return self._starting.get(host_id, False)

    def now_ms(self) -> int:
        """Wall clock, as rows have it."""
        return int(self._clock.wall_s() * 1000)

    def heard(self, host_id: str, vms: Sequence[VmState], asked_ms: int) -> tuple[News, ...]:
        """The host answered a question that was sent at ``asked_ms``; what changed."""
        told: dict[str, VmPower] = {one.id.lower(): one.power for one in vms}
        here = {one.id: one for one in self._store.entities.referring(("host", host_id), "vm", "host")}
        strangers = [one for one in told if one not in here]
        others = self._store.entities.many("vm", strangers) if strangers else {}
        known = self._known((*here.values(), *others.values()))
        shown = {one.locked_as or one.status for one in (*here.values(), *others.values())}
        self._starting[host_id] = not shown.isdisjoint(STARTING)
        host = self._store.entities.get("host", host_id)
        if host is not None:
            ended.forget(self._store.entities, host)
            if host.status == INITIALIZING and not host.locked_as:
                self._store.entities.set_status("host", {host.id: ""})
        is_evicted = bool(record_of(host))
        found = heard(host_id, told, known, asked_ms, self.now_ms(), is_evicted=is_evicted)
        return tuple(one for one in found if self._write(one, host_id))

    def silent(self, host_id: str) -> tuple[News, ...]:
        """The host does not answer any more."""
        here = self._store.entities.referring(("host", host_id), "vm", "host")
        return tuple(one for one in silent(self._known(here)) if self._write(one, host_id))

    @staticmethod
    def _known(vms: Iterable[Entity]) -> list[Known]:
        return [
            Known(
                one.id,
                one.status,
                one.ref("host"),
                one.changed_ms,
                one.body.get(ASKED),
                str(one.body.get(DETAIL) or ""),
            )
            for one in vms
            if not one.locked_as and ENGINE_MARK not in one.body
        ]

    def _write(self, news: News, speaker: str) -> bool:
        """Whether it is written: a VM that a job took, or that changed meanwhile, is looked at again next time."""
        now_ms = self.now_ms()
        with self._store.connection.transaction():
            before = self._store.entities.get("vm", news.id)
            if before is None or before.locked_as:
                return False
            if news.event == "VM_DOWN_ERROR":
                owed.failed(self._store.entities, self._clock, before, speaker, news.reason)
                return True
            after = went_down(before, now_ms) if news.status == "down" else _at(before, news)
            if after == before:
                return False
            self._store.entities.update(after)
            if news.event:
                host = news.host or speaker
                Audit(self._store.connection, self._clock).tell(
                    news.event, {"vm": news.id, "host": host}, {"reason": news.reason}
                )
        return True


def _at(vm: Entity, news: News) -> Entity:
    body = {name: value for name, value in vm.body.items() if name != DETAIL}
    if news.detail:
        body[DETAIL] = news.detail
    if news.host != vm.ref("host"):
        body[RUN] = {**(body.get(RUN) or {}), "host": news.host}
    if news.status != "powering_down":
        body.pop(ASKED, None)
    return replace(vm, body=body, status=news.status).with_refs(host=news.host)
