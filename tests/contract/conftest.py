"""The node of the contract of running VMs: over the fake libvirt, and over QEMU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.effects.clock import SystemClock
from appliance.effects.libvirt_host import LibvirtHost
from appliance.effects.process import SystemProcesses
from appliance.fakes.libvirt import FakeLibvirt
from engine.fakes.vm_node import FakeVmNode
from tests.contract.hosts import Host, Verbs
from tests.contract.live_node import NAME, LiveNode
from tests.contract.qemu_host import qemu_host


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    from image.build import Builder, Quiet

    tree = Builder(SystemProcesses(), SystemClock(), Quiet(), os.environ).tools()
    folder = tmp_path_factory.mktemp("qemu")
    with qemu_host(tree, folder) as uri:
        yield uri, folder / "disks"


QEMU = pytest.param("qemu", marks=[pytest.mark.images, pytest.mark.timeout(600)])


@contextmanager
def live_node(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[LiveNode]:
    """A node over libvirt's fake (``fake``), or over QEMU (``qemu``); nothing is left of its VM at the end."""
    if kind == "fake":
        yield LiveNode(folder, FakeLibvirt())
        return
    uri, disks = request.getfixturevalue("real")
    node = LiveNode(disks / folder.name, LibvirtHost(uri))
    try:
        yield node
    finally:
        node.vms.destroy(NAME)
    assert node.left() == []


@pytest.fixture(params=["fake", QEMU])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveNode]:
    with live_node(request.param, request, tmp_path) as node:
        yield node


@pytest.fixture(params=["engine", "fake", QEMU])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """What the engine asks of: its own fake, and a node."""
    if request.param == "engine":
        yield FakeVmNode("node1", tmp_path)
        return
    with live_node(request.param, request, tmp_path) as node:
        yield Verbs(node)
