"""What verbs over running VMs have in common."""

from __future__ import annotations

from collections.abc import Callable

from appliance import layout
from appliance.effects.root import Root
from appliance.errors import Conflict, NotFound
from appliance.model.vm_live import Quiesce
from appliance.ports import Clock, Hypervisor, Processes
from appliance.tools.live_xml import LiveDisk, LiveDomain
from appliance.verbs.chains import Chains
from appliance.verbs.tasks import Tasks


class LiveVerbs:
    """Verbs that make files for disks of running VMs; they belong to ``owner``."""

    def __init__(
        self,
        root: Root,
        hypervisor: Hypervisor,
        processes: Processes,
        clock: Clock,
        tasks: Tasks,
        chains: Chains,
        owner: int = layout.QEMU_UID,
    ) -> None:
        self._volumes = root.at(layout.VOLUMES)
        self._hypervisor = hypervisor
        self._processes = processes
        self._clock = clock
        self._tasks = tasks
        self._chains = chains
        self._owner = owner


def need_disk(domain: LiveDomain, name: str, serial: str) -> LiveDisk:
    """The disk of VM ``name``. Raises ``NotFound`` (``vm.disk-unknown``)."""
    found = domain.disk(serial)
    if found is None:
        reason = f"it has no disk {serial}"
        raise NotFound("vm.disk-unknown", subject=f"VM {name}", reason=reason, remedy="Look at its disks.")
    return found


def quiesced(quiesce: Quiesce, act: Callable[[bool], None]) -> None:
    """``act`` with the guest's file systems frozen, or without where that is wanted, or may be and there is no agent.
    Raises ``Conflict`` (``vm.no-agent``) where it must be."""
    try:
        act(quiesce != "no")
    except Conflict as error:
        if error.code != "vm.no-agent" or quiesce == "must":
            raise
        act(False)
