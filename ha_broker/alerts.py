"""What a person should look at, from what one broker knows. Pure."""

from __future__ import annotations

from typing import Final

from appliance.model.ha import HaAlert
from ha_broker import limits
from ha_broker.state import Decision, Observation, Slot

BY_RULE: Final = {
    "running-elsewhere-reached": "ha.engine-unreached",
    "hold": "ha.hold",
    "hold-console": "ha.hold",
    "flapping": "ha.flapping",
    "no-space": "ha.no-space",
    "running-full": "ha.no-space",
    "volume-full": "ha.no-space",
    "moves-used": "ha.moves-used",
    "nobody-to-take-it": "ha.nobody-to-take-it",
    "migration-late": "ha.migration-late",
}
"""Decisions about the engine VM that are alerts as long as they stand; their sentence is the alert's."""

BY_RULE_HERE: Final = {
    "own-storage-refused": "ha.no-quorum",
    "libvirt-silent": "ha.libvirt-silent",
    "newer-broker": "ha.newer-broker",
}
"""The same, about this host."""


def alerts(seen: Observation, decision: Decision) -> tuple[HaAlert, ...]:
    """All that stand now: one for each code and subject."""
    found: list[HaAlert] = []
    _decided(seen, decision, found)
    _engine(seen, found)
    _storage(seen, found)
    _host(seen, found)
    _others(seen, found)
    if len(found) < 2:
        return tuple(found)
    first = {(alert.code, alert.subject): alert for alert in reversed(found)}
    return tuple(first[key] for key in sorted(first))


def _decided(seen: Observation, decision: Decision, found: list[HaAlert]) -> None:
    if decision.rule in BY_RULE:
        found.append(HaAlert(BY_RULE[decision.rule], decision.sentence))
    elif decision.rule in BY_RULE_HERE:
        found.append(HaAlert(BY_RULE_HERE[decision.rule], decision.sentence, seen.host))


def _engine(seen: Observation, found: list[HaAlert]) -> None:
    guest = seen.guest
    if guest.answered and not seen.engine_up and not guest.reached_by and guest.unanswered_s >= limits.HEALTH_ALLOWANCE_S:
        text = f"the engine's API has answered to no host for {limits.HEALTH_ALLOWANCE_S:g} s"
        found.append(HaAlert("ha.engine-hung", text))
    if guest.slow_s >= limits.SLOW_ALERT_S and (seen.engine_up or guest.reached_by):
        slow = f"{limits.HEALTH_SLOW_S:g} s"
        found.append(HaAlert("ha.engine-slow", f"the engine's API answers, but slower than within {slow} or not always"))
    if guest.unreached_s >= limits.UNREACHED_S:
        text = "the engine answers on its own host, but no other host reaches it: look at the management network"
        found.append(HaAlert("ha.engine-unreached", text))


def _storage(seen: Observation, found: list[HaAlert]) -> None:
    heal = seen.pool.heal
    if heal is not None and heal.split_brain:
        away = seen.pool.away
        then = f"first bring the brick of {', '.join(away)} back" if away else "decide which copy is the good one"
        text = f"in split-brain on the volume engine: {', '.join(heal.split_brain)}; {then}"
        found.append(HaAlert("ha.split-brain", text))
    if seen.storage.failing_s >= limits.FAILING_DESTROY_S and seen.pool.firm and not seen.storage.no_space:
        text = f"{seen.host} cannot write its slot on the board ({seen.storage.error}), although the volume can be written"
        found.append(HaAlert("ha.board-unwritable", text, seen.host))
    if len(seen.notes.moves) < limits.REFRESHES_MAX or not seen.pool.to_open:
        return
    refreshes = [m for m in seen.notes.moves if m.reason == "refresh" and seen.now_s - m.at_s < limits.STARTS_WINDOW_S]
    if len(refreshes) >= limits.REFRESHES_MAX:
        text = f"the bricks of {', '.join(seen.pool.to_open)} keep restarting: the engine's disk is not opened on them anew"
        found.append(HaAlert("ha.refreshes-used", text))


def _host(seen: Observation, found: list[HaAlert]) -> None:
    facts, host = seen.facts, seen.host
    if seen.crash_looping:
        found.append(HaAlert("ha.broker-crashes", f"the broker of {host} keeps dying: look at its journal", host))
    if facts.certificate_days_left < 0:
        text = f"the certificate of {host} has expired: other nodes and the engine refuse it"
        found.append(HaAlert("ha.certificate", text, host))
    elif facts.certificate_days_left < limits.CERTIFICATE_ALERT_DAYS:
        text = f"the certificate of {host} expires within {limits.CERTIFICATE_ALERT_DAYS:g} days and was not renewed"
        found.append(HaAlert("ha.certificate", text, host))
    if facts.state_error:
        text = f"notes and events of the broker on {host} cannot be kept ({facts.state_error}): it goes on without"
        found.append(HaAlert("ha.state-disk", text, host))
    call = facts.stale_call
    if call is not None and seen.now_s - call.at_s < limits.STALE_CALL_ALERT_S:
        which = f"an engine with epoch {call.epoch} (certificate {call.caller}), because it follows epoch {call.highest}"
        text = f"security: {host} refused {which}: an old engine is back, from a restored disk or a host that was cut off"
        found.append(HaAlert("ha.stale-engine", text, host))
    if facts.settings_error:
        found.append(HaAlert("ha.settings", f"{facts.settings_error}; the defaults are used on {host}", host))


def _others(seen: Observation, found: list[HaAlert]) -> None:
    running: list[Slot] = []
    highest = seen.own_epoch if seen.vm.power == "running" else 0
    for peer in seen.peers:
        slot = peer.slot
        if peer.silent:
            text = f"{peer.name} is silent: its broker has not written its slot"
            found.append(HaAlert("ha.host-silent", text, peer.name))
        elif slot is not None and slot.engine == "running" and not peer.newer:
            running.append(slot)
            highest = slot.engine_epoch if slot.engine_epoch > highest else highest
    for slot in running:
        if slot.engine_epoch < highest:
            text = f"{slot.host} still runs an old engine VM with epoch {slot.engine_epoch}: it commands nobody"
            found.append(HaAlert("ha.old-engine", text, slot.host))
