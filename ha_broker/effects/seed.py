"""The seed disk on the volume, rendered by the appliance's verb."""

from __future__ import annotations

import json
from pathlib import Path

from appliance.codec import decode
from appliance.model.engine_start import EngineIdentity, EngineStart
from appliance.ports import Processes
from appliance.verbs.seed import render_seed


class VolumeSeed:
    """:class:`ha_broker.ports.Seed`. ``instance_id`` is cloud-init's: the cluster's id, so that it runs once."""

    def __init__(self, processes: Processes, path: Path, identity: Path, instance_id: str) -> None:
        self._processes = processes
        self._path = path
        self._identity = identity
        self._instance_id = instance_id

    def ensure(self, start: EngineStart) -> None:
        if not self._path.exists():
            self.write(start)

    def write(self, start: EngineStart) -> None:
        value = json.loads(self._identity.read_text())
        identity = decode(EngineIdentity, value, subject=str(self._identity), code="ha.identity", ignore_unknown=True)
        render_seed(self._processes, self._path, start, identity, self._instance_id)
