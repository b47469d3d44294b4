"""Every route as a plain user and as another tenant: nothing is seen and nothing is changed that is not theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.passwords import hash_password
from engine.api import rights
from engine.api.model import model
from engine.api.registry import nouns
from engine.api.routes import Route, routes
from engine.builtin import BLANK_TEMPLATE, named
from engine.core import Engine
from engine.decide.permit import SYSTEM
from engine.decide.roles import BY_NAME, EVERYONE, PERMITS, SUPER_USER, TEMPLATE_OWNER, USER_VM_MANAGER
from engine.store.permissions import Permits, user_entity
from engine.store.records import AccountRecord
from tests.engine import world

API = "/ovirt-engine/api"
HASH = hash_password("a long enough one")
OPEN = {
    "operatingsystems", "clusterlevels", "networkfilters", "icons", "domains", "tags", "instancetypes", "schedulingpolicies",
    "schedulingpolicyunits", "templates", "users", "vnicprofiles", "roles", "networks",
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
    return _asking(client, client.post("/ovirt-engine/sso/oauth/token", data=form).get_json()["access_token"])


@pytest.fixture
def admin(client: FlaskClient, token: str) -> As:
    return _asking(client, token)


def _asking(client: FlaskClient, token: str) -> As:
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


def test_rights_are_given_and_taken_through_the_api(ann: As, admin: As, tenants: dict[str, str], engine: Engine) -> None:
    body = {"role": {"name": "UserVmManager"}, "user": {"id": "user-ann"}}
    made = admin("POST", "vms/vm-ben/permissions", body)
    assert made.status_code == 201, made.text
    given = made.get_json()
    assert (given["vm"]["id"], given["user"]["id"], given["role"]["id"]) == ("vm-ben", "user-ann", USER_VM_MANAGER)
    assert admin("POST", "vms/vm-ben/permissions", body).status_code == 409
    assert {one["id"] for one in ann("GET", "vms").get_json()["vm"]} == {"vm-ann", "vm-ben"}
    assert given["id"] in {one["id"] for one in admin("GET", "users/user-ann/permissions").get_json()["permission"]}
    assert given["id"] in {one["id"] for one in ann("GET", "vms/vm-ben/permissions").get_json()["permission"]}
    assert admin("GET", f"vms/vm-ann/permissions/{given['id']}").status_code == 404
    assert admin("DELETE", f"vms/vm-ben/permissions/{given['id']}").status_code == 200
    assert [one["id"] for one in ann("GET", "vms").get_json()["vm"]] == ["vm-ann"]
    whole = admin("POST", "permissions", {"role": {"name": "SuperUser"}, "user": {"user_name": "ann@internal-authz"}})
    assert whole.status_code == 201
    assert ann("POST", "tags", {"name": "x"}).status_code == 201
    last = admin("DELETE", "permissions/58ca605c-010d-0307-0224-0000000001a9")
    assert (last.status_code, last.headers["Trivet-Error"]) == (409, "permission.last-admin")


def test_people_get_roles_through_groups(ann: As, admin: As, tenants: dict[str, str], engine: Engine) -> None:
    group = {"name": "staff", "domain": {"name": "internal-authz"}}
    staff = admin("POST", "groups", group).get_json()
    assert (staff["name"], staff["domain"]["name"]) == ("staff", "internal-authz")
    assert admin("POST", "groups", group).status_code == 409
    assert admin("POST", "groups", {**group, "domain": {"name": "example.org-authz"}}).status_code == 404
    engine.store.put_account(AccountRecord("user-eve", "eve", "example.org", HASH, True))
    elsewhere = admin("POST", "groups", {**group, "domain": {"name": "example.org-authz"}})
    assert (elsewhere.status_code, elsewhere.headers["Trivet-Error"]) == (400, "group.unknown")
    body = {"role": {"name": "UserVmManager"}, "group": {"id": staff["id"]}}
    assert admin("POST", "vms/vm-ben/permissions", body).status_code == 201
    assert [one["id"] for one in ann("GET", "vms").get_json()["vm"]] == ["vm-ann"]
    put = admin("PUT", "users/user-ann", {"groups": {"group": [{"name": "staff"}]}, "email": "ann@example.org"})
    assert (put.status_code, put.get_json()["email"]) == (200, "ann@example.org"), put.text
    assert [one["name"] for one in admin("GET", "users/user-ann/groups").get_json()["group"]] == ["staff"]
    assert {one["id"] for one in ann("GET", "vms").get_json()["vm"]} == {"vm-ann", "vm-ben"}
    assert [one["name"] for one in admin("GET", f"groups/{staff['id']}/roles").get_json()["role"]] == ["UserVmManager"]
    (internal,) = (one for one in admin("GET", "domains").get_json()["domain"] if one["name"] == "internal-authz")
    place = f"domains/{internal['id']}"
    assert {one["name"] for one in admin("GET", f"{place}/groups").get_json()["group"]} == {"Everyone", "staff"}
    assert {one["name"] for one in admin("GET", f"{place}/users").get_json()["user"]} == {"admin", "ann", "ben"}
    assert {one["name"] for one in ann("GET", f"{place}/users").get_json()["user"]} == {"ann"}, "others are not theirs"
    assert [one["id"] for one in admin("GET", "users?search=group%3Dstaff").get_json()["user"]] == ["user-ann"]
    assert admin("DELETE", f"groups/{staff['id']}").status_code == 200
    assert [one["id"] for one in ann("GET", "vms").get_json()["vm"]] == ["vm-ann"]
    assert "group" not in admin("GET", "users/user-ann/groups").get_json()
    everyone = admin("DELETE", f"groups/{EVERYONE}")
    assert (everyone.status_code, everyone.headers["Trivet-Error"]) == (409, "api.built-in")


def test_only_who_may_give_every_role_changes_a_user(
    ann: As, admin: As, client: FlaskClient, tenants: dict[str, str], engine: Engine
) -> None:
    """Whoever else may make users could take a group's roles, or an administrator's password."""
    entities = engine.store.entities
    entities.add(named("role", "role-desk", "Desk", {"administrative": True, "permits": ["login", "manipulate_users"]}))
    Permits(entities).give("role-desk", ("user", "user-ann"), None)
    assert ann("PUT", "users/user-ann", {"email": "ann@example.org"}).status_code == 403

    def put(body: Any) -> Any:
        return admin("PUT", "users/user-ben", body)

    renamed = put({"user_name": "otto"})
    assert (renamed.status_code, renamed.headers["Trivet-Error"]) == (400, "user.fixed")
    short = put({"password": "short", "email": "x"})
    assert (short.status_code, short.headers["Trivet-Error"]) == (400, "user.password")
    assert entities.need("user", "user-ben").body["email"] == "", "nothing of it was done"
    assert put({"password": "another long one"}).status_code == 200
    form = {"grant_type": "password", "scope": "ovirt-app-api", "username": "ben@internal", "password": "another long one"}
    assert client.post("/ovirt-engine/sso/oauth/token", data=form).get_json()["access_token"]


def test_roles_are_made_of_permits(admin: As) -> None:
    role = {"name": "Starter", "administrative": False, "permits": {"permit": [{"name": "login"}, {"id": "22"}]}}
    made = admin("POST", "roles", role).get_json()
    assert [one["name"] for one in made["permits"]["permit"]] == ["login", "run_vm"]
    place = f"roles/{made['id']}/permits"
    assert admin("POST", place, {"name": "stop_vm"}).status_code == 201
    assert admin("DELETE", f"{place}/22").status_code == 200
    assert [one["name"] for one in admin("GET", place).get_json()["permit"]] == ["login", "stop_vm"]
    assert admin("POST", place, {"name": "fly"}).status_code == 404
    built_in = admin("POST", f"roles/{SUPER_USER}/permits", {"name": "login"})
    assert (built_in.status_code, built_in.headers["Trivet-Error"]) == (409, "api.built-in")
    assert admin("PUT", f"roles/{SUPER_USER}", {"comment": "x"}).status_code == 409
    assert len(admin("GET", "clusterlevels/4.7").get_json()["permits"]["permit"]) == len(PERMITS)


def test_a_tenant_sees_the_events_of_what_is_theirs(ann: As, admin: As, engine: Engine) -> None:
    for name in ("ann", "ben"):
        about = {"vm": f"vm-{name}", "cluster": world.CLUSTER.id}
        engine.store.audit.tell("USER_STARTED_VM", about, {}, account=f"user-{name}")
    mine = ann("GET", "events?search=type%3D153").get_json()["event"]
    assert [(one["vm"]["id"], one["cluster"]["id"]) for one in mine] == [("vm-ann", world.CLUSTER.id)]
    assert ann("GET", "events?search=vm.name%3Dbens").get_json() == {}
    theirs = next(one["id"] for one in admin("GET", "events?search=Vms.name%3Dbens").get_json()["event"])
    assert ann("GET", f"events/{mine[0]['id']}").status_code == 200
    assert ann("GET", f"events/{theirs}").status_code == 404
    assert ann("DELETE", f"events/{mine[0]['id']}").status_code == 403
    assert admin("DELETE", f"events/{theirs}").status_code == 200
    assert admin("GET", f"events/{theirs}").status_code == 404


def test_who_manages_events_sees_them_all_and_who_asks_as_a_user_does_not(engine: Engine, ann: As) -> None:
    engine.store.audit.tell("USER_STARTED_VM", {"vm": "vm-ben"}, {}, account="user-ben")
    engine.store.audit.tell("VDS_RECOVER", {"host": world.MEMBERS[0].id}, {})
    assert ann("GET", "events?search=type%3D14").get_json() == {}
    Permits(engine.store.entities).give(BY_NAME["AuditLogManager"].id, ("user", "user-ann"), SYSTEM)
    (event,) = ann("GET", "events?search=type%3D14").get_json()["event"]
    assert event["host"]["id"] == world.MEMBERS[0].id
    assert ann("GET", "events?search=type%3D14", Filter="true").get_json() == {}
    assert [one["vm"]["id"] for one in ann("GET", "events?search=vm.id%3Dvm-ben").get_json()["event"]] == ["vm-ben"]
    assert ann("DELETE", f"events/{event['id']}").status_code == 200


def test_who_administers_a_cluster_sees_its_events(engine: Engine, ann: As) -> None:
    Permits(engine.store.entities).give(BY_NAME["ClusterAdmin"].id, ("user", "user-ann"), ("cluster", world.CLUSTER.id))
    engine.store.audit.tell("VDS_RECOVER", {"host": world.MEMBERS[0].id}, {})
    assert [one["code"] for one in ann("GET", "events?search=type%3D14").get_json()["event"]] == ["14"]


def test_the_owner_of_a_template_makes_its_nics(engine: Engine, ann: As) -> None:
    engine.store.entities.add(named("template", "t1", "golden", {}, cluster=world.CLUSTER.id))
    assert ann("POST", "templates/t1/nics", {"name": "nic1"}).status_code in (403, 404)
    Permits(engine.store.entities).give(TEMPLATE_OWNER, ("user", "user-ann"), ("template", "t1"))
    made = ann("POST", "templates/t1/nics", {"name": "nic1"})
    assert made.status_code == 201, made.text
    nic = made.get_json()["id"]
    assert ann("PUT", f"templates/t1/nics/{nic}", {"name": ""}).get_json()["name"] == "nic1"
    assert ann("DELETE", f"templates/t1/nics/{nic}").status_code == 200


def test_many_roles_at_many_places_are_no_deeper_a_question(engine: Engine, ann: As) -> None:
    store = engine.store.entities
    center = store.need("cluster", world.CLUSTER.id).ref("data_center")
    domain, network = store.list("storage_domain")[0].id, store.list("network")[0].id
    places = (("cluster", world.CLUSTER.id), ("data_center", center), ("storage_domain", domain), ("network", network),
              ("host", world.MEMBERS[0].id), ("vm", "vm-ben"), ("template", BLANK_TEMPLATE))  # fmt: skip
    for role in ("ClusterAdmin", "DataCenterAdmin"):
        for place in places:
            Permits(store).give(BY_NAME[role].id, ("user", "user-ann"), place)
    engine.store.audit.tell("VDS_RECOVER", {"host": world.MEMBERS[0].id}, {})
    search = "type%3D14+and+(severity%3Dnormal+or+(message%3Dx+and+(vm.name%3Dy+or+host.name%3Dz)))+page+1"
    assert len(ann("GET", f"events?search={search}&max=5").get_json()["event"]) == 1
    for path in ("vms", "hosts", "disks", "storagedomains", "networks", "templates"):
        assert (
            ann("GET", f"{path}?search=name%3D*+and+(name%3Da*+or+(name%3D*+and+(name%3D*+or+name%3Db)))").status_code == 200
        )
