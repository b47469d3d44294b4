"""Plans: what happens in a random run. Everything follows from the seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from ha_broker import limits
from ha_broker.sim.faults import Fault
from ha_broker.sim.net import MANAGEMENT, STORAGE

CHAOS_S: Final = 600.0
"""Ten simulated minutes."""
FAULTS_MIN: Final = 10
FIRST_S: Final = 30.0
"""The cluster has started the engine VM by then."""

Kind = Literal["chaos", "harmless", "single", "blackout", "fence"]
HOSTS: Final = ("node1", "node2", "node3")
PLACES: Final = ("@holder", "@standby", "@other", *HOSTS)


@dataclass(frozen=True)
class Plan:
    """``core``: the hosts that are made well at the end, before liveness is demanded."""

    seed: int
    kind: Kind
    faults: tuple[Fault, ...]
    core: tuple[str, ...]
    warm: bool
    chaos_s: float = CHAOS_S


def plan(seed: int) -> Plan:
    """The plan of that seed."""
    rng = Random(f"plan {seed}")  # noqa: S311 - a repeatable plan, no secret
    kind: Kind = rng.choices(tuple(_MAKERS), (54, 12, 18, 8, 8))[0]
    faults = _MAKERS[kind](rng)
    core = HOSTS if kind != "chaos" or rng.random() < 0.6 else tuple(sorted(rng.sample(HOSTS, 2)))
    return Plan(seed, kind, tuple(sorted(faults, key=lambda one: one.at_s)), core, rng.random() < 0.7)


# --- anything at any time


def _chaos(rng: Random) -> list[Fault]:
    count = rng.randint(FAULTS_MIN, 24)
    faults: list[Fault] = []
    for _ in range(count):
        at_s = round(FIRST_S + rng.random() * (CHAOS_S - FIRST_S), 2)
        if faults and rng.random() < 0.3:  # close to the one before: the interesting things happen in the same seconds
            at_s = round(min(CHAOS_S, faults[-1].at_s + rng.expovariate(0.4)), 2)
        faults.append(_WILD[rng.choices(range(len(_WILD)), _WEIGHTS)[0]][1](rng, at_s))
    return faults


def _for(rng: Random, mean_s: float) -> float:
    return round(0.2 + min(rng.expovariate(1 / mean_s), 6 * mean_s), 2)


def _simple(
    do: str, mean_s: float = 0.0, value: Callable[[Random], float] | None = None
) -> Callable[[Random, float], Fault]:
    def make(rng: Random, at_s: float) -> Fault:
        for_s = _for(rng, mean_s) if mean_s else 0.0
        return Fault(at_s, do, rng.choice(PLACES), for_s, value=round(value(rng), 2) if value else 0.0)

    return make


def _link(rng: Random, at_s: float) -> Fault:
    network = rng.choice(("", "", STORAGE, MANAGEMENT))
    host = rng.choice(PLACES)
    to = rng.choice([name for name in HOSTS if name != host]) if rng.random() < 0.4 and not host.startswith("@") else ""
    direction = rng.choice(("both", "both", "out", "in"))
    do = rng.choice(("cut", "cut", "cut", "loss", "flap"))
    value = {"cut": 0.0, "loss": round(rng.random(), 2), "flap": round(rng.uniform(1, 20), 1)}[do]
    for_s = round(rng.uniform(0.5, 5.0), 2) if rng.random() < 0.3 else _for(rng, 40)
    return Fault(at_s, do, host, for_s, to, network, direction, value)


def _still(rng: Random, at_s: float) -> Fault:
    return Fault(at_s, "stop-qemu", "@holder", _for(rng, 60), text=rng.choice(("", "asked", "asked", "stuck")))


def _migration(rng: Random, at_s: float) -> Fault:
    stage = rng.choice(("prepare", "transfer", "switch-over", "finish"))
    act = rng.choice(("source-dies", "target-dies", "network", "storage"))
    return Fault(at_s, "migration-fault", "", 120.0, text=f"{stage} {act}")


_WILD: tuple[tuple[int, Callable[[Random, float], Fault]], ...] = (
    (14, _simple("power-off", 40)),
    (6, _simple("freeze", 20)),
    (22, _link),
    (8, _simple("kill-qemu")),
    (4, _simple("hang-guest", 120)),
    (4, _still),
    (1, _simple("hang-wake", 120)),
    (3, _simple("idle-guest", 30)),
    (2, _simple("panic-guest")),
    (2, _simple("engine-crash")),
    (2, _simple("engine-slow", 60, lambda rng: rng.uniform(0.5, 6))),
    (2, _simple("never-healthy", 90)),
    (2, _simple("slow-boot", 120, lambda rng: rng.uniform(5, 60))),
    (2, _simple("spoil-warm", 300)),
    (4, _migration),
    (5, _simple("kill-broker")),
    (1, _simple("kill-broker", 40)),
    (4, _simple("kill-in-start", 60, lambda rng: rng.randint(1, 15))),
    (5, _simple("stop-broker", 15)),
    (3, _simple("crash-loop", 60)),
    (2, _simple("newer-format", 120)),
    (2, _simple("clock-jump", 0, lambda rng: rng.choice((-3600, 3600)))),
    (3, _simple("load", 60, lambda rng: rng.choice((6, 40, 100)))),
    (1, _simple("memory", 60, lambda rng: 400)),
    (1, _simple("cpu-model", 60)),
    (1, _simple("certificate", 90, lambda rng: -1)),
    (1, _simple("image-missing", 60)),
    (2, _simple("var-full", 120)),
    (2, _simple("libvirt-hangs", 20)),
    (2, _simple("start-fails", 60)),
    (2, _simple("disk-unreachable", 30, lambda rng: rng.choice((0, 1)))),
    (6, _simple("kill-brick", 20)),
    (2, _simple("kill-mount", 10)),
    (1, _simple("kill-glusterd")),
    (2, _simple("board-unwritable", 30)),
    (2, _simple("disk-failing", 20)),
    (4, _simple("volume-full", 40, lambda rng: rng.choice((0, 1)))),
    (1, _simple("split-brain", 60)),
    (1, _simple("slow-heal", 120, lambda rng: rng.uniform(10, 120))),
    (2, _simple("garbage-slot", 0, lambda rng: rng.randint(1, 1000))),
    (2, _simple("replay-slot", 15)),
    (1, _simple("damage-record")),
    (1, _simple("restore-record", 0, lambda rng: rng.randint(1, 4))),
    (3, _simple("maintenance", 60)),
    (4, _simple("local-maintenance", 60)),
    (2, _simple("old-engine", 0, lambda rng: rng.randint(1, 3))),
)
_WEIGHTS = [weight for weight, _ in _WILD]


# --- what must not cost a restart


def _harmless(rng: Random) -> list[Fault]:
    at_s, faults = FIRST_S + 15, list[Fault]()
    while at_s < CHAOS_S or len(faults) < FAULTS_MIN:
        fault = rng.choice(_CALM)(rng, round(at_s, 2))
        faults.append(fault)
        at_s += max(fault.for_s, 1.0) + rng.uniform(30, 45)
    return faults


def _calm(
    do: str, host: str, mean_s: float = 0.0, value: float = 0.0, network: str = "", to: str = "", most_s: float = 60.0
) -> Callable[[Random, float], Fault]:
    def make(rng: Random, at_s: float) -> Fault:
        for_s = min(_for(rng, mean_s), most_s) if mean_s else 0.0
        return Fault(at_s, do, host, for_s, to, network, value=value, no_start=True)

    return make


_CALM: tuple[Callable[[Random, float], Fault], ...] = (
    _calm("cut", "@holder", 2.0, most_s=4.0),
    _calm("cut", "@standby", 2.0, most_s=4.0),
    _calm("cut", "@standby", 30.0),
    _calm("cut", "@standby", 30.0, to="@other"),
    _calm("cut", "@holder", 30.0, to="@other"),
    _calm("power-off", "@standby", 30.0),
    _calm("power-off", "@other", 30.0),
    _calm("freeze", "@other", 20.0),
    _calm("freeze", "@holder", 1.5, most_s=3.0),
    _calm("kill-broker", "@holder"),
    _calm("kill-broker", "@other"),
    _calm("stop-broker", "@holder", 2.0, most_s=3.0),
    _calm("engine-crash", "@holder"),
    _calm("engine-slow", "@holder", 20.0, 2.0),
    _calm("clock-jump", "@holder", value=3600.0),
    _calm("clock-jump", "@other", value=-3600.0),
    _calm("load", "@holder", 30.0, 100.0),
    _calm("load", "@standby", 30.0, 100.0),
    _calm("var-full", "@holder", 30.0),
    _calm("certificate", "@holder", 30.0, -1.0),
    _calm("garbage-slot", "@other", value=5.0),
    _calm("replay-slot", "@other", 8.0),
    _calm("newer-format", "@other", 30.0),
    _calm("kill-glusterd", "@holder"),
    _calm("kill-brick", "@other", 10.0),
    _calm("kill-brick", "@standby", 10.0),
    _calm("kill-brick", "@holder", 10.0),
    _calm("libvirt-hangs", "@standby", 20.0),
    _calm("old-engine", "@other", value=1.0),
    _calm("volume-full", "", 20.0),
    _calm("memory", "@other", 30.0, 400.0),
    _calm("loss", "@other", 20.0, 0.2),
)


# --- one severe fault at a time, with the time it may cost


def _single(rng: Random) -> list[Fault]:
    at_s, faults = FIRST_S + 15, list[Fault]()
    while at_s < CHAOS_S or len(faults) < FAULTS_MIN:
        do, mean_s, within_s, network = rng.choice(_SEVERE)
        for_s = 20 + min(_for(rng, mean_s), 60.0) if mean_s else 0.0
        faults.append(Fault(round(at_s, 2), do, "@holder", round(for_s, 2), network=network, start_within_s=within_s))
        at_s += max(for_s, 20.0) + rng.uniform(40, 55)
    return faults


L1_S: Final = 8.0
L1_QEMU_S: Final = 3.0
STOPPED_S: Final = limits.STOPPED_ALLOWANCE_S + limits.TURN_S + L1_QEMU_S
"""A stopped QEMU is seen within a turn, and ended after its allowance; then it is as one that was killed."""
_SEVERE: tuple[tuple[str, float, float, str], ...] = (
    ("power-off", 20.0, L1_S, ""),
    ("power-off", 20.0, L1_S, ""),
    ("cut", 20.0, L1_S, ""),
    ("freeze", 20.0, L1_S, ""),
    ("cut", 20.0, 9.0, STORAGE),
    ("kill-qemu", 0.0, L1_QEMU_S, ""),
    ("panic-guest", 0.0, L1_QEMU_S, ""),
    ("stop-qemu", 0.0, STOPPED_S, ""),
)


# --- all power is lost


def _blackout(rng: Random) -> list[Fault]:
    at_s, faults = FIRST_S + 10, list[Fault]()
    while at_s < CHAOS_S or len(faults) < FAULTS_MIN:
        if rng.random() < 0.3:  # the setting has to outlive it
            faults.append(Fault(round(at_s - 5, 2), "maintenance", rng.choice(HOSTS)))
        off_s = [round(at_s + rng.random() * rng.choice((0.01, 3, 15)), 2) for _ in HOSTS]
        back_s = max(off_s) + rng.uniform(1, 20)
        for index, host in enumerate(HOSTS):
            delay_s = rng.random() * rng.choice((0.01, 5, 40))
            faults.append(Fault(off_s[index], "power-off", host, round(back_s + delay_s - off_s[index], 2)))
        at_s = max(fault.at_s + fault.for_s for fault in faults) + rng.uniform(60, 75)
        faults.append(Fault(round(at_s - 20, 2), "maintenance", rng.choice(HOSTS), text="off"))
    return faults


# --- nothing but the lock stands between two writers


def _fence(rng: Random) -> list[Fault]:
    """The holder's broker is dead and its guest writes nothing, while the host is lost to the others and comes back."""
    at_s, faults = FIRST_S + 10, list[Fault]()
    while at_s < CHAOS_S or len(faults) < FAULTS_MIN:
        if rng.random() < 0.3:
            faults += _forgotten(rng, at_s)
            at_s += 90
            continue
        lost_s = round(rng.uniform(8, 30), 2)
        dead_s = round(lost_s + rng.uniform(4, 20), 2)
        idle_s = round(lost_s + rng.uniform(-4, 12), 2)
        network = rng.choice(("", STORAGE))
        do = rng.choice(("cut", "cut", "freeze"))
        hangs = rng.random() < 0.4
        if not hangs or rng.random() < 0.5:
            faults.append(Fault(round(at_s, 2), "kill-broker", "@holder", dead_s))
        faults.append(
            Fault(round(at_s + 0.01, 2), "hang-guest" if hangs else "idle-guest", "@holder", 0.0 if hangs else idle_s)
        )
        faults.append(Fault(round(at_s + 0.02, 2), do, "@holder", lost_s, network=network if do == "cut" else ""))
        at_s += dead_s + rng.uniform(40, 50)
    return faults


def _forgotten(rng: Random, at_s: float) -> list[Fault]:
    """A brick forgets the lock, and before the disk is opened anew the holder's broker is silent: the others try."""
    brick = Fault(round(at_s, 2), "kill-brick", rng.choice(HOSTS), round(rng.uniform(1, 3), 2))
    return [brick, Fault(round(at_s + rng.uniform(6, 9), 2), "kill-broker", "@holder", round(rng.uniform(15, 40), 2))]


_MAKERS: dict[Kind, Callable[[Random], list[Fault]]] = {
    "chaos": _chaos,
    "harmless": _harmless,
    "single": _single,
    "blackout": _blackout,
    "fence": _fence,
}
