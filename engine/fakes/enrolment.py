"""Nodes that join and leave, over a folder: what each is, and who is in the pool, are files, so that they outlive the jobs
process, which tests kill.

Their addresses are their names, unless a test gives them others.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from appliance import layout
from appliance.codec import decode, encode
from appliance.effects.clock import SystemClock
from appliance.errors import Conflict, Denied, Failed, TrivetError, Unavailable
from appliance.model.cluster import Cluster, EngineVm, Member, Membership
from appliance.model.domain import DomainState
from appliance.model.network import HostCapabilities
from appliance.model.node import CpuFacts, Nic, NodeFacts
from appliance.version import VERSION
from appliance.wire.definition import JoinHello
from engine.fakes.points import nothing
from gluster.model import STARTED, Brick, Peer, PoolStatus, Volume
from gluster.plan import bricks_of, peer_has_bricks

VOLUMES = (layout.ENGINE_VOLUME, layout.VMSTORE_VOLUME)
GIB = 1024**3
RIGHT = -1.0
"""As ``wall_s``: its clock goes, and is right."""
TOKEN, FINGERPRINT = "abcdefghijklmnop.0123456789abcdef", "0123456789abcdef" * 4
NEXT_TOKEN = "newtokennewtoken.0123456789abcdef"  # noqa: S105 - of a node that has left
FOUNDED = Cluster(
    "c1", "trivet", (Member("node1", "node1", "node1"), Member("node2", "node2", "node2")),
    EngineVm("engine", "engine.lab", "198.18.0.100", 24, "", (), "52:54:00:00:00:01", 1024, 2, 4 * GIB),
)  # fmt: skip


@dataclass(frozen=True)
class FakeServer:
    """What one node is. ``cluster``: the names in its cluster file; empty: it is bare."""

    address: str
    token: str = ""
    name: str = ""
    node_id: str = ""
    cluster_id: str = ""
    cluster: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    bridge: bool = False
    libvirt: bool = False
    configured: bool = False
    mounted: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    resting: bool = False
    version: str = VERSION
    accelerated: bool = False
    cpu_models: tuple[str, ...] = (layout.GUEST_CPU_MODEL,)
    memory_bytes: int = 8 * GIB
    wall_s: float = 0.0
    off: bool = False


@dataclass
class FakeEnrolment:
    """:class:`engine.jobs.ports.Enrolment`. ``fail_with``: what a verb raises, by its name."""

    folder: Path
    founded: Cluster = FOUNDED
    point: Callable[[str], None] = nothing
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    ca_pem: str = "CA"

    def bare(self, address: str, token: str) -> FakeMember:
        return FakeMember(self, address)

    def member(self, member: Member) -> FakeMember:
        return FakeMember(self, member.address, member)

    def sign(self, member: Member, csr_pem: str) -> str:
        self.acts("sign")
        assert csr_pem == f"request of {member.name} {member.address}"
        return f"certificate of {member.name}"

    # the world

    def acts(self, verb: str) -> None:
        """A verb begins."""
        self.point(f"before {verb}")
        if verb in self.fail_with:
            raise self.fail_with[verb]

    def plug(self, address: str, **given: Any) -> None:
        """A bare node is switched on."""
        self.keep(FakeServer(address, **{"token": TOKEN, **given}))

    def server(self, address: str) -> FakeServer | None:
        """The node at an address."""
        path = self.folder / "servers" / address
        if not path.exists():
            known = next((one for one in self.founded.members if one.address == address), None)
            return self._founder(known) if known else None
        return decode(FakeServer, json.loads(path.read_text()), subject=address)

    def _founder(self, one: Member) -> FakeServer:
        names = tuple(member.name for member in self.founded.members)
        return FakeServer(
            one.address, "", one.name, one.id, self.founded.id, names, names, True, True, True, VOLUMES,
            ("trivet-ha.service",),
        )  # fmt: skip

    def keep(self, server: FakeServer) -> None:
        """It is so from now on."""
        path = self.folder / "servers" / server.address
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}")
        draft.write_text(json.dumps(encode(server)))
        draft.rename(path)

    def pool(self) -> dict[str, list[str]]:
        """``peers``: who is in it; ``bricks``: who has some; ``rejected``: addresses that the volumes refuse."""
        path, names = self.folder / "pool.json", [one.name for one in self.founded.members]
        return json.loads(path.read_text()) if path.exists() else {"peers": names, "bricks": names[:3], "rejected": []}

    def keep_pool(self, **changes: list[str]) -> None:
        """The pool is so from now on."""
        path = self.folder / "pool.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps({**self.pool(), **changes}))
        draft.rename(path)


@dataclass(frozen=True)
class FakeMember:
    """One node's agent: as :class:`engine.jobs.ports.BareNode`, and with ``as_member`` as ``MemberNode``."""

    world: FakeEnrolment
    address: str
    as_member: Member | None = None

    def _server(self) -> FakeServer:
        found = self.world.server(self.address)
        if found is None or found.off:
            reason = f"its agent at {self.address} did not answer"
            raise Unavailable("agent.unreachable", subject=self.address, reason=reason, remedy="Look at it.")
        if self.as_member is None and found.cluster_id:
            raise Conflict(
                "join.already-member", subject="this node", reason=f"it is a member of cluster {found.cluster_id} already",
                remedy="Install it anew.", facts={"cluster_id": found.cluster_id},
            )  # fmt: skip
        if self.as_member is not None and found.cluster_id != self.world.founded.id:
            raise Denied("agent.other-cluster", subject=self.address, reason="it is no member", remedy="Check the address.")
        return found

    def _admitted(self, token: str) -> FakeServer:
        found = self._server()
        if token.partition(".")[2] and not FINGERPRINT.startswith(token.partition(".")[2]):
            raise Denied("join.fingerprint", subject=self.address, reason="its certificate is another", remedy="Look.")
        if token.partition(".")[0] != found.token.partition(".")[0]:
            raise Denied("join.token-wrong", subject="join token", reason="it is not this node's", remedy="Read it again.")
        return found

    def _change(self, verb: str, **changes: Any) -> None:
        self.world.acts(verb)
        self.world.keep(replace(self._server(), **changes))
        self.world.point(f"after {verb}")

    # a bare node

    def join_hello(self, token: str) -> JoinHello:
        return JoinHello(self._facts(self._admitted(token)), FINGERPRINT)

    def join_csr(self, token: str, name: str, address: str) -> str:
        self._admitted(token)
        self.world.acts("csr")
        return f"request of {name} {address}"

    def join_accept(self, token: str, certificate_pem: str, ca_pem: str, cluster: Cluster, membership: Membership) -> None:
        self._admitted(token)
        member = cluster.member(membership.name)
        assert member is not None
        assert (member.id, certificate_pem) == (membership.node_id, f"certificate of {member.name}")
        names = tuple(one.name for one in cluster.members)
        self._change("accept", token="", name=member.name, node_id=member.id, cluster_id=cluster.id, cluster=names)

    # a member

    def facts(self) -> NodeFacts:
        return self._facts(self._server())

    def _facts(self, server: FakeServer) -> NodeFacts:
        cpu, bridge = CpuFacts("Intel Xeon", 1, 8, 1, server.accelerated), "ovirtmgmt" if server.bridge else ""
        address = (f"{server.address}/24",)
        nics = [Nic("eth0", "52:54:00:00:00:14", True, 1500, () if bridge else address, bridge, True)]
        nics += [Nic("ovirtmgmt", "52:54:00:00:00:14", True, 1500, address, "", False)] if bridge else []
        inside = self.world.pool()["peers"]
        peers = tuple(one for one in inside if one != server.name) if server.name in inside else ()
        wall_s = server.wall_s if server.wall_s >= 0 else SystemClock().wall_s()
        return NodeFacts(
            server.name or "localhost", server.node_id, server.cluster_id, server.version, wall_s, "boot", "6.12",
            cpu,
            server.memory_bytes, (), tuple(nics), "11.1", "11.3.0", "10.0.2", peers,
        )  # fmt: skip

    def capabilities(self) -> HostCapabilities:
        server = self._server()
        return HostCapabilities(server.accelerated, "pc-q35-10.0", 255, server.cpu_models, True, False)

    def set_cluster(self, cluster: Cluster) -> None:
        self._change("set-cluster", cluster=tuple(one.name for one in cluster.members))

    def set_names(self, members: tuple[Member, ...], engine_fqdn: str, engine_address: str) -> None:
        self._change("set-names", names=tuple(one.name for one in members))

    def leave_cluster(self) -> None:
        if self._server().mounted:
            raise Conflict("node.in-use", subject="this node", reason="a volume is mounted", remedy="Unmount it.")
        self.world.acts("leave")
        self.world.keep(FakeServer(self.address, token=NEXT_TOKEN))
        self.world.point("after leave")

    def unit(self, name: str, action: Literal["enable-start", "stop-disable", "restart", "state"]) -> str:
        units = set(self._server().units)
        if action == "enable-start":
            self._change("unit", units=tuple(sorted(units | {name})))
        elif action == "stop-disable":
            self._change("unit", units=tuple(sorted(units - {name})))
        return "active" if name in self._server().units else "inactive"

    def ensure_management_bridge(self, nic: str) -> None:
        assert nic == "eth0"
        self._change("bridge", bridge=True)

    def configure_libvirt(self) -> None:
        self._change("libvirt", libvirt=True)

    def gluster_configure(self) -> bool:
        self._change("configure", configured=True)
        return True

    def gluster_pool(self) -> PoolStatus:
        name, pool = self._server().name, self.world.pool()
        inside = pool["peers"] if name in pool["peers"] else []
        peers = tuple(Peer(one, one, (one,), True, "Peer in Cluster") for one in inside if one != name)
        return PoolStatus(peers, tuple(self._volume(one) for one in VOLUMES) if inside else ())

    def _volume(self, name: str) -> Volume:
        pool = self.world.pool()
        bricks = tuple(Brick(one, f"/data/{name}", True) for one in pool["bricks"])
        options = {"auth.reject": ",".join(pool["rejected"])} if pool["rejected"] else {}
        return Volume(name, name, "Replicate", STARTED, 3, bricks, options)

    def gluster_probe(self, name: str) -> None:
        self.world.acts("probe")
        if name not in self._server().names:
            raise Failed("gluster.failed", subject=name, reason="the name does not resolve", remedy="Write the names.")
        self.world.keep_pool(peers=sorted({*self.world.pool()["peers"], name}))
        self.world.point("after probe")

    def gluster_detach(self, name: str, force: bool) -> None:
        self.world.acts("detach")
        pool = self.world.pool()
        held = bricks_of([self._volume(one) for one in VOLUMES], [name])
        if held:
            raise peer_has_bricks(name, held)
        self.world.keep_pool(peers=[one for one in pool["peers"] if one != name])
        self.world.point("after detach")

    def gluster_reject(self, volume: str, addresses: tuple[str, ...]) -> bool:
        self.world.acts("reject")
        self.world.keep_pool(rejected=sorted(addresses))
        self.world.point("after reject")
        return True

    def mount_volume(self, volume: str, servers: tuple[str, ...]) -> None:
        if self.address in self.world.pool()["rejected"]:
            raise Failed("process.failed", subject=volume, reason="the bricks refuse this client", remedy="Admit it.")
        assert servers
        self._change("mount", mounted=tuple(sorted({*self._server().mounted, volume})))

    def domains(self) -> tuple[DomainState, ...]:
        return tuple(DomainState(one, True, True) for one in self._server().mounted)

    def domain_unmount(self, domain: str) -> None:
        self._change("unmount", mounted=tuple(one for one in self._server().mounted if one != domain))

    def remove_file(self, volume: str, path: str) -> None:
        self.world.acts("remove-file")
        self.world.point("after remove-file")

    def ha_local_maintenance(self, on: bool) -> None:
        self._change("rest", resting=on)
