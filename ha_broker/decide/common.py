"""What several rules share: sentences' pieces and small questions about an observation."""

from __future__ import annotations

from ha_broker import limits
from ha_broker.state import Attempt, Decision, Observation, Outcome, OwnStorage, Peer, PoolView


def wait(seen: Observation, rule: str, sentence: str, wait_s: float | None = None) -> Decision:
    """Do nothing, for ``wait_s`` seconds at most if that is bounded."""
    return Decision("none", rule, sentence, None if wait_s is None else seen.now_s + wait_s)


def lost_storage(storage: OwnStorage, pool: PoolView) -> str:
    """Why this host has to take its own storage for lost, or empty. Errors of the own slot alone, while a majority of the
    bricks is connected and open, are no loss of the storage; nor is a full volume."""
    if storage.no_space:
        return ""
    if storage.failing_s:
        if pool.firm or storage.failing_s < limits.FAILING_DESTROY_S:
            return ""
        return f"own writes to the board are refused ({storage.error})"
    if storage.unwritten_s >= limits.UNWRITTEN_DESTROY_S:
        return f"the own slot could not be written for {limits.UNWRITTEN_DESTROY_S:g} s"
    return ""


def recent_starts(attempts: tuple[Attempt, ...], now_s: float) -> int:
    """Starts that count for L2. One that the lock refused never ran anything and does not; nor, for a while, does one that
    did not reach the disk; one whose engine never answered counts longer."""
    return sum([counts(attempt, now_s) for attempt in spent(attempts)]) if attempts else 0


def spent(attempts: tuple[Attempt, ...]) -> list[Attempt]:
    """Those that used a start up: not what the lock or a full volume refused, and not what did not reach the disk, until a
    row of such starts has lasted ``limits.UNREACHED_ALLOWANCE_S``."""
    found: list[Attempt] = []
    first_s: float | None = None
    last_s = 0.0
    for attempt in attempts:
        if attempt.outcome in ("locked", "no-space"):
            continue
        if attempt.outcome != "unreachable":
            found.append(attempt)
            first_s = None
            continue
        if first_s is None or attempt.at_s - last_s >= limits.UNREACHED_ALLOWANCE_S:
            first_s = attempt.at_s
        last_s = attempt.at_s
        if last_s - first_s >= limits.UNREACHED_ALLOWANCE_S:
            found.append(attempt)
    return found


def in_a_row(attempts: tuple[Attempt, ...], outcome: Outcome) -> int:
    """How many of the last ones ended so."""
    count = 0
    while count < len(attempts) and attempts[-1 - count].outcome == outcome:
        count += 1
    return count


def counts(attempt: Attempt, now_s: float) -> bool:
    """Whether it is recent enough to be remembered."""
    window_s = limits.UNHEALTHY_WINDOW_S if attempt.outcome == "unhealthy" else limits.STARTS_WINDOW_S
    return now_s - attempt.at_s < window_s


def able(seen: Observation) -> list[Peer]:
    """Living others that could start the engine VM now."""
    return [
        peer
        for peer in seen.peers
        if not peer.silent
        and not peer.newer
        and peer.slot is not None
        and peer.slot.score > 0
        and peer.slot.starts < limits.STARTS_MAX
    ]


def newest(peers: tuple[Peer, ...] | list[Peer]) -> Peer | None:
    """Of those, the one with the highest epoch on its slot."""
    return max(peers, key=lambda peer: peer.slot.engine_epoch if peer.slot else 0, default=None)


def superseding(seen: Observation) -> Peer | None:
    """A peer that has started the engine VM after us. Such an epoch is only made under the disk's lock, so we lost ours."""
    own_epoch = seen.own_epoch
    found: list[Peer] = []
    for peer in seen.peers:
        slot = peer.slot
        if slot is not None and slot.engine != "none" and slot.engine_epoch > own_epoch:
            found.append(peer)
    return newest(found) if found else None


def names(peers: list[Peer]) -> str:
    """For a sentence."""
    return ", ".join(peer.name for peer in peers)
