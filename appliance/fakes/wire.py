"""A client bound directly to an implementation, through the same codec as the wire: what others test their callers with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from appliance.codec import decode, encode
from appliance.errors import TrivetError, Unavailable
from appliance.wire.client import client_of
from appliance.wire.signatures import Method, check_implementation

I = TypeVar("I")  # noqa: E741 - an interface


class FakeWire:
    """The way to one fake node. ``cut`` makes every call fail as an unreachable node's does; ``fail`` scripts errors.

    ``calls`` lists what arrived: (method name, arguments as JSON data).
    """

    def __init__(self, node: str = "node1") -> None:
        self.node = node
        self.cut = False
        self.fail: dict[str, TrivetError] = {}
        """Method name → error that its calls raise."""
        self.calls: list[tuple[str, Mapping[str, Any]]] = []

    def client(self, interface: type[I], implementation: object) -> I:
        """A client of ``interface`` whose calls reach ``implementation``, which must match the interface exactly."""
        check_implementation(interface, implementation)
        return client_of(interface, self._transport(implementation))

    def _transport(self, implementation: object) -> Callable[[Method, str, Mapping[str, Any]], object]:
        def transport(method: Method, path: str, body: Mapping[str, Any]) -> object:
            if self.cut:
                raise Unavailable(
                    "agent.unreachable",
                    subject=self.node,
                    reason=f"its agent did not answer within {method.route.timeout_s:g} s ({path})",
                    remedy="Check that the node is on and that the network reaches it.",
                )
            if method.name in self.fail:
                raise self.fail[method.name]
            data = json.loads(json.dumps({**_of_path(method, path), **body}))
            self.calls.append((method.name, data))
            arguments = {
                name: decode(kind, data[name], subject=f"{path}: {name}", code="agent.request")
                for name, kind in method.arguments.items()
            }
            return json.loads(json.dumps(encode(getattr(implementation, method.name)(**arguments))))

        return transport


def _of_path(method: Method, path: str) -> dict[str, Any]:
    """The arguments that the filled path carries."""
    from urllib.parse import unquote

    found: dict[str, Any] = {}
    for pattern, text in zip(method.route.path.split("/"), path.split("/"), strict=True):
        if pattern.startswith("{"):
            name = pattern[1:-1]
            found[name] = int(unquote(text)) if method.arguments[name] is int else unquote(text)
    return found
