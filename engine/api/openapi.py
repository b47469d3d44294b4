"""OpenAPI 3.1 of the typed form, made from the model and the registry: what is described is what is served."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, current_app

from appliance.version import VERSION
from engine.api.dispatch import Api
from engine.api.json_typed import CONTENT_TYPE, PROBLEM_TYPE, name_of
from engine.api.model import Attribute, model
from engine.api.noun import Noun
from engine.api.routes import Route, routes

blueprint = Blueprint("openapi", __name__)
PLAIN: Mapping[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer", "format": "int64"},
    "boolean": {"type": "boolean"},
    "decimal": {"type": "number"},
    "date": {"type": "string", "format": "date-time"},
}
NUMBERS_OF_WAYS = re.compile(r"\{([a-z_0-9]+)\}")
COMMON = {"follow": "string", "filter": "boolean", "all_content": "boolean", "correlation_id": "string"}
ERRORS = {
    "400": "The request is not understood, or asks for what cannot be.",
    "401": "Who calls is not known.",
    "403": "Who calls may not do that.",
    "404": "There is no such object.",
    "409": "The object is in a state that forbids it.",
}


@blueprint.get("/api/v1/openapi.json")
def document() -> Response:
    """The document. It tells nothing of this cluster, so that everybody may read it."""
    api: Api = current_app.extensions["trivet.api"]
    if "openapi" not in api.kept:
        api.kept["openapi"] = json.dumps(build(api.nouns), separators=(",", ":"))
    return Response(api.kept["openapi"], 200, content_type="application/json")


def build(nouns: Mapping[str, Noun]) -> dict[str, Any]:
    """The whole document as data."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes(nouns):
        unique = _unique(route.path)
        entry = paths.setdefault(unique, {"parameters": _way(unique)} if "{" in unique else {})
        entry[route.method] = _operation(route, unique)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Trivet engine",
            "version": VERSION,
            "description": "oVirt's API v4 in typed JSON. The same addresses answer XML and v4's JSON.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"basic": []}, {"session": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token of /ovirt-engine/sso/oauth/token."},
                "basic": {"type": "http", "scheme": "basic"},
                "session": {"type": "apiKey", "in": "cookie", "name": "JSESSIONID"},
            },
            "schemas": _schemas(),
            "responses": {code: _problem(text) for code, text in ERRORS.items()},
        },
    }


def _unique(path: str) -> str:
    """OpenAPI wants different names for the ids of one address."""
    seen: dict[str, int] = {}

    def name(found: re.Match[str]) -> str:
        seen[found[1]] = seen.get(found[1], 0) + 1
        return f"{{{found[1]}_id{seen[found[1]] if seen[found[1]] > 1 else ''}}}"

    return NUMBERS_OF_WAYS.sub(name, path)


def _way(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in NUMBERS_OF_WAYS.findall(path)
    ]


def _operation(route: Route, path: str) -> dict[str, Any]:
    plain = re.sub(r"[^a-zA-Z0-9]+", "_", path.removeprefix("/ovirt-engine/api")).strip("_") or "root"
    one = {"$ref": f"#/components/schemas/{route.kind}"}
    answer = {"type": "array", "items": one} if route.word == "list" else one
    made = {"description": "Made.", "content": {CONTENT_TYPE: {"schema": answer}}}
    done = {"description": "Done.", "content": {CONTENT_TYPE: {"schema": _action() if route.word == "remove" else answer}}}
    late = {"description": "Begun; the job goes on.", "content": {CONTENT_TYPE: {"schema": answer}}}
    responses: dict[str, Any] = {"201": made, "202": late} if route.word == "add" else {"200": done}
    if route.is_action:
        responses["202"] = late
    for code in ERRORS:
        responses[code] = {"$ref": f"#/components/responses/{code}"}
    for code, text in (("412", "It was changed since it was read."), ("415", "The body's form is not read here.")):
        if route.method != "get":
            responses[code] = _problem(text)
    found: dict[str, Any] = {
        "operationId": f"{route.word}_{plain}",
        "summary": f"{route.word} {model().struct(route.kind).plural if route.word == 'list' else route.service}",
        "tags": [route.service],
        "parameters": _query(route),
        "responses": responses,
    }
    if route.method in ("post", "put"):
        found["requestBody"] = {"required": not route.is_action, "content": {CONTENT_TYPE: {"schema": one}}}
    return found


def _query(route: Route) -> list[dict[str, Any]]:
    wanted = dict(route.parameters) if route.method != "post" or not route.is_action else {}
    if route.method == "get":
        wanted = {**wanted, **COMMON}
    elif route.is_action or route.word in ("remove", "add"):
        wanted = {**wanted, "async": "boolean", "correlation_id": "string"}
    return [{"name": name, "in": "query", "schema": _type(kind)} for name, kind in sorted(wanted.items())]


def _action() -> dict[str, Any]:
    return {"$ref": "#/components/schemas/Action"}


def _problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def _type(kind: str) -> dict[str, Any]:
    if kind in PLAIN:
        return PLAIN[kind]
    return {"$ref": f"#/components/schemas/{kind}"}


def _attribute(attribute: Attribute) -> dict[str, Any]:
    one = _type(attribute.kind)
    found: dict[str, Any] = {"type": "array", "items": one} if attribute.many else dict(one)
    if attribute.name in ("id", "href") and "$ref" not in found:
        found["readOnly"] = attribute.name == "href"
    return found


def _schemas() -> dict[str, Any]:
    found: dict[str, Any] = {name: {"type": "string", "enum": list(values)} for name, values in model().enums.items()}
    for name, struct in model().structs.items():
        properties = {name_of(attribute): _attribute(attribute) for attribute in struct.attributes}
        found[name] = {"type": "object", "properties": properties, "additionalProperties": False}
    found["Problem"] = {
        "type": "object",
        "required": ["type", "title", "detail", "code"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "detail": {"type": "string"},
            "code": {"type": "string", "description": "Stable: what programs match."},
            "facts": {"type": "object"},
        },
    }
    return found
