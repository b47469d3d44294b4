"""A node's console port: TLS, who may come, and the way from there to a guest that says back what it hears."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import layout
from appliance.agent.console import serve
from appliance.effects.clock import SystemClock
from appliance.effects.duplex import Duplex
from appliance.errors import TrivetError
from appliance.fakes.libvirt import FakeLibvirt
from appliance.model.vm import VmSpec
from appliance.model.vm_parts import Console
from appliance.tools.domain_xml import domain_xml
from appliance.wire.tls import MutualTls
from engine.consoles.line import _WireConsoles
from tests.appliance.agents import Certificates, cluster, make_member, node_root

PATIENCE_S = 50.0


class Port:
    """The port, and an engine that comes to it."""

    def __init__(self, folder: Path) -> None:
        self.root, self.libvirt = node_root(folder / "node"), FakeLibvirt()
        self.certificates = Certificates(folder / "ca")
        make_member(self.root, self.certificates)
        console = Console(log=str(folder / "log"))
        spec = VmSpec("5b1f4c1e-0000-4c4e-8b0e-0d5f7a1c2b3d", "vm-1", 128, 1, "Nehalem", (), (), console=console)
        self.libvirt.start(domain_xml(spec, accelerated=False), paused=False)
        self.libvirt.start(domain_xml(replace(spec, name="bare", console=None), accelerated=False), paused=False)
        self.libvirt.say("vm-1", b"login: ")
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _address = self.listener.accept()
            except OSError:
                return
            given = (self.root, self.libvirt, SystemClock(), connection)
            threading.Thread(target=serve, args=given, daemon=True).start()

    def attach(self, vm: str = "vm-1", epoch: int = 7, tls: MutualTls | None = None, holder: str = "ann@internal") -> Duplex:
        shown = tls or self.certificates.tls("engine", "engine")
        member = cluster().members[0]
        return _WireConsoles(lambda _host: member, shown, epoch, self.listener.getsockname()[1]).attach("node1", vm, holder)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Port]:
    made = Port(tmp_path)
    yield made
    made.listener.close()
    made.libvirt.destroy("vm-1")


def reads(line: Duplex, words: bytes) -> bytes:
    found, end_s = b"", time.monotonic() + PATIENCE_S
    while words not in found:
        assert time.monotonic() < end_s, found
        found += line.read() or b""
        time.sleep(0.01)
    return found


def code(call: Callable[[], object]) -> str:
    with pytest.raises(TrivetError) as caught:
        call()
    return caught.value.code


def test_both_ways_one_at_a_time_and_to_its_end(port: Port) -> None:
    line = port.attach()
    reads(line, b"login: ")
    line.write(b"root\r\x00\xff")
    reads(line, b"root\r\x00\xff")
    assert code(lambda: port.attach(holder="bob")) == "vm.console-busy"
    line.close()
    end_s = time.monotonic() + PATIENCE_S
    while True:  # the node hears of it in a moment
        try:
            line = port.attach(holder="bob")
            break
        except TrivetError as error:
            assert error.code == "vm.console-busy" and time.monotonic() < end_s
            time.sleep(0.05)
    port.libvirt.say("vm-1", b"last words")
    port.libvirt.vanish("vm-1")
    assert b"last words" in reads(line, b"last words")
    while line.read() != b"":
        assert time.monotonic() < end_s + PATIENCE_S
        time.sleep(0.01)
    assert code(port.attach) == "vm.unknown"
    port.libvirt.start(port.libvirt.domain_xml("bare").replace(">bare<", ">vm-1<"), paused=False)


def test_who_is_refused(port: Port) -> None:
    assert code(lambda: port.attach("bare")) == "vm.no-console"
    assert code(lambda: port.attach("nobody")) == "vm.unknown"
    assert code(lambda: port.attach(tls=port.certificates.tls("node2"))) == "agent.certificate-unit"
    port.attach(epoch=9).close()
    assert code(lambda: port.attach(epoch=8)) == "engine.stale-epoch"
    assert port.root.at(layout.STALE_CALL_FILE).exists(), "a matter of security: the broker's alert tells people"
    other = Certificates(port.root.path / "other", "00000000-0000-4000-8000-000000000001")
    stranger = replace(other.tls("engine", "engine"), ca=port.certificates.folder / "ca.pem", cluster_id=cluster().id)
    assert code(lambda: port.attach(tls=stranger)) == "agent.unreachable"
