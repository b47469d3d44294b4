"""What the broker tells people: :class:`appliance.model.ha.HaStatus` out of an observation (pure)."""

from __future__ import annotations

from dataclasses import replace

from appliance.model.cluster import EngineVm
from appliance.model.ha import EngineHa, EngineState, HaAlert, HaDecision, HaStatus, HostHa
from ha_broker.fence import fence
from ha_broker.state import Observation, Peer, Slot


def ha_status(seen: Observation, own: Slot, decisions: tuple[HaDecision, ...], alerts: tuple[HaAlert, ...] = ()) -> HaStatus:
    """The status as this broker knows it; ``own`` is what it puts on the board this turn."""
    hosts = [_own(own), *map(_peer, seen.peers)]
    ordered = tuple(sorted(hosts, key=lambda host: host.name))
    return HaStatus(_engine(seen, own), seen.maintenance.value, ordered, decisions, 0.0, fence(seen, own), alerts)


def told_by(status: HaStatus, engine: EngineVm, host: str) -> HaStatus:
    """The same with what a reader elsewhere cannot know: who tells it, and where the engine answers."""
    return replace(status, engine=replace(status.engine, address=engine.address, fqdn=engine.fqdn), host=host)


def _engine(seen: Observation, own: Slot) -> EngineHa:
    claims = [own, *(peer.slot for peer in seen.peers if peer.claims and peer.slot is not None)]
    holders = [slot for slot in claims if slot.engine in ("running", "starting", "migrating")]
    if not holders:
        unread = any(peer.newer for peer in seen.peers)
        blind = seen.storage.good_for_s <= 0 or seen.vm.power == "unknown" or unread
        stopped = next((slot.host for slot in claims if slot.engine == "paused"), "")
        state: EngineState = "unknown" if blind and not stopped else "down"
        return EngineHa(state, stopped, seen.epoch_known, "")
    holder = max(holders, key=lambda slot: (slot.engine_epoch, slot.engine == "running", slot.engine_up))
    answers = any(slot.engine_up and slot.engine_epoch == holder.engine_epoch for slot in holders)
    state = "up" if holder.engine != "starting" and answers else "starting"
    return EngineHa(state, holder.host, holder.engine_epoch or seen.epoch_known, holder.engine_since)


def _own(slot: Slot) -> HostHa:
    here = slot.engine != "none"
    return HostHa(slot.host, True, slot.score, slot.reasons, slot.decision, here, 0.0, slot.local_maintenance, slot.wait_s)


def _peer(peer: Peer) -> HostHa:
    slot, silent_s = peer.slot, round(peer.silent_s, 1)
    reasons = (peer.finding,) if peer.finding else ()
    alive = not peer.silent and (slot is not None or peer.newer)
    if slot is None:
        return HostHa(peer.name, alive, 0, reasons or ("its slot was never written",), "", False, silent_s)
    here = peer.claims
    reasons = (*slot.reasons, *reasons)
    return HostHa(peer.name, alive, slot.score, reasons, slot.decision, here, silent_s, slot.local_maintenance, slot.wait_s)
