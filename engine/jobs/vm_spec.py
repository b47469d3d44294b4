"""What a VM consists of, gathered from the store for engine/decide/vm_machine.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance import layout
from appliance.model.disk import DiskFile
from appliance.model.vm import VmSpec
from engine.decide.merge import merged
from engine.decide.vm_config import with_next_run
from engine.decide.vm_machine import DiskPart, NicPart, check_startable, machine
from engine.jobs import seeds
from engine.jobs.networks import network_of
from engine.jobs.places import file_of
from engine.store.entities import Entities
from engine.store.entity import Entity

CONSOLES = "trivet_consoles"
"""In the body: the protocols of its screens."""
SCREENS = ("vnc",)


@dataclass(frozen=True)
class Parts:
    """A VM with all that belongs to it, as it starts next (or as somebody wants it for this once)."""

    vm: Entity
    body: Mapping[str, Any]
    cluster: Mapping[str, Any]
    disks: tuple[DiskPart, ...]
    nics: tuple[NicPart, ...]
    cd_path: str
    seed_path: str = ""

    def spec(self) -> VmSpec:
        """The machine."""
        has_screen = bool(self.body.get(CONSOLES, SCREENS))
        return machine(
            self.vm.id,
            self.body,
            self.cluster,
            self.disks,
            self.nics,
            self.cd_path,
            seed_path=self.seed_path,
            has_screen=has_screen,
        )

    def why_not(self) -> str:
        """Why it cannot boot; empty: it can."""
        return check_startable(self.vm.name, self.body, self.disks, len(self.nics), self.cd_path)


def body_of(vm: Entity, once: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Its attributes as its next start takes them. ``once``: those that hold for this start only."""
    body: dict[str, Any] = merged(with_next_run(vm.body), once or {})
    return body


def parts_of(entities: Entities, vm: Entity, once: Mapping[str, Any] | None = None) -> Parts:
    """Gather it. ``once``: attributes that hold for this start only."""
    body = body_of(vm, once)
    cluster = entities.need("cluster", vm.ref("cluster"))
    attachments = [one for one in entities.children(vm.key, "disk_attachment") if one.body.get("active") is not False]
    disks = entities.many("disk", [one.ref("disk") for one in attachments])
    nics = [one for one in entities.children(vm.key, "nic") if one.body.get("plugged") is not False]
    iso = entities.get("disk", vm.ref("iso")) if vm.ref("iso") else None
    seed = seeds.of(entities, vm)
    return Parts(
        vm,
        body,
        cluster.body,
        tuple(disk_part(entities, one, disks[one.ref("disk")]) for one in attachments),
        tuple(nic_part(entities, one) for one in nics),
        path_of(file_of(entities, iso)) if iso else "",
        path_of(seeds.file_of(entities, seed)) if seed else "",
    )


def disk_part(entities: Entities, attachment: Entity, disk: Entity) -> DiskPart:
    """One of its disks."""
    return DiskPart(disk.id, path_of(file_of(entities, disk)), attachment.body, disk.body)


def nic_part(entities: Entities, nic: Entity) -> NicPart:
    """One of its NICs, on the bridge of its profile's network."""
    profile = entities.get("vnic_profile", nic.ref("vnic_profile")) if nic.ref("vnic_profile") else None
    network = entities.get("network", profile.ref("network")) if profile else None
    if network is None:
        return NicPart("", nic.body)
    return NicPart(network_of(network).bridge, nic.body, int(network.body.get("mtu") or 0))


def path_of(file: DiskFile) -> str:
    """The same as a path on every host."""
    return str(layout.VOLUMES / file.domain / file.path)
