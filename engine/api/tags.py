"""Entity tags of our own form: what was read may be written only if nobody wrote in between (``If-Match``), and what did
not change need not be sent again (``If-None-Match``). v4's forms have none, because their clients expect none."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from flask import Response, request

from appliance.errors import Conflict
from engine.api.answers import codec
from engine.api.codecs import JSON_TYPED
from engine.api.documents import Object

if TYPE_CHECKING:
    from engine.api.read import Reading


class PreconditionFailed(Conflict):
    """The object is not what the caller read."""

    status = 412


def conditional(response: Response, value: Object | None = None) -> Response:
    """An answer to a read with its tag; 304 without a body when the caller has it already."""
    if codec() is not JSON_TYPED or response.status_code != 200:
        return response
    matched(response, value)
    response.make_conditional(request)
    return response


def matched(response: Response, value: Object | None = None) -> Response:
    """The answer with its tag: the object's generation, or a digest of the text."""
    if codec() is JSON_TYPED:
        generation = (value or {}).get("generation")
        response.set_etag(_tag(generation) or hashlib.sha256(response.get_data()).hexdigest()[:32])
    return response


def _tag(generation: object) -> str:
    return f"g{generation}" if generation is not None else ""


def expected_generation(reading: Reading, identifier: str) -> int | None:
    """The generation that ``If-Match`` asks for, after a first look; the store looks again when it writes. Raises 412."""
    wanted = request.if_match
    if not wanted or wanted.star_tag:
        return None
    value = reading.noun.get(reading.call, identifier)
    generation = (value or {}).get("generation")
    if value is not None and generation is not None:
        if wanted.contains(_tag(generation)):
            return int(generation)
    elif value is not None and wanted.contains(digest(reading, value)):
        return None
    raise PreconditionFailed(
        "api.changed",
        subject=request.path,
        reason="it has been changed since it was read",
        remedy="Read it again and repeat the change.",
    )


def digest(reading: Reading, value: Object) -> str:
    """The tag of an object that has no generation: of what a read would answer."""
    from engine.api.codecs import encode
    from engine.api.documents import Item

    body = encode(JSON_TYPED, Item(reading.noun.kind, reading.addressed(value), reading.offers.of(reading.call.service)))
    return hashlib.sha256(body).hexdigest()[:32]
