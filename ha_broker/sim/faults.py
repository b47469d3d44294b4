"""What may happen in the simulated world: faults, repairs and people's commands, each by its name.

A :class:`Fault` is one line of a plan or of a scenario's ``events.toml``. With ``for_s`` it ends by itself. ``host`` may be
``@holder`` (who has the engine VM at that moment), ``@standby`` (the first who has not) or ``@other`` (the second).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Final

from ha_broker.board import SLOT_BYTES
from ha_broker.sim import guest
from ha_broker.sim.commands import COMMANDS
from ha_broker.sim.host import RECORD
from ha_broker.sim.net import NETWORKS

if TYPE_CHECKING:
    from ha_broker.sim.host import SimHost
    from ha_broker.sim.world import World

SPOILED_S: Final = 3.0
"""After that a host has certainly written its slot again."""


@dataclass(frozen=True)
class Fault:
    """``do`` names it. The other fields are read by those that need them; ``start_within_s`` and ``no_start`` are what is
    demanded of the brokers if all was well before."""

    at_s: float
    do: str
    host: str = ""
    for_s: float = 0.0
    to: str = ""
    """The other end of a link; empty: all others."""
    network: str = ""
    """Empty: both."""
    direction: str = "both"
    """both, out, in: as seen by ``host``."""
    value: float = 0.0
    text: str = ""
    start_within_s: float = 0.0
    no_start: bool = False


Do = Callable[["World", "SimHost", Fault, bool], None]
"""``begin`` True: it happens; False: it ends."""


def apply(world: World, fault: Fault) -> None:
    """Let it happen now."""
    kind = KINDS[fault.do]
    host = world.hosts[resolve(world, fault.host)]
    to = resolve(world, fault.to) if fault.to else ""
    one = replace(fault, host=host.name, to=to)
    world.changed(f"*** {describe(one)}")
    kind(world, host, one, True)
    if fault.for_s > 0:
        world.heap.after(fault.for_s, lambda: end(world, one))


def end(world: World, fault: Fault) -> None:
    """Let it be over, unless all has been healed."""
    if world.healed:
        return
    world.changed(f"*** over: {describe(fault)}")
    KINDS[fault.do](world, world.hosts[fault.host], fault, False)


def describe(fault: Fault) -> str:
    """In words, for the log."""
    details = [fault.host, f"→ {fault.to}" if fault.to else "", fault.network]
    details += [fault.direction if fault.direction != "both" else "", f"{fault.value:g}" if fault.value else "", fault.text]
    spoken = " ".join(one for one in details if one)
    return f"{fault.do} {spoken}" + (f" for {fault.for_s:g} s" if fault.for_s else "")


def resolve(world: World, name: str) -> str:
    """The host that is meant."""
    if not name.startswith("@"):
        return name or world.names[0]
    holder = next((host.name for host in world.hosts.values() if host.qemu is not None), world.names[0])
    others = [one for one in world.names if one != holder]
    return {"@holder": holder, "@standby": others[0], "@other": others[-1]}[name]


# --- power, standstill, links


def _power_off(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    (world.power_off if begin else world.power_on)(host.name)


def _power_on(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    world.power_on(host.name)


def _freeze(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    (world.freeze if begin else world.thaw)(host.name)


def _links(world: World, fault: Fault) -> list[tuple[str, str, str]]:
    networks = (fault.network,) if fault.network else NETWORKS
    others = (fault.to,) if fault.to else tuple(name for name in world.names if name != fault.host)
    out = [(net, fault.host, other) for net in networks for other in others if fault.direction in ("both", "out")]
    return out + [(net, other, fault.host) for net in networks for other in others if fault.direction in ("both", "in")]


def _cut(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    for link in _links(world, fault):
        world.link(*link, not begin)


def _loss(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    for link in _links(world, fault):
        world.loss(*link, fault.value if begin else 0.0)


def _flap(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    """The host's links are cut and mended in turn, ``value`` seconds each."""
    if not begin:
        host.flapping = False
        _cut(world, host, fault, False)
        return
    host.flapping = True

    def turn(up: bool) -> None:
        if host.flapping:
            _cut(world, host, fault, not up)
            world.heap.after(fault.value or 15.0, lambda: turn(not up))

    turn(False)


# --- QEMU and guest


def _kill_qemu(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    world.kill_qemu(host.name)


def _hang_guest(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    if host.qemu is not None:
        host.qemu.hung = begin
        world.changed("the guest stands still" if begin else "the guest goes on")


def _stop_qemu(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    """QEMU's process stands still. ``text``: "asked": libvirt has just asked it something; "stuck": and the kernel does
    not let it be killed."""
    qemu = host.qemu
    if qemu is None or qemu.still == begin or (begin and qemu.power in ("migrating", "incoming")):
        return
    qemu.still, qemu.stuck, qemu.asked = begin, begin and fault.text == "stuck", begin and bool(fault.text)
    host.qemu_stands(begin)
    guest.schedule_write(world, qemu)


def _hang_wake(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    host.wake_hangs = begin


def _idle_guest(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    """It happens to write nothing for a while."""
    if host.qemu is not None and begin:
        host.qemu.idle_until_s = world.now_s + fault.for_s


def _panic_guest(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    if host.qemu is not None and host.qemu.executes:
        world.kill_qemu(host.name)  # pvpanic: libvirt destroys it


def _engine_crash(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    if host.qemu is not None:
        host.qemu.ready_s = max(host.qemu.ready_s, world.now_s + guest.ENGINE_RESTART_S)


def _engine_slow(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    if host.qemu is not None:
        host.qemu.slow_s = fault.value if begin else 0.0


def _never_healthy(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    world.trouble.never_healthy = begin


def _slow_boot(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    world.trouble.extra_boot_s = fault.value if begin else 0.0


def _spoil_warm(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    (world.trouble.warm_spoiled.add if begin else world.trouble.warm_spoiled.discard)(host.name)


def _migration_fault(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    """``text``: "STAGE ACT", for the next migration that reaches the stage."""
    stage, act = fault.text.split()
    if begin:
        world.at_stage.setdefault(stage, []).append(act)
    else:
        world.at_stage.pop(stage, None)


# --- broker


def _kill_broker(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    if begin:
        world.kill_broker(host.name, None if fault.for_s else 1.0)
    elif host.power and host.process is None:
        world.brokers.start(host, 1.0)


def _kill_in_start(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    host.die_after_calls, host.calls = (int(fault.value) or 1 if begin else None), 0


def _stop_broker(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    (world.brokers.stop if begin else world.brokers.go_on)(host)


def _crash_loop(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    host.crash_loop = begin
    if begin and host.process is not None:
        world.kill_broker(host.name)


def _newer_format(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    host.old_format = begin


# --- node


def _clock_jump(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    host.wall_off_s += fault.value if begin else -fault.value


def _load(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    world.set_load(host.name, fault.value if begin else 0.5)


def _memory(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    host.facts = replace(host.facts, memory_available_mib=int(fault.value) if begin else 8192)


def _cpu_model(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    host.facts = replace(host.facts, cpu_error="its QEMU does not know the CPU model Nehalem" if begin else "")


def _certificate(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    host.facts = replace(host.facts, certificate_days_left=fault.value if begin else 365.0)


def _image_missing(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    host.facts = replace(host.facts, image="" if begin else "/images/trivet-engine-1.raw")


def _var_full(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    host.var_full = begin
    host.facts = replace(host.facts, state_error="no space left for notes and events" if begin else "")


def _libvirt_hangs(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    host.libvirt_hangs = begin
    host.run_since_s = world.now_s


def _start_fails(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    host.start_error = (fault.text or "guest disk is upside down") if begin else ""


def _disk_unreachable(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    """``value`` 1: from every host, and the one that has it open ends of it."""
    for one in world.hosts.values() if fault.value else (host,):
        one.disk_unreachable = begin
    if fault.value and begin:
        world.kill_qemu(resolve(world, "@holder"))


# --- volume


def _kill_brick(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    if host.power:
        (world.volume.model.kill_brick if begin else world.volume.model.start_brick)(host.name)


def _kill_mount(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    if host.power:
        (world.volume.model.kill_client if begin else world.volume.model.start_client)(host.name)


def _board_unwritable(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    (world.volume.unwritable.add if begin else world.volume.unwritable.discard)(host.name)


def _disk_failing(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    world.volume.set_failing(host.name, begin)


def _volume_full(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    """``value`` 1: the bricks are full one after the other."""
    world.volume.set_full(begin)
    world.volume.model.torn = begin and fault.value == 1


def _split_brain(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    (world.volume.model.split_brain if begin else world.volume.model.repair)()


def _slow_heal(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    world.volume.model.copies.heal_s = fault.value if begin else 3.0


def _garbage_slot(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    noise = Random(int(fault.value)).randbytes(SLOT_BYTES)  # noqa: S311 - garbage, no secret
    world.volume.files[f"board/{host.name}.slot"] = noise
    host.slot_spoiled_s = world.now_s + SPOILED_S


def _replay_slot(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    """Keeps the slot as it is now and puts it back at the end."""
    name = f"board/{host.name}.slot"
    if begin:
        host.kept_slot = world.volume.files.get(name, b"")
    else:
        world.volume.files[name] = host.kept_slot
        host.slot_spoiled_s = world.now_s + SPOILED_S


def _damage_record(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    world.volume.files[RECORD] = b"garbage"


def _restore_record(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    """The volume's files are put back from an old copy: a lower epoch."""
    world.volume.files[RECORD] = b"%d" % max(0, world.check.given - int(fault.value or 1))


# --- people and strangers


def _nothing(world: World, host: SimHost, fault: Fault, begin: bool) -> None:
    """Only lets a demand be made."""


KINDS: Mapping[str, Do] = {
    "power-off": _power_off,
    "power-on": _power_on,
    "freeze": _freeze,
    "cut": _cut,
    "loss": _loss,
    "flap": _flap,
    "kill-qemu": _kill_qemu,
    "hang-guest": _hang_guest,
    "stop-qemu": _stop_qemu,
    "hang-wake": _hang_wake,
    "idle-guest": _idle_guest,
    "panic-guest": _panic_guest,
    "engine-crash": _engine_crash,
    "engine-slow": _engine_slow,
    "never-healthy": _never_healthy,
    "slow-boot": _slow_boot,
    "spoil-warm": _spoil_warm,
    "migration-fault": _migration_fault,
    "kill-broker": _kill_broker,
    "kill-in-start": _kill_in_start,
    "stop-broker": _stop_broker,
    "crash-loop": _crash_loop,
    "newer-format": _newer_format,
    "clock-jump": _clock_jump,
    "load": _load,
    "memory": _memory,
    "cpu-model": _cpu_model,
    "certificate": _certificate,
    "image-missing": _image_missing,
    "var-full": _var_full,
    "libvirt-hangs": _libvirt_hangs,
    "start-fails": _start_fails,
    "disk-unreachable": _disk_unreachable,
    "kill-brick": _kill_brick,
    "kill-mount": _kill_mount,
    "kill-glusterd": _nothing,  # bricks and mounts live on
    "board-unwritable": _board_unwritable,
    "disk-failing": _disk_failing,
    "volume-full": _volume_full,
    "split-brain": _split_brain,
    "slow-heal": _slow_heal,
    "garbage-slot": _garbage_slot,
    "replay-slot": _replay_slot,
    "damage-record": _damage_record,
    "restore-record": _restore_record,
    **COMMANDS,
    "nothing": _nothing,
}
