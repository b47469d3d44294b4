"""The official Python SDK and image transfers: their life over fake hosts, and bytes through the real ovirt-imageio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types

from appliance.agent.disk_routes import DiskRoutes, TaskRoutes
from appliance.agent.image_routes import ImageRoutes
from appliance.fakes.wire import FakeWire
from appliance.layout import IMAGEIO_PORT
from appliance.wire.disk_api import DiskApi, TaskApi
from appliance.wire.image_api import ImageApi
from engine.fakes.vm_node import FakeNodes
from engine.jobs.ports import DiskNode, HostReport, ImageNode
from engine.nodes import WireDisks
from tests.contract.image_host import ImageHost, image_host
from tests.contract.test_image_tickets import DOWNLOAD, REAL, UPLOAD, img, random_image, same
from tests.engine import world
from tests.engine.sdk_world import at_work, gone, until
from tests.engine.vm_world import MIB, fake_hosts

Phase = types.ImageTransferPhase


def connected(running: world.Running) -> Any:
    return sdk.Connection(
        url=f"{running.url}/ovirt-engine/api", username=world.ADMIN, password=world.PASSWORD, ca_file=str(running.guest.ca)
    )


def new_disk(system: Any, kind: Any = types.DiskFormat.COW) -> Any:
    """The service of a new disk."""
    made = system.disks_service().add(
        types.Disk(
            name="data",
            format=kind,
            provisioned_size=8 * MIB,
            storage_domains=[types.StorageDomain(name="vmstore")],
        )
    )
    disk = system.disks_service().disk_service(made.id)
    until(lambda: disk.get().status == types.DiskStatus.OK)
    return disk


def begun(system: Any, disk: Any, direction: Any, **given: Any) -> Any:
    """The service of a transfer that is under way, as the SDK's examples begin one."""
    wanted = types.ImageTransfer(disk=types.Disk(id=disk.get().id), direction=direction, **given)
    made = system.image_transfers_service().add(wanted)
    transfer = system.image_transfers_service().image_transfer_service(made.id)
    until(lambda: transfer.get().phase != Phase.INITIALIZING)
    assert transfer.get().phase == Phase.TRANSFERRING
    return transfer


@pytest.mark.timeout(300)
def test_the_life_of_a_transfer(running: world.Running, hosts: FakeNodes) -> None:
    connection = connected(running)
    system = connection.system_service()
    disk = new_disk(system)
    raw = types.DiskFormat.RAW
    transfer = begun(system, disk, types.ImageTransferDirection.UPLOAD, format=raw, inactivity_timeout=120)
    now = transfer.get()
    assert now.transfer_url == now.proxy_url and f":{IMAGEIO_PORT}/images/" in now.transfer_url
    assert (now.inactivity_timeout, now.timeout_policy, now.shallow) == (120, types.ImageTransferTimeoutPolicy.LEGACY, False)
    assert disk.get().status == types.DiskStatus.LOCKED
    host = next(name for name in hosts.nodes if hosts.images(name).held(now.id))
    hosts.images(host).said(now.id, is_active=True, transferred_bytes=3 * MIB)
    until(lambda: (transfer.get().active, transfer.get().transferred) == (True, 3 * MIB))
    transfer.extend()
    transfer.pause()
    until(lambda: transfer.get().phase == Phase.PAUSED_USER)
    assert transfer.get().transfer_url is None
    with pytest.raises(sdk.Error, match="paused user"):
        transfer.pause()
    transfer.resume()
    until(lambda: transfer.get().phase == Phase.TRANSFERRING)
    transfer.finalize()
    until(lambda: transfer.get().phase == Phase.FINISHED_SUCCESS)
    assert disk.get().status == types.DiskStatus.OK
    second = begun(system, disk, types.ImageTransferDirection.UPLOAD)
    assert second.get().format == types.DiskFormat.COW, "as the disk lies there"
    second.cancel()
    until(lambda: second.get().phase == Phase.FINISHED_CLEANUP)
    assert gone(disk)
    assert {one.phase for one in system.image_transfers_service().list()} == {Phase.FINISHED_SUCCESS, Phase.FINISHED_CLEANUP}
    connection.close()


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
        disks: DiskApi = wire.client(DiskApi, DiskRoutes(node.chains, node.disks))
        return WireDisks(tasks, disks)

    def images(self, host: str) -> ImageNode:  # type: ignore[override]
        assert self.real is not None
        client: ImageApi = FakeWire().client(ImageApi, ImageRoutes(self.real.tickets))
        return client


@pytest.fixture
def real(running: world.Running, tmp_path: Path) -> Iterator[ImageHost]:
    fakes = fake_hosts(tmp_path / "hosts")
    with image_host(("vmstore",)) as host:
        with at_work(running, RealNodes(fakes.nodes, ids=fakes.ids, real=host)):
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
