"""Every route as a plain user and as another tenant: nothing is seen and nothing is changed that is not theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from engine.accounts import hash_password
from engine.api import rights
from engine.api.model import model
from engine.api.registry import nouns
from engine.api.routes import Route, routes
from engine.builtin import BLANK_TEMPLATE, named
from engine.core import Engine
from engine.decide.roles import PERMITS, SUPER_USER, USER_VM_MANAGER
from engine.store.permissions import Permits, user_entity
from engine.store.records import AccountRecord
from tests.engine import world

API = "/ovirt-engine/api"
HASH = hash_password("a long enough one")
OPEN = {
    "operatingsystems", "clusterlevels", "networkfilters", "icons", "domains", "tags", "instancetypes", "schedulingpolicies",
    "templates", "users", "vnicprofiles", "roles", "networks",
}  # fmt: skip
"""What a user without any role may read: the data of oVirt, themselves, and what everybody was given."""
As = Callable[..., Any]


@pytest.fixture
def tenants(engine: Engine) -> Iterator[dict[str, str]]:
    """Two users, each the owner of a VM: VM → owner."""
    for name in ("ann", "ben"):
        engine.store.put_account(AccountRecord(f"user-{name}", name, "internal", HASH, True))
        engine.store.entities.add(user_entity(f"user-{name}", name, "internal"))
        engine.store.entities.add(
            named("vm", f"vm-{name}", f"{name}s", {}, cluster=world.CLUSTER.id, template=BLANK_TEMPLATE)
        )
        Permits(engine.store.entities).give(USER_VM_MANAGER, ("user", f"user-{name}"), ("vm", f"vm-{name}"))
    yield {"vm-ann": "ann", "vm-ben": "ben"}


@pytest.fixture
def ann(client: FlaskClient, tenants: dict[str, str]) -> As:
    form = {"grant_type": "password", "scope": "ovirt-app-api", "username": "ann@internal", "password": "a long enough one"}
    token = client.post("/ovirt-engine/sso/oauth/token", data=form).get_json()["access_token"]

    def asked(method: str, path: str, body: Any = None, **headers: str) -> Any:
        sent = {"Authorization": f"Bearer {token}", "Accept": "application/json", **headers}
        answer = client.open(f"{API}/{path}", method=method, json=body, headers=sent)
        assert answer.status_code < 500, answer.text
        return answer

    return asked


def test_a_tenant_sees_what_is_theirs(ann: As) -> None:
    for headers in ({}, {"Filter": "true"}):
        assert [one["id"] for one in ann("GET", "vms", **headers).get_json()["vm"]] == ["vm-ann"]
    assert ann("GET", "vms?search=name%3Dbens").get_json() == {}
    assert ann("GET", "vms/vm-ann").status_code == 200
    for path in (
        "vms/vm-ben",
        "vms/vm-ben/nics",
        "vms/vm-ben/tags",
        "vms/vm-ben?follow=nics",
        f"hosts/{world.MEMBERS[0].id}",
    ):
        assert ann("GET", path).status_code == 404, path
    assert [one["name"] for one in ann("GET", "users").get_json()["user"]] == ["ann"]
    assert ann("GET", "").get_json()["summary"]["vms"]["total"] == "1"


def test_a_tenant_changes_what_is_theirs(ann: As, engine: Engine) -> None:
    assert ann("PUT", "vms/vm-ann", {"comment": "mine"}).status_code == 200
    assert ann("PUT", "vms/vm-ben", {"comment": "mine"}).status_code == 404
    assert engine.store.entities.need("vm", "vm-ben").body == {}
    refused = ann("PUT", f"clusters/{world.CLUSTER.id}", {"comment": "mine"})
    assert (refused.status_code, refused.headers["Trivet-Error"]) in ((403, "permit.missing"), (404, "api.unknown-id"))


def test_a_reference_does_not_tell_what_is_not_seen(ann: As) -> None:
    answer = ann("POST", "affinitylabels", {"name": "x", "vms": [{"name": "bens"}]})
    assert answer.status_code == 404
    assert answer.get_json()["detail"] == ann(
        "POST", "affinitylabels", {"name": "x", "vms": [{"name": "nobodys"}]}
    ).get_json()["detail"].replace("nobodys", "bens")


ROUTES = list(routes(nouns()))


def real(route: Route) -> str:
    """The route with ids of real objects, none of them ann's."""
    ids = {
        "vm": "vm-ben",
        "host": world.MEMBERS[0].id,
        "cluster": world.CLUSTER.id,
        "template": BLANK_TEMPLATE,
        "tag": BLANK_TEMPLATE,
        "network": "00000000-0000-0000-0000-000000000009",
        "user": "00000000-0000-4000-8000-000000000001",
    }
    parts = route.path.removeprefix(f"{API}/").split("/")
    return "/".join(ids.get(part[1:-1], BLANK_TEMPLATE) if part.startswith("{") else part for part in parts)


def test_every_change_is_refused_to_who_has_no_role_for_it(ann: As, engine: Engine) -> None:
    before = {
        kind: engine.store.entities.stamps(kind) for kind in ("vm", "host", "cluster", "tag", "network", "template", "user")
    }
    bodies = {kind: {"name": "x"} for kind in model().structs}
    for route in ROUTES:
        if route.method == "get":
            continue
        body = {} if route.is_action else bodies[route.kind]
        answer = ann(route.method.upper(), real(route), body if route.method != "delete" else None)
        assert answer.status_code in (400, 403, 404), (route, answer.status, answer.text)
    assert before == {kind: engine.store.entities.stamps(kind) for kind in before}


def test_no_list_shows_what_is_not_theirs(ann: As) -> None:
    for route in ROUTES:
        if route.word != "list" or route.parent:
            continue
        path = route.path.rsplit("/", 1)[-1]
        rows = [row for found in ann("GET", path).get_json().values() for row in found]
        assert (
            path in OPEN or not rows or {row["id"] for row in rows} <= {"vm-ann"} or path in ("clusters", "datacenters")
        ), path


def test_the_tables_of_rights_mean_something() -> None:
    wanted = {
        *(permit for row in rights.CHANGES.values() for permit in row),
        *rights.ASSIGNMENTS.values(),
        *rights.ACTIONS.values(),
    }
    assert wanted | {rights.ANYTHING} <= set(PERMITS)
    assert set(rights.CHANGES) <= set(model().structs)
    assert set(rights.ASSIGNMENTS) <= set(model().services)
    for kind, action in rights.ACTIONS:
        assert any(action in one.actions for one in model().services.values() if one.kind == kind), (kind, action)


def test_who_is_made_an_administrator_is_one_at_once(ann: As, engine: Engine) -> None:
    assert ann("POST", "tags", {"name": "x"}).status_code == 403
    Permits(engine.store.entities).give(SUPER_USER, ("user", "user-ann"), None)
    assert ann("POST", "tags", {"name": "x"}).status_code == 201
