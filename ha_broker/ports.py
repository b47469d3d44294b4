"""Everything a broker asks of the outside, as protocols. Real ones are in :mod:`ha_broker.effects`, the simulated world's in
:mod:`ha_broker.sim`.

Calls that may block (the volume, libvirt, the network) are never made by the loop: they are made by *procedures*,
generators that yield one port call at a time to :class:`Beside`. So the real world runs a procedure in a thread, and
the simulated world can delay it, fail it or let the broker die between any two calls.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from appliance.effects.clock import Clock
from appliance.model.engine_start import EngineStart
from appliance.model.ha import HaStatus, MaintenanceState
from appliance.model.vm import VmSpec
from ha_broker.state import Brick, Heal, LocalVm, Notes, QemuProcess
from ha_broker.state import HostFacts as HostFacts  # a fact of a port, told from here too

T = TypeVar("T")
Call = Callable[[], Any]
Procedure = Generator[Call, Any, T]


def call(work: Callable[[], T]) -> Procedure[T]:
    """One port call as (part of) a procedure: ``value = yield from call(port.verb)``."""
    return cast(T, (yield work))


@dataclass(frozen=True)
class Result:
    """A procedure that ended: its value or its error, and the monotonic times of begin and end."""

    value: Any
    error: Exception | None
    began_s: float
    ended_s: float


class Beside(Protocol):
    """Runs procedures beside the loop, at most one for each key at any time."""

    def ask(self, key: str, procedure: Callable[[], Procedure[Any]]) -> bool:
        """Begin it, unless one with that key is still running or its result was not taken (then: False)."""

    def take(self, key: str) -> Result | None:
        """The result of the one that ended, once."""

    def pending_s(self, key: str) -> float | None:
        """For how long the one with that key has been running; None: none is."""

    def settle(self, seconds: float) -> None:
        """Wait until nothing is running that began within this time, at most this long: what takes longer than that
        (a question to an engine that hangs) delays no turn."""


class BoardFiles(Protocol):
    """The slot files on the volume ``engine``. May block for seconds and raise ``OSError``."""

    def read(self, host: str) -> bytes | None:
        """The slot's bytes, past every cache; None: there is no such file."""

    def write(self, data: bytes) -> None:
        """Write this host's own slot, to the bricks."""


class Hypervisor(Protocol):
    """The engine VM on this node's libvirt. May block; errors are those of :mod:`appliance.errors`."""

    def engine_vm(self) -> LocalVm: ...

    def qemu_process(self) -> QemuProcess:
        """Its process, without libvirt, which does not answer while a QEMU stands still. Does not block."""

    def start_paused(self, spec: VmSpec) -> int:
        """Start QEMU, which takes the disk's lock, with the guest not running yet; answer its process id. Where saved
        memory of this image is good, the guest is woken from it (its disks attached last), else it boots cold.

        Raises ``Conflict`` (``vm.disk-locked``) when another holds the lock, ``Unavailable`` (``vm.disk-unreachable``)
        when the volume does not answer from here.
        """

    def resume(self) -> None: ...

    def destroy(self) -> None:
        """End QEMU, also where it stands still or libvirt does not answer; no error when there is none. Raises ``Failed``
        (``vm.process-stuck``): the kernel does not let it go."""

    def shutdown(self) -> None:
        """Press the guest's power button; does not wait."""

    def migrate(self, target: str) -> None:
        """Live-migrate to that member; ends when the target runs it, or by itself within ``limits.MOVE_DEADLINE_S``.
        Raises ``Failed`` (``vm.migrate``): then the VM is where ``engine_vm`` finds it."""


class EpochStore(Protocol):
    """Where this node finds and leaves epochs."""

    def read_record(self) -> int:
        """The record on the volume; 0 when there is none. Raises ``Failed`` (``ha.epoch-record-damaged``), ``OSError``."""

    def write_record(self, epoch: int) -> None:
        """Replace the record, durably on the bricks when this returns. Only under the lock."""

    def local(self) -> int:
        """The highest epoch this node's agent accepted. Does not block."""

    def raise_local(self, epoch: int) -> int:
        """Let this node's agent refuse lower ones from now on; answer the highest."""


class Seed(Protocol):
    """The seed disk that the guest reads at each boot."""

    def ensure(self, start: EngineStart) -> None:
        """Make the file if there is none (QEMU needs it to start); an existing one is left alone."""

    def write(self, start: EngineStart) -> None:
        """Render it in place: same file, same size. Only under the lock."""


class Pool(Protocol):
    """The volume ``engine`` as a whole. May block for seconds."""

    def bricks(self) -> tuple[Brick, ...]:
        """As this host's mount sees them (cheap: no call to any daemon)."""

    def heal(self) -> Heal:
        """What is to be healed (dear: asked rarely). Never raises for what Gluster may answer: it is the ``error``."""

    def free_bytes(self) -> int:
        """Free space of the volume."""


class Agents(Protocol):
    """Other nodes' agents, asked in parallel; those that did not answer within the deadline are absent."""

    def epochs(self, hosts: Sequence[str], deadline_s: float) -> Mapping[str, int]: ...

    def raise_epoch(self, hosts: Sequence[str], epoch: int, deadline_s: float) -> None: ...


class Health(Protocol):
    """The engine's /health."""

    def epoch_up(self, deadline_s: float) -> int | None:
        """The epoch of the engine that answers "up"; None: none does. Asked by every host, not only the holder's."""


class Host(Protocol):
    """This node. Does not block."""

    def boot_id(self) -> str: ...

    def facts(self) -> HostFacts: ...


class NotesFile(Protocol):
    """What survives the broker's own crash within one boot. Does not block; a file that cannot be written is told to
    the journal."""

    def load(self) -> Notes: ...

    def save(self, notes: Notes) -> None: ...


@dataclass(frozen=True)
class Event:
    """A line of the event log: what was decided or done. ``kind``: start-begun, start-done, start-failed, standby,
    destroyed, destroy-failed, adopted, move-begun, move-done, move-failed, shutdown, resumed, forced-refused, decided,
    finding, alert, alert-over. ``code`` is that of the alert (see :class:`appliance.model.ha.HaAlert`)."""

    wall_s: float
    host: str
    kind: str
    epoch: int
    sentence: str
    code: str = ""
    subject: str = ""


class EventLog(Protocol):
    """Where what a broker did is kept for people and tests (``events.jsonl``)."""

    def write(self, event: Event) -> None: ...


class Requests(Protocol):
    """What ``trivet ha maintenance`` asks of the broker."""

    def maintenance(self) -> MaintenanceState | None:
        """The setting asked for and not acknowledged yet."""

    def done(self) -> None:
        """Acknowledge: it is on the board."""

    def local_maintenance(self) -> bool:
        """Whether this host is to be in local maintenance: kept on this node's disk, survives a reboot."""

    def forced_start(self) -> bool:
        """Somebody typed the confirmation of a start that the rules would not make. Holds until ``forced_done``."""

    def forced_done(self) -> None: ...


class StatusFile(Protocol):
    """Where the status of each turn goes, replaced as a whole."""

    def write(self, status: HaStatus) -> None: ...


@dataclass(frozen=True)
class Ports:
    """All of them, for one broker."""

    clock: Clock
    beside: Beside
    board: BoardFiles
    hypervisor: Hypervisor
    pool: Pool
    epochs: EpochStore
    seed: Seed
    agents: Agents
    health: Health
    host: Host
    notes: NotesFile
    events: EventLog
    requests: Requests
    status: StatusFile
