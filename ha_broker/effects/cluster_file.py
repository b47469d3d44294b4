"""Whether this node's cluster file still says what its broker was made from."""

from __future__ import annotations

from appliance import layout
from appliance.effects.root import Root
from appliance.errors import TrivetError
from appliance.model.cluster import Cluster
from appliance.verbs.membership import MembershipFiles


class ClusterFile:
    """Looked at each turn: two system calls, and a reading when it was replaced."""

    def __init__(self, root: Root, known: Cluster) -> None:
        self._files = MembershipFiles(root)
        self._place = root.at(layout.CLUSTER_FILE)
        self._known = known
        self._seen = self._mark()

    def differs(self) -> bool:
        """Whether the members, or the engine VM, are others now. A file that is missing or damaged says nothing: a broker
        with what it knows is better than one that cannot start."""
        mark = self._mark()
        if mark is None or mark == self._seen:
            return False
        self._seen = mark
        try:
            found = self._files.cluster()
        except TrivetError:
            return False
        return found is not None and found != self._known

    def _mark(self) -> tuple[int, int] | None:
        try:
            found = self._place.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns
