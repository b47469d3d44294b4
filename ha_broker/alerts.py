"""What a person should look at, from what one broker knows. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from appliance.model.ha import HaAlert
from ha_broker import limits
from ha_broker.state import Decision, Observation

BY_RULE: Final = {
    "hold": "ha.hold",
    "hold-console": "ha.hold",
    "split-brain": "ha.split-brain",
    "flapping": "ha.flapping",
    "no-space": "ha.no-space",
    "running-full": "ha.no-space",
    "volume-full": "ha.no-space",
    "moves-used": "ha.moves-used",
    "nobody-to-take-it": "ha.nobody-to-take-it",
    "migration-late": "ha.migration-late",
    "newer-broker": "ha.newer-broker",
    "own-storage-refused": "ha.no-quorum",
    "libvirt-silent": "ha.libvirt-silent",
}
"""Decisions that are alerts as long as they stand; their sentence is the alert's."""

OWN: Final = frozenset({
    "ha.board-unwritable", "ha.broker-crashes", "ha.certificate", "ha.libvirt-silent", "ha.newer-broker", "ha.no-quorum",
    "ha.settings", "ha.state-disk",
})  # fmt: skip
"""About the host that raises them: it alone knows, so it tells them itself. The others are seen by all, and told by one."""


def alerts(seen: Observation, decision: Decision) -> tuple[HaAlert, ...]:
    """All that stand now, by code."""
    found = [
        *((HaAlert(BY_RULE[decision.rule], decision.sentence),) if decision.rule in BY_RULE else ()),
        *_engine(seen),
        *_storage(seen),
        *_host(seen),
        *_others(seen),
    ]
    found = [replace(alert, subject=seen.host) if alert.code in OWN else alert for alert in found]
    return tuple({alert.code: alert for alert in reversed(found)}[code] for code in sorted({a.code for a in found}))


def _engine(seen: Observation) -> list[HaAlert]:
    guest, found = seen.guest, []
    if guest.slow_s >= limits.SLOW_ALERT_S and (seen.engine_up or guest.reached_by):
        slow = f"{limits.HEALTH_SLOW_S:g} s"
        found.append(HaAlert("ha.engine-slow", f"the engine's API answers, but slower than within {slow} or not always"))
    if guest.unreached_s >= limits.UNREACHED_S:
        text = "the engine answers on its own host, but no other host reaches it: look at the management network"
        found.append(HaAlert("ha.engine-unreached", text))
    return found


def _storage(seen: Observation) -> list[HaAlert]:
    found = []
    heal = seen.pool.heal
    if heal is not None and heal.split_brain:
        text = f"in split-brain on the volume engine: {', '.join(heal.split_brain)}; decide which copy is the good one"
        found.append(HaAlert("ha.split-brain", text))
    if seen.storage.failing_s >= limits.FAILING_DESTROY_S and seen.pool.firm and not seen.storage.no_space:
        text = f"this host cannot write its slot on the board ({seen.storage.error}), although the volume can be written"
        found.append(HaAlert("ha.board-unwritable", text))
    refreshes = [m for m in seen.notes.moves if m.reason == "refresh" and seen.now_s - m.at_s < limits.STARTS_WINDOW_S]
    if seen.pool.to_open and len(refreshes) >= limits.REFRESHES_MAX:
        text = f"the bricks of {', '.join(seen.pool.to_open)} keep restarting: the engine's disk is not opened on them anew"
        found.append(HaAlert("ha.refreshes-used", text))
    return found


def _host(seen: Observation) -> list[HaAlert]:
    facts, found = seen.facts, []
    if seen.crash_looping:
        found.append(HaAlert("ha.broker-crashes", f"the broker of {seen.host} keeps dying: look at its journal"))
    if facts.certificate_days_left < 0:
        text = f"the certificate of {seen.host} has expired: other nodes and the engine refuse it"
        found.append(HaAlert("ha.certificate", text))
    elif facts.certificate_days_left < limits.CERTIFICATE_ALERT_DAYS:
        text = f"the certificate of {seen.host} expires within {limits.CERTIFICATE_ALERT_DAYS:g} days and was not renewed"
        found.append(HaAlert("ha.certificate", text))
    if facts.state_error:
        text = f"notes and events of the broker on {seen.host} cannot be kept ({facts.state_error}): it goes on without"
        found.append(HaAlert("ha.state-disk", text))
    if facts.settings_error:
        found.append(HaAlert("ha.settings", f"{facts.settings_error}; the defaults are used"))
    return found


def _others(seen: Observation) -> list[HaAlert]:
    found = []
    silent = [peer.name for peer in seen.peers if peer.silent]
    if silent:
        found.append(HaAlert("ha.host-silent", f"silent: {', '.join(silent)}"))
    running = [
        p.slot for p in seen.peers if not p.silent and not p.newer and p.slot is not None and p.slot.engine == "running"
    ]
    own = [seen.own_epoch] if seen.vm.power == "running" else []
    highest = max([*own, *(slot.engine_epoch for slot in running)], default=0)
    old = [slot for slot in running if slot.engine_epoch < highest]
    if old:
        text = f"{old[0].host} still runs an old engine VM with epoch {old[0].engine_epoch}: it commands nobody"
        found.append(HaAlert("ha.old-engine", text))
    return found
