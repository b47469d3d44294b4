"""The official Python SDK and image transfers: their life, over fake hosts."""

from __future__ import annotations

from typing import Any

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types

from appliance.layout import IMAGEIO_PORT
from engine.fakes.hosts import FakeNodes
from tests.engine import world
from tests.engine.sdk_world import connected, gone, until
from tests.engine.vm_world import MIB

Phase = types.ImageTransferPhase


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
