"""Snapshots and merges of a fake host's VMs. A guest goes on writing around them, so that what is lost is noticed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.codec import encode
from appliance.errors import Conflict, NotFound, Refused
from appliance.model.disk import DiskFile
from appliance.model.vm import VmDisk, VmSpec
from appliance.model.vm_live import DiskMerge, VmSnapshot
from engine.fakes.layers import FakeLayers, file_at, path_of

if TYPE_CHECKING:
    from engine.fakes.vm_node import FakeVmNode


def layers_of(node: FakeVmNode) -> FakeLayers:
    """The images that the host sees."""
    return FakeLayers(node.folder)


def disk_of(node: FakeVmNode, name: str, serial: str) -> VmDisk:
    """A disk of a VM that runs. Raises ``NotFound``."""
    found = node.vm(name)
    if found is None:
        raise NotFound("vm.unknown", subject=f"VM {name}", reason="libvirt knows no such VM", remedy="Ask the others.")
    disk = next((one for one in found.spec.disks if one.serial == serial), None)
    if disk is None:
        raise NotFound("vm.disk-unknown", subject=f"VM {name}", reason=f"it has no disk {serial}", remedy="Look.")
    return disk


def written(folder: Path, disk: str) -> dict[str, str]:
    """All that guests have written to a disk."""
    path = folder / "guests" / disk
    return dict(json.loads(path.read_text())) if path.exists() else {}


def guest_writes(node: FakeVmNode, name: str, serial: str, key: str, value: str) -> None:
    """The guest writes: into the layer that is written now, and into its memory of what it wrote. Not while it stands
    still; into a mirror, too."""
    disk, layers, vm = disk_of(node, name, serial), layers_of(node), node.vm(name)
    if vm is None or vm.power == "paused":
        return
    for file in [file_at(disk.path, disk.format), *(one for label, one in vm.mirrors.items() if label == serial)]:
        layers.written(file, key, value)
    path = node.folder / "guests" / serial
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{serial}.draft")
    draft.write_text(json.dumps({**written(node.folder, serial), key: value}))
    draft.rename(path)


def check_saved(saved: VmSpec, now: VmSpec) -> None:
    """As :func:`appliance.tools.domain_xml.awake_with_disks`: memory goes on with the VM's own disks only."""
    left = {one.serial for one in saved.disks if one.path and one.bus != "cdrom"} - {
        one.serial for one in now.disks if one.path
    }
    if left:
        reason = f"the saved memory has disks {sorted(left)} that the VM does not have"
        raise Refused("vm.saved-memory", subject=f"VM {now.name}", reason=reason, remedy="Give it those disks.")


def switch(node: FakeVmNode, name: str, files: dict[str, DiskFile]) -> None:
    """The VM writes to these files from now on: all at one moment."""
    found = node.vm(name)
    assert found is not None
    disks = tuple(
        replace(one, path=path_of(files[one.serial]), format=files[one.serial].format) if one.serial in files else one
        for one in found.spec.disks
    )
    node.put(replace(found, spec=replace(found.spec, disks=disks)))


def snapshot(node: FakeVmNode, name: str, wanted: VmSnapshot) -> None:
    """As :meth:`appliance.verbs.vm_disks.VmDisks.snapshot`."""
    layers = layers_of(node)
    now = {one.disk: file_at((d := disk_of(node, name, one.disk)).path, d.format) for one in wanted.disks}
    if all(now[one.disk] == one.overlay for one in wanted.disks):
        return
    for one in wanted.disks:
        size = layers.place(now[one.disk]).stat().st_size
        layers.over(one.overlay, now[one.disk], size)
        node.point("an overlay is made")
    if wanted.memory is not None:
        place = layers.place(wanted.memory)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(encode(node.vm(name))))
        node.point("the memory is saved")
    switch(node, name, {one.disk: one.overlay for one in wanted.disks})
    node.point("all disks have gone over")
    for one in wanted.disks:
        guest_writes(node, name, one.disk, "after the snapshot", one.overlay.path)


def merge(node: FakeVmNode, name: str, wanted: DiskMerge) -> None:
    """As :meth:`appliance.verbs.vm_disks.VmDisks.merge`."""
    layers, disk = layers_of(node), disk_of(node, name, wanted.disk)
    active = file_at(disk.path, disk.format)
    files = [one.file for one in layers.chain(active)]
    if active == wanted.base or (wanted.top is not None and wanted.top not in files):
        return
    top = wanted.top or active
    if wanted.base not in files or files.index(top) >= files.index(wanted.base):
        raise Conflict("disk.chain", subject=name, reason="the base is not below it", remedy="Look at its chain.")
    layers.fold(top, wanted.base)
    node.point("half of merge")
    if top != active:
        over = layers.get(files[files.index(top) - 1])
        layers.put(replace(over, backing=wanted.base))
        return
    guest_writes(node, name, wanted.disk, "during the merge", top.path)
    layers.fold(top, wanted.base)
    layers.put(replace(layers.get(top), merged=True))
    switch(node, name, {wanted.disk: wanted.base})
    node.point("the VM has gone over to the base")
    guest_writes(node, name, wanted.disk, "after the merge", wanted.base.path)
