"""One contract for who opens a VM's screen: the engine's fake host, the agent's verbs over the fake libvirt and QEMU."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import pytest

from appliance.model.vm import VmSpec, VmState
from appliance.model.vm_live import VncTicket
from appliance.model.vm_parts import Graphics
from engine.fakes.vm_node import FakeVmNode
from engine.jobs.ports import ScreenNode
from tests.contract.conftest import QEMU, live_node
from tests.contract.live_node import NAME, LiveNode, code

SPEC = VmSpec("5b1f4c1e-0000-4c4e-8b0e-0d5f7a1c2b3d", NAME, 128, 1, "Nehalem", (), (), graphics=Graphics("127.0.0.1"))
FIRST_PORT = 5900


class Host(ScreenNode, Protocol):
    """What the tests ask of a host."""

    def vm_start(self, spec: VmSpec, paused: bool) -> VmState: ...

    def vm_destroy(self, name: str) -> None: ...


@dataclass(frozen=True)
class Verbs:
    """The agent's verbs by their names on the wire."""

    node: LiveNode

    def vm_start(self, spec: VmSpec, paused: bool) -> VmState:
        return self.node.vms.start(spec, paused)

    def vm_destroy(self, name: str) -> None:
        self.node.vms.destroy(name)

    def vm_set_ticket(self, name: str, word: str, valid_s: float) -> VncTicket:
        return self.node.devices.set_ticket(name, word, valid_s)


@pytest.fixture(params=["engine", "fake", QEMU])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    if request.param == "engine":
        yield FakeVmNode("node1", tmp_path)
        return
    with live_node(request.param, request, tmp_path) as node:
        yield Verbs(node)


def test_a_word_opens_it_until_its_end(host: Host) -> None:
    host.vm_start(SPEC, False)
    for word in ("abcd1234", "other"):
        before_s = time.time()
        ticket = host.vm_set_ticket(NAME, word, 120.0)
        assert ticket.address == "127.0.0.1" and ticket.port >= FIRST_PORT
        assert before_s + 120 <= ticket.expires_wall_s <= time.time() + 120
    assert host.vm_set_ticket(NAME, "", 0.0).expires_wall_s == 0, "shut again"


def test_what_opens_nothing(host: Host) -> None:
    assert code(lambda: host.vm_set_ticket(NAME, "abc", 1.0)) == "vm.unknown"
    host.vm_start(SPEC, False)
    assert code(lambda: host.vm_set_ticket(NAME, "123456789", 1.0)) == "vm.ticket"
    assert code(lambda: host.vm_set_ticket(NAME, "abc", -1.0)) == "vm.ticket"
    host.vm_destroy(NAME)
    host.vm_start(replace(SPEC, graphics=None), False)
    assert code(lambda: host.vm_set_ticket(NAME, "abc", 1.0)) == "vm.no-screen"
