"""The WSGI application: everything is handed in, nothing happens at import."""

from __future__ import annotations

import logging

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from appliance.errors import Refused, TrivetError
from engine.api import dispatch, openapi, sso
from engine.api.answers import compressed, defect, fault, is_api, with_phrase
from engine.api.registry import nouns
from engine.core import Engine
from engine.web import console

BODY_LIMIT_BYTES = 1024 * 1024
"""The largest body that a v4 client sends (a VM with cloud-init data) has some 100 KiB."""
DRAIN_LIMIT_BYTES = 16 * 1024 * 1024
"""A body that is too large is read and thrown away up to here, so that the caller reads our answer instead of a
reset connection."""
log = logging.getLogger("trivet.web")


def create_app(engine: Engine | None) -> Flask:
    """The engine's web application. Without an engine (standby) it must be given one before the first request."""
    app = Flask("engine", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT_BYTES
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False
    app.url_map.redirect_defaults = False
    app.extensions["trivet"] = engine
    app.extensions["trivet.api"] = dispatch.Api(nouns())
    app.register_blueprint(sso.blueprint)
    app.register_blueprint(dispatch.blueprint)
    app.register_blueprint(openapi.blueprint)
    app.register_blueprint(console.blueprint)
    app.before_request(_refuse_large)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(TrivetError, _known)
    app.register_error_handler(Exception, _unknown)
    app.after_request(_finish)
    return app


def _refuse_large() -> Response | None:
    """A body beyond the limit: refuse it before anything else looks at the request."""
    if (request.content_length or 0) <= BODY_LIMIT_BYTES:
        return None
    return _too_large()


def _too_large() -> Response:
    stream = request.environ["wsgi.input"]
    left = min(request.content_length or 0, DRAIN_LIMIT_BYTES)
    while left > 0 and (chunk := stream.read(min(left, 65536))):
        left -= len(chunk)
    error = Refused(
        "api.body-too-large",
        subject=f"the body of {request.method} {request.path}",
        reason=f"it is larger than {BODY_LIMIT_BYTES} bytes",
        remedy="Send less; images are transferred by other means.",
    )
    return _told(error, 413)


def _told(error: TrivetError, status: int) -> Response:
    """An error in the form of the place: a Fault in the API, a JSON object elsewhere."""
    if is_api(request.path):
        return fault(error, status)
    response = sso.reply(status, {"error": error.as_json()})
    response.headers["Trivet-Error"] = error.code
    return response


def _http(error: HTTPException) -> Response:
    if isinstance(error, RequestEntityTooLarge):
        return _too_large()
    known = Refused(
        f"http.{error.code}",
        subject=f"{request.method} {request.path}",
        reason=(error.description or error.name).rstrip("."),
        remedy="Check address and method.",
    )
    response = _told(known, error.code or 500)
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _known(error: TrivetError) -> Response:
    return _told(error, error.status)


def _unknown(error: Exception) -> Response:
    if is_api(request.path):
        return defect(error)
    log.error("an error that nobody expected in %s %s", request.method, request.path, exc_info=error)
    known = TrivetError(
        "trivet.defect",
        subject=f"{request.method} {request.path}",
        reason=f"an error that nobody expected ({type(error).__name__})",
        remedy="This is a defect of Trivet. Report it with the engine's log.",
    )
    return _told(known, 500)


def _finish(response: Response) -> Response:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    return compressed(with_phrase(response))
