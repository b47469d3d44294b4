"""A QEMU of the engine VM is here: has it any business here, and does it fare well?"""

from __future__ import annotations

from ha_broker import limits
from ha_broker.decide import guest, moving
from ha_broker.decide.common import lost_storage, superseding, wait
from ha_broker.state import Decision, EngineSeen, LocalVm, Observation, Peer


def present(seen: Observation) -> Decision:
    """The decision while QEMU is here in whatever state."""
    broken = _broken(seen)
    if broken is not None:
        return broken
    if seen.vm.power == "incoming":
        return _arriving(seen)
    ended = no_business(seen)
    if ended is not None:
        return ended
    if seen.vm.power == "paused-no-space":
        return guest.no_space(seen)
    if seen.guest.button_s is not None:
        return guest.button(seen, seen.guest.button_s)
    return _keep(seen)


def no_business(seen: Observation) -> Decision | None:
    """A QEMU here has lost its disk, whatever else is known of it."""
    lost = lost_storage(seen.storage, seen.pool)
    if lost:
        return Decision("destroy", "storage-lost", f"{lost}: QEMU here is destroyed, so that it does not linger")
    newer = superseding(seen)
    if newer is not None and newer.slot is not None:
        text = f"{newer.name} started the engine VM with epoch {newer.slot.engine_epoch}, above {seen.own_epoch} here"
        return Decision("destroy", "superseded", f"{text}: the disk's lock is not ours any more, QEMU here is destroyed")
    return None


def _broken(seen: Observation) -> Decision | None:
    power = seen.vm.power
    if power == "paused-io-error":
        text = "QEMU here is paused by an I/O error of its disk: it is destroyed, never resumed"
        return Decision("destroy", "io-error", text)
    if power == "crashed":
        text = "the guest here crashed: QEMU is destroyed and started again"
        return Decision("destroy", "guest-crashed", text, again=True)
    if power == "paused" and not seen.notes.moving:
        return Decision("destroy", "left-paused", "QEMU here was left paused by a start that broke off: it is destroyed")
    if power == "paused":
        text = f"QEMU here was left paused by a migration to {seen.notes.moving} that broke off: it is destroyed"
        return Decision("destroy", "left-paused", text)
    return None


def _arriving(seen: Observation) -> Decision:
    """Never ended while whoever sends it lives: destroying it would only undo a migration that goes well."""
    slots = [(p, p.slot) for p in seen.peers if p.slot is not None]
    senders = [p for p, slot in slots if slot.engine == "migrating" and slot.handing_to == seen.host]
    alive = next((peer for peer in senders if not peer.silent), None)
    if alive is not None:
        return wait(seen, "arriving", f"the engine VM is arriving here from {alive.name}")
    text = "the engine VM was arriving here"
    if senders:
        gone = f"{senders[0].name}, which sent it, is silent: what arrived is destroyed"
        return Decision("destroy", "sender-gone", f"{text}; {gone}")
    mute = any(p.silent and p.slot is not None and p.slot.engine == "running" for p in seen.peers)
    longest_s = limits.MOVE_DEADLINE_S if mute else limits.ORPHAN_S
    if seen.source_gone_s < longest_s:
        left_s = longest_s - seen.source_gone_s
        return wait(seen, "arriving", "the engine VM is arriving here; nobody says that he sends it", left_s)
    return Decision("destroy", "orphan", f"{text}, but nobody sends it for {longest_s:g} s: what arrived is destroyed")


def _keep(seen: Observation) -> Decision:
    what = f"the engine VM runs here with epoch {seen.own_epoch}"
    if seen.vm.power == "migrating":
        return wait(seen, "migrating", f"{what} and is being migrated")
    if seen.vm.power == "shutting-down":
        return wait(seen, "shutting-down", f"{what} and its guest is shutting down")
    rival = _rival(seen)
    if rival is not None:
        return wait(seen, "two-claims", f"{what}; {rival.name} claims it too: the disk's lock decides")
    leaving = moving.urgent(seen)
    if leaving is not None and leaving.action != "none":
        return leaving
    if seen.storage.no_space:
        return wait(seen, "running-full", f"{what}; the volume is full, the own slot cannot be written")
    if seen.storage.good_for_s <= 0 and leaving is None:
        longest = f"for at most {limits.UNWRITTEN_DESTROY_S:g} s"
        return wait(seen, "running-stalled", f"{what}; own storage stalls: waiting {longest}", limits.UNWRITTEN_DESTROY_S)
    return _tend(seen) or leaving or _running(seen, what)


def _rival(seen: Observation) -> Peer | None:
    """Another that claims it, except the one that is just handing it to us."""
    for peer in seen.peers:
        if peer.claims and peer.slot is not None and peer.slot.handing_to != seen.host:
            return peer
    return None


def _tend(seen: Observation) -> Decision | None:
    if seen.maintenance.value == "global":
        return moving.asked(seen)
    return guest.hung(seen) or moving.asked(seen) or moving.useful(seen)


def _running(seen: Observation, what: str) -> Decision:
    if seen.engine_up:
        return wait(seen, "running", f"{what} and its API answers")
    if seen.maintenance.value == "global":
        text = f"{what}; its API does not answer; global maintenance is on: it is left alone"
        return wait(seen, "running-maintenance", text)
    if seen.guest.answered and seen.guest.reached_by and seen.guest.unanswered_s >= limits.HEALTH_ALLOWANCE_S:
        return wait(seen, "running-elsewhere-reached", f"{what}; its API answers others, but not this host")
    if seen.guest.answered:
        longest = f"for at most {guest.health_allowance_s(seen):g} s"
        text = f"{what}; its API stopped answering: waiting {longest}"
        return wait(seen, "running-unanswered", text, guest.left_s(seen))
    return wait(seen, "running-starting", f"{what}; its API does not answer yet", guest.left_s(seen))


def engine_seen(vm: LocalVm, working: bool, before: EngineSeen, sending: bool = False) -> EngineSeen:
    """What this host's slot says of the engine VM; while libvirt is silent and no process shows that there is none, what it
    said before. ``sending``: this broker
    migrates it away, or did a moment ago and speaks for the target."""
    if sending:
        return "migrating"
    if vm.power == "unknown" and not working and before == "none" and vm.pid:
        return "running"  # a broker that is new here, while its QEMU stands still: others would start it, against its lock
    if vm.power == "unknown":
        return before if working or vm.process != "none" else "none"
    if working:
        return "starting"
    if vm.power in ("off", "crashed"):
        return "none"
    if vm.power in ("migrating", "incoming"):
        return vm.power
    return "paused" if vm.power in ("paused", "paused-io-error", "paused-no-space") else "running"
