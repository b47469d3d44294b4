"""Hosts are lost in the middle of what is done to a VM: its guest, which records all the while, loses nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from ovirtsdk4 import types

from image.guest.records import RECORD_BYTES, read_records
from tests.lab.cluster import Cluster, wait
from tests.lab.guest import MIB, PATIENCE_S, VMSTORE, await_status, lost, where
from tests.lab.test_vms import ENOUGH, RESTART_S, Recording, await_whole_pool, is_up, recording

pytestmark = [
    pytest.mark.lab,
    pytest.mark.measured,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("saved_memory"),
]

SHARD_MIB = 64
FIRST_SHARD_RECORDS = SHARD_MIB * MIB // RECORD_BYTES
SLOW_MIB_S = 1
"""So that a migration is still going on when the fault comes: two further jobs are ordered after its begin."""
QUERY_BLOCK_JOBS = '{"execute": "query-block-jobs"}'
SETTLED_S = 300.0
"""A job that lost its host: undone or finished by the engine, which asks the host for ten minutes at most."""


@dataclass(frozen=True)
class Stage:
    """A recording guest on ``host``, which does not run the engine, and the two others."""

    cluster: Cluster
    guest: Recording
    host: str
    others: tuple[str, ...]

    def goes_on(self, cut_s: float, before: int) -> None:
        """Its host has lost power at ``cut_s``; the guest, which had acknowledged ``before``, goes on elsewhere."""
        found = wait(
            "the VM on another host", RESTART_S, lambda: set(where(self.cluster, self.guest.id)) & set(self.others) or None
        )
        print(f"restarted {time.time() - cut_s:.0f} s after the power cut of {self.host}, on {found}")
        await_status(self.guest.vm, types.VmStatus.UP)
        self.listen()
        assert self.guest.serial.await_more(ENOUGH) > before

    def listen(self) -> None:
        now_on = self.guest.vm.get(follow="host").host.name
        assert now_on in self.others
        self.guest.serial.listen(now_on, is_restarted=True)

    def restored(self, system: Any) -> None:
        """The host is back, and so is its part of the pool."""
        hosts = system.hosts_service()
        wait("its host up again", PATIENCE_S, lambda: is_up(hosts, self.host) or None)
        await_whole_pool(self.cluster, self.host)

    def on_bricks(self, when: str, nodes: Sequence[str]) -> None:
        """Print the newest record in each brick's copy of each raw layer: what tells an old copy from one that is read
        wrongly."""
        for node in nodes:
            folder = self.cluster.root(node) / f"data/bricks/{VMSTORE.name}/images/{self.guest.data_id}"
            for layer in sorted(folder.iterdir()) if folder.is_dir() else ():
                newest = max(read_records(layer.read_bytes()), default=-1)
                print(f"{when}: {self.guest.data_id[:8]} on {node}, {layer.name[:8]}: newest record {newest}")

    def layers(self) -> list[str]:
        """The files of the recorded disk."""
        folder = f"{VMSTORE}/images/{self.guest.data_id}"
        return sorted(self.cluster.shell(self.others[0], f"ls {folder}").split())


def another_host_than_the_engine(cluster: Cluster) -> str:
    engine_host = str(cluster.engine()["host"])
    return next(node for node in cluster.nodes if node != engine_host)


def brought_to(host: str, cluster: Cluster, guest: Recording) -> Stage:
    """The guest on that host, recording."""
    if guest.host != host:
        guest.vm.migrate(host=types.Host(name=host))
        wait("the VM on its new host", PATIENCE_S, lambda: where(cluster, guest.id) == [host] or None)
        await_status(guest.vm, types.VmStatus.UP)
        guest.serial.listen(host)
    guest.serial.await_more(ENOUGH)
    return stage_at(host, cluster, guest)


def stage_at(host: str, cluster: Cluster, guest: Recording) -> Stage:
    """The guest, which is there, and the other hosts."""
    return Stage(cluster, guest, host, tuple(node for node in cluster.nodes if node != host))


def stopped_and_whole(stage: Stage) -> None:
    """The guest is shut down; its chain is sound for qemu-img, and whatever it acknowledged is in it."""
    guest, node = stage.guest, stage.others[0]
    guest.vm.shutdown()
    await_status(guest.vm, types.VmStatus.DOWN)
    attachments = guest.vm.disk_attachments_service()
    disk = attachments.attachment_service(guest.data_id).get(follow="disk").disk
    assert disk.status == types.DiskStatus.OK
    folder, whole = f"{VMSTORE}/images/{guest.data_id}", f"/var/tmp/whole-{guest.data_id}"
    for layer in stage.layers():
        looked = f"qemu-img info -U {folder}/{layer} | grep -q 'format: raw'"  # which knows no inner faults
        print(stage.cluster.shell(node, f"{looked} || qemu-img check {folder}/{layer}"))
    stage.cluster.shell(node, f"qemu-img convert -O raw {folder}/{disk.image_id} {whole}")
    file = stage.cluster.root(node) / whole.lstrip("/")
    try:
        assert lost(guest.serial.said(), file) == ()
    finally:
        file.unlink()


def unfinished(system: Any) -> list[str]:
    jobs = system.jobs_service().list()
    return [job.description for job in jobs if job.status == types.JobStatus.STARTED]


def merging_or_over(stage: Stage) -> bool:
    asked = f"virsh -c qemu:///system qemu-monitor-command {stage.guest.id} '{QUERY_BLOCK_JOBS}'"
    return "commit" in stage.cluster.shell(stage.host, asked, ok=False) or len(stage.layers()) == 1


def migrates(stage: Stage) -> None:
    """To another host, so slowly that it is not there when the fault comes."""
    custom = types.MigrationBandwidthAssignmentMethod.CUSTOM
    bandwidth = types.MigrationBandwidth(assignment_method=custom, custom_value=8 * SLOW_MIB_S)
    stage.guest.vm.update(types.Vm(migration=types.MigrationOptions(bandwidth=bandwidth)))
    stage.guest.vm.migrate(host=types.Host(name=stage.others[0]))
    wait("the VM arriving", PATIENCE_S, lambda: stage.others[0] in where(stage.cluster, stage.guest.id) or None)


def with_a_snapshot(stage: Stage) -> Any:
    """Taken, and written to since; its service."""
    snapshots = stage.guest.vm.snapshots_service()
    taken = snapshots.add(types.Snapshot(description="to be merged", persist_memorystate=False))
    one = snapshots.snapshot_service(taken.id)
    wait("the snapshot taken", PATIENCE_S, lambda: one.get().snapshot_status == types.SnapshotStatus.OK or None)
    stage.guest.serial.await_more(5 * ENOUGH)
    return one


@pytest.mark.timeout(1800)
def test_a_host_is_lost_while_its_vms_run_migrate_take_a_snapshot_and_merge_one(cluster: Cluster, system: Any) -> None:
    """One power cut for all four, because each takes the minutes until the pool is whole again. The engine's host is another
    one."""
    with ExitStack() as guests:
        made = [guests.enter_context(recording(cluster, system, is_ha=True, least=0)) for _ in range(4)]
        for guest in made:
            guest.serial.await_more(ENOUGH)
        host = another_host_than_the_engine(cluster)
        stages = [brought_to(host, cluster, guest) for guest in made]
        _running, migrating, snapping, merging = stages
        merged = with_a_snapshot(merging)
        migrates(migrating)
        merged.remove()
        snapping.guest.vm.snapshots_service().add(types.Snapshot(description="when power goes", persist_memorystate=False))
        wait("the merge going on", PATIENCE_S, lambda: merging_or_over(merging) or None)
        wait("the layer there", PATIENCE_S, lambda: len(snapping.layers()) == 2 or None)
        assert host in where(cluster, migrating.guest.id), "it must not be over yet"
        before = [stage.guest.serial.acknowledged() for stage in stages]
        print("layers of the merge at the power cut:", merging.layers())
        cut_s = cluster.power(host, "off")
        for stage in stages:
            stage.on_bricks("after the power cut", stage.others)
        for stage, acknowledged in zip(stages, before, strict=True):
            stage.goes_on(cut_s, acknowledged)
        wait("no job has a VM any more", SETTLED_S, lambda: not unfinished(system) or None)
        cluster.power(host, "on")
        stages[0].restored(system)
        for stage in stages:
            stage.on_bricks("pool whole", cluster.nodes)
            assert len(where(cluster, stage.guest.id)) == 1, "one VM, not two"
            stopped_and_whole(stage)


def test_a_host_that_was_only_cut_off_writes_nothing_beyond_the_first_shard(cluster: Cluster, system: Any) -> None:
    """Locks are no proof there: the volume has shards. Its guest goes on writing while another host has the VM already."""
    with recording(cluster, system, is_ha=True, records=FIRST_SHARD_RECORDS + 10) as guest:
        stage = brought_to(another_host_than_the_engine(cluster), cluster, guest)
        before = guest.serial.acknowledged()
        assert before > FIRST_SHARD_RECORDS
        cluster.link(stage.host, "cut")
        try:
            found = wait(
                "the VM on another host", RESTART_S, lambda: set(where(cluster, guest.id)) & set(stage.others) or None
            )
            print(f"on {found}; on the host that is cut off: {where(cluster, guest.id)}")
            await_status(guest.vm, types.VmStatus.UP)
            stage.listen()
            guest.serial.await_more(ENOUGH)
        finally:
            cluster.link(stage.host, "heal")
        stage.restored(system)
        wait("the old QEMU gone", PATIENCE_S, lambda: stage.host not in where(cluster, guest.id) or None)
        guest.serial.await_more(ENOUGH)
        stopped_and_whole(stage)
