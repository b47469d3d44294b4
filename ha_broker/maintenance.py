"""May this node be taken out of service now, and where do its VMs go? Pure.

Planned work must cost nothing: it is refused where the loss of one more thing would stop the engine or lose data. What
passes by itself (healing, the refresh of the engine disk's handles) is waited for, everything else is said at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from appliance import layout
from appliance.model.vm import VmState
from gluster.health import volume_verdict
from gluster.model import PoolStatus
from ha_broker.state import Brick

MEMORY_RESERVE_MIB: Final = 512
"""Left free on a host that takes VMs: QEMU's own overhead of about 150 MiB a guest, and room for the engine VM's buffers."""


@dataclass(frozen=True)
class HostView:
    """A member as it is asked about now. ``reason``: why it does not answer, or why its ``score`` is 0; ``unopened``: hosts
    of bricks of ``vmstore`` on which what its guests have open is not open."""

    name: str
    answers: bool
    alive: bool
    score: int
    maintenance: bool
    memory_available_mib: int
    vms: tuple[VmState, ...] = ()
    reason: str = ""
    unopened: tuple[str, ...] = ()

    @property
    def eligible(self) -> bool:
        """May run the engine VM."""
        return self.answers and self.alive and self.score > 0 and not self.maintenance


@dataclass(frozen=True)
class View:
    """The cluster as it is now. ``bricks``: of the volume engine, as the mount of ``engine_host`` sees them (empty: nobody
    has the engine VM). ``pool_error``: why ``pool`` is not known."""

    hosts: tuple[HostView, ...]
    engine_host: str
    bricks: tuple[Brick, ...]
    pool: PoolStatus | None
    pool_error: str = ""

    def host(self, name: str) -> HostView:
        """The member called ``name``."""
        return next(host for host in self.hosts if host.name == name)


@dataclass(frozen=True)
class Objection:
    """Why not now. ``passes``: it is worth waiting for."""

    code: str
    sentence: str
    passes: bool = False


def objections(view: View, node: str) -> tuple[Objection, ...]:
    """What stands against taking ``node`` out of service."""
    others = [host for host in view.hosts if host.name != node]
    found = [*_hosts(others), *_bricks(view, node), *_fence(view, node), *_guests_disks(others, node)]
    stuck = [vm for vm in _guests(view.host(node)) if vm.power != "running"]
    found += [
        Objection("vm-not-running", f"VM {vm.name} here is {vm.power}: only a running VM is moved; resume or end it")
        for vm in stuck
    ]
    return tuple(found)


def _hosts(others: Sequence[HostView]) -> list[Objection]:
    found = [Objection("host-silent", f"{host.name} does not answer: {host.reason}") for host in others if not host.answers]
    found += [
        Objection("host-in-maintenance", f"{host.name} is in maintenance already: one node at a time")
        for host in others
        if host.maintenance
    ]
    if not any(host.eligible for host in others):
        why = "; ".join(f"{host.name}: {host.reason or 'in maintenance'}" for host in others) or "there is no other host"
        found.append(Objection("last-eligible-host", f"no other host could run the engine VM ({why})"))
    return found


def _bricks(view: View, node: str) -> list[Objection]:
    """Every volume must be whole on the other nodes, because this one's bricks are about to go."""
    if view.pool is None:
        return [Objection("pool-unknown", f"the state of the pool is not known: {view.pool_error}", passes=True)]
    found = [
        Objection("peer-disconnected", f"Gluster does not reach {peer.name}", passes=True)
        for peer in view.pool.peers
        if not peer.connected and peer.name != node
    ]
    for volume in view.pool.volumes:
        split = max((brick.split_brain or 0 for brick in volume.bricks), default=0)
        verdict = volume_verdict(volume)
        if verdict.safe:
            continue
        reasons = "; ".join(verdict.reasons)
        found.append(Objection("volume-not-whole", f"volume {volume.name}: {reasons}", passes=not split))
    return found


def _fence(view: View, node: str) -> list[Objection]:
    """The engine's disk must be held on every brick that stays. If the engine VM is on ``node`` itself it is about to move,
    which opens the disk anew on all of them."""
    if not view.engine_host:
        return [Objection("engine-not-running", "no host runs the engine VM now", passes=True)]
    if view.engine_host == node:
        return []
    bad = [brick.host for brick in view.bricks if brick.host != node and not (brick.connected and brick.open)]
    if view.bricks and not bad:
        return []
    where = f"not on the brick of {', '.join(bad)}" if bad else "on which bricks is not known"
    text = (
        f"the engine's disk is not freshly open on all other bricks ({where}); the broker of {view.engine_host} refreshes it"
    )
    return [Objection("disk-not-fresh", text, passes=True)]


def _guests_disks(others: Sequence[HostView], node: str) -> list[Objection]:
    """As :func:`_fence`, for the VMs that stay where they are: a brick that was away has forgotten their locks, and without
    this node's brick, too, they could write no more."""
    return [
        Objection(
            "vm-disks-not-fresh",
            f"disks of VMs on {host.name} are not freshly open on the brick of {', '.join(bad)}; the engine moves them",
            passes=True,
        )
        for host in others
        if (bad := [brick for brick in host.unopened if brick != node]) and _guests(host)
    ]


# --- where its VMs go


@dataclass(frozen=True)
class Moving:
    """A VM and the host that takes it."""

    vm: VmState
    target: str


@dataclass(frozen=True)
class Placement:
    """``left``: VMs that no host can take, each with every host's reason."""

    moves: tuple[Moving, ...]
    left: tuple[tuple[VmState, str], ...]


def place(view: View, node: str, engine_memory_mib: int) -> Placement:
    """A host for each VM of ``node`` but the engine VM, whose broker finds one itself: largest first, onto the fitting host
    with the most free memory (ties: the higher score, then the name). The host that fits the engine VM best keeps room
    for it when the engine VM is among what leaves."""
    free = {
        host.name: host.memory_available_mib - MEMORY_RESERVE_MIB
        for host in view.hosts
        if host.name != node and host.answers and host.alive and not host.maintenance
    }
    if view.engine_host == node and free:
        free[max(free, key=lambda name: (view.host(name).score, free[name], name))] -= engine_memory_mib
    moves: list[Moving] = []
    left: list[tuple[VmState, str]] = []
    for vm in sorted(_guests(view.host(node)), key=lambda vm: (-vm.memory_mib, vm.name)):
        fitting = [name for name, room in free.items() if room >= vm.memory_mib]
        if not fitting:
            left.append((vm, _no_room(view, node, vm, free)))
            continue
        target = min(fitting, key=lambda name: (-free[name], -view.host(name).score, name))
        free[target] -= vm.memory_mib
        moves.append(Moving(vm, target))
    return Placement(tuple(moves), tuple(left))


def _guests(host: HostView) -> list[VmState]:
    """The engine VM has its broker, and the standby VM is nobody's."""
    ours = (layout.ENGINE_VM_NAME, layout.STANDBY_VM_NAME)
    return [vm for vm in host.vms if vm.name not in ours and vm.power not in ("off", "crashed")]


def _no_room(view: View, node: str, vm: VmState, free: dict[str, int]) -> str:
    reasons = []
    for host in view.hosts:
        if host.name in free:
            reasons.append(f"{host.name} has {max(0, free[host.name])} MiB free for VMs, {vm.memory_mib} are needed")
        elif host.name != node:
            reasons.append(f"{host.name} is in maintenance" if host.maintenance else f"{host.name} does not answer")
    return "; ".join(reasons)
