"""The agent of one fake server: every interface of the real one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from appliance import layout, pki
from appliance.errors import Conflict, Denied, NotFound, Unavailable
from appliance.model.cluster import Cluster, Member, Membership
from appliance.model.ha import EngineHa, HaStatus, HostHa
from appliance.model.node import CpuFacts, Disk, FolderFacts, Nic, NodeFacts, NodeStatistics
from appliance.version import VERSION
from appliance.wire.definition import JoinHello, Reached, VolumeFile
from gluster.model import REJECT, STARTED, Brick, BrickHeal, Peer, PoolStatus, Volume, VolumeSpec
from gluster.mount_view import MountBrick
from installer.fake_servers import GIB, RESTART_CALLS, FakeServers, engine_runs


class FakeNode:
    """One server's agent. ``as_member``: the caller came with mutual TLS."""

    def __init__(self, servers: FakeServers, name: str, as_member: bool) -> None:
        self._servers = servers
        self._name = name
        self._as_member = as_member

    @property
    def _node(self) -> dict[str, Any]:
        """The state, if the caller gets in."""
        node: dict[str, Any] | None = self._servers.data["nodes"].get(self._name)
        if node is None:
            raise self._silent("nobody has that address")
        if node["silent_calls"]:
            node["silent_calls"] -= 1
            raise self._silent("it restarts")
        if bool(node["cluster_id"]) is not self._as_member:
            raise Denied(
                "agent.other-cluster" if self._as_member else "join.fingerprint",
                subject=self._name,
                reason=f"it is {'bare' if self._as_member else 'a member of another cluster, and bare no longer'}",
                remedy="Read its token again, or name another node.",
            )
        return node

    def _silent(self, why: str) -> Unavailable:
        return Unavailable("agent.unreachable", subject=self._name, reason=f"did not answer: {why}", remedy="Look at it.")

    def _admitted(self, token: str) -> dict[str, Any]:
        node = self._node
        if token != node["token"]:
            raise Denied(
                "join.token-wrong", subject=self._name, reason="the token is not this node's", remedy="Read it again there."
            )
        return node

    def _key(self) -> str:
        """The node's private key, made at the first use."""
        keys: dict[str, str] = self._servers.data["keys"]
        return keys.setdefault(self._name, pki.create_key())

    # JoinApi

    def join_hello(self, token: str) -> JoinHello:
        self._admitted(token)
        return JoinHello(self._facts(), "0" * 64)

    def join_folder(self, token: str, path: str) -> FolderFacts:
        self._admitted(token)
        return self._folder(path)

    def join_reach(self, token: str, name: str, port: int) -> Reached:
        self._admitted(token)
        return self._reach(name)

    def join_csr(self, token: str, name: str, address: str) -> str:
        self._admitted(token)
        request = pki.create_csr(self._key(), name, (name, address))
        self._servers.keep("join_csr")
        return request

    def join_accept(self, token: str, certificate_pem: str, ca_pem: str, cluster: Cluster, membership: Membership) -> None:
        node = self._admitted(token)
        subject = pki.verify_member(certificate_pem, ca_pem, self._key())
        node["cluster_id"] = cluster.id
        node["member"] = {"name": membership.name, "id": membership.node_id, "certificate": list(subject.sans)}
        node["token"] = ""
        node["silent_calls"] = RESTART_CALLS
        self._servers.keep("join_accept")

    # NodeApi

    def facts(self) -> NodeFacts:
        assert self._node
        return self._facts()

    def statistics(self) -> NodeStatistics:
        return NodeStatistics(16 * GIB, 12 * GIB, 0, 0, 0.1, 0.1, 0.1, 1.0, 1.0, 98.0, 100.0, ())

    def folder(self, path: str) -> FolderFacts:
        assert self._node
        return self._folder(path)

    def reach(self, name: str, port: int) -> Reached:
        node = self._node
        reached = self._reach(name)
        if port == layout.LIBVIRT_TLS_PORT:
            return Reached(reached.resolved, bool(node["libvirt"]))
        return reached

    def epoch(self) -> int:
        return 0

    def raise_epoch(self, epoch: int) -> int:
        return epoch

    def ha_status(self) -> HaStatus:
        assert self._node
        up = engine_runs(self._servers)
        host = HostHa(self._name, True, 100, (), "the engine runs here" if up else "waiting for a majority", up, 0.0)
        return HaStatus(
            EngineHa("up" if up else "down", self._name if up else "", 1 if up else 0, ""), "none", (host,), (), 0.1
        )

    def set_cluster(self, cluster: Cluster) -> None:
        assert self._node

    def leave_cluster(self) -> None:
        self._node.update(cluster_id="", member={})
        self._servers.keep("leave_cluster")

    def set_names(self, members: tuple[Member, ...], engine_fqdn: str, engine_address: str) -> None:
        self._node["names"] = {**{one.name: one.address for one in members}, engine_fqdn: engine_address}
        self._servers.keep("set_names")

    def unit(self, name: str, action: Literal["enable-start", "stop-disable", "restart", "state"]) -> str:
        units = self._node["units"]
        if action == "enable-start":
            units[name] = "active"
            self._servers.keep("unit")
        return str(units.get(name, "inactive"))

    def ensure_management_bridge(self, nic: str) -> None:
        self._node["bridged"] = True
        self._servers.keep("ensure_management_bridge")
        raise self._silent("its address moved to the bridge")

    def prepare_brick_disk(self, device: str, mount_point: str) -> None:
        node = self._node
        node["mount_points"] = sorted({*node["mount_points"], mount_point})
        node["folders"] = sorted({*node["folders"], mount_point})
        self._servers.keep("prepare_brick_disk")

    def configure_libvirt(self) -> None:
        self._node["libvirt"] = True
        self._servers.keep("configure_libvirt")

    # FilesApi

    def mount_volume(self, volume: str, servers: tuple[str, ...]) -> None:
        node = self._node
        if self._servers.data["volumes"].get(volume, {}).get("status") != STARTED:
            raise Conflict("volume.not-started", subject=volume, reason="it is not started", remedy="Start it.")
        if volume not in node["mounts"]:
            node["mounts"].append(volume)
        self._servers.keep("mount_volume")

    def unmount_volume(self, volume: str) -> None:
        self._node["mounts"].remove(volume)

    def list_files(self, volume: str, path: str) -> tuple[VolumeFile, ...]:
        return tuple(
            VolumeFile(name, file["size"], 0, file["folder"])
            for name, file in self._files(volume).items()
            if str(Path(name).parent) == (path or ".")
        )

    def make_folder(self, volume: str, path: str, owner_uid: int, mode: int) -> None:
        self._put(volume, path, size=0, folder=True, owner=owner_uid, mode=mode)
        self._servers.keep("make_folder")

    def make_disk(self, volume: str, path: str, size_bytes: int) -> None:
        self._put(volume, path, size=size_bytes, folder=False, owner=layout.QEMU_UID, mode=0o600)
        self._servers.keep("make_disk")

    def write_file(self, volume: str, path: str, content: str, mode: int) -> None:
        self._put(volume, path, size=len(content), folder=False, owner=0, mode=mode, content=content)
        self._servers.keep("write_file")

    def read_file(self, volume: str, path: str) -> str:
        found = self._files(volume).get(path)
        if found is None:
            raise NotFound("file.unknown", subject=path, reason="there is no such file", remedy="Look.")
        return str(found.get("content", ""))

    def remove_file(self, volume: str, path: str) -> None:
        self._files(volume).pop(path, None)

    def _put(self, volume: str, path: str, **file: object) -> None:
        parent = str(Path(path).parent)
        if parent != "." and parent not in self._files(volume):
            raise NotFound("file.missing", subject=parent, reason="there is no such folder", remedy="Make it.")
        self._files(volume)[path] = file

    def _files(self, volume: str) -> dict[str, Any]:
        if volume not in self._node["mounts"]:
            raise Conflict("volume.not-mounted", subject=volume, reason="it is not mounted", remedy="Mount it.")
        files: dict[str, Any] = self._servers.data["files"].setdefault(volume, {})
        return files

    # GlusterApi

    def gluster_configure(self) -> bool:
        changed = not self._node["configured"]
        self._node["configured"] = True
        self._servers.keep("gluster_configure")
        return changed

    def gluster_pool(self) -> PoolStatus:
        peers = tuple(Peer(f"uuid-{name}", name, (name,), True, "Peer in Cluster") for name in self._node["peers"])
        return PoolStatus(peers, tuple(_volume(name, data) for name, data in self._servers.data["volumes"].items()))

    def gluster_prepare_bricks(self, host: str, bricks: Mapping[str, str]) -> None:
        self._node["folders"] = sorted({*self._node["folders"], *bricks.values()})
        self._servers.keep("gluster_prepare_bricks")

    def gluster_probe(self, name: str) -> None:
        if name not in self._node["names"]:
            raise Conflict("gluster.failed", subject=name, reason="the name does not resolve", remedy="Write the names.")
        pool = {self._name, name, *self._node["peers"]}
        for one in pool:
            self._servers.data["nodes"][one]["peers"] = sorted(pool - {one})
        self._servers.keep("gluster_probe")

    def gluster_detach(self, name: str, force: bool) -> None:
        pool = {self._name, *self._node["peers"]} - {name}
        for one in pool:
            self._servers.data["nodes"][one]["peers"] = sorted(pool - {one})
        self._servers.data["nodes"][name]["peers"] = []
        self._servers.keep("gluster_detach")

    def gluster_create_volume(self, spec: VolumeSpec) -> None:
        missing = [place for place in spec.bricks if place.path not in self._servers.data["nodes"][place.host]["folders"]]
        strangers = {place.host for place in spec.bricks} - {self._name, *self._node["peers"]}
        if missing or strangers:
            raise Conflict("gluster.failed", subject=spec.name, reason=f"{missing} {strangers}", remedy="Prepare them.")
        bricks = [[place.host, place.path] for place in spec.bricks]
        self._servers.data["volumes"].setdefault(spec.name, {"bricks": bricks, "options": {}, "status": "Created"})
        self._servers.keep("gluster_create_volume")

    def gluster_set_options(self, volume: str, options: Mapping[str, str]) -> tuple[str, ...]:
        assert self._node
        self._servers.data["volumes"][volume]["options"].update(options)
        self._servers.keep("gluster_set_options")
        return tuple(options)

    def gluster_reject(self, volume: str, addresses: tuple[str, ...]) -> bool:
        assert self._node
        self._servers.data["volumes"][volume]["options"][REJECT] = ",".join(addresses)
        self._servers.keep("gluster_reject")
        return True

    def gluster_renew_refusals(self, volume: str) -> None:
        assert volume in self._servers.data["volumes"]

    def gluster_start(self, volume: str) -> None:
        assert self._node
        self._servers.data["volumes"][volume]["status"] = STARTED
        self._servers.keep("gluster_start")

    def gluster_heal_summary(self, volume: str) -> tuple[BrickHeal, ...]:
        assert self._node
        return ()

    def gluster_mount(self, volume: str) -> tuple[MountBrick, ...]:
        bricks = self._servers.data["volumes"][volume]["bricks"]
        return tuple(MountBrick(host, connected=True, open=True) for host, _path in bricks)

    def gluster_heal(self, volume: str) -> None:
        assert self._node

    def gluster_renew_healer(self) -> None:
        assert self._node

    # What it is

    def _folder(self, path: str) -> FolderFacts:
        node = self._servers.data["nodes"][self._name]
        on_root = not any(Path(path).is_relative_to(point) for point in node["mount_points"])
        return FolderFacts(path, path in node["folders"], True, "ext4", on_root, 100 * GIB, True)

    def _reach(self, name: str) -> Reached:
        nodes = self._servers.data["nodes"]
        address = nodes[self._name]["names"].get(name, name if name[:1].isdigit() else "")
        return Reached(address, any(node["address"] == address for node in nodes.values()))

    def _facts(self) -> NodeFacts:
        node = self._servers.data["nodes"][self._name]
        own = (f"{node['address']}/24",)
        nics = [Nic("eth0", "02:00:00:00:00:01", True, 1500, () if node["bridged"] else own, "", True)]
        if node["bridged"]:
            nics[0] = Nic("eth0", "02:00:00:00:00:01", True, 1500, (), layout.MANAGEMENT_BRIDGE, True)
            nics.append(Nic(layout.MANAGEMENT_BRIDGE, "02:00:00:00:00:01", True, 1500, own, "", False))
        return NodeFacts(
            name=self._name,
            node_id=str(uuid.uuid5(uuid.NAMESPACE_DNS, self._name)),
            cluster_id=node["cluster_id"],
            version=VERSION,
            wall_s=self._servers.clock.wall_s(),
            boot_id="boot",
            kernel="6.12",
            cpu=CpuFacts("test", 1, 2, 1, False),
            memory_bytes=8 * GIB,
            disks=(Disk("/dev/vdb", 100 * GIB, "test", False, node["disk_holds"]),),
            nics=tuple(nics),
            gluster_version="11.1",
            libvirt_version="11.3.0",
            qemu_version="10.0.0",
            gluster_peers=tuple(node["peers"]),
        )


def _volume(name: str, data: Mapping[str, Any]) -> Volume:
    bricks = tuple(Brick(host, path, online=data["status"] == STARTED) for host, path in data["bricks"])
    return Volume(f"id-{name}", name, "Replicate", data["status"], len(bricks), bricks, data["options"])
