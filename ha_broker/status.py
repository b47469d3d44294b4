"""What the broker tells people: :class:`appliance.model.ha.HaStatus` out of an observation (pure)."""

from __future__ import annotations

from dataclasses import replace

from appliance.model.cluster import EngineVm
from appliance.model.ha import EngineHa, EngineState, HaDecision, HaStatus, HostHa
from ha_broker.state import Decision, Observation, Slot


def ha_status(seen: Observation, own: Slot, decisions: tuple[HaDecision, ...]) -> HaStatus:
    """The status as this broker knows it; ``own`` is what it puts on the board this turn."""
    hosts = [_own(own), *(_peer(peer.name, peer.slot, peer.silent, peer.silent_s, peer.finding) for peer in seen.peers)]
    ordered = tuple(sorted(hosts, key=lambda host: host.name))
    return HaStatus(_engine(seen, own), seen.maintenance.value, ordered, decisions, 0.0)


def told_by(status: HaStatus, engine: EngineVm, host: str, decision: Decision, now_s: float) -> HaStatus:
    """The same with what a reader elsewhere cannot know: who tells it, where the engine answers, how long is waited."""
    waits_s = 0.0 if decision.until_s is None else round(max(0.0, decision.until_s - now_s), 1)
    where = replace(status.engine, address=engine.address, fqdn=engine.fqdn)
    return replace(status, engine=where, host=host, waits_s=waits_s)


def _engine(seen: Observation, own: Slot) -> EngineHa:
    claims = [own, *(peer.slot for peer in seen.peers if peer.claims and peer.slot is not None)]
    holders = [slot for slot in claims if slot.engine in ("running", "starting")]
    if not holders:
        blind = seen.storage.good_for_s <= 0 or seen.vm.power == "unknown"
        state: EngineState = "unknown" if blind else "down"
        return EngineHa(state, "", seen.epoch_known, "")
    holder = max(holders, key=lambda slot: (slot.engine_epoch, slot.engine_up))
    state = "up" if holder.engine == "running" and holder.engine_up else "starting"
    return EngineHa(state, holder.host, holder.engine_epoch or seen.epoch_known, holder.engine_since)


def _own(slot: Slot) -> HostHa:
    return HostHa(slot.host, True, slot.score, slot.reasons, slot.decision, slot.engine != "none", 0.0)


def _peer(name: str, slot: Slot | None, silent: bool, silent_s: float, finding: str) -> HostHa:
    alive = not silent and slot is not None
    reasons = (finding,) if finding else ()
    if slot is None:
        return HostHa(name, False, 0, reasons or ("its slot was never written",), "", False, round(silent_s, 1))
    here = alive and slot.engine != "none"
    return HostHa(name, alive, slot.score, (*slot.reasons, *reasons), slot.decision, here, round(silent_s, 1))
