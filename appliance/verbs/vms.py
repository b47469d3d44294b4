"""VMs of this node: idempotent verbs over libvirt. The agent's routes and the broker use the same."""

from __future__ import annotations

from collections.abc import Callable

from appliance.effects.root import Root
from appliance.errors import Conflict, NotFound, TrivetError
from appliance.model.vm import VmSpec, VmState
from appliance.ports import Hypervisor
from appliance.tools.domain_xml import awake_xml, domain_xml, pluggable_disks
from appliance.verbs.facts import hardware_virtualization

RUNNING = ("running", "paused", "paused-io-error", "paused-no-space", "shutting-down", "migrating", "incoming")

MIGRATE_BASE_S = 30.0
"""What every migration may take: two stalls of the volume of 6 s each, the handshakes, and as much again."""
MIGRATE_MIB_S = 50.0
"""… and for its memory: half of what a link of 1 Gbit/s carries. 1 GiB took 1.3 to 3 s on the build machine."""
MIGRATE_MAX_S = 1700.0
"""Below the route's deadline, so that the caller hears this end's reason: enough for 80 GiB at that rate."""


class VmVerbs:
    """Verbs over ``hypervisor``. ``accelerated`` says whether guests can run under KVM (asked at each start)."""

    def __init__(self, hypervisor: Hypervisor, accelerated: Callable[[], bool] | None = None) -> None:
        self._hypervisor = hypervisor
        self._accelerated = accelerated or (lambda: hardware_virtualization(Root()))

    def vms(self) -> tuple[VmState, ...]:
        """All VMs that libvirt of this node knows."""
        return self._hypervisor.domains()

    def find(self, name: str) -> VmState | None:
        """The VM called ``name``, if libvirt of this node knows it."""
        return self._hypervisor.domain(name)

    def start(self, spec: VmSpec, paused: bool) -> VmState:
        """Start it. Active already under that name and id: its state, whatever it is.

        Raises ``Conflict`` (``vm.disk-locked``, ``vm.exists``: another VM has the name), ``Unavailable``
        (``vm.disk-unreachable``), ``Refused`` (``vm.spec``).
        """
        found = self.find(spec.name)
        if found is None or found.power not in RUNNING:
            self._hypervisor.start(domain_xml(spec, accelerated=self._accelerated()), paused=paused)
            found = self._require(spec.name)
        if found.id.lower() != spec.id.lower():
            raise Conflict(
                "vm.exists",
                subject=f"VM {spec.name}",
                reason=f"a VM of that name is active with the id {found.id}, not {spec.id}",
                remedy="Destroy the old one first, or use another name.",
            )
        return found

    def wake(self, spec: VmSpec, saved: str, end: Callable[[], None] | None = None) -> VmState:
        """Wake it, paused, from its saved memory, and attach its virtio-scsi disks, which saved memory does not have.

        Whatever fails, no QEMU is left: it is ended by ``end`` (:meth:`destroy` unless given). Raises ``Conflict``
        (``vm.disk-locked``, ``vm.exists``), ``Failed``
        (``vm.restore``, ``vm.attach``, ``vm.saved-memory``), ``Unavailable`` (``vm.disk-unreachable``;
        ``libvirt.deadline``: it hung).
        """
        found = self.find(spec.name)
        if found is not None:
            raise Conflict(
                "vm.exists", subject=f"VM {spec.name}", reason=f"it is {found.power} here already", remedy="Look again."
            )
        try:
            self._hypervisor.restore(saved, awake_xml(self._hypervisor.saved_xml(saved), spec))
            for disk in pluggable_disks(spec):
                self._hypervisor.attach(spec.name, disk)
            return self._require(spec.name)
        except TrivetError:
            if end is not None:
                end()
            else:
                self.destroy(spec.name)
            raise

    def restrain(self, name: str) -> None:
        """Leave it only the CPU time that nobody else wants. Raises ``NotFound`` (``vm.unknown``)."""
        self._require(name)
        self._hypervisor.restrain(name)

    def prefer(self, name: str) -> None:
        """Give it CPU time before others: what all else hangs on. Raises ``NotFound`` (``vm.unknown``)."""
        self._require(name)
        self._hypervisor.prefer(name)

    def qemu_version(self) -> str:
        """Of this node's QEMU."""
        return self._hypervisor.qemu_version()

    def save(self, name: str, path: str) -> None:
        """Save its memory to ``path`` and end it. Raises ``NotFound`` (``vm.unknown``), ``Failed`` (``vm.save``)."""
        self._require(name)
        self._hypervisor.save(name, path)

    def resume(self, name: str) -> None:
        """Let it run. A VM that stopped on an I/O error is never resumed: its disk may be another's by now
        (``Conflict`` ``vm.io-error``); one that only ran out of space is. Raises ``NotFound`` (``vm.unknown``)."""
        found = self._require(name)
        if found.power == "paused-io-error":
            raise Conflict(
                "vm.io-error",
                subject=f"VM {name}",
                reason="it stopped on an I/O error; its disk may belong to another host by now",
                remedy="Destroy it and start it again.",
            )
        if found.power in ("paused", "paused-no-space"):
            self._hypervisor.resume(name)

    def pause(self, name: str) -> None:
        """Stop its CPUs. Raises ``NotFound`` (``vm.unknown``), ``Conflict`` (``vm.not-running``)."""
        found = self._require(name)
        if found.power != "paused":
            self._running(found, "paused")
            self._hypervisor.pause(name)

    def reboot(self, name: str) -> None:
        """Ask the guest to boot anew, by its agent, else ACPI; does not wait. Raises as :meth:`pause`."""
        self._running(self._require(name), "rebooted")
        self._hypervisor.reboot(name)

    def freeze(self, name: str) -> None:
        """Have its guest's agent write out the file systems and hold back writes. Raises as :meth:`pause`, ``Conflict``
        ``vm.no-agent``, ``Failed`` ``vm.freeze``: also of one that is frozen already."""
        self._running(self._require(name), "frozen")
        self._hypervisor.freeze(name)

    def thaw(self, name: str) -> None:
        """Let them go on. Raises as :meth:`freeze`."""
        self._running(self._require(name), "thawed")
        self._hypervisor.thaw(name)

    def reset(self, name: str) -> None:
        """Press its reset button. Raises as :meth:`pause`."""
        self._running(self._require(name), "reset")
        self._hypervisor.reset(name)

    def shutdown(self, name: str) -> None:
        """Ask the guest to shut down; does not wait. Not there: nothing."""
        if self.find(name) is not None:
            self._unless_gone(self._hypervisor.shutdown, name)

    def destroy(self, name: str) -> None:
        """Pull its plug; QEMU has gone when this returns. Not there: nothing.

        It is not looked for first: libvirt lists no domains while one's QEMU stands still (seen), and yet ends that one.
        """
        self._unless_gone(self._hypervisor.destroy, name)

    def migrate(self, name: str, target: str) -> None:
        """Live-migrate to member ``target``; ends when the target runs it. Raises ``NotFound`` (``vm.unknown``),
        ``Conflict`` (``vm.not-running``), ``Failed`` (``vm.migrate``, ``vm.migrate-deadline``: broken off)."""
        found = self._require(name)
        self._running(found, "migrated")
        deadline_s = min(MIGRATE_BASE_S + found.memory_mib / MIGRATE_MIB_S, MIGRATE_MAX_S)
        self._hypervisor.migrate(name, target, deadline_s)

    @staticmethod
    def _running(found: VmState, what: str) -> None:
        if found.power != "running":
            raise Conflict(
                "vm.not-running",
                subject=f"VM {found.name}",
                reason=f"it is {found.power}; only a running VM is {what}",
                remedy="Look at why it does not run; destroying it and starting it anew always works.",
            )

    def _require(self, name: str) -> VmState:
        found = self.find(name)
        if found is None:
            raise NotFound(
                "vm.unknown",
                subject=f"VM {name}",
                reason="libvirt of this node knows no such VM",
                remedy="Ask the other nodes, or start it.",
            )
        return found

    @staticmethod
    def _unless_gone(act: Callable[[str], None], name: str) -> None:
        try:
            act(name)
        except TrivetError as error:
            if error.code != "vm.unknown":  # it ended between our look and our call: as asked
                raise
