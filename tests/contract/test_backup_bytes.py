"""Backups really: a VM's QEMU (or a qemu-nbd) serves its disk through the real ovirt-imageio, whose own client pulls it over
TLS; full, then what was written since; and what was put together is what the VM has."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import NotFound
from appliance.model.disk import DiskFile, NewDisk
from appliance.model.image_ticket import ImageTicket
from appliance.model.vm_backup import BackupDisk, VmBackup
from tests.contract.disk_node import MIB
from tests.contract.image_host import IMAGEIO, ImageHost, image_host
from tests.contract.live_node import NAME, LiveNode, code
from tests.contract.test_image_tickets import DOWNLOAD, REAL, img, same

KIB64 = 65536
APPLY = """
import json, sys
from ovirt_imageio.client import ImageioClient
source = ImageioClient(sys.argv[2], sys.argv[1])
dirty = [one for one in source.extents("dirty") if one.dirty]
with open(sys.argv[3], "r+b") as target:
    for one in dirty:
        target.seek(one.start)
        source.write_to(target, one.start, one.length)
source.close()
print(json.dumps([(one.start, one.length) for one in dirty]))
"""
"""What a backup product does with an incremental backup."""


@pytest.fixture
def host(node: LiveNode) -> Iterator[ImageHost]:
    """The tickets of a node that sees the VM's disks."""
    with image_host() as made:
        made.serve(node.chains, node.nbd)
        yield made


def apply(host: ImageHost, ticket: str, target: Path) -> list[list[int]]:
    """Write what was written since into an earlier copy; (start, length) of it."""
    argv = [str(IMAGEIO / "bin/python3"), "-I", "-c", APPLY, str(host.ca), host.url(ticket), str(target)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def opened(host: ImageHost, file: DiskFile, **more: str) -> ImageTicket:
    one = ImageTicket(str(uuid.uuid4()), str(uuid.uuid4()), file, writes=False, **more)  # type: ignore[arg-type]
    assert host.tickets.open(one).is_served
    return one


def live(node: LiveNode, checkpoint: str, since: str = "") -> VmBackup:
    scratch = DiskFile("data", f"backups/{uuid.uuid4()}/a", "qcow2")
    disk = BackupDisk("a", node.a, scratch, is_incremental=bool(since), in_checkpoint=True)
    one = VmBackup(str(uuid.uuid4()), (disk,), checkpoint, since)
    node.backups.begin(NAME, one)
    return one


def ended(node: LiveNode, one: VmBackup) -> None:
    node.backups.end(NAME, one.id)
    for disk in one.disks:
        node.done(node.disks.remove(node.next(), disk.scratch, False))


ONE, TWO, THREE, FOUR = (str(uuid.UUID(int=number)) for number in (11, 12, 13, 14))


@REAL
@pytest.mark.images
@pytest.mark.timeout(900)
@pytest.mark.parametrize("node", ["qemu"], indirect=True)
def test_full_then_since_live_and_cold_is_what_the_vm_has(node: LiveNode, host: ImageHost, tmp_path: Path) -> None:
    copy = tmp_path / "copy.raw"
    node.start()
    node.guest_writes(1, "0", "1M")
    first = live(node, ONE)
    ticket = opened(host, node.a, backup=first.id, export="a")
    node.guest_writes(9, "512k", "64k")
    img(host, DOWNLOAD, host.url(ticket.id), str(copy), "raw")
    assert copy.read_bytes() == b"\1" * MIB + bytes(7 * MIB), "of the moment when it began"
    host.tickets.close(ticket.transfer)
    assert host.tickets.states() == ()
    ended(node, first)
    node.guest_writes(2, "2M", "128k")
    second = live(node, TWO, ONE)
    ticket = opened(host, node.a, backup=second.id, export="a", since=ONE)
    node.guest_writes(3, "5M", "64k")
    assert apply(host, ticket.id, copy) == [[8 * KIB64, KIB64], [2 * MIB, 2 * KIB64]]
    host.tickets.close(ticket.transfer)
    ended(node, second)
    node.vms.destroy(NAME)
    # down: what was written since the second, on a layer more than then
    node.done(node.disks.check("check", node.a, False))
    cold = opened(host, node.a, since=TWO)
    assert apply(host, cold.id, copy) == [[5 * MIB, KIB64]]
    host.tickets.close(cold.transfer)
    assert same(copy, "raw", node.at(node.a), "qcow2")
    node.done(node.bitmaps.add("mark", node.a, THREE))
    top = DiskFile("data", "vm/top", "qcow2")
    node.done(node.disks.create("layer", NewDisk(top, 0, backing=node.a)))
    node.write(top, "write -P 7 3M 64k", "write -P 8 7M 64k")
    over = opened(host, top, since=THREE)
    assert apply(host, over.id, copy) == [[3 * MIB, KIB64], [7 * MIB, KIB64]]
    host.tickets.close(over.transfer)
    assert same(copy, "raw", node.at(top), "qcow2")
    node.done(node.bitmaps.add("mark-top", top, FOUR))
    node.write(top, "write -P 6 4M 64k")
    node.done(node.disks.commit("fold", top, node.a))
    for since, expected in ((THREE, [3, 4, 7]), (FOUR, [4])):
        folded = opened(host, node.a, since=since)
        assert apply(host, folded.id, copy) == [[start * MIB, KIB64] for start in expected], "remembered by the base, too"
        host.tickets.close(folded.transfer)
    assert same(copy, "raw", node.at(node.a), "qcow2")
    node.done(node.bitmaps.remove("forget", top, THREE))
    assert {one.name for layer in node.chains.chain(top) for one in layer.bitmaps} == {ONE, TWO, FOUR}
    for file in (node.a, top):
        assert node.done(node.disks.check(node.next(), file, False)).result == {"errors": 0, "leaks": 0, "fixed": 0}
    assert list(node.nbd.iterdir()) == [], "nothing is left of what served it"


@REAL
@pytest.mark.images
@pytest.mark.timeout(900)
@pytest.mark.parametrize("node", ["qemu"], indirect=True)
def test_a_ticket_ends_with_its_qemu_and_says_so(node: LiveNode, host: ImageHost) -> None:
    node.start()
    one = live(node, ONE)
    ticket = opened(host, node.a, backup=one.id, export="a")
    node.vms.destroy(NAME)
    assert [state.is_served for state in host.tickets.states()] == [False]
    assert code(lambda: host.tickets.open(ticket)) == "image.backup-unknown"
    host.tickets.close(ticket.transfer)
    ended(node, one)
    assert code(lambda: host.tickets.open(replace(ticket, backup="../x"))) == "image.ticket-id"
    assert code(lambda: host.tickets.open(ImageTicket(ticket.id, ticket.transfer, node.a, False, since=TWO))) == (
        "disk.bitmap-lost"
    )
    with pytest.raises(NotFound):
        host.tickets.state(ticket.transfer)
