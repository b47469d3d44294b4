"""What a VM's guest agent tells, under oVirt's names: the guest's own name, its operating system, its addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance.codec import decode
from appliance.model.vm_live import GuestInfo, GuestNic
from engine.api.documents import Object
from engine.api.noun import Call
from engine.api.nouns import ref
from engine.api.observed import Rows
from engine.decide.mac import address_of
from engine.inventory import derived_id
from engine.jobs.vm_state import GUEST
from engine.store.entity import Entity

MINUTE_S = 60


def said_by(vm: Entity) -> GuestInfo | None:
    """What it told since it was started; ``None``: nothing."""
    held = vm.body.get(GUEST)
    return decode(GuestInfo, held, subject=f"what the guest of VM {vm.name} said", ignore_unknown=True) if held else None


def told(vm: Entity) -> dict[str, Any]:
    """Attributes of the VM that only its guest knows."""
    said = said_by(vm)
    if said is None:
        return {}
    system = {
        "architecture": said.machine,
        "distribution": said.os_name,
        "family": "Windows" if said.os_id == "mswindows" else "Linux",
        "kernel": {"version": {"full_version": said.kernel}},
        "version": {"full_version": said.os_version},
    }
    zone = {"name": said.time_zone, "utc_offset": offset(said.time_zone_offset_s)}
    return {
        **({"fqdn": said.hostname} if said.hostname else {}),
        **({"guest_operating_system": system} if said.os_name else {}),
        **({"guest_time_zone": zone} if said.time_zone else {}),
    }


def offset(seconds: int) -> str:
    """As ``+01:00``."""
    hours, minutes = divmod(abs(seconds) // MINUTE_S, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02}:{minutes:02}"


class ReportedDevices(Rows):
    """The NICs that the guest of a VM has; of one NIC of a VM, those with its address."""

    services, kind = ("VmReportedDevices",), "ReportedDevice"

    def rows(self, call: Call) -> Sequence[Object]:
        entities, is_of_nic = call.engine.store.entities, call.parent_kind == "Nic"
        vm_id = call.parents[0][1] if is_of_nic else call.parent_id
        vm, nic = entities.get("vm", vm_id), entities.get("nic", call.parent_id) if is_of_nic else None
        said = said_by(vm) if vm is not None else None
        found = said.nics if said else ()
        if is_of_nic:
            mac = address_of(nic.body).lower() if nic else ""
            found = tuple(one for one in found if mac and one.mac == mac)
        return [device(vm_id, one) for one in found]


def device(vm_id: str, nic: GuestNic) -> Object:
    """A NIC as the guest has it."""
    addresses = [one.partition("/")[0] for one in nic.addresses]
    return {
        "id": derived_id(vm_id, f"reported:{nic.name}:{nic.mac}"),
        "name": nic.name,
        "description": "guest reported data",
        "type": "network",
        "mac": {"address": nic.mac},
        "ips": [{"address": one, "version": "v6" if ":" in one else "v4"} for one in addresses],
        "vm": ref(vm_id),
    }
