"""Bare servers in memory, and in one JSON file, so that whoever uses them can be killed and come back to the same world.

They behave as the real agents were seen to: after it accepted its certificate an agent is silent for a moment, the call
that makes the bridge breaks off although it worked, names resolve only after they were written, a volume can be made
only on peers that have settled. ``after`` is called after each call that changed something: tests kill themselves there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance import layout
from appliance.effects.clock import Clock
from appliance.effects.files import write_atomically

GIB = 1024**3
RESTART_CALLS = 3
"""So many calls find an agent silent after it accepted its certificate."""


def bare_node(address: str) -> dict[str, Any]:
    """The state of a server that was just booted from the node image."""
    return {
        "address": address,
        "token": "ABCDEFGHIJKLMNOP",
        "cluster_id": "",
        "member": {},
        "silent_calls": 0,
        "names": {},
        "bridged": False,
        "configured": False,
        "folders": ["/data"],
        "mount_points": ["/data"],
        "disk_holds": "",
        "peers": [],
        "mounts": [],
        "libvirt": False,
        "units": {},
    }


class FakeServers:
    """Servers, their pool and its files, kept in ``path``."""

    def __init__(self, path: Path, clock: Clock, after: Callable[[str], None] = lambda call: None) -> None:
        self._path = path
        self.clock = clock
        self.after = after
        self.data: dict[str, Any] = {"nodes": {}, "volumes": {}, "files": {}, "keys": {}}
        if path.exists():
            self.data = json.loads(path.read_text())

    def add(self, name: str, address: str) -> None:
        """Rack another server."""
        self.data["nodes"][name] = bare_node(address)
        self.keep("add")

    def keep(self, call: str) -> None:
        """Write the world down; what happened before is now so, also after a kill."""
        write_atomically(self._path, json.dumps(self.data, indent=1, sort_keys=True), 0o600)
        self.after(call)

    def at(self, address: str) -> str:
        """The name of the server at ``address``, or empty."""
        return next((name for name, node in self.data["nodes"].items() if node["address"] == address), "")

    def seen(self) -> dict[str, Any]:
        """The world without what is random in it (keys), for comparing two ends."""
        world = json.loads(json.dumps(self.data))
        del world["keys"]
        world["files"] = {volume: files for volume, files in world["files"].items() if files}
        for files in world["files"].values():
            for file in files.values():
                if file.get("content"):
                    file["content"], file["size"] = sorted(json.loads(file["content"])), 0
        return dict(world)


def engine_runs(servers: FakeServers) -> bool:
    """Has a majority of brokers started an engine that has all its files?"""
    files = servers.data["files"].get(layout.ENGINE_VOLUME, {})
    brokers = [node["units"].get("trivet-ha.service") == "active" for node in servers.data["nodes"].values()]
    return {"engine-vm/identity.json", "engine-vm/data.raw"} <= set(files) and sum(brokers) * 2 > len(brokers)
