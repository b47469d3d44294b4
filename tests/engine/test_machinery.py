"""What every noun gets from the dispatcher: sessions, parameters, follow, references, what is mandatory, entity tags,
forms."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from engine.api import coverage, mandatory, xml
from engine.api.model import model
from engine.api.registry import nouns
from engine.api.routes import routes
from engine.core import Engine
from tests.engine import world

API = "/ovirt-engine/api"
BASIC = (world.ADMIN, world.PASSWORD)
TYPED = "application/vnd.trivet+json"
CENTER = "datacenters"

Ask = Callable[..., Any]


@pytest.fixture
def ask(client: FlaskClient, token: str) -> Ask:
    """Ask in v4's JSON: (status, body). ``form`` for another."""

    def asked(method: str, path: str, body: Any = None, form: str = "application/json", **headers: str) -> tuple[int, Any]:
        sent = {"Authorization": f"Bearer {token}", "Accept": form, **{k.replace("_", "-"): v for k, v in headers.items()}}
        data = None if body is None else json.dumps(body)
        answer = client.open(f"{API}/{path}", method=method, data=data, headers=sent, content_type=form if data else None)
        assert answer.status_code < 500, answer.text
        return answer.status_code, answer.get_json(silent=True, force=True)

    return asked


def make_vm(engine: Engine, name: str, **body: Any) -> str:
    """A stored VM."""
    from engine.builtin import BLANK_TEMPLATE, named

    made = named("vm", f"vm-{name}", name, body, cluster=world.CLUSTER.id, template=BLANK_TEMPLATE)
    return engine.store.entities.add(made).id


# sessions


def test_a_session_lasts_as_long_as_it_is_preferred(client: FlaskClient) -> None:
    first = client.get(API, auth=BASIC, headers={"Prefer": "persistent-auth", "Session-TTL": "5"})
    assert first.headers["Session-TTL"] == "5"
    assert "JSESSIONID=" in first.headers["Set-Cookie"]
    assert "HttpOnly" in first.headers["Set-Cookie"]
    assert client.get(API, headers={"Prefer": "persistent-auth"}).status_code == 200
    assert client.get(API).status_code == 200, "the last request of a session does not prefer it"
    assert client.get(API, headers={"Prefer": "persistent-auth"}).status_code == 401


def test_a_session_ends_with_its_time(client: FlaskClient, engine: Engine) -> None:
    client.get(API, auth=BASIC, headers={"Prefer": "persistent-auth"})
    engine.clock.sleep(30 * 60)
    assert client.get(API, headers={"Prefer": "persistent-auth"}).status_code == 401


def test_a_protected_session_wants_its_id_in_a_header(client: FlaskClient) -> None:
    client.get(API, auth=BASIC, headers={"Prefer": "persistent-auth, csrf-protection"})
    cookie = client.get_cookie("JSESSIONID", path=API)
    assert cookie is not None
    keep = {"Prefer": "persistent-auth"}
    refused = client.get(API, headers=keep)
    assert (refused.status_code, refused.headers["Trivet-Error"]) == (403, "api.csrf")
    assert client.get(API, headers={**keep, "JSESSIONID": "x" + cookie.value}).status_code == 403
    assert client.get(API, headers={**keep, "JSESSIONID": cookie.value}).status_code == 200


@pytest.mark.parametrize("header", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_another_sites_page_cannot_act_with_what_a_browser_remembers(client: FlaskClient, header: dict[str, str]) -> None:
    body = {"name": "x"}
    refused = client.post(f"{API}/tags", json=body, auth=BASIC, headers=header)
    assert (refused.status_code, refused.headers["Trivet-Error"]) == (403, "api.csrf")
    assert client.get(f"{API}/tags", auth=BASIC, headers=header).status_code == 200
    assert client.post(f"{API}/tags", json=body, auth=BASIC, headers={"Origin": "http://localhost"}).status_code == 201


def test_token_info(client: FlaskClient, token: str) -> None:
    path = "/ovirt-engine/sso/oauth/token-info"
    told = client.post(path, data={"token": token}).get_json()
    assert (told["active"], told["user_id"]) == (True, world.ADMIN)
    assert client.post(path, data={"token": "x"}).get_json()["error_code"] == "invalid_grant"
    client.post("/ovirt-engine/sso/oauth/revoke", data={"token": token})
    assert client.post(path, data={"token": token}).status_code == 400
    assert client.post("/ovirt-engine/sso/oauth/token-http-auth").get_json()["error_code"] == "unsupported_grant_type"


# parameters


def test_precedence_of_parameters(ask: Ask, client: FlaskClient, token: str) -> None:
    assert len(ask("GET", "hosts;max=1")[1]["host"]) == 1
    assert len(ask("GET", "hosts;max=1?max=2")[1]["host"]) == 2
    assert len(ask("GET", "hosts;max=1/;x")[1].get("host", [])) in (0, 3)
    headers = {"Authorization": f"Bearer {token}", "Correlation-Id": "of-the-header"}
    assert client.get(f"{API}?correlation_id=of-the-query", headers=headers).headers["Correlation-Id"] == "of-the-query"
    assert client.get(f"{API}/hosts;correlation_id=m", headers=headers).headers["Correlation-Id"] == "m"
    for word in ("case_sensitive=false", "case_sensitive=N", "case_sensitive=0"):
        assert ask("GET", f"hosts?search=name%3DNODE1&{word}")[1]["host"], word
    for word in ("case_sensitive", "case_sensitive=maybe", "case_sensitive=yes"):
        assert ask("GET", f"hosts?search=name%3DNODE1&{word}")[1] == {}, word


def test_gzip(client: FlaskClient, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "deflate, gzip"}
    packed = client.get(f"{API}/hosts", headers=headers)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data).startswith(b"<?xml")
    plain = client.get(f"{API}/hosts", headers={**headers, "Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(packed.data) == plain.data


def test_the_reason_is_in_the_callers_language(ask: Ask) -> None:
    fault = ask("POST", "tags", {}, Accept_Language="de-AT,de;q=0.9")[1]
    assert fault == {"reason": "Unvollständige Parameter", "detail": "Tag [name] required for add"}
    assert ask("POST", "tags", {}, Accept_Language="tlh")[1]["reason"] == "Incomplete parameters"


# follow


def test_follow(ask: Ask, engine: Engine) -> None:
    vm = make_vm(engine, "a")
    from engine.store.entity import Entity

    disk = engine.store.entities.add(Entity("disk", "d1", "data", {"provisioned_size": 5}))
    engine.store.entities.add(
        Entity("disk_attachment", "d1", body={"bootable": True}, parent=("vm", vm)).with_refs(disk=disk.id)
    )
    plain = ask("GET", f"vms/{vm}")[1]
    assert "disk_attachments" not in plain
    assert {"rel": "diskattachments", "href": f"{API}/vms/{vm}/diskattachments"} in plain["link"]
    full = ask("GET", f"vms/{vm}?follow=disk_attachments.disk,cluster.data_center,nics")[1]
    (attachment,) = full["disk_attachments"]["disk_attachment"]
    assert attachment["href"] == f"{API}/vms/{vm}/diskattachments/d1"
    assert attachment["disk"]["provisioned_size"] == "5"
    assert full["cluster"]["data_center"]["name"] == "Default"
    assert full["nics"] == {}
    assert "diskattachments" not in {link["rel"] for link in full["link"]}
    listed = ask("GET", "vms?search=name%3Da&follow=disk_attachments.disk")[1]["vm"][0]
    assert listed["disk_attachments"] == full["disk_attachments"]
    for bad in ("colour", "name", "a.b.c.d.e.f.g", ",".join(f"x{i}" for i in range(50))):
        assert ask("GET", f"vms/{vm}?follow={bad}")[0] == 400, bad


# references and what is mandatory


def test_references_by_name_are_resolved(ask: Ask) -> None:
    status, made = ask("POST", "cpuprofiles", {"name": "slow", "cluster": {"id": world.CLUSTER.id}})
    assert (status, made["cluster"]["id"]) == (201, world.CLUSTER.id)
    status, made = ask("POST", "networks", {"name": "blue", "data_center": {"name": "Default"}})
    assert status == 201
    assert made["data_center"]["href"].startswith(f"{API}/datacenters/")
    status, fault = ask("POST", "networks", {"name": "red", "data_center": {"name": "Nowhere"}})
    assert status == 404
    assert "DataCenter 'Nowhere'" in fault["detail"]
    assert ask("POST", "networks", {"name": "red", "data_center": {"id": "x"}})[0] == 404
    described = {"name": "Default", "description": "as it was read", "local": False}
    status, green = ask("POST", "networks", {"name": "green", "data_center": described})
    assert (status, green["data_center"]["id"]) == (201, made["data_center"]["id"])
    assert "red" not in {one["name"] for one in ask("GET", "networks")[1]["network"]}


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("tags", {}, "Tag [name] required for add"),
        ("tags", {"name": ""}, "Tag [name] required for add"),
        ("bookmarks", {}, "Bookmark [name, value] required for add"),
        ("networks", {"name": "x"}, "Network [dataCenter.id|name] required for add"),
        ("clusters", {"data_center": {}}, "Cluster [name, dataCenter.id|name] required for add"),
    ],
)
def test_what_is_mandatory_is_named(ask: Ask, path: str, body: dict[str, Any], detail: str) -> None:
    status, fault = ask("POST", path, body)
    assert (status, fault) == (400, {"reason": "Incomplete parameters", "detail": detail})


def test_the_table_of_what_is_mandatory_means_something() -> None:
    assert mandatory.unknown_services() == []
    served = [name for name, noun in nouns().items() if noun.serves("add")]
    assert [
        name for name in served if name not in mandatory.MANDATORY and not name.startswith(("Quota", "StorageDomainDisks"))
    ] == ["AttachedStorageDomainDisks"]


def test_a_bad_enum_is_told_as_v4_does(ask: Ask) -> None:
    status, fault = ask("POST", "vms/x", {})
    status, fault = ask("PUT", f"clusters/{world.CLUSTER.id}", {"switch_type": "token-ring"})
    assert status == 400
    assert fault["detail"].startswith(
        "The string 'token-ring' isn't a valid value for the 'SwitchType' enumerated type. Valid"
    )


# entity tags


def test_entity_tags_of_the_typed_form(ask: Ask, client: FlaskClient, token: str) -> None:
    _, made = ask("POST", "tags", {"name": "t"}, TYPED)
    path, headers = f"tags/{made['id']}", {"Authorization": f"Bearer {token}", "Accept": TYPED}
    first = client.get(f"{API}/{path}", headers=headers)
    tag = first.headers["ETag"]
    assert client.get(f"{API}/{path}", headers={**headers, "If-None-Match": tag}).status == "304 Not Modified"
    assert ask("PUT", path, {"comment": "1"}, TYPED, If_Match=tag)[0] == 200
    status, problem = ask("PUT", path, {"comment": "2"}, TYPED, If_Match=tag)
    assert (status, problem["code"], problem["title"]) == (412, "api.changed", "Operation Failed")
    assert ask("DELETE", path, None, TYPED, If_Match=tag)[0] == 412
    again = client.get(f"{API}/{path}", headers={**headers, "If-None-Match": tag})
    assert (again.status_code, again.get_json(force=True)["comment"]) == (200, "1")
    assert ask("PUT", path, {"comment": "3"}, TYPED, If_Match="*")[0] == 200
    listed = client.get(f"{API}/tags", headers=headers)
    assert client.get(f"{API}/tags", headers={**headers, "If-None-Match": listed.headers["ETag"]}).status_code == 304
    assert "ETag" not in client.get(f"{API}/tags", headers={**headers, "Accept": "application/xml"}).headers


# forms, documents


def test_problems(ask: Ask, client: FlaskClient, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Accept": TYPED}
    for path, code in (("tags/x", "api.unknown-id"), ("nonsense", "api.not-served")):
        answer = client.get(f"{API}/{path}", headers=headers)
        assert (answer.status_code, answer.content_type.split(";")[0]) == (404, "application/problem+json")
        assert answer.get_json(force=True)["code"] == code


def test_a_failed_action_is_an_action_with_a_fault(ask: Ask) -> None:
    job = ask("POST", "jobs", {"description": "mine"})[1]
    assert (job["status"], job["external"]) == ("started", "true")
    assert ask("GET", f"jobs?search=correlation_id%3D{job['id']}")[1] == {}
    step = ask("POST", f"jobs/{job['id']}/steps", {"description": "first", "type": "validating"})[1]
    assert (step["status"], step["type"], step["number"], step["external"]) == ("started", "validating", "1", "true")
    assert ask("POST", f"jobs/{job['id']}/steps/{step['id']}/end", {"succeeded": False})[0] == 200
    assert [one["status"] for one in ask("GET", f"jobs/{job['id']}/steps")[1]["step"]] == ["failed"]
    assert ask("POST", f"jobs/{job['id']}/steps/{job['id']}/end", {})[0] == 404
    status, done = ask("POST", f"jobs/{job['id']}/end", {"succeeded": True})
    assert (status, done["status"]) == (200, "complete")
    assert ask("GET", f"jobs/{job['id']}")[1]["status"] == "finished"
    status, _ = ask("POST", "disks/x/copy", {})
    assert status == 404
    assert ask("GET", f"jobs/{job['id']}/end")[0] == 405
    assert ask("POST", f"jobs/{job['id']}/end", {"succeeded": "perhaps"})[0] == 400


def test_the_openapi_document(client: FlaskClient) -> None:
    told = client.get("/api/v1/openapi.json").get_json()
    assert told["openapi"] == "3.1.0"
    operations = [one for path in told["paths"].values() for name, one in path.items() if name != "parameters"]
    assert len(operations) == len(list(routes(nouns())))
    assert len({one["operationId"] for one in operations}) == len(operations)
    known = set(told["components"]["schemas"])
    text = json.dumps(told)
    assert {word.split('"')[0] for word in text.split("#/components/schemas/")[1:]} <= known
    vm = told["components"]["schemas"]["Vm"]["properties"]
    assert vm["memory"] == {"type": "integer", "format": "int64"}
    assert vm["nics"] == {"type": "array", "items": {"$ref": "#/components/schemas/Nic"}}
    post = told["paths"][f"{API}/tags"]["post"]
    assert set(post["responses"]) >= {"201", "202", "400", "401", "403", "404", "409", "415"}


def test_the_coverage_document_is_fresh() -> None:
    assert coverage.DOCUMENT.read_text() == coverage.text(nouns()), "Run: build/venv/bin/python -m engine.api.coverage"


def test_every_noun_serves_what_the_model_has() -> None:
    assert set(nouns()) - set(model().services) == set()
    for name, noun in nouns().items():
        assert noun.kind == model().services[name].kind, name
        actions = model().services[model().services[name].item].actions if model().services[name].item else ()
        assert set(noun.actions) <= set(actions), name


# every route, refused


ROUTES = list(routes(nouns()))


def concrete(path: str) -> str:
    """The route with ids that nobody has."""
    return "/".join("00000000-dead-0000-0000-000000000000" if part.startswith("{") else part for part in path.split("/"))


def test_every_route_wants_credentials(client: FlaskClient) -> None:
    for route in ROUTES:
        answer = client.open(concrete(route.path), method=route.method.upper())
        assert answer.status_code == 401, route
        assert answer.headers["Trivet-Error"] == "api.unauthorized"


BODIES = {
    "application/xml": [
        b"",
        b"<",
        b"<x/>",
        b"<!DOCTYPE a><a/>",
        b"\xff\xfe",
        b"<vm><name/><name/></vm>",
        b"<action><vm/></action>",
    ],
    "application/json": [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"x":1}',
        b'{"name":[]}',
        b'{"name":"\\u0000"}',
        b"\xff",
        b'{"name":"\\ud800"}',
    ],
    TYPED: [b"", b"{", b"[1]", b'{"id":{}}', b'{"name":5,"description":"d"}', b'{"description":"\\u0000"}', b'{"name":""}'],
    "text/plain": [b"hello"],
    "": [b"x"],
}


def test_no_body_breaks_any_route(client: FlaskClient, token: str) -> None:
    for route in ROUTES:
        if route.method not in ("post", "put", "delete"):
            continue
        for form, bodies in BODIES.items():
            for body in bodies:
                headers = {"Authorization": f"Bearer {token}", "Accept": form or "*/*"}
                answer = client.open(
                    concrete(route.path), method=route.method.upper(), data=body, content_type=form, headers=headers
                )
                assert 400 <= answer.status_code < 500, (route, form, body, answer.status, answer.text)
                assert "Trivet-Error" in answer.headers, (route, form, body)


def test_all_methods_everywhere_are_answered(client: FlaskClient, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    for path in sorted({route.path for route in ROUTES}):
        for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"):
            answer = client.open(concrete(path), method=method, headers=headers)
            assert answer.status_code < 500, (path, method, answer.text)
            if answer.status_code == 405:
                assert method not in answer.headers["Allow"].split(", ")


def test_the_links_of_the_root_work(ask: Ask, client: FlaskClient, token: str) -> None:
    root = ask("GET", "")[1]
    links = {link["rel"]: link["href"] for link in root["link"]}
    assert {"vms", "vms/search", "disks/search", "templates", "tags", "jobs"} <= set(links)
    for rel, href in links.items():
        address = href.replace("{query}", "").removeprefix(f"{API}/")
        assert ask("GET", address)[0] == 200, rel
    assert xml.decode("Api", client.get(API, headers={"Authorization": f"Bearer {token}"}).data)["product_info"]
