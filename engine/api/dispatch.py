"""The API's tree: one entry for everything below ``/ovirt-engine/api``, walked by the registry and, for the rest, by
the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, current_app, request

from appliance.errors import Denied, NotFound, Refused, TrivetError
from engine.api import json_v4, xml
from engine.api.answers import answer, correlation_id, fault, unauthorized
from engine.api.documents import BASE, Collection, Document, Item
from engine.api.model import model
from engine.api.nouns import events, root
from engine.api.query import select, whole_number
from engine.api.registry import NOUNS, Noun
from engine.core import Engine
from engine.store.records import AccountRecord

blueprint = Blueprint("api", __name__)
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH")
READ = "GET, HEAD, OPTIONS"


def engine() -> Engine:
    """The engine of this application."""
    found: Engine = current_app.extensions["trivet"]
    return found


def authenticate() -> AccountRecord | Response:
    """Who calls, by bearer token or HTTP Basic; or the answer that refuses."""
    given = request.authorization
    if given is not None and given.type == "bearer" and given.token:
        return engine().accounts.holder(given.token, "api") or unauthorized()
    if given is not None and given.type == "basic" and given.username:
        try:
            return engine().accounts.verify(given.username, given.password or "", request.remote_addr or "")
        except Denied as error:
            response = unauthorized()
            response.headers["Trivet-Error"] = error.code
            if "wait_s" in error.facts:
                response.headers["Retry-After"] = str(int(float(str(error.facts["wait_s"]))) + 1)
            return response
    return unauthorized()


@blueprint.route(BASE, defaults={"rest": ""}, methods=METHODS, provide_automatic_options=False)
@blueprint.route(f"{BASE}/", defaults={"rest": ""}, methods=METHODS, provide_automatic_options=False)
@blueprint.route(f"{BASE}/<path:rest>", methods=METHODS, provide_automatic_options=False)
def entry(rest: str) -> Response:
    """Every request to the API."""
    account = authenticate()
    identifier = correlation_id()
    if isinstance(account, AccountRecord):
        try:
            response = _version_refused() or _route(rest, account, identifier)
        except TrivetError as error:
            response = fault(error)
    else:
        response = account
    response.headers["Correlation-Id"] = identifier
    response.headers["Cache-Control"] = "no-store"
    return response


def _version_refused() -> Response | None:
    """The ``Version`` header: only 4 is spoken here."""
    asked = request.headers.get("Version", "4").strip()
    if asked == "4":
        return None
    error = Refused(
        "api.version", subject="header 'Version'", reason=f"{asked[:20]!r} is not served", remedy="Ask for version 4."
    )
    return fault(error)


def _route(rest: str, account: AccountRecord, identifier: str) -> Response:
    segments = [segment.split(";")[0] for segment in rest.strip("/").split("/")] if rest.strip("/") else []
    arguments = parameters(rest)
    if not segments:
        return _read(lambda: Item("Api", root.root(engine(), account)))
    noun = NOUNS.get(segments[0])
    if noun is None:
        return _beyond(segments)
    if len(segments) == 1:
        return _collection(noun, arguments, account, identifier)
    if len(segments) == 2:
        row = next((row for row in noun.rows(engine()) if row["id"] == segments[1]), None)
        if row is None:
            return _missing(segments)
        return _read(lambda: Item(noun.kind, row))
    below = noun.below.get(segments[2])
    if below is None:
        return _beyond(segments)
    rows = below[1](engine(), segments[1])
    if rows is None or len(segments) > 4:
        return _missing(segments)
    if len(segments) == 3:
        return _read(lambda: Collection(below[0], select(rows, arguments)))
    one = next((row for row in rows if row["id"] == segments[3]), None)
    return _missing(segments) if one is None else _read(lambda: Item(below[0], one))


def parameters(rest: str) -> Mapping[str, str]:
    """Query parameters; those missing there from matrix parameters of the last segment."""
    found = {}
    for part in rest.rsplit("/", 1)[-1].split(";")[1:]:
        name, _, value = part.partition("=")
        found[name] = value
    return {**found, **request.args.to_dict()}


def _collection(noun: Noun, arguments: Mapping[str, str], account: AccountRecord, identifier: str) -> Response:
    if noun.path == "events":
        if request.method == "POST":
            given = _body("Event")
            return _created(events.add(engine(), given, account, identifier))
        return _read(lambda: Collection("Event", _events(arguments)), f"{READ}, POST")
    return _read(lambda: Collection(noun.kind, select(noun.rows(engine()), arguments)))


def _events(arguments: Mapping[str, str]) -> list[dict[str, Any]]:
    """Events after ``from`` (exclusive, as v4 says), the newest first; ``max`` cuts before anything is read."""
    after, limit = whole_number(arguments, "from") or 0, whole_number(arguments, "max")
    if arguments.get("search"):
        rows = [events.event_object(event) for event in engine().store.events(after=after)]
        return select([{**row, "name": row["description"]} for row in rows], arguments)
    return [events.event_object(event) for event in engine().store.events(after=after, limit=limit)]


def _created(value: Mapping[str, Any]) -> Response:
    response = answer(Item("Event", value), 201)
    response.headers["Location"] = str(value["href"])
    return response


def _body(kind: str) -> dict[str, Any]:
    """The request's body as an object of ``kind``, by its content type."""
    content = (request.content_type or "").split(";")[0].strip().lower()
    data = request.get_data()
    if content in ("application/xml", "text/xml"):
        return xml.decode(model(), kind, data)
    if content == "application/json":
        return json_v4.decode(model(), kind, data)
    raise UnsupportedMedia(
        "api.content-type",
        subject="header 'Content-Type'",
        reason=f"{content[:60]!r} is not understood",
        remedy="Send application/xml or application/json.",
    )


class UnsupportedMedia(Refused):
    """A body in a form that we do not read."""

    status = 415


def _read(document: Any, allow: str = READ) -> Response:
    """Answer a request that may only read; ``document`` is called when it is needed."""
    if request.method in ("GET", "HEAD"):
        found: Document = document()
        return answer(found)
    if request.method == "OPTIONS":
        return Response("", 200, {"Allow": allow})
    if request.content_length:
        request.get_data()
    error = Refused(
        "api.method",
        subject=f"{request.method} {request.path}",
        reason="this method is not served here",
        remedy=f"Allowed are: {allow}.",
    )
    response = fault(error, 405)
    response.headers["Allow"] = allow
    return response


def _missing(segments: list[str]) -> Response:
    """An unknown id: 404 with an empty body, as the real engine does; our code is in the header."""
    response = Response("", 404)
    response.headers["Trivet-Error"] = "api.unknown-id"
    response.headers["Trivet-Error-Detail"] = "there is no such object"
    response.content_type = json_v4.CONTENT_TYPE if "json" in request.headers.get("Accept", "") else xml.CONTENT_TYPE
    return response


def _beyond(segments: list[str]) -> Response:
    """What v4 knows and this engine does not serve yet: an empty list to read, a Fault for the rest; unknown paths: 404."""
    known = model().services
    service = known["System"]
    for depth, segment in enumerate(segments):
        name = service.locators.get(segment) or service.locators.get("{id}")
        if name is None or (depth and segment == "search"):
            return _not_here(segments)
        if depth == 1 and (noun := NOUNS.get(segments[0])) and all(row["id"] != segment for row in noun.rows(engine())):
            return _missing(segments)
        service = known[name]
    kind = EMPTY_KINDS.get(segments[-1])
    if "list" in service.methods and kind is not None and request.method in ("GET", "HEAD", "OPTIONS"):
        return _read(lambda: Collection(kind, []))
    if "get" in service.methods and "list" not in service.methods and request.method in ("GET", "HEAD"):
        return _missing(segments)
    return _not_here(segments)


def _not_here(segments: list[str]) -> Response:
    raise NotFound(
        "api.not-served",
        subject="/".join(segments)[:200],
        reason="it is not supported by this engine",
        remedy=f"GET {BASE} lists what is.",
    )


EMPTY_KINDS: Mapping[str, str] = {struct.plural.replace("_", ""): name for name, struct in model().structs.items()}
"""Path of a collection → the struct of its items."""
