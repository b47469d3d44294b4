"""Memory that is kept free: for the engine VM, and for the highly available VMs of a host that is lost.

Both refuse only what certainly leaves too little, and both are monotonic: more memory anywhere never refuses what fitted
before. So the room for HA VMs is not tried by packing them one by one (a greedy packing can fail for *more* memory), but by
two conditions without which no packing exists.
"""

from __future__ import annotations

from engine.decide.schedule_model import Vm, need_bytes
from engine.decide.schedule_picture import Picture, Room


def no_room_for_engine(vm: Vm, room: Room, seen: Picture) -> str:
    """Why the host must not have ``vm``: too few hosts would be left that can take over the engine VM."""
    wanted, need = seen.cluster.policy.engine_spares, seen.cluster.engine_bytes
    if not wanted or not need or any(other.is_engine for other in room.vms):
        return ""
    left = room.left_bytes - need_bytes(vm, seen.cluster)
    others = [each for each in seen.rooms if each.host.id != room.host.id and each.is_up]
    spares = [each for each in others if each.left_bytes >= need and not any(other.is_engine for other in each.vms)]
    if left >= need or len(spares) >= wanted:
        return ""
    return f"its memory is kept for the engine VM ({wanted} to spare, {len(spares)} besides it)"


def no_room_for_ha(vm: Vm, room: Room, seen: Picture) -> str:
    """Why the host must not have ``vm``: if some host were lost, its HA VMs would not fit on the others."""
    if not seen.cluster.ha_reservation:
        return ""
    after = {
        each.host.id: each.left_bytes - (need_bytes(vm, seen.cluster) if each.host.id == room.host.id else 0)
        for each in seen.rooms
        if each.is_up
    }
    for lost in seen.rooms:
        if not lost.is_up:
            continue
        mine = (*lost.vms, vm) if lost.host.id == room.host.id else lost.vms
        sizes = sorted((need_bytes(one, seen.cluster) for one in mine if one.highly_available), reverse=True)
        rest = [left for identifier, left in after.items() if identifier != lost.host.id]
        if not _may_fit(sizes, rest):
            return f"no room would be left for the highly available VMs of {lost.host.name} if it were lost"
    return ""


def _may_fit(sizes: list[int], rooms: list[int]) -> bool:
    """False if there is certainly no way to put all sizes (largest first) into the rooms: together they are too much, or of
    those that are at least so large there are more than places of that size."""
    if sum(sizes) > sum(rooms):
        return False
    return all(count <= sum(max(0, room) // size for room in rooms) for count, size in enumerate(sizes, 1))
