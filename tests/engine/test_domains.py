"""Storage domains: what is shown, changed and refused; room; maintenance, detaching and attaching."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.effects.clock import SystemClock
from engine.core import Engine
from engine.decide.domain_space import GIB, has_got_worse, is_news, level
from engine.inventory import derived_id
from engine.jobs.follow_domains import DomainFollower
from engine.store.entity import Entity
from gluster.model import PoolStatus
from tests.engine import world
from tests.engine.vm_world import CLUSTER, DOMAIN, MIB, NEW_DISK, Vms, detail, fake_hosts

CENTER = derived_id(CLUSTER, "data-center")
ENGINES = derived_id(CLUSTER, "storage-domain:engine")
HERE = f"datacenters/{CENTER}/storagedomains"


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def shown(vms: Vms, identifier: str = DOMAIN) -> dict[str, Any]:
    world.observe(vms.engine.observations)
    status, found = vms.ask("GET", f"storagedomains/{identifier}")
    assert status == 200
    return found


def pool(available_gib: int, size_gib: int = 100) -> PoolStatus:
    found = world.pool()
    sizes = {"available_bytes": available_gib * GIB, "used_bytes": (size_gib - available_gib) * GIB}
    return replace(found, volumes=tuple(replace(one, **sizes) for one in found.volumes))  # type: ignore[arg-type]


def heard(vms: Vms, available_gib: int) -> tuple[str, ...]:
    return DomainFollower(vms.engine.store.entities, SystemClock()).heard(pool(available_gib))


def words(vms: Vms) -> list[tuple[int, str]]:
    return [(one.code, one.description) for one in vms.engine.store.events(limit=30)]


def new_disk(**given: Any) -> dict[str, Any]:
    return {"name": "x", "provisioned_size": 8 * MIB, "format": "raw", "storage_domains": [{"id": DOMAIN}], **given}


def test_it_is_there_from_the_start(vms: Vms) -> None:
    found = shown(vms)
    assert (found["type"], found["storage"]["type"], found["storage"]["path"]) == ("data", "glusterfs", "/vmstore")
    assert (found["status"], found["available"], found["used"], found["committed"]) == (
        "active", str(60 * GIB), str(40 * GIB), "0",
    )  # fmt: skip
    vms.done("POST", "disks", new_disk())
    assert shown(vms)["committed"] == str(8 * MIB)
    assert [one["name"] for one in vms.ask("GET", f"storagedomains/{DOMAIN}/disks")[1]["disk"]] == ["x"]
    assert [one["name"] for one in vms.ask("GET", f"{HERE}/{DOMAIN}/disks")[1]["disk"]] == ["x"]
    assert {one["name"] for one in vms.ask("GET", HERE)[1]["storage_domain"]} == {"vmstore", "hosted_storage"}
    assert vms.ask("POST", f"storagedomains/{DOMAIN}/isattached", {})[1]["is_attached"] == "true"


def test_it_is_changed_and_its_files_stay_where_they_are(vms: Vms, tmp_path: Path) -> None:
    sent = {name: value for name, value in shown(vms).items() if name not in ("link", "actions")}
    change = {"name": "fast", "description": "SSDs", "warning_low_space_indicator": 20, "critical_space_action_blocker": 2}
    status, answer = vms.ask("PUT", f"storagedomains/{DOMAIN}", {**sent, **change, "available": 1})
    assert status == 200, answer
    found = shown(vms)
    assert [found[name] for name in change] == ["fast", "SSDs", "20", "2"]
    assert found["available"] == str(60 * GIB)
    vms.done("POST", "disks", new_disk())
    assert len(list((tmp_path / "hosts" / "domains" / "vmstore" / "images").rglob("*"))) == 2
    assert (958, "Storage Domain fast was updated by admin") in [(code, text.split("@")[0]) for code, text in words(vms)]


@pytest.mark.parametrize("given", [{"warning_low_space_indicator": 101}, {"critical_space_action_blocker": -1}])
def test_thresholds_that_mean_nothing(vms: Vms, given: dict[str, int]) -> None:
    status, answer = vms.ask("PUT", f"storagedomains/{DOMAIN}", given)
    assert (status, "Cannot edit Storage" in detail(answer)) == (400, True)


def test_no_new_disk_when_space_is_critical(vms: Vms) -> None:
    assert set(heard(vms, 60)) == {"vmstore", "hosted_storage"}
    assert heard(vms, 60) == ()
    status, answer = vms.ask("POST", "disks", new_disk(provisioned_size=56 * GIB, sparse=False))
    assert (status, "Low disk space on Storage Domain vmstore" in detail(answer)) == (409, True)
    heard(vms, 4)
    for path, body in (
        ("disks", new_disk()),
        ("vms", {"name": "a", "cluster": {"id": CLUSTER}, "template": {"name": "Blank"}, "disk_attachments": [NEW_DISK]}),
    ):
        status, answer = vms.ask("POST", path, body)
        assert status == 409
        assert "Cannot add Virtual Disk. Low disk space on Storage Domain vmstore" in detail(answer)
    assert vms.ask("GET", "storagedomains?search=size%3C5")[1]["storage_domain"][0]["name"] == "hosted_storage"
    assert vms.ask("PUT", f"storagedomains/{DOMAIN}", {"critical_space_action_blocker": 3})[0] == 200
    vms.done("POST", "disks", new_disk())


def test_people_are_told_once_when_it_gets_worse(vms: Vms) -> None:
    for available_gib in (60, 9, 8, 4, 9, 60, 9):
        heard(vms, available_gib)
    found = [text for code, text in words(vms) if code in (26, 201) and "vmstore" in text][::-1]
    assert found == [
        "Warning, Low disk space. vmstore domain has 9 GB of free space.",
        "Critical, Low disk space. vmstore domain has 4 GB of free space.",
        "Warning, Low disk space. vmstore domain has 9 GB of free space.",
    ]


@pytest.mark.parametrize(
    ("available", "used", "body", "wanted"),
    [
        (60, 40, {}, "ok"), (9, 91, {}, "low"), (10, 90, {}, "ok"), (5, 95, {}, "low"), (4, 96, {}, "critical"),
        (4, 6, {"critical_space_action_blocker": 0}, "ok"), (30, 70, {"warning_low_space_indicator": 31}, "low"),
        (1, 99, {"critical_space_action_blocker": 0, "warning_low_space_indicator": 0}, "ok"),
    ],
)  # fmt: skip
def test_levels(available: int, used: int, body: dict[str, int], wanted: str) -> None:
    assert level(body, available * GIB, used * GIB) == wanted


def test_what_is_written_down() -> None:
    assert is_news(None, GIB, "", "ok")
    assert not is_news(GIB, 2 * GIB - 1, "ok", "ok")
    assert is_news(GIB, 2 * GIB, "ok", "ok")
    assert is_news(GIB, GIB, "ok", "low")
    assert [has_got_worse(was, "low") for was in ("", "ok", "low", "critical")] == [True, True, False, False]
    assert not has_got_worse("critical", "ok")


def test_maintenance_and_back(vms: Vms) -> None:
    status, answer = vms.ask("POST", f"{HERE}/{DOMAIN}/activate", {})
    assert (status, "active already" in detail(answer)) == (409, True)
    vm = vms.started(name="a")
    status, answer = vms.ask("POST", f"{HERE}/{DOMAIN}/deactivate", {})
    assert (status, "There are running VMs with disks on it: a" in detail(answer)) == (409, True)
    vms.done("POST", f"vms/{vm}/stop", {})
    vms.done("POST", f"{HERE}/{DOMAIN}/deactivate", {})
    assert shown(vms)["status"] == "maintenance"
    status, answer = vms.ask("POST", f"{HERE}/{DOMAIN}/deactivate", {})
    assert (status, "in Maintenance mode" in detail(answer)) == (409, True)
    status, answer = vms.ask("POST", "disks", new_disk())
    assert (status, "not active (maintenance)" in detail(answer)) == (409, True)
    vms.ask("POST", f"vms/{vm}/start?async=true", {})
    vms.work()
    assert "vmstore" in str(vms.newest().error)
    vms.done("POST", f"{HERE}/{DOMAIN}/activate", {})
    assert shown(vms)["status"] == "active"
    vms.done("POST", f"vms/{vm}/start?async=true", {})
    assert {966, 968} <= {code for code, _text in words(vms)}


def test_detach_and_attach(vms: Vms) -> None:
    status, answer = vms.ask("DELETE", f"{HERE}/{DOMAIN}")
    assert (status, "not in Maintenance mode" in detail(answer)) == (409, True)
    vms.done("POST", "disks", new_disk())
    disk = vms.ask("GET", "disks")[1]["disk"][0]["id"]
    vms.done("POST", f"{HERE}/{DOMAIN}/deactivate", {})
    assert vms.ask("DELETE", f"{HERE}/{DOMAIN}")[0] == 200
    assert vms.ask("GET", f"disks/{disk}")[0] == 404, "it has left with its domain (test_import.py)"
    assert (shown(vms)["status"], shown(vms)["data_centers"]) == ("unattached", {})
    assert vms.ask("GET", f"{HERE}/{DOMAIN}")[0] == 404
    assert vms.ask("POST", f"storagedomains/{DOMAIN}/isattached", {})[1]["is_attached"] == "false"
    assert vms.ask("POST", HERE, {"name": "nobody"})[0] == 404
    assert vms.done("POST", HERE, {"name": "vmstore"})["status"] == "locked"
    assert (shown(vms)["status"], shown(vms)["data_centers"]["data_center"][0]["id"]) == ("active", CENTER)
    status, answer = vms.ask("POST", HERE, {"id": DOMAIN})
    assert (status, "attached to a Data Center already" in detail(answer)) == (409, True)
    vms.done("POST", "disks", new_disk())


def test_the_engines_domain_stays(vms: Vms) -> None:
    for method, path in (("POST", f"{HERE}/{ENGINES}/deactivate"), ("DELETE", f"{HERE}/{ENGINES}")):
        status, answer = vms.ask(method, path, {} if method == "POST" else None)
        assert (status, "The engine's own disk is on it" in detail(answer)) == (409, True)


def test_a_job_that_uses_it_comes_first(vms: Vms) -> None:
    assert vms.ask("POST", "disks?async=true", new_disk())[0] == 202
    status, answer = vms.ask("POST", f"{HERE}/{DOMAIN}/deactivate", {})
    assert (status, "is currently in progress" in detail(answer)) == (409, True)


def test_a_volume_that_is_stopped(vms: Vms) -> None:
    vms.done("POST", f"{HERE}/{DOMAIN}/deactivate", {})
    stopped = world.pool()
    stopped = replace(stopped, volumes=tuple(replace(one, status="Stopped") for one in stopped.volumes))
    vms.engine.observations.put("node1", "pool", world.encode(stopped))
    status, answer = vms.ask("POST", f"{HERE}/{DOMAIN}/activate", {})
    assert (status, "Its volume vmstore is stopped" in detail(answer)) == (409, True)


def test_a_domain_without_a_volume_is_left_alone(vms: Vms) -> None:
    vms.engine.store.entities.add(Entity("storage_domain", "s9", "iso", {"storage": {"path": "/iso"}}))
    assert "iso" not in heard(vms, 60)
    assert shown(vms, "s9")["status"] == "unknown"
