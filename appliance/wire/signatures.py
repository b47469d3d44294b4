"""Interface classes read into data: what server and client both need to know of each route."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from appliance.errors import Failed
from appliance.wire.definition import Route

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Method:
    """One route with its method's name and types. ``in_path`` are the arguments that the path carries."""

    name: str
    route: Route
    arguments: Mapping[str, Any]
    answer: Any
    in_path: tuple[str, ...]


def methods(interface: type) -> tuple[Method, ...]:
    """The routes of an interface, in the order of the class.

    Raises ``Failed`` (``agent.interface``) when a method cannot be a route: not marked, a placeholder that is no argument, a
    GET with a body, an argument without a type.
    """
    return _methods(interface)


@cache
def _methods(interface: type) -> tuple[Method, ...]:
    return tuple(_method(interface, name, value) for name, value in vars(interface).items() if _is_route(name, value))


def _is_route(name: str, value: object) -> bool:
    return not name.startswith("_") and inspect.isfunction(value)


def _method(interface: type, name: str, function: Any) -> Method:
    where = f"{interface.__name__}.{name}"
    mark = function.__dict__.get("route")
    if not isinstance(mark, Route):
        raise defect(where, "it is not marked with @route")
    hints = typing.get_type_hints(function)
    names = list(inspect.signature(function).parameters)[1:]
    in_path = tuple(_PLACEHOLDER.findall(mark.path))
    if missing := [one for one in (*names, "return") if one not in hints]:
        raise defect(where, f"no type is given for {', '.join(missing)}")
    if stray := set(in_path) - set(names):
        raise defect(where, f"its path names {', '.join(sorted(stray))}, which is no argument")
    if mark.verb == "GET" and set(names) - set(in_path):
        raise defect(where, "a GET cannot carry arguments outside its path; make it a POST")
    return Method(name, mark, {one: hints[one] for one in names}, hints["return"], in_path)


def check_implementation(interface: type, implementation: object) -> None:
    """Refuse (``Failed`` ``agent.interface``) an implementation whose methods differ in names or types."""
    for method in methods(interface):
        where = f"{type(implementation).__name__}.{method.name}"
        function = getattr(implementation, method.name, None)
        if function is None:
            raise defect(where, f"it is missing, {interface.__name__} has it")
        hints = typing.get_type_hints(function)
        names = tuple(inspect.signature(function).parameters)
        if names != tuple(method.arguments):
            wanted = ", ".join(method.arguments)
            raise defect(where, f"its arguments are ({', '.join(names)}), the interface says ({wanted})")
        for name, kind in (*method.arguments.items(), ("return", method.answer)):
            if hints.get(name) != kind:
                raise defect(where, f"the type of {name} is {hints.get(name)}, the interface says {kind}")


def defect(where: str, reason: str) -> Failed:
    """The error for an interface that contradicts itself or its implementation: a mistake in the program."""
    return Failed("agent.interface", subject=where, reason=reason, remedy="This is a defect of Trivet; report it.")
