"""The agent's routes, made from the interface classes: decode, admit, call, encode. No route is written by hand.

The application is plain WSGI data flow: who calls is in the TLS socket that gunicorn leaves in the environment
(``gunicorn.socket``), what may be called is decided by a :class:`Gate`, errors leave as ``{"error": …}`` with the status
of their family.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from appliance.codec import decode, encode
from appliance.errors import Failed, NotFound, Refused, TrivetError
from appliance.wire.definition import ALIVE_PATH, EPOCH_HEADER, Access
from appliance.wire.signatures import Method, check_implementation, methods
from appliance.wire.tls import subject

BODY_LIMIT_BYTES = 1024 * 1024
"""The largest real request is a written file: 256 KiB of text, at most twice that as JSON."""


@dataclass(frozen=True)
class Caller:
    """Who calls, by certificate; all empty when none was shown."""

    name: str = ""
    cluster_id: str = ""
    unit: str = ""


class Gate(Protocol):
    """Decides who may call what."""

    def admit(self, access: Access, caller: Caller, epoch: int | None) -> None:
        """Return, or raise ``Denied`` or ``Conflict``. ``epoch`` is the header's value."""


@dataclass(frozen=True)
class Service:
    """An interface and the object that implements it."""

    interface: type
    implementation: object


def create_app(services: Sequence[Service], gate: Gate) -> Flask:
    """The WSGI application. Raises ``Failed`` (``agent.interface``) when an implementation differs from its interface."""
    app = Flask("appliance.agent", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT_BYTES
    app.url_map.strict_slashes = False
    for service in services:
        check_implementation(service.interface, service.implementation)
        for method in methods(service.interface):
            _add(app, service, method, gate)
    app.add_url_rule(ALIVE_PATH, "alive", lambda: _json(200, {"result": "alive"}), methods=["GET"])
    app.register_error_handler(Exception, _failure)
    return app


def _add(app: Flask, service: Service, method: Method, gate: Gate) -> None:
    function: Callable[..., object] = getattr(service.implementation, method.name)

    def view(**in_path: str) -> Response:
        gate.admit(method.route.access, caller_of(request.environ), _epoch_header())
        result = function(**_arguments(method, in_path))
        return _json(200, {"result": encode(result)})

    rule = method.route.path.replace("{", "<").replace("}", ">")
    app.add_url_rule(rule, f"{service.interface.__name__}.{method.name}", view, methods=[method.route.verb])


def caller_of(environ: Mapping[str, Any]) -> Caller:
    """The caller of a request, from the TLS socket; a test puts a ``trivet.caller`` of its own there."""
    if isinstance(given := environ.get("trivet.caller"), Caller):
        return given
    ask = getattr(environ.get("gunicorn.socket"), "getpeercert", None)
    found = subject(ask() if ask else None)
    return Caller(found.get("commonName", ""), found.get("organizationName", ""), found.get("organizationalUnitName", ""))


def _epoch_header() -> int | None:
    text = request.headers.get(EPOCH_HEADER)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Refused(
            "engine.epoch-invalid",
            subject=EPOCH_HEADER,
            reason=f"{text[:40]!r} is not a whole number",
            remedy="Send the epoch as decimal digits.",
        )
    return int(text)


def _arguments(method: Method, in_path: Mapping[str, str]) -> dict[str, Any]:
    body = _body() if method.route.verb == "POST" else {}
    unknown = [name for name in body if name not in method.arguments or name in in_path]
    if unknown:
        known = ", ".join(method.arguments) or "none"
        raise _bad_request(method, f"attribute {unknown[0]!r} is unknown; known here: {known}")
    arguments: dict[str, Any] = {}
    for name, kind in method.arguments.items():
        if name in in_path:
            arguments[name] = _path_value(method, name, kind, in_path[name])
        elif name in body:
            arguments[name] = _decoded(method, name, kind, body[name])
        else:
            raise _bad_request(method, f"attribute {name!r} is missing")
    return arguments


def _decoded(method: Method, name: str, kind: Any, value: object) -> Any:
    return decode(kind, value, subject=f"{method.route.path}: {name}", code="agent.request")


def _path_value(method: Method, name: str, kind: Any, text: str) -> Any:
    if kind is int:
        return _decoded(method, name, kind, int(text) if text.isascii() and text.isdigit() else text)
    return text


def _body() -> Mapping[str, Any]:
    raw = request.get_data()
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Refused(
            "agent.request", subject=request.path, reason=f"its body is not JSON ({error})", remedy="Send a JSON object."
        ) from error
    if not isinstance(body, dict):
        raise Refused("agent.request", subject=request.path, reason="its body is no object", remedy="Send a JSON object.")
    return body


def _bad_request(method: Method, reason: str) -> Refused:
    return Refused("agent.request", subject=method.route.path, reason=reason, remedy="Correct it and try again.")


def _json(status: int, data: object) -> Response:
    return Response(json.dumps(data, ensure_ascii=False), status=status, mimetype="application/json")


def _failure(error: Exception) -> Response:
    """Every error as coded JSON. What nobody expected goes to the log with its traceback."""
    if isinstance(error, TrivetError):
        return _json(error.status, {"error": error.as_json()})
    if isinstance(error, HTTPException):
        coded = _of_http(error)
        return _json(error.code or 500, {"error": coded.as_json()})
    traceback.print_exception(error, file=sys.stderr)
    coded = Failed(
        "agent.defect",
        subject=request.path,
        reason=f"an error that nobody expected: {type(error).__name__}: {error}",
        remedy="This is a defect of Trivet. Report it with the lines of `journalctl -u trivet-agent`.",
    )
    return _json(coded.status, {"error": coded.as_json()})


def _of_http(error: HTTPException) -> TrivetError:
    where = f"{request.method} {request.path[:200]}"
    if error.code == 404:
        return NotFound("agent.route-unknown", subject=where, reason="there is no such route", remedy="Compare versions.")
    if error.code == 405:
        return Refused("agent.verb", subject=where, reason="this route takes another verb", remedy="Compare the versions.")
    if error.code == 413:
        return Refused(
            "agent.body-too-large",
            subject=where,
            reason=f"its body is larger than {BODY_LIMIT_BYTES} bytes",
            remedy="Send less at once.",
        )
    return Refused("agent.request", subject=where, reason=str(error.description), remedy="Correct it and try again.")
