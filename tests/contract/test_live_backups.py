"""One contract for backups of running VMs: the fake libvirt, and QEMU, which serves its disks over NBD (see
test_live_vms)."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import Failed, Unavailable
from appliance.fakes.libvirt import FakeLibvirt
from appliance.model.disk import DiskFile
from appliance.model.vm import VmDisk
from appliance.model.vm_backup import BackupDisk, VmBackup, VmBackupState
from appliance.model.vm_live import DiskMerge, DiskSnapshot, VmSnapshot
from tests.contract.disk_node import MIB
from tests.contract.live_node import NAME, LiveNode, code

C1, C2, C3 = (str(uuid.UUID(int=number)) for number in (1, 2, 3))


def backup(node: LiveNode, checkpoint: str = "", since: str = "", **more: object) -> VmBackup:
    scratch = DiskFile("data", f"backups/{uuid.uuid4()}/a", "qcow2")
    disk = BackupDisk("a", DiskFile("data", str(Path(node.written()).relative_to(node.places["data"])), "qcow2"), scratch)
    disk = replace(disk, is_incremental=bool(since), in_checkpoint=bool(checkpoint))
    return VmBackup(str(uuid.uuid4()), (disk,), checkpoint, since, **more)  # type: ignore[arg-type]


def is_fake(node: LiveNode) -> bool:
    return isinstance(node.hypervisor, FakeLibvirt)


def served(node: LiveNode, one: VmBackup, target: Path, disk: str = "a") -> bytes:
    """What a client pulls; nothing of the fake."""
    if is_fake(node):
        return b""
    url = f"nbd:unix:{node.nbd / one.id / 'socket'}:exportname={disk}"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "raw", url, str(target)], check=True, timeout=60)
    return target.read_bytes()


def dirty(node: LiveNode, one: VmBackup, disk: str = "a") -> list[tuple[int, int]]:
    """(MiB, MiB) of what was written since."""
    label = node.domain().disk(disk)
    assert label is not None
    options = f"driver=nbd,export={disk},server.type=unix,server.path={node.nbd / one.id / 'socket'}"
    options += f",x-dirty-bitmap=qemu:dirty-bitmap:backup-{label.label}"
    argv = ["qemu-img", "map", "--output=json", "--image-opts", options]
    said = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
    # asked so, QEMU tells clean extents as data, dirty ones as holes
    return [(one["start"] // 65536, one["length"] // 65536) for one in json.loads(said) if not one["data"]]


def clean(node: LiveNode, backups: Sequence[VmBackup]) -> None:
    """All that is left are the scratch files, which whoever ordered it removes."""
    assert node.backups.states() == ()
    assert list(node.nbd.iterdir()) == []
    for one in backups:
        for disk in one.disks:
            node.done(node.disks.remove(node.next(), disk.scratch, False))
    assert list(node.places["data"].glob("backups/*")) == []


def test_a_full_backup_is_of_one_moment(node: LiveNode, tmp_path: Path) -> None:
    b = node.create("vm/b", "raw")
    node.spec = replace(node.spec, disks=(*node.spec.disks, VmDisk(str(node.at(b)), "b", "raw")))
    node.start()
    node.guest_writes(1, "0", "2M")
    node.guest_writes(7, "0", "1M", "b")
    one = backup(node)
    raw = BackupDisk("b", b, DiskFile("data", f"backups/{one.id}/b", "qcow2"))
    one = replace(one, disks=(*one.disks, raw))
    assert node.backups.begin(NAME, one) == VmBackupState(one.id, NAME, is_running=True)
    assert node.backups.begin(NAME, one).is_running, "asked again: nothing"
    assert node.backups.states() == (VmBackupState(one.id, NAME, is_running=True),)
    node.guest_writes(2, "1M", "2M")
    node.guest_writes(8, "0", "1M", "b")
    whole = b"\1" * (2 * MIB) + bytes(6 * MIB)
    assert served(node, one, tmp_path / "a") in (whole, b"")
    assert served(node, one, tmp_path / "b", "b") in (b"\7" * MIB + bytes(7 * MIB), b"")
    assert code(lambda: node.backups.begin(NAME, backup(node))) == "vm.backup-other"
    node.backups.end(NAME, one.id)
    node.backups.end(NAME, one.id)
    node.guest_reads(2, "1M", "2M")
    clean(node, [one])


def test_an_incremental_one_tells_what_was_written_since(node: LiveNode, tmp_path: Path) -> None:
    node.start()
    node.guest_writes(1, "0", "1M")
    first = backup(node, C1)
    node.backups.begin(NAME, first)
    node.guest_writes(2, "2M", "128k")
    node.backups.end(NAME, first.id)
    node.guest_writes(3, "6M", "64k")
    second = backup(node, C2, C1)
    node.backups.begin(NAME, second)
    node.guest_writes(4, "7M", "64k")
    if not is_fake(node):
        assert dirty(node, second) == [(32, 2), (96, 1)]
        assert served(node, second, tmp_path / "a")[6 * MIB : 6 * MIB + 65536] == b"\3" * 65536
    node.backups.end(NAME, second.id)
    third = backup(node, C3, C2)
    node.backups.begin(NAME, third)
    assert is_fake(node) or dirty(node, third) == [(112, 1)]
    node.backups.end(NAME, third.id)
    node.backups.drop_checkpoint(NAME, C2, ("a",))
    node.backups.drop_checkpoint(NAME, C2, ("a",))
    assert code(lambda: node.backups.begin(NAME, backup(node, "", C2))) == "vm.checkpoint-lost"
    node.vms.destroy(NAME)
    if not is_fake(node):
        found = node.chains.look(node.a).bitmaps
        assert {one.name for one in found} == {C1, C3} and all(one.is_good for one in found)
        assert node.done(node.disks.check("check", node.a, False)).result == {"errors": 0, "leaks": 0, "fixed": 0}
    clean(node, [first, second, third])


def test_a_checkpoint_outlives_its_qemu_and_goes_along_with_layers(node: LiveNode) -> None:
    node.start()
    first = backup(node, C1)
    node.backups.begin(NAME, first)
    node.backups.end(NAME, first.id)
    node.guest_writes(1, "0", "64k")
    # to a file and back: as a migration does it, the next QEMU reads what the one before has written at its end
    memory = DiskFile("data", "vm/memory")
    node.done(node.moves.suspend("suspend", NAME, memory))
    node.done(node.moves.wake("wake", node.spec, memory, False))
    node.guest_writes(5, "4M", "64k")
    asleep = backup(node, "", C1)
    node.backups.begin(NAME, asleep)
    assert is_fake(node) or dirty(node, asleep) == [(0, 1), (64, 1)]
    node.backups.end(NAME, asleep.id)
    node.vms.destroy(NAME)
    node.start()
    overlay = DiskFile("data", "vm/s1", "qcow2")
    node.guest_writes(2, "1M", "64k")
    node.done(node.live.snapshot("snap", NAME, VmSnapshot((DiskSnapshot("a", overlay),))))
    node.guest_writes(3, "2M", "64k")
    over = backup(node, "", C1)
    node.backups.begin(NAME, over)
    assert is_fake(node) or dirty(node, over) == [(0, 1), (16, 1), (32, 1), (64, 1)], "also what the layer below has"
    node.backups.end(NAME, over.id)
    node.done(node.live.merge("merge", NAME, DiskMerge("a", node.a)))
    node.guest_writes(4, "3M", "64k")
    merged = backup(node, "", C1)
    node.backups.begin(NAME, merged)
    assert is_fake(node) or dirty(node, merged) == [(0, 1), (16, 1), (32, 1), (48, 1), (64, 1)]
    node.backups.end(NAME, merged.id)
    clean(node, [first, asleep, over, merged])


def test_what_a_killed_qemu_did_not_write_is_lost_and_said(node: LiveNode) -> None:
    node.start()
    first = backup(node, C1)
    node.backups.begin(NAME, first)
    node.guest_writes(1, "0", "64k")
    kill(node)
    assert node.backups.states() == (VmBackupState(first.id, NAME, is_running=False),)
    node.backups.end(NAME, first.id)
    node.start()
    if is_fake(node):
        node.hypervisor.broken.add((node.written(), C1))  # type: ignore[attr-defined]
    assert is_fake(node) or not [one for one in node.chains.look(node.a).bitmaps if one.is_good]
    assert code(lambda: node.backups.begin(NAME, backup(node, C2, C1))) == "vm.checkpoint-lost"
    node.backups.drop_checkpoint(NAME, C1, ("a", "gone"))
    full = backup(node, C3)
    node.backups.begin(NAME, full)
    node.backups.end(NAME, full.id)
    clean(node, [first, full])


def kill(node: LiveNode) -> None:
    """Its QEMU dies at once, as in a power cut."""
    node.kill_qemu()
    end_s = time.monotonic() + 30
    while is_there(node):
        assert time.monotonic() < end_s
        time.sleep(0.1)


def is_there(node: LiveNode) -> bool:
    """libvirt, in the moment in which it notices that a QEMU has died, fails."""
    try:
        return node.vms.find(NAME) is not None
    except Failed:
        return True


def test_what_is_refused_leaves_nothing(node: LiveNode) -> None:
    node.start()
    good = backup(node)
    (disk,) = good.disks
    other = replace(disk, file=DiskFile("data", "vm/other", "qcow2"))
    wrong = {
        "vm.disk-unknown": replace(good, disks=(replace(disk, disk="no"),)),
        "vm.backup-disk": replace(good, disks=(other,)),
        "vm.checkpoint-lost": replace(good, disks=(replace(disk, is_incremental=True),), since=C1),
        "vm.no-agent": replace(good, quiesce="must"),
    }
    for expected, asked in wrong.items():
        assert code(lambda asked=asked: node.backups.begin(NAME, asked)) == expected  # type: ignore[misc]
    raw = replace(disk, file=replace(disk.file, format="raw"), in_checkpoint=True)
    for refused in (replace(good, disks=()), replace(good, disks=(disk, disk)), replace(good, since=C1),
                    replace(good, id="../x"), replace(good, disks=(raw,))):  # fmt: skip
        assert code(lambda refused=refused: node.backups.begin(NAME, refused)) == "vm.backup"  # type: ignore[misc]
    assert code(lambda: node.backups.begin("nobody", good)) == "vm.unknown"
    assert code(lambda: node.backups.drop_checkpoint("nobody", C1, ("a",))) == "vm.unknown"
    node.backups.end("nobody", good.id)
    tried = replace(good, quiesce="try")
    assert node.backups.begin(NAME, tried).is_running, "without an agent: as after a power cut"
    node.backups.end(NAME, tried.id)
    clean(node, [good])


@pytest.mark.parametrize("node", ["fake"], indirect=True)
def test_what_libvirt_may_begin_yet_stays_known(node: LiveNode) -> None:
    node.start()
    assert isinstance(node.hypervisor, FakeLibvirt)
    node.hypervisor.fail["begin_backup"] = Unavailable("libvirt.deadline", subject="it", reason="silent", remedy="Wait.")
    one = backup(node)
    assert code(lambda: node.backups.begin(NAME, one)) == "libvirt.deadline"
    assert [state.id for state in node.backups.states()] == [one.id]
    node.backups.end(NAME, one.id)
    clean(node, [one])
