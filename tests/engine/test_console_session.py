"""A person at the engine's console socket: real sockets, and hosts that the test plays."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.effects.clock import SystemClock
from appliance.effects.duplex import Duplex
from appliance.errors import Conflict, NotFound, TrivetError, Unavailable
from engine.consoles import session as sessions
from engine.consoles.people import People
from engine.consoles.session import Session
from engine.core import Engine
from engine.decide.roles import USER_VM_MANAGER
from engine.decide.serial_console import Seen
from engine.store.entity import Entity
from engine.store.permissions import ADMIN_ID, Permits
from tests.engine import world
from tests.engine.test_ssh_keys import key
from tests.engine.test_vms import user
from tests.engine.vm_world import NEW_DISK, Vms, fake_hosts

PATIENCE_S = 60.0


@dataclass
class PlayedHosts:
    """Hosts whose end of each line the test has."""

    lines: list[tuple[str, str, str, socket.socket]] = field(default_factory=list)
    errors: list[TrivetError] = field(default_factory=list)

    def attach(self, host: str, vm_id: str, holder: str) -> Duplex:
        if self.errors:
            raise self.errors.pop(0)
        ours, theirs = socket.socketpair()
        self.lines.append((host, vm_id, holder, theirs))
        return Duplex(ours)

    def line(self, number: int = 0) -> socket.socket:
        until(lambda: len(self.lines) > number)
        return self.lines[number][3]


@dataclass
class Desk:
    """The engine's side, and people who come to it."""

    vms: Vms
    hosts: PlayedHosts
    told: list[str] = field(default_factory=list)

    def person(self, **asked: Any) -> socket.socket:
        mine, theirs = socket.socketpair()
        mine.settimeout(PATIENCE_S)
        theirs.settimeout(PATIENCE_S)
        people = People(self.vms.engine.store, world.CLUSTER)
        made = Session(people, self.hosts, SystemClock(), theirs, lambda name, _about, _account: self.told.append(name))
        threading.Thread(target=made.run, daemon=True).start()
        mine.sendall(json.dumps({"key": key(1), **asked}).encode() + b"\n")
        return mine

    def asks(self, **asked: Any) -> dict[str, Any]:
        with self.person(**asked) as person:
            return said(person)

    def connects(self, vm: str) -> socket.socket:
        person = self.person(ask="connect", command=f"connect --vm-id {vm}")
        assert said(person)["attach"] is True
        return person


def said(person: socket.socket) -> dict[str, Any]:
    line = b""
    while not line.endswith(b"\n"):
        more = person.recv(1)
        assert more, line
        line += more
    found: dict[str, Any] = json.loads(line)
    return found


def heard(person: socket.socket, words: bytes) -> bytes:
    found = b""
    while words not in found:
        more = person.recv(4096)
        assert more, f"it ended after {found!r}"
        found += more
    return found


def until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.01)


@pytest.fixture
def desk(engine: Engine, client: FlaskClient, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(sessions, "LOOK_AGAIN_S", 0.1)
    monkeypatch.setattr(sessions, "RETRY_EVERY_S", 0.05)
    monkeypatch.setattr(sessions, "IDLE_S", 0.05)
    vms = Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))
    assert vms.ask("POST", f"users/{ADMIN_ID}/sshpublickeys", {"content": key(1)})[0] == 201
    yield Desk(vms, PlayedHosts())


def change(desk: Desk, vm: str, status: str, host: str = "") -> None:
    """What the follower writes."""

    def how(one: Entity) -> Entity:
        return replace(one.with_refs(host=host or ()), status=status)

    desk.vms.engine.store.entities.change("vm", vm, how)


def host_id(name: str) -> str:
    return next(one.id for one in world.MEMBERS if one.name == name)


# who


def test_a_key_is_known_or_not(desk: Desk) -> None:
    assert desk.asks(ask="key") == {"known": True}
    assert desk.asks(ask="key", key=key(1, comment="other")) == {"known": True}
    assert desk.asks(ask="key", key=key(2))["error"]["code"] == "ssh-key.unknown"
    assert desk.asks(ask="key", key="nonsense")["error"]["code"] == "ssh-key.content"
    assert desk.asks(ask="else")["error"]["code"] == "console.usage"


def test_who_is_disabled_has_no_key(desk: Desk) -> None:
    user(desk.vms, "ann")
    assert desk.vms.ask("POST", "users/user-ann/sshpublickeys", {"content": key(2)})[0] == 201
    assert desk.asks(ask="key", key=key(2)) == {"known": True}
    store = desk.vms.engine.store
    account = store.account("ann", "internal")
    assert account is not None
    store.put_account(replace(account, enabled=False))
    assert desk.asks(ask="key", key=key(2))["error"]["code"] == "login.disabled"
    assert desk.asks(ask="connect", command="list", key=key(2))["error"]["code"] == "login.disabled"


# which VM


def test_what_is_refused(desk: Desk) -> None:
    vm = desk.vms.made(disk_attachments=[NEW_DISK], console={"enabled": True})["id"]

    def code(command: str, **more: Any) -> tuple[str, str]:
        error = desk.asks(ask="connect", command=command, **more)["error"]
        return error["code"], error["reason"]

    assert code(f"connect --vm-id {vm}") == ("console.not-now", "it is down")
    assert code("connect --vm-name nobody")[0] == "vm.unknown"
    assert code("rm -rf /")[0] == "console.usage"
    assert code(f"connect --vm-id {world.CLUSTER.engine.id}") == ("console.not-now", "it is the engine's own VM")
    plain = desk.vms.started(name="plain")
    assert code("connect --vm-name plain") == ("console.not-now", "it has no serial console")
    user(desk.vms, "ann")
    assert desk.vms.ask("POST", "users/user-ann/sshpublickeys", {"content": key(2)})[0] == 201
    assert code("connect --vm-name plain", key=key(2))[0] == "vm.unknown", "whoever does not see it is told nothing"
    user_role = "00000000-0000-0000-0001-000000000001"  # UserRole: may open its screen, not its serial console
    Permits(desk.vms.engine.store.entities).give(user_role, ("user", "user-ann"), ("vm", plain))
    assert code("connect --vm-name plain", key=key(2))[0] == "permit.missing"
    assert desk.hosts.lines == [] and desk.told == []


def test_a_host_that_refuses_is_quoted(desk: Desk) -> None:
    vm = desk.vms.started(console={"enabled": True})
    for error in (
        Unavailable("agent.unreachable", subject="node1", reason="it is silent", remedy="Look."),
        Conflict("vm.console-busy", subject="VM", reason="bob@internal has its serial console since", remedy="Ask."),
    ):
        desk.hosts.errors = [error]
        found = desk.asks(ask="connect", command=f"connect --vm-id {vm}")["error"]
        assert (found["code"], found["reason"]) == (error.code, error.reason)


def test_the_menu(desk: Desk) -> None:
    assert "No VM" in desk.asks(ask="connect", command="")["say"]
    vm, other = desk.vms.started(console={"enabled": True}), desk.vms.started(name="plain")
    with desk.person(ask="connect", command="list") as person:
        text = said(person)["say"]
        assert vm in text and other not in text
        assert said(person) == {"end": True}
    for choice, then in (("0", "attach"), ("web1", "attach"), (vm, "attach"), ("7", "error"), ("", "end")):
        with desk.person(ask="connect", command="") as person:
            assert (said(person)["say"], said(person)["choose"]) == (f" 0  web1  {vm}\n", "Which one? ")
            person.sendall(json.dumps({"choice": choice}).encode() + b"\n")
            assert then in said(person)


# at the console


def test_both_ways_until_somebody_leaves(desk: Desk) -> None:
    vm = desk.vms.started(console={"enabled": True})
    with desk.connects(vm) as person:
        line = desk.hosts.line()
        assert desk.hosts.lines[0][:3] == (desk.vms.host_of(vm), vm, "admin@internal")
        person.sendall(b"ls\r\x03\x00")
        heard(line, b"ls\r\x03\x00")
        line.sendall(b"x" * 300_000 + b"end")
        assert heard(person, b"end") == b"x" * 300_000 + b"end"
    assert line.recv(1) == b"", "the host is told"
    until(lambda: desk.told == ["VM_CONSOLE_CONNECTED", "VM_CONSOLE_DISCONNECTED"])


def test_it_ends_with_the_vm(desk: Desk) -> None:
    vm = desk.vms.started(console={"enabled": True})
    with desk.connects(vm) as person:
        change(desk, vm, "down")
        desk.hosts.line().close()
        heard(person, b"[trivet: VM web1: it is down]")
        assert person.recv(1) == b""


def test_it_goes_on_where_the_vm_has_moved_to(desk: Desk) -> None:
    vm = desk.vms.started(console={"enabled": True})
    with desk.connects(vm) as person:
        change(desk, vm, "migrating", host_id("node1"))
        desk.hosts.errors = [NotFound("vm.unknown", subject="VM", reason="not here any more", remedy="Look.")] * 2
        desk.hosts.line().close()
        time.sleep(0.3)
        change(desk, vm, "up", host_id("node3"))
        line = desk.hosts.line(1)
        assert desk.hosts.lines[1][0] in ("node1", "node3")
        line.sendall(b"still here")
        heard(person, b"still here")


def test_a_host_that_stays_silent_is_waited_for_and_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.decide.serial_console.MOVE_S", 0.3)
    vm = desk.vms.started(console={"enabled": True})
    silent = Unavailable("agent.unreachable", subject="node1", reason="its host is silent", remedy="Look.")
    with desk.connects(vm) as person:
        desk.hosts.errors = [silent] * 1000
        desk.hosts.line().close()
        heard(person, b"VM web1: its host is silent]")
        assert person.recv(1) == b""


def test_somebody_else_was_faster(desk: Desk) -> None:
    vm = desk.vms.started(console={"enabled": True})
    with desk.connects(vm) as person:
        desk.hosts.errors = [Conflict("vm.console-busy", subject="VM", reason="bob has it", remedy="Ask.")]
        desk.hosts.line().close()
        heard(person, b"VM web1: bob has it]")


@pytest.mark.parametrize("gone", ["permit", "key", "account"])
def test_who_may_no_longer_is_shown_out(desk: Desk, gone: str) -> None:
    vms, store = desk.vms, desk.vms.engine.store
    vm = vms.started(console={"enabled": True})
    user(vms, "ann")
    mine = vms.ask("POST", "users/user-ann/sshpublickeys", {"content": key(2)})[1]["id"]
    permission = Permits(store.entities).give(USER_VM_MANAGER, ("user", "user-ann"), ("vm", vm))
    person = desk.person(ask="connect", command=f"connect --vm-id {vm}", key=key(2))
    with person:
        assert said(person)["attach"] is True
        if gone == "permit":
            store.entities.remove("permission", permission.id)
        elif gone == "key":
            assert vms.ask("DELETE", f"users/user-ann/sshpublickeys/{mine}")[0] == 200
        else:
            account = store.account("ann", "internal")
            assert account is not None
            store.put_account(replace(account, enabled=False))
        heard(person, b"you may not have it any more")
        assert desk.hosts.line().recv(1) == b""


def test_who_waits_for_a_move_may_leave(desk: Desk) -> None:
    vm = desk.vms.started(console={"enabled": True})
    with desk.connects(vm):
        change(desk, vm, "unknown")
        desk.hosts.line().close()
    until(lambda: "VM_CONSOLE_DISCONNECTED" in desk.told)
    assert isinstance(People(desk.vms.engine.store, world.CLUSTER).now(vm), Seen)
