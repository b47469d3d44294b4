"""One contract for who opens a VM's screen: the engine's fake host, the agent's verbs over the fake libvirt and QEMU."""

from __future__ import annotations

import time
from dataclasses import replace

from tests.contract.hosts import SPEC, Host
from tests.contract.live_node import NAME, code

FIRST_PORT = 5900


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
