"""The test guest as a VM of the cluster: its disks through the API, its serial console, and what it has recorded."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import ovirtsdk4 as sdk
from ovirtsdk4 import types

from appliance import layout
from image.guest.records import Lost, Said, lost_records, read_console, read_records
from tests.lab.cluster import VIRSH_LIST, Cluster, trivet, wait

MIB: Final = 1024**2
PATIENCE_S: Final = 120.0
"""A job's journal is written by an emulated engine; each step of it takes a second or two on a busy machine."""
MEMORY_MIB: Final = 128
DATA_MIB: Final = 96
"""Beyond 64 MiB, the size of a shard; and more records than a test waits for."""
VMSTORE: Final = layout.VOLUMES / "vmstore"


def image() -> Path:
    """The test guest's disk image, built now if it is not there."""
    return Path(trivet("image", "build", "guest", "--json", timeout_s=600).json()["image"])


def where(cluster: Cluster, identifier: str) -> list[str]:
    """The nodes whose libvirt has that VM (there it is named by its id), running or paused."""
    return [node for node in cluster.nodes if identifier in cluster.shell(node, VIRSH_LIST, ok=False).split()]


def await_status(vm: Any, status: Any, within_s: float = PATIENCE_S) -> None:
    """Until the API says so."""
    wait(f"the VM {status.name}", within_s, lambda: vm.get().status == status or None)


def disk(alias: str, *, bootable: bool, size_mib: int = 64, kind: Any = types.DiskFormat.COW, backup: bool = False) -> Any:
    """A new disk on ``vmstore``, to be attached. ``backup``: enabled for incremental ones."""
    made = types.Disk(
        name=alias,
        provisioned_size=size_mib * MIB,
        format=kind,
        sparse=True,
        backup=types.DiskBackup.INCREMENTAL if backup else types.DiskBackup.NONE,
        storage_domains=[types.StorageDomain(name="vmstore")],
    )
    return types.DiskAttachment(disk=made, interface=types.DiskInterface.VIRTIO, bootable=bootable, active=True)


def await_usable(attachments: Any, one: Any) -> None:
    """Until its disk is made."""
    service = attachments.attachment_service(one.id)
    wait("the disk usable", PATIENCE_S, lambda: service.get(follow="disk").disk.status == types.DiskStatus.OK or None)


def file_of(cluster: Cluster, node: str, disk_id: str) -> Path:
    """Where this machine sees the only file of that disk, through the mount of ``node``."""
    (file,) = (cluster.root(node) / VMSTORE.relative_to("/") / "images" / disk_id).iterdir()
    return file


def fill(cluster: Cluster, disk_id: str, content: bytes) -> None:
    """Write the beginning of that disk, past QEMU: before its VM is started."""
    with file_of(cluster, cluster.nodes[0], disk_id).open("r+b") as target:
        target.write(content)


@contextmanager
def administrator(cluster: Cluster) -> Iterator[Any]:
    """The API as admin@internal sees it, once the cluster has settled."""
    cluster.settled()
    made = sdk.Connection(
        url=f"{cluster.url.rstrip('/')}/ovirt-engine/api",
        username="admin@internal",
        password=cluster.password,
        ca_file=cluster.ca_file,
        timeout=60,
    )
    yield made.system_service()
    made.close()


class Serial:
    """All that the guest says on its serial console, from whichever node it runs on."""

    def __init__(self, cluster: Cluster, identifier: str) -> None:
        self._cluster, self._identifier = cluster, identifier
        self._parts: list[bytes] = []
        self._begun = 0
        self._process: subprocess.Popen[bytes] | None = None

    def listen(self, node: str, *, is_restarted: bool = False) -> None:
        """Hear it there from now on. ``is_restarted``: another run, whose first words may have been missed; what it
        acknowledges is not what the one before has acknowledged."""
        self.close()
        if is_restarted:
            self._begun = len(self._parts)
        read = f'exec cat "$(virsh -c qemu:///system ttyconsole {self._identifier})"'
        self._process = self._cluster.begin(node, ["sh", "-c", read])
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        while part := process.stdout.read1(4096):
            self._parts.append(part)

    def close(self) -> None:
        """Stop listening."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def text(self) -> str:
        """What was heard."""
        return b"".join(self._parts).decode(errors="replace")

    def said(self) -> tuple[Said, ...]:
        """The runs of the recorder that were heard from their begin."""
        before, since = self._parts[: self._begun], self._parts[self._begun :]
        return tuple(one for part in (before, since) for one in read_console(b"".join(part).decode(errors="replace")))

    def acknowledged(self) -> int:
        """The newest record that is safe, as the guest says; -1: none yet."""
        said = read_console(self.text())
        return max((one.acknowledged for one in said if one.acknowledged is not None), default=-1)

    def await_more(self, count: int, within_s: float = PATIENCE_S) -> int:
        """Until so many further records are safe; the newest of them."""
        before = self.acknowledged()
        wait(f"{count} further records", within_s, lambda: self.acknowledged() >= before + count or None)
        return self.acknowledged()


def lost(said: tuple[Said, ...], file: Path) -> tuple[Lost, ...]:
    """Acknowledged records that are not on that disk."""
    return lost_records(said, read_records(file.read_bytes()))
