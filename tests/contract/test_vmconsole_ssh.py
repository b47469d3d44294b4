"""From a person's ssh to a guest's serial line and back: the image's sshd, stock ssh, our programs; over a made-up libvirt,
and over QEMU."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from appliance.agent.console import serve
from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from appliance.fakes.libvirt import FakeLibvirt
from tests.contract.live_node import NAME, LiveNode
from tests.contract.test_consoles import Consoles, until
from tests.contract.vmconsole_host import Acceptor, VmconsoleHost, program, vmconsole_host

pytestmark = [pytest.mark.images, pytest.mark.timeout(900)]
CONNECT = ("connect", "--vm-name", "web1")


@pytest.fixture(scope="module")
def ssh() -> Iterator[VmconsoleHost]:
    from image.build import Builder, Quiet

    tree = Builder(SystemProcesses(), SystemClock(), Quiet(), os.environ).tools()
    with vmconsole_host(tree) as host:
        yield host


@pytest.fixture
def consoles(node: LiveNode, ssh: VmconsoleHost, request: pytest.FixtureRequest) -> Iterator[Consoles]:
    """The VM runs on the node, whose console port is open."""
    made = Consoles(node)
    made.start()
    set_status(ssh, "up")
    listener = socket.create_server(("127.0.0.1", ssh.console_port))
    if isinstance(node.hypervisor, FakeLibvirt):
        acceptor = Acceptor(listener, lambda connection: in_a_thread(ssh, node.hypervisor, connection))  # type: ignore[arg-type]
    else:
        uri = request.getfixturevalue("real")[0]
        acceptor = Acceptor(listener, program("agent", "console", "--root", str(ssh.node.path), "--libvirt", uri))
    try:
        yield replace_acceptor(made, acceptor)
    finally:
        acceptor.close()


def replace_acceptor(made: Consoles, acceptor: Acceptor) -> Consoles:
    made.acceptor = acceptor
    return made


def in_a_thread(ssh: VmconsoleHost, hypervisor: FakeLibvirt, connection: socket.socket) -> None:
    threading.Thread(target=serve, args=(ssh.node, hypervisor, SystemClock(), connection), daemon=True).start()


def set_status(ssh: VmconsoleHost, status: str) -> None:
    ssh.store.entities.change("vm", NAME, lambda one: replace(one, status=status))


def test_a_person_has_the_console(consoles: Consoles, ssh: VmconsoleHost) -> None:
    ann, bob = ssh.person("ann"), ssh.person("bob")
    with ssh.at_console(ann, *CONNECT) as terminal:
        terminal.reads(b"Connected to the serial console of web1")
        terminal.reads(b"up\r\n")
        terminal.types(b"hello\x03\x04")
        terminal.reads(b"hello\x03\x04")
        status, said = ssh.asked(bob, *CONNECT)
        assert (status, "ann@internal has its serial console since" in said) == (1, True), said
        events = {one.code for one in ssh.store.events()}
        assert 167 in events
        terminal.process.send_signal(signal.SIGKILL)  # its machine is switched off
    with ssh.at_console(bob) as terminal:
        terminal.reads(b"web1")
        terminal.reads(b"Which one? ")
        terminal.types(b"0\n")
        terminal.reads(b"Connected")
        terminal.types(b"bob was here")
        terminal.reads(b"bob was here")
        consoles.node.vms.destroy(NAME)
        set_status(ssh, "down")
        terminal.reads(b"[trivet: VM web1: it is down]")
        assert terminal.ended() == 0
    assert "it is down" in ssh.asked(ann, *CONNECT)[1]


@pytest.mark.parametrize("node", [pytest.param("qemu", marks=pytest.mark.timeout(900))], indirect=True)
def test_a_nodes_program_that_dies_is_had_again(consoles: Consoles, ssh: VmconsoleHost) -> None:
    with ssh.at_console(ssh.person("ann"), *CONNECT) as terminal:
        terminal.reads(b"up\r\n")
        consoles.acceptor.processes[-1].kill()
        until(lambda: len(consoles.acceptor.processes) > 1)
        terminal.types(b"again")
        terminal.reads(b"again")


@pytest.mark.parametrize("node", ["fake"], indirect=True)
def test_who_is_refused(consoles: Consoles, ssh: VmconsoleHost) -> None:
    stranger, eve, ann = ssh.person("stranger", known=False), ssh.person("eve", may=False), ssh.person("ann")
    assert ssh.asked(stranger, *CONNECT)[0] == 255
    assert "Permission denied (publickey)" in ssh.asked(stranger, *CONNECT)[1]
    status, said = ssh.asked(eve, *CONNECT)
    assert (status, "[permit.missing]" in said) == (1, True), said
    status, said = ssh.asked(ann, "connect", "--vm-name", "other")
    assert (status, "[vm.unknown]" in said) == (1, True), said
    for words in (("sh", "-c", "id"), ("cat", "/etc/passwd")):
        status, said = ssh.asked(ann, *words)
        assert (status, "[console.usage]" in said) == (1, True), said
    status, said = ssh.asked(ann, before=("-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"))
    assert (status, "remote port forwarding failed" in said) == (255, True), said
    assert "NAME" not in ssh.asked(ann, "list")[1] and "web1" in ssh.asked(ann, "list")[1]
    consoles.acceptor.close_listener()
    status, said = ssh.asked(ann, *CONNECT)
    assert (status, "[agent.unreachable]" in said) == (1, True), said
