"""What a VM is besides its disks, kept with a snapshot and brought back from it: attributes, NICs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.decide.mac import address_of
from engine.jobs.layers import CONFIG
from engine.jobs.vm_parts import NewNic, add_nic
from engine.jobs.vm_state import OF_THE_RUN
from engine.store.entities import Entities
from engine.store.entity import Entity

BESIDE = ("id", "name", "vnic_profile")
"""Of a kept NIC: what is no attribute of its body."""


def config_of(entities: Entities, vm: Entity) -> dict[str, Any]:
    """The VM as it is now: for the body of a snapshot."""
    nics = [{**one.body, "id": one.id, "name": one.name, **_profile_of(one)} for one in entities.children(vm.key, "nic")]
    drives = {one.ref("disk"): dict(one.body) for one in entities.children(vm.key, "disk_attachment")}
    return {CONFIG: {"vm": {**vm.without(*OF_THE_RUN).body, "name": vm.name}, "nics": nics, "drives": drives}}


def _profile_of(nic: Entity) -> dict[str, Any]:
    profile = nic.ref("vnic_profile")
    return {"vnic_profile": {"id": profile}} if profile else {}


def other_disks(entities: Entities, vm: Entity, snapshot: Entity) -> list[str]:
    """Names of the disks that the VM has in its machine now and had not then, or the other way round, or on another
    interface: none, if its memory of that time can go on."""
    then = _interfaces((snapshot.body.get(CONFIG) or {}).get("drives") or {})
    now = _interfaces({one.ref("disk"): one.body for one in entities.children(vm.key, "disk_attachment")})
    differ = sorted(disk for disk in {*then, *now} if then.get(disk) != now.get(disk))
    return [entities.name_of("disk", disk) for disk in differ]


def _interfaces(drives: Mapping[str, Mapping[str, Any]]) -> Mapping[str, str]:
    """Of attachments (disk → attributes), those that are in the machine: disk → interface."""
    return {disk: str(one.get("interface") or "") for disk, one in drives.items() if one.get("active") is not False}


def bring_back(entities: Entities, vm_id: str, snapshot: Entity) -> None:
    """Attributes and NICs as they were; name, cluster and disks are left alone, as is what the VM's last run was."""
    kept = snapshot.body.get(CONFIG)
    if not kept:
        return  # it keeps disks alone
    was = {name: value for name, value in (kept.get("vm") or {}).items() if name != "name"}

    def back(vm: Entity) -> Entity:
        return replace(vm, body={**was, **{name: vm.body[name] for name in OF_THE_RUN if name in vm.body}})

    vm = entities.change("vm", vm_id, back)
    _nics_back(entities, vm, kept.get("nics") or ())


def _nics_back(entities: Entities, vm: Entity, nics: Any) -> None:
    """With their ids and addresses. An address that somebody else has by now is drawn anew."""
    for one in entities.children(vm.key, "nic"):
        entities.remove("nic", one.id)
    for one in nics:
        mac = address_of(one)
        profile = str((one.get("vnic_profile") or {}).get("id") or "")
        attributes = {name: value for name, value in one.items() if name not in BESIDE}
        is_free = mac not in entities.unique_keys("nic")
        is_known = bool(profile) and entities.get("vnic_profile", profile) is not None
        new = NewNic(str(one["id"]), str(one["name"]), mac if is_free else "", profile if is_known else "", attributes)
        add_nic(entities, vm, new)
