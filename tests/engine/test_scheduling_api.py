"""Scheduling policies and their units over the API, and the correction of an id that an older engine stored wrongly."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from engine.builtin import SETTLED, WRONG_POLICY, settle
from engine.core import Engine
from engine.decide.schedule_units import POLICIES, UNITS, unit_of
from tests.engine import world
from tests.engine.test_kept import API, CLUSTER, get, post

NONE, COUNTED = POLICIES[0].id, POLICIES[3].id


def test_the_units_are_listed_under_ovirts_ids(client: FlaskClient, token: str) -> None:
    listed = {one["id"]: one for one in get(client, token, "schedulingpolicyunits")["scheduling_policy_unit"]}
    assert listed.keys() == {unit.id for unit in UNITS}
    memory = listed["c9ddbb34-0e1d-4061-a8d7-b0893fa80932"]
    assert (memory["name"], memory["type"], memory["internal"]) == ("Memory", "filter", "true")


def test_a_built_in_policy_shows_its_units_and_refuses_changes(client: FlaskClient, token: str) -> None:
    path = f"schedulingpolicies/{COUNTED}"
    assert get(client, token, path)["name"] == "vm_evenly_distributed"
    weights = {one["id"]: one["factor"] for one in get(client, token, f"{path}/weights")["weight"]}
    assert weights[unit_of("weight", "even_vms").id] == "2"
    assert [one["id"] for one in get(client, token, f"{path}/balances")["balance"]] == [
        "d58c8e32-44e1-418f-9222-52cd887bf9e0"
    ]
    assert "Memory" in {one["name"] for one in get(client, token, f"{path}/filters")["filter"]}
    headers = {"Authorization": f"Bearer {token}"}
    assert client.put(f"{API}/{path}", json={"name": "mine"}, headers=headers).status_code == 409
    assert client.delete(f"{API}/{path}", headers=headers).status_code == 409
    assert post(client, token, f"{path}/filters", {"id": unit_of("filter", "CPU").id})[0] == 409


def test_a_policy_of_ones_own_has_the_units_it_is_given(client: FlaskClient, token: str) -> None:
    status, made = post(client, token, "schedulingpolicies", {"name": "mine"})
    assert status == 201
    path, memory = f"schedulingpolicies/{made['id']}", unit_of("filter", "Memory").id
    assert get(client, token, f"{path}/filters") == {}
    status, row = post(client, token, f"{path}/filters", {"id": memory, "position": "1"})
    assert (status, row["id"], row["position"]) == (201, memory, "1")
    assert get(client, token, f"{path}/filters/{memory}")["name"] == "Memory"
    assert post(client, token, f"{path}/filters", {"id": memory})[0] == 409
    status, weight = post(client, token, f"{path}/weights", {"id": unit_of("weight", "ha").id, "factor": "3"})
    assert (status, weight["factor"], weight["scheduling_policy"]["id"]) == (201, "3", made["id"])
    for name in ("even", "none"):
        assert post(client, token, f"{path}/balances", {"id": unit_of("load_balancing", name).id})[0] == 201
    assert [one["name"] for one in get(client, token, f"{path}/balances")["balance"]] == ["None"]
    headers = {"Authorization": f"Bearer {token}"}
    assert client.delete(f"{API}/{path}/filters/{memory}", headers=headers).status_code == 200
    assert client.get(f"{API}/{path}/filters/{memory}", headers=headers).status_code == 404
    assert client.delete(f"{API}/{path}/filters/{memory}", headers=headers).status_code == 404
    assert client.delete(f"{API}/{path}", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("filters", {"id": unit_of("weight", "ha").id}, 404),
        ("weights", {"id": "nobody"}, 404),
        ("filters", {}, 400),
    ],
)
def test_what_is_no_unit_is_refused(client: FlaskClient, token: str, path: str, body: dict[str, str], status: int) -> None:
    _status, made = post(client, token, "schedulingpolicies", {"name": "mine"})
    assert post(client, token, f"schedulingpolicies/{made['id']}/{path}", body)[0] == status


def test_properties_are_checked_when_they_are_written(client: FlaskClient, token: str) -> None:
    properties = {"property": [{"name": "HighUtilization", "value": "3"}]}
    status, fault = post(client, token, "schedulingpolicies", {"name": "mine", "properties": properties})
    assert status == 400
    assert "'HighUtilization' cannot be '3'" in fault["detail"]


def test_a_policy_under_the_wrong_id_is_replaced_and_its_clusters_follow(engine: Engine) -> None:
    entities = engine.store.entities
    right = entities.need("scheduling_policy", COUNTED)
    entities.remove(*right.key)
    entities.add(replace(right, id=WRONG_POLICY, generation=0))
    entities.change("cluster", CLUSTER, lambda one: one.with_refs(scheduling_policy=WRONG_POLICY))
    engine.store.put_setting(SETTLED, "1 of an older engine")
    assert settle(engine.store, world.CLUSTER) == 1
    assert entities.get("scheduling_policy", WRONG_POLICY) is None
    assert entities.need("cluster", CLUSTER).ref("scheduling_policy") == COUNTED
    assert entities.need("scheduling_policy", COUNTED).name == "vm_evenly_distributed"
