from __future__ import annotations

import dataclasses
import json
import re

import pytest
from flask.testing import FlaskClient

from appliance.effects.clock import FakeClock
from engine.accounts import TOKEN_LIFETIME_S
from engine.core import Engine
from engine.jobs.follow import ENGINE, SUPERSEDED
from tests.engine import world

API = "/ovirt-engine/api"
TOKEN = "/ovirt-engine/sso/oauth/token"
FORM = {"grant_type": "password", "scope": "ovirt-app-api", "username": world.ADMIN, "password": world.PASSWORD}
HOST = world.MEMBERS[0].id
EVENT = {"origin": "test", "severity": "warning", "description": "a row", "custom_id": 42}


def bearer(token: str, accept: str = "application/json") -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Accept": accept, "Version": "4"}


def test_health(client: FlaskClient, engine: Engine) -> None:
    answer = client.get("/health")
    assert answer.get_json() == {"status": "up", "epoch": 7, "host": "node2", "version": "0.1.0", "database": "ok"}
    assert "Welcome to Health Status" in client.get("/ovirt-engine/services/health").text
    engine.observations.put(ENGINE, SUPERSEDED, {"epoch": 7})
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.get_json()["status"] == "superseded"


def test_health_names_the_host_of_now_after_a_migration(client: FlaskClient, engine: Engine, clock: FakeClock) -> None:
    clock.sleep(1.0)
    here, gone = (world.FakeNode(world.MEMBERS[2], engine_here=there).vms() for there in (True, False))
    engine.observations.put("node3", "vms", world.encode(here))  # node2 has not been asked again yet: the newest word counts
    assert client.get("/health").get_json()["host"] == "node3"
    engine.observations.put("node2", "vms", world.encode(gone))
    assert client.get("/health").get_json()["host"] == "node3"
    left = (dataclasses.replace(here[0], power="migrating"),)
    engine.observations.put("node3", "vms", world.encode(left))
    assert client.get("/health").get_json()["host"] == "node3", "it runs there until it has left"
    engine.observations.put("node3", "vms", world.encode(gone))
    assert client.get("/health").get_json()["host"] == "node2", "nobody says so: the host of the start"


def test_health_is_degraded_when_the_database_does_not_take_a_write(client: FlaskClient, engine: Engine) -> None:
    engine.store._database.execute_sql("PRAGMA query_only = 1")
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.get_json()["status"] == "degraded"
    assert "readonly" in answer.get_json()["database"]


def test_the_token_answer_is_exactly_v4s(client: FlaskClient, engine: Engine) -> None:
    answer = client.post(TOKEN, data=FORM)
    assert answer.content_type.startswith("application/json")
    body = answer.get_json()
    assert set(body) == {"access_token", "scope", "exp", "token_type"}
    assert (body["scope"], body["token_type"]) == ("ovirt-app-api", "bearer")
    assert body["exp"] == str(engine.now_ms() + TOKEN_LIFETIME_S * 1000)
    stored = engine.store._database.execute_sql("SELECT * FROM token").fetchall()
    assert body["access_token"] not in str(stored)


def test_no_token_a_wrong_one_and_an_expired_one(client: FlaskClient, token: str, clock: FakeClock) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Bearer "}, {"Authorization": "Magic x"}):
        answer = client.get(API, headers=headers)
        assert answer.status == "401 Unauthorized"
        assert "Unauthorized</body>" in answer.text
        assert answer.headers["Trivet-Error"] == "api.unauthorized"
    assert client.get(API, headers=bearer(token)).status_code == 200
    clock.sleep(TOKEN_LIFETIME_S - 1)
    assert client.get(API, headers=bearer(token)).status_code == 200
    clock.sleep(1)
    assert client.get(API, headers=bearer(token)).status_code == 401


@pytest.mark.parametrize("path", ["/ovirt-engine/services/sso-logout", "/ovirt-engine/sso/oauth/revoke"])
def test_logout(client: FlaskClient, token: str, path: str) -> None:
    assert client.post(path, data={"scope": "ovirt-app-api", "token": token}).get_json() == {}
    assert client.get(API, headers=bearer(token)).status_code == 401


def test_wrong_passwords_are_refused_and_slowed_down(client: FlaskClient, clock: FakeClock) -> None:
    wrong = {**FORM, "password": "wrong"}
    for _ in range(3):
        answer = client.post(TOKEN, data=wrong)
        assert answer.status_code == 400
        assert answer.get_json()["error_code"] == "access_denied"
        assert answer.get_json()["error"].startswith("Cannot authenticate user 'admin@internal': ")
        assert answer.headers["Trivet-Error"] == "login.wrong"
    answer = client.post(TOKEN, data=FORM)  # the right one, too early: not even looked at
    assert (answer.status_code, answer.headers["Trivet-Error"]) == (400, "login.slowed")
    assert int(answer.headers["Retry-After"]) >= 1
    assert client.post(TOKEN, data=FORM, environ_base={"REMOTE_ADDR": "198.18.0.9"}).status_code == 200
    clock.sleep(1.0)
    assert client.post(TOKEN, data=FORM).status_code == 200
    assert client.post(TOKEN, data={**FORM, "username": "nobody@internal"}).get_json()["error_code"] == "access_denied"


def test_passwords_in_addresses_and_other_grants_are_refused(client: FlaskClient) -> None:
    assert client.get(f"{TOKEN}?password=x").get_json()["error_code"] == "invalid_request"
    assert client.post(TOKEN, data={**FORM, "grant_type": "magic"}).get_json()["error_code"] == "unsupported_grant_type"
    other = client.post(TOKEN, data={**FORM, "password": "x", "scope": "other"}).get_json()
    assert other["error"] == "access_denied"


def test_basic_authentication(client: FlaskClient) -> None:
    assert client.get(API, auth=(world.ADMIN, world.PASSWORD)).status_code == 200
    assert client.get(API, auth=(world.ADMIN, "wrong")).status_code == 401


def test_the_root(client: FlaskClient, token: str) -> None:
    root = client.get(API, headers=bearer(token)).get_json()
    version = root["product_info"]["version"]
    assert (version["major"], version["minor"], version["build"]) == ("4", "5", "7")
    links = {link["rel"]: link["href"] for link in root["link"]}
    assert links["vms"] == f"{API}/vms"
    assert links["vms/search"] == f"{API}/vms?search={{query}}"
    assert root["special_objects"]["blank_template"]["id"] == "00000000-0000-0000-0000-000000000000"
    assert root["summary"]["hosts"] == {"active": "3", "total": "3"}
    assert root["summary"]["vms"] == {"active": "1", "total": "1"}
    assert client.head(API, headers=bearer(token)).status_code == 200
    assert client.options(f"{API}/hosts", headers=bearer(token)).headers["Allow"] == "GET, HEAD, OPTIONS, POST"


ALWAYS = {
    "hosts": "address auto_numa_status certificate cluster comment cpu description device_passthrough external_status "
    "hardware_information iscsi kdump_status ksm libvirt_version max_scheduling_memory memory name numa_supported os port "
    "power_management protocol se_linux spm ssh status summary transparent_hugepages type update_available version",
    "vms": "bios cluster comment cpu cpu_profile cpu_shares creation_time delete_protected description display "
    "high_availability io large_icon memory memory_policy migration migration_downtime name next_run_configuration_exists "
    "origin original_template os placement_policy quota small_icon sso start_paused stateless status stop_time "
    "storage_error_resume_behaviour template time_zone type usb host start_time run_once fqdn",
    "storagedomains": "available backup block_size comment committed critical_space_action_blocker data_centers description "
    "discard_after_delete external_status master name status storage storage_format supports_discard "
    "supports_discard_zeroes_data type used warning_low_space_indicator wipe_after_delete",
    "clusters": "ballooning_enabled comment cpu data_center description error_handling fencing_policy firewall_type "
    "gluster_service ha_reservation ksm memory_policy migration name switch_type threads_as_cores trusted_service "
    "tunnel_migration version virt_service",
    "datacenters": "comment description local name quota_mode status storage_format supported_versions version",
}


@pytest.mark.parametrize("collection", sorted(ALWAYS))
def test_attributes_that_a_real_engine_always_sends(client: FlaskClient, token: str, collection: str) -> None:
    (rows,) = client.get(f"{API}/{collection}", headers=bearer(token)).get_json().values()
    for row in rows:
        assert set(ALWAYS[collection].split()) - set(row) == set()
        again = client.get(row["href"], headers=bearer(token)).get_json()
        assert again == row
        for link in row.get("link", ()):
            assert client.get(link["href"], headers=bearer(token)).status_code == 200


def test_values_are_live(client: FlaskClient, token: str, engine: Engine) -> None:
    def host() -> dict[str, str]:
        found: dict[str, str] = client.get(f"{API}/hosts/{HOST}", headers=bearer(token)).get_json()
        return found

    assert host()["status"] == "up"
    assert host()["max_scheduling_memory"] == str(5 * 1024**3)
    engine.observations.put("node1", "statistics", world.encode(world.statistics(1024**3)))
    assert host()["max_scheduling_memory"] == str(1024**3)
    vm = client.get(f"{API}/vms?search=name%3DHostedEngine", headers=bearer(token)).get_json()["vm"][0]
    assert (vm["status"], vm["host"]["id"], vm["id"]) == ("up", world.MEMBERS[1].id, world.CLUSTER.engine.id)
    domain = client.get(f"{API}/storagedomains?search=name=vmstore", headers=bearer(token)).get_json()["storage_domain"][0]
    assert (domain["status"], domain["available"], domain["used"]) == ("active", str(60 * 1024**3), str(40 * 1024**3))


def test_a_silent_host_is_non_responsive(client: FlaskClient, token: str, clock: FakeClock) -> None:
    clock.sleep(60)
    row = client.get(f"{API}/hosts/{HOST}", headers=bearer(token)).get_json()
    assert (row["status"], row["status_detail"]) == ("non_responsive", "last heard 60 s ago")


def test_search_max_and_paging(client: FlaskClient, token: str) -> None:
    def names(query: str) -> list[str]:
        answer = client.get(f"{API}/hosts", query_string=query, headers=bearer(token))
        assert answer.status_code == 200, answer.text
        return [row["name"] for row in answer.get_json().get("host", [])]

    assert names("search=name%3D%22node2%22") == ["node2"]
    assert names("search=name=node*&max=2&follow=nics") == ["node1", "node2"]
    assert names("search=name=node*+sortby+name+desc+page+2&max=2") == ["node1"]
    assert names("search=name!=node1+and+id!=x") == ["node2", "node3"]
    assert names("search=NAME%3DNODE2&case_sensitive=false") == ["node2"]
    assert names("search=Hosts.name%3Dnode3") == ["node3"]
    assert names("search=name=nobody") == []
    assert names("search=name=node1+or+name=node3+sortby+name+desc") == ["node3", "node1"]
    assert names("search=cluster=trivet+and+(name=node1+or+node2)") == ["node1", "node2"]
    for bad in ("search=load>5", "search=name=a+or", "search=((", "max=many"):
        answer = client.get(f"{API}/hosts", query_string=bad, headers=bearer(token))
        assert answer.status_code == 400
        assert answer.get_json()["reason"] == "Operation Failed"
    matrix = client.get(f"{API}/hosts;max=1", headers=bearer(token)).get_json()
    assert len(matrix["host"]) == 1


def test_unknown_things(client: FlaskClient, token: str) -> None:
    for path in (
        "hosts/nobody",
        "vms/None",
        "hosts/nobody/statistics",
        f"hosts/{HOST}/nics/x",
        "vms/x/snapshots",
        "disks/x",
    ):
        answer = client.get(f"{API}/{path}", headers=bearer(token))
        assert (answer.status, answer.data) == ("404 Not Found", b""), path
        assert answer.headers["Trivet-Error"] == "api.unknown-id"
    answer = client.get(f"{API}/nonsense", headers=bearer(token))
    assert (answer.status_code, answer.headers["Trivet-Error"]) == (404, "api.not-served")
    assert "not supported by this engine" in answer.get_json()["detail"]
    assert client.get(f"{API}/disks", headers=bearer(token)).get_json() == {}
    assert client.post(f"{API}/disks/x/copy", headers=bearer(token)).status_code == 404


def test_wrong_methods(client: FlaskClient, token: str) -> None:
    for path, allow in (
        ("hosts", "GET, HEAD, OPTIONS, POST"),
        ("events", "GET, HEAD, OPTIONS, POST"),
        (f"hosts/{HOST}/statistics", "GET, HEAD, OPTIONS"),
    ):
        answer = client.delete(f"{API}/{path}", headers=bearer(token))
        assert answer.status == "405 Method Not Allowed"
        assert answer.headers["Allow"] == allow
        assert "DELETE" in answer.get_json()["detail"]
    answer = client.delete("/health")
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


def test_negotiation_and_correlation(client: FlaskClient, token: str) -> None:
    for accept, kind in (
        ("", "xml"),
        ("*/*", "xml"),
        ("application/xml", "xml"),
        ("application/xml;q=0.5, application/json", "json"),
    ):
        answer = client.get(f"{API}/hosts", headers=bearer(token, accept))
        assert answer.content_type.startswith(f"application/{kind}"), accept
    answer = client.get(API, headers={**bearer(token), "Correlation-Id": "my job/1" + "x" * 50})
    assert answer.headers["Correlation-Id"] == ("myjob1" + "x" * 50)[:36]
    assert re.fullmatch(r"[0-9a-f-]{36}", client.get(API, headers=bearer(token)).headers["Correlation-Id"])
    assert client.get(API, headers={**bearer(token), "Version": "3"}).status_code == 400


def test_events_are_written_and_read(client: FlaskClient, token: str) -> None:
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in {**EVENT, "custom_id": 41}.items())
    xml = f"<event>{inner}</event>"
    answer = client.post(f"{API}/events", data=xml, content_type="application/xml", headers=bearer(token))
    assert answer.status == "201 Created"
    assert answer.headers["Location"] == answer.get_json()["href"]
    body = {**EVENT, "host": {"name": "node1"}}
    second = client.post(f"{API}/events", json=body, headers={**bearer(token), "Correlation-Id": "abc"}).get_json()
    assert (second["code"], second["severity"], second["custom_id"], second["correlation_id"]) == (
        "9802",
        "warning",
        "42",
        "abc",
    )
    assert second["host"]["id"] == HOST
    assert client.get(second["href"], headers=bearer(token)).get_json() == second
    listed = client.get(f"{API}/events?max=1", headers=bearer(token)).get_json()["event"]
    assert listed == [second]
    later = client.get(f"{API}/events", query_string={"from": second["id"]}, headers=bearer(token)).get_json()
    assert later == {}


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"custom_id": None}, 400, "api.incomplete"),
        ({"description": ""}, 400, "api.incomplete"),
        ({"origin": "oVirt"}, 400, "event.origin"),
        ({"custom_id": -5}, 400, "event.custom-id"),
        ({"custom_id": 2**40}, 400, "event.custom-id"),
        ({"description": "x" * 5000}, 400, "event.too-long"),
        ({"severity": "loud"}, 400, "api.enum"),
        ({"host": {"name": "nobody"}}, 404, "api.reference"),
        ({"colour": "red"}, 400, "api.unknown-attribute"),
    ],
)
def test_bad_events_change_nothing(
    client: FlaskClient, token: str, engine: Engine, change: dict[str, object], status: int, code: str
) -> None:
    before = engine.store.events()
    answer = client.post(f"{API}/events", json={**EVENT, **change}, headers=bearer(token))
    assert (answer.status_code, answer.headers["Trivet-Error"]) == (status, code)
    assert set(answer.get_json()) == {"reason", "detail"}
    assert engine.store.events() == before


def test_a_repeated_event_conflicts_with_the_phrase_that_clients_grep(client: FlaskClient, token: str) -> None:
    assert client.post(f"{API}/events", json=EVENT, headers=bearer(token)).status_code == 201
    assert client.post(f"{API}/events", json=EVENT, headers=bearer(token)).status == "409 Conflict"


def test_bodies(client: FlaskClient, token: str) -> None:
    big = client.post(f"{API}/events", data=b"x" * 10 * 1024**2, content_type="application/xml", headers=bearer(token))
    assert (big.status_code, big.headers["Trivet-Error"]) == (413, "api.body-too-large")
    assert "1048576 bytes" in big.get_json()["detail"]
    bomb = b'<!DOCTYPE e [<!ENTITY a "b">]><event><origin>&a;</origin></event>'
    answer = client.post(f"{API}/events", data=bomb, content_type="application/xml", headers=bearer(token))
    assert (answer.status_code, answer.headers["Trivet-Error"]) == (400, "api.xml")
    assert "DOCTYPE" in answer.get_json()["detail"]
    answer = client.post(f"{API}/events", data=b"a=b", content_type="text/plain", headers=bearer(token))
    assert answer.status_code == 415


def test_a_defect_is_a_fault_and_not_a_page(
    client: FlaskClient, token: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Engine, "view", broken)
    answer = client.get(f"{API}/hosts", headers=bearer(token, "application/xml"))
    assert answer.status == "500 Internal Server Error"
    assert "<fault>" in answer.text
    assert "Traceback" not in answer.text


def test_the_ca_certificate(client: FlaskClient, engine: Engine) -> None:
    answer = client.get("/ovirt-engine/services/pki-resource?resource=ca-certificate&format=X509-PEM-CA")
    assert answer.text == engine.ca_pem
    assert client.get("/ovirt-engine/services/pki-resource?resource=engine-certificate").status_code == 404


def test_the_overview_and_its_door(client: FlaskClient, token: str, clock: FakeClock) -> None:
    assert client.get("/api/v1/overview").status_code == 401
    clock.sleep(12)
    shown = client.get("/api/v1/overview", headers=bearer(token)).get_json()
    assert [one["age_s"] for one in shown["nodes"]] == [12, 12, 12]
    assert shown["storage"]["verdict"].startswith("safe to lose one node: yes")
    assert shown["engine"]["epoch"] == 7
    json.dumps(shown)
