"""What is at which path. Reads nothing but the status file of this node's broker."""

from __future__ import annotations

import json
from pathlib import Path

from appliance.codec import encode
from appliance.effects.clock import Clock
from appliance.errors import TrivetError
from appliance.model.ha import EngineHa, HaStatus
from appliance.verbs.ha_status import read_status
from ha_broker import limits
from ha_broker.known import silent
from ha_broker.page import view
from ha_broker.page.http import Answer, Request

HTML = "text/html; charset=utf-8"
JSON = "application/json"
HEADERS = {
    "Content-Security-Policy": view.POLICY,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Sent with every answer. No HSTS: a browser that was not given the cluster's CA must be able to look all the same."""


class Site:
    """Answers requests out of the status file at ``path``."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def answer(self, request: Request) -> Answer:
        """``/`` leads to the engine while it is up and is the page otherwise; ``/status`` is always the page."""
        if request.path not in ("/", "/status", "/status.json"):
            return Answer(404, "here are /, /status and /status.json\n", headers=HEADERS)
        status, error = self._status()
        if request.path == "/status.json":
            data = {**encode(status), **({"error": error.as_json()} if error else {})}
            return Answer(200, json.dumps(data, ensure_ascii=False, indent=2) + "\n", JSON, HEADERS)
        url = view.engine_url(status)
        if request.path == "/" and url and error is None and status.engine.state == "up":
            return Answer(302, f"the engine is up: {url}\n", headers={**HEADERS, "Location": url})
        return Answer(200, view.page(status, error, self._clock.wall_s()), HTML, HEADERS)

    def _status(self) -> tuple[HaStatus, TrivetError | None]:
        try:
            status = read_status(self._path, self._clock)
        except TrivetError as error:
            return HaStatus(EngineHa("unknown", "", 0, ""), "none", (), (), 0.0), silent(error.reason)
        except OSError as error:
            return HaStatus(EngineHa("unknown", "", 0, ""), "none", (), (), 0.0), silent(f"{self._path}: {error.strerror}")
        if status.broker_age_s <= limits.BROKER_SILENT_S:
            return status, None
        return status, silent(f"it finished its last turn {status.broker_age_s:.0f} s ago; what is shown is from then")
