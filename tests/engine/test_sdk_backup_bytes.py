"""The official Python SDK and bytes of a backup: of a VM that is down, through the real ovirt-imageio and qemu-nbd."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ovirtsdk4 import types

from appliance.layout import IMAGEIO_PORT
from tests.contract.image_host import IMAGEIO, ImageHost
from tests.contract.test_backup_bytes import APPLY
from tests.contract.test_image_tickets import DOWNLOAD, REAL, img, same
from tests.engine import world
from tests.engine.sdk_world import connected, until
from tests.engine.test_sdk_backups import begun, finalized, new_vm, transfer_of
from tests.engine.test_sdk_transfer_bytes import real as real
from tests.engine.vm_world import MIB


@REAL
@pytest.mark.timeout(600)
def test_bytes_of_a_vm_that_is_down(running: world.Running, real: ImageHost, tmp_path: Path) -> None:
    connection = connected(running)
    system = connection.system_service()
    vm, disk = new_vm(system, "sdk-cold")
    image, copy = real.node.places["vmstore"] / f"images/{disk.get().id}/{disk.get().image_id}", tmp_path / "copy.raw"

    def url(transfer: Any) -> str:
        return str(transfer.get().transfer_url).replace(f":{IMAGEIO_PORT}/", f":{real.port}/")

    def writes(command: str) -> None:
        argv = ["qemu-io", "-f", "qcow2", "-c", command, str(image)]
        subprocess.run(argv, check=True, capture_output=True, timeout=60)

    writes("write -P 1 0 1M")
    first = begun(vm, disk)
    transfer = transfer_of(system, disk, first)
    img(real, DOWNLOAD, url(transfer), str(copy), "raw")
    transfer.finalize()
    until(lambda: transfer.get().phase == types.ImageTransferPhase.FINISHED_SUCCESS)
    finalized(first)
    assert same(copy, "raw", image, "qcow2")
    writes("write -P 2 3M 64k")
    second = begun(vm, disk, first.get().to_checkpoint_id)
    transfer = transfer_of(system, disk, second)
    argv = [str(IMAGEIO / "bin/python3"), "-I", "-c", APPLY, str(real.ca), url(transfer), str(copy)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, f"[[{3 * MIB}, 65536]]\n"), done.stderr
    transfer.finalize()
    until(lambda: transfer.get().phase == types.ImageTransferPhase.FINISHED_SUCCESS)
    finalized(second)
    assert same(copy, "raw", image, "qcow2")
    assert real.tickets.states() == ()
    vm.checkpoints_service().checkpoint_service(first.get().to_checkpoint_id).remove()
    until(lambda: len(vm.checkpoints_service().list()) == 1)
    check = subprocess.run(["qemu-img", "check", "-f", "qcow2", str(image)], capture_output=True, timeout=60, check=False)
    assert check.returncode == 0, check.stdout
    connection.close()
