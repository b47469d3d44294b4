"""The files under running VMs: snapshots, merges, sizes. See :class:`appliance.vm_ports.Blocks`."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as Xml

import libvirt

from appliance.effects.libvirt_job import ABORT_S, guarded
from appliance.effects.libvirt_link import CHANGE_TIMEOUT_S, LibvirtLink
from appliance.model.vm_live import BlockJob
from appliance.vm_ports import Watch

_COMMON = (
    libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT  # the overlays are ours, with names relative to each other
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA  # the engine knows, and a node forgets
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
)
_MIRROR = (
    libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT  # made by us: owner, format, what lies below it
    | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB  # nothing of ours outlives its QEMU
    | libvirt.VIR_DOMAIN_BLOCK_COPY_SYNCHRONOUS_WRITES  # so it gets through, however much the guest writes
)


class LibvirtBlocks(LibvirtLink):
    """A :class:`appliance.vm_ports.Blocks`."""

    def snapshot(self, name: str, xml: str, *, memory: bool, quiesce: bool, deadline_s: float, watch: Watch) -> None:
        flags = _COMMON
        if memory:
            flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_LIVE
        else:
            flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
        if quiesce:
            flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE

        def take(wire: Any) -> None:
            domain = wire.lookupByName(name)
            guarded(domain, lambda: domain.snapshotCreateXML(xml, flags), deadline_s, watch)

        self._ask(take, deadline_s + ABORT_S, "vm.snapshot", name, lane="long")

    def block_resize(self, name: str, target: str, size_bytes: int) -> None:
        flags = libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES

        def resize(wire: Any) -> None:
            wire.lookupByName(name).blockResize(target, size_bytes, flags)

        self._ask(resize, CHANGE_TIMEOUT_S, "vm.disk-resize", name)

    def block_commit(self, name: str, target: str, top: str, base: str, active: bool) -> None:
        flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE if active else libvirt.VIR_DOMAIN_BLOCK_COMMIT_RELATIVE

        def commit(wire: Any) -> None:
            wire.lookupByName(name).blockCommit(target, base, top, 0, flags)

        self._ask(commit, CHANGE_TIMEOUT_S, "vm.merge", name)

    def block_mirror(self, name: str, target: str, xml: str, shallow: bool) -> None:
        flags = _MIRROR | (libvirt.VIR_DOMAIN_BLOCK_COPY_SHALLOW if shallow else 0)

        def mirror(wire: Any) -> None:
            wire.lookupByName(name).blockCopy(target, xml, {}, flags)

        self._ask(mirror, CHANGE_TIMEOUT_S, "vm.mirror", name)

    def block_job(self, name: str, target: str) -> BlockJob | None:
        def look(wire: Any) -> BlockJob | None:
            domain = wire.lookupByName(name)
            job = domain.blockJobInfo(target, 0)
            return _block_job(job, domain.XMLDesc(0), target) if job else None

        return self._ask(look, CHANGE_TIMEOUT_S, "vm.merge", name)

    def end_block_job(self, name: str, target: str, pivot: bool) -> None:
        flags = libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT if pivot else 0
        self._ask(lambda wire: wire.lookupByName(name).blockJobAbort(target, flags), CHANGE_TIMEOUT_S, "vm.merge", name)


def _block_job(job: dict[str, int], xml: str, target: str) -> BlockJob:
    kinds = {
        libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT: "commit",
        libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT: "active-commit",
        libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COPY: "copy",
    }
    # Not by the numbers: they are equal for a moment before everything is copied, too.
    disks = Xml.fromstring(xml).findall("devices/disk")  # noqa: S314 - libvirt's own answer
    mirrors = [disk.find("mirror") for disk in disks if getattr(disk.find("target"), "attrib", {}).get("dev") == target]
    ready = any(mirror is not None and mirror.get("ready") == "yes" for mirror in mirrors)
    sources = [mirror.find("source") for mirror in mirrors if mirror is not None]
    path = next((source.get("file", "") for source in sources if source is not None), "")
    kind = kinds.get(job["type"], "other")
    return BlockJob(kind, job["cur"], job["end"], ready, path)  # type: ignore[arg-type]  # one of those above, or other
