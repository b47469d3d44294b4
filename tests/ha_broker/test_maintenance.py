"""Planned work: what stands against it, where VMs go, and the command's order of things over members in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance import layout
from appliance.effects.clock import FakeClock
from appliance.errors import Conflict, Failed, TrivetError, Unavailable
from appliance.model.vm import VmPower, VmState
from gluster.model import Brick as VolumeBrick
from gluster.model import Peer, PoolStatus, Volume
from ha_broker.maintenance import HostView, View, objections, place
from ha_broker.planned import HAND_OVER_FIRST_S, Planned
from ha_broker.state import Brick

NAMES = ("node1", "node2", "node3")
ENGINE = VmState("e", layout.ENGINE_VM_NAME, "running", 1024, 2, 0.0, 9)


def vm(name: str, memory_mib: int = 512, power: VmPower = "running") -> VmState:
    return VmState(name, name, power, memory_mib, 1, 0.0, 7)


def volume(pending: int = 0, split: int = 0, down: str = "") -> Volume:
    bricks = tuple(
        VolumeBrick(name, "/b", online=name != down, heal_pending=pending, split_brain=split, pid=1) for name in NAMES
    )
    return Volume("id", "engine", "Replicate", "Started", 3, bricks, {"cluster.quorum-type": "auto"})


def pool(one: Volume | None = None) -> PoolStatus:
    return PoolStatus(tuple(Peer(name, name, (name,), True, "Peer in Cluster") for name in NAMES[1:]), (one or volume(),))


def host(name: str, **changes: object) -> HostView:
    return replace(HostView(name, True, True, 1000, False, 8192), **changes)  # type: ignore[arg-type]


FRESH = tuple(Brick(name, True, True) for name in NAMES)


def view(
    *hosts: HostView, engine: str = "node1", bricks: tuple[Brick, ...] = FRESH, status: PoolStatus | None = None
) -> View:
    named = {one.name: one for one in hosts}
    return View(tuple(named.get(name, host(name)) for name in NAMES), engine, bricks, status or pool())


def codes(seen: View, node: str = "node2") -> list[tuple[str, bool]]:
    return [(one.code, one.passes) for one in objections(seen, node)]


def test_nothing_against_a_healthy_cluster() -> None:
    assert codes(view()) == []
    assert codes(view(), "node1") == []


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (view(host("node3", answers=False, alive=False, reason="no answer")), [("host-silent", False)]),
        (view(host("node3", maintenance=True)), [("host-in-maintenance", False)]),
        (
            view(host("node3", score=0, reason="512 MiB free"), host("node1", score=0, reason="no image")),
            [("last-eligible-host", False)],
        ),
        (view(status=pool(volume(pending=3))), [("volume-not-whole", True)]),
        (view(status=pool(volume(split=1))), [("volume-not-whole", False)]),
        (view(status=pool(volume(down="node3"))), [("volume-not-whole", True)]),
        (view(engine=""), [("engine-not-running", True)]),
        (view(bricks=()), [("disk-not-fresh", True)]),
        (view(bricks=(*FRESH[:2], Brick("node3", True, False))), [("disk-not-fresh", True)]),
        (view(bricks=(FRESH[0], Brick("node2", True, False), FRESH[2])), []),
        (view(host("node2", vms=(vm("web", power="paused"),))), [("vm-not-running", False)]),
        (view(host("node3", vms=(vm("web"),), unopened=("node1",))), [("vm-disks-not-fresh", True)]),
        (view(host("node3", vms=(vm("web"),), unopened=("node2",))), []),  # that brick goes, the others have them open
        (view(host("node3", vms=(ENGINE,), unopened=("node1",))), []),
        (view(host("node2", vms=(vm("web"),), unopened=("node1",))), []),  # they leave, which opens them anew
        (View(tuple(map(host, NAMES)), "node1", FRESH, None, "no glusterd"), [("pool-unknown", True)]),
    ],
)
def test_what_stands_against_it(seen: View, expected: list[tuple[str, bool]]) -> None:
    assert codes(seen) == expected
    assert all(one.sentence for one in objections(seen, "node2"))


def test_the_engine_on_the_node_itself_opens_its_disk_anew_when_it_moves() -> None:
    assert codes(view(bricks=(*FRESH[:2], Brick("node3", True, False))), "node1") == []


def test_vms_go_to_the_host_with_the_most_room() -> None:
    seen = view(
        host("node2", vms=(vm("small", 256), vm("big", 4096), vm("off", 9999, "off"), ENGINE)),
        host("node1", memory_available_mib=5000),
        host("node3", memory_available_mib=4500),
    )
    placed = place(seen, "node2", 1024)
    assert [(move.vm.name, move.target) for move in placed.moves] == [("big", "node1"), ("small", "node3")]
    assert placed.left == ()


def test_a_vm_that_fits_nowhere_has_a_reason_for_each_host() -> None:
    seen = view(
        host("node1", memory_available_mib=900, vms=()),
        host("node2", vms=(vm("web", 600),)),
        host("node3", maintenance=True),
    )
    ((left, why),) = place(seen, "node2", 1024).left
    assert (left.name, why) == ("web", "node1 has 388 MiB free for VMs, 600 are needed; node3 is in maintenance")


def test_room_is_kept_for_the_engine_vm_where_it_probably_goes() -> None:
    seen = view(
        host("node1", vms=(ENGINE, vm("web", 2000))),
        host("node2", score=1000, memory_available_mib=3000),
        host("node3", score=900, memory_available_mib=2900),
    )
    assert [move.target for move in place(seen, "node1", 1024).moves] == ["node3"]


# --- the command


class FakeNodes:
    """Three members. ``hands_over``: whether node brokers move the engine VM by themselves; ``views`` are shown first, one a
    look."""

    def __init__(self, *, hands_over: bool = True, vms: tuple[VmState, ...] = (ENGINE,)) -> None:
        self.hands_over = hands_over
        self.where = dict.fromkeys((one.name for one in vms), "node1")
        self.known = {one.name: one for one in vms}
        self.views: list[View] = []
        self.maintenance: set[str] = set()
        self.did: list[str] = []
        self.fail: dict[str, BaseException] = {}

    def view(self) -> View:
        if self.views:
            return self.views.pop(0)
        hosts = (host(name, vms=self.vms(name), maintenance=name in self.maintenance) for name in NAMES)
        return view(*hosts, engine=self.where.get(layout.ENGINE_VM_NAME, ""))

    def vms(self, node: str) -> tuple[VmState, ...]:
        return tuple(self.known[name] for name, at in self.where.items() if at == node)

    def set_local_maintenance(self, node: str, on: bool) -> None:
        self.did.append(f"{node} {'on' if on else 'off'}")
        (self.maintenance.add if on else self.maintenance.discard)(node)
        if on and self.hands_over and self.where.get(layout.ENGINE_VM_NAME) == node:
            self.where[layout.ENGINE_VM_NAME] = "node2"

    def in_local_maintenance(self, node: str) -> bool:
        return node in self.maintenance

    def told(self, node: str) -> bool:
        return node in self.maintenance

    def migrate(self, node: str, name: str, target: str) -> None:
        if name in self.fail:
            raise self.fail[name]
        self.did.append(f"{name} to {target}")
        self.where[name] = target

    def destroy(self, node: str, name: str) -> None:
        if self.where.get(name) == node:
            self.did.append(f"{name} ended")
            del self.where[name]

    def heal(self) -> None:
        self.did.append("heal")


def planned(nodes: FakeNodes, clock: FakeClock | None = None) -> Planned:
    said: list[float] = []

    def say(percent: float, text: str) -> None:
        assert text and (not said or percent >= said[-1]), "progress only grows"
        said.append(percent)

    return Planned(nodes, clock or FakeClock(), say, lambda _text: None, 1024)


def test_on_moves_everything_and_off_takes_it_back() -> None:
    nodes = FakeNodes(vms=(ENGINE, vm("web")))
    done = planned(nodes).on("node1", force=False)
    assert done.moved == {"HostedEngine": "node2", "web": "node2"}
    assert nodes.did == ["node1 on", "web to node2"]
    again = planned(nodes).on("node1", force=False)
    assert again.moved == {}
    assert not planned(nodes).off("node1").maintenance
    assert nodes.maintenance == set()


def test_the_standby_vm_is_ended_and_never_moved() -> None:
    nodes = FakeNodes(vms=(ENGINE, vm("TrivetWarmVM")))
    assert planned(nodes).on("node1", force=False).moved == {"HostedEngine": "node2"}
    assert nodes.did == ["node1 on", "TrivetWarmVM ended"]


def test_an_engine_vm_that_its_broker_does_not_hand_over_is_moved() -> None:
    nodes, clock = FakeNodes(hands_over=False), FakeClock()
    done = planned(nodes, clock).on("node1", force=False)
    assert done.moved == {"HostedEngine": "node3"}
    assert done.took_s >= HAND_OVER_FIRST_S


def test_what_passes_is_waited_for() -> None:
    nodes = FakeNodes()
    nodes.views = [view(host("node1", vms=(ENGINE,)), status=pool(volume(pending=n))) for n in (9, 4)]
    done = planned(nodes).on("node1", force=False)
    assert done.waited_s == pytest.approx(2.0)
    assert nodes.did == ["heal", "node1 on"]


def error_of(nodes: FakeNodes, force: bool = False) -> TrivetError:
    with pytest.raises(TrivetError) as caught:
        planned(nodes).on("node1", force)
    return caught.value


def test_what_does_not_pass_is_refused_and_nothing_done() -> None:
    nodes = FakeNodes()
    nodes.maintenance = {"node3"}
    refused = error_of(nodes)
    assert (refused.code, type(refused)) == ("node.maintenance-refused", Conflict)
    assert "node3 is in maintenance already" in refused.reason
    assert nodes.did == []
    assert planned(nodes).on("node1", force=True).moved == {"HostedEngine": "node2"}


def test_a_wait_has_an_end() -> None:
    nodes = FakeNodes()
    nodes.views = [view(status=pool(volume(pending=9)))] * 1000
    late = error_of(nodes)
    assert (late.code, type(late)) == ("node.maintenance-deadline", Unavailable)
    assert "9 files wait for healing" in late.reason


@pytest.mark.parametrize(
    "broken", [Failed("vm.migrate", subject="VM web", reason="no route", remedy="look"), KeyboardInterrupt()]
)
def test_broken_off_means_in_service(broken: BaseException) -> None:
    nodes = FakeNodes(vms=(ENGINE, vm("web")))
    nodes.fail["web"] = broken
    with pytest.raises(type(broken)):
        planned(nodes).on("node1", force=False)
    assert nodes.did == ["node1 on", "node1 off"]


def test_a_node_that_was_in_maintenance_before_stays_in_it() -> None:
    nodes = FakeNodes(vms=(vm("web"), replace(ENGINE)))
    nodes.where[layout.ENGINE_VM_NAME] = "node3"
    nodes.maintenance = {"node1"}
    nodes.fail["web"] = Failed("vm.migrate", subject="VM web", reason="no route", remedy="look")
    assert error_of(nodes).code == "vm.migrate"
    assert nodes.maintenance == {"node1"}
