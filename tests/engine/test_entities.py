"""The entities' contract, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from appliance.errors import Conflict, NotFound, Refused, TrivetError
from engine.decide.search import EVERYTHING, parse
from engine.store.durable import Store
from engine.store.entities import Entity


def code_of(error: pytest.ExceptionInfo[TrivetError]) -> str:
    return error.value.code


@pytest.fixture
def store(any_store: Store) -> Store:
    return any_store


@pytest.fixture
def shop(store: Store) -> Store:
    """Two clusters in one data center, three VMs, two storage domains, three disks."""
    add = store.entities.add
    with store.connection.transaction():
        add(Entity("data_center", "dc", "Default"))
        add(Entity("cluster", "c1", "Production", refs={"data_center": ("dc",)}))
        add(Entity("cluster", "c2", "Test", refs={"data_center": ("dc",)}))
        add(Entity("storage_domain", "s1", "fast disks", refs={"data_center": ("dc",)}))
        add(Entity("storage_domain", "s2", "slow", refs={"data_center": ("dc",)}))
        add(Entity("tag", "t1", "billing"))
        vms = (("v1", "web1", 1, "c1", "up"), ("v2", "web2", 4, "c1", "down"), ("v3", "Ärger", 2, "c2", "down"))
        for identifier, name, gib, cluster, status in vms:
            body = {
                "memory": gib * 1024**3,
                "description": f"{name} of 100%_us",
                "os": {"type": "debian_12"},
                "high_availability": {"enabled": gib > 1},
                "ratio": 0.5,
                "custom": [{"name": "é"}, None, True],
            }
            add(
                Entity(
                    "vm", identifier, name, body, {"cluster": (cluster,)}, status=status, created_ms=1_764_000_000_000 + gib
                )
            )
        for number, vm, domain in ((1, "v1", "s1"), (2, "v2", "s2"), (3, "v3", "s1")):
            disk = f"d{number}"
            size = {"provisioned_size": number * 10 * 1024**3, "sparse": number > 1}
            add(Entity("disk", disk, f"{vm}_disk", size, {"storage_domains": (domain,)}, status="ok"))
            add(Entity("disk_attachment", f"a{number}", "", {"bootable": True}, {"disk": (disk,)}, parent=("vm", vm)))
    return store


def found(store: Store, text: str, kind: str = "vm", *, case_sensitive: bool = True, limit: int | None = None) -> list[str]:
    return [one.id for one in store.entities.list(kind, parse(text), limit=limit, case_sensitive=case_sensitive)]


def test_what_is_written_is_read_back_the_same(shop: Store) -> None:
    one = shop.entities.get("vm", "v3")
    assert one is not None
    assert one.body["custom"] == [{"name": "é"}, None, True]
    assert one.body["ratio"] == 0.5
    assert (one.name, one.ref("cluster"), one.generation, one.created_ms) == ("Ärger", "c2", 1, 1_764_000_000_002)
    assert shop.entities.get("template", "v3") is None


def test_an_update_counts_and_needs_the_generation_that_was_read(shop: Store) -> None:
    entities = shop.entities
    old = entities.need("vm", "v1")
    new = entities.update(replace(old.with_body(memory=5), name="web9"))
    assert (new.generation, entities.need("vm", "v1")) == (2, new)
    with pytest.raises(Conflict) as error:
        entities.update(old)
    assert code_of(error) == "entity.changed"
    entities.remove("vm", "v1")
    with pytest.raises(NotFound) as gone:
        entities.update(new)
    assert code_of(gone) == "entity.unknown"


def test_a_list_never_shows_what_was_read_before(shop: Store) -> None:
    before = shop.entities.list("vm")
    assert shop.entities.list("vm") == before
    shop.entities.set_status("vm", {"v1": "down", "v2": "down"})
    after = {one.id: one for one in shop.entities.list("vm")}
    assert (after["v1"].status, after["v1"].generation, after["v2"].generation) == ("down", 2, 1)
    shop.entities.remove("vm", "v1")
    again = shop.entities.add(Entity("vm", "v1", "anew", refs={"cluster": ("c1",)}))
    assert again in shop.entities.list("vm")


def test_a_transaction_that_fails_leaves_nothing_behind(shop: Store) -> None:
    with pytest.raises(ZeroDivisionError), shop.connection.transaction():
        shop.entities.change("vm", "v1", lambda one: replace(one, name="half"))
        assert shop.entities.list("vm", parse("name=half"))
        shop.entities.add(Entity("tag", "t2", "half"))
        raise ZeroDivisionError
    assert shop.entities.need("vm", "v1").name == "web1"
    assert [one.name for one in shop.entities.list("vm", parse("id=v1"))] == ["web1"]
    assert shop.entities.get("tag", "t2") is None


@pytest.mark.parametrize(
    ("entity", "code"),
    [
        (Entity("vm", "v1", "other", refs={"cluster": ("c1",)}), "entity.exists"),
        (Entity("vm", "v9", "web1", unique_key="web1"), "entity.exists"),
        (Entity("vm", "v9", "web9", refs={"cluster": ("none",)}), "entity.reference"),
        (Entity("nic", "n1", "nic1", parent=("vm", "none")), "entity.reference"),
        (Entity("vm", "v9", "nul", {"description": "a\0b"}), "store.nul"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(shop: Store, entity: Entity, code: str) -> None:
    shop.entities.add(Entity("vm", "v8", "web1", unique_key="web1"))
    before = shop.entities.count("vm")
    with pytest.raises(TrivetError) as error:
        shop.entities.add(entity)
    assert code_of(error) == code
    assert shop.entities.count("vm") == before


def test_what_is_referred_to_stays_and_says_who_uses_it(shop: Store) -> None:
    for kind, identifier, user in (
        ("cluster", "c1", "vm web1"),
        ("storage_domain", "s2", "disk v2_disk"),
        ("disk", "d1", "disk_attachment a1"),
    ):
        with pytest.raises(Conflict) as error:
            shop.entities.remove(kind, identifier)
        assert code_of(error) == "entity.in-use"
        assert user in error.value.reason


def test_children_go_with_their_parent(shop: Store) -> None:
    shop.entities.remove("vm", "v1")
    assert shop.entities.get("disk_attachment", "a1") is None
    assert shop.entities.get("disk", "d1") is not None
    shop.entities.remove("disk", "d1")
    with pytest.raises(NotFound):
        shop.entities.remove("disk", "d1")


def test_relations_are_followed_both_ways(shop: Store) -> None:
    entities = shop.entities
    assert [one.id for one in entities.children(("vm", "v1"), "disk_attachment")] == ["a1"]
    both = entities.children_of([("vm", "v1"), ("vm", "v3")], "disk_attachment")
    assert {vm: [one.id for one in owned] for vm, owned in both.items()} == {"v1": ["a1"], "v3": ["a3"]}
    assert [one.id for one in entities.referring(("storage_domain", "s1"), "disk", "storage_domains")] == ["d1", "d3"]
    entities.change("vm", "v1", lambda one: one.with_refs(cluster="c2", tags=("t1",)))
    assert {one.id for one in entities.referring(("cluster", "c2"), "vm", "cluster")} == {"v1", "v3"}
    assert [one.id for one in entities.referring(("tag", "t1"), "vm", "tags")] == ["v1"]
    entities.change("vm", "v1", lambda one: one.with_refs(tags=()))
    entities.remove("tag", "t1")


@pytest.mark.parametrize(
    ("text", "kind", "ids"),
    [
        ("", "vm", ["v1", "v2", "v3"]),
        ("name=web1", "vm", ["v1"]),
        ('name="web*"', "vm", ["v1", "v2"]),
        ("name=WEB1", "vm", []),
        ("name!=web1", "vm", ["v2", "v3"]),
        ("vm.name=web1", "vm", ["v1"]),
        ("status=UP", "vm", ["v1"]),
        ("cluster=Production", "vm", ["v1", "v2"]),
        ("cluster!=Production", "vm", ["v3"]),
        ("Clusters.name=Test", "vm", ["v3"]),
        ('Storage.name="fast disks" and name=web*', "vm", ["v1"]),
        ("Storage.name=slow or Disks.provisioned_size>20", "vm", ["v2", "v3"]),
        ("datacenter=Default", "vm", ["v1", "v2", "v3"]),
        ("Datacenter.name=No*", "vm", []),
        ("memory>=2048", "vm", ["v2", "v3"]),
        ("memory<2G", "vm", ["v1"]),
        ("ha=true", "vm", ["v2", "v3"]),
        ("ha=false", "vm", ["v1"]),
        ("os=Debian*", "vm", ["v1", "v2", "v3"]),
        ("creationdate=2025-11-24", "vm", ["v1", "v2", "v3"]),
        ("creationdate>11/24/2025", "vm", []),
        ('description="*100%_us"', "vm", ["v1", "v2", "v3"]),
        ("description=*100__us", "vm", []),
        ("description=*[w]eb*", "vm", []),
        ("description~WEB1", "vm", ["v1"]),
        ("web2", "vm", ["v2"]),
        ("name=web* sortby name desc", "vm", ["v2", "v1"]),
        ("sortby memory desc", "vm", ["v2", "v3", "v1"]),
        ("sortby cluster desc, name desc", "vm", ["v3", "v2", "v1"]),
        ("vm_names=web1", "disk", ["d1"]),
        ("vms.cluster=Test", "disk", ["d3"]),
        ("sparse=true sortby size desc", "disk", ["d3", "d2"]),
        ("Vms.name=web2", "storage_domain", ["s2"]),
        ("host=none", "vm", []),
        ("storage.name=slow", "storage_domain", ["s2"]),
    ],
)
def test_a_search_finds(shop: Store, text: str, kind: str, ids: list[str]) -> None:
    got = found(shop, text, kind)
    assert (got if "sortby" in text else sorted(got)) == ids


@pytest.mark.parametrize("text", ["name=WEB1", "name=äRGER or name=Web1", "description=*WEB1*"])
def test_case_may_be_left_aside(shop: Store, text: str) -> None:
    assert "v1" in found(shop, text, case_sensitive=False)
    assert found(shop, "name=äRGER", case_sensitive=False) == ["v3"]


def test_pages_have_the_size_that_was_asked_for(shop: Store) -> None:
    assert found(shop, "sortby name asc page 1", limit=2) == ["v1", "v2"]
    assert found(shop, "sortby name asc page 2", limit=2) == ["v3"]
    assert found(shop, "page 7", limit=2) == []
    assert found(shop, "", limit=1) == ["v1"]
    assert len(shop.entities.list("vm", EVERYTHING, limit=0)) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nosuch=1", "cluster, comment"),
        ("Planet.name=1", "cluster.…"),
        ("Cluster.nosuch=1", "datacenter"),
        ("memory=much", "a number"),
        ("ha=perhaps", "true or false"),
        ("creationdate=soon", "a date like"),
        ("sortby storage", "memory"),
    ],
)
def test_a_search_that_means_nothing_says_what_there_is(shop: Store, text: str, words: str) -> None:
    with pytest.raises(Refused) as error:
        found(shop, text)
    assert code_of(error) == "api.search"
    assert words in error.value.reason


def test_the_lock_word_is_the_status_that_is_searched(shop: Store) -> None:
    from engine.store.entities import ENTITY

    shop.connection.run(ENTITY.update({ENTITY.locked_as: "image_locked"}).where(ENTITY.id == "v1"))
    assert found(shop, "status=image_locked") == ["v1"]
    assert found(shop, "status=up") == []


def test_two_writers_lose_no_change(shop: Store) -> None:
    """Read-modify-write from several threads at once: all of them count."""

    def add_one() -> None:
        for _ in range(10):
            shop.entities.change("vm", "v1", lambda one: one.with_body(count=one.body.get("count", 0) + 1))
        shop.close()

    threads = [threading.Thread(target=add_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert shop.entities.need("vm", "v1").body["count"] == 40


def test_the_longest_search_that_is_read_is_answered(shop: Store) -> None:
    """SQLite's parser has room for 100 levels, oVirt's users for very long lists of names."""
    many = " or ".join(["Storage.name=slow"] * 190)
    deep = "(" * 19 + "Storage.name=slow or name=web1" + ")" * 19
    assert found(shop, many) == ["v2"]
    assert sorted(found(shop, f"{deep} and name=web*")) == ["v1", "v2"]
    assert found(shop, " and ".join(["name!=web1"] * 190) + " and name=web*") == ["v2"]
