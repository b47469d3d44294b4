"""One entry for everything below ``/ovirt-engine/api``: it walks the model's tree, finds the noun, and does what all nouns
need: who calls, bodies, references, what is mandatory, links, ``follow``, entity tags, faults."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, current_app, request

from appliance.errors import Conflict, NotFound, Refused, TrivetError
from engine.api import doors, mandatory, references, rights
from engine.api.answers import action_fault, answer, body_codec, codec, fault, missing, text, unauthorized
from engine.api.codecs import JSON_TYPED, Fragments
from engine.api.documents import BASE, Item, Links
from engine.api.guest_secrets import hashes_in, sealed
from engine.api.model import model
from engine.api.noun import Call, Done, Noun
from engine.api.offers import Offers
from engine.api.parameters import Parameters, split
from engine.api.read import Reading
from engine.api.tags import expected_generation, matched
from engine.api.tree import ROOT, Spot, locate
from engine.core import Engine
from engine.decide.permit import SYSTEM, Asking, Key
from engine.store.permissions import Permits

blueprint = Blueprint("api", __name__)
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH")
CREATION = "creation_status"
HEADERS = ("Filter", "All-Content", "Correlation-Id", "Expect", "X-Ovirt-Expect")
log = logging.getLogger("trivet.api")


class Api:
    """The nouns of this application and what is remembered of them."""

    def __init__(self, nouns: Mapping[str, Noun]) -> None:
        self.nouns = nouns
        self.offers = Offers(nouns)
        self.fragments = Fragments()
        self.kept: dict[str, str] = {}
        """Documents that are made once."""


def engine() -> Engine:
    """The engine of this application."""
    found: Engine = current_app.extensions["trivet"]
    return found


def api() -> Api:
    """The API of this application."""
    found: Api = current_app.extensions["trivet.api"]
    return found


@blueprint.route(BASE, defaults={"rest": ""}, methods=METHODS, provide_automatic_options=False)
@blueprint.route(f"{BASE}/", defaults={"rest": ""}, methods=METHODS, provide_automatic_options=False)
@blueprint.route(f"{BASE}/<path:rest>", methods=METHODS, provide_automatic_options=False)
def entry(rest: str) -> Response:
    """Every request to the API."""
    segments, matrix = split(rest)
    headers = {name: request.headers[name] for name in HEADERS if name in request.headers}
    parameters = Parameters(request.args.to_dict(), matrix, headers)
    try:
        caller = doors.enter(engine())
        asking: Asking = "own" if parameters.flag("filter") else "all"
        allowed = rights.Rights(Permits(engine().store.entities), caller.account, asking)
        call = Call(engine(), caller.account, api().nouns, allowed, parameters)
        response = _answered(call, segments)
        doors.leave(engine(), caller, response)
    except doors.Unauthorized as error:
        response = unauthorized(error)
    except TrivetError as error:
        response = fault(error)
    response.headers["Correlation-Id"] = parameters.correlation_id
    response.headers["Cache-Control"] = "private, no-cache" if "ETag" in response.headers else "no-store"
    return response


def _answered(call: Call, segments: list[str]) -> Response:
    spot = None
    try:
        _check_version()
        if len(segments) > 3 and segments[-2] == CREATION:
            return _creation(call, segments)
        spot = locate(segments)
        return _route(call, spot, segments)
    except TrivetError as error:
        if error.status >= 500:
            log.warning("%s %s: %s", request.method, request.path, error)
        return (
            action_fault(error) if spot is not None and spot.action and error.status not in (401, 403, 405) else fault(error)
        )


def _creation(call: Call, segments: list[str]) -> Response:
    """How far the making of an object is: where ``rel=creation_status`` leads."""
    job = call.engine.jobs.get(segments[-1])
    if job is None:
        return missing()
    words = {"started": "in_progress", "finished": "complete"}
    links = Links(plain=(("status", words.get(job.status, "failed")),))
    chosen = codec()
    return text(chosen.single("Creation", chosen.bare("creation", job.id, links)), chosen)


def _check_version() -> None:
    """The ``Version`` header: only 4 is spoken here."""
    asked = request.headers.get("Version", "4").strip()
    if asked != "4":
        raise Refused(
            "api.version", subject="header 'Version'", reason=f"{asked[:20]!r} is not served", remedy="Ask for version 4."
        )


def _route(call: Call, spot: Spot | None, segments: list[str]) -> Response:
    if spot is None:
        return _not_here(segments)
    way: tuple[tuple[str, str], ...] = ()
    on_the_way = [(step.service, step.place, step.identifier) for step in spot.above]
    if spot.is_object and (spot.action or request.method not in ("GET", "HEAD")):
        on_the_way.append((spot.collection, spot.place, spot.identifier))
    for service, place, identifier in on_the_way:
        noun = call.nouns.get(service)
        above = way[-1][0] if way else ""
        if (
            noun is None
            or not noun.serves("get")
            or not noun.serves_below(above)
            or not noun.exists(call.below(service, place, *way), identifier)
        ):
            return missing()
        way = (*way, (model().services[service].kind, identifier))
    parents = way[: len(spot.above)]
    here = call.below(spot.collection or spot.service.name, spot.place, *parents)
    noun = call.nouns.get(here.service)
    if noun is not None and not noun.serves_below(here.parent_kind):
        noun = None
    if spot.action:
        return _action(here, spot, noun)
    if noun is None:
        return _unserved(here, spot, segments)
    return _methods(here, spot, noun)


def _methods(call: Call, spot: Spot, noun: Noun) -> Response:
    """A request to a collection or an object that a noun serves."""
    single = spot.is_object or not noun.serves("list")
    served: dict[str, Callable[[], Response]] = {}
    reading = Reading(call, noun, api().offers, api().fragments)
    service = spot.service
    if single:
        form = next((one for one in noun.forms if one in request.headers.get("Accept", "").lower()), "")
        if form and spot.is_object:
            served["GET"] = lambda: _form(call, spot, noun, form)
        elif noun.serves("get"):
            served["GET"] = served["HEAD"] = lambda: reading.one(spot.identifier)
        if noun.serves("update") and "update" in service.methods:
            served["PUT"] = lambda: _update(call, spot, noun, reading)
        if noun.serves("remove") and "remove" in service.methods:
            served["DELETE"] = lambda: _remove(call, spot, noun)
    else:
        served["GET"] = served["HEAD"] = reading.all
        if noun.serves("add") and "add" in service.methods:
            served["POST"] = lambda: _add(call, noun, reading)
    allow = ", ".join(name for name in METHODS if name in served or name == "OPTIONS")
    if request.method == "OPTIONS":
        return Response("", 200, {"Allow": allow})
    if request.method not in served:
        return _wrong_method(allow)
    return served[request.method]()


def _form(call: Call, spot: Spot, noun: Noun, form: str) -> Response:
    """An object in a form of its own, for who may do what makes it."""
    if not noun.exists(call, spot.identifier):
        return missing()
    word, text_of = noun.forms[form]
    _may(call, word, spot.service.kind, _key(call, spot))
    return Response(text_of(call, spot.identifier), 200, content_type=f"{form};charset=UTF-8")


def _add(call: Call, noun: Noun, reading: Reading) -> Response:
    kind = model().services[call.service].kind
    given = _body(kind)
    mandatory.check(call.service, "add", kind, given)
    given = references.resolve(call, kind, given, call.service, "add")
    _may(call, "add", kind, _above(call) or noun.place(call, given))
    made = noun.add(call, given)
    value = reading.addressed(made.value)
    links = api().offers.of(call.service)
    if made.job:
        watch = ("creation_status", f"{value['href']}/creation_status/{made.job}")
        links = Links(links.collections, links.actions, (watch,), plain=(("creation_status", "pending"),))
    response = answer(Item(noun.kind, value, links), 202 if made.job else 201)
    response.headers["Location"] = str(value["href"])
    return response


def _update(call: Call, spot: Spot, noun: Noun, reading: Reading) -> Response:
    kind, key = spot.service.kind, _key(call, spot)

    def kept() -> frozenset[str]:
        before = call.engine.store.entities.get(*key)
        return hashes_in(before.body) if before is not None else frozenset()

    given = _body(kind, kept)
    _may(call, "update", kind, key)
    expected = expected_generation(reading, spot.identifier)
    mandatory.check(spot.service.name, "update", kind, given)
    given = references.resolve(call, kind, given, spot.service.name, "update")
    value = noun.update(replace(call, expected=expected), spot.identifier, given)
    return matched(answer(Item(noun.kind, reading.addressed(value), api().offers.of(call.service))), value)


def _remove(call: Call, spot: Spot, noun: Noun) -> Response:
    is_assigned = call.service in rights.ASSIGNMENTS
    _may(call, "remove", spot.service.kind, (_above(call) or SYSTEM) if is_assigned else _key(call, spot))
    expected = expected_generation(Reading(call, noun, api().offers, api().fragments), spot.identifier)
    given = _body("Action") if request.content_length else {}
    done = noun.remove(replace(call, expected=expected), spot.identifier, given)
    return answer(Item("Action", _told(done)))


def _action(call: Call, spot: Spot, noun: Noun | None) -> Response:
    if request.method == "OPTIONS":
        return Response("", 200, {"Allow": "OPTIONS, POST"})
    if request.method != "POST":
        return _wrong_method("OPTIONS, POST")
    actions = noun.actions if spot.is_object and noun else noun.collection_actions if noun else {}
    run = actions.get(spot.action)
    if run is None:
        if noun is not None and spot.action in noun.refused_actions:
            reason, remedy = noun.refused_actions[spot.action]
            subject = f"{spot.service.kind} {spot.identifier}"
            raise Conflict("api.action-refused", subject=subject, reason=reason, remedy=remedy)
        return _not_here([call.service, spot.action])
    _may(call, spot.action, spot.service.kind, _key(call, spot) if spot.is_object else SYSTEM)
    given = _body("Action") if request.get_data(cache=True) else {}
    mandatory.check(spot.service.name, spot.action, "Action", given)
    given = references.resolve(call, "Action", given, spot.service.name, spot.action)
    if "async_" in given and "async" not in call.parameters.query:
        query = {**call.parameters.query, "async": "true" if given["async_"] else "false"}
        call = replace(call, parameters=replace(call.parameters, query=query))
    done = run(noun, call, spot.identifier, given)
    return answer(
        Item("Action", {**_told(done), **done.values}), 202 if done.pending and call.parameters.is_asynchronous else 200
    )


def _may(call: Call, word: str, kind: str, key: Key) -> None:
    """Raises ``Denied`` when the caller lacks the permit."""
    call.rights.need(rights.permit_of(call.service, kind, word), key)


def _above(call: Call) -> Key | None:
    """The object that the collection is below."""
    return (model().struct(call.parent_kind).singular, call.parent_id) if call.parents else None


def _key(call: Call, spot: Spot) -> Key:
    """The object that a request is for; what is no entity of its own is as its parent."""
    key = model().struct(spot.service.kind).singular, spot.identifier
    return key if call.engine.store.entities.get(*key) is not None else _above(call) or SYSTEM


def _told(done: Done) -> dict[str, Any]:
    """What an action answers."""
    found: dict[str, Any] = {"status": "pending" if done.pending else "complete"}
    if done.job:
        found["job"] = {"id": done.job}
    return found


def _body(kind: str, kept: Callable[[], Collection[str]] = tuple) -> dict[str, Any]:
    """The request's body as an object of ``kind``, by its content type. ``kept``: says the hashes of passwords it has."""
    chosen = body_codec()
    if chosen is None:
        raise UnsupportedMedia(
            "api.content-type",
            subject="header 'Content-Type'",
            reason=f"{(request.content_type or '')[:60]!r} is not understood",
            remedy="Send application/xml or application/json.",
        )
    given: dict[str, Any] = sealed(chosen.decode(kind, request.get_data()), kept)
    return given


class UnsupportedMedia(Refused):
    """A body in a form that we do not read."""

    status = 415


class WrongMethod(Refused):
    """A method that is not served at an address that is."""

    status = 405


def _wrong_method(allow: str) -> Response:
    if request.content_length:
        request.get_data()
    error = WrongMethod(
        "api.method",
        subject=f"{request.method} {request.path}",
        reason="this method is not served here",
        remedy=f"Allowed are: {allow}.",
    )
    response = fault(error)
    response.headers["Allow"] = allow
    return response


def _unserved(call: Call, spot: Spot, segments: list[str]) -> Response:
    """What v4 knows and this engine does not serve: an empty list to read, no objects in it, a Fault for the rest."""
    if spot.service.name == ROOT:
        return _methods(call, spot, call.nouns[ROOT])
    if request.method in ("GET", "HEAD", "OPTIONS") and spot.service.kind:
        if request.method == "OPTIONS":
            return Response("", 200, {"Allow": "GET, HEAD, OPTIONS"})
        if "list" in spot.service.methods:
            return answer_empty(spot.service.kind)
        if spot.is_object and "get" in spot.service.methods:
            return missing()
    return _not_here(segments)


def answer_empty(kind: str) -> Response:
    """An empty list."""
    chosen = codec()
    return Response(chosen.collection(kind, []), 200, content_type=f"{chosen.CONTENT_TYPE};charset=UTF-8")


def _not_here(segments: list[str]) -> Response:
    raise NotFound(
        "api.not-served",
        subject="/".join(segments)[:200],
        reason="it is not supported by this engine",
        remedy=f"GET {BASE} lists what is.",
    )


__all__ = ["JSON_TYPED", "Api", "api", "blueprint", "engine"]
