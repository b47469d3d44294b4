"""Which hosts cannot have a VM, and the one reason why: one function a filter, in the order in which people would ask.

Memory comes last, because it is what changes: a host that is told to lack memory has everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.decide.schedule_affinity import RuleFor, first_hard
from engine.decide.schedule_model import Host, Vm, need_bytes
from engine.decide.schedule_picture import Picture, Room
from engine.decide.schedule_reservation import no_room_for_engine, no_room_for_ha
from engine.decide.schedule_words import listed, needs_has

PASSTHROUGH = "host-passthrough"


@dataclass(frozen=True)
class Asked:
    """What is asked for besides the VM. ``only``: ids of hosts that may be considered; ``source``: where it runs now, if
    it is to be moved; ``by_hand``: by a person."""

    only: frozenset[str] | None = None
    source: Host | None = None
    by_hand: bool = False
    rules: tuple[RuleFor, ...] = ()


def misfit(vm: Vm, room: Room, seen: Picture, asked: Asked) -> str:
    """Why the host cannot have the VM, as what follows its name; empty: it can."""
    for each in FILTERS:
        reason = each(vm, room, seen, asked)
        if reason:
            return reason
    return ""


def _state(vm: Vm, room: Room, seen: Picture, asked: Asked) -> str:
    host = room.host
    if host.status == "up":
        return ""
    said = "does not answer" if host.status == "non_responsive" else f"is in state {host.status.replace('_', ' ')}"
    return f"{said} ({host.status_reason})" if host.status_reason else said


def _wanted(vm: Vm, room: Room, seen: Picture, asked: Asked) -> str:
    if asked.source is not None and room.host.id == asked.source.id:
        return "the VM runs there now"
    return "" if asked.only is None or room.host.id in asked.only else "is not among the hosts that were asked for"


def _engine(vm: Vm, room: Room, seen: Picture, asked: Asked) -> str:
    return "the engine's own VM is placed by the HA brokers" if vm.is_engine else ""


def _cluster(vm: Vm, room: Room, seen: Picture, asked: Asked) -> str:
    if seen.cluster.policy.only_ha and asked.source is None and not vm.highly_available:
        return "the cluster is in maintenance: only highly available VMs are started"
    return ""


def _pinning(vm: Vm, room: Room, seen: Picture, asked: Asked) -> str:
    if asked.source is not None:
        if vm.migration == "pinned":
            return "the VM is pinned and never moves"
        if vm.migration == "user_migratable" and not asked.by_hand:
            return "the VM moves only when a person asks for it"
        return f"the VM {vm.held_because}" if vm.held_because else ""
    if vm.migration == "pinned" and vm.hosts and room.host.id not in vm.hosts:
        return "the VM is pinned to other hosts"
    return ""


def _cpus(vm: Vm, room: Room, seen: Picture, asked: Asked) -> str:
    host = room.host
    have = host.cpu_threads if seen.cluster.threads_as_cores else (host.cpu_cores or host.cpu_threads)
    if vm.cpus <= have:
        return ""
    what = "CPU" if seen.cluster.threads_as_cores else "CPU core"
    return f"needs {vm.cpus} {what}{'s' * (vm.cpus != 1)}, has {have or 'none that it told of'}"


def _cpu_model(vm: Vm, room: Room, seen: Picture, asked: Asked) -> str:
    host, source = room.host, asked.source
    if source is not None and host.emulated != source.emulated:
        here, there = ("emulates", "does not") if host.emulated else ("does not emulate", "does")
        return f"{here} guests, {source.name} {there}: a running VM cannot change over"
    if source is not None and vm.cpu_model == PASSTHROUGH and host.cpu_name != source.cpu_name:
        return f"has another CPU ({host.cpu_name or 'unknown'}) than {source.name}, and the VM has its host's"
    if vm.cpu_model not in ("", PASSTHROUGH) and host.cpu_models is not None and vm.cpu_model not in host.cpu_models:
        return f"cannot give the CPU model {vm.cpu_model}"
    missing = vm.cpu_flags - host.cpu_flags if host.cpu_flags is not None else frozenset[str]()
    return f"its CPU lacks {listed(missing)}" if missing else ""


def _networks(vm: Vm, room: Room, seen: Picture, asked: Asked) -> str:
    missing = vm.networks - room.host.networks
    return f"lacks network {listed(missing)}" if missing else ""


def _storage(vm: Vm, room: Room, seen: Picture, asked: Asked) -> str:
    missing = vm.storage_domains - room.host.storage_domains
    return f"does not reach storage domain {listed(missing)}" if missing else ""


def _affinity(vm: Vm, room: Room, seen: Picture, asked: Asked) -> str:
    return first_hard(asked.rules, room)


def _memory(vm: Vm, room: Room, seen: Picture, asked: Asked) -> str:
    need, host = need_bytes(vm, seen.cluster), room.host
    if host.free_bytes is None or not host.memory_bytes:
        return "its memory is not known yet"
    measured = host.free_bytes - room.pending_bytes
    if need > measured:
        return needs_has(need, measured, " besides what was promised" if room.pending_bytes else "")
    if need > room.unpromised_bytes:
        share = f" of the {seen.cluster.over_commit_percent} % that may be promised"
        return needs_has(need, room.unpromised_bytes, share)
    return ""


def _reserved(vm: Vm, room: Room, seen: Picture, asked: Asked) -> str:
    return no_room_for_engine(vm, room, seen) or no_room_for_ha(vm, room, seen)


FILTERS: tuple[Callable[[Vm, Room, Picture, Asked], str], ...] = (
    _state, _wanted, _engine, _cluster, _pinning, _cpus, _cpu_model, _networks, _storage, _affinity, _memory, _reserved,
)  # fmt: skip
