"""oVirt's search language, as text → :class:`Query`. Pure; what a field means is the store's business.

    query  = [or] ["sortby" key {"," key}] ["page" number]        key = path ["asc" | "desc"]
    or     = and {"or" and}             and = term {["and"] term}
    term   = "(" or ")" | path op value | value                    op = "=" "!=" "<" ">" "<=" ">=" "~"
    path   = word {"." word}            value = word | '"' … '"'   (in quotes ``\\"`` is ``"``)

Words are compared without case by whoever reads a path; ``*`` in a value is a wildcard and stays in it, in quotes, too (as
oVirt does). A value alone is free text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal, get_args

from appliance.errors import Refused

Operator = Literal["=", "!=", "<", ">", "<=", ">=", "~"]
LENGTH_LIMIT = 4096
"""Characters: the longest search that the clients read here send has some hundreds."""
TERMS_LIMIT = 200
"""Comparisons in one search: SQLite refuses expressions that are deeper than 1,000; people write ten."""
DEPTH_LIMIT = 20
"""Parentheses in parentheses: more is an attack on the parser's stack."""
PAGE_LIMIT = 1_000_000
"""Pages beyond are empty in any cluster; the bound keeps the offset a small number."""

TOKEN = re.compile(
    r"""\s*(?:(?P<paren>[()])|(?P<op>!=|<=|>=|=|<|>|~)|(?P<comma>,)|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<word>[^\s()"=<>~!,]+))"""
)
VALUE = re.compile(r"""\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<word>[^\s()"]+))""")
PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
ESCAPED = re.compile(r'\\(["\\])')
KEYWORDS = ("and", "or", "sortby", "page")


@dataclass(frozen=True)
class Compare:
    """``path op value``. Back references are paths with a noun first: ``("Storage", "name")``. Values keep their ``*``."""

    path: tuple[str, ...]
    op: Operator
    value: str


@dataclass(frozen=True)
class FreeText:
    """A value alone: in any of the fields of a kind that people read."""

    value: str


@dataclass(frozen=True)
class And:
    """All of ``parts`` (two or more)."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Or:
    """Any of ``parts`` (two or more)."""

    parts: tuple[Expression, ...]


Expression = And | Or | Compare | FreeText


@dataclass(frozen=True)
class SortKey:
    """A field to sort by."""

    path: tuple[str, ...]
    descending: bool


@dataclass(frozen=True)
class Query:
    """A whole search. ``where`` ``None``: everything; ``page`` counts from 1, ``None``: not asked for."""

    where: Expression | None = None
    sort: tuple[SortKey, ...] = ()
    page: int | None = None


EVERYTHING = Query()
NOBODY = Compare(("id",), "=", "")
"""Finds nothing: ids are never empty."""


def resolved(query: Query, path: tuple[str, ...], values: Callable[[], Mapping[str, str]]) -> Query:
    """``query`` with ``=`` and ``!=`` on ``path`` asked of ``values`` (id → value) instead of the store, which does not hold
    what is only seen: the ids that meet the comparison take its place. ``values`` is not called where nothing asks."""

    def walk(part: Expression) -> Expression:
        match part:
            case And(parts):
                return And(tuple(walk(one) for one in parts))
            case Or(parts):
                return Or(tuple(walk(one) for one in parts))
            case Compare(asked, op, value) if tuple(word.lower() for word in asked) == path and op in ("=", "!="):
                met = [one for one, held in values().items() if fnmatchcase(held.lower(), value.lower()) == (op == "=")]
                found = tuple(Compare(("id",), "=", one) for one in met)
                return Or(found) if len(found) > 1 else found[0] if found else NOBODY
        return part

    return query if query.where is None else replace(query, where=walk(query.where))


def parse(text: str) -> Query:
    """The query that ``text`` means. Raises ``Refused`` ``api.search`` with the place where it stopped making sense."""
    if len(text) > LENGTH_LIMIT:
        raise Refused(
            "api.search",
            subject="the search",
            reason=f"it has {len(text)} characters, at most {LENGTH_LIMIT} are read",
            remedy="Shorten it.",
        )
    return _Parser(text).query()


class _Parser:
    """One walk through one text. ``at`` is where the next token begins."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth, self.terms = text, 0, 0, 0

    def query(self) -> Query:
        where = None if self.ends() or self.keyword() in ("sortby", "page") else self.any_of()
        sort: tuple[SortKey, ...] = ()
        page = None
        while not self.ends():
            word = self.keyword()
            if word == "sortby" and not sort:
                self.take()
                sort = self.keys()
            elif word == "page" and page is None:
                self.take()
                page = self.number()
            else:
                raise self.wrong("and, or, sortby or page")
        return Query(where, sort, page)

    def any_of(self) -> Expression:
        parts = [self.all_of()]
        while self.keyword() == "or":
            self.take()
            parts.append(self.all_of())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def all_of(self) -> Expression:
        parts = [self.term()]
        while not self.ends() and self.keyword() not in ("or", "sortby", "page") and self.peek("paren") != ")":
            if self.keyword() == "and":
                self.take()
            parts.append(self.term())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def term(self) -> Expression:
        self.terms += 1
        if self.terms > TERMS_LIMIT:
            raise self.wrong(f"at most {TERMS_LIMIT} comparisons")
        if self.peek("paren") == "(":
            return self.inner()
        if self.keyword():
            raise self.wrong("a field or a value")
        token = self.take()
        if token["quoted"] is not None:
            return FreeText(_plain(token["quoted"]))
        word = token["word"]
        if word is None:
            self.at = token.start()
            raise self.wrong("a field or a value")
        op = self.peek("op")
        if op is None:
            return FreeText(word)
        if not PATH.fullmatch(word):
            self.at = token.start()
            raise self.wrong("a field (letters, digits and _, joined by dots)")
        self.take()
        assert op in get_args(Operator)
        return Compare(tuple(word.split(".")), op, self.value())  # type: ignore[arg-type]  # checked in the line above

    def inner(self) -> Expression:
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise self.wrong(f"at most {DEPTH_LIMIT} parentheses in each other")
        self.take()
        found = self.any_of()
        if self.peek("paren") != ")":
            raise self.wrong(")")
        self.take()
        self.depth -= 1
        return found

    def value(self) -> str:
        found = VALUE.match(self.text, self.at)
        if found is None:
            raise self.wrong("a value")
        self.at = found.end()
        return _plain(found["quoted"]) if found["quoted"] is not None else found["word"]

    def keys(self) -> tuple[SortKey, ...]:
        found = []
        while True:
            word = self.take()["word"] if self.peek("word") else None
            if word is None or not PATH.fullmatch(word):
                raise self.wrong("a field to sort by")
            direction = (self.peek("word") or "").lower()
            if direction in ("asc", "desc"):
                self.take()
            found.append(SortKey(tuple(word.split(".")), direction == "desc"))
            if self.peek("comma") is None:
                return tuple(found)
            self.take()

    def number(self) -> int:
        word = self.peek("word") or ""
        if not re.fullmatch(r"[0-9]{1,7}", word) or not 1 <= int(word) <= PAGE_LIMIT:
            raise self.wrong(f"a page from 1 to {PAGE_LIMIT}")
        self.take()
        return int(word)

    def ends(self) -> bool:
        return not self.text[self.at :].strip()

    def take(self) -> re.Match[str]:
        found = TOKEN.match(self.text, self.at)
        if found is None:
            raise self.wrong("a field, a value or a parenthesis")
        self.at = found.end()
        return found

    def peek(self, kind: str) -> str | None:
        found = TOKEN.match(self.text, self.at)
        return found[kind] if found else None

    def keyword(self) -> str:
        """The keyword that comes next, if it is one and not the field of a comparison (``page=…``)."""
        found = TOKEN.match(self.text, self.at)
        if found is None or (found["word"] or "").lower() not in KEYWORDS:
            return ""
        after = TOKEN.match(self.text, found.end())
        return "" if after is not None and after["op"] else found["word"].lower()

    def wrong(self, expected: str) -> Refused:
        rest = self.text[self.at :].lstrip()
        at = len(self.text) - len(rest)
        found = f"at character {at + 1}, found {rest[:40]!r}" if rest else "but it ends"
        return Refused(
            "api.search",
            subject=f"search {self.text[:200]!r}",
            reason=f"expected {expected} {found}",
            remedy='For example: name=web* and (status=up or Storage.name="fast disks") sortby name desc page 2.',
            facts={"at": at},
        )


def _plain(quoted: str) -> str:
    return ESCAPED.sub(r"\1", quoted)
