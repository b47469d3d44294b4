"""Calls to an agent: ``connect(NodeApi, …)`` gives an object with the interface's methods.

Every call is a connection of its own, with one deadline for all of it (connecting, handshake, sending, answer): so a client
object is thread-safe, has nothing to reconnect, and a peer that drips bytes gains no time. Who asks the same node every few
seconds keeps its connections for the next question (``keep``), because two handshakes in a row cost more than all else. Only
the standard library is used, because the broker, the engine and the installer all carry this.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, TypeVar, cast
from urllib.parse import quote

from appliance.codec import decode, encode
from appliance.errors import TrivetError, Unavailable, from_json
from appliance.layout import AGENT_PORT
from appliance.wire.definition import ALIVE_PATH, EPOCH_HEADER, Route, route
from appliance.wire.kept import Connection, Kept
from appliance.wire.signatures import Method, methods
from appliance.wire.tls import PinnedTls, Tls, other_cluster, wrong_certificate, wrong_date

I = TypeVar("I")  # noqa: E741 - an interface

ANSWER_LIMIT_BYTES = 8 * 1024 * 1024
"""Larger answers are refused: the largest real one, the file list of a full volume, is a tenth of it."""

Transport = Callable[[Method, str, Mapping[str, Any]], object]
"""(method, path with its placeholders filled, arguments of the body) → the JSON of ``result``. Raises TrivetError."""


def connect(
    interface: type[I],
    address: str,
    port: int = AGENT_PORT,
    tls: Tls | None = None,
    epoch: int | None = None,
    name: str = "",
    timeout_s: float | None = None,
    keep: bool = False,
) -> I:
    """A client of ``interface`` at the agent on ``address``. Nothing is sent before the first call.

    ``name`` is how errors call the node (default: its address), ``epoch`` is sent with each call, ``timeout_s`` replaces the
    deadlines of the routes. With ``keep`` a connection over which something was read is used again within
    :data:`appliance.wire.kept.KEPT_FOR_S`. Calls raise what the agent raised, or ``Unavailable`` ``agent.unreachable``,
    or ``Denied`` ``agent.other-cluster``.
    """
    wire = HttpsTransport(name or address, address, port, tls or PinnedTls(""), epoch, timeout_s, keep)
    return client_of(interface, wire)


def client_of(interface: type[I], transport: Transport) -> I:
    """A client object whose methods go through ``transport`` (the fake in :mod:`appliance.fakes.wire` uses this)."""
    namespace: dict[str, Any] = {method.name: _caller(method) for method in methods(interface)}
    namespace["_transport"] = staticmethod(transport)
    return cast(I, type(f"{interface.__name__}Client", (), namespace)())


def path_with(method: Method, given: Mapping[str, Any]) -> str:
    """The path of a method with its placeholders filled from ``given``."""
    path = method.route.path
    for name in method.in_path:
        path = path.replace(f"{{{name}}}", quote(str(given[name]), safe=""))
    return path


def _caller(method: Method) -> Callable[..., Any]:
    names = tuple(method.arguments)

    def call(self: Any, *positional: Any, **named: Any) -> Any:
        if len(positional) > len(names):
            raise TypeError(f"{method.name}() takes {len(names)} arguments, {len(positional)} were given")
        given = {**dict(zip(names, positional, strict=False)), **named}
        if set(given) != set(names):
            raise TypeError(f"{method.name}() needs the arguments {names}, given were {tuple(given)}")
        path = path_with(method, given)
        body = {name: encode(value) for name, value in given.items() if name not in method.in_path}
        result = self._transport(method, path, body)
        return decode(method.answer, result, subject=f"answer of {path}", code="agent.answer", ignore_unknown=True)

    call.__name__ = method.name
    return call


class HttpsTransport:
    """The :data:`Transport` to a real agent; for callers that know the route only at run time (`trivet agent call`)."""

    def __init__(
        self,
        node: str,
        address: str,
        port: int,
        tls: Tls,
        epoch: int | None,
        timeout_s: float | None,
        keep: bool = False,
    ) -> None:
        self._node = node
        self._address = address
        self._port = port
        self._tls = tls
        self._epoch = epoch
        self._timeout_s = timeout_s
        self._kept = Kept() if keep else None

    def __call__(self, method: Method, path: str, body: Mapping[str, Any]) -> object:
        timeout_s = self._timeout_s if self._timeout_s is not None else method.route.timeout_s
        try:
            status, data = self._exchange(method.route, path, body, _Deadline(timeout_s))
        except ssl.SSLCertVerificationError as error:
            raise wrong_certificate(self._node, self._address, error) from error
        except ssl.SSLError as error:
            raise self._tls_refused(error) from error
        except TimeoutError as error:
            raise self._unreachable(f"did not answer within {timeout_s:g} s", path) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(f"{error or type(error).__name__}", path) from error
        return self._result(status, data, path)

    def _exchange(self, route: Route, path: str, body: Mapping[str, Any], deadline: _Deadline) -> tuple[int, bytes]:
        # What changes something is never sent over a connection that may be dead: nobody would know whether it arrived.
        kept = self._kept if route.verb == "GET" else None
        request = self._request(route, path, body, kept is not None)
        answer = self._ask_kept(request, deadline, kept) if kept is not None else None
        return answer or self._ask(self._connected(deadline), request, deadline, route.verb, kept)

    def _ask_kept(self, request: bytes, deadline: _Deadline, kept: Kept) -> tuple[int, bytes] | None:
        """The answer over a kept connection. None: there is none, or the agent has closed it meanwhile."""
        idle = kept.take()
        if idle is None:
            return None
        try:
            return self._ask(idle, request, deadline, "GET", kept)
        except (ConnectionError, http.client.HTTPException, ssl.SSLError):
            return None  # a new one will say what is the matter

    def _connected(self, deadline: _Deadline) -> Connection:
        with ExitStack() as undo:
            plain = socket.create_connection((self._address, self._port), timeout=deadline.left_s())
            undo.callback(plain.close)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.settimeout(deadline.left_s())
            channel = self._tls.context().wrap_socket(plain, server_hostname=self._address)
            undo.callback(channel.close)
            self._tls.admit(self._node, channel)
            undo.pop_all()
            return Connection(channel)

    @staticmethod
    def _ask(connection: Connection, request: bytes, deadline: _Deadline, verb: str, kept: Kept | None) -> tuple[int, bytes]:
        channel = connection.channel
        with ExitStack() as end:
            end.callback(channel.close)
            channel.settimeout(deadline.left_s())
            channel.sendall(request)
            status, data, stays = _read_answer(channel, deadline, verb)
            if stays and kept is not None and kept.put(connection):
                end.pop_all()
            return status, data

    def _request(self, route: Route, path: str, body: Mapping[str, Any], keep: bool) -> bytes:
        content = json.dumps(body).encode() if route.verb == "POST" else b""
        headers = [f"{route.verb} {path} HTTP/1.1", f"Host: {self._node}"]
        headers.append("Connection: keep-alive" if keep else "Connection: close")
        if self._epoch is not None:
            headers.append(f"{EPOCH_HEADER}: {self._epoch}")
        if content:
            headers += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        return "\r\n".join([*headers, "", ""]).encode() + content

    def _result(self, status: int, data: bytes, path: str) -> object:
        try:
            answer = json.loads(data)
        except ValueError as error:
            raise self._unreachable(f"answered {status} with something that is not JSON", path) from error
        if status == 200 and isinstance(answer, dict) and "result" in answer:
            return answer["result"]
        found = answer.get("error") if isinstance(answer, dict) else None
        raise from_json(status, found if isinstance(found, dict) else {})

    def _unreachable(self, reason: str, path: str) -> Unavailable:
        return Unavailable(
            "agent.unreachable",
            subject=self._node,
            reason=f"its agent at {self._address}:{self._port} {_as_clause(reason)} ({path})",
            remedy="Check that the node is on, that the network reaches it, and `systemctl status trivet-agent` there.",
            facts={"address": self._address, "port": self._port},
        )

    def _tls_refused(self, error: ssl.SSLError) -> TrivetError:
        text = str(error).lower().replace("_", " ")
        if "alert" in text and "certificate expired" in text:
            return wrong_date(self._node, "it says that our certificate has expired")
        if "alert" in text and ("unknown ca" in text or "certificate" in text):
            return other_cluster(self._node, f"it refused our certificate ({error.reason})")
        return self._unreachable(f"broke off the TLS handshake ({error.reason or error})", "TLS")


def _as_clause(reason: str) -> str:
    return reason if reason.startswith(("did not", "answered", "broke")) else f"could not be asked: {reason}"


class _Deadline:
    def __init__(self, timeout_s: float) -> None:
        self._end_s = time.monotonic() + timeout_s

    def left_s(self) -> float:
        left = self._end_s - time.monotonic()
        if left <= 0:
            raise TimeoutError("deadline")
        return left


class _DeadlineReader(io.RawIOBase):
    """Reads a socket under one deadline for all reads together."""

    def __init__(self, channel: socket.socket, deadline: _Deadline) -> None:
        self._channel = channel
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._channel.settimeout(self._deadline.left_s())
        return self._channel.recv_into(buffer)


class _Readable:
    """What ``http.client.HTTPResponse`` asks of a socket."""

    def __init__(self, channel: socket.socket, deadline: _Deadline) -> None:
        self._reader = _DeadlineReader(channel, deadline)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._reader)


def _read_answer(channel: socket.socket, deadline: _Deadline, verb: str) -> tuple[int, bytes, bool]:
    """(status, body, whether the connection can be used again)."""
    response = http.client.HTTPResponse(cast(socket.socket, _Readable(channel, deadline)), method=verb)
    response.begin()
    data = response.read(ANSWER_LIMIT_BYTES + 1)
    if len(data) > ANSWER_LIMIT_BYTES:
        raise http.client.HTTPException(f"answered more than {ANSWER_LIMIT_BYTES} bytes")
    return response.status, data, response.isclosed() and not response.will_close


def seen_fingerprint(address: str, port: int = AGENT_PORT, timeout_s: float = 10.0) -> str:
    """SHA-256 (hex) of the certificate that the agent at ``address`` shows, for people. Raises ``Unavailable``."""
    import hashlib

    try:
        with (
            socket.create_connection((address, port), timeout=timeout_s) as plain,
            PinnedTls("").context().wrap_socket(plain) as channel,
        ):
            return hashlib.sha256(channel.getpeercert(binary_form=True) or b"").hexdigest()
    except OSError as error:
        raise Unavailable(
            "agent.unreachable",
            subject=address,
            reason=f"its agent at {address}:{port} could not be asked: {error}",
            remedy="Check that the node is on and that the network reaches it.",
        ) from error


class _AliveApi:
    @route("GET", ALIVE_PATH, "join", 5.0)
    def alive(self) -> str:
        raise NotImplementedError  # an interface: connect() makes the object


def alive(address: str, port: int = AGENT_PORT, timeout_s: float | None = None) -> None:
    """Return when an agent answers there, whoever it is. Raises ``Unavailable`` (``agent.unreachable``)."""
    connect(_AliveApi, address, port, timeout_s=timeout_s).alive()
