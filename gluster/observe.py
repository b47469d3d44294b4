"""The whole pool in one look: what several readings of a :class:`gluster.ports.Pool` say, put together.

A reading that fails leaves ``None`` where its numbers would be, and a sentence in ``problems``; only without any answer from
glusterd there is no status at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from appliance.errors import TrivetError
from gluster.model import STARTED, Brick, BrickHeal, BrickPlace, BrickState, Capacity, PoolStatus, Volume
from gluster.ports import Pool


def pool_status(pool: Pool) -> PoolStatus:
    """Peers, volumes, brick states, heal counts, capacity. Raises when glusterd itself does not answer.

    Heal counts of all volumes are asked side by side, because each may take until its deadline when a node is gone.
    """
    peers = pool.peers()
    volumes = pool.volumes()
    started = [volume for volume in volumes if volume.status == STARTED]
    problems: list[str] = []
    with ThreadPoolExecutor(max_workers=1 + 2 * len(started)) as threads:
        states_asked = threads.submit(pool.brick_states)
        heals_asked = {volume.name: threads.submit(pool.heal_summary, volume.name) for volume in started}
        capacities_asked = {volume.name: threads.submit(pool.capacity, volume.name) for volume in started}
        states: Mapping[str, tuple[BrickState, ...]] | None = None
        try:
            states = states_asked.result()
        except TrivetError as error:
            problems.append(f"state of the bricks unknown: {error}")
        heals: dict[str, Sequence[BrickHeal]] = {}
        capacities: dict[str, Capacity | None] = {}
        for name in heals_asked:
            try:
                heals[name] = heals_asked[name].result()
            except TrivetError as error:
                problems.append(f"heal state of volume {name} unknown: {error}")
            try:
                capacities[name] = capacities_asked[name].result()
            except TrivetError as error:
                problems.append(f"volume {name}: its mount here does not answer, its capacity is the bricks' word: {error}")
    unreachable = {name for peer in peers if not peer.connected for name in peer.names}
    return PoolStatus(
        peers=peers,
        volumes=tuple(
            _volume(volume, states, heals.get(volume.name, ()), capacities.get(volume.name), unreachable)
            for volume in volumes
        ),
        problems=tuple(problems),
    )


def _volume(
    volume: Volume,
    states: Mapping[str, tuple[BrickState, ...]] | None,
    heals: Sequence[BrickHeal],
    mounted: Capacity | None,
    unreachable: set[str],
) -> Volume:
    known = {state.place: state for state in (states or {}).get(volume.name, ())}
    healing = {heal.place: heal for heal in heals}
    if volume.status != STARTED:
        return replace(volume, bricks=tuple(replace(brick, online=False) for brick in volume.bricks))
    bricks = tuple(_brick(brick, known, healing, unreachable) for brick in volume.bricks)
    capacity = mounted or _capacity(bricks, volume.replica)
    return replace(
        volume,
        bricks=bricks,
        size_bytes=capacity.size_bytes,
        used_bytes=capacity.used_bytes,
        available_bytes=capacity.available_bytes,
    )


def _brick(
    brick: Brick, known: Mapping[BrickPlace, BrickState], healing: Mapping[BrickPlace, BrickHeal], unreachable: set[str]
) -> Brick:
    """A brick of an unreachable peer is missing in ``volume status``: whether it runs there is unknown unless a heal client
    reached it; for this node it is as good as down."""
    state, heal = known.get(brick.place), healing.get(brick.place)
    if state is not None:
        online: bool | None = state.online
    elif heal is not None:
        online = heal.connected
    else:
        online = False if brick.host in unreachable else None
    return replace(
        brick,
        online=online,
        pid=state.pid if state else 0,
        port=state.port if state else 0,
        size_bytes=state.size_bytes if state else 0,
        free_bytes=state.free_bytes if state else 0,
        file_system=state.file_system if state else "",
        heal_pending=heal.pending if heal else None,
        split_brain=heal.split_brain if heal else None,
        healing=heal.healing if heal else None,
    )


def _capacity(bricks: Sequence[Brick], replica: int) -> Capacity:
    """Of each replica set the smallest brick counts; the sets add up. Bricks of which nothing is known do not count."""
    size = free = 0
    for begin in range(0, len(bricks), max(1, replica)):
        known = [brick for brick in bricks[begin : begin + max(1, replica)] if brick.size_bytes]
        if known:
            size += min(brick.size_bytes for brick in known)
            free += min(brick.free_bytes for brick in known)
    return Capacity(size, size - free, free)
