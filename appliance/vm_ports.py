"""What VM verbs ask of libvirt beyond starting and ending: :class:`appliance.ports.Hypervisor` is all of these together.

Every call has a deadline (``Unavailable`` ``libvirt.deadline``, ``libvirt.unreachable``) and raises ``NotFound``
(``vm.unknown``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from appliance.model.vm_live import BlockJob, GuestAnswer, JobProgress, MigrationLimits, VmStatistics

Watch = Callable[[JobProgress], bool]
"""Asked every half second during long work; False breaks it off."""


class LiveDevices(Protocol):
    """Devices of a running VM, as elements of its domain."""

    def domain_xml(self, name: str) -> str:
        """The domain as it is now."""

    def detach(self, name: str, xml: str) -> None:
        """Ask the guest to let go of a device; it may take its time. Raises ``Failed`` (``vm.detach``)."""

    def update(self, name: str, xml: str, force: bool) -> None:
        """Change a device in place; ``force``: open a drive that the guest keeps shut. Raises ``Failed`` (``vm.update``)."""

    def set_cpus(self, name: str, cpus: int) -> None:
        """Plug CPUs in or out. Raises ``Failed`` (``vm.cpus``)."""

    def set_balloon(self, name: str, memory_mib: int) -> None:
        """Let the guest have so much of its memory. Raises ``Failed`` (``vm.memory``)."""


class LivePower(Protocol):
    """What :class:`appliance.ports.Hypervisor` had not needed."""

    def pause(self, name: str) -> None:
        """Stop its CPUs."""

    def reboot(self, name: str) -> None:
        """Ask the guest, by its agent or else ACPI. Raises ``Failed`` (``vm.reboot``)."""

    def reset(self, name: str) -> None:
        """Press the reset button."""


class Guests(Protocol):
    """What VMs say of themselves."""

    def statistics(self) -> tuple[VmStatistics, ...]:
        """Of all running VMs, in one question to libvirt, sorted by name."""

    def freeze(self, name: str) -> None:
        """The guest's agent writes out its file systems and holds back writes. Raises ``Conflict`` (``vm.no-agent``),
        ``Failed`` (``vm.freeze``: also of one that is frozen already)."""

    def thaw(self, name: str) -> None:
        """They go on. Raises ``Conflict`` (``vm.no-agent``), ``Failed`` (``vm.thaw``)."""

    def states(self) -> tuple[tuple[str, str], ...]:
        """Names of the VMs that are there, sorted, each with a word that is another one when its state is."""

    def guests(self) -> tuple[GuestAnswer, ...]:
        """What the guest agents of running VMs tell, sorted by name; of a VM whose agent has just hung, or that ends
        meanwhile, nothing."""


class Blocks(Protocol):
    """The files under a running VM. ``target`` is libvirt's label of a disk (``sda``)."""

    def snapshot(self, name: str, xml: str, *, memory: bool, quiesce: bool, deadline_s: float, watch: Watch) -> None:
        """All disks of the description at once, or none. Raises ``Failed`` (``vm.snapshot``, ``vm.broken-off``),
        ``Conflict`` (``vm.no-agent``)."""

    def block_resize(self, name: str, target: str, size_bytes: int) -> None:
        """Raises ``Failed`` (``vm.disk-resize``)."""

    def block_commit(self, name: str, target: str, top: str, base: str, active: bool) -> None:
        """Begin to merge; ``top``, ``base``: names of libvirt's for elements of the chain (``sda[3]``). Raises ``Failed``
        (``vm.merge``)."""

    def block_mirror(self, name: str, target: str, xml: str, shallow: bool) -> None:
        """Begin to copy the disk into a file that is there (``xml``: as a disk's element), and to write whatever the guest
        writes to both; ``shallow``: its own layer only. Raises ``Failed`` (``vm.mirror``)."""

    def block_job(self, name: str, target: str) -> BlockJob | None:
        """The work on that disk's chain; None: there is none."""

    def end_block_job(self, name: str, target: str, pivot: bool) -> None:
        """``pivot``: go over to the other file (the one below, or the mirror), all is in it; else break off. Raises
        ``Failed`` (``vm.merge``)."""


class Backups(Protocol):
    """Running VMs served for a backup, and checkpoints: bitmaps of what was written since, one a disk. libvirt's own record
    of a checkpoint is made for the call that needs it and forgotten after: the engine knows them, and a node forgets."""

    def begin_backup(self, name: str, backup: str, checkpoint: str, *, quiesce: bool) -> None:
        """Serve what its disks are now, and make ``checkpoint`` (empty: none) at the same moment. Raises ``Conflict``
        (``vm.checkpoint-lost``, ``vm.no-agent``), ``Failed`` (``vm.backup``)."""

    def backup(self, name: str) -> str | None:
        """The description of the backup that goes on; None: there is none."""

    def end_backup(self, name: str) -> None:
        """Serve it no more; it has gone a moment later. Raises ``Failed`` (``vm.backup``): there is none."""

    def define_checkpoint(self, name: str, xml: str, *, is_checked: bool) -> None:
        """Let libvirt know of one whose bitmaps are there. ``is_checked``: raises ``Conflict`` (``vm.checkpoint-lost``) when
        one is missing, or was not written when its QEMU ended."""

    def drop_checkpoint(self, name: str, checkpoint: str) -> None:
        """Remove the bitmaps of a defined one, if there are any. Raises ``Failed`` (``vm.backup``)."""

    def forget_checkpoints(self, name: str) -> None:
        """libvirt knows none any more; the bitmaps stay."""


class Moves(Protocol):
    """A VM leaves this QEMU and goes on in another one."""

    def migrate_within(self, name: str, target: str, limits: MigrationLimits, watch: Watch) -> None:
        """As :meth:`appliance.ports.Hypervisor.migrate`, with limits. Raises ``Failed`` (``vm.migrate``,
        ``vm.broken-off``)."""

    def save_within(self, name: str, path: str, deadline_s: float, watch: Watch) -> None:
        """Save its memory and end it. Raises ``Failed`` (``vm.save``, ``vm.broken-off``: it goes on running)."""

    def restore_running(self, path: str, xml: str, paused: bool, deadline_s: float) -> None:
        """Go on from saved memory. Raises ``Failed`` (``vm.restore``), ``Conflict`` (``vm.exists``, ``vm.disk-locked``)."""

    def job(self, name: str) -> JobProgress | None:
        """Migration, saving … that goes on; None: there is none."""
