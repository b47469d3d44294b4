"""Names, numbers and cuts of a lab."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import NotFound, Refused
from image.lab import model
from image.lab.model import Drop, LabFile, LabNode

LAB = LabFile("trivet", 0, 3, Path("/tree"), 8443)


def test_a_node_is_derived_from_its_lab_and_number() -> None:
    node = LabNode("two", 7, 3)
    assert (node.name, node.address, node.namespace) == ("node3", "198.18.7.13", "trivet-two-node3")
    assert node.mac == "02:54:56:07:00:03"
    assert node.root == Path("/var/lib/trivet-lab/two/node3/root")
    assert model.engine_address(7) == "198.18.7.100"


def test_every_node_of_every_lab_has_ids_of_its_own_that_stay_the_same() -> None:
    nodes = [LabNode(lab, index, number) for index, lab in enumerate(("a", "b")) for number in (1, 2, 3)]
    assert len({node.machine_id for node in nodes}) == len({node.mac for node in nodes}) == 6
    assert LabNode("a", 0, 1).uuid == LabNode("a", 0, 1).uuid
    assert len(nodes[0].machine_id) == 32


@pytest.mark.parametrize("name", ["", "A", "1a", "a-b", "a/b", "a" * 17, "ä", "a\n"])
def test_a_name_that_could_touch_another_labs_objects_is_refused(name: str) -> None:
    with pytest.raises(Refused) as refused:
        model.check_name(name)
    assert refused.value.code == "lab.name-invalid"


def test_no_labs_prefix_is_the_beginning_of_anothers_object() -> None:
    assert not LabNode("ab", 1, 1).namespace.startswith(model.prefix("a"))


def test_an_unknown_node_is_named_together_with_the_known_ones() -> None:
    with pytest.raises(NotFound) as missing:
        model.find_node(LAB, "node4")
    assert missing.value.code == "lab.node-unknown"
    assert "node1, node2, node3" in missing.value.reason


@pytest.mark.parametrize("count", [0, -1, 17])
def test_a_lab_has_one_to_sixteen_nodes(count: int) -> None:
    with pytest.raises(Refused, match="1 to 16"):
        model.check_nodes(count)


def test_the_default_lab_gets_network_0_and_others_the_lowest_free_one() -> None:
    assert model.free_index("trivet", frozenset()) == 0
    assert model.free_index("two", frozenset()) == 1
    assert model.free_index("three", frozenset({0, 1, 3})) == 2


def test_when_all_networks_are_taken_a_lab_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        model.free_index("one", frozenset(range(256)))
    assert refused.value.code == "lab.too-many"


def test_cutting_without_a_peer_pulls_the_cable_and_twice_is_once() -> None:
    cut = model.cut_link(model.cut_link(LAB, "node2", None, "both"), "node2", None, "both")
    assert cut.cut == ("node2",)
    assert cut.drops == ()


@pytest.mark.parametrize(
    ("to", "direction", "drops"),
    [
        ("node2", "out", {Drop("node1", "node2")}),
        ("node2", "in", {Drop("node2", "node1")}),
        ("node2", "both", {Drop("node1", "node2"), Drop("node2", "node1")}),
        (None, "in", {Drop(None, "node1")}),
        (None, "out", {Drop("node1", None)}),
    ],
)
def test_a_partial_cut_drops_frames_as_the_node_sees_the_direction(
    to: str | None, direction: model.Direction, drops: set[Drop]
) -> None:
    cut = model.cut_link(LAB, "node1", to, direction)
    assert set(cut.drops) == drops
    assert cut.cut == ()
    assert model.heal_link(cut, "node1", to, direction) == LAB


def test_heal_alone_heals_all_that_touches_the_node_and_nothing_else() -> None:
    other = Drop("node2", "node3")
    lab = replace(LAB, cut=("node1", "node3"), drops=(Drop(None, "node1"), Drop("node1", "node2"), other))
    healed = model.heal_link(lab, "node1", None, "both")
    assert healed.cut == ("node3",)
    assert healed.drops == (other,)


@pytest.mark.parametrize("only", ["storage", "management"])
def test_one_traffic_can_be_cut_and_is_healed_alone_or_with_all(only: model.Traffic) -> None:
    cut = model.cut_link(LAB, "node1", None, "both", only)
    assert set(cut.drops) == {Drop("node1", None, only), Drop(None, "node1", only)}
    assert cut.cut == ()
    whole = model.cut_link(cut, "node1", None, "out")
    assert model.heal_link(whole, "node1", None, "both", only).drops == (Drop("node1", None),)
    assert model.heal_link(whole, "node1", None, "both") == LAB


def test_a_node_stands_still_once_and_goes_on() -> None:
    frozen = model.freeze(model.freeze(LAB, "node2"), "node2")
    assert frozen.frozen == ("node2",)
    assert model.thaw(frozen, "node1") == frozen
    assert model.thaw(frozen, "node2") == LAB


@pytest.mark.parametrize("seconds", [0, -1, 3601, float("nan")])
def test_a_fault_that_ends_by_itself_has_an_end(seconds: float) -> None:
    with pytest.raises(Refused) as refused:
        model.check_duration(seconds)
    assert refused.value.code == "lab.duration-invalid"
    assert model.check_duration(0.5) == 0.5


def test_the_last_node_goes_with_the_faults_that_touch_it() -> None:
    drops = (Drop("node1", "node3"), Drop("node1", "node2"))
    full = replace(LAB, cut=("node3",), drops=drops, frozen=("node1", "node3"))
    assert model.without(full, "node3") == replace(LAB, nodes=2, drops=drops[1:], frozen=("node1",))
