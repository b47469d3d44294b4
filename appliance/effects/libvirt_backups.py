"""Backups and checkpoints of running VMs. See :class:`appliance.vm_ports.Backups`."""

from __future__ import annotations

from typing import Any

import libvirt

from appliance.effects.libvirt_link import CHANGE_TIMEOUT_S, QUERY_TIMEOUT_S, LibvirtLink, no_agent

BEGIN_TIMEOUT_S = 80.0
"""Beginning took 0.1 to 0.3 s; a guest's file systems may take a minute to be frozen before, as for a snapshot."""
NO_BITMAP = "not found in backing chain"
"""libvirt's words for a checkpoint whose bitmap has gone (it has no number for them): then there is nothing to drop."""


class LibvirtBackups(LibvirtLink):
    """A :class:`appliance.vm_ports.Backups`."""

    def begin_backup(self, name: str, backup: str, checkpoint: str, *, quiesce: bool) -> None:
        def begin(wire: Any) -> None:
            domain = wire.lookupByName(name)
            if quiesce:
                _freeze(domain, name)
            try:
                domain.backupBegin(backup, checkpoint or None, libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL)
            finally:
                if quiesce:
                    domain.fsThaw()

        self._ask(begin, BEGIN_TIMEOUT_S, "vm.backup", name, lane="long")

    def backup(self, name: str) -> str | None:
        def look(wire: Any) -> str | None:
            try:
                return str(wire.lookupByName(name).backupGetXMLDesc())
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN_BACKUP:
                    raise
                return None

        return self._ask(look, QUERY_TIMEOUT_S, "vm.backup", name)

    def end_backup(self, name: str) -> None:
        self._ask(lambda wire: wire.lookupByName(name).abortJob(), CHANGE_TIMEOUT_S, "vm.backup", name)

    def define_checkpoint(self, name: str, xml: str, *, is_checked: bool) -> None:
        flags = libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE
        if is_checked:
            flags |= libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE
        self._ask(lambda wire: wire.lookupByName(name).checkpointCreateXML(xml, flags), CHANGE_TIMEOUT_S, "vm.backup", name)

    def drop_checkpoint(self, name: str, checkpoint: str) -> None:
        def drop(wire: Any) -> None:
            try:
                wire.lookupByName(name).checkpointLookupByName(checkpoint).delete(0)
            except libvirt.libvirtError as error:
                if NO_BITMAP not in error.get_error_message():
                    raise

        self._ask(drop, CHANGE_TIMEOUT_S, "vm.backup", name)

    def forget_checkpoints(self, name: str) -> None:
        def forget(wire: Any) -> None:
            for one in wire.lookupByName(name).listAllCheckpoints():
                one.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)

        self._ask(forget, CHANGE_TIMEOUT_S, "vm.backup", name)


def _freeze(domain: Any, name: str) -> None:
    """Have the guest's agent flush and freeze its file systems. An agent that cannot is as good as none."""
    try:
        domain.fsFreeze()
    except libvirt.libvirtError as error:
        raise no_agent(f"VM {name}", error.get_error_message() or str(error)) from error
