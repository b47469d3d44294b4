"""``kill -9`` of the jobs process anywhere in a start that makes up its guest, or in the removal of its CD: the VM runs with
the CD in its drive, or nothing of both is left once the sweeper has looked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.codec import decode
from appliance.errors import Failed, TrivetError
from appliance.model.domain import NoCloudSeed
from engine.decide.vm_machine import SEED_DRIVE
from engine.jobs import seeds
from engine.jobs.desk import Desk
from engine.jobs.seed_remove import RemoveSeed, SeedRemove, Sweeper
from engine.jobs.vm_start import StartVm, VmStart
from engine.jobs.vm_state import SEED, went_down
from engine.jobs.vm_stop import OnVm, VmStop
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import LOCK
from tests.engine.crash import DATABASE, HOSTS, kill_everywhere
from tests.engine.job_world import MIB, desk_of, files, nodes_at, open_store, work_off

BROKEN = Failed("vm.broken", subject="VM v1", reason="it breaks here", remedy="Mend it.")
FULL = Failed("disk.no-space", subject="vmstore", reason="it is full", remedy="Make room.")
INIT = {"host_name": "web1", "user_name": "ada"}


def prepare(folder: Path) -> None:
    """A VM with a disk, and two hosts."""
    store = open_store(folder / DATABASE)
    entities = store.entities
    for host in ("node1", "node2"):
        entities.add(Entity("host", host, host, {}, {"cluster": ("c1",)}))
    memory = {"memory": 256 * MIB, "memory_policy": {"guaranteed": 256 * MIB, "max": 256 * MIB}}
    entities.change("vm", "v1", lambda vm: vm.with_body(**memory, initialization=INIT))
    disk = {"image_id": "i-d1", "format": "raw", "provisioned_size": MIB}
    entities.add(Entity("disk", "d1", "d1", disk, {"storage_domains": ("s1",)}, status="ok"))
    entities.add(Entity("disk_attachment", "d1", "", {}, {"disk": ("d1",)}, parent=("vm", "v1")))
    store.close()


def ended(folder: Path) -> None:
    """The same VM after its first run."""
    prepare(folder)
    store = Store(folder / DATABASE)
    for order in (start, lambda desk: desk.order(VmStop, OnVm("v1"), owner_id="admin", correlation_id="c").id):
        order(desk_of(store))
        work_off(store, nodes_at(folder / HOSTS))
    store.close()
    assert len(files(folder / HOSTS)) == 1


def start(desk: Desk) -> str:
    return desk.order(VmStart, StartVm("v1"), owner_id="admin", correlation_id="c").id


def removal(desk: Desk) -> str:
    (row,) = desk.entities.list(seeds.KIND)
    return desk.order(SeedRemove, RemoveSeed(row.id), owner_id="", correlation_id="c").id


def nothing_left(store: Store, folder: Path) -> None:
    Sweeper(store.entities, desk_of(store), print).turn()
    work_off(store, nodes_at(folder / HOSTS))
    assert files(folder / HOSTS) == {}
    assert store.entities.list(seeds.KIND) == []
    assert store.connection.rows(LOCK.select()) == []


def check_start(status: str) -> Callable[[Path, str, str], None]:
    def check(folder: Path, job_id: str, where: str) -> None:
        store, nodes = Store(folder / DATABASE), nodes_at(folder / HOSTS)
        job, vm = desk_of(store).jobs.need(job_id), store.entities.need("vm", "v1")
        assert (job.state, job.status) == ("ended", status), (where, job.error)
        running = nodes.host("node1").vm("v1")
        assert nodes.host("node2").vm("v1") is None, where
        if status == "finished":
            assert running is not None, where
            (path,) = (one.path for one in running.spec.disks if one.serial == SEED_DRIVE)
            assert vm.body[SEED] == job_id, where
            (file,) = files(folder / HOSTS)
            assert path.endswith(file), where
            seed = decode(NoCloudSeed, json.loads((folder / HOSTS / "domains" / file).read_text()), subject=where)
            assert job_id in seed.meta_data, where
            nodes.host("node1").end("v1")
            store.entities.update(went_down(vm, 1))
        else:
            assert (running, vm.status, vm.ref("host")) == (None, "down", ""), where
            assert SEED not in vm.body, where
        nothing_left(store, folder)
        store.close()

    return check


def check_removal(folder: Path, job_id: str, where: str) -> None:
    store = Store(folder / DATABASE)
    job = desk_of(store).jobs.need(job_id)
    assert (job.state, job.status) == ("ended", "finished"), (where, job.error)
    nothing_left(store, folder)
    store.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("status", "fail_with"),
    [("finished", {}), ("failed", {"seed": FULL}), ("failed", {"start": BROKEN})],
    ids=("start", "cd-fails", "start-fails"),
)
def test_a_start_is_killed_everywhere(status: str, fail_with: dict[str, TrivetError], tmp_path: Path) -> None:
    kill_everywhere(tmp_path, prepare, start, check_start(status), fail_with, 9)


@pytest.mark.timeout(600)
def test_the_removal_is_killed_everywhere(tmp_path: Path) -> None:
    kill_everywhere(tmp_path, ended, removal, check_removal, {}, 7)
