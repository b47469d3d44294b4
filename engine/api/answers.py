"""From documents and errors to HTTP answers: content negotiation, reason phrases, faults, compression."""

from __future__ import annotations

import contextlib
import gzip
import logging
import re
from http import HTTPStatus

from flask import Response, request

from appliance.errors import Failed, TrivetError
from engine.api import json_typed
from engine.api.codecs import CODECS, JSON_TYPED, JSON_V4, XML, Codec, encode
from engine.api.documents import BASE, Document, Fault, Item
from engine.api.words import in_language

REALM = 'Basic realm="RESTAPI"'
"""oVirt's realm: some clients store credentials under it."""
CODE_HEADER = "Trivet-Error"
"""The stable code of an error, beside the Fault that v4 knows."""
GZIP_FROM_BYTES = 1400
"""What fits into one packet gains nothing."""
GZIP_LEVEL = 1
"""The API's texts repeat themselves: level 1 makes 8 MB of XML to 0.4 MB in a third of the time of level 6."""
BARE = ("api.incomplete", "api.enum")
"""Errors whose detail clients match from its first character; all others stand in brackets, as oVirt's do."""
log = logging.getLogger("trivet.api")


def codec() -> Codec:
    """The form that the caller prefers. XML is the default, also for ``*/*`` (v4 does so)."""
    names = {**CODECS, "text/xml": XML, json_typed.PROBLEM_TYPE: JSON_TYPED}
    best, chosen = 0.0, None
    for part in request.headers.get("Accept", "").lower().split(","):
        kind, *parameters = part.strip().split(";")
        quality = next((p.strip()[2:] for p in parameters if p.strip().startswith("q=")), "1")
        value = float(quality) if re.fullmatch(r"\d(\.\d{1,3})?", quality) else 0.0
        if kind.strip() in names and value > best:
            best, chosen = value, names[kind.strip()]
    return chosen or body_codec() or XML


def body_codec() -> Codec | None:
    """The form of the request's body, by its content type; ``None``: none of ours."""
    content = (request.content_type or "").split(";")[0].strip().lower()
    return {**CODECS, "text/xml": XML}.get(content)


def answer(document: Document, status: int = 200) -> Response:
    """The document in the caller's form."""
    chosen = codec()
    return text(encode(chosen, document), chosen, status, is_fault=isinstance(document, Fault))


def text(body: bytes, chosen: Codec, status: int = 200, *, is_fault: bool = False) -> Response:
    """Bytes that are a document already."""
    content = json_typed.PROBLEM_TYPE if is_fault and chosen is JSON_TYPED else chosen.CONTENT_TYPE
    response = Response(body, status, content_type=f"{content};charset=UTF-8")
    response.headers["Vary"] = "Accept, Accept-Encoding, Accept-Language"
    return response


def with_phrase(response: Response) -> Response:
    """The reason phrase as clients grep it ("409 Conflict", not "409 CONFLICT")."""
    with contextlib.suppress(ValueError):  # a status that Python does not know keeps what werkzeug says
        response.status = f"{response.status_code} {HTTPStatus(response.status_code).phrase}"
    return response


def compressed(response: Response) -> Response:
    """The answer with gzip, where the caller takes it and it is worth it."""
    if response.direct_passthrough or response.status_code in (204, 304) or "Content-Encoding" in response.headers:
        return response
    body = response.get_data()
    if len(body) >= GZIP_FROM_BYTES and request.accept_encodings["gzip"] > 0:
        response.set_data(gzip.compress(body, GZIP_LEVEL, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
        response.headers.setdefault("Vary", "Accept-Encoding")
    return response


def unauthorized(error: TrivetError | None = None) -> Response:
    """No (valid) credentials: oVirt's HTML body, which clients have seen for a decade."""
    body = "<html><head><title>Error</title></head><body>Unauthorized</body></html>"
    response = Response(body, 401, content_type="text/html;charset=UTF-8")
    response.headers["WWW-Authenticate"] = REALM
    response.headers[CODE_HEADER] = error.code if error else "api.unauthorized"
    if error and "wait_s" in error.facts:
        response.headers["Retry-After"] = str(int(float(str(error.facts["wait_s"]))) + 1)
    return response


def fault_of(error: TrivetError) -> Fault:
    """An error as a Fault. The sentence names object, reason and remedy; the reason is in the caller's language."""
    reason = "Incomplete parameters" if error.code == "api.incomplete" else "Operation Failed"
    detail = error.reason if error.code in BARE else f"[{error}]"
    return Fault(in_language(reason, request.accept_languages.best), detail, error.code, error.facts)


def fault(error: TrivetError, status: int | None = None) -> Response:
    """An error as the answer."""
    response = answer(fault_of(error), status or error.status)
    response.headers[CODE_HEADER] = error.code
    return response


def action_fault(error: TrivetError) -> Response:
    """An action that failed: v4 answers the action with the fault inside. Our own form has problems for that, too."""
    if codec() is JSON_TYPED:
        return fault(error)
    given = fault_of(error)
    value = {"fault": {"detail": given.detail, "reason": given.reason}, "status": "failed"}
    response = answer(Item("Action", value), error.status)
    response.headers[CODE_HEADER] = error.code
    return response


def missing() -> Response:
    """An unknown id: 404 with an empty body, as the real engine does; a problem in our own form."""
    chosen = codec()
    if chosen is JSON_TYPED:
        given = Fault("Not Found", "there is no such object", "api.unknown-id")
        response = text(encode(chosen, given), chosen, 404, is_fault=True)
    else:
        response = Response("", 404)
        response.content_type = (JSON_V4 if chosen is JSON_V4 else XML).CONTENT_TYPE
    response.headers[CODE_HEADER] = "api.unknown-id"
    response.headers["Trivet-Error-Detail"] = "there is no such object"
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
