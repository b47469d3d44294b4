"""The search language: what each text means, what is refused and where, and that no text at all breaks the parser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Refused
from engine.decide.search import (
    DEPTH_LIMIT,
    LENGTH_LIMIT,
    TERMS_LIMIT,
    And,
    Compare,
    Expression,
    FreeText,
    Or,
    Query,
    SortKey,
    parse,
)


def name(value: str, op: str = "=") -> Compare:
    return Compare(("name",), op, value)  # type: ignore[arg-type]


def where(text: str) -> Expression | None:
    return parse(text).where


MEANINGS = {
    "": Query(),
    "   ": Query(),
    "name=web1": Query(name("web1")),
    'name="web 1"': Query(name("web 1")),
    "name = web*": Query(name("web*")),
    'name="*web*"': Query(name("*web*")),
    r'name="a \"b\" \\ c"': Query(name('a "b" \\ c')),
    'name=""': Query(name("")),
    "name=a=b": Query(name("a=b")),
    "name=or": Query(name("or")),
    "time>2026-11-25T10:00:00,5": Query(Compare(("time",), ">", "2026-11-25T10:00:00,5")),
    "page=3": Query(Compare(("page",), "=", "3")),
    "page page 3": None,
    "web": Query(FreeText("web")),
    '"two words"': Query(FreeText("two words")),
    "name=a and status!=up": Query(And((name("a"), Compare(("status",), "!=", "up")))),
    "name=a status=up": Query(And((name("a"), Compare(("status",), "=", "up")))),
    "NAME=a AND b OR c": Query(Or((And((Compare(("NAME",), "=", "a"), FreeText("b"))), FreeText("c")))),
    "a or b and c": Query(Or((FreeText("a"), And((FreeText("b"), FreeText("c")))))),
    "(a or b) and c": Query(And((Or((FreeText("a"), FreeText("b"))), FreeText("c")))),
    "((a))": Query(FreeText("a")),
    "sortby name": Query(sort=(SortKey(("name",), False),)),
    "name=a sortby name desc, cluster.name asc page 2": Query(
        name("a"), (SortKey(("name",), True), SortKey(("cluster", "name"), False)), 2
    ),
    "page 2 sortby name": Query(sort=(SortKey(("name",), False),), page=2),
    # what the Ansible modules, virt-v2v and the SDK's examples really send
    'name="x" and Storage.name="data" and vm_names="avm"': Query(
        And((name("x"), Compare(("Storage", "name"), "=", "data"), Compare(("vm_names",), "=", "avm")))
    ),
    "type=842 or type=841 or type=888": Query(Or(tuple(Compare(("type",), "=", one) for one in ("842", "841", "888")))),
    "type=1158 and message=*x*": Query(And((Compare(("type",), "=", "1158"), Compare(("message",), "=", "*x*")))),
    "correlation_id=0c5a-9_x": Query(Compare(("correlation_id",), "=", "0c5a-9_x")),
    "usrname=admin@internal": Query(Compare(("usrname",), "=", "admin@internal")),
    "sortby name asc page 2": Query(sort=(SortKey(("name",), False),), page=2),
}


@pytest.mark.parametrize("text", [text for text, meaning in MEANINGS.items() if meaning is not None])
def test_a_text_means(text: str) -> None:
    assert parse(text) == MEANINGS[text]


@pytest.mark.parametrize("op", ["=", "!=", "<", ">", "<=", ">=", "~"])
@pytest.mark.parametrize("space", ["", " "])
def test_every_operator(op: str, space: str) -> None:
    assert where(f"memory{space}{op}{space}5") == Compare(("memory",), op, "5")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("name=", 5),
        ("=x", 0),
        ("name==", None),
        ("name=a and", 10),
        ("and name=a", 0),
        ("name=a or or b", 10),
        ("(name=a", 7),
        ("name=a)", 6),
        ("()", 1),
        ('name="open', 5),
        ("1name=x", 0),
        ("a..b=x", 0),
        ("sortby", 6),
        ("sortby =", 8),
        ("sortby name,", 12),
        ("sortby a sortby b", 9),
        ("page", 4),
        ("page 0", 5),
        ("page x", 5),
        ("page 99999999", 5),
        ("page 1 page 2", 7),
        ("name=a sortby name or b", 19),
        ("a ! b", 2),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(text: str, at: int | None) -> None:
    if at is None:
        assert where(text) == name("=")
        return
    with pytest.raises(Refused) as error:
        parse(text)
    assert error.value.code == "api.search"
    assert error.value.facts["at"] == at, error.value.reason


def test_bounds() -> None:
    assert isinstance(where(" or ".join(["a"] * TERMS_LIMIT)), Or)
    assert where("(" * DEPTH_LIMIT + "a" + ")" * DEPTH_LIMIT) == FreeText("a")
    for text in (
        " or ".join(["a"] * (TERMS_LIMIT + 1)),
        "(" * (DEPTH_LIMIT + 1) + "a" + ")" * (DEPTH_LIMIT + 1),
        "a" * (LENGTH_LIMIT + 1),
    ):
        with pytest.raises(Refused):
            parse(text)


WORDS = st.sampled_from(["name", "Storage.name", "vm_names", "cpu.load"])
VALUES = st.text(max_size=12)
OPS = st.sampled_from(["=", "!=", "<=", "~"])
LEAVES = st.builds(lambda path, op, value: Compare(tuple(path.split(".")), op, value), WORDS, OPS, VALUES) | st.builds(
    FreeText, VALUES
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, min_size=2, max_size=4).flatmap(
        lambda parts: st.sampled_from([And(tuple(parts)), Or(tuple(parts))])
    ),
    max_leaves=12,
)


def written(one: Expression) -> str:
    """The text of a tree, everything quoted and in parentheses."""
    if isinstance(one, And | Or):
        return "(" + (" and " if isinstance(one, And) else " or ").join(map(written, one.parts)) + ")"
    quoted = '"' + one.value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return quoted if isinstance(one, FreeText) else f"{'.'.join(one.path)}{one.op}{quoted}"


@given(TREES, st.integers(1, 9) | st.none())
def test_every_tree_survives_being_written_and_read(tree: Expression, page: int | None) -> None:
    assert parse(written(tree) + (f" page {page}" if page else "")) == Query(tree, (), page)


@given(st.text(alphabet='ab.*"\\()=<>!~, \n&', max_size=40) | st.text(max_size=40))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        parse(text)
    except Refused as error:
        assert error.code == "api.search"
