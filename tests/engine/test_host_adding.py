"""Hosts that are added and removed through the API: what is refused at the door, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.codec import encode
from appliance.effects.clock import FakeClock
from appliance.errors import Failed
from appliance.model.network import HostCapabilities
from engine.addresses import resolve
from engine.api.nouns.host_adding import SAID
from engine.app import create_app
from engine.builtin import settle
from engine.core import Engine
from engine.decide.host_join import token_of, unsaid
from engine.enrolment import WireMember
from engine.fakes.enrolment import FINGERPRINT, FakeEnrolment, FakeServer
from engine.fakes.enrolment import TOKEN as SECRET
from engine.jobs.enrol import TOKEN
from engine.jobs.ports import MemberNode
from engine.members import OUTSIDE, Members
from tests.engine import world
from tests.engine.vm_world import CLUSTER, GIB, Vms, detail, fake_hosts

ADDRESS = "198.18.0.14"
BODY = {"name": "node4", "address": ADDRESS, "cluster": {"name": "trivet"}, "root_password": SECRET}
BROKEN = Failed("node.broken", subject="node4", reason="it breaks here", remedy="Mend it.")


class Site(Vms):
    """The API, the cluster's hosts, and nodes that may join."""

    @property
    def enrolment(self) -> FakeEnrolment:
        return self.nodes.enrolment

    def there(self, name: str = ADDRESS) -> FakeServer:
        found = self.enrolment.server(name)
        assert found is not None
        return found

    def add(self, **given: Any) -> tuple[int, dict[str, Any]]:
        return self.ask("POST", "hosts", {**BODY, **given})

    def added(self) -> str:
        """The host, installed and heard; its id."""
        status, found = self.add()
        assert (status, found["status"]) == (202, "installing"), found
        self.work()
        assert self.newest().status == "finished"
        assert self.status(str(found["id"])) == "initializing"
        self.heard()
        return str(found["id"])

    def heard(self) -> None:
        """Every member has just said everything."""
        world.observe(self.engine.observations)
        self.nodes.keep_up(self.engine.cluster.members)
        for member in self.engine.cluster.members[len(world.MEMBERS) :]:
            world.observe_one(self.engine.observations, member)
        self.look()

    def resting(self, host: str) -> None:
        self.engine.store.entities.change("host", host, lambda one: replace(one, status="maintenance"))

    def status(self, host: str) -> str:
        return str(self.ask("GET", f"hosts/{host}")[1].get("status"))

    def words(self) -> list[str]:
        return [one.description for one in self.engine.store.events(limit=30)]


@pytest.fixture
def site(engine: Engine, token: str, tmp_path: Path, clock: FakeClock) -> Site:
    nodes = fake_hosts(tmp_path / "hosts")
    nodes.enrolment.plug(ADDRESS, wall_s=clock.wall_s())
    wired = replace(
        engine, bare=nodes.enrolment.bare, resolve=lambda name: {"four.lab": ADDRESS, "nowhere.lab": ""}.get(name, name)
    )
    return Site(wired, create_app(wired).test_client(), token, nodes)


def test_a_node_becomes_a_host_and_leaves_again(site: Site) -> None:
    host = site.added()
    shown = site.ask("GET", f"hosts/{host}")[1]
    assert (shown["name"], shown["address"], shown["status"]) == ("node4", ADDRESS, "up")
    assert shown["ssh"] == {"fingerprint": FINGERPRINT, "port": "22"}
    assert [one.name for one in site.engine.cluster.members] == ["node1", "node2", "node3", "node4"]
    assert set(site.there("node1").cluster) == {"node1", "node2", "node3", "node4"}
    assert (site.there().mounted, site.enrolment.pool()["bricks"]) == (("engine", "vmstore"), ["node1", "node2", "node3"])
    assert {"Host node4 was added by admin.", "Host node4 installed"} <= set(site.words())
    status, answer = site.ask("DELETE", f"hosts/{host}")
    assert (status, "Host is not in Maintenance mode" in detail(answer)) == (409, True), answer
    site.done("POST", f"hosts/{host}/deactivate?async=true", {})
    assert site.ask("DELETE", f"hosts/{host}?async=true")[0] == 200
    site.work()
    assert site.newest().status == "finished"
    assert site.ask("GET", f"hosts/{host}")[0] == 404
    assert [one.name for one in site.engine.cluster.members] == ["node1", "node2", "node3"]
    assert set(site.there("node2").cluster) == {"node1", "node2", "node3"}
    assert (site.there().cluster_id, site.there().token != SECRET) == ("", True)
    assert "Host node4 was removed by admin." in site.words()
    site.enrolment.keep(replace(site.there(), wall_s=site.engine.clock.wall_s()))
    assert site.add(root_password=site.there().token)[0] == 202, "it may come again"


def test_the_token_is_nowhere_once_it_has_been_used(site: Site) -> None:
    status, found = site.add()
    assert status == 202
    assert SECRET not in str(found)
    assert site.engine.store.entities.need("host", found["id"]).body[TOKEN] == SECRET
    assert SECRET not in str(site.engine.jobs.list())
    site.work()
    assert SECRET not in str(site.engine.store.entities.need("host", found["id"]).body)


def test_a_name_is_an_address_too(site: Site) -> None:
    assert site.add(address="four.lab")[1]["address"] == ADDRESS


def plugged(**given: Any) -> Callable[[Site], None]:
    return lambda site: site.enrolment.plug(ADDRESS, **{"wall_s": site.engine.clock.wall_s(), **given})


def real_cpus(site: Site) -> None:
    for member in world.MEMBERS:
        facts = world.facts(member)
        fast = replace(facts, cpu=replace(facts.cpu, hardware_virtualization=True))
        site.engine.observations.put(member.name, "facts", encode(fast))


def in_another_pool(site: Site) -> None:
    site.enrolment.plug(ADDRESS, name="node1", wall_s=site.engine.clock.wall_s())


REFUSALS: tuple[tuple[str, dict[str, Any], Callable[[Site], None], str], ...] = (
    ("host.exists", {"name": "node2"}, plugged(), "The Host name is already in use"),
    ("host.exists", {"address": "198.18.0.11"}, plugged(), "Host node1 has the same address already"),
    ("host.name", {"name": "Node_4"}, plugged(), "is no host name"),
    ("host.engine-name", {"address": "198.18.0.100"}, plugged(), "is the engine's own"),
    ("host.address", {"address": "nowhere.lab"}, plugged(), "is none, and no name"),
    ("host.unreachable", {"address": "198.18.0.99"}, plugged(), "it does not answer"),
    ("host.unreachable", {}, plugged(off=True), "it does not answer"),
    ("host.token-missing", {"root_password": None}, plugged(), "one-time token"),
    ("host.token-missing", {"root_password": None, "ssh": {"authentication_method": "publickey"}}, plugged(), "one-time"),
    ("host.fingerprint-missing", {"root_password": SECRET.partition(".")[0]}, plugged(), "has no fingerprint"),
    ("host.token-wrong", {"root_password": "x" + SECRET[1:]}, plugged(), "is not the join token"),
    ("host.fingerprint", {"root_password": SECRET.partition(".")[0] + "." + "f" * 16}, plugged(), "another certificate"),
    ("host.member", {}, plugged(cluster_id="other", name="a", node_id="b"), "a member of another cluster (other)"),
    ("host.member", {}, plugged(cluster_id=CLUSTER, name="a", node_id="b"), "a member of this cluster already, or was"),
    ("host.version", {}, plugged(version="0.0.9"), "it has version 0.0.9 of the node image"),
    ("host.memory", {}, plugged(memory_bytes=GIB), "1024 MiB of memory; 2048 are needed"),
    ("host.clock", {}, plugged(wall_s=0.0), "behind the engine's"),
    ("host.cpu", {}, real_cpus, "does not match the Cluster's"),
    ("host.other-pool", {}, in_another_pool, "its glusterd is in another pool, with node2, node3"),
)  # fmt: skip


@pytest.mark.parametrize(("code", "given", "before", "words"), REFUSALS, ids=[f"{row[0]}-{row[3]}"[:50] for row in REFUSALS])
def test_what_is_refused_at_the_door(
    site: Site, code: str, given: dict[str, Any], before: Callable[[Site], None], words: str
) -> None:
    before(site)
    body = {name: value for name, value in {**BODY, **given}.items() if value is not None}
    status, answer = site.ask("POST", "hosts", body)
    assert status == (503 if code == "host.unreachable" else 409), answer
    assert words in detail(answer), answer
    assert not site.engine.jobs.list()
    assert len(site.ask("GET", "hosts")[1]["host"]) == 3
    assert SECRET not in str(answer)


def test_every_word_of_the_door_is_a_code_of_ours() -> None:
    assert {code for code, _text in SAID.values()} <= {one[0] for one in REFUSALS} | {"host.token-used"}


def test_a_token_without_its_fingerprint_may_come_with_one(site: Site) -> None:
    colons = ":".join(FINGERPRINT[at : at + 2] for at in range(0, 64, 2)).upper()
    assert token_of(SECRET.partition(".")[0], f"SHA256:{colons}") == f"{SECRET.partition('.')[0]}.{FINGERPRINT}"
    assert unsaid(token_of(SECRET, "")) is None
    status, _found = site.add(root_password=SECRET.partition(".")[0], ssh={"fingerprint": colons})
    assert status == 202


def test_hosts_come_one_at_a_time(site: Site) -> None:
    assert site.add()[0] == 202
    site.enrolment.plug("198.18.0.15", wall_s=site.engine.clock.wall_s())
    status, answer = site.add(name="node5", address="198.18.0.15")
    assert (status, "Host node4 is being added, installed or removed" in detail(answer)) == (409, True), answer


def test_an_installation_that_failed_says_why_and_is_tried_again(site: Site) -> None:
    nodes = site.nodes.nodes["node1"]
    nodes.fail_with["configure"] = BROKEN
    host = site.add()[1]["id"]
    site.work()
    assert site.newest().status == "failed"
    shown = site.ask("GET", f"hosts/{host}")[1]
    assert (shown["status"], shown["status_detail"]) == ("install_failed", "it breaks here")
    assert "Host node4 installation failed. it breaks here" in site.words()
    assert [one.name for one in site.engine.cluster.members] == ["node1", "node2", "node3"], "nobody follows it"
    nodes.fail_with.clear()
    assert site.ask("POST", f"hosts/{host}/install", {"root_password": SECRET})[0] == 200
    site.work()
    site.heard()
    assert site.status(host) == "up"
    status, answer = site.ask("POST", f"hosts/{host}/install", {})
    assert (status, "must be in Maintenance mode" in detail(answer)) == (409, True), answer


def test_a_host_whose_cpu_is_too_old_does_not_reach_the_others(site: Site) -> None:
    site.enrolment.plug(ADDRESS, wall_s=site.engine.clock.wall_s(), cpu_models=("Conroe",))
    host = site.add()[1]["id"]
    site.work()
    shown = site.ask("GET", f"hosts/{host}")[1]
    assert (shown["status"], "guests cannot have a Nehalem on it" in shown["status_detail"]) == ("install_failed", True)
    assert set(site.there("node1").cluster) == {"node1", "node2", "node3"}
    assert site.ask("DELETE", f"hosts/{host}?async=true")[0] == 200
    site.work()
    assert (site.ask("GET", f"hosts/{host}")[0], site.there().cluster_id) == (404, "")


def test_what_keeps_a_host(site: Site) -> None:
    host, entities = site.added(), site.engine.store.entities
    site.resting(host)
    site.enrolment.keep_pool(bricks=["node1", "node2", "node4"])
    assert site.ask("DELETE", f"hosts/{host}?async=true")[0] == 200
    site.work()
    job = site.newest()
    assert (job.status, job.error["code"]) == ("failed", "gluster.peer-has-bricks")
    assert "engine on /data/engine, vmstore on /data/vmstore" in job.error["reason"]
    assert "replace-brick" in job.error["remedy"]
    assert site.status(host) == "maintenance"
    site.enrolment.keep_pool(bricks=["node1", "node2", "node3"])
    vm = site.made(name="web1")["id"]
    entities.change("vm", vm, lambda one: replace(one, status="unknown").with_refs(host=host))
    status, answer = site.ask("DELETE", f"hosts/{host}")
    assert (status, "VM web1 is on it" in detail(answer)) == (409, True), answer


def test_a_host_that_is_gone_for_good_is_removed_by_force_and_kept_out(site: Site) -> None:
    host = site.added()
    site.resting(host)
    site.enrolment.keep(replace(site.there(), off=True))
    assert site.ask("DELETE", f"hosts/{host}?async=true")[0] == 200
    site.work()
    job = site.newest()
    assert (job.status, job.error["code"], site.status(host)) == ("failed", "host.silent", "maintenance")
    assert "force=true" in job.error["remedy"]
    assert site.ask("DELETE", f"hosts/{host}?force=true&async=true")[0] == 200
    site.work()
    assert site.newest().status == "finished"
    assert (site.enrolment.pool()["rejected"], site.enrolment.pool()["peers"]) == ([ADDRESS], ["node1", "node2", "node3"])
    site.enrolment.plug(ADDRESS, wall_s=site.engine.clock.wall_s())  # somebody has installed it anew
    site.added()
    assert site.enrolment.pool()["rejected"] == [], "and it may use the volumes"


def test_a_founder_that_was_removed_does_not_come_back_with_an_upgrade(site: Site) -> None:
    gone = world.MEMBERS[2]
    store = site.engine.store
    store.entities.remove("host", gone.id)
    store.put_setting("built-in", "an older set")
    settle(store, world.CLUSTER)
    assert store.entities.get("host", gone.id) is None
    assert [one.name for one in Members(world.CLUSTER, store.entities)().members] == ["node1", "node2"]


def test_members_are_read_anew_when_a_host_has_changed(site: Site) -> None:
    store = site.engine.store
    members = Members(world.CLUSTER, store.entities)
    first = members()
    assert members() is first
    before = store.entities.need("host", world.MEMBERS[1].id)
    store.entities.change("host", before.id, lambda one: replace(one, body={**one.body, OUTSIDE: True}))
    assert [one.name for one in members().members] == ["node1", "node3"]
    store.entities.change("host", before.id, lambda one: replace(one, body=before.body))
    assert members() == first


def test_a_host_may_be_called_otherwise_and_is_reached_as_before(site: Site) -> None:
    host = site.added()
    assert site.ask("PUT", f"hosts/{host}", {"name": "rack3-left"})[1]["name"] == "rack3-left"
    assert [one.name for one in site.engine.cluster.members][-1] == "node4"


def test_fake_and_real_members_have_the_same_verbs() -> None:
    wanted = {name for name in vars(MemberNode) if not name.startswith("_")}
    assert wanted <= {name for name in vars(WireMember) if not name.startswith("_")}
    assert HostCapabilities is not None


def test_who_may_not_add_hosts_is_told_so(site: Site, client: FlaskClient) -> None:
    status, _answer = site.ask("POST", "hosts", BODY, token="nobody")
    assert status == 401


def test_an_address_is_itself_and_a_name_that_nobody_knows_is_none() -> None:
    assert [resolve(one) for one in (ADDRESS, "2001:db8::4")] == [ADDRESS, "2001:db8::4"]
    assert resolve("localhost") in ("127.0.0.1", "::1")
    assert resolve("no such name") == ""
