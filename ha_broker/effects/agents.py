"""Other nodes' agents, asked in parallel under one deadline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from appliance.errors import TrivetError
from appliance.model.cluster import Cluster
from appliance.wire.client import connect
from appliance.wire.definition import NodeApi
from appliance.wire.tls import Tls


class WireAgents:
    """:class:`ha_broker.ports.Agents` over the agents' own protocol."""

    def __init__(self, cluster: Cluster, tls: Tls) -> None:
        self._cluster = cluster
        self._tls = tls

    def epochs(self, hosts: Sequence[str], deadline_s: float) -> Mapping[str, int]:
        return self._all(hosts, deadline_s, lambda node: node.epoch())

    def raise_epoch(self, hosts: Sequence[str], epoch: int, deadline_s: float) -> None:
        self._all(hosts, deadline_s, lambda node: node.raise_epoch(epoch))

    def _all(self, hosts: Sequence[str], deadline_s: float, ask: Callable[[NodeApi], int]) -> Mapping[str, int]:
        if not hosts:
            return {}
        pool = ThreadPoolExecutor(max_workers=len(hosts), thread_name_prefix="agent")
        asked = {pool.submit(ask, self._node(host, deadline_s)): host for host in hosts}
        answered, _ = wait(asked, timeout=deadline_s)
        pool.shutdown(wait=False, cancel_futures=True)
        # An agent that is away or refuses is simply absent from the answer: the caller counts.
        return {asked[one]: one.result() for one in answered if not isinstance(one.exception(), TrivetError)}

    def _node(self, host: str, deadline_s: float) -> NodeApi:
        member = self._cluster.member(host)
        assert member is not None
        return connect(NodeApi, member.address, tls=self._tls, name=host, timeout_s=deadline_s)  # type: ignore[type-abstract]
