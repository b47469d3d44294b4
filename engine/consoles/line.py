"""The way to a VM's console on its host: mutual TLS with the engine's certificate and epoch, a line each way, then bytes."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from appliance import layout
from appliance.codec import encode
from appliance.effects.duplex import Duplex, read_line
from appliance.errors import Unavailable, from_json
from appliance.model.cluster import Cluster, Member
from appliance.model.console import ConsoleRequest
from appliance.wire.tls import MutualTls, wrong_certificate
from engine.layout import Guest

CONNECT_S = 10.0
"""systemd takes the connection, also where the program is slow to start."""
ANSWER_S = 60.0
"""Python, libvirt and the log are loaded for each console: seconds on an emulated host, many under load."""
ANSWER_LIMIT_BYTES = 64 * 1024


class Hosts(Protocol):
    """Where consoles are."""

    def attach(self, host: str, vm_id: str, holder: str) -> Duplex:
        """The console of a VM. Raises what the host refuses (``vm.console-busy``, ``vm.unknown`` …), ``Unavailable``
        (``agent.unreachable``)."""


def wire_consoles(guest: Guest, cluster: Cluster, epoch: int, port: int = layout.CONSOLE_PORT) -> Hosts:
    """Hosts reached from the engine VM."""
    tls = MutualTls(guest.ca, guest.certificate, guest.key, cluster.id)
    members = {one.name: one for one in cluster.members}
    return _WireConsoles(lambda host: members[host], tls, epoch, port)


class _WireConsoles:
    def __init__(self, member_of: Callable[[str], Member], tls: MutualTls, epoch: int, port: int) -> None:
        self._member_of = member_of
        self._tls = tls
        self._epoch = epoch
        self._port = port

    def attach(self, host: str, vm_id: str, holder: str) -> Duplex:
        member = self._member_of(host)
        try:
            plain = socket.create_connection((member.address, self._port), timeout=CONNECT_S)
        except OSError as error:
            raise self._unreachable(member, str(error)) from error
        try:
            plain.settimeout(ANSWER_S)  # the handshake is the program's first act
            channel = self._tls.context().wrap_socket(plain, server_hostname=member.address)
            self._tls.admit(host, channel)
            channel.sendall(json.dumps(encode(ConsoleRequest(vm_id, holder, self._epoch))).encode() + b"\n")
            self._need_attached(member, channel)
        except ssl.SSLCertVerificationError as error:
            plain.close()
            raise wrong_certificate(host, member.address, error) from error
        except OSError as error:
            plain.close()
            raise self._unreachable(member, str(error) or type(error).__name__) from error
        except BaseException:
            plain.close()
            raise
        return Duplex(channel)

    def _need_attached(self, member: Member, channel: ssl.SSLSocket) -> None:
        try:
            answer = json.loads(read_line(channel, ANSWER_LIMIT_BYTES))  # what follows is the guest's
        except ValueError as error:
            raise self._unreachable(member, "it ended the connection without a word") from error
        if answer.get("result") != "attached":
            raise from_json(int(answer.get("status") or 500), answer.get("error") or {})

    def _unreachable(self, member: Member, why: str) -> Unavailable:
        return Unavailable(
            "agent.unreachable",
            subject=member.name,
            reason=f"its consoles at {member.address}:{self._port} could not be asked: {why}",
            remedy="Check that the node is on and reached, and `systemctl status trivet-vmconsole.socket` there.",
        )
