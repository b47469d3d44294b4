"""A VM's life on three real nodes: the official SDK asks the engine, real QEMUs answer for it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from ovirtsdk4 import types

from engine.decide.descriptor import FOLDER
from image.guest.records import RECORD_BYTES, Record, Run, make_record
from tests.lab.cluster import Cluster, wait
from tests.lab.guest import (
    DATA_MIB,
    MEMORY_MIB,
    MIB,
    PATIENCE_S,
    VMSTORE,
    Serial,
    await_status,
    await_usable,
    disk,
    file_of,
    fill,
    image,
    lost,
    where,
)

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

ENOUGH = 60
"""Records: some seconds of them."""
RESTART_S = 120.0
"""Power cut to the guest's start elsewhere (39 s beside other work): the pool loses the node after some 10 s; eviction and
start are jobs of an emulated engine."""
POOL_WHOLE_S = 420.0
"""What the engine does by itself one after the other, at worst: the guest is moved, so that its disk is open on the brick
that came back (30 s of steady connections, 2 min for a heal), a heal that the guest starves is helped (60 s and a minute), a
brick that has missed the end of the eviction is told anew (60 s and a minute)."""


@contextmanager
def a_vm(cluster: Cluster, system: Any, name: str, **given: Any) -> Iterator[Any]:
    """The service of a VM made from Blank; removed at the end, whatever it does then."""
    vms, clusters = system.vms_service(), system.clusters_service().list()
    name = f"{name}-{uuid.uuid4().hex[:6]}"
    blank = types.Template(name="Blank")
    made = vms.add(types.Vm(name=name, cluster=types.Cluster(id=clusters[0].id), template=blank, **given))
    vm = vms.vm_service(made.id)
    try:
        yield vm
    finally:
        if where(cluster, made.id):
            vm.stop()
            await_status(vm, types.VmStatus.DOWN)
        vm.remove()
        wait("the VM gone", PATIENCE_S, lambda: not vms.list(search=f"name={name}"))


def test_the_life_of_a_vm(cluster: Cluster, system: Any) -> None:
    """Made, given a disk and a NIC, started, changed while it runs, moved, paused, suspended, stopped and removed; after
    each of them libvirt of the nodes says what the API says."""
    with a_vm(cluster, system, "vm", memory=64 * MIB) as vm:
        made, attachments, nics = vm.get(), vm.disk_attachments_service(), vm.nics_service()
        nics.add(types.Nic(name="nic1", interface=types.NicInterface.VIRTIO))
        first = attachments.add(disk(f"{made.name}-root", bootable=True))
        await_usable(attachments, first)
        vm.start()
        await_status(vm, types.VmStatus.UP)
        source = vm.get(follow="host").host.name
        assert where(cluster, made.id) == [source]
        second = attachments.add(disk(f"{made.name}-data", bootable=False))
        await_usable(attachments, second)
        assert cluster.shell(source, f"virsh -c qemu:///system domblklist {made.id} | grep -c vmstore").strip() == "2"
        target = next(node for node in cluster.nodes if node != source)
        vm.migrate(host=types.Host(name=target))
        wait("the VM on its new host", PATIENCE_S, lambda: where(cluster, made.id) == [target] or None)
        wait("the API says so", PATIENCE_S, lambda: vm.get(follow="host").host.name == target or None)
        await_status(vm, types.VmStatus.UP)
        vm.suspend()
        await_status(vm, types.VmStatus.SUSPENDED)
        assert where(cluster, made.id) == []
        vm.start()
        await_status(vm, types.VmStatus.UP)
        cluster.shell(where(cluster, made.id)[0], f"virsh -c qemu:///system destroy {made.id}")
        await_status(vm, types.VmStatus.DOWN)
        vm.start(pause=True)
        await_status(vm, types.VmStatus.PAUSED)
    # descriptors follow within minutes (KEEP_EVERY_S): tests/engine looks at those
    left = cluster.shell(cluster.nodes[0], f"find {VMSTORE} -not -path '*/{FOLDER}/*'")
    assert not [one for one in (made.id, first.id, second.id) if one in left], left


@dataclass(frozen=True)
class Recording:
    """The test guest, running and recording on its second disk. ``host``: where it was started."""

    vm: Any
    id: str
    serial: Serial
    data_id: str
    host: str


@contextmanager
def recording(
    cluster: Cluster, system: Any, is_ha: bool = False, records: int = 0, least: int = ENOUGH, backup: bool = False
) -> Iterator[Recording]:
    """Make it, and remove it with all it has. ``records``: so many are on its disk already, and it goes on behind them;
    ``least``: so many new ones are waited for; ``backup``: its disk is one of which incremental backups can be made."""
    given = {
        "memory": MEMORY_MIB * MIB,
        "console": types.Console(enabled=True),
        "high_availability": types.HighAvailability(enabled=is_ha, priority=50),
    }
    with a_vm(cluster, system, "records", **given) as vm:
        made, attachments = vm.get(), vm.disk_attachments_service()
        serial = Serial(cluster, made.id)
        raw = types.DiskFormat.RAW
        root = attachments.add(disk(f"{made.name}-root", bootable=True, kind=raw))
        kind = types.DiskFormat.COW if backup else raw
        data = attachments.add(disk(f"{made.name}-data", bootable=False, size_mib=DATA_MIB, kind=kind, backup=backup))
        await_usable(attachments, root)
        await_usable(attachments, data)
        fill(cluster, root.id, image().read_bytes())
        if records:
            fill(cluster, data.id, written_before(records))
        vm.start()
        await_status(vm, types.VmStatus.UP)
        host = vm.get(follow="host").host.name
        serial.listen(host)
        try:
            serial.await_more(least)
            yield Recording(vm, made.id, serial, data.id, host)
        finally:
            print(serial.text()[-2000:])
            serial.close()


def written_before(records: int) -> bytes:
    """The begin of a recorded disk."""
    slots, run = DATA_MIB * MIB // RECORD_BYTES, Run(uuid.uuid4(), 0)
    return b"".join(make_record(Record(number, slots, 0, run)) for number in range(records))


def test_no_acknowledged_record_is_lost(cluster: Cluster, system: Any) -> None:
    """A real guest records all the time: while a snapshot is taken and removed, while it is moved to another host, when its
    QEMU is killed, and after that."""
    with recording(cluster, system) as guest:
        snapshot_and_merge(cluster, guest)
        vm, serial, source = guest.vm, guest.serial, guest.host
        target_host = next(node for node in cluster.nodes if node != source)
        vm.migrate(host=types.Host(name=target_host))
        wait("the VM on its new host", PATIENCE_S, lambda: where(cluster, guest.id) == [target_host] or None)
        serial.listen(target_host)
        before = serial.await_more(ENOUGH)
        print(f"{before} records, moved from {source} to {target_host}")
        cluster.shell(target_host, f"kill -9 $(pgrep -f '[g]uest={guest.id}')")
        await_status(vm, types.VmStatus.DOWN)
        assert lost(serial.said(), file_of(cluster, source, guest.data_id)) == ()
        vm.start()
        await_status(vm, types.VmStatus.UP)
        serial.listen(vm.get(follow="host").host.name)
        assert serial.await_more(ENOUGH) > before
        vm.shutdown()
        await_status(vm, types.VmStatus.DOWN)
        assert "TRIVET-GUEST down" in serial.text()
        assert lost(serial.said(), file_of(cluster, source, guest.data_id)) == (), "one file, and all records in it"


def snapshot_and_merge(cluster: Cluster, guest: Recording) -> None:
    """While the guest records: a layer is made, written to, and merged under its hands."""
    snapshots, serial = guest.vm.snapshots_service(), guest.serial
    taken = snapshots.add(types.Snapshot(description="while it records", persist_memorystate=False))
    one = snapshots.snapshot_service(taken.id)
    wait("the snapshot taken", PATIENCE_S, lambda: one.get().snapshot_status == types.SnapshotStatus.OK or None)
    serial.await_more(ENOUGH)
    folder = f"{VMSTORE}/images/{guest.data_id}"
    assert len(cluster.shell(guest.host, f"ls {folder}").split()) == 2, "a layer lies over the disk"
    one.remove()
    wait("the snapshot gone", PATIENCE_S, lambda: taken.id not in [it.id for it in snapshots.list()] or None)
    serial.await_more(ENOUGH)


@pytest.mark.usefixtures("saved_memory")
def test_a_highly_available_vm_outlives_its_host(cluster: Cluster, system: Any) -> None:
    """The host of a recording guest loses power (not the engine's): it is cut off, and the guest goes on on another."""
    engine_host = cluster.engine()["host"]
    with recording(cluster, system, is_ha=True) as guest:
        vm, serial, host = guest.vm, guest.serial, guest.host
        if host == engine_host:
            host = next(node for node in cluster.nodes if node != engine_host)
            vm.migrate(host=types.Host(name=host))
            wait("the VM on its new host", PATIENCE_S, lambda: where(cluster, guest.id) == [host] or None)
            await_status(vm, types.VmStatus.UP)
            serial.listen(host)
        before = serial.await_more(ENOUGH)
        cut_s = cluster.power(host, "off")
        others = [node for node in cluster.nodes if node != host]
        wait("the VM on another host", RESTART_S, lambda: set(where(cluster, guest.id)) & set(others) or None)
        print(f"restarted {time.time() - cut_s:.0f} s after the power cut of {host}")
        await_status(vm, types.VmStatus.UP)
        now_on = vm.get(follow="host").host.name
        assert now_on in others
        serial.listen(now_on)
        assert serial.await_more(ENOUGH) > before
        cluster.power(host, "on")
        hosts = system.hosts_service()
        wait("its host up again", PATIENCE_S, lambda: is_up(hosts, host) or None)
        assert where(cluster, guest.id) == [now_on], "one VM, not two"
        await_whole_pool(cluster, host)
        vm.shutdown()
        await_status(vm, types.VmStatus.DOWN)
        assert lost(serial.said(), file_of(cluster, now_on, guest.data_id)) == ()


def await_whole_pool(cluster: Cluster, node: str) -> None:
    """Also its own brick lets ``node`` in again: one that was started meanwhile knows the eviction from its beginning. Fails
    with what the node says of the pool."""
    said = [""]
    begun_s = time.monotonic()

    def probe() -> bool:
        answer = cluster.on(node, "trivet", "gluster", "status", "--json", ok=False)
        said[0] = answer.stdout + answer.stderr
        return answer.status == 0 and bool(answer.json()["safe_to_lose_one_node"])

    try:
        wait("the pool whole as its host sees it", POOL_WHOLE_S, lambda: probe() or None)
    except AssertionError as error:
        raise AssertionError(f"{error}: {said[0]}") from error
    print(f"the pool was whole {time.monotonic() - begun_s:.0f} s after {node} was up")


def is_up(hosts: Any, name: str) -> bool:
    (found,) = hosts.list(search=f"name={name}")
    return bool(found.status == types.HostStatus.UP)
