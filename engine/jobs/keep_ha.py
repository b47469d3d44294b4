"""Keep what is highly available running: hosts that are lost are evicted, their VMs are declared down once that is certain,
and the highly available ones are started elsewhere, the most important first.

It remembers nothing: each turn decides from the rows and from what hosts and pool said last, so it may be killed anywhere.
What takes time is a job. The decisions are pure: engine/decide/schedule_evict.py, schedule_fence.py, schedule_restart.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from appliance.errors import Conflict, TrivetError
from engine.decide.schedule_evict import Suspect, to_evict
from engine.decide.schedule_fence import Fate, Ran
from engine.decide.schedule_restart import Lost, Restart, Waiting, restarts
from engine.jobs import ended, owed, placing
from engine.jobs.evicted import connected, domains_of, evictable, record_of, refused, writes
from engine.jobs.host_admit import HostAdmit, needs_admission
from engine.jobs.host_evict import HostEvict, OnHost
from engine.jobs.job import JobType
from engine.jobs.ports import HostReport
from engine.jobs.vm_place import ENGINE_MARK, runs
from engine.jobs.vm_restart import RestartVm, VmRestart
from engine.jobs.vm_spec import parts_of
from engine.jobs.vm_state import MOVE
from engine.jobs.watcher import Watcher
from engine.store.entity import Entity
from gluster.model import PoolStatus

KEEP_EVERY_S = 2.0
"""As often as hosts are asked: a loss is known after 10 s of silence, and this adds little to it."""
AGAIN_S = 30.0
"""Before an eviction or an admission that failed is tried again: what hinders it (a pool that is busy, a VM that must be
ended by hand) takes longer than that to go away."""


@dataclass
class Keeper(Watcher):
    """One for the engine; its turns are taken one after the other."""

    watched: ClassVar[str] = "highly available VMs"
    _again_s: dict[tuple[str, str], float] = field(default_factory=dict)

    def turn(self) -> None:
        """Look and act once. What fails is logged, and tried with the next turn."""
        for act in (self._hosts, self._vms):
            try:
                act()
            except TrivetError as error:
                self._tell(act.__name__, f"{self.watched}: {error} [{error.code}]")

    # hosts

    def _hosts(self) -> None:
        reports, pool = self.nodes.reports(), self.nodes.pool()
        domains = evictable(self.entities)
        answering = sum(one.is_up for one in reports)
        for report in reports:
            host = self.entities.get("host", report.id)
            if host is None or not domains:
                continue
            if report.is_up:
                shut = frozenset[str]().union(*(_refused(pool, volume) for volume in domains.values()))
                if needs_admission(host, report.address, shut):
                    self._order(HostAdmit, OnHost(host.id, report.name, report.address, domains))
                continue
            suspect = Suspect(
                report.name, False, connected(pool, report.name), bool(record_of(host)), tuple(self._ha_names(host))
            )
            verdict = to_evict(suspect, answering, len(reports))
            self._tell(report.name, verdict.reason)
            if verdict.certain:
                self._order(HostEvict, OnHost(host.id, report.name, report.address, domains, verdict.reason))

    def _ha_names(self, host: Entity) -> Iterator[str]:
        """Those too that a job holds: it may wait for just this host."""
        for vm in self.entities.referring(host.key, "vm", "host"):
            if owed.is_ha(vm):
                yield vm.name

    def _order(self, kind: type[JobType[OnHost]], given: OnHost) -> None:
        now_s = self.desk.clock.monotonic_s()
        if now_s < self._again_s.get((kind.name, given.host_id), now_s):
            return
        if self._ordered(kind, given):
            self._again_s[kind.name, given.host_id] = now_s + AGAIN_S

    def _ordered(self, kind: type[JobType[OnHost]] | type[VmRestart], given: OnHost | RestartVm) -> bool:
        """Whether it was ordered: not if a job has the object already, or if it has changed since we looked."""
        try:
            self.desk.order(kind, given, owner_id="", correlation_id=str(uuid.uuid4()))
        except Conflict as error:
            self.log(f"not ordered: {error} [{error.code}]")
            return False
        return True

    # VMs

    def _vms(self) -> None:
        reports = self.nodes.reports()
        lost = [*self._silent(reports), *self._owed()]
        by_cluster: dict[str, list[tuple[Entity, Lost]]] = {}
        for vm, one in lost:
            by_cluster.setdefault(vm.ref("cluster"), []).append((vm, one))
        for cluster, found in sorted(by_cluster.items()):
            self._cluster(cluster, found, reports)

    def _silent(self, reports: Sequence[HostReport]) -> Iterator[tuple[Entity, Lost]]:
        """VMs of hosts that do not answer. Those of hosts that do are the follower's."""
        for report in reports:
            if report.is_up:
                continue
            for vm in self.entities.referring(("host", report.id), "vm", "host"):
                if vm.locked_as or ENGINE_MARK in vm.body or not runs(vm):
                    continue
                move = vm.body.get(MOVE)
                ran = [self._ran(one) for one in (report.id, *([str(move["host"])] if move else []))]
                full = placing.full_vm(self.entities, parts_of(self.entities, vm))
                yield vm, Lost(full, tuple(ran), writes(self.entities, vm))

    def _ran(self, host_id: str) -> Ran:
        """In the boot whose end was confirmed, if one was: the host has not answered since."""
        return Ran(host_id, ended.boot_of(self.entities.get("host", host_id)))

    def _owed(self) -> Iterator[tuple[Entity, Lost]]:
        """VMs that are down and are to run again."""
        now_ms = int(self.desk.clock.wall_s() * 1000)
        for row in self.entities.list(owed.KIND):
            vm = self.entities.need("vm", row.id)
            if vm.locked_as or runs(vm):
                continue
            if vm.status not in ("", "down") or not owed.is_ha(vm):
                owed.forget(self.entities, vm.id)
            elif int(row.body["tries"]) >= owed.TRIES_LIMIT:
                reason = f"it has failed {owed.TRIES_LIMIT} times and is not tried again: start it by hand"
                owed.waits(self.entities, self.desk.clock, row, reason)
            elif owed.is_due(row, now_ms):
                full = placing.full_vm(self.entities, parts_of(self.entities, vm))
                yield vm, Lost(full, (), over=str(row.body["why"]))

    def _cluster(self, cluster: str, lost: Sequence[tuple[Entity, Lost]], reports: Sequence[HostReport]) -> None:
        mine = {vm.id for vm, _one in lost}
        asked = {ran.host for _vm, one in lost for ran in one.ran}
        fates = {report.id: self._fate(report) for report in reports if report.id in asked}
        with self.entities.connection.transaction():
            scene = placing.look_at(self, cluster)
        promises = [one for one in scene.promises if one.vm.id not in mine]
        found = restarts([one for _vm, one in lost], fates, scene.hosts, scene.cluster, promises)
        for start in found.starts:
            self._start(start)
        for waiting in found.waiting:
            self._wait(waiting)

    def _fate(self, report: HostReport) -> Fate:
        """A host that may have a lost VM. Asked now if it answers: what it said last may be older than the loss."""
        host = self.entities.get("host", report.id)
        try:
            vms = self.nodes.vms(report.name).vms() if report.is_up else None
        except TrivetError as error:
            self.log(f"{report.name} cannot say which VMs it has: {error} [{error.code}]")
            vms = None
        has = frozenset(one.id.lower() for one in vms or ())
        return Fate(
            report.id,
            report.name,
            answers=vms is not None,
            vms=has,
            ended_boots=ended.ended_boots(host),
            evicted=domains_of(host),
        )

    def _start(self, start: Restart) -> None:
        if self._declared(start.vm.id, start.certainty):
            self.log(f"{start.vm.name}: {start.placement.reason} ({start.certainty})")
            now_ms = int(self.desk.clock.wall_s() * 1000)
            self._ordered(VmRestart, RestartVm(start.vm.id, start.placement.host, start.certainty, now_ms))

    def _wait(self, waiting: Waiting) -> None:
        vm_id = waiting.vm.id
        if waiting.is_over and self._declared(vm_id, waiting.reason):
            row = self.entities.get(owed.KIND, vm_id)
            if row is not None:
                owed.waits(self.entities, self.desk.clock, row, waiting.reason)
        elif not waiting.is_over:
            self._detail(vm_id, waiting.reason)

    def _declared(self, vm_id: str, why: str) -> bool:
        """Written down that its old run is over; ``False``: it is not what it was when we looked."""
        with self.entities.connection.transaction():
            vm = self.entities.need("vm", vm_id)
            if vm.locked_as:
                return False
            if runs(vm):
                owed.failed(self.entities, self.desk.clock, vm, vm.ref("host"), why)
        return True

    def _detail(self, vm_id: str, reason: str) -> None:
        """Why nobody knows: seen with the VM, which is ``unknown``."""

        def how(vm: Entity) -> Entity:
            return vm if vm.locked_as or vm.status != "unknown" else vm.with_body(status_detail=reason)

        self.entities.change("vm", vm_id, how)


def _refused(pool: PoolStatus | None, volume: str) -> frozenset[str]:
    """Whom a volume refuses, as far as it is known."""
    return refused(pool, volume) if pool is not None and pool.volume(volume) is not None else frozenset()
