"""What the guest agent said through libvirt (``virsh guestinfo``) as ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.model.vm_live import GuestInfo, GuestNic


def guest_info(said: Mapping[str, Any]) -> GuestInfo:
    """All that it told; what it did not is empty. Its loopback is of no interest."""

    def word(key: str) -> str:
        return str(said.get(key, ""))

    nics = [_nic(said, f"if.{index}.") for index in range(int(said.get("if.count", 0)))]
    return GuestInfo(
        agent=True,
        hostname=word("hostname"),
        nics=tuple(nic for nic in nics if nic.name != "lo"),
        os_id=word("os.id"),
        os_name=word("os.pretty-name") or word("os.name"),
        os_version=word("os.version-id") or word("os.version"),
        kernel=word("os.kernel-release"),
        machine=word("os.machine"),
        time_zone=word("timezone.name"),
        time_zone_offset_s=int(said.get("timezone.offset", 0)),
        users=tuple(word(f"user.{index}.name") for index in range(int(said.get("user.count", 0)))),
    )


def _nic(said: Mapping[str, Any], prefix: str) -> GuestNic:
    count = int(said.get(f"{prefix}addr.count", 0))
    addresses = [
        f"{said.get(f'{prefix}addr.{index}.addr', '')}/{said.get(f'{prefix}addr.{index}.prefix', '')}"
        for index in range(count)
    ]
    return GuestNic(str(said.get(f"{prefix}name", "")), str(said.get(f"{prefix}hwaddr", "")).lower(), tuple(addresses))
