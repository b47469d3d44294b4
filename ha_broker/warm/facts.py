"""What saved memory is worth: the machine it was made for against the machine that is wanted now. Pure."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, replace
from typing import Final

from appliance import layout
from appliance.model.vm import VmSpec
from appliance.tools.domain_xml import domain_xml

STANDBY_NAME: Final = layout.STANDBY_VM_NAME
"""libvirt's name of the VM whose memory is saved. As long as the engine VM's: it is exchanged in place."""
STANDBY_LOG: Final = "/var/log/libvirt/qemu/trivet-warm-console.log"
READY: Final = "TRIVET-STANDBY ready"
FAILED: Final = "TRIVET-STANDBY failed"
"""What the guest says on its console (engine/boot/rehearsal.py)."""
PANIC: Final = "Kernel panic - not syncing"
"""Linux's words on the console: nothing will come of this boot. Seen where the host gave the guest hardly any CPU."""

assert len(STANDBY_NAME) == len(layout.ENGINE_VM_NAME)


@dataclass(frozen=True)
class Machine:
    """What memory belongs to. ``image`` is the checksum of the engine's root image, ``qemu`` the build of this node's QEMU,
    ``domain`` the checksum of the standby VM's definition (memory, devices, address of the NIC …)."""

    image: str
    qemu: str
    cpu_model: str
    domain: str


@dataclass(frozen=True)
class Saved:
    """A file of saved memory, as its maker noted it down. ``checksum`` is SHA-256 over all that is not a hole."""

    file: str
    machine: Machine
    size_bytes: int
    changed_ns: int
    checksum: str
    made: str
    """ISO 8601 UTC."""
    qemu_version: str
    restore_s: float
    """How long the restore took by which it was verified."""


def standby(spec: VmSpec) -> VmSpec:
    """The engine VM without all that makes it the engine: no data disk, no seed, its NIC on no bridge, a name of its own."""
    return replace(
        spec,
        id=str(uuid.uuid5(uuid.UUID(spec.id), STANDBY_NAME)),
        name=STANDBY_NAME,
        disks=tuple(disk for disk in spec.disks if disk.bus == "virtio"),
        nics=tuple(replace(nic, bridge="") for nic in spec.nics),
        serial_log=STANDBY_LOG,
    )


def machine(spec: VmSpec, image: str, qemu: str, accelerated: bool) -> Machine:
    """The machine that a start of ``spec`` is made for. ``image``, ``qemu``: see :class:`Machine`."""
    xml = domain_xml(standby(spec), accelerated=accelerated)
    return Machine(image, qemu, spec.cpu_model, hashlib.sha256(xml.encode()).hexdigest())


def why_not(saved: Saved | None, wanted: Machine) -> str:
    """Why ``saved`` cannot be woken as ``wanted``, in words; empty: it can."""
    if saved is None:
        return "no saved memory has been made yet"
    found = saved.machine
    if found.image != wanted.image:
        return f"the saved memory is of another engine image ({found.image[:12]}) than this node's ({wanted.image[:12]})"
    if found.cpu_model != wanted.cpu_model:
        return f"the saved memory is for CPU model {found.cpu_model}, the engine VM has {wanted.cpu_model}"
    if found.qemu != wanted.qemu:
        return f"the saved memory is of another QEMU ({saved.qemu_version}, build {found.qemu}) than this node's"
    if found.domain != wanted.domain:
        return "the saved memory is of a VM with other devices, memory or addresses"
    return ""


def file_name(wanted: Machine, qemu_version: str) -> str:
    """The file's name says at a glance what it is of."""
    build = hashlib.sha256(f"{wanted.qemu} {wanted.domain}".encode()).hexdigest()[:8]
    return f"engine-{wanted.image[:12]}-qemu{qemu_version}-{wanted.cpu_model}-{build}.memory"
