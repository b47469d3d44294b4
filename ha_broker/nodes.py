"""The members through their agents: what :mod:`ha_broker.planned` looks at and acts with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from appliance import layout
from appliance.errors import NotFound, TrivetError, Unavailable
from appliance.model.cluster import Cluster
from appliance.model.ha import HaStatus, HostHa
from appliance.model.vm import VmState
from appliance.wire.client import connect
from appliance.wire.definition import NodeApi, VmApi
from appliance.wire.tls import Tls
from gluster.model import PoolStatus
from gluster.wire import GlusterApi
from ha_broker import limits
from ha_broker.maintenance import HostView, View
from ha_broker.state import Brick
from ha_broker.wire import HaApi

I = TypeVar("I")  # noqa: E741 - an interface

LOOK_DEADLINE_S: Final = 5.0
"""An agent answers in milliseconds; one that takes longer counts as silent in this look."""
MIB: Final = 1 << 20


class AgentNodes:
    """:class:`ha_broker.planned.Nodes`, asked from the node called ``here``."""

    def __init__(self, cluster: Cluster, here: str, tls: Tls) -> None:
        self._cluster = cluster
        self._here = here
        self._tls = tls

    def view(self) -> View:
        names = [member.name for member in self._cluster.members]
        with ThreadPoolExecutor(max_workers=len(names) + 1) as threads:
            pool = threads.submit(self._pool)
            hosts = tuple(threads.map(self._host, names))
            engine = next((host.name for host in hosts if any(_runs_engine(vm) for vm in host.vms)), "")
            bricks = self._bricks(engine)
            status, error = pool.result()
        return View(hosts, engine, bricks, status, error)

    def vms(self, node: str) -> tuple[VmState, ...]:
        return self._to(VmApi, node, LOOK_DEADLINE_S).vms()  # type: ignore[type-abstract]

    def set_local_maintenance(self, node: str, on: bool) -> None:
        self._to(HaApi, node).ha_local_maintenance(on)  # type: ignore[type-abstract]

    def in_local_maintenance(self, node: str) -> bool:
        return self._to(HaApi, node).ha_in_local_maintenance()  # type: ignore[type-abstract]

    def told(self, node: str) -> bool:
        try:
            host = _of(self._to(NodeApi, node, LOOK_DEADLINE_S).ha_status(), node)  # type: ignore[type-abstract]
        except TrivetError:
            return False  # asked again until the deadline, which says who did not answer
        return host is not None and host.maintenance

    def migrate(self, node: str, vm: str, target: str) -> None:
        self._to(VmApi, node).vm_migrate(vm, target)  # type: ignore[type-abstract]

    def destroy(self, node: str, vm: str) -> None:
        self._to(VmApi, node).vm_destroy(vm)  # type: ignore[type-abstract]

    def heal(self) -> None:
        for volume in (layout.ENGINE_VOLUME, layout.VMSTORE_VOLUME):
            self._to(GlusterApi, self._here).gluster_heal(volume)  # type: ignore[type-abstract]

    def _host(self, name: str) -> HostView:
        try:
            vms = self.vms(name)
            node = self._to(NodeApi, name, LOOK_DEADLINE_S)  # type: ignore[type-abstract]
            free_mib = node.statistics().memory_available_bytes // MIB
            status = node.ha_status()
            unopened = self._unopened(name)
        except TrivetError as error:
            return HostView(name, False, False, 0, False, 0, reason=error.reason)
        mine = _of(status, name)
        silent = status.broker_age_s > limits.BROKER_SILENT_S
        if mine is None or silent:
            return HostView(name, True, False, 0, False, free_mib, vms, "its broker is silent", unopened)
        why = "; ".join(mine.reasons)
        return HostView(name, True, mine.alive, mine.score, mine.maintenance, free_mib, vms, why, unopened)

    def _unopened(self, name: str) -> tuple[str, ...]:
        """A volume that is not mounted has nothing open there; an agent of before has no such question."""
        try:
            bricks = self._to(GlusterApi, name, LOOK_DEADLINE_S).gluster_mount(layout.VMSTORE_VOLUME)  # type: ignore[type-abstract]
        except (NotFound, Unavailable) as error:
            if isinstance(error, Unavailable) and error.code != "gluster.not-mounted":
                raise
            return ()
        return tuple(one.host for one in bricks if one.connected and not one.open)

    def _bricks(self, engine_host: str) -> tuple[Brick, ...]:
        if not engine_host:
            return ()
        try:
            return self._to(HaApi, engine_host).ha_bricks()  # type: ignore[type-abstract]
        except TrivetError:
            return ()  # not known: which is an objection of its own

    def _pool(self) -> tuple[PoolStatus | None, str]:
        try:
            return self._to(GlusterApi, self._here).gluster_pool(), ""  # type: ignore[type-abstract]
        except TrivetError as error:
            return None, error.reason

    def _to(self, interface: type[I], node: str, timeout_s: float | None = None) -> I:
        member = self._cluster.member(node)
        assert member is not None
        return connect(interface, member.address, tls=self._tls, name=node, timeout_s=timeout_s)


def _runs_engine(vm: VmState) -> bool:
    return vm.name == layout.ENGINE_VM_NAME and vm.power in ("running", "migrating")


def _of(status: HaStatus, name: str) -> HostHa | None:
    return next((host for host in status.hosts if host.name == name), None)
