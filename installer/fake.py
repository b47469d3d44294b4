"""The installer's ports over the fake servers of :mod:`installer.fake_servers`."""

from __future__ import annotations

import uuid
from pathlib import Path

from appliance.errors import Unavailable
from appliance.fakes.wire import FakeWire
from appliance.model.cluster import Cluster, Member
from appliance.model.engine_start import EngineIdentity
from appliance.wire.definition import FilesApi, JoinApi, NodeApi
from gluster.wire import GlusterApi
from installer.fake_node import FakeNode
from installer.fake_servers import FakeServers, engine_runs
from installer.here import ThisNode


class FakeAgents:
    """:class:`installer.ports.Agents` over :class:`FakeServers`."""

    def __init__(self, servers: FakeServers) -> None:
        self._servers = servers

    def bare(self, name: str, address: str, token: str) -> JoinApi:
        return FakeWire(name).client(JoinApi, FakeNode(self._servers, self._servers.at(address), False))  # type: ignore[type-abstract]

    def node(self, member: Member) -> NodeApi:
        return FakeWire(member.name).client(NodeApi, self._member(member))  # type: ignore[type-abstract]

    def files(self, member: Member) -> FilesApi:
        return FakeWire(member.name).client(FilesApi, self._member(member))  # type: ignore[type-abstract]

    def gluster(self, member: Member) -> GlusterApi:
        return FakeWire(member.name).client(GlusterApi, self._member(member))  # type: ignore[type-abstract]

    def _member(self, member: Member) -> FakeNode:
        return FakeNode(self._servers, self._servers.at(member.address), True)


class FakeInstallingNode(ThisNode):
    """The real files below ``state``; addresses, ids and the engine come from the fake servers."""

    def __init__(self, servers: FakeServers, state: Path, name: str) -> None:
        super().__init__(servers.clock, state=state, images=state)
        self._servers = servers
        self._name = name
        self.resolvable: dict[str, str] = {}

    def resolve(self, name: str) -> str:
        return self.resolvable.get(name, name if name[:1].isdigit() else "")

    def has_address(self, address: str) -> bool:
        return self._servers.at(address) == self._name

    def engine_image_problem(self) -> str:
        return ""

    def new_id(self, what: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, what))

    def keep_draft(self, cluster: Cluster) -> None:
        super().keep_draft(cluster)
        self._servers.after("keep_draft")

    def make_ca(self, cluster: Cluster) -> None:
        super().make_ca(cluster)
        self._servers.after("make_ca")

    def sign_node(self, cluster: Cluster, member: Member, csr_pem: str) -> str:
        signed = super().sign_node(cluster, member, csr_pem)
        self._servers.after("sign_node")
        return signed

    def make_admin_password(self) -> None:
        super().make_admin_password()
        self._servers.after("make_admin_password")

    def engine_identity(self, cluster: Cluster, ssh_authorized_keys: tuple[str, ...]) -> EngineIdentity:
        identity = super().engine_identity(cluster, ssh_authorized_keys)
        self._servers.after("engine_identity")
        return identity

    def keep_answers(self, text: str) -> None:
        super().keep_answers(text)
        self._servers.after("keep_answers")

    def engine_health(self, cluster: Cluster) -> dict[str, object]:
        if not engine_runs(self._servers):
            raise Unavailable("engine.unreachable", subject="engine", reason="nobody answers", remedy="Wait.")
        return {"status": "up"}
