"""What an installation asks of the outside.

The real ones are in :mod:`installer.here` and :mod:`installer.agents`, the fakes in :mod:`installer.fake`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from appliance.effects.clock import Clock
from appliance.model.cluster import Cluster, Member
from appliance.model.engine_start import EngineIdentity
from appliance.wire.definition import FilesApi, JoinApi, NodeApi
from gluster.wire import GlusterApi
from installer.answers import Answers


class Agents(Protocol):
    """The nodes' agents. Nothing is sent before a method of the object returned is called."""

    def bare(self, name: str, address: str, token: str) -> JoinApi:
        """The agent of a bare node, pinned by the token's fingerprint."""

    def node(self, member: Member) -> NodeApi:
        """The agent of a member, by mutual TLS with this node's own certificate."""

    def files(self, member: Member) -> FilesApi: ...

    def gluster(self, member: Member) -> GlusterApi: ...


class InstallingNode(Protocol):
    """The machine that installs: its name service, and the secrets that it keeps for the cluster."""

    def resolve(self, name: str) -> str:
        """The IP address of ``name`` (an IP address is itself), or empty."""

    def has_address(self, address: str) -> bool:
        """Is ``address`` one of this machine's?"""

    def engine_image_problem(self) -> str:
        """What is wrong with this node's engine image, or empty."""

    def new_id(self, what: str) -> str:
        """A new UUID. ``what`` says for what (fakes make it repeatable by that)."""

    def draft(self) -> Cluster | None:
        """The cluster of an interrupted or finished installation on this machine."""

    def keep_draft(self, cluster: Cluster) -> None: ...

    def ca_pem(self) -> str:
        """The CA's certificate, or empty when there is no complete CA (certificate and key) yet."""

    def make_ca(self, cluster: Cluster) -> None: ...

    def sign_node(self, cluster: Cluster, member: Member, csr_pem: str) -> str:
        """The certificate (PEM) of a node. Raises ``Refused`` when the request names something else."""

    def has_admin_password(self) -> bool: ...

    def make_admin_password(self) -> None:
        """Generate the password of ``admin@internal`` into its file (0600). An existing one stays."""

    def engine_identity(self, cluster: Cluster, ssh_authorized_keys: tuple[str, ...]) -> EngineIdentity:
        """What the engine is given at its first start: hash of the password, a new certificate, the CA."""

    def kept_answers(self) -> str:
        """The answers of a finished installation (TOML, without tokens), or empty."""

    def keep_answers(self, text: str) -> None: ...

    def engine_health(self, cluster: Cluster) -> dict[str, object]:
        """What ``/health`` of the engine says. Raises ``Unavailable`` (``engine.unreachable``)."""


@dataclass(frozen=True)
class World:
    """What every step gets."""

    answers: Answers
    cluster: Cluster
    agents: Agents
    installing: InstallingNode
    clock: Clock
