"""Disks of a fake host's VMs that go over to another file. Guests go on writing, so that what is lost is noticed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from appliance.errors import Conflict, NotFound
from appliance.model.disk import DiskFile
from appliance.model.vm_live import DiskMirror
from engine.fakes.layers import FakeLayer, file_at
from engine.fakes.vm_layers import disk_of, guest_writes, layers_of, switch

if TYPE_CHECKING:
    from engine.fakes.vm_node import FakeVm, FakeVmNode


def mirror(node: FakeVmNode, name: str, wanted: DiskMirror) -> None:
    """As :meth:`appliance.verbs.vm_mirrors.VmMirrors.mirror`."""
    layers, source = layers_of(node), _written(node, name, wanted)
    if source == wanted.target or _vm(node, name).mirrors.get(wanted.disk) == wanted.target:
        return
    layers.put(FakeLayer(wanted.target, wanted.backing), layers.place(source).stat().st_size)
    node.point("the target is made")
    if wanted.backing is None and layers.chain(source)[-1].file.format == "raw":
        layers.place(wanted.target).write_bytes(layers.place(layers.chain(source)[-1].file).read_bytes())
    data = layers.get(source).data if wanted.backing else layers.content(source)
    layers.put(FakeLayer(wanted.target, wanted.backing, data))
    vm = _vm(node, name)
    node.put(replace(vm, mirrors={**vm.mirrors, wanted.disk: wanted.target}))
    node.point("both are equal")
    guest_writes(node, name, wanted.disk, "while it was mirrored", source.path)


def pivot(node: FakeVmNode, name: str, wanted: DiskMirror) -> None:
    """As :meth:`appliance.verbs.vm_mirrors.VmMirrors.pivot`."""
    layers = layers_of(node)
    if _written(node, name, wanted) != wanted.target:
        _go_over(node, name, wanted)
    layers.put(replace(layers.get(wanted.target), mirrored=True))
    node.point("it is marked")
    _go_on(node, name, wanted)
    node.point("the VM goes on")
    guest_writes(node, name, wanted.disk, "after the move", wanted.target.path)


def _go_over(node: FakeVmNode, name: str, wanted: DiskMirror) -> None:
    if _vm(node, name).mirrors.get(wanted.disk) != wanted.target:
        _go_on(node, name, wanted)
        reason = "no mirror of its disk is ready"
        raise Conflict("vm.mirror", subject=f"VM {name}", reason=reason, remedy="Mirror it again.")
    node.put(replace(_vm(node, name), power="paused"))
    node.point("the VM stands still")
    guest_writes(node, name, wanted.disk, "while it stood still", "never")
    switch(node, name, {wanted.disk: wanted.target})
    _forget(node, name, wanted)
    node.point("the VM has gone over to the target")
    guest_writes(node, name, wanted.disk, "before the mark", "never")


def break_off(node: FakeVmNode, name: str, wanted: DiskMirror) -> None:
    """As :meth:`appliance.verbs.vm_mirrors.VmMirrors.break_off`."""
    if _written(node, name, wanted) == wanted.target:
        raise Conflict("vm.mirror", subject=f"VM {name}", reason="it has gone over", remedy="Use that file.")
    _forget(node, name, wanted)
    _go_on(node, name, wanted)
    guest_writes(node, name, wanted.disk, "after it was broken off", wanted.target.path)


def _written(node: FakeVmNode, name: str, wanted: DiskMirror) -> DiskFile:
    disk = disk_of(node, name, wanted.disk)
    return file_at(disk.path, disk.format)


def _vm(node: FakeVmNode, name: str) -> FakeVm:
    found = node.vm(name)
    if found is None:
        raise NotFound("vm.unknown", subject=f"VM {name}", reason="libvirt knows no such VM", remedy="Ask the others.")
    return found


def _forget(node: FakeVmNode, name: str, wanted: DiskMirror) -> None:
    vm = _vm(node, name)
    node.put(replace(vm, mirrors={disk: file for disk, file in vm.mirrors.items() if disk != wanted.disk}))


def _go_on(node: FakeVmNode, name: str, wanted: DiskMirror) -> None:
    vm = _vm(node, name)
    if vm.power == "paused" and not wanted.stays_paused:
        node.put(replace(vm, power="running"))
