"""One contract for what the engine asks of a host for backups: its own fakes, and the agent's verbs over qemu-img, over the
fake libvirt and over QEMU, all through the wire."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance import layout
from appliance.agent.disk_routes import DiskRoutes, TaskRoutes
from appliance.agent.vm_routes import VmBackupRoutes
from appliance.errors import TrivetError
from appliance.fakes.wire import FakeWire
from appliance.model.disk import DiskFile, NewDisk
from appliance.model.task import TaskState
from appliance.model.vm import VmDisk
from appliance.model.vm_backup import BackupDisk, VmBackup, VmBackupState
from appliance.wire.disk_api import DiskApi, TaskApi
from appliance.wire.vm_api import VmBackupApi
from engine.fakes.disk_node import FakeDiskNode
from engine.fakes.vm_node import FakeVmNode
from engine.jobs.ports import DiskNode
from engine.nodes import WireDisks
from tests.contract.conftest import QEMU, live_node
from tests.contract.disk_node import MIB, Node
from tests.contract.hosts import SPEC
from tests.contract.live_node import NAME, LiveNode, code

C1, C2 = (str(uuid.UUID(int=number)) for number in (1, 2))
A = DiskFile("data", "vm/a", "qcow2")


@dataclass
class Host:
    """A host with a VM that has one disk."""

    backups: VmBackupApi
    start: Callable[[], object]
    destroy: Callable[[], object]
    remove: Callable[[DiskFile], object]


def of_engine(folder: Path) -> Host:
    disks, vms = FakeDiskNode("node1", folder), FakeVmNode("node1", folder)
    assert disks.disk_create("make", NewDisk(A, 8 * MIB)).state == "done"
    spec = replace(SPEC, disks=(VmDisk(str(layout.VOLUMES / "data" / A.path), "a", "qcow2"),))
    wire: VmBackupApi = FakeWire().client(VmBackupApi, vms)
    return Host(
        wire,
        lambda: vms.vm_start(spec, False),
        lambda: vms.vm_destroy(NAME),
        lambda file: disks.disk_remove(f"gone-{file.path}", file, False),
    )


def of_node(node: LiveNode) -> Host:
    wire: VmBackupApi = FakeWire().client(VmBackupApi, VmBackupRoutes(node.backups))
    return Host(
        wire, node.start, lambda: node.vms.destroy(NAME), lambda file: node.done(node.disks.remove(node.next(), file, False))
    )


@pytest.fixture(params=["engine", "fake", QEMU])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    if request.param == "engine":
        yield of_engine(tmp_path)
        return
    with live_node(request.param, request, tmp_path) as node:
        yield of_node(node)


def wanted(checkpoint: str = "", since: str = "") -> VmBackup:
    identifier = str(uuid.uuid4())
    scratch = DiskFile("data", f"backups/{identifier}/a", "qcow2")
    return VmBackup(identifier, (BackupDisk("a", A, scratch, bool(since), bool(checkpoint)),), checkpoint, since)


def test_begun_asked_and_ended(host: Host) -> None:
    host.start()
    assert host.backups.vm_backups() == ()
    one = wanted(C1)
    state = VmBackupState(one.id, NAME, is_running=True)
    assert host.backups.vm_backup_begin(NAME, one) == host.backups.vm_backup_begin(NAME, one) == state
    assert host.backups.vm_backups() == (state,)
    assert code(lambda: host.backups.vm_backup_begin(NAME, wanted())) == "vm.backup-other"
    host.backups.vm_backup_end(NAME, one.id)
    host.backups.vm_backup_end(NAME, one.id)
    assert host.backups.vm_backups() == ()
    host.remove(one.disks[0].scratch)
    two = wanted(C2, C1)
    assert host.backups.vm_backup_begin(NAME, two).is_running
    host.destroy()
    assert host.backups.vm_backups() == (VmBackupState(two.id, NAME, is_running=False),), "it is known until it is ended"
    host.backups.vm_backup_end(NAME, two.id)
    assert host.backups.vm_backups() == ()


def test_checkpoints_are_dropped_and_missed(host: Host) -> None:
    host.start()
    assert code(lambda: host.backups.vm_backup_begin(NAME, wanted("", C1))) == "vm.checkpoint-lost"
    one = wanted(C1)
    host.backups.vm_backup_begin(NAME, one)
    host.backups.vm_backup_end(NAME, one.id)
    for _again in range(2):
        host.backups.vm_checkpoint_drop(NAME, C1, ("a", "gone"))
    assert code(lambda: host.backups.vm_backup_begin(NAME, wanted("", C1))) == "vm.checkpoint-lost"
    assert host.backups.vm_backups() == (), "what was refused leaves nothing"
    assert code(lambda: host.backups.vm_backup_begin(NAME, replace(one, since=C1))) == "vm.backup"
    other = replace(one.disks[0], file=DiskFile("data", "vm/b", "qcow2"))
    assert code(lambda: host.backups.vm_backup_begin(NAME, replace(one, disks=(other,)))) == "vm.backup-disk"
    assert code(lambda: host.backups.vm_backup_begin("nobody", one)) == "vm.unknown"
    assert code(lambda: host.backups.vm_checkpoint_drop("nobody", C1, ("a",))) == "vm.unknown"


@pytest.fixture(params=["engine", "real"])
def disks(request: pytest.FixtureRequest, tmp_path: Path) -> DiskNode:
    """A host's disks, as the engine asks for them."""
    fake = FakeDiskNode("node1", tmp_path)
    if request.param == "engine":
        return fake
    node, wire = Node(tmp_path), FakeWire()
    tasks: TaskApi = wire.client(TaskApi, TaskRoutes(node.tasks))
    made: DiskApi = wire.client(DiskApi, DiskRoutes(node.chains, node.disks, node.bitmaps))
    return WireDisks(tasks, made, fake)  # type: ignore[arg-type]  # of domains, nothing is asked here


def ended(disks: DiskNode, state: TaskState) -> str:
    """Empty: done; else why it failed."""
    while not state.ended:
        time.sleep(0.02)
        state = disks.task(state.id)
    return state.error.code if state.error else ""


def bitmaps(disks: DiskNode, file: DiskFile) -> list[set[str]]:
    return [{held.name for held in one.bitmaps if held.is_good} for one in disks.disk_chain(file)]


def test_disks_that_no_vm_has_remember_and_forget(disks: DiskNode) -> None:
    raw, top = DiskFile("data", "vm/raw"), DiskFile("data", "vm/top", "qcow2")
    for task, new in (("a", NewDisk(A, 8 * MIB)), ("raw", NewDisk(raw, 8 * MIB))):
        assert ended(disks, disks.disk_create(task, new)) == ""
    assert ended(disks, disks.disk_bitmap_add("add", A, C1)) == ""
    assert ended(disks, disks.disk_bitmap_add("add-again", A, C1)) == ""
    assert bitmaps(disks, A) == [{C1}]
    assert ended(disks, disks.disk_bitmap_add("add-raw", raw, C1)) == "disk.format"
    assert ended(disks, disks.disk_create("top", NewDisk(top, 0, backing=A))) == ""
    assert ended(disks, disks.disk_bitmap_add("add-top", top, C2)) == ""
    assert bitmaps(disks, top) == [{C1, C2}, {C1}], "a new layer remembers what the one below does"
    assert ended(disks, disks.disk_commit("fold", top, A)) == ""
    assert bitmaps(disks, A) == [{C1, C2}], "what is folded is remembered by the base"
    for task in ("remove", "remove-again"):
        assert ended(disks, disks.disk_bitmap_remove(task, top, C1)) == ""
    assert bitmaps(disks, top) == [{C2}, {C2}], "forgotten in all layers"
    with pytest.raises(TrivetError):
        disks.disk_chain(DiskFile("data", "vm/none", "qcow2"))
