"""What happens to the disk of a guest that records all the while, on three real nodes: backups, moves to a storage domain on
another volume and back, and growth of the machine itself; its console is a person's by ssh."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types

from appliance import layout
from image.guest.records import read_records
from tests.contract.test_backup_bytes import APPLY
from tests.contract.test_image_tickets import DOWNLOAD
from tests.lab.cluster import Cluster, wait
from tests.lab.guest import MIB, PATIENCE_S, await_status, lost, where
from tests.lab.test_transfers import Phase, await_phase, begun, client
from tests.lab.test_vm_faults import SETTLED_S, brought_to, stage_at, stopped_and_whole, unfinished
from tests.lab.test_vms import ENOUGH, Recording, recording

pytestmark = [pytest.mark.lab, pytest.mark.measured, pytest.mark.timeout(1200)]

SECOND = "second"
BRICK = f"/var/lib/trivet/{SECOND}-brick"
BACKED_UP = types.BackupPhase.READY
SSH_S = 120.0
GROWN_MIB = 128


@contextmanager
def second_domain(cluster: Cluster, system: Any) -> Iterator[Any]:
    """A storage domain on a volume of its own, which somebody has made with Gluster's own tools."""
    node = cluster.nodes[0]
    for each in cluster.nodes:
        cluster.shell(each, f"mkdir -p {BRICK}")
    bricks = " ".join(f"{each}:{BRICK}" for each in cluster.nodes)
    made = f"volume create {SECOND} replica {len(cluster.nodes)} {bricks} force"
    cluster.shell(node, f"gluster --mode=script {made} && gluster --mode=script volume start {SECOND}")
    try:
        with attached(system, node) as domain:
            yield domain
    finally:
        cluster.shell(
            node, f"gluster --mode=script volume stop {SECOND} force; gluster --mode=script volume delete {SECOND}", ok=False
        )
        for each in cluster.nodes:
            cluster.shell(each, f"rm -rf {BRICK}", ok=False)


@contextmanager
def attached(system: Any, node: str) -> Iterator[Any]:
    """The domain's service while it is active; formatted at the end."""
    domains = system.storage_domains_service()
    place = types.HostStorage(type=types.StorageType.GLUSTERFS, address=node, path=f"/{SECOND}")
    wanted = types.StorageDomain(name=SECOND, type=types.StorageDomainType.DATA, host=types.Host(name=node), storage=place)
    made = wait("the new volume seen by the engine", PATIENCE_S, lambda: accepted(domains, wanted))
    domain = domains.storage_domain_service(made.id)
    wait("the domain made", PATIENCE_S, lambda: domain.get().status == types.StorageDomainStatus.UNATTACHED or None)
    center = system.data_centers_service().list()[0]
    centers = system.data_centers_service().data_center_service(center.id).storage_domains_service()
    centers.add(types.StorageDomain(id=made.id))
    mine = centers.storage_domain_service(made.id)
    wait("the domain active", PATIENCE_S, lambda: mine.get().status == types.StorageDomainStatus.ACTIVE or None)
    try:
        yield domain
    finally:
        mine.deactivate()
        resting = types.StorageDomainStatus.MAINTENANCE
        wait("the domain in maintenance", PATIENCE_S, lambda: mine.get().status == resting or None)
        mine.remove()
        wait("the domain detached", PATIENCE_S, lambda: domain.get().status == types.StorageDomainStatus.UNATTACHED or None)
        domain.remove(host=node, format=True)
        wait("the domain gone", PATIENCE_S, lambda: made.id not in [one.id for one in domains.list()] or None)


def accepted(domains: Any, wanted: Any) -> Any:
    """The engine looks at the pool now and then: until then it knows no such volume."""
    try:
        return domains.add(wanted)
    except sdk.Error as error:
        print(error)
        return None


def move(disk: Any, domain_id: str, guest: Recording) -> None:
    """The disk goes there while its guest writes."""
    before = guest.serial.acknowledged()
    disk.move(storage_domain=types.StorageDomain(id=domain_id))

    def is_there() -> bool | None:
        found = disk.get()
        return (found.status, [one.id for one in found.storage_domains]) == (types.DiskStatus.OK, [domain_id]) or None

    wait("the disk moved", SETTLED_S, is_there)
    guest.serial.await_more(ENOUGH)
    print(f"moved while the guest went from record {before} to {guest.serial.acknowledged()}")


def backup(system: Any, guest: Recording, since: str | None = None) -> tuple[Any, Any]:
    """(a backup that is ready, the transfer that its bytes come through)."""
    wanted = types.Backup(disks=[types.Disk(id=guest.data_id)], from_checkpoint_id=since)
    backups = guest.vm.backups_service()
    one = backups.backup_service(backups.add(wanted).id)
    wait("the backup ready", PATIENCE_S, lambda: one.get().phase == BACKED_UP or None)
    return one, begun(system, guest.data_id, types.ImageTransferDirection.DOWNLOAD, types.Backup(id=one.get().id))


def ended(one: Any, transfer: Any) -> str:
    """The checkpoint that it leaves."""
    transfer.finalize()
    await_phase(transfer, Phase.FINISHED_SUCCESS)
    one.finalize()
    wait("the backup ended", PATIENCE_S, lambda: one.get().phase == types.BackupPhase.SUCCEEDED or None)
    return str(one.get().to_checkpoint_id)


def test_a_recorded_disk_is_backed_up_in_full_and_since(cluster: Cluster, system: Any, tmp_path: Path) -> None:
    """Whatever was acknowledged when a backup began is in what a backup product puts together."""
    copy = tmp_path / "copy.raw"
    with recording(cluster, system, backup=True) as guest:
        said = guest.serial.said()
        one, transfer = backup(system, guest)
        guest.serial.await_more(ENOUGH)
        client(cluster, DOWNLOAD, transfer.get().transfer_url, str(copy), "raw")
        checkpoint = ended(one, transfer)
        assert lost(said, copy) == ()
        first = max(read_records(copy.read_bytes()))
        guest.serial.await_more(ENOUGH)
        assert guest.serial.acknowledged() > first, "more than the copy has"
        said = guest.serial.said()
        one, transfer = backup(system, guest, since=checkpoint)
        client(cluster, APPLY, transfer.get().transfer_url, str(copy))
        ended(one, transfer)
        assert lost(said, copy) == ()
        stopped_and_whole(stage_at(guest.host, cluster, guest))


def test_a_recorded_disk_moves_to_another_domain_and_back(cluster: Cluster, system: Any) -> None:
    with second_domain(cluster, system) as domain, recording(cluster, system) as guest:
        disk = system.disks_service().disk_service(guest.data_id)
        home = disk.get().storage_domains[0].id
        move(disk, domain.get().id, guest)
        files = cluster.shell(guest.host, f"find {layout.VOLUMES / SECOND} -path '*{guest.data_id}/*' -type f")
        assert len(files.split()) == 1, files
        moved = brought_to(next(node for node in cluster.nodes if node != guest.host), cluster, guest)
        move(disk, home, guest)
        assert cluster.shell(guest.host, f"find {layout.VOLUMES / SECOND} -path '*{guest.data_id}/*' -type f") == ""
        stopped_and_whole(moved)
        assert unfinished(system) == []


def test_a_running_guest_is_given_memory(cluster: Cluster, system: Any) -> None:
    """A processor too, which an emulated Linux 6.12 does not take ("Unable to map lapic to logical cpu number": it counts
    those to come only under a hypervisor that it knows): QEMU and libvirt have it, as the contract tests show."""
    with recording(cluster, system) as guest:
        found = guest.vm.get()
        assert "cpus 0 memory" in guest.serial.text()
        before = memory_mib(guest)
        guest.vm.update(types.Vm(memory=found.memory + GROWN_MIB * MIB))
        wait("more memory", PATIENCE_S, lambda: memory_mib(guest) >= before + GROWN_MIB // 2 or None)
        topology = types.CpuTopology(sockets=2, cores=1, threads=1)
        guest.vm.update(types.Vm(cpu=types.Cpu(topology=topology)))
        plugged = f"virsh -c qemu:///system vcpucount {guest.id} --live --active"
        wait("two processors", PATIENCE_S, lambda: cluster.shell(guest.host, plugged).strip() == "2" or None)
        guest.serial.await_more(ENOUGH)


def memory_mib(guest: Recording) -> int:
    """What the guest said last."""
    said = [line for line in guest.serial.text().splitlines() if "TRIVET-GUEST devices:" in line]
    return int(said[-1].split(" memory ")[1].split("MiB")[0])


def test_a_persons_terminal_is_the_guests_console(cluster: Cluster, system: Any, tmp_path: Path) -> None:
    """By stock ssh through the engine, with a key that the person has put there; also after the VM has gone elsewhere."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "person", "-f", str(key)], check=True)
    users = system.users_service()
    me = next(one for one in users.list() if one.user_name.partition("@")[0] == "admin")
    keys = users.user_service(me.id).ssh_public_keys_service()
    added = keys.add(types.SshPublicKey(content=key.with_suffix(".pub").read_text().strip()))
    try:
        with recording(cluster, system) as guest:
            guest.serial.close()  # a line has one reader
            name = guest.vm.get().name
            assert "TRIVET-GUEST acknowledged" in at_console(cluster, key, name)
            target = next(node for node in cluster.nodes if node != guest.host)
            guest.vm.migrate(host=types.Host(name=target))
            wait("the VM on its new host", PATIENCE_S, lambda: where(cluster, guest.id) == [target] or None)
            await_status(guest.vm, types.VmStatus.UP)
            assert "TRIVET-GUEST acknowledged" in at_console(cluster, key, name)
            guest.serial.listen(target)
    finally:
        keys.key_service(added.id).remove()


def at_console(cluster: Cluster, key: Path, name: str) -> str:
    """What somebody reads who connects, until the guest has said how far it is."""
    status = cluster.lab("status", "--json").json()
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "BatchMode=yes")
    words = [word for one in options for word in ("-o", one)]
    person = [
        "-tt",
        "-p",
        "2222",
        "-i",
        str(key),
        f"ovirt-vmconsole@{status['engine_address']}",
        "connect",
        "--vm-name",
        name,
    ]
    argv = ["ip", "netns", "exec", status["switch_namespace"], "ssh", "-F", "none", *words, *person]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    read = bytearray()
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)

    def heard() -> bool | None:
        read.extend(process.stdout.read() or b"")  # type: ignore[union-attr]
        return b"acknowledged" in read or process.poll() is not None or None

    try:
        wait("the guest heard", SSH_S, heard)
    finally:
        process.kill()
        process.wait()
    return read.decode(errors="replace")
