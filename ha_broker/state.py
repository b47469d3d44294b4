"""What a broker knows and what it decides: frozen data, no behaviour beyond small derived values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from appliance.model.ha import MaintenanceState
from appliance.model.stale_call import StaleCall
from gluster.mount_view import MountBrick
from ha_broker import limits
from ha_broker.local_vm import LocalVm as LocalVm
from ha_broker.local_vm import ProcessState as ProcessState
from ha_broker.local_vm import QemuProcess as QemuProcess

EngineSeen = Literal["none", "starting", "running", "paused", "migrating", "incoming"]
"""What a host says of the engine VM on itself."""


@dataclass(frozen=True, order=True)
class Register:
    """The maintenance setting as a Lamport register: highest ``counter`` wins, ties by the name of who set it."""

    counter: int = 0
    by: str = ""
    value: MaintenanceState = "none"


@dataclass(frozen=True)
class Slot:
    """What a host writes about itself on the board, each turn."""

    host: str
    boot_id: str
    sequence: int
    score: int
    reasons: tuple[str, ...] = ()
    engine: EngineSeen = "none"
    engine_epoch: int = 0
    """Epoch of the engine VM that runs here, 0: none does."""
    engine_up: bool = False
    """Its /health answered "up" with that epoch."""
    engine_since: str = ""
    """ISO 8601 UTC, for people."""
    epoch_known: int = 0
    """The highest epoch this host has heard of."""
    maintenance: Register = field(default_factory=Register)
    decision: str = ""
    starts: int = 0
    """Starts of the engine VM within the window of L2."""
    local_maintenance: bool = False
    """This host is being worked on: it neither starts nor takes the engine VM, and hands it over if it has it."""
    engine_reached: bool = True
    """This host got an answer from the engine's /health lately, or had no reason to ask (nobody claims a running one)."""
    brick_here: bool = True
    """The local brick of ``engine`` answers this host's mount."""
    fence: str = ""
    """How firmly the data disk is held from here, in words; empty: not held."""
    handing_to: str = ""
    """The host that the engine VM is being migrated to from here."""
    open_on: tuple[str, ...] = ()
    """The hosts on whose bricks the data disk is open and locked from here; empty: not held, or not known."""
    wait_s: float = 0.0
    """For how much longer the decision waits, if that is bounded; else 0."""
    reads: int = 1
    """The highest version of a slot's payload that this host reads; its header says so too."""
    unreached: bool = False
    """Lately the engine VM ran here and no other host reached it: it is not handed to this host for that reason."""


@dataclass(frozen=True)
class Score:
    """How fit a host is to run the engine VM. 0: not eligible."""

    value: int
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Held:
    """The start that this host resumed last: which epoch it gave, the QEMU process it gave it to, and since when (ISO
    8601)."""

    epoch: int
    pid: int
    since: str


Outcome = Literal["begun", "done", "failed", "locked", "unreachable", "no-space", "unhealthy"]
"""``locked``: the disk's lock refused it. ``unreachable``: the disk could not be reached from here, no guest ran.
``no-space``: the volume had no space for the epoch record or the seed, no guest ran.
``unhealthy``: the guest ran and its engine never answered."""


@dataclass(frozen=True)
class Attempt:
    """A start of the engine VM tried here. ``at_s`` is monotonic time of this boot."""

    at_s: float
    outcome: Outcome


MoveReason = Literal["broker-crashes", "board-unwritable", "local-maintenance", "unreached", "refresh"]
"""Why the engine VM is handed over."""


@dataclass(frozen=True)
class Move:
    """A migration of the engine VM away from here that ended. ``at_s``: when, monotonic."""

    at_s: float
    reason: MoveReason
    done: bool


@dataclass(frozen=True)
class Notes:
    """What a broker must remember over its own crash (not over a reboot): see :class:`ha_broker.ports.NotesFile`."""

    held: Held | None = None
    attempts: tuple[Attempt, ...] = ()
    broker_starts: tuple[float, ...] = ()
    """When brokers of this boot started (monotonic)."""
    moves: tuple[Move, ...] = ()
    moving: str = ""
    """The host that the engine VM is being migrated to; still there after a crash of the broker in the middle."""
    released_s: float | None = None
    """When the engine VM was last given up here for another host to start it."""
    unreached_s: float | None = None
    """When no other host reached the engine VM here last."""


@dataclass(frozen=True)
class OwnStorage:
    """How this host's own reads and writes of the volume fare."""

    good_for_s: float
    """How long all of them have ended well and in time; 0 during a stall or error."""
    unwritten_s: float
    """Since the last good write of the own slot."""
    failing_s: float = 0.0
    """Since when writes have ended in errors; 0: they do not."""
    error: str = ""
    """The last error, while failing."""
    no_space: bool = False
    """That error is "no space left": the volume is full, not lost."""


@dataclass(frozen=True)
class Peer:
    """Another member as seen on the board. ``slot`` is its last good slot; ``finding`` says what is wrong with the
    newest reading."""

    name: str
    slot: Slot | None
    read: bool
    """Its slot was read at least once (also when there was none)."""
    silent: bool
    silent_s: float
    finding: str = ""
    newer: bool = False
    """Its newest slot has a format that this broker cannot read: it lives, what it does is not known."""
    old: bool = False
    """Its slot was not seen to change since own storage became good: what it says may be over, also that it has nothing."""

    @property
    def claims(self) -> bool:
        """Alive, and says that the engine VM is with it."""
        return not self.silent and not self.newer and self.slot is not None and self.slot.engine != "none"


@dataclass(frozen=True)
class Work:
    """What is under way in this broker. ``step`` is the last one begun; ``target`` is a migration's."""

    step: str
    for_s: float
    cancelled: bool = False
    kind: Literal["start", "destroy", "migrate", "shutdown", "resume"] = "start"
    target: str = ""


Brick = MountBrick
"""A brick of the volume ``engine`` as this host's mount sees it."""


@dataclass(frozen=True)
class Heal:
    """What the bricks of ``engine`` owe each other. ``pending``: entries to be healed; ``split_brain``: paths of files
    whose copies contradict each other; ``error``: why it is not known (then the other fields mean nothing)."""

    pending: int = 0
    split_brain: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Guest:
    """How the engine in the VM that runs here answers. Times are how long ago or for how long."""

    running_s: float = 0.0
    """Since this QEMU was first seen running here."""
    answered: bool = False
    """It has answered "up" with its epoch since then."""
    unanswered_s: float = 0.0
    """Since its last answer to this host, or since it runs here."""
    reached_by: tuple[str, ...] = ()
    """Living other hosts that reach it, or do not say that they do not."""
    unreached_s: float = 0.0
    """For how long it has answered to this host and to no other, although others live."""
    slow_s: float = 0.0
    """For how long its answers have been slow, or missing now and then."""
    button_s: float | None = None
    """Since this broker pressed its power button; None: it did not."""
    still_s: float = 0.0
    """For how long its QEMU process has been stopped."""


@dataclass(frozen=True)
class PoolView:
    """What is known of the volume's bricks and space. Each part is the last that was heard."""

    bricks: tuple[Brick, ...] = ()
    """Empty: not known, or too old to be used."""
    stale_s: float = 0.0
    """For how long some connected brick has not had the data disk open."""
    steady_s: float = 0.0
    """For how long every brick has been as connected as it is now."""
    heal: Heal | None = None
    heal_age_s: float = 0.0
    """Since the question was asked that ``heal`` answers."""
    free_bytes: int | None = None

    @property
    def firm(self) -> bool:
        """A majority of the bricks is connected and has this host's files open: its storage is not lost."""
        return 2 * sum([brick.connected and brick.open for brick in self.bricks]) > len(self.bricks)

    @property
    def to_open(self) -> tuple[str, ...]:
        """Hosts whose connected bricks do not have the data disk open."""
        return tuple([brick.host for brick in self.bricks if brick.connected and not brick.open])

    @property
    def open_on(self) -> tuple[str, ...]:
        """Hosts on whose bricks it is."""
        return tuple([brick.host for brick in self.bricks if brick.connected and brick.open])

    @property
    def away(self) -> tuple[str, ...]:
        """Hosts whose bricks are not connected."""
        return tuple([brick.host for brick in self.bricks if not brick.connected])

    def here(self, host: str) -> bool:
        """The brick of ``host`` answers; also when nothing is known."""
        for brick in self.bricks:
            if brick.host == host:
                return brick.connected
        return True


@dataclass(frozen=True)
class ScoreSettings:
    """How a host's administrators want it to be scored (``/etc/trivet/ha.toml``, table ``[score]``). Points of penalties;
    ``preferred``: points added to this host's score."""

    eligible: bool = True
    preferred: int = 0
    load: int = 100
    """For each unit of load above one per CPU: a host twice overcommitted comes after an idle one with one failed
    start."""
    load_max: int = 400
    """Load alone never makes a host ineligible (fault 45)."""
    failure: int = 250
    """For each failed start within the window: a failing host comes after every healthy one, however loaded those are but
    not idle."""
    local_brick: int = 300
    """A host whose own brick is down reads and writes over the network: after an idle host with one failed start."""
    unreached: int = 500
    """Nobody needs an engine that nobody reaches: after two failed starts."""
    outage: int = 100
    """For each loss of the own storage within the window: a flapping host comes after steady ones."""


@dataclass(frozen=True)
class HostFacts:
    """What the score is made of."""

    load_1: float
    cpus: int
    memory_available_mib: int
    image: str
    """Path of the engine's root image; empty: missing or damaged."""
    image_error: str = ""
    cpu_error: str = ""
    """Why this host's QEMU cannot offer the engine VM's CPU model; empty: it can."""
    certificate_days_left: float = 365.0
    """Of this node's certificate; negative: expired."""
    emulated: bool = False
    """Guests run without the processor's help, several times slower."""
    state_error: str = ""
    """Why notes and events cannot be kept on this host's disk; empty: they can."""
    settings: ScoreSettings = field(default_factory=ScoreSettings)
    settings_error: str = ""
    """Why the settings file was not used (code and reason); the defaults are."""
    stale_call: StaleCall | None = None
    """The last engine that this node's agent refused in this boot, because a later one had been started (fault 46)."""


@dataclass(frozen=True)
class Observation:
    """Everything a decision is made from. Times are readings of this host's monotonic clock."""

    now_s: float
    host: str
    vm: LocalVm
    storage: OwnStorage
    peers: tuple[Peer, ...]
    score: Score
    maintenance: Register
    notes: Notes
    work: Work | None = None
    nobody_for_s: float = 0.0
    """How long nobody alive has claimed the engine VM."""
    local_epoch: int = 0
    """The highest epoch that this node's agent accepted."""
    engine_up: bool = False
    facts: HostFacts = field(default_factory=lambda: HostFacts(0.0, 1, 0, ""))
    pool: PoolView = field(default_factory=PoolView)
    guest: Guest = field(default_factory=Guest)
    local_maintenance: bool = False
    forced: bool = False
    """Somebody confirmed a start that the rules would not make."""
    handing_to: str = ""
    """The host that took the engine VM from here a moment ago; what is here still counts as a claim."""
    engine_reached: bool = True
    """See :attr:`Slot.engine_reached`."""
    losses: int = 0
    """How often this host lost its storage lately."""
    source_gone_s: float = 0.0
    """For how long the engine VM has been arriving here without anybody alive who sends it."""

    @property
    def crash_looping(self) -> bool:
        """The broker of this host keeps dying."""
        return crash_looping(self.notes, self.now_s)

    def peer(self, name: str) -> Peer | None:
        """The peer called ``name``."""
        return next((peer for peer in self.peers if peer.name == name), None)

    @property
    def own_epoch(self) -> int:
        """See :func:`own_epoch`."""
        return own_epoch(self.notes, self.vm, self.local_epoch)

    @property
    def epoch_known(self) -> int:
        """The highest epoch heard of."""
        highest = self.local_epoch if self.notes.held is None else max(self.local_epoch, self.notes.held.epoch)
        for peer in self.peers:
            slot = peer.slot
            if slot is not None and (slot.epoch_known > highest or slot.engine_epoch > highest):
                highest = max(slot.epoch_known, slot.engine_epoch)
        return highest


Action = Literal["start", "destroy", "migrate", "shutdown", "resume", "none"]
"""``shutdown``: the power button (graceful). ``resume``: go on after a full volume got space; nothing else is resumed."""


@dataclass(frozen=True)
class Decision:
    """What to do, and why, in a sentence (L6). ``rule`` is stable, for tests and programs; ``until_s`` is the monotonic
    time until which it is waited, if it is bounded."""

    action: Action
    rule: str
    sentence: str
    until_s: float | None = None
    target: str = ""
    """The host to migrate to."""
    again: bool = False
    """After the destroy or shutdown the engine VM is started here again; else it is left to whoever comes first."""
    move: MoveReason | None = None
    """Why it is migrated or released."""


def own_epoch(notes: Notes, vm: LocalVm, local_epoch: int) -> int:
    """The epoch of the engine VM that runs here. A VM whose start is not in the notes has ``local_epoch``: the one its agent
    knows, or 0 for who counts only what is written down."""
    return notes.held.epoch if notes.held is not None and notes.held.pid == vm.pid else local_epoch


def crash_looping(notes: Notes, now_s: float) -> bool:
    """The broker of this host has started too often (systemd starts it again after each crash), and this one is young."""
    if len(notes.broker_starts) < limits.CRASHES_MAX:
        return False
    recent = [at_s for at_s in notes.broker_starts if now_s - at_s < limits.CRASHES_WINDOW_S]
    return len(recent) >= limits.CRASHES_MAX and now_s - max(recent) < limits.CRASHES_STEADY_S
