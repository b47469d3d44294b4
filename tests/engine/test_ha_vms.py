"""A host is lost: when it is evicted, what becomes of its VMs, where they start again, and how the host comes back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.effects.clock import FakeClock
from appliance.errors import Failed
from engine.core import Engine
from engine.decide.schedule_evict import Suspect, to_evict
from engine.fakes.pool_node import refused_by
from engine.jobs import owed
from engine.jobs.ended import ENDED
from engine.jobs.evicted import EVICTED
from engine.jobs.keep_ha import AGAIN_S, Keeper
from tests.engine import world
from tests.engine.vm_world import GIB, Vms, fake_hosts

HA = {"enabled": True, "priority": 1}
NODE = {one.name: one.id for one in world.MEMBERS}
BROKEN = Failed("vm.start", subject="VM x", reason="QEMU does not start here", remedy="Mend it.")


@dataclass
class Cluster:
    """Three hosts, and the keeper whose turns a test takes."""

    vms: Vms
    keeper: Keeper
    clock: FakeClock
    said: list[str]

    def turns(self, count: int = 3) -> None:
        """Hosts tell, the keeper looks, jobs are done."""
        for _ in range(count):
            self.vms.look()
            self.keeper.turn()
            self.vms.work()

    def statuses(self) -> dict[str, tuple[str, str]]:
        """Name → status as clients see it, and who has it."""
        found = self.vms.ask("GET", "vms")[1]["vm"]
        return {one["name"]: (one["status"], self.vms.host_of(one["id"])) for one in found if one["name"] != "HostedEngine"}

    def on(self, host: str, name: str, **given: Any) -> str:
        """A VM that is up on that host."""
        disk = {"disk": {"name": f"{name}-root", "provisioned_size": 8 << 20, "format": "cow"}, "interface": "virtio_scsi"}
        disk["disk"]["storage_domains"] = [{"name": "vmstore"}]
        rest = {"memory": GIB // 4, "memory_policy": {"guaranteed": GIB // 4, "max": GIB}, **given}
        return self.vms.started(
            name=name, disk_attachments=[disk], placement_policy={"hosts": [{"name": host}]}, nics=[], **rest
        )

    def free(self, vm: str) -> None:
        """It may run anywhere from now on."""
        self.vms.engine.store.entities.change(
            "vm", vm, lambda one: one.with_body(placement_policy={"affinity": "migratable"})
        )


@pytest.fixture
def cluster(engine: Engine, client: FlaskClient, token: str, clock: FakeClock, tmp_path: Path) -> Cluster:
    vms, said = Vms(engine, client, token, fake_hosts(tmp_path / "hosts")), list[str]()
    return Cluster(vms, Keeper(engine.store.entities, vms.nodes, engine.desk, said.append), clock, said)


def suspect(**fields: Any) -> Suspect:
    return Suspect(**{"name": "n1", "answers": False, "connected": False, "is_evicted": False, "ha_vms": ("a",), **fields})


@pytest.mark.parametrize(
    ("fields", "answering", "certain", "words"),
    [
        ({}, 2, True, "n1 answers neither the engine nor the pool"),
        ({"answers": True}, 3, False, "n1 answers"),
        ({"is_evicted": True}, 2, False, "n1 is evicted"),
        ({"ha_vms": ()}, 2, False, "nothing on n1 is highly available: its VMs wait for it"),
        ({}, 1, False, "only 1 of 3 hosts answer: it may be the engine that is cut off"),
        ({"connected": None}, 2, False, "nobody can say whether the pool has lost n1, too"),
        ({"connected": True}, 2, False, "its glusterd is connected to the pool: its VMs may well run"),
    ],
)
def test_two_witnesses_a_majority_and_something_to_win(
    fields: dict[str, Any], answering: int, certain: bool, words: str
) -> None:
    found = to_evict(suspect(**fields), answering, 3)
    assert found.certain is certain
    assert words in found.reason


def test_a_lost_hosts_vms_start_elsewhere_and_the_others_are_down(cluster: Cluster) -> None:
    ha, plain = cluster.on("node1", "ha", high_availability=HA), cluster.on("node1", "plain")
    nodes, engine = cluster.vms.nodes, cluster.vms.engine
    cluster.free(ha)
    nodes.down.add("node1")
    cluster.vms.look()
    assert {one[0] for one in cluster.statuses().values()} == {"unknown"}
    cluster.turns()
    assert refused_by(nodes.nodes["node1"].folder) == {"node1"}
    now = cluster.vms.vm(ha)
    assert now["status"] == "up"
    assert now["host"]["id"] in (NODE["node2"], NODE["node3"])
    assert cluster.vms.vm(plain)["status"] == "down"
    assert cluster.vms.codes(ha)[-4:] == [142, 9602, 506, 32]
    assert cluster.vms.codes(plain)[-1] == 119
    text = next(one.description for one in engine.store.events(limit=50) if one.code == 119)
    assert text == (
        "VM plain is down with error. "
        "Exit message: it is not highly available and stays down (node1 is evicted from vmstore)."
    )
    assert 10_701 in [one.code for one in engine.store.events(limit=50)]
    assert engine.store.entities.list(owed.KIND) == []


def test_a_host_that_is_lost_while_a_vm_leaves_it_holds_up_nobody(cluster: Cluster) -> None:
    """The migration ends with the eviction, not when the host is back; what had arrived of the VM is no hindrance."""
    ha = cluster.on("node1", "ha", high_availability=HA)
    cluster.free(ha)
    nodes, store = cluster.vms.nodes, cluster.vms.engine.store.entities
    source, target = nodes.host("node1"), nodes.host("node2")

    def cut(where: str) -> None:
        if where == "before move":
            source.point = target.point
            target.put(replace(cluster.vms.running(ha), power="incoming"))
            nodes.down.add("node1")
            nodes.pools("node2").gluster_reject("vmstore", ("node1",))
            record = {"domains": ["vmstore"], "volumes": ["vmstore"], "boot_id": "", "wall_ms": 1}
            store.change("host", NODE["node1"], lambda host: host.with_body(**{EVICTED: record}))
            raise nodes.silent("node1")

    source.point = cut
    cluster.vms.ask("POST", f"vms/{ha}/migrate", {"host": {"name": "node2"}})
    cluster.vms.work()
    assert target.vm(ha) is None
    cluster.turns()
    assert cluster.statuses()["ha"][0] == "up" and cluster.vms.host_of(ha) in (
        "node2",
        "node3",
        "node1,node2",
        "node1,node3",
    )


def test_one_whose_glusterd_is_connected_is_not_evicted_and_its_vms_stay_unknown(cluster: Cluster) -> None:
    ha = cluster.on("node1", "ha", high_availability=HA)
    cluster.free(ha)
    cluster.vms.nodes.deaf.add("node1")
    cluster.turns(4)
    assert refused_by(cluster.vms.nodes.nodes["node1"].folder) == frozenset()
    now = cluster.vms.vm(ha)
    assert (now["status"], now["host"]["id"], cluster.vms.host_of(ha)) == ("unknown", NODE["node1"], "node1")
    assert cluster.said == ["node1 does not answer, but its glusterd is connected to the pool: its VMs may well run"]


def test_the_reason_of_waiting_is_seen_with_the_vm(cluster: Cluster) -> None:
    ha = cluster.on("node1", "ha", high_availability=HA)
    cluster.vms.nodes.nodes["node2"].fail_with["reject"] = BROKEN
    cluster.vms.nodes.nodes["node3"].fail_with["reject"] = BROKEN
    cluster.vms.nodes.down.add("node1")
    cluster.turns()
    now = cluster.vms.vm(ha)
    assert (now["status"], cluster.vms.host_of(ha)) == ("unknown", "node1")
    assert "may still write storage domain vmstore" in now["status_detail"]
    codes = [one.code for one in cluster.vms.engine.store.events(limit=50)]
    assert codes.count(10_702) == 1, "it is not tried again at once"
    cluster.vms.nodes.nodes["node2"].fail_with.clear()
    cluster.vms.nodes.nodes["node3"].fail_with.clear()
    cluster.free(ha)
    cluster.clock.sleep(AGAIN_S)
    cluster.turns()
    assert cluster.vms.vm(ha)["status"] == "up"


def test_without_a_majority_nothing_is_done(cluster: Cluster) -> None:
    ha = cluster.on("node1", "ha", high_availability=HA)
    cluster.vms.nodes.down |= {"node1", "node3"}
    cluster.turns()
    assert cluster.vms.vm(ha)["status"] == "unknown"
    assert refused_by(cluster.vms.nodes.nodes["node1"].folder) == frozenset()
    assert "only 1 of 3 hosts answer" in cluster.said[0]


def test_the_higher_priority_gets_the_room_and_the_other_waits_with_a_reason(cluster: Cluster) -> None:
    sizes = {"memory": 3 * GIB, "memory_policy": {"guaranteed": 3 * GIB, "max": 3 * GIB}}
    high = {"enabled": True, "priority": 100}
    cluster.vms.nodes.memory_bytes = 8 * GIB
    low_vm = cluster.on("node1", "low", high_availability=HA, **sizes)
    high_vm = cluster.on("node1", "high", high_availability=high, **sizes)
    for one in (low_vm, high_vm):
        cluster.free(one)
    cluster.vms.nodes.memory_bytes = 4 * GIB
    cluster.vms.nodes.down.add("node1")
    entities = cluster.vms.engine.store.entities
    entities.change("host", NODE["node3"], lambda host: host.with_body(**{EVICTED: {"domains": ["vmstore"]}}))
    cluster.vms.nodes.nodes["node3"].fail_with["mount"] = BROKEN  # it stays shut out, so there is room for one VM only
    cluster.turns(4)
    assert cluster.vms.vm(high_vm)["status"] == "up"
    waits = cluster.vms.vm(low_vm)
    assert waits["status"] == "down"
    assert "There is no host that satisfies current scheduling constraints" in waits["status_detail"]
    assert cluster.vms.codes(low_vm).count(9603) == 1
    cluster.vms.nodes.memory_bytes = 16 * GIB
    cluster.turns()
    assert cluster.vms.vm(low_vm)["status"] == "up"
    assert "status_detail" not in cluster.vms.vm(low_vm)


def test_a_start_that_fails_is_tried_on_the_next_best_and_then_again_later(cluster: Cluster) -> None:
    ha = cluster.on("node1", "ha", high_availability=HA)
    cluster.free(ha)
    nodes = cluster.vms.nodes
    for name in ("node2", "node3"):
        nodes.nodes[name].fail_with["start"] = BROKEN
    nodes.down.add("node1")
    cluster.turns()
    assert cluster.vms.vm(ha)["status"] == "down"
    told = [one for one in cluster.vms.engine.store.events(limit=50) if one.code == 9603]
    assert len(told) == 1
    assert "node2: QEMU does not start here" in told[0].description
    assert "node3: QEMU does not start here" in told[0].description
    cluster.turns()
    (row,) = cluster.vms.engine.store.entities.list(owed.KIND)
    assert row.body["tries"] == 1, "its pause is not over"
    del nodes.nodes["node3"].fail_with["start"]
    cluster.clock.sleep(owed.FIRST_PAUSE_MS / 1000 + 1)
    cluster.turns()
    assert (cluster.vms.vm(ha)["status"], cluster.vms.host_of(ha)) == ("up", "node1,node3")
    nodes.down.discard("node1")
    cluster.turns()
    assert cluster.vms.host_of(ha) == "node3", "what was left on the lost host is ended"


def test_an_evicted_host_comes_back_without_what_was_left_on_it(cluster: Cluster) -> None:
    ha, plain = cluster.on("node1", "ha", high_availability=HA), cluster.on("node1", "plain")
    cluster.free(ha)
    nodes, entities = cluster.vms.nodes, cluster.vms.engine.store.entities
    nodes.down.add("node1")
    cluster.turns()
    runs_on = cluster.vms.vm(ha)["host"]["id"]
    nodes.down.discard("node1")
    cluster.vms.look()
    assert cluster.vms.vm(ha)["host"]["id"] == runs_on, "what an evicted host says of a VM is not believed"
    cluster.turns()
    assert cluster.vms.vm(plain)["status"] == "down"
    assert cluster.vms.host_of(plain) == ""
    assert nodes.ids[cluster.vms.host_of(ha)] == runs_on
    assert refused_by(nodes.nodes["node1"].folder) == frozenset()
    assert nodes.mounted == {"vmstore": ("node1", "node2", "node3")}
    assert nodes.renewed == ["node1"], "its self-heal daemon does not ask again bricks that have refused it"
    assert EVICTED not in entities.need("host", NODE["node1"]).body
    assert 10_703 in [one.code for one in cluster.vms.engine.store.events(limit=50)]


def test_a_host_that_comes_back_without_the_vm_needs_no_eviction(cluster: Cluster) -> None:
    ha = cluster.on("node1", "ha", high_availability=HA)
    nodes = cluster.vms.nodes
    nodes.deaf.add("node1")
    cluster.turns()
    assert cluster.vms.vm(ha)["status"] == "unknown"
    nodes.host("node1").end(ha)
    nodes.deaf.clear()
    cluster.turns()
    assert (cluster.vms.vm(ha)["status"], cluster.vms.host_of(ha)) == ("up", "node1")
    assert cluster.vms.codes(ha)[-3:] == [9602, 506, 32]
    assert refused_by(nodes.nodes["node1"].folder) == frozenset()


def test_who_takes_high_availability_away_is_owed_nothing(cluster: Cluster) -> None:
    ha = cluster.on("node1", "ha", high_availability=HA)
    nodes = cluster.vms.nodes
    for name in ("node2", "node3"):
        nodes.nodes[name].fail_with["start"] = BROKEN
    cluster.free(ha)
    nodes.down.add("node1")
    cluster.turns()
    status, _answer = cluster.vms.ask("PUT", f"vms/{ha}", {"high_availability": {"enabled": False}})
    assert status == 200
    cluster.clock.sleep(3600)
    cluster.turns()
    assert cluster.vms.vm(ha)["status"] == "down"
    assert cluster.vms.engine.store.entities.list(owed.KIND) == []


def confirm(cluster: Cluster, host: str = "node1", **given: Any) -> tuple[int, dict[str, Any]]:
    """An administrator says that the host has been rebooted."""
    return cluster.vms.ask("POST", f"hosts/{NODE[host]}/fence", {"fence_type": "manual", **given})


def silent(cluster: Cluster, *names: str) -> None:
    """The others have just answered, those have not for a minute."""
    cluster.clock.sleep(60)
    world.observe(cluster.vms.engine.observations, silent=names)


def test_a_persons_word_that_a_host_is_off_restarts_what_nothing_else_proves(cluster: Cluster) -> None:
    ha, plain = cluster.on("node1", "ha", high_availability=HA), cluster.on("node1", "plain")
    cluster.free(ha)
    cluster.vms.nodes.deaf.add("node1")  # its glusterd is connected: nobody evicts it
    cluster.turns()
    assert {one[0] for one in cluster.statuses().values()} == {"unknown"}
    silent(cluster, "node1")
    status, answer = confirm(cluster)
    assert (status, answer["status"]) == (200, "complete"), answer
    cluster.vms.nodes.host("node1").end(ha)  # as the person said
    cluster.vms.nodes.host("node1").end(plain)
    cluster.turns()
    assert refused_by(cluster.vms.nodes.nodes["node1"].folder) == frozenset()
    now = cluster.vms.vm(ha)
    assert now["status"] == "up"
    assert now["host"]["id"] in (NODE["node2"], NODE["node3"])
    assert cluster.vms.vm(plain)["status"] == "down"
    words = {one.code: one.description for one in cluster.vms.engine.store.events(limit=50)}
    assert words[494] == "Manual fence for host node1 was started: admin confirmed that it has been rebooted."
    assert "node1 is off: admin@internal confirmed it" in words[119]


def test_the_word_ends_with_the_hosts_next_answer(cluster: Cluster) -> None:
    ha = cluster.on("node1", "ha", high_availability=HA)
    cluster.vms.nodes.deaf.add("node1")
    silent(cluster, "node1")
    assert confirm(cluster)[0] == 200
    cluster.vms.nodes.deaf.clear()
    cluster.vms.look()  # it answers, and was never rebooted
    assert ENDED not in cluster.vms.engine.store.entities.need("host", NODE["node1"]).body
    cluster.vms.nodes.deaf.add("node1")
    cluster.turns()
    assert (cluster.vms.vm(ha)["status"], cluster.vms.host_of(ha)) == ("unknown", "node1")


def test_a_host_that_answers_and_a_power_switch_that_is_not_there_are_refused(cluster: Cluster) -> None:
    world.observe(cluster.vms.engine.observations)
    status, answer = confirm(cluster)
    assert (status, "Cannot fence Host. it is up" in str(answer)) == (409, True), answer
    silent(cluster, "node1")
    status, answer = confirm(cluster, fence_type="restart")
    assert (status, "Power Management is not configured" in str(answer)) == (409, True), answer
    assert ENDED not in cluster.vms.engine.store.entities.need("host", NODE["node1"]).body
