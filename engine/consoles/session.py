"""One person at a console: what they ask for, their VM's line while it runs, the same line on another host after a move.

The other side is :mod:`engine.consoles.door`, which sshd starts. First lines of JSON go both ways (the protocol is in that
file); after ``{"attach": …}`` bytes do, until the session ends.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.effects.duplex import Duplex, wait
from appliance.errors import Conflict, Refused, TrivetError
from appliance.ports import Clock
from engine.consoles.line import Hosts
from engine.consoles.people import People
from engine.decide.serial_console import Seen, Wanted, after, listed, wanted
from engine.store.records import AccountRecord

LINE_LIMIT_BYTES = 16 * 1024
"""A key and a command have some kilobytes."""
REQUEST_S = 30.0
"""The door says at once what it wants."""
ANSWER_S = 120.0
"""How long somebody may look at the menu."""
LOOK_AGAIN_S = 5.0
"""How long somebody keeps a console after their permit, their key or their account has gone."""
RETRY_EVERY_S = 1.0
IDLE_S = 0.5
"""How late it may be noticed that it is time to look again."""
ASIDE_LIMIT_BYTES = 256 * 1024
"""What waits for a terminal that takes nothing; then the guest's host keeps it (its log has it anyway)."""
LAST_S = 2.0
Tell = Callable[[str, Mapping[str, str], AccountRecord], None]
"""(name of an event, what it is about, whose)."""


class Left(Exception):
    """The person has gone."""


@dataclass
class Session:
    """From the first line to the end."""

    people: People
    hosts: Hosts
    clock: Clock
    channel: socket.socket
    tell: Tell = field(default=lambda _name, _about, _account: None)

    def run(self) -> None:
        """Serve it. What is refused is told to the other side; nothing is raised but defects."""
        try:
            try:
                self._serve()
            except TrivetError as error:
                self._send({"error": error.as_json()})
        except (Left, TimeoutError, ConnectionError):
            return
        finally:
            self.channel.close()

    def _serve(self) -> None:
        asked = self._receive()
        key = str(asked.get("key") or "")
        account = self.people.whose(key)
        if asked.get("ask") == "key":
            self._send({"known": True})
            return
        if asked.get("ask") != "connect":
            raise Refused("console.usage", subject="the door", reason="it asks for nothing", remedy="Compare the versions.")
        vm = self._chosen(account, wanted(str(asked.get("command") or "")))
        if vm is None:
            self._send({"end": True})
            return
        line = self.hosts.attach(vm.host, vm.id, account.principal)
        self._send({"attach": True, "say": f"Connected to the serial console of {vm.name}. Enter ~ . ends it.\n"})
        self.tell("VM_CONSOLE_CONNECTED", {"vm": vm.id}, account)
        try:
            _Held(self, key, account, vm, line).run()
        finally:
            self.tell("VM_CONSOLE_DISCONNECTED", {"vm": vm.id}, account)

    def _chosen(self, account: AccountRecord, asked: Wanted) -> Seen | None:
        """The VM; None: they only looked."""
        if asked.what == "connect":
            return self.people.find(account, asked)
        vms = self.people.vms(account)
        self._send({"say": listed(vms)})
        if asked.what == "list" or not vms:
            return None
        self._send({"choose": "Which one? "})
        self.channel.settimeout(ANSWER_S)
        chosen = str(self._receive().get("choice") or "").strip()
        if chosen.isdecimal() and int(chosen) < len(vms):
            return self.people.find(account, Wanted("connect", "id", vms[int(chosen)].id))
        if not chosen:
            return None
        named = [one for one in vms if chosen in (one.name, one.id)]
        if not named:
            reason = f"{chosen[:80]!r} is none of them"
            raise Refused("console.choice", subject="your choice", reason=reason, remedy="Say one of the numbers.")
        return self.people.find(account, Wanted("connect", "id", named[0].id))

    # lines of JSON

    def _receive(self) -> Mapping[str, Any]:
        line = b""
        while not line.endswith(b"\n"):
            more = self.channel.recv(1)
            if not more:
                raise Left
            line += more
            if len(line) > LINE_LIMIT_BYTES:
                raise Refused("console.usage", subject="a line", reason="it is too long", remedy="Say less at once.")
        try:
            found = json.loads(line)
        except ValueError as error:
            raise Refused("console.usage", subject="a line", reason="it is not JSON", remedy="Say it as JSON.") from error
        return found if isinstance(found, dict) else {}

    def _send(self, said: object) -> None:
        try:
            self.channel.sendall(json.dumps(said).encode() + b"\n")
        except OSError as error:
            raise Left from error


@dataclass
class _Held:
    """A console that somebody has."""

    session: Session
    key: str
    account: AccountRecord
    vm: Seen
    line: Duplex
    person: Duplex = field(init=False)

    def __post_init__(self) -> None:
        self.person = Duplex(self.session.channel)

    def run(self) -> None:
        """Until the person leaves, may no longer, or the VM has no line any more."""
        clock = self.session.clock
        look_s = clock.monotonic_s() + LOOK_AGAIN_S
        try:
            while True:
                if not self._turn():
                    self._find_again()
                if clock.monotonic_s() >= look_s:
                    look_s = clock.monotonic_s() + LOOK_AGAIN_S
                    error = self.session.people.still(self.key, self.vm.id)
                    if error is not None:
                        raise self._end(f"you may not have it any more: {error.reason}")
        except Left:
            return
        finally:
            self.line.close()

    def _turn(self) -> bool:
        """Pass on what has come. False: the line has ended."""
        person, line = self.person, self.line
        readers = tuple(one for one, other in ((person, line), (line, person)) if other.unsent < ASIDE_LIMIT_BYTES)
        wait(readers, (person, line), IDLE_S)
        typed = person.read() if person in readers else None
        if typed == b"":
            raise Left
        if typed:
            line.write(typed)
        said = line.read() if line in readers else None
        if said:
            person.write(said)
        person.flush()
        line.flush()
        return said != b""

    def _find_again(self) -> None:
        """The same VM's line, wherever it is now. Raises ``Left`` when there is none any more; the person is told."""
        self.line.close()
        clock, people = self.session.clock, self.session.people
        began_s, said = clock.monotonic_s(), ""
        while True:
            vm = people.now(self.vm.id)
            step = after(vm, clock.monotonic_s() - began_s, said)
            if step.what == "end" or vm is None:
                raise self._end(step.reason)
            if step.what == "attach":
                try:
                    self.line = self.session.hosts.attach(vm.host, vm.id, self.account.principal)
                    if vm.host != self.vm.host:
                        self._say(f"it has moved to host {vm.host}")
                    self.vm = vm
                    return
                except Conflict as error:
                    raise self._end(error.reason) from error
                except TrivetError as error:
                    said = error.reason
            self._pause()

    def _pause(self) -> None:
        """Until it may be tried again; what is typed meanwhile is typed at nobody."""
        wait((self.person,), (self.person,), RETRY_EVERY_S)
        if self.person.read() == b"":
            raise Left
        self.session.clock.sleep(RETRY_EVERY_S)

    def _say(self, text: str) -> None:
        self.person.write(f"\r\n[trivet: VM {self.vm.name}: {text}]\r\n".encode())

    def _end(self, reason: str) -> Left:
        """Tell them, as far as they still listen."""
        self._say(reason)
        clock = self.session.clock
        end_s = clock.monotonic_s() + LAST_S
        while self.person.unsent and clock.monotonic_s() < end_s:
            wait((), (self.person,), IDLE_S)
            self.person.flush()
        return Left()
