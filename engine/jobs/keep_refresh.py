"""Keep running VMs' disks open on every brick: what a brick has lost while it was away is opened anew by moving the VM.

Hosts tell what their mounts see, without asking a brick. The decisions are pure: engine/decide/refresh.py, and of heals that
writers starve engine/decide/starved.py; of bricks that shut a host out engine/decide/shut_out.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from appliance.errors import TrivetError
from engine.decide.refresh import AGAIN_S, Mount, Opened, Refresh, refresh
from engine.decide.shut_out import shut_out
from engine.decide.starved import Behind, starved
from engine.jobs.evicted import evictable, record_of, uses
from engine.jobs.pool_admit import AdmitToPool, PoolAdmit
from engine.jobs.pool_heal import HealPool, PoolHeal
from engine.jobs.ports import HostReport
from engine.jobs.vm_migrate import MigrateVm, VmMigrate
from engine.jobs.vm_place import ENGINE_MARK
from engine.jobs.vm_state import ARRIVED, MOVE, RUN
from engine.jobs.watcher import Watcher
from engine.store.audit import Audit
from engine.store.entity import Entity
from gluster.model import PoolStatus
from gluster.mount_view import NOT_MOUNTED

TURN_S = 15.0
"""A mount's view is four small files; nobody waits for it, and a refresh waits longer than that for steady connections."""
STAYS = {"pinned": "it is pinned to its host", "user_migratable": "only people may migrate it"}
"""``placement_policy.affinity`` → why it is not moved by itself."""


@dataclass
class RefreshKeeper(Watcher):
    """One for the engine; its turns are taken one after the other. It remembers since when a mount is as it is, and whom it
    has moved: one that starts anew waits again, and may move a VM once more."""

    watched: ClassVar[str] = "disks on every brick"
    _since: dict[tuple[str, str], tuple[tuple[str, ...], float]] = field(default_factory=dict)
    _moved_s: dict[str, float] = field(default_factory=dict)
    _warned: frozenset[tuple[str, tuple[str, ...]]] = frozenset()
    """VM and hosts of bricks, of which people know."""
    _behind: dict[str, Behind] = field(default_factory=dict)
    _told_s: dict[str, float] = field(default_factory=dict)
    """Volume → when its bricks were told last whom they refuse."""

    def turn(self) -> None:
        """Look at all hosts, and move at most one VM."""
        self._tried("all", self._look)

    def _look(self) -> None:
        domains, pool = evictable(self.entities), self.nodes.pool()
        seen = [one for report in self._hosts() for one in self._mounts(report, sorted(set(domains.values())), pool)]
        self._open_doors(domains, seen, pool)
        mounts = [one for one in seen if one.is_mounted]
        self._help_heals(domains, mounts)
        for one in mounts:
            if not one.unopened:
                self._said.pop(one.about, None)
        if not any(one.unopened for one in mounts):
            self._warned = frozenset()
            return
        vms = self.entities.list("vm")
        running = [one for one in vms if one.status == "up" and ENGINE_MARK not in one.body]
        now_s = self.desk.clock.monotonic_s()
        self._moved_s = {vm: at_s for vm, at_s in self._moved_s.items() if now_s - at_s < AGAIN_S}
        tried = {vm: now_s - at_s for vm, at_s in self._moved_s.items()}
        is_moving = any(MOVE in one.body for one in vms)
        found = refresh(mounts, [self._opened(one, domains) for one in running], tried, is_moving)
        for about, text in found.words:
            self._tell(about, text)
        self._warn(found)
        if found.vm is not None:
            self._move(found, found.vm, now_s)

    def _open_doors(self, domains: Mapping[str, str], mounts: list[Mount], pool: PoolStatus | None) -> None:
        now_s = self.desk.clock.monotonic_s()
        tried = {volume: now_s - at_s for volume, at_s in self._told_s.items()}
        for one in shut_out(mounts, pool, tried):
            self._told_s[one.volume] = now_s
            domain = self._domain(domains, one.volume)
            if domain is not None:
                self.log(f"{', '.join(one.hosts)}: a brick of {domain.name} runs and shuts them out: bricks are told anew")
                self._order_now(PoolAdmit, AdmitToPool(domain.id, one.volume, one.hosts))

    def _domain(self, domains: Mapping[str, str], volume: str) -> Entity | None:
        return next((one for one in self.entities.list("storage_domain") if domains.get(one.name) == volume), None)

    def _help_heals(self, domains: Mapping[str, str], mounts: list[Mount]) -> None:
        self._behind, due = starved(self._behind, mounts, self.desk.clock.monotonic_s())
        for volume in due:
            domain = self._domain(domains, volume)
            if domain is not None:
                self.log(f"the heal of {domain.name} does not go on: its writers are made to let go of their locks")
                self._order_now(PoolHeal, HealPool(domain.id, volume))

    def _warn(self, found: Refresh) -> None:
        """An event for each VM that only people can help, once for as long as it is so."""
        for vm, bricks in found.staying:
            if (vm.id, bricks) not in self._warned:
                values = {"vm": vm.name, "bricks": ", ".join(bricks), "reason": vm.stays}
                audit = Audit(self.entities.connection, self.desk.clock)
                audit.tell("TRIVET_VM_MAY_MISS_COPY", {"vm": vm.id, "host": vm.host}, values)
        self._warned = frozenset((vm.id, bricks) for vm, bricks in found.staying)

    def _hosts(self) -> Iterator[HostReport]:
        """Those that answer and are not evicted: such a one is admitted first."""
        for report in self.nodes.reports():
            host = self.entities.get("host", report.id)
            if report.is_up and host is not None and not record_of(host):
                yield report

    def _mounts(self, report: HostReport, volumes: list[str], pool: PoolStatus | None) -> Iterator[Mount]:
        for volume in volumes:
            found = pool.volume(volume) if pool else None
            try:
                bricks = self.nodes.pools(report.name).gluster_mount(volume)
            except TrivetError as error:
                self._tell(f"{volume} on {report.name}", f"{self.watched}: {error} [{error.code}]")
                if error.code == NOT_MOUNTED and found is not None:
                    away = tuple(one.host for one in found.bricks)
                    steady_s = self._steady_s((report.id, volume), away)
                    yield Mount(report.id, report.name, volume, away, steady_s=steady_s, is_mounted=False)
                continue
            away = tuple(one.host for one in bricks if not one.connected)
            unopened = tuple(one.host for one in bricks if one.connected and not one.open)
            steady_s = self._steady_s((report.id, volume), away)
            yield Mount(report.id, report.name, volume, away, unopened, steady_s, found.unhealed if found else None)

    def _steady_s(self, mount: tuple[str, str], away: tuple[str, ...]) -> float:
        now_s = self.desk.clock.monotonic_s()
        before, since_s = self._since.get(mount, (away, now_s))
        self._since[mount] = (away, since_s if before == away else now_s)
        return now_s - self._since[mount][1]

    def _opened(self, vm: Entity, domains: Mapping[str, str]) -> Opened:
        volumes = frozenset(domains[name] for name in uses(self.entities, vm) if name in domains)
        arrived = (vm.body.get(RUN) or {}).get(ARRIVED)
        opened_ms = int(arrived or vm.body.get("start_time") or 0)
        policy = str((vm.body.get("placement_policy") or {}).get("affinity") or "")
        stays = STAYS.get(policy, "") or ("a job has it" if vm.locked_as else "")
        return Opened(vm.id, vm.name, vm.ref("host"), volumes, opened_ms, stays)

    def _move(self, found: Refresh, vm: Opened, now_s: float) -> None:
        """One that is refused (a backup holds it, no other host has room) is tried again like one that was moved."""
        self._moved_s[vm.id] = now_s
        given = MigrateVm(vm.id, found.hosts, correlation_id=str(uuid.uuid4()), why=found.why)
        self._order_now(VmMigrate, given, given.correlation_id)
