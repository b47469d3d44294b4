"""Leave the cluster: a member becomes a bare node again, which can join anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from appliance import layout
from appliance.effects.root import Root
from appliance.errors import Conflict
from appliance.ports import Hypervisor, Processes
from appliance.tools.libvirt_conf import QEMU_PKI
from appliance.tools.systemd import HA_UNITS
from appliance.verbs.libvirt_settings import LIBVIRT_PKI, STOP_TIMEOUT_S, TLS_SOCKET
from appliance.verbs.membership import MembershipFiles
from appliance.verbs.mounts import Mounts
from appliance.verbs.names import forget_names

SERVICES = (*HA_UNITS, TLS_SOCKET)
"""What only a member has running. libvirt itself stays: its sockets listen on this machine only."""
FOLDERS = (layout.HA_STATE, layout.WARM, layout.TASKS, layout.STATE / "install", LIBVIRT_PKI, Path(QEMU_PKI))
"""What was written down as a member, with libvirt's and QEMU's copies of the certificate: a maintenance of then must not
meet who joins anew."""


class Leaving:
    """Takes back what joining gave. Each part may find its work done."""

    def __init__(self, root: Root, processes: Processes, hypervisor: Hypervisor) -> None:
        self._root = root
        self._processes = processes
        self._hypervisor = hypervisor

    def leave(self, unmount: bool = False) -> None:
        """Raises ``Conflict`` (``node.in-use``) when a VM runs or, unless they are to be unmounted, a volume is mounted;
        then nothing was changed."""
        self._refuse_in_use(self._mounts() if not unmount else [])
        for words in (("disable", "--now", *SERVICES), ("stop", "libvirtd.service")):  # which still listens with TLS
            self._processes.run(("systemctl", *words), timeout_s=STOP_TIMEOUT_S)
        for volume in self._mounts():
            Mounts(self._root, self._processes).unmount(volume)
        for folder in FOLDERS:
            if self._root.at(folder).exists():
                shutil.rmtree(self._root.at(folder))
        self._root.at(layout.ADMIN_PASSWORD_FILE).unlink(missing_ok=True)
        forget_names(self._root)
        MembershipFiles(self._root).forget()

    def _refuse_in_use(self, mounted: Sequence[str]) -> None:
        vms = [f"VM {one.name} runs" for one in self._hypervisor.domains() if one.power not in ("off", "crashed")]
        volumes = [f"volume {one} is mounted" for one in mounted]
        if vms or volumes:
            raise Conflict(
                "node.in-use",
                subject="this node",
                reason="; ".join([*vms, *volumes]),
                remedy="Switch it to maintenance first; removing it through the API unmounts its volumes.",
            )

    def _mounts(self) -> list[str]:
        folder, mounts = self._root.at(layout.VOLUMES), Mounts(self._root, self._processes)
        names = sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208 - without touching what is mounted
        return [one for one in names if mounts.is_mounted(one)]
