"""Whether the engine VM is handed over to another host, by live migration: why, to whom, and when not any more."""

from __future__ import annotations

from typing import Final

from ha_broker import limits
from ha_broker.decide.common import names, wait
from ha_broker.state import Decision, Heal, MoveReason, Observation, Peer, PoolView

RELEASING: Final[tuple[MoveReason, ...]] = ("broker-crashes", "unreached")
"""For these reasons the engine VM is of no use here: if its migration fails it is shut down, for another host to start it.
For the others it goes on running here."""


def urgent(seen: Observation) -> Decision | None:
    """This broker may not be able to look after the engine VM much longer (faults 9 and 27)."""
    if seen.crash_looping:
        window = f"{limits.CRASHES_MAX} times within {limits.CRASHES_WINDOW_S:g} s"
        return hand_over(seen, "broker-crashes", f"the broker of this host started {window}")
    if seen.storage.failing_s >= limits.FAILING_DESTROY_S and not seen.storage.no_space:
        text = f"the own slot on the board cannot be written ({seen.storage.error}), although the volume can"
        return hand_over(seen, "board-unwritable", text)
    return None


def asked(seen: Observation) -> Decision | None:
    """Somebody works on this host. Also in global maintenance: both were asked for."""
    if seen.local_maintenance:
        return hand_over(seen, "local-maintenance", "local maintenance is on for this host")
    return None


def useful(seen: Observation) -> Decision | None:
    """It would be better off elsewhere, or opened anew (faults 11 and 38)."""
    if seen.guest.unreached_s >= limits.UNREACHED_S and targets(seen, "unreached"):
        return hand_over(seen, "unreached", "the engine answers here, but no other host reaches it")
    if refresh_due(seen) and targets(seen, "refresh"):
        stale = ", ".join(seen.pool.to_open)
        return hand_over(seen, "refresh", f"the disk is not open on the restarted bricks of {stale}: it is opened anew")
    return None


def refresh_due(seen: Observation) -> bool:
    """Some connected brick has forgotten the data disk's lock, what it missed is healed (or will not be before the disk is
    opened anew), and nothing speaks against it."""
    pool, heal = seen.pool, seen.pool.heal
    if not pool.to_open or not seen.engine_up or heal is None or not healed(pool, heal):
        return False
    if min(pool.stale_s, pool.steady_s) < limits.REFRESH_STEADY_S or pool.heal_age_s >= pool.stale_s:
        return False
    done = [move.at_s for move in seen.notes.moves if move.reason == "refresh"]
    recent = [at_s for at_s in done if seen.now_s - at_s < limits.STARTS_WINDOW_S]
    return len(recent) < limits.REFRESHES_MAX and all(seen.now_s - at_s >= limits.REFRESH_EVERY_S for at_s in done)


def healed(pool: PoolView, heal: Heal) -> bool:
    """Nothing is owed, or it was waited for long enough."""
    if heal.error or heal.split_brain:
        return False
    return heal.pending == 0 or pool.stale_s >= limits.REFRESH_HEAL_S


def targets(seen: Observation, reason: MoveReason) -> list[Peer]:
    """Who could take it, the best first."""
    found = [
        peer
        for peer in seen.peers
        if not peer.silent
        and not peer.newer
        and peer.slot is not None
        and peer.slot.score > 0
        and peer.slot.engine == "none"
        and not peer.slot.local_maintenance
        and not (reason == "unreached" and peer.slot.unreached)
    ]
    return sorted(found, key=lambda peer: (-peer.slot.score if peer.slot else 0, peer.name))


def hand_over(seen: Observation, reason: MoveReason, because: str) -> Decision:
    """Migrate it to the best host that can take it; bounded tries."""
    found = targets(seen, reason)
    if not found:
        return wait(seen, "nobody-to-take-it", f"{because}; no other host is able to take the engine VM: it stays here")
    failed = [move.at_s for move in seen.notes.moves if not move.done and seen.now_s - move.at_s < limits.STARTS_WINDOW_S]
    if reason in RELEASING and failed:
        text = f"{because}, and its migration failed: it is shut down here, {names(found)} may start it"
        return Decision("shutdown", "release", text, move=reason)
    if len(failed) >= limits.MOVES_FAILED_MAX:
        tries = f"{limits.MOVES_FAILED_MAX} migrations failed within {limits.STARTS_WINDOW_S / 60:g} min"
        return wait(seen, "moves-used", f"{because}; {tries}: the engine VM stays here, somebody has to look at it")
    left_s = max(failed, default=-limits.MOVE_RETRY_S) + limits.MOVE_RETRY_S - seen.now_s
    if failed and left_s > 0:
        return wait(seen, "move-pause", f"{because}; the last migration failed: trying again", left_s)
    target = found[0].name
    return Decision("migrate", "hand-over", f"{because}: the engine VM is migrated to {target}", target=target, move=reason)
