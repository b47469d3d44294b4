"""Live migration between two members, over TLS, with limits: see :mod:`appliance.effects.libvirt_host`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import libvirt

from appliance.effects import network
from appliance.errors import Failed
from appliance.layout import LIBVIRT_TLS_PORT
from appliance.model.vm import VmPower
from appliance.model.vm_live import MigrationLimits

DOWNTIME_MS = 300
"""How long the guest may stand still at the switch-over: QEMU's own default, a third of the 1 s that a client may notice."""
BANDWIDTH_MIB_S = 400
"""A third of a link of 10 Gbit/s, so that the volumes' traffic on the same link keeps its pings; below 1 Gbit/s TCP
shares it."""
REACH_S = 3.0
"""Twice the retry of a lost SYN: a lossy link answers."""
ABORT_S = 10.0
"""How long after its deadline a migration that was broken off may take to say so: a stall of the volume lies in between."""

_FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_TLS
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE  # a guest that writes memory faster than the link carries is slowed down
    | libvirt.VIR_MIGRATE_ABORT_ON_ERROR  # an I/O error at the source stays there
)


def check_reached(name: str, target: str) -> None:
    """Raises ``Failed`` (``vm.migrate``) when libvirt of ``target`` takes no connection. libvirtd here would wait for
    one for more than two minutes, whatever it is told meanwhile, and the VM counts as one that migrates for as long."""
    if not network.answers(target, LIBVIRT_TLS_PORT, REACH_S):
        raise Failed(
            "vm.migrate",
            subject=f"VM {name}",
            reason=f"libvirt of {target} took no connection (port {LIBVIRT_TLS_PORT}) within {REACH_S:g} s",
            remedy=f"Check the network between this host and {target}, and `systemctl status libvirtd` there.",
        )


def migrate(domain: Any, target: str, deadline_s: float) -> None:
    """Move ``domain``; broken off after ``deadline_s`` (``Failed`` ``vm.migrate-deadline``). Raises ``libvirtError``."""
    ended, late = threading.Event(), threading.Event()

    def guard() -> None:
        if not ended.wait(deadline_s):
            late.set()
            with contextlib.suppress(libvirt.libvirtError):  # it ended at this very moment
                domain.abortJob()

    threading.Thread(target=guard, name="migration-guard", daemon=True).start()
    parameters = {
        libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{target}",
        libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: BANDWIDTH_MIB_S,
    }
    try:
        domain.migrateSetMaxDowntime(DOWNTIME_MS)
        domain.migrateToURI3(f"qemu+tls://{target}/system", parameters, _FLAGS)
    except libvirt.libvirtError as error:
        if not late.is_set():
            raise
        raise Failed(
            "vm.migrate-deadline",
            subject=f"VM {domain.name()}",
            reason=f"its migration to {target} did not end within {deadline_s:.0f} s and was broken off: {error}",
            remedy="Look at the load of the guest and of the link between the hosts; it goes on where it was.",
        ) from error
    finally:
        ended.set()


def migration(domain: Any, target: str, limits: MigrationLimits) -> Callable[[], object]:
    """What moves ``domain`` within ``limits`` when it is called. It raises ``libvirtError``."""
    flags = _FLAGS if limits.auto_converge else _FLAGS & ~libvirt.VIR_MIGRATE_AUTO_CONVERGE
    parameters = {
        libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{target}",
        libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: limits.bandwidth_mib_s,
    }

    def move() -> None:
        domain.migrateSetMaxDowntime(limits.downtime_ms)
        domain.migrateToURI3(f"qemu+tls://{target}/system", parameters, flags)

    return move


def direction(domain: Any) -> VmPower | None:
    """``migrating``: it is leaving this host; ``incoming``: it is arriving here; None: neither."""
    try:
        job = domain.jobStats()
    except libvirt.libvirtError as error:
        # libvirt counts a migration on its source alone, and refuses with these words where one is coming in.
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_UNSUPPORTED and "source host" in error.get_error_message():
            return "incoming"
        if error.get_error_code() in (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_SUPPORT):
            return None  # it ended meanwhile; or libvirt's test driver, which migrates nothing
        raise
    return "migrating" if job.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT else None
