"""VMs on three real nodes beside what their host does without us: a start beside `virsh create` of the same domain, a disk
beside a QEMU started by hand on the same mount, a change on the host beside one question for it.

With ``TRIVET_TEST_CLUSTER=NAME`` on that lab as it stands; else on one of its own.
"""

from __future__ import annotations

import os
import re
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ovirtsdk4 import types

from tests.bench import by_hand, ha
from tests.bench.measure import Measured
from tests.lab.cluster import Cluster, wait
from tests.lab.good_state import await_saved_memory
from tests.lab.guest import (
    MEMORY_MIB,
    MIB,
    PATIENCE_S,
    Serial,
    administrator,
    await_status,
    await_usable,
    disk,
    fill,
    image,
)
from tests.lab.test_vms import a_vm

STARTS = 5
"""Their median counts."""
START_RATIO, START_MORE_S = 1.3, 0.3
"""Ours at most so many times libvirt's own, and so much more: the bound of the API's start."""
SEEN_BOUND_S = 1.0
PACE_RATIO = 0.95
PACE_MIB = 256
"""Four shards; it is written and read eight times."""
PACE_TURNS = 4
"""Six runs of each, in turns, and who goes first changes: single passes of one QEMU read 142 to 278 MiB/s, and medians of
seven differ by a fifth from one minute to the next, as the bricks, the engine and the machine have it."""
PACE_S = 600.0
POLL_S = 0.02
PACE = re.compile(r"TRIVET-GUEST pace vdb write ([0-9.]+) read ([0-9.]+) MiB/s")
OVER = "TRIVET-GUEST pace vdb over"
VIRSH = "virsh -c qemu:///system"


def bench_vms() -> list[Measured]:
    """A start, a change seen, a disk's pace."""
    name = os.environ.get("TRIVET_TEST_CLUSTER", ha.LAB)
    with ha.lab(ha.Wanted((), 1, name, keep=False)):
        cluster = Cluster(name)
        await_saved_memory(cluster)
        with administrator(cluster) as system:
            return [*starts_and_changes(cluster, system), *paces(cluster, system)]


@contextmanager
def made_vm(cluster: Cluster, system: Any, name: str) -> Iterator[tuple[Any, Any]]:
    """The service of a VM that boots the test guest, and its attachments'."""
    console = types.Console(enabled=True)
    with a_vm(cluster, system, name, memory=MEMORY_MIB * MIB, console=console) as vm:
        attachments = vm.disk_attachments_service()
        root = attachments.add(disk(f"{vm.get().name}-root", bootable=True, kind=types.DiskFormat.RAW))
        await_usable(attachments, root)
        fill(cluster, root.id, image().read_bytes())
        yield vm, attachments


def until_s(vm: Any, status: Any) -> float:
    """The monotonic time when the API says so: asked without the rests that tests take."""
    end_s = time.monotonic() + PATIENCE_S
    while vm.get().status != status:
        assert time.monotonic() < end_s, f"the VM is not {status.value}"
        time.sleep(POLL_S)
    return time.monotonic()


def starts_and_changes(cluster: Cluster, system: Any) -> list[Measured]:
    """The API's start beside libvirt's; a VM that is paused behind our back, as the API shows it."""
    ours: list[float] = []
    seen: list[float] = []
    question: list[float] = []
    with made_vm(cluster, system, "bench") as (vm, _attachments):
        for _turn in range(STARTS):
            begun_s = time.monotonic()
            vm.start()
            ours.append(until_s(vm, types.VmStatus.UP) - begun_s)
            host = vm.get(follow="host").host.name
            begun_s = time.monotonic()
            vm.get()
            question.append(time.monotonic() - begun_s)
            cluster.shell(host, f"{VIRSH} suspend {vm.get().id}")
            begun_s = time.monotonic()
            seen.append(until_s(vm, types.VmStatus.PAUSED) - begun_s)
            cluster.shell(host, f"{VIRSH} dumpxml {vm.get().id} > /var/tmp/bench.xml")
            vm.stop()
            until_s(vm, types.VmStatus.DOWN)
        alone_s = [created_s(cluster, host, vm.get().id) for _turn in range(STARTS)]
        await_status(vm, types.VmStatus.DOWN)
    alone = statistics.median(alone_s)
    return [
        Measured(
            "start of a VM through the API, until it says up",
            "s",
            statistics.median(ours),
            "virsh create of the same domain",
            alone,
            bound=START_RATIO * alone + START_MORE_S,
        ),
        Measured(
            "a VM paused on its host → the API says so",
            "s",
            statistics.median(seen),
            "one GET of it",
            statistics.median(question),
            bound=SEEN_BOUND_S,
        ),
    ]


def created_s(cluster: Cluster, host: str, identifier: str) -> float:
    """What libvirt alone takes, on that host."""
    clock = "date +%s.%N"
    begun, done = cluster.shell(
        host, f"{clock}; {VIRSH} create /var/tmp/bench.xml >/var/tmp/bench.log && {clock}"
    ).splitlines()
    cluster.shell(host, f"{VIRSH} destroy {identifier}")
    return float(done) - float(begun)


def paces(cluster: Cluster, system: Any) -> list[Measured]:
    """A disk's pace in a VM, and in a QEMU started by hand on the same host, mount and files."""
    with made_vm(cluster, system, "pace") as (vm, attachments):
        data = attachments.add(disk("pace-data", bootable=False, size_mib=PACE_MIB, kind=types.DiskFormat.RAW))
        await_usable(attachments, data)
        fill(cluster, data.id, b"TRIVPACE")
        in_vm(cluster, vm)  # makes the files and fills caches: does not count
        mine, others = "", ""
        for turn in range(PACE_TURNS):
            said, host, command = in_vm(cluster, vm)
            mine += said
            others += in_hand(cluster, host, command)
            if turn % 2:  # the next is ours again: who goes first changes
                others += in_hand(cluster, host, command)
                mine += in_vm(cluster, vm)[0]
    ours, theirs = rates(mine), rates(others)
    return [
        Measured(f"a VM's disk, {what}", "MiB/s", mine, "the same QEMU by hand", other, "higher", bound=PACE_RATIO * other)
        for what, mine, other in zip(("written", "read"), ours, theirs, strict=True)
    ]


def in_vm(cluster: Cluster, vm: Any) -> tuple[str, str, list[str]]:
    """What the guest has said when it is done, the host, and the command by which libvirt started QEMU there."""
    serial = Serial(cluster, vm.get().id)
    vm.start()
    await_status(vm, types.VmStatus.UP)
    found = vm.get(follow="host")
    serial.listen(found.host.name)
    wait("the disk measured", PACE_S, lambda: OVER in serial.text() or None)
    said = serial.text()
    serial.close()
    command = cluster.shell(found.host.name, f"tr '\\0' '\\n' < /proc/$(pgrep -f '[g]uest={found.id}')/cmdline").splitlines()
    vm.stop()
    await_status(vm, types.VmStatus.DOWN)
    return said, found.host.name, command


def rates(said: str) -> tuple[float, float]:
    """Median MiB/s: (written, read)."""
    written, read = zip(*PACE.findall(said), strict=True)
    return statistics.median(map(float, written)), statistics.median(map(float, read))


def in_hand(cluster: Cluster, host: str, command: list[str]) -> str:
    """What the same guest says in the same QEMU, of which nobody but us knows."""
    log = "/var/tmp/bench-serial"
    cluster.shell(host, f"rm -f {log}")
    process = cluster.begin(host, by_hand.argv(command, log))
    try:
        wait("the disk measured by hand", PACE_S, lambda: OVER in cluster.read(host, log) or None)
        return cluster.read(host, log)
    finally:
        cluster.shell(host, f"pkill -f -- '[-]name {by_hand.MARK}'", ok=False)
        process.kill()
        process.wait()
