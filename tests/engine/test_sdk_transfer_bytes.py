"""The official Python SDK and bytes: up and down through the real ovirt-imageio and qemu-nbd, over TLS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from ovirtsdk4 import types

from appliance.agent.disk_routes import DiskRoutes, TaskRoutes
from appliance.agent.image_routes import ImageRoutes
from appliance.fakes.wire import FakeWire
from appliance.layout import IMAGEIO_PORT
from appliance.wire.disk_api import DiskApi, TaskApi
from appliance.wire.host_api import DomainApi
from appliance.wire.image_api import ImageApi
from engine.fakes.hosts import FakeNodes
from engine.jobs.ports import DiskNode, HostReport, ImageNode
from engine.nodes import WireDisks
from tests.contract.image_host import ImageHost, image_host
from tests.contract.test_image_tickets import DOWNLOAD, REAL, UPLOAD, img, random_image, same
from tests.engine import world
from tests.engine.sdk_world import at_work, connected, until
from tests.engine.test_sdk_transfers import Phase, begun, new_disk
from tests.engine.vm_world import fake_hosts


@dataclass
class RealNodes(FakeNodes):
    """Hosts whose disks and image tickets are real: one node's, which all of them are."""

    real: ImageHost | None = None

    def reports(self) -> Sequence[HostReport]:
        return [replace(one, address="127.0.0.1") for one in super().reports()]

    def disks(self, host: str) -> DiskNode:  # type: ignore[override]
        assert self.real is not None
        node, wire = self.real.node, FakeWire()
        tasks: TaskApi = wire.client(TaskApi, TaskRoutes(node.tasks))
        disks: DiskApi = wire.client(DiskApi, DiskRoutes(node.chains, node.disks, node.bitmaps))
        # seeds are none of this test's: the fake's
        return WireDisks(tasks, disks, cast(DomainApi, super().disks(host)))

    def images(self, host: str) -> ImageNode:  # type: ignore[override]
        assert self.real is not None
        client: ImageApi = FakeWire().client(ImageApi, ImageRoutes(self.real.tickets))
        return client


@pytest.fixture
def real(running: world.Running, tmp_path: Path) -> Iterator[ImageHost]:
    fakes = fake_hosts(tmp_path / "hosts")
    with image_host(("vmstore",)) as host, at_work(running, RealNodes(fakes.nodes, ids=fakes.ids, real=host)):
        yield host


@REAL
@pytest.mark.timeout(600)
def test_bytes_go_up_and_down_by_the_urls_that_the_engine_gives(
    running: world.Running, real: ImageHost, tmp_path: Path
) -> None:
    connection = connected(running)
    system = connection.system_service()
    disk, source, back = new_disk(system), random_image(tmp_path), tmp_path / "back.raw"

    def url(transfer: Any) -> str:
        return str(transfer.get().transfer_url).replace(f":{IMAGEIO_PORT}/", f":{real.port}/")

    up = begun(system, disk, types.ImageTransferDirection.UPLOAD, format=types.DiskFormat.RAW)
    img(real, UPLOAD, str(source), url(up))
    up.finalize()
    until(lambda: up.get().phase == Phase.FINISHED_SUCCESS)
    assert up.get().transferred is not None
    assert disk.get().actual_size > 0
    down = begun(system, disk, types.ImageTransferDirection.DOWNLOAD, format=types.DiskFormat.RAW)
    img(real, DOWNLOAD, url(down), str(back), "raw")
    down.finalize()
    until(lambda: down.get().phase == Phase.FINISHED_SUCCESS)
    assert same(source, "raw", back, "raw")
    assert real.tickets.states() == ()
    connection.close()
