"""What this node is a member of: the two files that make a bare node a member, and its certificate."""

from __future__ import annotations

import json
from typing import TypeVar

from appliance import layout
from appliance.codec import decode, encode
from appliance.effects.files import PRIVATE, make_folders, write_atomically
from appliance.effects.root import Root
from appliance.errors import Conflict, Failed, Refused
from appliance.model.cluster import Cluster, Membership
from appliance.wire.tls import MutualTls

T = TypeVar("T")

NODE_KEY = layout.PKI / "node.key"
NODE_CERTIFICATE = layout.PKI / "node.pem"
CA_CERTIFICATE = layout.PKI / "ca.pem"
CA_KEY = layout.PKI / "ca.key"
"""On the node that installed the cluster."""


class MembershipFiles:
    """``cluster.json``, ``node.json`` and ``pki/`` below a root. ``node.json`` comes last: with it the node is a member."""

    def __init__(self, root: Root) -> None:
        self._root = root

    def cluster(self) -> Cluster | None:
        """The cluster, or None on a bare node. Raises ``Failed`` (``node.state-damaged``)."""
        return self._read(Cluster, layout.CLUSTER_FILE) if self.membership() else None

    def membership(self) -> Membership | None:
        """Which member this node is, or None on a bare node. Raises ``Failed`` (``node.state-damaged``)."""
        return self._read(Membership, layout.NODE_FILE)

    def require(self) -> tuple[Cluster, Membership]:
        """Cluster and membership. Raises ``Conflict`` (``node.bare``) on a bare node."""
        cluster, membership = self.cluster(), self.membership()
        if cluster is None or membership is None:
            raise Conflict(
                "node.bare",
                subject="this node",
                reason="it is not a member of a cluster yet",
                remedy="Make a cluster with `trivet install`, on this node or on another.",
            )
        return cluster, membership

    def write(self, cluster: Cluster, membership: Membership) -> None:
        """Become that member (durable when this returns)."""
        self.write_cluster(cluster)
        self._write(layout.NODE_FILE, membership)

    def write_cluster(self, cluster: Cluster) -> None:
        """Replace the cluster file."""
        self._write(layout.CLUSTER_FILE, cluster)

    def replace_cluster(self, cluster: Cluster) -> None:
        """Replace the cluster file by a newer one of the same cluster. Raises ``Conflict`` (``cluster.other``)."""
        held, _ = self.require()
        if held.id != cluster.id:
            raise Conflict(
                "cluster.other",
                subject=f"cluster {cluster.name}",
                reason=f"its id is {cluster.id}, this node is a member of {held.id}",
                remedy="Send the cluster that this node belongs to.",
            )
        self.write_cluster(cluster)

    def forget(self) -> None:
        """Be a member no longer. ``node.json`` goes first, as it came last: without it the node is bare, and what a crash
        leaves is nobody's. Asked twice, the second call finds it so."""
        names = [layout.NODE_FILE, layout.CLUSTER_FILE, NODE_CERTIFICATE, NODE_KEY, CA_CERTIFICATE, CA_KEY]
        for name in (*names, layout.EPOCH_FILE):  # another cluster's engine counts from 1
            self._root.at(name).unlink(missing_ok=True)

    def tls(self) -> MutualTls:
        """This node's own certificate, as a caller of other agents. Raises ``Conflict`` (``node.bare``)."""
        cluster, _ = self.require()
        at = self._root.at
        return MutualTls(at(CA_CERTIFICATE), at(NODE_CERTIFICATE), at(NODE_KEY), cluster.id)

    def _read(self, kind: type[T], path: object) -> T | None:
        place = self._root.at(str(path))
        try:
            text = place.read_text()
        except FileNotFoundError:
            return None
        try:
            return decode(kind, json.loads(text), subject=str(place), ignore_unknown=True)
        except (ValueError, Refused) as error:
            raise Failed(
                "node.state-damaged",
                subject=str(place),
                reason=f"it cannot be read ({error})",
                remedy="Copy cluster.json from another node; node.json holds this node's name and ids.",
            ) from error

    def _write(self, path: object, value: object) -> None:
        place = self._root.at(str(path))
        make_folders(place.parent, 0o711)
        write_atomically(place, json.dumps(encode(value), indent=2) + "\n", PRIVATE)


class MemberNames:
    """The names of the members, from the cluster file as it is now: read again when it has changed."""

    def __init__(self, root: Root) -> None:
        self._files = MembershipFiles(root)
        self._place = root.at(layout.CLUSTER_FILE)
        self._seen: tuple[tuple[int, int], frozenset[str]] | None = None

    def __call__(self) -> frozenset[str]:
        """Raises ``Failed`` (``node.state-damaged``); of a bare node: nobody."""
        try:
            found = self._place.stat()
        except FileNotFoundError:
            return frozenset()
        mark = (found.st_ino, found.st_mtime_ns)
        if self._seen is None or self._seen[0] != mark:
            cluster = self._files.cluster()
            self._seen = mark, frozenset(one.name for one in cluster.members) if cluster else frozenset()
        return self._seen[1]
