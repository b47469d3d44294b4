"""The management bridge: from what the NIC has now to networkd's files, applied without losing the node."""

from __future__ import annotations

from appliance import layout
from appliance.effects.files import PUBLIC, write_if_different
from appliance.effects.root import Root
from appliance.errors import Conflict, Failed, NotFound, TrivetError
from appliance.ports import Clock, Processes
from appliance.tools import ip
from appliance.tools.networkd import FOLDER, BridgePlan, bridge_files

TOOL_TIMEOUT_S = 5.0
RELOAD_TIMEOUT_S = 10.0
SETTLE_TIMEOUT_S = 20.0
"""networkd moves static addresses in well under a second; DHCP over a switch port that first blocks takes up to 15 s."""
LOOK_EVERY_S = 0.25


class Bridge:
    """Makes ``ovirtmgmt``. If it does not carry the addresses in time all is put back: no node is left cut off."""

    def __init__(self, root: Root, processes: Processes, clock: Clock) -> None:
        self._root = root
        self._processes = processes
        self._clock = clock

    def ensure(self, nic: str) -> None:
        """Bridge ``nic``. Raises ``NotFound`` (``nic.unknown``), ``Conflict`` (``nic.no-address``, ``nic.in-use``),
        ``Failed`` (``bridge.not-up``; put back)."""
        links = self._links()
        uplink = links.get(nic)
        if uplink is None:
            raise NotFound(
                "nic.unknown",
                subject=f"NIC {nic}",
                reason=f"there is none; there are {', '.join(sorted(links))}",
                remedy="Name one of these.",
            )
        held = links.get(layout.MANAGEMENT_BRIDGE)
        if uplink.nic.bridge == layout.MANAGEMENT_BRIDGE and held and held.nic.addresses:
            return
        self._check(uplink)
        plan = self._plan(uplink)
        self._write(plan)
        try:
            self._apply(nic)
            self._wait(plan)
        except TrivetError:
            self._put_back(nic)
            raise

    def _check(self, uplink: ip.Link) -> None:
        nic = uplink.nic
        if nic.bridge and nic.bridge != layout.MANAGEMENT_BRIDGE:
            raise Conflict(
                "nic.in-use",
                subject=f"NIC {nic.name}",
                reason=f"it is a port of {nic.bridge}",
                remedy=f"Take it out of {nic.bridge}, or choose another NIC.",
            )
        if not nic.addresses:
            raise Conflict(
                "nic.no-address",
                subject=f"NIC {nic.name}",
                reason="it has no address that the bridge could take over",
                remedy="Choose the NIC with the management address.",
            )

    def _plan(self, uplink: ip.Link) -> BridgePlan:
        nic = uplink.nic
        texts = [self._run(ip.routes_argv(nic.name, family)) for family in (4, 6)]
        static = tuple(address for address in nic.addresses if address not in uplink.leased)
        return BridgePlan(
            nic=nic.name,
            mac=nic.mac,
            mtu=nic.mtu,
            dhcp=not static,
            addresses=static,
            gateways=tuple(gateway for text in texts for gateway in ip.gateways(text)),
            routes=tuple(route for text in texts for route in ip.static_routes(text)),
        )

    def _write(self, plan: BridgePlan) -> None:
        for name, content in bridge_files(plan):
            write_if_different(self._root.at(FOLDER) / name, content, PUBLIC)

    def _apply(self, nic: str) -> None:
        self._processes.run(("networkctl", "reload"), timeout_s=RELOAD_TIMEOUT_S)
        self._processes.run(("networkctl", "reconfigure", nic), timeout_s=RELOAD_TIMEOUT_S)

    def _wait(self, plan: BridgePlan) -> None:
        end_s = self._clock.monotonic_s() + SETTLE_TIMEOUT_S
        while True:
            links = self._links()
            bridge = links.get(layout.MANAGEMENT_BRIDGE)
            has = set(bridge.nic.addresses) if bridge else set()
            wanted = set(plan.addresses)
            if links[plan.nic].nic.bridge == layout.MANAGEMENT_BRIDGE and has and wanted <= has:
                return
            if self._clock.monotonic_s() >= end_s:
                raise Failed(
                    "bridge.not-up",
                    subject=f"bridge {layout.MANAGEMENT_BRIDGE}",
                    reason=f"after {SETTLE_TIMEOUT_S:g} s it has {sorted(has)}, not {sorted(wanted)}; all was put back",
                    remedy="`journalctl -u systemd-networkd` says why.",
                )
            self._clock.sleep(LOOK_EVERY_S)

    def _put_back(self, nic: str) -> None:
        for path in self._root.at(FOLDER).glob(f"05-trivet-{layout.MANAGEMENT_BRIDGE}*"):
            path.unlink()
        self._processes.run(("ip", "link", "delete", layout.MANAGEMENT_BRIDGE), timeout_s=TOOL_TIMEOUT_S, ok=None)
        self._apply(nic)

    def _links(self) -> dict[str, ip.Link]:
        return {link.nic.name: link for link in ip.links(self._run(ip.ADDRESSES))}

    def _run(self, argv: tuple[str, ...]) -> str:
        return self._processes.run(argv, timeout_s=TOOL_TIMEOUT_S).stdout
