"""The interface: what it refuses at start, and that every route is served and called the same way on both ends."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import pytest

from appliance.agent.context import AgentContext
from appliance.agent.routes import agent_app
from appliance.effects.clock import FakeClock
from appliance.effects.root import Root
from appliance.errors import Conflict, Failed, TrivetError, Unavailable
from appliance.fakes.libvirt import FakeLibvirt
from appliance.fakes.process import ScriptedProcesses
from appliance.fakes.wire import FakeWire
from appliance.wire.definition import AGENT_INTERFACES, NodeApi, VmApi, route
from appliance.wire.server import Caller, Service, create_app
from appliance.wire.signatures import methods


class Small(typing.Protocol):
    @route("GET", "/v1/things/{number}", "node")
    def thing(self, number: int) -> str: ...

    @route("POST", "/v1/things", "node")
    def make(self, name: str, sizes: tuple[int, ...]) -> int: ...


class Implemented:
    def thing(self, number: int) -> str:
        return f"thing {number}"

    def make(self, name: str, sizes: tuple[int, ...]) -> int:
        if name == "conflict":
            raise Conflict("thing.taken", subject=name, reason="it is taken", remedy="use another", facts={"n": 1})
        if name == "defect":
            raise ZeroDivisionError("hidden")
        return sum(sizes)


class Open:
    def admit(self, access: str, caller: Caller, epoch: int | None) -> None:
        self.seen = (access, caller, epoch)


def refused(interface: type, implementation: object) -> str:
    with pytest.raises(Failed) as caught:
        create_app([Service(interface, implementation)], Open())
    assert caught.value.code == "agent.interface"
    return caught.value.reason


def test_an_implementation_that_differs_is_refused_at_start() -> None:
    class OtherType(Implemented):
        def thing(self, number: str) -> str:  # type: ignore[override]
            return number

    class OtherName(Implemented):
        def make(self, title: str, sizes: tuple[int, ...]) -> int:
            return 0

    class OtherAnswer(Implemented):
        def thing(self, number: int) -> int:  # type: ignore[override]
            return number

    class Missing:
        def thing(self, number: int) -> str:
            return ""

    assert "number" in refused(Small, OtherType())
    assert "title" in refused(Small, OtherName())
    assert "return" in refused(Small, OtherAnswer())
    assert "missing" in refused(Small, Missing())


def test_an_interface_that_contradicts_itself_is_refused() -> None:
    class Unmarked:
        def thing(self) -> str:
            return ""

    class Stray:
        @route("GET", "/v1/{nobody}", "node")
        def thing(self) -> str:
            return ""

    class GetWithBody:
        @route("GET", "/v1/x", "node")
        def thing(self, name: str) -> str:
            return ""

    class Untyped:
        @route("POST", "/v1/x", "node")
        def thing(self, name) -> str:  # type: ignore[no-untyped-def]
            return ""

    for interface, word in ((Unmarked, "marked"), (Stray, "nobody"), (GetWithBody, "GET"), (Untyped, "type")):
        with pytest.raises(Failed) as caught:
            methods(interface)
        assert word in caught.value.reason


@pytest.fixture
def client() -> Any:
    return create_app([Service(Small, Implemented())], Open()).test_client()


def test_requests_are_decoded_by_their_types(client: Any) -> None:
    assert client.get("/v1/things/7").get_json() == {"result": "thing 7"}
    assert client.post("/v1/things", json={"name": "a", "sizes": [1, 2]}).get_json() == {"result": 3}
    for path, body, status in (
        ("/v1/things", {"name": "a"}, 400),
        ("/v1/things", {"name": "a", "sizes": [1, "2"]}, 400),
        ("/v1/things", {"name": "a", "sizes": [1], "more": 1}, 400),
        ("/v1/things", [1], 400),
    ):
        answer = client.post(path, json=body)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, "agent.request")
    assert client.get("/v1/things/seven").status_code == 400


def test_errors_keep_their_family(client: Any) -> None:
    answer = client.post("/v1/things", json={"name": "conflict", "sizes": []})
    assert answer.status_code == 409
    assert answer.get_json()["error"] == {
        "code": "thing.taken",
        "object": "conflict",
        "reason": "it is taken",
        "remedy": "use another",
        "facts": {"n": 1},
    }


def test_a_defect_is_coded_and_logged(client: Any, capsys: pytest.CaptureFixture[str]) -> None:
    answer = client.post("/v1/things", json={"name": "defect", "sizes": []})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (500, "agent.defect")
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_the_epoch_header_is_read_strictly() -> None:
    gate = Open()
    client = create_app([Service(Small, Implemented())], gate).test_client()
    client.get("/v1/things/7", headers={"Trivet-Epoch": "12"})
    assert gate.seen[2] == 12
    for wrong in ("-1", "1.5", "", "٧", "9" * 40):
        answer = client.get("/v1/things/7", headers={"Trivet-Epoch": wrong.encode().decode("latin-1")})
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "engine.epoch-invalid")


def test_every_route_is_unique_and_served(tmp_path: Path) -> None:
    routes = [(one.route.verb, one.route.path) for interface in AGENT_INTERFACES for one in methods(interface)]
    assert len(set(routes)) == len(routes) > 25
    context = AgentContext(Root(tmp_path), ScriptedProcesses(), FakeClock(), FakeLibvirt(), None, None)
    app = agent_app(context, joined=lambda: None)
    served = {
        (verb, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        for verb in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert set(routes) <= served


def test_the_fake_wire_goes_through_the_codec() -> None:
    wire = FakeWire("node2")
    small: Small = wire.client(Small, Implemented())
    assert small.thing(7) == "thing 7"
    assert small.make("a", sizes=(1, 2)) == 3
    assert wire.calls == [("thing", {"number": 7}), ("make", {"name": "a", "sizes": [1, 2]})]
    with pytest.raises(TrivetError):
        small.make("a", sizes=("x",))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        small.make("a")  # type: ignore[call-arg]
    wire.fail["thing"] = Conflict("x.y", subject="s", reason="r", remedy="m")
    with pytest.raises(Conflict):
        small.thing(1)
    wire.cut = True
    with pytest.raises(Unavailable) as caught:
        small.make("a", (1,))
    assert (caught.value.code, caught.value.subject) == ("agent.unreachable", "node2")


def test_the_fake_wire_refuses_an_implementation_that_differs() -> None:
    with pytest.raises(Failed):
        FakeWire().client(NodeApi, Implemented())
    with pytest.raises(Failed):
        FakeWire().client(VmApi, object())
