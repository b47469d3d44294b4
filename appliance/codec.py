"""Typed data at the door: frozen dataclasses from and to JSON-like values, with errors that name the attribute.

One codec serves the agent's wire, the answers file (TOML), the status board, settings and journals. What it
understands: ``str int float bool``, ``None`` unions, ``tuple[T, ...]``, ``Mapping[str, T]``, ``Literal``, string ``Enum``,
``Path``, nested dataclasses, and ``object`` (passed through). Unknown keys are refused: a typo must not be silently
ignored. So are NaN and infinity: JSON has no word for them, and every comparison with them decides wrongly.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

from appliance.errors import Refused

T = TypeVar("T")
_Shape = tuple[Any, tuple[Any, ...]]


def decode(kind: type[T], value: object, *, subject: str, code: str = "data.invalid", ignore_unknown: bool = False) -> T:
    """``value`` as a ``kind``.

    ``subject`` names the thing being read (a file, a request) in errors, ``code`` is their code. ``ignore_unknown`` lets
    keys pass that this version does not know: for data written by another, perhaps newer, version of ourselves.
    Raises ``Refused``; the message names the attribute as a path (``nodes[1].address``).
    """
    return typing.cast(T, _Decoder(subject, code, ignore_unknown).value(kind, value, ""))


def encode(value: object) -> Any:
    """``value`` (dataclasses, tuples, enums, paths …) as plain JSON data. ``None`` attributes are kept."""
    kind: Any = type(value)
    if value is None or kind in _SAME:
        return value
    if kind is tuple or kind is list:
        return [encode(item) for item in typing.cast(Sequence[object], value)]
    names = _names(kind)
    if names is not None:
        made: dict[str, Any] = {}
        for name in names:
            one = getattr(value, name)
            made[name] = one if type(one) in _SAME else encode(one)
        return made
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [encode(item) for item in value]
    return value


_PLAIN: typing.Final = (str, int, bool)
"""Types whose values are the same in JSON. Looked at first, because most attributes are of these, and a status board is read
and written each second."""
_SAME: typing.Final = (*_PLAIN, float)
"""Types whose values are encoded as they are."""


@cache
def _names(kind: type) -> tuple[str, ...] | None:
    """The attributes of a dataclass; None: it is none."""
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


@cache
def _attributes(kind: type) -> dict[str, tuple[Any, bool, _Shape | None]]:
    """Of a dataclass: each attribute's type, whether it has to be given, and the type's shape unless it is a plain one."""
    hints, missing = typing.get_type_hints(kind), dataclasses.MISSING
    return {
        one.name: (
            hints[one.name],
            one.default is missing and one.default_factory is missing,
            None if hints[one.name] in _PLAIN else _shape(hints[one.name]),
        )
        for one in dataclasses.fields(kind)
        if one.init
    }


@cache
def _shape(kind: Any) -> _Shape:
    """Origin and arguments of a type."""
    return get_origin(kind), get_args(kind)


class _Decoder:
    def __init__(self, subject: str, code: str, ignore_unknown: bool) -> None:
        self.subject = subject
        self.code = code
        self.ignore_unknown = ignore_unknown

    def refuse(self, path: str, reason: str) -> Refused:
        where = f"attribute '{path}'" if path else "the whole of it"
        return Refused(
            self.code,
            subject=self.subject,
            reason=f"{where} {reason}",
            remedy="Correct it and try again.",
            facts={"attribute": path},
        )

    def value(self, kind: Any, value: object, path: str, shape: _Shape | None = None) -> object:
        if shape is None and kind in _PLAIN and type(value) is kind:
            return value
        origin, arguments = shape or _shape(kind)
        if kind is Any or kind is object:
            return value
        if kind is float and type(value) is float:
            return self._number(value, path)
        if origin in (Union, types.UnionType):
            return self._union(kind, value, path)
        if origin is typing.Literal:
            for one in arguments:
                if value == one and type(value) is type(one):
                    return value
            raise self.refuse(path, f"must be one of {', '.join(map(repr, arguments))}, not {value!r}")
        if origin is tuple:
            return self._tuple(arguments, value, path)
        if origin in (dict, Mapping) or kind in (dict, Mapping):
            return self._mapping(kind, value, path)
        if dataclasses.is_dataclass(kind):
            return self._dataclass(typing.cast(type, kind), value, path)
        return self._scalar(kind, value, path)

    def _scalar(self, kind: Any, value: object, path: str) -> object:
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            try:
                return kind(value)
            except ValueError:
                allowed = ", ".join(repr(member.value) for member in kind)
                raise self.refuse(path, f"must be one of {allowed}, not {value!r}") from None
        if kind is Path and isinstance(value, str):
            return Path(value)
        if kind is float and type(value) in (int, float):
            return self._number(value, path)
        if kind is type(None) and value is None:
            return None
        if kind in (str, int, bool) and type(value) is kind:
            return value
        raise self.refuse(path, f"must be {_named(kind)}, not {_named(type(value))}")

    def _number(self, value: Any, path: str) -> float:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.refuse(path, "must be a finite number")
        return number

    def _union(self, kind: Any, value: object, path: str) -> object:
        options = get_args(kind)
        if value is None and type(None) in options:
            return None
        concrete = [option for option in options if option is not type(None)]
        if len(concrete) == 1:
            return self.value(concrete[0], value, path)
        for option in concrete:
            try:
                return self.value(option, value, path)
            except Refused:
                continue
        raise self.refuse(path, f"must be one of {', '.join(map(_named, concrete))}")

    def _tuple(self, kinds: tuple[Any, ...], value: object, path: str) -> tuple[object, ...]:
        if type(value) is not list and (not isinstance(value, Sequence) or isinstance(value, str | bytes)):
            raise self.refuse(path, f"must be a list, not {_named(type(value))}")
        items = typing.cast(Sequence[object], value)
        if len(kinds) == 2 and kinds[1] is Ellipsis:
            return tuple([self.value(kinds[0], item, f"{path}[{index}]") for index, item in enumerate(items)])
        if len(kinds) != len(items):
            raise self.refuse(path, f"must have {len(kinds)} elements, not {len(items)}")
        return tuple(self.value(one, item, f"{path}[{i}]") for i, (one, item) in enumerate(zip(kinds, items, strict=True)))

    def _mapping(self, kind: Any, value: object, path: str) -> dict[str, object]:
        if not isinstance(value, Mapping):
            raise self.refuse(path, f"must be a table, not {_named(type(value))}")
        inner = (get_args(kind) or (str, object))[1]
        return {str(key): self.value(inner, item, f"{path}.{key}" if path else str(key)) for key, item in value.items()}

    def _dataclass(self, kind: type, value: object, path: str) -> object:
        if type(value) is not dict and not isinstance(value, Mapping):
            raise self.refuse(path, f"must be a table, not {_named(type(value))}")
        attributes = _attributes(kind)
        unknown = [] if self.ignore_unknown else [str(key) for key in value if key not in attributes]
        if unknown:
            dotted = f"{path}.{unknown[0]}" if path else unknown[0]
            raise self.refuse(dotted, f"is unknown; known here: {', '.join(sorted(attributes))}")
        read: dict[str, object] = {}
        for name, (hint, needed, shape) in attributes.items():
            if name in value:
                given = value[name]
                plain = shape is None and type(given) is hint
                read[name] = given if plain else self.value(hint, given, f"{path}.{name}" if path else name, shape)
            elif needed:
                raise self.refuse(f"{path}.{name}" if path else name, "is missing")
        try:
            return kind(**read)
        except ValueError as error:  # a rule that the dataclass itself checks (__post_init__)
            raise self.refuse(path, f"does not hold together: {error}") from error


def _named(kind: Any) -> str:
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "a table", list: "a list"}
    if kind is type(None):
        return "nothing"
    return words.get(kind, getattr(kind, "__name__", str(kind)))
