"""libvirt in memory. Several fakes that share one :class:`DiskLocks` are the nodes of a cluster over one volume."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree as Xml

from appliance.errors import Conflict, Failed, NotFound, TrivetError, Unavailable
from appliance.fakes.libvirt_backups import FakeBackups
from appliance.fakes.libvirt_console import FakeConsoles
from appliance.layout import GUEST_CPU_MODEL
from appliance.model.vm import VmPower, VmState

CAPABILITIES = f"""\
<domainCapabilities>
  <machine>pc-q35-10.0</machine>
  <vcpu max="4096"/>
  <os>
    <enum name="firmware"><value>efi</value></enum>
    <loader><enum name="secure"><value>yes</value><value>no</value></enum></loader>
  </os>
  <cpu><mode name="custom" supported="yes"><model usable="yes">{GUEST_CPU_MODEL}</model></mode></cpu>
</domainCapabilities>
"""
"""What libvirt 11 says of QEMU 10, as far as anybody reads it."""

AUTOPORT = "devices/graphics[@autoport='yes']"
FIRST_PORT = 5900


@dataclass
class DiskLocks:
    """Who holds the write lock of which path: the volume's side, shared by all nodes."""

    holders: dict[str, str] = field(default_factory=dict)
    """Path → ``node/VM``."""


@dataclass
class FakeLibvirt(FakeBackups, FakeConsoles):
    """One node's libvirt.

    ``peers`` are the other nodes' fakes by name (migration), ``fail`` scripts an error for a method name, ``hangs`` makes
    every call end at its deadline, ``pid`` counts up for each start.
    """

    node: str = "node1"
    locks: DiskLocks = field(default_factory=DiskLocks)
    peers: dict[str, FakeLibvirt] = field(default_factory=dict)
    fail: dict[str, TrivetError] = field(default_factory=dict)
    hangs: bool = False
    pid: int = 4000

    def domains(self) -> tuple[VmState, ...]:
        self._door("domains")
        return tuple(self.vms[name] for name in sorted(self.vms))

    def domain(self, name: str) -> VmState | None:
        self._door("domains")
        return self.vms.get(name)

    def start(self, xml: str, *, paused: bool) -> None:
        self._door("start")
        root = Xml.fromstring(xml)  # noqa: S314 - a fake, fed by our own builder
        name = root.findtext("name", "")
        if name in self.vms:
            raise Conflict("vm.exists", subject=f"VM {name}", reason="it is active already", remedy="Destroy it first.")
        self._lock(name, xml)
        self.pid += 1
        power: VmPower = "paused" if paused else "running"
        memory = root.findtext("memory", "0")
        unit = getattr(root.find("memory"), "attrib", {}).get("unit", "KiB")
        mib = int(memory) // (1 if unit == "MiB" else 1024)
        cpus = int(getattr(root.find("vcpu"), "attrib", {}).get("current", root.findtext("vcpu", "1")))
        self.vms[name] = VmState(root.findtext("uuid", ""), name, power, mib, cpus, 0.0, self.pid)
        self._with_line(name, root)
        told = name in self.lines or root.find(AUTOPORT) is not None
        self.xml[name] = _with_port(root) if told else xml

    def resume(self, name: str) -> None:
        self._set("resume", name, "running")

    def shutdown(self, name: str) -> None:
        self._set("shutdown", name, "shutting-down")

    def destroy(self, name: str) -> None:
        self._door("destroy")
        self._vm(name)
        self.vanish(name)

    def migrate(self, name: str, target: str, deadline_s: float) -> None:
        self._door("migrate")
        vm = self._vm(name)
        peer = self.peers.get(target)
        if peer is None or peer.hangs:
            raise Failed("vm.migrate", subject=f"VM {name}", reason=f"cannot connect to {target}", remedy="Is it up?")
        peer.vms[name], peer.xml[name] = replace(vm, pid=peer.pid + 1), self.xml[name]
        peer.pid += 1
        self.vanish(name)
        peer._lock(name, peer.xml[name])

    def save(self, name: str, path: str) -> None:
        self._door("save")
        self._vm(name)
        self.saved[path] = self.xml[name]
        self.vanish(name)

    def saved_xml(self, path: str) -> str:
        self._door("saved_xml")
        if path not in self.saved and Path(path).is_file():
            return Path(path).read_text()
        if path not in self.saved:
            raise Failed("vm.saved-memory", subject=path, reason="no such file", remedy="Make it anew.")
        return self.saved[path]

    def restore(self, path: str, xml: str) -> None:
        self._door("restore")
        self.saved_xml(path)
        self.start(xml, paused=True)

    def attach(self, name: str, xml: str) -> None:
        self._door("attach")
        self._vm(name)
        self._lock(name, f"<domain>{xml}</domain>")
        root = Xml.fromstring(self.xml[name])  # noqa: S314 - a fake, fed by our own builder
        devices = root.find("devices")
        if devices is None:
            devices = Xml.SubElement(root, "devices")
        devices.append(Xml.fromstring(xml))  # noqa: S314 - as above
        added, whole = devices[-1].findtext("target/size", "0"), root.find("memory")
        if devices[-1].tag == "memory" and whole is not None:
            whole.text = str(int(whole.text or 0) + int(added))
        self.xml[name] = Xml.tostring(root, encoding="unicode")

    def restrain(self, name: str) -> None:
        self._door("restrain")
        self._vm(name)

    def prefer(self, name: str) -> None:
        self._door("prefer")
        self._vm(name)

    def capabilities(self, accelerated: bool) -> str:
        self._door("capabilities")
        return CAPABILITIES

    def qemu_version(self) -> str:
        self._door("version")
        return "10.0.13"

    def version(self) -> str:
        self._door("version")
        return "11.3.0"

    def vanish(self, name: str) -> None:
        """The QEMU of ``name`` is gone (killed, destroyed, moved) and its locks with it."""
        del self.vms[name], self.xml[name]
        self._end_line(name)
        self.backups.pop(name, None)
        self.checkpoints.pop(name, None)
        for path in [path for path, holder in self.locks.holders.items() if holder == f"{self.node}/{name}"]:
            del self.locks.holders[path]

    def set_power(self, name: str, power: VmPower) -> None:
        """What happens to a guest: ``paused-io-error``, ``crashed`` …"""
        self.vms[name] = replace(self.vms[name], power=power)

    def _set(self, method: str, name: str, power: VmPower) -> None:
        self._door(method)
        self.vms[name] = replace(self._vm(name), power=power)

    def _door(self, method: str) -> None:
        if self.hangs:
            raise Unavailable("libvirt.deadline", subject="libvirt", reason="did not answer in time", remedy="Look at it.")
        if method in self.fail:
            raise self.fail[method]

    def _vm(self, name: str) -> VmState:
        if name not in self.vms:
            raise NotFound("vm.unknown", subject=f"VM {name}", reason="no such VM here", remedy="Ask the other nodes.")
        return self.vms[name]

    def _lock(self, name: str, xml: str) -> None:
        mine = f"{self.node}/{name}"
        paths = _writable(xml)
        for path in paths:
            holder = self.locks.holders.get(path, mine)
            if holder != mine:
                raise Conflict(
                    "vm.disk-locked",
                    subject=f"VM {name}",
                    reason=f'Failed to get "write" lock of {path}',
                    remedy="It runs elsewhere.",
                )
        self.locks.holders.update(dict.fromkeys(paths, mine))


def _writable(xml: str) -> list[str]:
    found: list[str] = []
    for disk in Xml.fromstring(xml).iter("disk"):  # noqa: S314 - a fake, fed by our own builder
        source = disk.find("source")
        if disk.find("readonly") is None and source is not None:
            found.append(source.get("file", ""))
    return found


def _with_port(root: Xml.Element) -> str:
    """The XML of a machine that has started: libvirt has given its screens their ports."""
    for number, screen in enumerate(root.findall(AUTOPORT)):
        screen.set("port", str(FIRST_PORT + number))
    return Xml.tostring(root, encoding="unicode")
