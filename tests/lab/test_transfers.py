"""Disks go up and down through a node's ovirt-imageio, asked for by the official SDK and moved by imageio's own client."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ovirtsdk4 import types

from image.hashing import file_sha256
from tests.contract.image_host import IMAGEIO
from tests.contract.test_image_tickets import DOWNLOAD, UPLOAD
from tests.lab.cluster import Cluster, wait
from tests.lab.guest import MIB, PATIENCE_S

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

SIZE_MIB = 80
"""Beyond the first shard of 64 MiB."""
CLIENT_S = 240.0
Phase = types.ImageTransferPhase


def client(cluster: Cluster, script: str, *words: str) -> None:
    """A program in the lab's network that uses imageio's client, as backup products do."""
    status = cluster.lab("status", "--json").json()
    argv = ["ip", "netns", "exec", status["switch_namespace"], str(IMAGEIO / "bin/python3"), "-I", "-c", script]
    done = subprocess.run([*argv, cluster.ca_file, *words], capture_output=True, text=True, timeout=CLIENT_S, check=False)
    assert done.returncode == 0, done.stderr


def begun(system: Any, disk_id: str, direction: Any, backup: Any = None) -> Any:
    """A transfer that is ready for bytes. ``backup``: the one that has the disk."""
    transfers = system.image_transfers_service()
    disk = types.Disk(id=disk_id)
    wanted = types.ImageTransfer(disk=disk, direction=direction, format=types.DiskFormat.RAW, backup=backup)
    one = transfers.image_transfer_service(transfers.add(wanted).id)
    await_phase(one, Phase.TRANSFERRING)
    return one


def await_phase(one: Any, phase: Any) -> None:
    wait(f"the transfer {phase.value}", PATIENCE_S, lambda: one.get().phase == phase or None)


@pytest.fixture
def disk(system: Any) -> Iterator[Any]:
    disks = system.disks_service()
    domain = types.StorageDomain(name="vmstore")
    wanted = types.Disk(name="moved", provisioned_size=SIZE_MIB * MIB, format=types.DiskFormat.COW, storage_domains=[domain])
    service = disks.disk_service(disks.add(wanted).id)
    wait("the disk", PATIENCE_S, lambda: service.get().status == types.DiskStatus.OK or None)
    yield service
    service.remove()


def test_a_disk_goes_up_and_comes_down_as_it_was(cluster: Cluster, system: Any, disk: Any, tmp_path: Path) -> None:
    source, back = tmp_path / "source.raw", tmp_path / "back.raw"
    with source.open("wb") as out:
        out.truncate(SIZE_MIB * MIB)
        for at_mib in (0, 63, SIZE_MIB - 1):
            out.seek(at_mib * MIB)
            out.write(os.urandom(MIB))
    identifier = disk.get().id
    up = begun(system, identifier, types.ImageTransferDirection.UPLOAD)
    assert disk.get().status == types.DiskStatus.LOCKED
    client(cluster, UPLOAD, str(source), up.get().transfer_url)
    up.finalize()
    await_phase(up, Phase.FINISHED_SUCCESS)
    wait("the disk usable", PATIENCE_S, lambda: disk.get().status == types.DiskStatus.OK or None)
    down = begun(system, identifier, types.ImageTransferDirection.DOWNLOAD)
    served_by = system.hosts_service().host_service(down.get().host.id).get().name
    assert "qemu-nbd" in cluster.shell(served_by, "ps -e -o comm")
    client(cluster, DOWNLOAD, down.get().transfer_url, str(back), "raw")
    down.finalize()
    await_phase(down, Phase.FINISHED_SUCCESS)
    assert file_sha256(back) == file_sha256(source)
    for node in cluster.nodes:
        assert "qemu-nbd" not in cluster.shell(node, "ps -e -o comm"), f"{node} goes on serving"
