"""When it is certain that a host can no longer write the disks of a VM that it had. Pure: evidence in, a sentence out.

Silence proves nothing: a host that is only cut off goes on writing, and writes again when the network heals. What proves it:

- **another boot**: the host answers under another boot id than the one under which the VM ran. A QEMU does not outlive its
  kernel.
- **not there**: the host answers, under the same boot, and says that it does not have the VM.
- **powered off**: a fence agent, or a person, confirmed the end of *that* boot. The boot is named, because the host may
  have been started again and run the VM a second time since.
- **evicted**: the bricks refuse the host's clients on a domain that the VM could write (Gluster's ``auth.reject``). It
  holds on all bricks but those of the host itself, which alone are no quorum; when the network heals they learn of it.
- **locked**: on a domain whose locks fence (strict locks, no shards) another host has the locks. On a sharded domain
  locks prove nothing, so they do not count there.

The last two go domain by domain and may be mixed; each domain that the VM could write must be closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.decide.schedule_words import counted, listed


@dataclass(frozen=True)
class Ran:
    """Where a VM ran, or may have arrived, and in which boot of the host. ``boot_id`` empty: never heard."""

    host: str
    boot_id: str


@dataclass(frozen=True)
class Fate:
    """What is known of a host."""

    host: str
    name: str
    answers: bool
    boot_id: str = ""
    """Under which it answers now."""
    vms: frozenset[str] = frozenset()
    """Ids of the VMs whose QEMU exists there, in whatever state, as it answers now. Must be younger than the doubt."""
    ended_boots: Mapping[str, str] = field(default_factory=dict)
    """Boot id → who confirmed its end (``fence agent ipmilan``, ``administrator anna``)."""
    evicted: frozenset[str] = frozenset()
    """Storage domains whose bricks refuse its clients, now and until it is taken back. Only what a command that succeeded
    says, or the volume's options as read now."""


@dataclass(frozen=True)
class Verdict:
    """``reason`` is a sentence about the host, also when it is not certain: then it says what is waited for."""

    certain: bool
    reason: str


def cannot_write(
    vm: str,
    ran: Ran,
    fate: Fate,
    writes: frozenset[str],
    fencing: frozenset[str] = frozenset(),
    locked: frozenset[str] = frozenset(),
) -> Verdict:
    """Whether the host certainly cannot write the disks of ``vm`` any more.

    ``writes``: the domains of its disks that are not read-only. ``fencing``: domains whose locks fence. ``locked``: domains
    on which another host has the locks of all its disks.
    """
    if fate.answers:
        if vm in fate.vms:
            return Verdict(False, f"{fate.name} answers and has the VM")
        if ran.boot_id and fate.boot_id and ran.boot_id != fate.boot_id:
            return Verdict(True, f"{fate.name} has booted since the VM ran there")
        return Verdict(True, f"{fate.name} answers and does not have the VM")
    if ran.boot_id and ran.boot_id in fate.ended_boots:
        return Verdict(True, f"{fate.name} is off: {fate.ended_boots[ran.boot_id]} confirmed it")
    by_lock = locked & fencing
    rest = writes - fate.evicted - by_lock
    if not rest:
        return Verdict(True, _closed(fate, writes, by_lock))
    what = f"storage domain{'s' * (len(rest) != 1)} {listed(rest)}"
    return Verdict(
        False,
        f"{fate.name} does not answer and may still write {what}: waiting until it answers, is confirmed to be off, "
        "or is evicted there",
    )


def _closed(fate: Fate, writes: frozenset[str], by_lock: frozenset[str]) -> str:
    if not writes:
        return f"{fate.name} does not answer, and the VM has no disk that it could write"
    evicted, lost = writes & fate.evicted, writes & by_lock - fate.evicted
    said = [f"is evicted from {listed(evicted)}"] if evicted else []
    said += [f"has lost its locks on {listed(lost)}"] if lost else []
    return f"{fate.name} {' and '.join(said)}"


def may_return(fate: Fate, evicted_boot: str) -> Verdict:
    """Whether an evicted host's clients may be let in again: only when no QEMU of the time before is left on it.

    A QEMU that was cut off keeps its open files, and its client may connect anew once the bricks let it. ``evicted_boot``:
    the boot in which the host was evicted; empty: not known, so only an empty host may return.
    """
    if not fate.answers:
        return Verdict(False, f"{fate.name} does not answer: nobody knows what still runs on it")
    if evicted_boot and fate.boot_id and fate.boot_id != evicted_boot:
        return Verdict(True, f"{fate.name} has booted since it was evicted")
    if fate.vms:
        count = counted(len(fate.vms), "VM")
        return Verdict(False, f"{fate.name} has {count} from before it was evicted: end them first")
    return Verdict(True, f"{fate.name} answers and has no VM left from before it was evicted")
