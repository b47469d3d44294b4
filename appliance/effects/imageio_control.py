"""ovirt-imageio's control socket: HTTP with JSON over a Unix socket, one connection a question, each with a deadline."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.errors import Conflict, Failed, Unavailable

CONTROL_TIMEOUT_S = 15.0
"""It answers from memory; only a removal waits, at most ``REMOVE_TIMEOUT_S``, for what is being written."""
ANSWER_LIMIT_BYTES = 64 * 1024
REMEDY = "`journalctl -u trivet-imageio` on that node says more."


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class ImageioControl:
    """:class:`appliance.ports.TicketDaemon`, really."""

    def __init__(self, path: Path, timeout_s: float = CONTROL_TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def put(self, ticket: str, body: Mapping[str, Any]) -> None:
        self._ask("PUT", ticket, body)

    def get(self, ticket: str) -> Mapping[str, Any] | None:
        return self._ask("GET", ticket)

    def extend(self, ticket: str, timeout_s: int) -> bool:
        return self._ask("PATCH", ticket, {"timeout": timeout_s}) is not None

    def delete(self, ticket: str) -> None:
        self._ask("DELETE", ticket)

    def _ask(self, verb: str, ticket: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any] | None:
        """Its answer, empty when it has nothing to say; ``None``: there is no such ticket."""
        connection = _UnixConnection(self._path, self._timeout_s)
        try:
            content = None if body is None else json.dumps(dict(body)).encode()
            connection.request(verb, f"/tickets/{ticket}", content)
            answer = connection.getresponse()
            said = answer.read(ANSWER_LIMIT_BYTES)
        except (OSError, http.client.HTTPException) as error:
            reason = f"its control socket did not answer ({error or type(error).__name__})"
            raise Unavailable("imageio.unreachable", subject="ovirt-imageio", reason=reason, remedy=REMEDY) from error
        finally:
            connection.close()
        if answer.status == http.client.NOT_FOUND:
            return None
        return self._understood(answer.status, said.decode(errors="replace"))

    @staticmethod
    def _understood(status: int, said: str) -> Mapping[str, Any]:
        if status == http.client.CONFLICT:
            reason = "a client is still transferring with it"
            raise Conflict("image.ticket-busy", subject="the ticket", reason=reason, remedy="Try again in some seconds.")
        try:
            found = json.loads(said) if status < http.client.BAD_REQUEST and said else {}
        except ValueError:
            found = None
        if status >= http.client.BAD_REQUEST or not isinstance(found, dict):
            reason = f"it answered {status}: {said[:200]}"
            raise Failed("imageio.refused", subject="ovirt-imageio", reason=reason, remedy=REMEDY)
        return found
