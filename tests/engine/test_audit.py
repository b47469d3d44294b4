"""Events in oVirt's words, searched and kept; the history of statistics."""

from __future__ import annotations

import re

import pytest

from appliance.effects.clock import FakeClock
from appliance.errors import NotFound, Refused
from engine.decide.audit import BY_CODE, FIELD, TYPES
from engine.decide.roles import BY_NAME
from engine.decide.search import parse
from engine.fakes.hosts import FakeNodes
from engine.jobs.disk_create import CreateDisk, DiskCreate
from engine.jobs.disk_remove import DiskRemove, RemoveDisk
from engine.store import audit as module
from engine.store.audit import Audit
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.history import COARSE_S, FINE_S, History
from engine.store.permissions import ADMIN_ID, Permits, settle_rights, user_entity
from engine.store.records import EventRecord
from tests.engine.job_world import desk_of, nodes_at, open_store, work_off

ANN = "00000000-0000-4000-8000-0000000000aa"
PLACEHOLDERS = {
    "address", "after", "backup", "before", "bricks", "checkpoint", "cluster", "data_center", "direction", "disk",
    "duration", "epoch", "host", "network", "nic", "object", "path", "reason", "role", "size", "snapshot", "space",
    "storage_domain", "tag", "target", "template", "user", "vm",
}  # fmt: skip


def test_the_table_is_in_order() -> None:
    codes = [one.code for one in TYPES.values()]
    assert len(set(codes)) == len(codes) == len(BY_CODE)
    assert codes[:-1] == sorted(codes[:-1])
    used = {name for one in TYPES.values() for name in FIELD.findall(one.text)}
    assert used == PLACEHOLDERS
    assert all(re.fullmatch(r"[A-Z0-9_]+", one.name) for one in TYPES.values())


@pytest.mark.parametrize(
    ("name", "code", "severity"),
    [
        ("HOST_AVAILABLE_UPDATES_FINISHED", 885, "normal"),
        ("HOST_UPGRADE_FINISHED", 842, "normal"),
        ("HOST_UPGRADE_FAILED", 841, "error"),
        ("HOST_UPGRADE_FINISHED_AND_WILL_BE_REBOOTED", 888, "normal"),
        ("IMPORTEXPORT_IMPORT_TEMPLATE", 1158, "normal"),
        ("VM_MIGRATION_FAILED", 65, "error"),
        ("VM_DOWN", 61, "normal"),
        ("USER_CREATE_SNAPSHOT_FINISHED_SUCCESS", 68, "normal"),
        ("USER_ADD_DISK_FINISHED_SUCCESS", 2021, "normal"),
        ("EXTERNAL_ALERT", 9804, "alert"),
    ],
)
def test_the_numbers_are_those_that_clients_wait_for(name: str, code: int, severity: str) -> None:
    assert (TYPES[name].code, TYPES[name].severity) == (code, severity)


def test_a_missing_value_says_so() -> None:
    assert TYPES["USER_ADD_VM"].message({"vm": "web1"}) == "VM web1 was created by <unknown>."
    assert TYPES["VM_DOWN"].message({"vm": "web1"}) == "VM web1 is down."
    assert TYPES["USER_ADD_VM"].message({"vm": "{user}", "user": "ann"}) == "VM {user} was created by ann."


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(any_store: Store) -> Store:
    with any_store.connection.transaction():
        add = any_store.entities.add
        add(Entity("data_center", "dc", "Default"))
        add(Entity("cluster", "c1", "Default", refs={"data_center": ("dc",)}))
        for number in ("1", "2"):
            add(Entity("vm", f"v{number}", f"web{number}", refs={"cluster": ("c1",)}))
            add(Entity("host", f"h{number}", f"node{number}", refs={"cluster": ("c1",)}))
        settle_rights(any_store.entities)
        add(user_entity(ANN, "ann", "internal"))
    return any_store


@pytest.fixture
def audit(store: Store, clock: FakeClock) -> Audit:
    made = Audit(store.connection, clock)
    made.tell("USER_STARTED_VM", {"vm": "v1", "host": "h1"}, account=ADMIN_ID, correlation_id="c1")
    clock.sleep(86_400)
    made.tell("USER_STARTED_VM", {"vm": "v2", "host": "h2"}, account=ANN, correlation_id="c2")
    made.tell("VDS_FAILURE", {"host": "h1"}, {"reason": "It lost power."})
    return made


def test_an_event_keeps_the_names_that_were(store: Store, audit: Audit) -> None:
    store.entities.remove("vm", "v1")
    old = audit.list(parse("vm=web1"))[0]
    assert old.description == "VM web1 was started by admin (Host: node1)."
    assert old.refs["vm"] == {"id": "v1", "name": "web1"}
    assert (old.vm_id, old.host_id, old.account_id, old.correlation_id) == ("v1", "h1", ADMIN_ID, "c1")
    assert audit.get(old.id) == old
    gone = audit.tell("USER_REMOVE_VM_FINISHED", {"vm": "v1"}, {"vm": "web1"})
    assert gone.description == "VM web1 was successfully removed."


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", ["h1", "h2", "h1"]),
        ("type=153", ["h2", "h1"]),
        ("type=153 or type = 12", ["h1", "h2", "h1"]),
        ("type=12 and message=*power*", ["h1"]),
        ("severity=ERROR", ["h1"]),
        ("vm=web2", ["h2"]),
        ("Vms.name=web2", ["h2"]),
        ("event_host=node1", ["h1", "h1"]),
        ("host.name=node2", ["h2"]),
        ("usrname=ann", ["h2"]),
        ("correlation_id=c1", ["h1"]),
        ("time>2027-01-15", ["h1", "h2"]),
        ("non-responsive", ["h1"]),
        ("sortby time asc page 1", ["h1", "h2"]),
        ("sortby type", ["h1", "h1", "h2"]),
        ("origin=trivet and type!=12", ["h2", "h1"]),
    ],
)
def test_events_are_searched(audit: Audit, text: str, hosts: list[str]) -> None:
    found = [one.host_id for one in audit.list(parse(text), limit=2 if "page" in text else None)]
    assert found == hosts


def test_an_unknown_field_says_what_there_is(audit: Audit) -> None:
    with pytest.raises(Refused) as error:
        audit.list(parse("planet=mars"))
    assert "correlation_id" in error.value.reason


def test_events_are_read_on_from_a_number_and_dismissed(audit: Audit) -> None:
    newest, middle, oldest = audit.list()
    assert audit.list(after=oldest.id) == (newest, middle)
    assert audit.list(about=("vm", "v2")) == (middle,)
    audit.remove(middle.id)
    assert audit.list() == (newest, oldest)
    with pytest.raises(NotFound):
        audit.remove(middle.id)


def test_somebody_sees_the_events_of_what_is_theirs(store: Store, audit: Audit) -> None:
    permits = Permits(store.entities)
    assert audit.visible(permits, ADMIN_ID) is None
    assert [one.vm_id for one in audit.list(only=audit.visible(permits, ANN))] == ["v2"], "her own doing"
    permits.give(BY_NAME["UserRole"].id, ("user", ANN), ("vm", "v1"))
    assert [one.vm_id for one in audit.list(only=audit.visible(permits, ANN))] == ["v2", "v1"]


def test_old_and_too_many_events_go(audit: Audit, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert audit.prune() == 0
    clock.sleep(module.KEPT_MS / 1000 - 3600)
    assert audit.prune() == 1
    monkeypatch.setattr(module, "KEPT", 1)
    assert audit.prune() == 1
    assert [one.code for one in audit.list()] == [12]


def test_many_events_are_pruned_by_themselves(store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 10)
    monkeypatch.setattr(module, "PRUNE_EVERY", 5)
    audit = Audit(store.connection, clock)
    with store.connection.transaction():
        for number in range(20):
            audit.add(EventRecord("normal", "x", f"{number}", 1, int(clock.wall_s() * 1000)))
    assert [one.description for one in audit.list()] == [str(number) for number in range(19, 9, -1)]


# the events of jobs


@pytest.fixture
def nodes(tmp_path_factory: pytest.TempPathFactory) -> FakeNodes:
    return nodes_at(tmp_path_factory.mktemp("nodes"))


def test_a_job_tells_of_itself_once(place: str, nodes: FakeNodes) -> None:
    store = open_store(place)
    desk = desk_of(store)
    desk.order(DiskCreate, CreateDisk("d1", "i1", "data", "s1", 8 << 20), owner_id="", correlation_id="mine")
    work_off(store, nodes)
    desk.order(DiskRemove, RemoveDisk("d1"), owner_id="", correlation_id="mine")
    work_off(store, nodes)
    told = [(one.code, one.description) for one in reversed(store.audit.list(parse("correlation_id=mine")))]
    assert told == [
        (2020, "Add-Disk operation of 'data' was initiated by <unknown>."),
        (2021, "The disk 'data' was successfully added."),
        (2038, "Removal of Disk data from domain vmstore was initiated by <unknown>."),
        (2014, "Disk data was successfully removed from domain vmstore (User <unknown>)."),
    ]
    assert [one.code for one in store.audit.list(about=("disk", "d1"))] == [2014, 2038, 2021, 2020]
    store.close()


def test_a_failed_job_tells_why(place: str, nodes: FakeNodes) -> None:
    store = open_store(place)
    full = Refused("disk.no-space", subject="vmstore", reason="It is full.", remedy="Make room.")
    for node in nodes.nodes.values():
        node.fail_with["create"] = full
    given = CreateDisk("d1", "i1", "data", "s1", 8 << 20)
    desk_of(store).order(DiskCreate, given, owner_id="", correlation_id="mine")
    work_off(store, nodes)
    last = store.audit.list()[0]
    assert (last.code, last.severity, last.description) == (
        2022,
        "error",
        "Add-Disk operation failed to complete. It is full.",
    )
    store.close()


# history


def test_measurements_become_averages_and_old_ones_go(store: Store) -> None:
    history = History(store.connection)
    begin = 1_800_000_000_000 - 1_800_000_000_000 % 3_600_000
    for minute in range(10):
        history.add(begin + minute * 60_000, {("vm", "v1"): {"cpu": minute, "memory": 100}, ("host", "h1"): {"cpu": 1.5}})
    fine = history.of("vm", "v1")
    assert [(one.wall_ms - begin, one.amount, dict(one.numbers)) for one in fine] == [
        (0, 5, {"cpu": 2, "memory": 100}),
        (300_000, 5, {"cpu": 7, "memory": 100}),
    ]
    (hour,) = history.of("vm", "v1", COARSE_S)
    assert (hour.amount, hour.numbers["cpu"]) == (10, 4.5)
    assert history.of("host", "h1", FINE_S, since_ms=begin + 300_000)[0].numbers == {"cpu": 1.5}
    assert history.prune(begin + 25 * 3_600_000) == 4
    assert history.of("vm", "v1") == ()
    assert history.prune(begin + 61 * 24 * 3_600_000) == 2
