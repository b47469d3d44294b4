"""The real agents, over HTTPS."""

from __future__ import annotations

from typing import TypeVar

from appliance import layout
from appliance.errors import Refused
from appliance.model.cluster import Member
from appliance.wire.client import connect
from appliance.wire.definition import FilesApi, JoinApi, NodeApi
from appliance.wire.tls import MutualTls, pin_of
from gluster.wire import GlusterApi

I = TypeVar("I")  # noqa: E741 - an interface


class HttpsAgents:
    """Connects to agents; as a caller of members it is the node that installs, with that node's own certificate."""

    def __init__(self, cluster_id: str) -> None:
        self._tls = MutualTls(
            ca=layout.PKI / "ca.pem",
            certificate=layout.PKI / "node.pem",
            key=layout.PKI / "node.key",
            cluster_id=cluster_id,
        )

    def bare(self, name: str, address: str, token: str) -> JoinApi:
        return connect(JoinApi, address, layout.AGENT_PORT, tls=pin_of(token), name=name)  # type: ignore[type-abstract]

    def node(self, member: Member) -> NodeApi:
        return self._member(NodeApi, member)  # type: ignore[type-abstract]

    def files(self, member: Member) -> FilesApi:
        return self._member(FilesApi, member)  # type: ignore[type-abstract]

    def gluster(self, member: Member) -> GlusterApi:
        return self._member(GlusterApi, member)  # type: ignore[type-abstract]

    def _member(self, interface: type[I], member: Member) -> I:
        if not self._tls.certificate.exists():
            raise Refused(
                "install.not-joined",
                subject="this node",
                reason=f"it has no certificate yet ({self._tls.certificate} is missing), so it cannot speak with members",
                remedy="Run `trivet install` again; it joins this node first.",
            )
        return connect(interface, member.address, layout.AGENT_PORT, tls=self._tls, name=member.name)
