"""From the command line to a serving page: which files, which port."""

from __future__ import annotations

import os
from pathlib import Path

from appliance import layout
from appliance.effects.clock import SystemClock
from appliance.effects.network import listen
from appliance.verbs.ha_status import STATUS_FILE
from ha_broker.page.server import BACKLOG, PageServer, server_context
from ha_broker.page.site import Site


def serve(address: str, port: int) -> None:
    """Serve until ended, or until a day is over. Raises ``Conflict`` (``agent.port-taken``), ``OSError`` without
    certificate."""
    folder = Path(os.environ.get("CREDENTIALS_DIRECTORY", layout.PKI))
    clock = SystemClock()
    context = server_context(folder / "node.pem", folder / "node.key")
    PageServer(listen(address, port, BACKLOG), context, Site(STATUS_FILE, clock), clock).serve()
