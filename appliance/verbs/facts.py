"""What this node is: hardware, versions, peers. Reads only."""

from __future__ import annotations

import os
import re
from pathlib import Path

from appliance.effects.root import Root
from appliance.errors import Failed
from appliance.model.cluster import Membership
from appliance.model.node import CpuFacts, NodeFacts
from appliance.ports import Clock, Processes
from appliance.tools import ip, lsblk, proc
from appliance.version import VERSION

TOOL_TIMEOUT_S = 5.0
"""ip, lsblk and --version take milliseconds; a disk that hangs lsblk must not hang the caller."""

_VERSIONS = {
    "gluster": ("glusterd", "--version"),
    "libvirt": ("libvirtd", "--version"),
    "qemu": ("qemu-system-x86_64", "--version"),
}
_NUMBER = re.compile(r"\d+(?:\.\d+)+")


class Facts:
    """Reads facts below ``root`` and through ``processes``. Versions are asked once: an upgrade restarts the agent."""

    def __init__(self, root: Root, processes: Processes, clock: Clock) -> None:
        self._root = root
        self._processes = processes
        self._clock = clock
        self._versions: dict[str, str] | None = None

    def read(self, membership: Membership | None) -> NodeFacts:
        """All facts. Raises ``Failed`` when a tool fails."""
        if self._versions is None:
            self._versions = {name: self._version(argv) for name, argv in _VERSIONS.items()}
        kernel = os.uname()
        memory = proc.meminfo_bytes(self._text("/proc/meminfo"))
        run = self._processes.run
        # a container may have no block devices at all, then lsblk ends with an error and an empty list
        blocks = run(lsblk.ALL, timeout_s=TOOL_TIMEOUT_S, ok=None)
        return NodeFacts(
            name=membership.name if membership else kernel.nodename,
            node_id=membership.node_id if membership else "",
            cluster_id=membership.cluster_id if membership else "",
            version=VERSION,
            wall_s=self._clock.wall_s(),
            boot_id=self._text("/proc/sys/kernel/random/boot_id").strip(),
            kernel=kernel.release,
            cpu=self._cpu(),
            memory_bytes=memory.get("MemTotal", 0),
            disks=lsblk.disks(blocks.stdout),
            nics=ip.nics(run(ip.ADDRESSES, timeout_s=TOOL_TIMEOUT_S).stdout),
            gluster_version=self._versions["gluster"],
            libvirt_version=self._versions["libvirt"],
            qemu_version=self._versions["qemu"],
            gluster_peers=self._peers(),
            manufacturer=self._hardware("sys_vendor"),
            product=self._hardware("product_name"),
            serial=self._hardware("product_serial"),
        )

    def _cpu(self) -> CpuFacts:
        found = proc.processors(self._text("/proc/cpuinfo"))
        virtualization = hardware_virtualization(self._root)
        return CpuFacts(found.model, found.sockets, found.cores, found.threads, virtualization)

    def _version(self, argv: tuple[str, ...]) -> str:
        try:
            said = self._processes.run(argv, timeout_s=TOOL_TIMEOUT_S).stdout
        except Failed as error:
            if error.code == "process.missing":
                return ""  # the fact: it is not installed
            raise
        found = _NUMBER.search(said)
        return found.group() if found else ""

    def _peers(self) -> tuple[str, ...]:
        """Read from glusterd's own files: they are there also while glusterd is down."""
        folder = self._root.at("/var/lib/glusterd/peers")
        names: list[str] = []
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            for line in path.read_text().splitlines():
                key, _, value = line.partition("=")
                if key == "hostname1" and value:
                    names.append(value)
        return tuple(sorted(names))

    def _hardware(self, name: str) -> str:
        path = self._root.at(f"/sys/class/dmi/id/{name}")
        try:
            return path.read_text(errors="replace").strip()
        except OSError:
            return ""  # no DMI (container, other architecture): the fact is unknown

    def _text(self, path: str) -> str:
        return self._root.at(path).read_text(errors="replace")


def hardware_virtualization(root: Root, device: str = "/dev/kvm") -> bool:
    """Whether guests can run under KVM: the CPU has it *and* the device opens (either alone was seen to mean nothing)."""
    if not proc.processors(root.at("/proc/cpuinfo").read_text(errors="replace")).virtualization:
        return False
    return _opens(root.at(device))


def _opens(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True
