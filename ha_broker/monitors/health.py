"""Is the engine up? Its own /health says, over TLS that the cluster's CA vouches for."""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path

from appliance.model.cluster import EngineVm

ANSWER_LIMIT_BYTES = 65_536
"""/health is a few hundred bytes; more is not the engine."""


class EngineHealth:
    """:class:`ha_broker.ports.Health`."""

    def __init__(self, engine: EngineVm, ca: Path, port: int) -> None:
        self._engine = engine
        self._ca = ca
        self._port = port
        self._context: ssl.SSLContext | None = None

    def epoch_up(self, deadline_s: float) -> int | None:
        """The epoch, when the engine answers "up". Not reached, another answer or a wrong certificate: None; all mean
        "not up"."""
        if self._context is None:
            self._context = ssl.create_default_context(cafile=str(self._ca))
        channel = http.client.HTTPSConnection(self._engine.address, self._port, timeout=deadline_s, context=self._context)
        try:
            channel.request("GET", "/health", headers={"Host": self._engine.fqdn, "Connection": "close"})
            answer = channel.getresponse()
            return epoch_of(answer.status, answer.read(ANSWER_LIMIT_BYTES))
        except (OSError, http.client.HTTPException):
            return None
        finally:
            channel.close()


def epoch_of(status: int, body: bytes) -> int | None:
    """The epoch in a /health answer that says "up"; None for any other answer."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    if status != 200 or not isinstance(value, dict) or value.get("status") != "up":
        return None
    epoch = value.get("epoch")
    return epoch if type(epoch) is int else None
