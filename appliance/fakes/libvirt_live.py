"""Running VMs of the fake libvirt: their devices, files and guests, kept in the XML that libvirt would give."""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree as Xml

from appliance.errors import Conflict, Failed
from appliance.model.vm import VmState
from appliance.model.vm_live import (
    BlockJob,
    DiskStatistics,
    GuestAnswer,
    GuestInfo,
    JobProgress,
    MigrationLimits,
    NicStatistics,
    VmStatistics,
)
from appliance.tools.live_xml import LiveDomain, device_names, layers_of
from appliance.vm_ports import Watch

STEPS = 4
"""So many looks until long work is through."""


@dataclass(kw_only=True)
class FakeLive:
    """What :class:`appliance.fakes.libvirt.FakeLibvirt` does with VMs that run. ``agents`` tell that, ``keep`` are
    serials and addresses of devices that their guest does not let go of, ``stuck`` makes long work never end by itself."""

    agents: dict[str, GuestInfo] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    keep: set[str] = field(default_factory=set)
    stuck: bool = False
    jobs: dict[tuple[str, str], BlockJob] = field(default_factory=dict)
    """(VM, label) → work on that chain."""
    merges: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    mirrors: dict[tuple[str, str], Xml.Element] = field(default_factory=dict)
    """(VM, label) → what the disk is mirrored into."""
    target_fails: bool = False
    """Mirrors end by themselves, as when their domain is full."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Path → size of the disk, as far as it was changed."""
    vms: dict[str, VmState] = field(default_factory=dict)
    xml: dict[str, str] = field(default_factory=dict)
    saved: dict[str, str] = field(default_factory=dict)
    """Path → domain XML of saved memory."""

    def domain_xml(self, name: str) -> str:
        self._door("domain_xml")
        self._vm(name)
        return self.xml[name]

    def detach(self, name: str, xml: str) -> None:
        self._door("detach")
        wanted = Xml.fromstring(xml)  # noqa: S314 - a fake, fed by our own builder
        if _key(wanted) in self.keep:
            return  # asked, and the guest goes on using it

        def drop(devices: Xml.Element) -> None:
            found = [one for one in devices.findall(wanted.tag) if _key(one) == _key(wanted)]
            if not found:
                raise Failed("vm.detach", subject=f"VM {name}", reason="device not found", remedy="Look again.")
            devices.remove(found[0])

        self._change(name, drop)

    def update(self, name: str, xml: str, force: bool) -> None:
        self._door("update")
        wanted = Xml.fromstring(xml)  # noqa: S314 - as above
        if _key(wanted) in self.keep and not force:
            raise Failed("vm.update", subject=f"VM {name}", reason="the tray is locked", remedy="Force it.")

        def put(devices: Xml.Element) -> None:
            for index, one in enumerate(list(devices)):
                if one.tag == wanted.tag and _key(one) == _key(wanted):
                    devices[index] = wanted

        self._change(name, put)

    def set_cpus(self, name: str, cpus: int) -> None:
        self._door("set_cpus")
        root = self._root(name)
        element = root.find("vcpu")
        assert element is not None
        element.set("current", str(cpus))
        self.xml[name] = Xml.tostring(root, encoding="unicode")
        self.vms[name] = replace(self._vm(name), cpus=cpus)

    def set_balloon(self, name: str, memory_mib: int) -> None:
        self._door("set_balloon")
        self.vms[name] = replace(self._vm(name), memory_mib=memory_mib)

    def pause(self, name: str) -> None:
        self._door("pause")
        self.vms[name] = replace(self._vm(name), power="paused")

    def reboot(self, name: str) -> None:
        self._door("reboot")
        self._vm(name)

    def reset(self, name: str) -> None:
        self._door("reset")
        self._vm(name)

    def freeze(self, name: str) -> None:
        self._door("freeze")
        self._agent(name)
        if name in self.frozen:
            raise Failed("vm.freeze", subject=f"VM {name}", reason="it is frozen", remedy="Thaw it.")
        self.frozen.add(name)

    def thaw(self, name: str) -> None:
        self._door("thaw")
        self._agent(name)
        self.frozen.discard(name)

    def _agent(self, name: str) -> None:
        self._vm(name)
        if name not in self.agents:
            raise Conflict("vm.no-agent", subject=f"VM {name}", reason="no agent", remedy="Install it.")

    def statistics(self) -> tuple[VmStatistics, ...]:
        self._door("statistics")
        return tuple(self._statistics(self.vms[name]) for name in sorted(self.vms))

    def states(self) -> tuple[tuple[str, str], ...]:
        self._door("states")
        return tuple((name, f"{self.vms[name].pid} {self.vms[name].power}") for name in sorted(self.vms))

    def guests(self) -> tuple[GuestAnswer, ...]:
        self._door("guests")
        return tuple(GuestAnswer(name, self.agents.get(name, GuestInfo(agent=False))) for name in sorted(self.vms))

    def snapshot(self, name: str, xml: str, *, memory: bool, quiesce: bool, deadline_s: float, watch: Watch) -> None:
        self._door("snapshot")
        if quiesce:
            self._agent(name)
        if memory:
            self._work(name, watch)
        wanted = Xml.fromstring(xml)  # noqa: S314 - as above
        if memory:
            Path(_attribute(wanted, "memory", "file")).write_text(self.xml[name])  # of this moment: the layers of before
        overlays = {one.get("name"): one for one in wanted.findall("disks/disk") if one.get("snapshot") == "external"}

        def go_over(devices: Xml.Element) -> None:
            for disk in devices.findall("disk"):
                overlay = overlays.get(_attribute(disk, "target", "dev"))
                if overlay is not None:
                    _lay(disk, _attribute(overlay, "source", "file"))

        self._change(name, go_over)

    def block_resize(self, name: str, target: str, size_bytes: int) -> None:
        self._door("block_resize")
        self.sizes[self._path(name, target)] = size_bytes

    def block_commit(self, name: str, target: str, top: str, base: str, active: bool) -> None:
        self._door("block_commit")
        self._vm(name)
        self.jobs[name, target] = BlockJob("active-commit" if active else "commit", 0, STEPS)
        self.merges[name, target] = top, base

    def block_mirror(self, name: str, target: str, xml: str, shallow: bool) -> None:
        self._door("block_mirror")
        self._vm(name)
        wanted = Xml.fromstring(xml)  # noqa: S314 - as above
        self.jobs[name, target] = BlockJob("copy", 0, STEPS, target=_attribute(wanted, "source", "file"))
        self.mirrors[name, target] = wanted

    def block_job(self, name: str, target: str) -> BlockJob | None:
        """Each look brings it a step nearer to its end."""
        self._door("block_job")
        self._vm(name)
        job = self.jobs.get((name, target))
        if job is None or self.stuck:
            return job
        done = min(STEPS, job.done_bytes + 1)
        if done == STEPS and job.kind == "commit":
            self._merge(name, target)
            return None
        if job.kind == "copy" and self.target_fails:
            del self.jobs[name, target]
            return None
        self.jobs[name, target] = replace(job, done_bytes=done, ready=done == STEPS)
        return self.jobs[name, target]

    def end_block_job(self, name: str, target: str, pivot: bool) -> None:
        self._door("end_block_job")
        if pivot and self.jobs[name, target].kind == "copy":
            self._pivot(name, target)
        elif pivot:
            self._merge(name, target)
        else:
            del self.jobs[name, target]

    def save_within(self, name: str, path: str, deadline_s: float, watch: Watch) -> None:
        self._door("save_within")
        self._vm(name)
        self._work(name, watch)
        Path(path).write_text(self.xml[name])
        self.vanish(name)

    def restore_running(self, path: str, xml: str, paused: bool, deadline_s: float) -> None:
        self._door("restore_running")
        self.start(xml, paused=paused)

    def migrate_within(self, name: str, target: str, limits: MigrationLimits, watch: Watch) -> None:
        self._door("migrate_within")
        self._vm(name)
        self._work(name, watch)
        self.migrate(name, target, limits.deadline_s)

    def job(self, name: str) -> JobProgress | None:
        self._door("job")
        return JobProgress(STEPS, 1, STEPS - 1) if self.vms.get(name, _NOBODY).power == "migrating" else None

    # filled in by FakeLibvirt

    def _door(self, method: str) -> None:
        raise NotImplementedError

    def _vm(self, name: str) -> VmState:
        raise NotImplementedError

    def start(self, xml: str, *, paused: bool) -> None:
        raise NotImplementedError

    def vanish(self, name: str) -> None:
        raise NotImplementedError

    def migrate(self, name: str, target: str, deadline_s: float) -> None:
        raise NotImplementedError

    def _work(self, name: str, watch: Watch) -> None:
        step = 0
        while step < STEPS or self.stuck:
            step = min(STEPS, step + 1)
            if not watch(JobProgress(STEPS, step, STEPS - step)):
                raise Failed("vm.broken-off", subject=f"VM {name}", reason="as asked", remedy="It goes on.")

    def _root(self, name: str) -> Xml.Element:
        self._vm(name)
        return Xml.fromstring(self.xml[name])  # noqa: S314 - as above

    def _change(self, name: str, change: Callable[[Xml.Element], None]) -> None:
        root = self._root(name)
        devices = root.find("devices")
        change(devices if devices is not None else Xml.SubElement(root, "devices"))
        self.xml[name] = Xml.tostring(root, encoding="unicode")

    def _path(self, name: str, target: str) -> str:
        for disk in self._root(name).findall("devices/disk"):
            if _attribute(disk, "target", "dev") == target:
                return _attribute(disk, "source", "file")
        raise Failed("vm.disk-resize", subject=f"VM {name}", reason=f"no disk {target}", remedy="Look again.")

    def _merge(self, name: str, target: str) -> None:
        top, base = self.merges.pop((name, target))
        del self.jobs[name, target]

        def fold(devices: Xml.Element) -> None:
            for disk in devices.findall("disk"):
                if _attribute(disk, "target", "dev") == target:
                    _fold(disk, top, base)

        self._change(name, fold)

    def _pivot(self, name: str, target: str) -> None:
        mirror = self.mirrors.pop((name, target))
        del self.jobs[name, target]

        def go_over(devices: Xml.Element) -> None:
            for disk in devices.findall("disk"):
                if _attribute(disk, "target", "dev") == target:
                    _put_under(disk, mirror)

        self._change(name, go_over)

    def _statistics(self, vm: VmState) -> VmStatistics:
        domain, names = LiveDomain(self.xml[vm.name]), device_names(self.xml[vm.name])
        disks = [(serial, found.path) for serial in names.disks.values() if (found := domain.disk(serial))]
        return VmStatistics(
            id=vm.id,
            name=vm.name,
            cpu_time_s=vm.cpu_time_s,
            cpu_user_s=vm.cpu_time_s,
            cpu_system_s=0.0,
            cpus=vm.cpus,
            cpus_maximum=domain.cpus[1],
            memory_kib=vm.memory_mib * 1024,
            memory_maximum_kib=domain.memory_mib * 1024,
            memory_rss_kib=vm.memory_mib * 1024,
            disks=tuple(DiskStatistics(serial, path, capacity_bytes=self.sizes.get(path, 0)) for serial, path in disks),
            nics=tuple(NicStatistics(mac) for mac in names.nics.values()),
        )


_NOBODY = VmState("", "", "off", 0, 0, 0.0, 0)


def _key(element: Xml.Element) -> str:
    """What libvirt knows a device by."""
    return element.findtext("serial", "") or _attribute(element, "mac", "address") or element.get("type", "")


def _attribute(element: Xml.Element, tag: str, name: str) -> str:
    found = element.find(tag)
    return found.get(name, "") if found is not None else ""


def _lay(disk: Xml.Element, overlay: str) -> None:
    """What was written becomes what is below."""
    below = Xml.Element("backingStore", type="file")
    for tag in ("source", "backingStore"):
        for found in disk.findall(tag):
            disk.remove(found)
            below.append(found)
    Xml.SubElement(disk, "source", file=overlay)
    disk.append(below)
    _number(disk)


def _fold(disk: Xml.Element, top: str, base: str) -> None:
    """The layers from ``top`` down to above ``base`` are gone."""
    layers: list[Xml.Element] = []
    at: Xml.Element | None = disk
    while at is not None and (source := at.find("source")) is not None:
        layers.append(copy.deepcopy(source))
        at = at.find("backingStore")
    names = [layer.name for layer in layers_of(disk)]
    left = layers[: names.index(top)] + layers[names.index(base) :]
    for tag in ("source", "backingStore"):
        for found in disk.findall(tag):
            disk.remove(found)
    holder = disk
    for source in left:
        if holder.find("source") is not None:
            holder = Xml.SubElement(holder, "backingStore", type="file")
        holder.append(source)
    _number(disk)


def _put_under(disk: Xml.Element, mirror: Xml.Element) -> None:
    """The disk is the mirror with all that lies below it from now on."""
    for tag in ("source", "backingStore"):
        for found in disk.findall(tag):
            disk.remove(found)
    driver, path = disk.find("driver"), Path(_attribute(mirror, "source", "file"))
    kind = _attribute(mirror, "driver", "type")
    if driver is not None:
        driver.set("type", kind)
    holder = disk
    Xml.SubElement(holder, "source", file=str(path))
    while kind == "qcow2" and (path := path.parent / _below(path)) and path.is_file():
        holder = Xml.SubElement(holder, "backingStore", type="file")
        Xml.SubElement(holder, "source", file=str(path.resolve()))
    _number(disk)


def _below(image: Path) -> str:
    """The name of what lies below, in a qcow2 file's header; empty: nothing does."""
    with image.open("rb") as stream:
        magic, _version, at, length = struct.unpack(">4sIQI", stream.read(20))
        stream.seek(at)
        return stream.read(length).decode() if magic == b"QFI\xfb" and at else ""


def _number(disk: Xml.Element) -> None:
    at: Xml.Element | None = disk
    number = 1
    while at is not None and (source := at.find("source")) is not None:
        source.attrib.pop("index", None)
        (source if at is disk else at).set("index", str(number))
        number += 1
        at = at.find("backingStore")
