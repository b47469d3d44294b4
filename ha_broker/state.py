"""What a broker knows and what it decides: frozen data, no behaviour beyond small derived values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from appliance.model.ha import MaintenanceState
from appliance.model.vm import VmPower

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


@dataclass(frozen=True)
class Score:
    """How fit a host is to run the engine VM. 0: not eligible."""

    value: int
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class LocalVm:
    """The engine VM as this node's libvirt sees it; ``unknown`` while libvirt does not answer."""

    power: VmPower | Literal["unknown"]
    pid: int = 0
    error: str = ""


@dataclass(frozen=True)
class Held:
    """The start that this host resumed last: which epoch it gave, the QEMU process it gave it to, and since when (ISO
    8601)."""

    epoch: int
    pid: int
    since: str


Outcome = Literal["begun", "done", "failed", "locked"]


@dataclass(frozen=True)
class Attempt:
    """A start of the engine VM tried here. ``at_s`` is monotonic time of this boot."""

    at_s: float
    outcome: Outcome


@dataclass(frozen=True)
class Notes:
    """What a broker must remember over its own crash (not over a reboot): see :class:`ha_broker.ports.NotesFile`."""

    held: Held | None = None
    attempts: tuple[Attempt, ...] = ()


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

    @property
    def claims(self) -> bool:
        """Alive, and says that the engine VM is with it."""
        return not self.silent and self.slot is not None and self.slot.engine != "none"


@dataclass(frozen=True)
class Work:
    """What is under way in this broker. ``step`` is the last one begun; ``target`` is a migration's."""

    step: str
    for_s: float
    cancelled: bool = False
    kind: Literal["start", "destroy", "migrate", "shutdown", "resume"] = "start"
    target: str = ""


@dataclass(frozen=True)
class Brick:
    """A brick of the volume ``engine`` as this host's mount sees it now. ``open``: every file that this mount holds open
    is open (and locked, if it was) on that brick; a handle that went bad there makes it False until it is opened anew."""

    host: str
    connected: bool
    open: bool


@dataclass(frozen=True)
class Heal:
    """What the bricks of ``engine`` owe each other. ``pending``: entries to be healed; ``split_brain``: paths of files
    whose copies contradict each other; ``error``: why it is not known (then the other fields mean nothing)."""

    pending: int = 0
    split_brain: tuple[str, ...] = ()
    error: str = ""


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

    def peer(self, name: str) -> Peer | None:
        """The peer called ``name``."""
        return next((peer for peer in self.peers if peer.name == name), None)

    @property
    def own_epoch(self) -> int:
        """The epoch of the engine VM that runs here. A VM whose start is not in the notes has the one its agent knows."""
        held = self.notes.held
        return held.epoch if held is not None and held.pid == self.vm.pid else self.local_epoch

    @property
    def epoch_known(self) -> int:
        """The highest epoch heard of."""
        slots = [max(peer.slot.epoch_known, peer.slot.engine_epoch) for peer in self.peers if peer.slot is not None]
        return max([self.local_epoch, self.notes.held.epoch if self.notes.held else 0, *slots])


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
