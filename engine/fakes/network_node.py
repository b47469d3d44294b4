"""A node's networks over a folder: what was set last is a file, so that it outlives the jobs process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from appliance.codec import decode, encode
from appliance.errors import NotFound, TrivetError
from appliance.model.network import LogicalNetwork
from engine.fakes.points import nothing

NICS = ("", "eth0", "eth1", "eth2")


@dataclass
class FakeNetworkNode:
    """:class:`engine.jobs.ports.NetworkNode`. It has the NICs eth0 (of the management network), eth1 and eth2."""

    name: str
    folder: Path
    point: Callable[[str], None] = nothing
    fail_with: dict[str, TrivetError] = field(default_factory=dict)

    @property
    def _file(self) -> Path:
        return self.folder / "networks" / f"{self.name}.json"

    def networks(self) -> tuple[LogicalNetwork, ...]:
        if not self._file.exists():
            return ()
        return decode(tuple[LogicalNetwork, ...], json.loads(self._file.read_text()), subject=str(self._file))

    def set_networks(self, networks: tuple[LogicalNetwork, ...]) -> None:
        self.point("before networks")
        if "networks" in self.fail_with:
            raise self.fail_with["networks"]
        for one in networks:
            if one.nic not in NICS:
                reason = f"network {one.name} is to be on it, and there is none"
                raise NotFound("nic.unknown", subject=f"NIC {one.nic}", reason=reason, remedy="Name another one.")
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(encode(networks)))
        self.point("after networks")
