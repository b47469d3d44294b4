"""The door: what goes out comes in again, and each kind of wrong data is refused by name."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.codec import decode, encode
from appliance.errors import Refused
from appliance.model.cluster import Cluster, EngineVm, Member


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Leaf:
    name: str
    size_bytes: int = 0


@dataclass(frozen=True)
class Even:
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("the number is odd")


@dataclass(frozen=True)
class Tree:
    flag: bool
    ratio: float
    leaves: tuple[Leaf, ...]
    pair: tuple[str, int]
    table: Mapping[str, int]
    mode: Literal["a", "b"]
    colour: Colour
    path: Path
    maybe: Leaf | None = None
    either: int | str = 0
    free: object = None
    tags: tuple[str, ...] = field(default_factory=tuple)


LEAF = st.builds(Leaf, st.text(), st.integers())
TREE = st.builds(
    Tree,
    flag=st.booleans(),
    ratio=st.floats(allow_nan=False, allow_infinity=False),
    leaves=st.lists(LEAF, max_size=4).map(tuple),
    pair=st.tuples(st.text(), st.integers()),
    table=st.dictionaries(st.text(), st.integers(), max_size=4),
    mode=st.sampled_from(["a", "b"]),
    colour=st.sampled_from(Colour),
    path=st.text(st.characters(codec="ascii", exclude_characters="/\0."), min_size=1).map(Path),
    maybe=st.none() | LEAF,
    either=st.integers() | st.text(),
    free=st.none() | st.integers() | st.lists(st.text()),
    tags=st.lists(st.text()).map(tuple),
)


@given(TREE)
def test_what_goes_out_comes_in_again(tree: Tree) -> None:
    assert decode(Tree, json.loads(json.dumps(encode(tree))), subject="a tree") == tree


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda v: st.lists(v) | st.dictionaries(st.text(), v),
    )
)
def test_any_json_is_either_read_or_refused(value: object) -> None:
    try:
        decode(Tree, value, subject="noise")
    except Refused as error:
        assert error.code == "data.invalid"


def good() -> dict[str, object]:
    return {
        "flag": True,
        "ratio": 1,
        "leaves": [{"name": "x", "size_bytes": 3}],
        "pair": ["p", 2],
        "table": {"k": 1},
        "mode": "a",
        "colour": "red",
        "path": "/tmp",
    }


@pytest.mark.parametrize(
    ("change", "attribute", "reason"),
    [
        ({"flag": 1}, "flag", "must be true or false, not a whole number"),
        ({"ratio": "1"}, "ratio", "must be a number, not text"),
        ({"ratio": True}, "ratio", "must be a number, not true or false"),
        ({"ratio": float("nan")}, "ratio", "must be a finite number"),
        ({"ratio": float("-inf")}, "ratio", "must be a finite number"),
        ({"ratio": 10**400}, "ratio", "must be a finite number"),
        ({"leaves": "x"}, "leaves", "must be a list, not text"),
        ({"leaves": [{"name": "x"}, {}]}, "leaves[1].name", "is missing"),
        ({"leaves": [{"name": 1}]}, "leaves[0].name", "must be text, not a whole number"),
        (
            {"leaves": [{"name": "x", "size_bytes": True}]},
            "leaves[0].size_bytes",
            "must be a whole number, not true or false",
        ),
        ({"leaves": [{"name": "x", "sise": 1}]}, "leaves[0].sise", "is unknown; known here: name, size_bytes"),
        ({"leaves": [7]}, "leaves[0]", "must be a table, not a whole number"),
        ({"pair": ["p"]}, "pair", "must have 2 elements, not 1"),
        ({"pair": ["p", "q"]}, "pair[1]", "must be a whole number, not text"),
        ({"table": [1]}, "table", "must be a table, not a list"),
        ({"table": {"k": None}}, "table.k", "must be a whole number, not nothing"),
        ({"mode": "c"}, "mode", "must be one of 'a', 'b', not 'c'"),
        ({"mode": ["a"]}, "mode", "must be one of 'a', 'b', not ['a']"),
        ({"colour": "green"}, "colour", "must be one of 'red', 'blue', not 'green'"),
        ({"colour": ["red"]}, "colour", "must be one of 'red', 'blue', not ['red']"),
        ({"path": 1}, "path", "must be Path, not a whole number"),
        ({"maybe": 1}, "maybe", "must be a table, not a whole number"),
        ({"either": 1.5}, "either", "must be one of a whole number, text"),
        ({"typo": 1}, "typo", "is unknown; known here: colour, either"),
    ],
)
def test_wrong_data_is_refused_by_the_name_of_the_attribute(change: dict[str, object], attribute: str, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        decode(Tree, good() | change, subject="the file", code="answers.invalid")
    assert refused.value.code == "answers.invalid"
    assert refused.value.subject == "the file"
    assert refused.value.facts == {"attribute": attribute}
    assert f"attribute '{attribute}' {reason}" in refused.value.reason


def test_the_whole_of_it_can_be_wrong() -> None:
    with pytest.raises(Refused, match="the whole of it must be a table, not a list"):
        decode(Tree, [], subject="the file")


def test_a_literal_number_is_not_a_truth_value() -> None:
    @dataclass(frozen=True)
    class Versioned:
        version: Literal[1]

    with pytest.raises(Refused, match="version"):
        decode(Versioned, {"version": True}, subject="the file")
    assert decode(Versioned, {"version": 1}, subject="the file").version == 1


def test_a_rule_of_the_dataclass_itself_is_a_refusal() -> None:
    with pytest.raises(Refused, match="does not hold together: the number is odd"):
        decode(Even, {"number": 3}, subject="the file")


def test_unknown_keys_pass_only_when_asked() -> None:
    newer = {"name": "x", "colour": "red"}
    assert decode(Leaf, newer, subject="a newer node", ignore_unknown=True) == Leaf("x")
    with pytest.raises(Refused, match="colour"):
        decode(Leaf, newer, subject="a file")


def test_what_the_encoder_makes_is_plain_json() -> None:
    assert encode({Path("/a"): [Colour.RED, frozenset({1}), (Leaf("x"),)]}) == {
        "/a": ["red", [1], [{"name": "x", "size_bytes": 0}]]
    }


def test_a_cluster_goes_through() -> None:
    engine = EngineVm("e", "engine.trivet.lab", "198.18.0.100", 24, "", (), "52:54:00:00:00:01", 1024, 2, 1 << 30)
    cluster = Cluster("c", "lab", (Member("1", "node1", "198.18.0.11"),), engine)
    assert decode(Cluster, json.loads(json.dumps(encode(cluster))), subject="cluster.json") == cluster
    assert cluster.member("node1") == cluster.members[0]
    assert cluster.member("node2") is None
