"""Nouns that are not in the store: what nodes told, and lists that are built in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from engine.api.documents import Object
from engine.api.model import model
from engine.api.noun import Call, Noun
from engine.api.parameters import Listing
from engine.decide.rows import select


class Rows(Noun):
    """A collection that is a short list in memory. A subclass gives :meth:`rows`."""

    extra_fields: ClassVar[tuple[str, ...]] = ()
    """What may be searched besides the struct's attributes; :meth:`searched` has it."""

    def rows(self, call: Call) -> Sequence[Object]:
        """All objects at the call's place."""
        raise NotImplementedError(f"{type(self).__name__} has no rows")

    def searched(self, call: Call, row: Object) -> Mapping[str, Any]:
        """What a search sees of a row."""
        return row

    def list(self, call: Call, listing: Listing) -> Sequence[Object]:
        """Those rows that are wanted."""
        rows = self.rows(call)
        seen = [{**self.searched(call, row), "\0": row} for row in rows]
        known = (*(attribute.name for attribute in model().struct(self.kind).attributes), *self.extra_fields)
        found = select(
            seen, listing.query, listing.limit, case_sensitive=listing.case_sensitive, noun=self.kind, known=known
        )
        return [row["\0"] for row in found]

    def get(self, call: Call, identifier: str) -> Object | None:
        """The row with that id."""
        return next((row for row in self.rows(call) if row["id"] == identifier), None)


class BuiltIn(Rows):
    """Rows that never change: data of oVirt's API."""

    table: ClassVar[Sequence[Object]] = ()

    def rows(self, call: Call) -> Sequence[Object]:
        return self.table
