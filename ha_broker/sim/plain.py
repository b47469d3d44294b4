"""Frozen data made and copied by plain assignments: the same values, without asking at each of twenty attributes whether the
object is frozen. That question is a quarter of a simulated turn.

What is lost is only the refusal to change such an object; one seed of sixty-four and every scenario run with it.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeVar

T = TypeVar("T")
Patch = tuple[Any, str, object]
"""Owner, name, value."""
_KEPT: Final = object()
"""Of an attribute that a copy does not change."""
_copiers: dict[type, Callable[..., Any]] = {}


def patches(prefix: str) -> list[Patch]:
    """What makes the frozen classes of the loaded modules whose name begins like this plain, and ``replace`` quick there."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(prefix)]
    found: list[Patch] = [
        (module, "replace", copied) for module in modules if getattr(module, "replace", None) is dataclasses.replace
    ]
    for kind in {one for module in modules for one in vars(module).values() if isinstance(one, type)}:
        if kind.__module__.startswith(prefix) and _is_frozen_data(kind):
            found += [
                (kind, "__init__", _initializer(kind)),
                (kind, "__setattr__", object.__setattr__),
                (kind, "__delattr__", object.__delattr__),
            ]
    return found


def copied(old: T, /, **changes: Any) -> T:
    """``dataclasses.replace``."""
    kind = type(old)
    copier = _copiers.get(kind)
    if copier is None:
        assert _is_frozen_data(kind), f"{kind.__name__} is no simple frozen dataclass"
        copier = _copiers[kind] = _copier(kind)
    new: T = copier(old, **changes)
    return new


def _is_frozen_data(kind: type) -> bool:
    """A dataclass of its own (not one that only inherits from one) whose making does nothing but assign."""
    parameters = kind.__dict__.get("__dataclass_params__")
    simple = not hasattr(kind, "__post_init__") and "__slots__" not in kind.__dict__
    return parameters is not None and parameters.frozen and simple and all(one.init for one in dataclasses.fields(kind))


@cache
def _initializer(kind: type) -> Callable[..., None]:
    """The constructor of the same class, had it not been frozen."""
    fields = [
        (
            one.name,
            Any,
            dataclasses.field(default=one.default, default_factory=one.default_factory, kw_only=one.kw_only),
        )
        for one in dataclasses.fields(kind)
    ]
    like = dataclasses.make_dataclass(kind.__name__, fields)
    made: Callable[..., None] = like.__dict__["__init__"]
    return made


def _copier(kind: type) -> Callable[..., Any]:
    """A function that copies an object of that class, with changes."""
    names = [one.name for one in dataclasses.fields(kind)]
    taken = ", ".join(f"{name}=_KEPT" for name in names)
    lines = [f"    new.{name} = old.{name} if {name} is _KEPT else {name}" for name in names]
    text = "\n".join([f"def copy(old, *, {taken}):", "    new = _new(_kind)", *lines, "    return new"])
    scope: dict[str, Any] = {"_KEPT": _KEPT, "_new": object.__new__, "_kind": kind}
    exec(text, scope)  # noqa: S102 - made of the names of attributes only, as dataclasses does it
    copy: Callable[..., Any] = scope["copy"]
    return copy
