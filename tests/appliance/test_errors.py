"""The six families: status, exit code, and the way over the wire and back."""

from __future__ import annotations

import json

import pytest

from appliance.errors import (
    EXIT_FAILED,
    EXIT_REFUSED,
    FAMILIES,
    Conflict,
    Denied,
    Failed,
    NotFound,
    Refused,
    TrivetError,
    Unavailable,
    from_json,
)


def example(family: type[TrivetError] = Refused) -> TrivetError:
    return family(
        "lab.node-unknown", subject="node9", reason="no such node", remedy="See lab status.", facts={"known": ["node1"]}
    )


@pytest.mark.parametrize(
    ("family", "status", "exit_code"),
    [
        (Refused, 400, EXIT_REFUSED),
        (Denied, 403, EXIT_REFUSED),
        (NotFound, 404, EXIT_REFUSED),
        (Conflict, 409, EXIT_REFUSED),
        (Unavailable, 503, EXIT_FAILED),
        (Failed, 500, EXIT_FAILED),
    ],
)
def test_a_family_has_one_status_and_one_exit_code(family: type[TrivetError], status: int, exit_code: int) -> None:
    assert (family.status, family.exit_code) == (status, exit_code)
    assert FAMILIES[status] is family


@pytest.mark.parametrize("family", FAMILIES.values())
def test_an_error_survives_the_wire(family: type[TrivetError]) -> None:
    sent = example(family)
    got = from_json(family.status, json.loads(json.dumps(sent.as_json())))
    assert type(got) is family
    assert got.as_json() == sent.as_json()
    assert str(got) == "node9: no such node. See lab status."


def test_an_unknown_status_becomes_failed() -> None:
    assert type(from_json(418, example().as_json())) is Failed


def test_an_answer_without_our_keys_still_says_what_happened() -> None:
    error = from_json(502, {"facts": "not a table"})
    assert (error.code, error.reason, error.facts) == ("remote.unknown", "answered 502", {})


def test_facts_are_copied() -> None:
    facts: dict[str, object] = {"a": 1}
    error = Refused("x.y", subject="s", reason="r", remedy="m", facts=facts)
    facts["a"] = 2
    assert error.facts == {"a": 1}
