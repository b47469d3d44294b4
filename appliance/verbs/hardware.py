"""The node's NICs, its hardware, and what VMs here can be given."""

from __future__ import annotations

from pathlib import Path

from appliance.effects.root import Root
from appliance.model.network import Hardware, HostCapabilities, HostNic
from appliance.ports import Hypervisor
from appliance.tools.capabilities import host_capabilities
from appliance.verbs.facts import hardware_virtualization

_COUNTERS = {
    "received_bytes": "rx_bytes",
    "received_packets": "rx_packets",
    "received_errors": "rx_errors",
    "received_drops": "rx_dropped",
    "sent_bytes": "tx_bytes",
    "sent_packets": "tx_packets",
    "sent_errors": "tx_errors",
    "sent_drops": "tx_dropped",
}


def host_nics(root: Root) -> tuple[HostNic, ...]:
    """All interfaces, sorted by name, as the kernel counts them since they came up."""
    folder = root.at("/sys/class/net")
    found = [_nic(path) for path in sorted(folder.iterdir()) if path.name != "lo" and (path / "address").exists()]
    return tuple(nic for nic in found if nic is not None)


def _nic(path: Path) -> HostNic | None:
    try:
        counters = {ours: int(_read(path / "statistics" / theirs) or 0) for ours, theirs in _COUNTERS.items()}
        return HostNic(
            name=path.name,
            mac=_read(path / "address"),
            carrier=_read(path / "carrier") == "1",
            speed_mbit_s=max(0, int(_read(path / "speed") or 0)),
            mtu=int(_read(path / "mtu") or 0),
            bridge=(path / "master").resolve().name if (path / "master").exists() else "",
            is_bridge=(path / "bridge").is_dir(),
            physical=(path / "device").exists(),
            **counters,
        )
    except FileNotFoundError:
        return None  # it was removed while we looked


def _read(path: Path) -> str:
    """Empty where the kernel answers with an error: a NIC that is down has no carrier, a virtual one no speed."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def hardware(root: Root) -> Hardware:
    """What the firmware says of the machine."""
    folder = root.at("/sys/class/dmi/id")
    return Hardware(
        manufacturer=_read(folder / "sys_vendor"),
        product=_read(folder / "product_name"),
        version=_read(folder / "product_version"),
        family=_read(folder / "product_family"),
        serial=_read(folder / "product_serial"),
        uuid=_read(folder / "product_uuid"),
        bios_vendor=_read(folder / "bios_vendor"),
        bios_version=_read(folder / "bios_version"),
    )


def capabilities(root: Root, hypervisor: Hypervisor) -> HostCapabilities:
    """What VMs here can be given. Raises ``Unavailable`` (``libvirt.deadline``), ``Refused`` (``libvirt.capabilities``)."""
    accelerated = hardware_virtualization(root)
    return host_capabilities(hypervisor.capabilities(accelerated), accelerated)
