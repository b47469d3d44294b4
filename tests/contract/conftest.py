"""The node of the contract of running VMs: over the fake libvirt, and over QEMU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.effects.clock import SystemClock
from appliance.effects.libvirt_host import LibvirtHost
from appliance.effects.process import SystemProcesses
from appliance.fakes.libvirt import FakeLibvirt
from tests.contract.live_node import NAME, LiveNode
from tests.contract.qemu_host import qemu_host


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    from image.build import Builder, Quiet

    tree = Builder(SystemProcesses(), SystemClock(), Quiet(), os.environ).tools()
    folder = tmp_path_factory.mktemp("qemu")
    with qemu_host(tree, folder) as uri:
        yield uri, folder / "disks"


@pytest.fixture(params=["fake", pytest.param("qemu", marks=[pytest.mark.images, pytest.mark.timeout(600)])])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveNode]:
    if request.param == "fake":
        yield LiveNode(tmp_path, FakeLibvirt())
        return
    uri, folder = request.getfixturevalue("real")
    node = LiveNode(folder / tmp_path.name, LibvirtHost(uri))
    try:
        yield node
    finally:
        node.vms.destroy(NAME)
    assert node.left() == []
