"""The real :class:`ha_broker.drill.ports.Field`: this node's files, the agents of all, the engine's /health."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from appliance import layout
from appliance.effects.clock import Clock
from appliance.effects.files import PRIVATE, make_folders, write_atomically
from appliance.effects.root import Root
from appliance.errors import TrivetError
from appliance.model.cluster import Member
from appliance.model.ha import HaDecision, HaStatus
from appliance.verbs.ha_status import STATUS_FILE
from appliance.verbs.membership import MembershipFiles
from appliance.wire.client import connect
from appliance.wire.definition import NodeApi, VmApi
from gluster.model import PoolStatus
from gluster.wire import GlusterApi
from ha_broker.known import known
from ha_broker.monitors.health import EngineHealth

T = TypeVar("T")

ASK_S = 1.0
"""For a host's status; one that does not answer then is left out."""
HEALTH_S = 2.0


class NodeField:
    """Seen from one node."""

    def __init__(self, clock: Clock) -> None:
        files = MembershipFiles(Root())
        self.cluster, self._own = files.require()
        self._tls = files.tls()
        self._clock = clock
        self._health = EngineHealth(self.cluster.engine, layout.PKI / "ca.pem", layout.ENGINE_PORT)

    def status(self) -> HaStatus:
        status, error = known(STATUS_FILE, self._clock)
        if error is not None:
            raise error
        return status

    def pool(self) -> PoolStatus:
        return self._connect(GlusterApi, self._member(self._own.name), None).gluster_pool()

    def end_engine_vm(self, host: str) -> None:
        self._connect(VmApi, self._member(host), None).vm_destroy(name=layout.ENGINE_VM_NAME)

    def decisions(self) -> Sequence[HaDecision]:
        with ThreadPoolExecutor(max_workers=len(self.cluster.members)) as pool:
            found = pool.map(self._decisions_of, self.cluster.members)
            return [one for decisions in found for one in decisions]

    def _decisions_of(self, member: Member) -> tuple[HaDecision, ...]:
        try:
            return self._connect(NodeApi, member, ASK_S).ha_status().decisions
        except TrivetError:
            return ()  # the very host that was ended may not answer; the others tell what they heard

    def epoch_up(self) -> int | None:
        return self._health.epoch_up(HEALTH_S)

    def host_of_engine(self) -> str:
        return known(STATUS_FILE, self._clock)[0].engine.host

    def keep(self, name: str, text: str) -> str:
        make_folders(layout.HA_STATE, 0o700)
        write_atomically(layout.HA_STATE / name, text, PRIVATE)
        return str(layout.HA_STATE / name)

    def _member(self, name: str) -> Member:
        member = self.cluster.member(name)
        assert member is not None
        return member

    def _connect(self, interface: Callable[..., T], member: Member, timeout_s: float | None) -> T:
        return connect(interface, member.address, tls=self._tls, name=member.name, timeout_s=timeout_s)  # type: ignore[arg-type]
