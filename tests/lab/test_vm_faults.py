"""Hosts are lost in the middle of what is done to a VM: its guest, which records all the while, loses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from ovirtsdk4 import types

from image.guest.records import RECORD_BYTES
from tests.lab.cluster import Cluster, wait
from tests.lab.guest import MIB, PATIENCE_S, VMSTORE, await_status, lost, where
from tests.lab.test_vms import ENOUGH, POOL_WHOLE_S, RESTART_S, Recording, is_up, recording, sees_the_pool

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

SHARD_MIB = 64
FIRST_SHARD_RECORDS = SHARD_MIB * MIB // RECORD_BYTES
SLOW_MIB_S = 4
"""So that a migration or a merge is still going on when the fault comes."""
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

    def lose(self) -> None:
        """The host loses power; the guest goes on elsewhere."""
        before = self.guest.serial.acknowledged()
        cut_s = self.cluster.power(self.host, "off")
        found = wait("the VM on another host", RESTART_S, lambda: set(where(self.cluster, self.guest.id)) & set(self.others))
        print(f"restarted {time.time() - cut_s:.0f} s after the power cut of {self.host}, on {found}")
        await_status(self.guest.vm, types.VmStatus.UP)
        self.listen()
        assert self.guest.serial.await_more(ENOUGH) > before

    def listen(self) -> None:
        now_on = self.guest.vm.get(follow="host").host.name
        assert now_on in self.others
        self.guest.serial.listen(now_on)

    def restored(self, system: Any) -> None:
        """The host is back, and so is its part of the pool."""
        hosts = system.hosts_service()
        wait("its host up again", PATIENCE_S, lambda: is_up(hosts, self.host) or None)
        wait("the pool whole as its host sees it", POOL_WHOLE_S, lambda: sees_the_pool(self.cluster, self.host) or None)

    def layers(self) -> list[str]:
        """The files of the recorded disk."""
        folder = f"{VMSTORE}/images/{self.guest.data_id}"
        return sorted(self.cluster.shell(self.others[0], f"ls {folder}").split())


def on_another_host_than_the_engine(cluster: Cluster, guest: Recording) -> Stage:
    engine_host = str(cluster.engine()["host"])
    host = guest.host
    if host == engine_host:
        host = next(node for node in cluster.nodes if node != engine_host)
        guest.vm.migrate(host=types.Host(name=host))
        wait("the VM on its new host", PATIENCE_S, lambda: where(cluster, guest.id) == [host] or None)
        await_status(guest.vm, types.VmStatus.UP)
        guest.serial.listen(host)
    guest.serial.await_more(ENOUGH)
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


def lost_while(doing: Callable[[Stage], None], cluster: Cluster, system: Any) -> None:
    """``doing`` begins something on the stage's host, which then loses power in the middle of it."""
    with recording(cluster, system, is_ha=True) as guest:
        stage = on_another_host_than_the_engine(cluster, guest)
        doing(stage)
        stage.lose()
        wait("no job has the VM any more", SETTLED_S, lambda: not unfinished(system) or None)
        cluster.power(stage.host, "on")
        stage.restored(system)
        assert len(where(cluster, guest.id)) == 1, "one VM, not two"
        stopped_and_whole(stage)


def unfinished(system: Any) -> list[str]:
    jobs = system.jobs_service().list()
    return [job.description for job in jobs if job.status == types.JobStatus.STARTED]


def merging_or_over(stage: Stage) -> bool:
    asked = f"virsh -c qemu:///system qemu-monitor-command {stage.guest.id} '{QUERY_BLOCK_JOBS}'"
    return "commit" in stage.cluster.shell(stage.host, asked, ok=False) or len(stage.layers()) == 1


def test_its_host_is_lost_while_it_migrates(cluster: Cluster, system: Any) -> None:
    def migrating(stage: Stage) -> None:
        slow = f"virsh -c qemu:///system migrate-setspeed {stage.guest.id} {SLOW_MIB_S}"
        stage.guest.vm.migrate(host=types.Host(name=stage.others[0]))
        stage.cluster.shell(stage.host, slow, ok=False)
        wait("the VM arriving", PATIENCE_S, lambda: stage.others[0] in where(stage.cluster, stage.guest.id) or None)
        assert stage.host in where(stage.cluster, stage.guest.id), "it must not be over yet"

    lost_while(migrating, cluster, system)


def test_its_host_is_lost_while_a_snapshot_is_taken(cluster: Cluster, system: Any) -> None:
    def snapping(stage: Stage) -> None:
        snapshots = stage.guest.vm.snapshots_service()
        snapshots.add(types.Snapshot(description="when the power goes", persist_memorystate=False))
        wait("the layer there", PATIENCE_S, lambda: len(stage.layers()) == 2 or None)

    lost_while(snapping, cluster, system)


def test_its_host_is_lost_while_a_snapshot_is_merged(cluster: Cluster, system: Any) -> None:
    def merging(stage: Stage) -> None:
        snapshots = stage.guest.vm.snapshots_service()
        taken = snapshots.add(types.Snapshot(description="to be merged", persist_memorystate=False))
        one = snapshots.snapshot_service(taken.id)
        wait("the snapshot taken", PATIENCE_S, lambda: one.get().snapshot_status == types.SnapshotStatus.OK or None)
        stage.guest.serial.await_more(5 * ENOUGH)
        one.remove()
        wait("the merge going on", PATIENCE_S, lambda: merging_or_over(stage) or None)
        print("layers at the power cut:", stage.layers())

    lost_while(merging, cluster, system)


def test_a_host_that_was_only_cut_off_writes_nothing_beyond_the_first_shard(cluster: Cluster, system: Any) -> None:
    """Locks are no proof there: the volume has shards. Its guest goes on writing while another host has the VM already."""
    with recording(cluster, system, is_ha=True, records=FIRST_SHARD_RECORDS + 10) as guest:
        stage = on_another_host_than_the_engine(cluster, guest)
        before = guest.serial.acknowledged()
        assert before > FIRST_SHARD_RECORDS
        cluster.link(stage.host, "cut")
        try:
            found = wait("the VM on another host", RESTART_S, lambda: set(where(cluster, guest.id)) & set(stage.others))
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
