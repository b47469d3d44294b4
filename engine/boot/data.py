"""Make the data disk usable: format it if it is blank, check and mount it if it is ours, refuse it otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from appliance.effects import mounting
from appliance.errors import Refused, TrivetError
from appliance.ports import Processes
from engine.decide.data_disk import FILE_SYSTEM, NEW_LABEL, READY_LABEL, DiskFacts, DiskPlan, after_fsck, decide
from engine.layout import Guest

EDGE_BYTES = 1024 * 1024
"""How much of both ends must be zero: partition tables, LVM, RAID and all file systems leave traces there."""
TOOL_TIMEOUT_S = 60.0
MOUNT_FLAGS = mounting.NO_ATIME | mounting.NO_SUID | mounting.NO_DEVICES
FSCK_TIMEOUT_S = 900.0
"""A journal replay takes a second; a full check of a disk of 100 GiB under emulation minutes."""
Log = Callable[[str], None]


def look(device: Path, processes: Processes) -> DiskFacts:
    """Facts about ``device`` (a plain file will do). Reads only."""
    found = processes.run(["blkid", "-p", "-o", "export", str(device)], timeout_s=TOOL_TIMEOUT_S, ok=(0, 2, 8))
    tags = dict(line.split("=", 1) for line in found.stdout.splitlines() if "=" in line)
    signature = tags.get("TYPE") or tags.get("PTTYPE") or ("several signatures" if found.status == 8 else "")
    with device.open("rb") as disk:
        size_bytes = disk.seek(0, 2)
        edges = []
        for at in (0, max(0, size_bytes - EDGE_BYTES)):
            disk.seek(at)
            edges.append(not any(disk.read(EDGE_BYTES)))
    return DiskFacts(size_bytes, signature, tags.get("LABEL", "").replace("\\ ", " "), all(edges))


def settle(device: Path, processes: Processes, log: Log) -> DiskPlan:
    """Bring the disk into a mountable state. The answer's action is ``mount`` or ``continue-first-start``.

    Raises ``Refused`` ``data-disk.foreign`` or ``data-disk.damaged``; the disk was not written then.
    """
    facts = look(device, processes)
    plan = decide(facts)
    log(f"data disk: {plan.reason}")
    if plan.action in ("mount", "continue-first-start"):
        checked = processes.run(["e2fsck", "-p", str(device)], timeout_s=FSCK_TIMEOUT_S, ok=None)
        plan = after_fsck(plan.action, checked.status)
        log(f"data disk: {plan.reason}")
    if plan.action == "refuse":
        raise refusal(device, facts, plan)
    if plan.action == "format":
        log("data disk: formatting it")
        # No lazy initialisation: its background writes would be the first load on the replicated volume.
        options = ["-L", NEW_LABEL, "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"]
        processes.run(["mkfs.ext4", "-q", "-F", *options, str(device)], timeout_s=FSCK_TIMEOUT_S)
        return DiskPlan("continue-first-start", plan.reason)
    return plan


def refusal(device: Path, facts: DiskFacts, plan: DiskPlan) -> TrivetError:
    """The error for a disk that we do not touch."""
    damaged = facts.label in (READY_LABEL, NEW_LABEL)
    return Refused(
        "data-disk.damaged" if damaged else "data-disk.foreign",
        subject=f"the engine's data disk {device.name}",
        reason=f"{plan.reason}. It was not changed",
        remedy="Repair it with e2fsck from a node while the engine VM is off, or restore a backup."
        if damaged
        else "Check which disk the engine VM got. A disk to be used must be empty: `wipefs -a` and zeros at both ends.",
        facts={"signature": facts.signature, "label": facts.label, "size_bytes": facts.size_bytes},
    )


def mount(device: Path, guest: Guest) -> None:
    """Mount the data disk, unless it is mounted. The kernel replays its journal. Raises ``Failed`` (``mount.failed``)."""
    guest.state.mkdir(parents=True, exist_ok=True)
    if not guest.state.is_mount():
        # errors=remount-ro: a disk that answers with errors is lost to us (the fence); better to stop than to go on
        # half-written.
        mounting.mount(device, guest.state, FILE_SYSTEM, MOUNT_FLAGS, "errors=remount-ro")


def mark_ready(device: Path, processes: Processes) -> None:
    """The last step of the first start: from now on this disk is never formatted."""
    processes.run(["e2label", str(device), READY_LABEL], timeout_s=TOOL_TIMEOUT_S)
    processes.run(["sync", str(device)], timeout_s=TOOL_TIMEOUT_S)
