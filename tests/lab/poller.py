"""An HTTP client of the engine that asks every 100 ms and writes down how each answer went.

Run as a program inside the lab's network (``python3 poller.py ADDRESS CA FQDN [PATIENCE]``), because lab addresses are
nobody's outside it; a line of JSON for each question goes to stdout until it is ended. One connection is kept, as browsers
and the SDKs do, and made anew after a failure.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
import time

EVERY_S = 0.1
FAILED_AFTER_S = 1.0
"""Whoever looks for the moment at which a lost engine is back gives each question so long. PATIENCE seconds instead: what a
client of people waits, whose question is answered late and not lost."""


class Client:
    """One kept connection."""

    def __init__(self, address: str, ca: str, name: str, patience_s: str = str(FAILED_AFTER_S)) -> None:
        self._address = address
        self._patience_s = float(patience_s)
        self._name = name
        self._tls = ssl.create_default_context(cafile=ca)
        self._connection: http.client.HTTPConnection | None = None

    def ask(self) -> dict[str, object]:
        """What /health says. Raises ``OSError``, ``ValueError`` or ``HTTPException``."""
        if self._connection is None:
            raw = socket.create_connection((self._address, 443), self._patience_s)
            raw.settimeout(self._patience_s)
            self._connection = http.client.HTTPConnection(self._name)
            self._connection.sock = self._tls.wrap_socket(raw, server_hostname=self._name)
        try:
            self._connection.request("GET", "/health")
            answer = self._connection.getresponse()
            said = json.loads(answer.read())
            if answer.will_close:
                self.close()
            return dict(said)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def main() -> None:
    client = Client(*sys.argv[1:5])
    while True:
        began_s = time.monotonic()
        line: dict[str, object] = {"wall_s": time.time()}
        try:
            said = client.ask()
            line |= {"up": said.get("status") == "up", "host": said.get("host"), "epoch": said.get("epoch")}
        except (OSError, ValueError, http.client.HTTPException) as error:
            client.close()
            line |= {"up": False, "error": f"{type(error).__name__}: {error}"}
        took_s = time.monotonic() - began_s
        print(json.dumps({**line, "took_s": round(took_s, 3)}), flush=True)
        time.sleep(max(0.0, EVERY_S - took_s))


if __name__ == "__main__":
    main()
