"""One serial console for the engine: a process for each connection, which systemd hands over (trivet-vmconsole@.service).

Mutual TLS as everywhere; then one line from the engine (:class:`appliance.model.console.ConsoleRequest`), one line back
(``{"result": "attached"}``, or an error as the agent answers it), and bytes both ways until one of them has ended. What a
guest says comes from its log, not from the line: so nothing is lost while nobody listens, and who comes sees its last words.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
from dataclasses import dataclass

from appliance import layout
from appliance.agent.gate import MemberGate
from appliance.agent.server_tls import Identity, server_context
from appliance.codec import decode
from appliance.effects.duplex import Duplex, read_line, wait
from appliance.effects.root import Root
from appliance.errors import Denied, Refused, TrivetError
from appliance.model.console import ConsoleRequest
from appliance.ports import Clock, Hypervisor
from appliance.verbs.epoch import EpochStore, StaleCalls
from appliance.verbs.membership import CA_CERTIFICATE, NODE_CERTIFICATE, NODE_KEY, MemberNames, MembershipFiles
from appliance.verbs.vm_console import Attached, VmConsoles
from appliance.wire.server import Caller
from appliance.wire.tls import subject

REQUEST_LIMIT_BYTES = 4096
"""Ids, a name and a number have some hundred."""
LOOK_EVERY_S = 0.05
"""How late a guest's answer to a key may be seen: below what a person at a terminal notices."""
TYPED_LIMIT_BYTES = 64 * 1024
"""What waits for a guest that takes nothing; then the person's terminal waits."""
LAST_WORDS_S = 1.0
"""virtlogd writes down what a machine said last a moment after it has gone."""


def serve(root: Root, hypervisor: Hypervisor, clock: Clock, plain: socket.socket) -> None:
    """Serve the connection ``plain`` to its end. What is refused is told to the other side."""
    identity = Identity(root.at(NODE_CERTIFICATE), root.at(NODE_KEY), root.at(CA_CERTIFICATE))
    cluster, _ = MembershipFiles(root).require()
    try:
        channel = server_context(identity).wrap_socket(plain, server_side=True)
    except OSError as error:  # somebody knocked who is nobody of ours
        print(f"console: no TLS: {error}", file=sys.stderr)  # noqa: T201 - the journal
        return
    try:
        request = _admitted(root, cluster.id, clock, channel)
        with VmConsoles(root.at(layout.CONSOLES), hypervisor, clock).attached(request.vm, request.holder) as attached:
            _tell(channel, {"result": "attached"})
            _Relay(Duplex(channel), attached, clock).run()
    except TrivetError as error:
        _tell(channel, {"error": error.as_json(), "status": error.status})
    except TimeoutError:
        return  # it said nothing in time
    finally:
        channel.close()


def _admitted(root: Root, cluster_id: str, clock: Clock, channel: ssl.SSLSocket) -> ConsoleRequest:
    """What is asked, by whom it may be. Raises ``Denied``, ``Conflict`` (``engine.stale-epoch``), ``Refused``."""
    asked = _line(channel)  # first: who is told while their line is unread is told nothing, TCP drops both
    found = subject(channel.getpeercert())
    caller = Caller(found.get("commonName", ""), found.get("organizationName", ""), found.get("organizationalUnitName", ""))
    stale = StaleCalls(root.at(layout.STALE_CALL_FILE), clock)
    gate = MemberGate(cluster_id, EpochStore(root.at(layout.EPOCH_FILE)), stale, MemberNames(root))
    gate.admit("node", caller, None)
    if caller.unit != "engine":
        raise Denied(
            "agent.certificate-unit",
            subject=caller.name,
            reason=f"its certificate is for {caller.unit!r}; consoles are given to the engine, which knows who may",
            remedy="Connect through the engine's console port.",
        )
    request = decode(ConsoleRequest, asked, subject="a console's request", code="agent.request")
    gate.admit("command", caller, request.epoch)
    return request


def _line(channel: ssl.SSLSocket) -> object:
    try:
        return json.loads(read_line(channel, REQUEST_LIMIT_BYTES))  # what follows is already typed
    except ValueError as error:
        reason, remedy = f"its first line is not JSON ({error})", "Send a JSON object."
        raise Refused("agent.request", subject="a console's request", reason=reason, remedy=remedy) from error


def _tell(channel: ssl.SSLSocket, said: object) -> None:
    try:
        channel.settimeout(LAST_WORDS_S)
        channel.sendall(json.dumps(said).encode() + b"\n")
    except OSError as error:
        print(f"console: nobody hears {said}: {error}", file=sys.stderr)  # noqa: T201 - the journal


@dataclass
class _Relay:
    """Both ways between a connection and a console."""

    channel: Duplex
    attached: Attached
    clock: Clock

    def run(self) -> None:
        """Until the engine or the machine has ended."""
        while self._listen():
            if not self._turn():
                return
        end_s = self.clock.monotonic_s() + LAST_WORDS_S
        while self.clock.monotonic_s() < end_s and self._turn():
            self.clock.sleep(LOOK_EVERY_S)

    def _listen(self) -> bool:
        """Wait until there is something to do. False: the machine has gone."""
        line = self.attached.line
        readers = (line,) if line.unsent > TYPED_LIMIT_BYTES else (self.channel, line)
        wait(readers, (self.channel, line), LOOK_EVERY_S)
        return line.drain()

    def _turn(self) -> bool:
        """Go on once. False: the engine has ended."""
        line = self.attached.line
        if line.unsent <= TYPED_LIMIT_BYTES:
            data = self.channel.read()
            if data == b"":
                return False
            if data:
                line.write(data)
        line.flush()
        self.channel.flush()
        if not self.channel.unsent:
            self.channel.write(self.attached.log.more())
        return True
