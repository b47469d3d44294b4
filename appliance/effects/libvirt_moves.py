"""VMs that leave their QEMU and go on in another one. See :class:`appliance.vm_ports.Moves`."""

from __future__ import annotations

from typing import Any

import libvirt

from appliance.effects import libvirt_migration
from appliance.effects.libvirt_job import ABORT_S, guarded, progress
from appliance.effects.libvirt_link import QUERY_TIMEOUT_S, LibvirtLink
from appliance.model.vm_live import JobProgress, MigrationLimits
from appliance.vm_ports import Watch


class LibvirtMoves(LibvirtLink):
    """A :class:`appliance.vm_ports.Moves`."""

    def migrate_within(self, name: str, target: str, limits: MigrationLimits, watch: Watch) -> None:
        def move(wire: Any) -> None:
            domain = wire.lookupByName(name)
            libvirt_migration.check_reached(name, target)
            call = libvirt_migration.migration(domain, target, limits)
            guarded(domain, call, limits.deadline_s, watch)

        self._ask(move, limits.deadline_s + ABORT_S, "vm.migrate", name, lane="long")

    def save_within(self, name: str, path: str, deadline_s: float, watch: Watch) -> None:
        def save(wire: Any) -> None:
            domain = wire.lookupByName(name)
            guarded(domain, lambda: domain.saveFlags(path, None, 0), deadline_s, watch)

        self._ask(save, deadline_s + ABORT_S, "vm.save", name, lane="long")

    def restore_running(self, path: str, xml: str, paused: bool, deadline_s: float) -> None:
        flags = libvirt.VIR_DOMAIN_SAVE_PAUSED if paused else libvirt.VIR_DOMAIN_SAVE_RUNNING
        self._ask(lambda wire: wire.restoreFlags(path, xml, flags), deadline_s, "vm.restore", lane="long")

    def job(self, name: str) -> JobProgress | None:
        return self._ask(lambda wire: progress(wire.lookupByName(name)), QUERY_TIMEOUT_S, "vm.job", name)
