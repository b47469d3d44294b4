"""``kill -9`` of the jobs process anywhere in a VM's jobs, then another one: the job is finished, or the VM is as before it.

As in test_jobs_crash.py: real processes, real SIGKILL, at every place between two things that last. No two hosts have the
VM, and nothing is left locked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.errors import Failed, TrivetError
from engine.fakes.hosts import FakeNodes
from engine.jobs.desk import Desk
from engine.jobs.disk_create import CreateDisk
from engine.jobs.snapshot_create import CreateSnapshot, SnapshotCreate
from engine.jobs.vm_create import AddedDisk, CreateVm, VmCreate
from engine.jobs.vm_disks import AddVmDisk, PlugDisk, UnplugDisk, VmAddDisk, VmPlugDisk, VmUnplugDisk
from engine.jobs.vm_freeze import VmFreeze, VmThaw
from engine.jobs.vm_grow import GrowCpus, GrowMemory, VmGrowCpus, VmGrowMemory
from engine.jobs.vm_migrate import MigrateVm, VmMigrate
from engine.jobs.vm_nics import PlugNic, SetNic, UnplugNic, VmPlugNic, VmSetNic, VmUnplugNic
from engine.jobs.vm_parts import NewNic
from engine.jobs.vm_remove import RemoveVm, VmRemove
from engine.jobs.vm_start import StartVm, VmStart
from engine.jobs.vm_state import GROW
from engine.jobs.vm_stop import OnVm, VmReset, VmShutdown, VmStop
from engine.jobs.vm_suspend import SuspendVm, VmSuspend, VmWake, WakeVm
from engine.store.audit import EVENT
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import LOCK
from tests.engine.crash import cancelled, kill_case, order
from tests.engine.job_world import MIB, desk_of, files, nodes_at, open_store, work_off

BROKEN = Failed("vm.broken", subject="VM v1", reason="it breaks here", remedy="Mend it.")
FULL = Failed("disk.no-space", subject="vmstore", reason="it is full", remedy="Make room.")
NEW = tuple(AddedDisk(CreateDisk(one, f"i-{one}", one, "s1", MIB), {"interface": "virtio_scsi"}) for one in ("d2", "d3"))
BODY = {"memory": 256 * MIB, "memory_policy": {"guaranteed": 256 * MIB, "max": 1024 * MIB}}


START = order(VmStart, StartVm("v1"))
SUSPEND = order(VmSuspend, SuspendVm("v1", "s1", "memory/v1/m"))

STOP = order(VmStop, OnVm("v1"))
TAKE = order(SnapshotCreate, CreateSnapshot("v1", "sn1", "then", {"d1": "d1-over"}, 1000, "s1", "memory/v1/sn1"))


@dataclass(frozen=True)
class Case:
    """A job, what is done before it, and the only end that it may have, killed or not.

    ``vm``: shown status, ``None``: gone. ``has``: what hosts have of it, as :func:`machine` says. ``disks``: the images.
    ``told``: how many events the job tells.
    """

    name: str
    order: Callable[[Desk], str]
    status: str = "finished"
    vm: str | None = "up"
    has: str = "node1: d1 m1"
    disks: tuple[str, ...] = ("d1",)
    before: tuple[Callable[[Desk], str], ...] = (START,)
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    told: int = 1
    places: int = 7


CASES = (
    Case("start", START, vm="up", told=2, before=()),
    Case("start-fails", START, "failed", "down", "", before=(), fail_with={"start": BROKEN}),
    Case("start-cancelled", cancelled(START), "aborted", "down", "", before=(), places=4),
    Case("stop", order(VmStop, OnVm("v1")), vm="down", has=""),
    Case("stop-fails", order(VmStop, OnVm("v1")), "failed", "unknown", fail_with={"destroy": BROKEN}),
    Case("shutdown", order(VmShutdown, OnVm("v1")), vm="powering_down"),
    Case("reset", order(VmReset, OnVm("v1")), vm="reboot_in_progress"),
    Case("reset-fails", order(VmReset, OnVm("v1")), "failed", fail_with={"reset": BROKEN}),
    Case("freeze", order(VmFreeze, OnVm("v1")), told=2),
    Case("freeze-fails", order(VmFreeze, OnVm("v1")), "failed", fail_with={"freeze": BROKEN}, told=2),
    Case("thaw", order(VmThaw, OnVm("v1")), before=(START, order(VmFreeze, OnVm("v1")))),
    Case("suspend", SUSPEND, vm="suspended", has="", disks=("d1", "m"), told=2),
    Case("suspend-fails", SUSPEND, "failed", fail_with={"suspend": BROKEN}, told=2),
    Case("wake", order(VmWake, WakeVm("v1")), vm="powering_up", before=(START, SUSPEND)),
    Case(
        "wake-fails", order(VmWake, WakeVm("v1")), "failed", "suspended", "", ("d1", "m"), (START, SUSPEND), {"wake": BROKEN}
    ),
    Case("migrate", order(VmMigrate, MigrateVm("v1")), has="node2: d1 m1", told=2),
    Case("migrate-fails", order(VmMigrate, MigrateVm("v1")), "failed", fail_with={"move": BROKEN}, told=2),
    Case("migrate-cancelled", cancelled(order(VmMigrate, MigrateVm("v1"))), "aborted", places=4),
    Case("remove", order(VmRemove, RemoveVm("v1")), vm=None, has="", disks=(), before=()),
    Case("remove-with-memory", order(VmRemove, RemoveVm("v1")), vm=None, has="", disks=(), before=(START, TAKE, STOP)),
    Case("remove-fails", order(VmRemove, RemoveVm("v1")), "failed", "down", "", before=(), fail_with={"remove": FULL}),
    Case("plug-disk", order(VmPlugDisk, PlugDisk("v1", "d0", {})), has="node1: d1 d0 m1"),
    Case("plug-disk-fails", order(VmPlugDisk, PlugDisk("v1", "d0", {})), "failed", fail_with={"plug-disk": BROKEN}),
    Case("unplug-disk", order(VmUnplugDisk, UnplugDisk("v1", "d1", detach=True)), has="node1: m1"),
    Case(
        "unplug-fails", order(VmUnplugDisk, UnplugDisk("v1", "d1", detach=True)), "failed", fail_with={"unplug-disk": BROKEN}
    ),
    Case("add-disk", order(VmAddDisk, AddVmDisk("v1", NEW[0])), has="node1: d1 d2 m1", disks=("d1", "d2"), told=2),
    Case("add-disk-fails", order(VmAddDisk, AddVmDisk("v1", NEW[0])), "failed", fail_with={"plug-disk": BROKEN}, told=2),
    Case(
        "plug-nic", order(VmPlugNic, PlugNic("v1", "n2", NewNic("n2", "nic2", "00:1a:4a:00:00:02"))), has="node1: d1 m1 m2"
    ),
    Case(
        "plug-nic-fails",
        order(VmPlugNic, PlugNic("v1", "n2", NewNic("n2", "nic2", "00:1a:4a:00:00:02"))),
        "failed",
        fail_with={"plug-nic": BROKEN},
    ),
    Case("unplug-nic", order(VmUnplugNic, UnplugNic("v1", "n1", remove=True)), has="node1: d1"),
    Case("grow-cpus", order(VmGrowCpus, GrowCpus("v1", 2)), has="node1: d1 m1 2c"),
    Case("grow-cpus-fails", order(VmGrowCpus, GrowCpus("v1", 2)), "failed", fail_with={"set-cpus": BROKEN}),
    Case("grow-memory", order(VmGrowMemory, GrowMemory("v1", 512 * MIB)), has="node1: d1 m1 512M"),
    Case("grow-memory-fails", order(VmGrowMemory, GrowMemory("v1", 512 * MIB)), "failed", fail_with={"set-memory": BROKEN}),
    Case("set-nic", order(VmSetNic, SetNic("v1", "n1", "nic1", {"linked": False})), has="node1: d1 m1-"),
)
CREATE = Case(
    "create", order(VmCreate, CreateVm("v2", "web2", BODY, {"cluster": ("c1",)}, disks=NEW)), vm="down", has="",
    disks=("d1", "d2", "d3"), before=(), told=2,
)  # fmt: skip
CREATE_FAILS = Case(
    "create-fails", CREATE.order, "failed", None, "", before=(), fail_with={"create": FULL}, told=2
)  # fmt: skip


def machine(nodes: FakeNodes, vm: str) -> str:
    """``node1: d1 m1``: who has it, with its disks (but the drive) and NICs (``-``: cable out)."""
    found = []
    for name in nodes.nodes:
        one = nodes.host(name).vm(vm)
        if one is not None:
            disks = [disk.serial for disk in one.spec.disks if disk.bus != "cdrom"]
            nics = [f"m{int(nic.mac[-2:])}{'' if nic.link_up else '-'}" for nic in one.spec.nics]
            grown = [f"{one.spec.cpus}c"] * (one.spec.cpus > 1) + [f"{one.spec.memory_mib}M"] * (one.spec.memory_mib != 256)
            found.append(f"{name}: {' '.join([*disks, *nics, *grown])}")
    return "; ".join(found)


def prepare(folder: Path, case: Case) -> None:
    """A VM with a disk and a NIC, two hosts, and what the case wants before."""
    store = open_store(folder / "engine.sqlite")
    entities = store.entities
    ranges = [{"from_": "00:1a:4a:00:00:01", "to": "00:1a:4a:00:00:09"}]
    entities.add(Entity("mac_pool", "p1", "Default", {"default_pool": True, "ranges": ranges}))
    for host in ("node1", "node2"):
        entities.add(Entity("host", host, host, {}, {"cluster": ("c1",)}))
    entities.change("vm", "v1", lambda vm: vm.with_body(**BODY))
    for disk in ("d0", "d1"):
        body = {"image_id": f"i-{disk}", "format": "raw", "provisioned_size": MIB}
        entities.add(Entity("disk", disk, disk, body, {"storage_domains": ("s1",)}, status="ok"))
    entities.add(Entity("disk_attachment", "d1", "", {}, {"disk": ("d1",)}, parent=("vm", "v1")))
    entities.add(Entity("nic", "n1", "nic1", {"mac": {"address": "00:1a:4a:00:00:01"}}, parent=("vm", "v1")))
    image = folder / "hosts" / "domains" / "vmstore" / "images" / "d1" / "i-d1"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"")
    for one in case.before:
        one(desk_of(store))
        work_off(store, nodes_at(folder / "hosts"))
        if entities.need("vm", "v1").status == "powering_up":
            entities.set_status("vm", {"v1": "up"})
    store.connection.run(EVENT.delete())
    store.close()


def check(case: Case, folder: Path, job_id: str, where: str) -> None:
    store, nodes = Store(folder / "engine.sqlite"), nodes_at(folder / "hosts")
    job, vm_id = store.entities, "v2" if case.name.startswith("create") else "v1"
    ended = desk_of(store).jobs.need(job_id)
    vm = job.get("vm", vm_id)
    assert (ended.state, ended.status) == ("ended", case.status), (where, ended.error)
    assert (vm.shown_status if vm else None) == case.vm, where
    has = machine(nodes, vm_id)
    assert has == case.has, where
    if vm is not None and vm.status not in ("unknown", "suspended", "down"):
        assert vm.ref("host") == has.split(":")[0], where
    elif vm is not None and vm.status != "unknown":
        assert not vm.ref("host"), where
    assert vm is None or GROW not in vm.body, where
    images = sorted(path.split("/")[-2] if "/images/" in path else "m" for path in files(folder / "hosts"))
    assert images == sorted(case.disks), where
    rows = {one.id for one in store.entities.list("disk") if one.id != "d0"}
    assert rows == set(case.disks) - {"m"}, where
    assert store.connection.rows(LOCK.select()) == [], where
    told = [one.description for one in store.events(limit=99)]
    assert len(told) == case.told, (where, told)
    store.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", [*CASES, CREATE, CREATE_FAILS], ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    kill_case(tmp_path, case, prepare, check)
