"""From documents and errors to HTTP answers: content negotiation, reason phrases, faults."""

from __future__ import annotations

import contextlib
import logging
import re
import uuid
from http import HTTPStatus

from flask import Response, request

from appliance.errors import Failed, TrivetError
from engine.api import json_v4, xml
from engine.api.documents import BASE, Document, Fault
from engine.api.model import model

REALM = 'Basic realm="RESTAPI"'
"""oVirt's realm: some clients store credentials under it."""
CODE_HEADER = "Trivet-Error"
"""The stable code of an error, beside the Fault that v4 knows."""
CORRELATION_LIMIT = 36
log = logging.getLogger("trivet.api")


def wants_json() -> bool:
    """Whether the caller prefers JSON. XML is the default, also for ``*/*`` (v4 does so)."""
    accept = request.headers.get("Accept", "").lower()
    best = {"json": 0.0, "xml": 0.0}
    for part in accept.split(","):
        kind, *parameters = part.strip().split(";")
        quality = next((p.strip()[2:] for p in parameters if p.strip().startswith("q=")), "1")
        value = float(quality) if re.fullmatch(r"\d(\.\d{1,3})?", quality) else 0.0
        name = {"application/json": "json", "application/xml": "xml", "text/xml": "xml"}.get(kind.strip())
        if name:
            best[name] = max(best[name], value)
    if best["json"] == best["xml"] == 0.0 and request.content_type:
        return request.content_type.lower().startswith("application/json")
    return best["json"] > best["xml"]


def correlation_id() -> str:
    """The caller's correlation id, cleaned as oVirt cleans it, or a new one."""
    given = request.args.get("correlation_id") or request.headers.get("Correlation-Id") or ""
    return re.sub(r"[^0-9a-zA-Z_-]", "", given)[:CORRELATION_LIMIT] or str(uuid.uuid4())


def answer(document: Document, status: int = 200) -> Response:
    """The document in the caller's form."""
    codec = json_v4 if wants_json() else xml
    return Response(codec.encode(model(), document), status, content_type=f"{codec.CONTENT_TYPE};charset=UTF-8")


def with_phrase(response: Response) -> Response:
    """The reason phrase as clients grep it ("409 Conflict", not "409 CONFLICT")."""
    with contextlib.suppress(ValueError):  # a status that Python does not know keeps what werkzeug says
        response.status = f"{response.status_code} {HTTPStatus(response.status_code).phrase}"
    return response


def unauthorized() -> Response:
    """No (valid) credentials: oVirt's HTML body, which clients have seen for a decade."""
    body = "<html><head><title>Error</title></head><body>Unauthorized</body></html>"
    response = Response(body, 401, content_type="text/html;charset=UTF-8")
    response.headers["WWW-Authenticate"] = REALM
    response.headers[CODE_HEADER] = "api.unauthorized"
    return response


def fault(error: TrivetError, status: int | None = None) -> Response:
    """An error as a Fault. The sentence names object, reason and remedy; the code is in a header and at the end."""
    reason = "Incomplete parameters" if error.code == "api.incomplete" else "Operation Failed"
    detail = error.reason if error.code in ("api.incomplete", "api.enum") else f"[{error}]"
    response = answer(Fault(reason, detail), status or error.status)
    response.headers[CODE_HEADER] = error.code
    return response


def defect(error: Exception) -> Response:
    """The last resort: what nobody expected is logged with its trace and told as a Fault, never as an HTML page."""
    log.error("an error that nobody expected in %s %s", request.method, request.path, exc_info=error)
    known = Failed(
        "trivet.defect",
        subject=f"{request.method} {request.path}",
        reason=f"an error that nobody expected ({type(error).__name__})",
        remedy="This is a defect of Trivet. Report it with the engine's log.",
    )
    return fault(known)


def is_api(path: str) -> bool:
    """Whether an error under ``path`` is to be told as a Fault."""
    return path == BASE or path.startswith(BASE + "/")
