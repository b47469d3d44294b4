"""How firmly the data disk of the engine VM is held, in words. Pure."""

from __future__ import annotations

from appliance.model.ha import FenceHa
from ha_broker import limits
from ha_broker.decide.moving import healed
from ha_broker.state import Observation, Slot


def fence(seen: Observation, own: Slot) -> FenceHa:
    """The holder's own view; elsewhere what the holder says on its slot."""
    if own.engine in ("running", "migrating", "paused"):
        open_on = own.open_on
        return FenceHa(len(open_on), len(seen.pool.bricks), own.fence, open_on)
    holder = next((p.slot for p in seen.peers if p.claims and p.slot is not None and p.slot.fence), None)
    if holder is None:
        return FenceHa()
    return FenceHa(len(holder.open_on), max(len(seen.peers) + 1, len(holder.open_on)), holder.fence, holder.open_on)


def words(seen: Observation) -> str:
    """Of the data disk that is held here: on how many bricks it is open, and what a refresh waits for."""
    pool = seen.pool
    if not pool.bricks:
        return "the view of the bricks is not known"
    text = f"disk open on {len(pool.open_on)} of {len(pool.bricks)} bricks"
    if pool.away:
        text += f", {', '.join(pool.away)} not connected"
    return f"{text}, {_refresh(seen)}" if pool.to_open else text


def _refresh(seen: Observation) -> str:
    pool, heal = seen.pool, seen.pool.heal
    if seen.maintenance.value == "global":
        return "refresh waits for the end of global maintenance"
    if heal is not None and heal.split_brain:
        return f"refresh waits for the repair of {', '.join(heal.split_brain)} (split-brain)"
    if heal is not None and heal.error:
        return f"refresh waits to know what is to be healed ({heal.error})"
    if heal is None or pool.heal_age_s >= pool.stale_s:
        return "refresh waits to know what is to be healed"
    if not healed(pool, heal):
        return f"refresh waits for heal ({heal.pending} entr{'y' if heal.pending == 1 else 'ies'})"
    if not seen.engine_up:
        return "refresh waits for the engine to answer"
    if min(pool.stale_s, pool.steady_s) < limits.REFRESH_STEADY_S:
        return "refresh waits for steady connections"
    recent = [m for m in seen.notes.moves if m.reason == "refresh" and seen.now_s - m.at_s < limits.STARTS_WINDOW_S]
    if len(recent) >= limits.REFRESHES_MAX:
        return f"no refresh: {limits.REFRESHES_MAX} within {limits.STARTS_WINDOW_S / 60:g} min are used up"
    return "refresh is due"
