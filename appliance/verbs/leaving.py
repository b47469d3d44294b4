"""Leave the cluster: a member becomes a bare node again, which can join anew."""

from __future__ import annotations

import os
import shutil

from appliance import layout
from appliance.effects.root import Root
from appliance.errors import Conflict
from appliance.ports import Hypervisor, Processes
from appliance.verbs.membership import MembershipFiles
from appliance.verbs.mounts import Mounts
from appliance.verbs.names import forget_names

TOOL_TIMEOUT_S = 25.0
"""As for libvirt's settings: it stops in a second, on a busy node it waits for its turn."""
SERVICES = ("trivet-ha.service", "trivet-ha-page.service", "trivet-ha-notify.path", "libvirtd-tls.socket")
"""What only a member has running. libvirt itself stays: its sockets listen on this machine only."""
FOLDERS = (layout.HA_STATE, layout.WARM, layout.TASKS, layout.STATE / "install")
"""What was written down as a member: a maintenance of then must not meet who joins anew."""


class Leaving:
    """Takes back what joining gave. Each part may find its work done."""

    def __init__(self, root: Root, processes: Processes, hypervisor: Hypervisor) -> None:
        self._root = root
        self._processes = processes
        self._hypervisor = hypervisor

    def leave(self) -> None:
        """Raises ``Conflict`` (``node.in-use``) when a VM runs or a volume is mounted; then nothing was changed."""
        self._refuse_in_use()
        self._processes.run(("systemctl", "disable", "--now", *SERVICES), timeout_s=TOOL_TIMEOUT_S)
        for folder in FOLDERS:
            if self._root.at(folder).exists():
                shutil.rmtree(self._root.at(folder))
        self._root.at(layout.ADMIN_PASSWORD_FILE).unlink(missing_ok=True)
        forget_names(self._root)
        MembershipFiles(self._root).forget()

    def _refuse_in_use(self) -> None:
        vms = [f"VM {one.name} runs" for one in self._hypervisor.domains() if one.power not in ("off", "crashed")]
        volumes = [f"volume {one} is mounted" for one in self._mounted()]
        if vms or volumes:
            raise Conflict(
                "node.in-use",
                subject="this node",
                reason="; ".join([*vms, *volumes]),
                remedy="Switch it to maintenance first; removing it through the API unmounts its volumes.",
            )

    def _mounted(self) -> list[str]:
        folder, mounts = self._root.at(layout.VOLUMES), Mounts(self._root, self._processes)
        names = sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208 - without touching what is mounted
        return [one for one in names if mounts.is_mounted(one)]
