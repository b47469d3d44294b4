"""A VM that runs gets more CPUs and memory: what it can have at once, what waits for its next start, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.errors import Failed
from engine.core import Engine
from engine.decide.vm_config import NEXT, with_changes
from engine.decide.vm_growth import MOST_MEMORY, MOST_SOCKETS, Growth, grown, growth, most_memory, most_sockets, why_not
from engine.jobs.vm_state import GROW
from tests.engine.vm_world import GIB, Vms, fake_hosts

BODY: dict[str, Any] = {
    "memory": GIB,
    "memory_policy": {"guaranteed": GIB, "max": 4 * GIB},
    "cpu": {"architecture": "x86_64", "topology": {"sockets": 2, "cores": 2, "threads": 1}},
}
SMALL: dict[str, Any] = {"memory": GIB, "memory_policy": {"guaranteed": GIB, "max": 4 * GIB}}


def changed(**given: Any) -> dict[str, Any]:
    return with_changes(BODY, given, runs=True)[0]


def sockets(count: int, **more: Any) -> dict[str, Any]:
    return {"topology": {"sockets": count, **more}}


# decisions


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Growth()),
        ({"memory": 2 * GIB}, Growth(memory=2 * GIB)),
        ({"memory": 4 * GIB}, Growth(memory=4 * GIB)),
        ({"memory": 5 * GIB}, Growth()),
        ({"memory": GIB // 2, "memory_policy": {"guaranteed": GIB // 2}}, Growth()),
        ({"cpu": sockets(3)}, Growth(sockets=3)),
        ({"cpu": sockets(MOST_SOCKETS)}, Growth(sockets=MOST_SOCKETS)),
        ({"cpu": sockets(MOST_SOCKETS + 1)}, Growth()),
        ({"cpu": sockets(1)}, Growth()),
        ({"cpu": sockets(3, cores=1)}, Growth()),
        ({"cpu": {**sockets(3), "mode": "host_passthrough"}}, Growth()),
        ({"cpu": sockets(4), "memory": 2 * GIB, "bios": {"type": "q35_ovmf"}}, Growth(4, 2 * GIB)),
    ],
)
def test_what_can_be_had_at_once(given: dict[str, Any], expected: Growth) -> None:
    body = changed(**given)
    assert growth(body) == expected
    assert why_not(body, expected) == ""


def test_places() -> None:
    assert most_sockets({}) == MOST_SOCKETS
    assert most_sockets({"cpu": {"topology": {"sockets": 1, "cores": 32}}}) == 7, "no more than 255 CPUs"
    assert most_sockets({"cpu": {"topology": {"sockets": 20}}}) == 20
    assert most_memory({"memory": GIB}) == GIB
    assert most_memory({"memory": GIB, "memory_policy": {"max": 4 * MOST_MEMORY}}) == MOST_MEMORY
    assert most_memory({"memory": 2 * MOST_MEMORY, "memory_policy": {"max": 4 * MOST_MEMORY}}) == 2 * MOST_MEMORY
    assert "up to 16" in why_not(BODY, Growth(sockets=17))
    assert f"up to {4 * GIB}" in why_not(BODY, Growth(memory=5 * GIB))


def test_what_was_given_waits_no_more() -> None:
    body = changed(memory=2 * GIB, cpu=sockets(4), bios={"type": "q35_ovmf"})
    once = grown(body, Growth(memory=2 * GIB))
    assert (once["memory"], set(once[NEXT])) == (2 * GIB, {"cpu", "bios"})
    twice = grown(once, Growth(sockets=4))
    assert (twice["cpu"]["topology"], set(twice[NEXT])) == ({"sockets": 4, "cores": 2, "threads": 1}, {"bios"})
    assert grown(changed(memory=2 * GIB), Growth(memory=2 * GIB)) == {**BODY, "memory": 2 * GIB}
    later = grown(changed(memory=3 * GIB), Growth(memory=2 * GIB))
    assert (later["memory"], later[NEXT]) == (2 * GIB, {"memory": 3 * GIB}), "somebody wanted more meanwhile"


# a VM


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def has(vms: Vms, vm: str) -> tuple[int, int]:
    """The running machine's CPUs and MiB."""
    spec = vms.running(vm).spec
    return spec.cpus, spec.memory_mib


def test_memory_and_cpus_grow_while_it_runs(vms: Vms) -> None:
    vm = vms.started(**SMALL)
    assert (vms.running(vm).spec.cpu.maximum, vms.running(vm).spec.memory.maximum_mib) == (16, 4096)
    vms.done("PUT", f"vms/{vm}", {"memory": 2 * GIB})
    vms.done("PUT", f"vms/{vm}", {"cpu": {"topology": {"sockets": 2}}})
    assert has(vms, vm) == (2, 2048)
    now = vms.vm(vm)
    assert (now["memory"], now["cpu"]["topology"]["sockets"], now["next_run_configuration_exists"]) == (
        str(2 * GIB), "2", "false",
    )  # fmt: skip
    assert vms.codes(vm)[-4:] == [35, 2039, 35, 2033]
    told = [one.description for one in vms.engine.store.events()[:3:2]]
    assert told == [
        "Hotplug CPU: changed the number of CPUs on VM web1 from 1 to 2",
        "Hotset memory: changed the amount of memory on VM web1 from 1024 MiB to 2048 MiB",
    ]
    assert GROW not in vms.engine.store.entities.need("vm", vm).body


def test_both_in_one_change_and_the_rest_waits(vms: Vms) -> None:
    vm = vms.started(**SMALL)
    change = {"memory": 2 * GIB, "cpu": {"topology": {"sockets": 2}}, "bios": {"type": "q35_ovmf"}}
    assert vms.ask("PUT", f"vms/{vm}", change)[0] == 200
    vms.work()
    assert has(vms, vm) == (2, 2048)
    now = vms.vm(vm)
    assert (now["bios"]["type"], now["next_run_configuration_exists"]) == ("q35_sea_bios", "true")


@pytest.mark.parametrize(
    ("query", "change"),
    [
        ("?next_run=true", {"memory": 2 * GIB, "cpu": {"topology": {"sockets": 2}}}),
        ("", {"memory": 5 * GIB}),
        ("", {"memory": GIB // 2, "memory_policy": {"guaranteed": GIB // 2}}),
        ("", {"cpu": {"topology": {"cores": 2}}}),
    ],
)
def test_what_waits_for_the_next_start(vms: Vms, query: str, change: dict[str, Any]) -> None:
    vm = vms.started(**SMALL)
    status, now = vms.ask("PUT", f"vms/{vm}{query}", change)
    assert (status, now["memory"], now["next_run_configuration_exists"]) == (200, str(GIB), "true")
    assert [one for one in vms.engine.jobs.list() if one.id not in vms.seen] == []
    assert vms.ask("PUT", f"vms/{vm}", {"description": "unasked"})[0] == 200
    assert [one for one in vms.engine.jobs.list() if one.id not in vms.seen] == [], "only what a change is about grows"
    assert has(vms, vm) == (1, 1024)


def test_no_room_on_its_host(vms: Vms) -> None:
    vms.nodes.memory_bytes = 3 * GIB
    vm = vms.started(**SMALL)
    assert vms.ask("PUT", f"vms/{vm}", {"memory": 4 * GIB})[0] == 200
    vms.work()
    job = vms.newest()
    assert (job.status, job.error["code"]) == ("failed", "vm.growth")
    assert f"host {vms.host_of(vm)} needs 4" not in job.error["reason"], "only the growth needs room"
    assert f"host {vms.host_of(vm)} needs 3" in job.error["reason"]
    now = vms.vm(vm)
    assert (has(vms, vm), now["memory"], now["next_run_configuration_exists"]) == ((1, 1024), str(GIB), "true")
    assert (vms.codes(vm)[-1], GROW in vms.engine.store.entities.need("vm", vm).body) == (2040, False)


def test_two_that_grow_at_once_do_not_get_the_same_room(vms: Vms) -> None:
    vms.nodes.memory_bytes = 4 * GIB
    first = vms.started(**SMALL, placement_policy={"hosts": [{"name": "node1"}], "affinity": "pinned"})
    second = vms.started(**SMALL, name="web2", placement_policy={"hosts": [{"name": "node1"}], "affinity": "pinned"})
    for one in (first, second):
        assert vms.ask("PUT", f"vms/{one}?async=true", {"memory": 2 * GIB})[0] == 200
    vms.work()
    assert sorted(has(vms, one)[1] for one in (first, second)) == [1024, 2048]


def test_a_host_that_cannot(vms: Vms) -> None:
    vm = vms.started(**SMALL)
    host = vms.nodes.host(vms.host_of(vm))
    host.fail_with["set-cpus"] = Failed("vm.cpus", subject="VM", reason="the guest keeps them", remedy="Look.")
    assert vms.ask("PUT", f"vms/{vm}", {"cpu": {"topology": {"sockets": 2}}})[0] == 200
    vms.work()
    now = vms.vm(vm)
    assert (now["cpu"]["topology"]["sockets"], now["next_run_configuration_exists"]) == ("1", "true")
    assert vms.codes(vm)[-1] == 2034
    assert "the guest keeps them" in vms.engine.store.events()[0].description


def test_one_that_is_held_says_so_and_waits(vms: Vms) -> None:
    vm = vms.started(**SMALL)
    vms.engine.store.entities.set_status("vm", {vm: "paused"})
    assert vms.ask("PUT", f"vms/{vm}", {"memory": 2 * GIB})[1]["next_run_configuration_exists"] == "true"
    assert [one for one in vms.engine.jobs.list() if one.id not in vms.seen] == []
