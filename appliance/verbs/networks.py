"""Logical networks of this node: all of them set at once, and put back when they do not come up."""

from __future__ import annotations

import json
from collections.abc import Mapping

from appliance import layout
from appliance.codec import decode, encode
from appliance.effects.files import PUBLIC, make_folders, write_atomically, write_if_different
from appliance.effects.root import Root
from appliance.errors import Conflict, Failed, TrivetError
from appliance.model.network import LogicalNetwork
from appliance.ports import Clock, Processes
from appliance.tools import ip
from appliance.tools.networkd import FOLDER
from appliance.tools.networkd_networks import MANAGEMENT_VLANS, PREFIX, check, devices, network_files, uplink

TOOL_TIMEOUT_S = 5.0
RELOAD_TIMEOUT_S = 10.0
SETTLE_TIMEOUT_S = 20.0
"""networkd makes a bridge in well under a second; a busy node takes longer, and nobody waits twice for it."""
LOOK_EVERY_S = 0.25


class Networks:
    """The node's networks beside the management network, which is :class:`appliance.verbs.bridge.Bridge`'s."""

    def __init__(self, root: Root, processes: Processes, clock: Clock) -> None:
        self._root = root
        self._processes = processes
        self._clock = clock

    def wanted(self) -> tuple[LogicalNetwork, ...]:
        """What was set last."""
        path = self._root.at(layout.NETWORKS_FILE)
        if not path.exists():
            return ()
        return decode(tuple[LogicalNetwork, ...], json.loads(path.read_text()), subject=str(path))

    def ensure(self, networks: tuple[LogicalNetwork, ...]) -> None:
        """Make exactly these, lastingly. Raises ``Refused`` (``network.definition``), ``NotFound`` (``nic.unknown``),
        ``Conflict`` (``nic.in-use``; ``network.in-use``: VMs are on one that would go), ``Failed`` (``network.not-up``)."""
        before, links = self.wanted(), self._links()
        check(networks, before, links)
        gone = devices(before) - devices(networks)
        self._refuse_in_use(gone & {one.name for one in before}, before, links)
        management = next((name for name, link in links.items() if link.nic.bridge == layout.MANAGEMENT_BRIDGE), "")
        held, files = self._held(), network_files(networks, management)
        if held != files or not self._is_up(networks, links):
            try:
                self._apply(held, files, gone, before, networks)
                self._wait(networks)
            except TrivetError:
                self._apply(files, held, devices(networks) - devices(before), networks, before)
                raise
        path = self._root.at(layout.NETWORKS_FILE)
        make_folders(path.parent, 0o711)
        write_atomically(path, json.dumps(encode(networks)) + "\n", PUBLIC)

    def _apply(
        self,
        held: Mapping[str, str],
        files: Mapping[str, str],
        gone: set[str],
        before: tuple[LogicalNetwork, ...],
        after: tuple[LogicalNetwork, ...],
    ) -> None:
        folder = self._root.at(FOLDER)
        for name, content in files.items():
            write_if_different(folder / name, content, PUBLIC)
        for name in held.keys() - files.keys():
            (folder / name).unlink(missing_ok=True)
        for device in sorted(gone):  # networkd makes devices and never removes them
            self._processes.run(("ip", "link", "delete", device), timeout_s=TOOL_TIMEOUT_S, ok=None)
        self._processes.run(("networkctl", "reload"), timeout_s=RELOAD_TIMEOUT_S)
        for nic in sorted({one.nic for one in (*before, *after) if one.nic}):
            self._processes.run(("networkctl", "reconfigure", nic), timeout_s=RELOAD_TIMEOUT_S)

    def _wait(self, networks: tuple[LogicalNetwork, ...]) -> None:
        end_s = self._clock.monotonic_s() + SETTLE_TIMEOUT_S
        while not self._is_up(networks, links := self._links()):
            if self._clock.monotonic_s() >= end_s:
                missing = [one.name for one in networks if not self._is_up((one,), links)]
                raise Failed(
                    "network.not-up",
                    subject=f"networks {', '.join(missing)}",
                    reason=f"after {SETTLE_TIMEOUT_S:g} s they are not there with their NIC; all was put back",
                    remedy="`journalctl -u systemd-networkd` says why; does this kernel know VLANs?",
                )
            self._clock.sleep(LOOK_EVERY_S)

    @staticmethod
    def _is_up(networks: tuple[LogicalNetwork, ...], links: Mapping[str, ip.Link]) -> bool:
        def has_port(one: LogicalNetwork) -> bool:
            port = uplink(one)
            return not port or (port in links and links[port].nic.bridge == one.name)

        return all(one.name in links and has_port(one) for one in networks)

    @staticmethod
    def _refuse_in_use(bridges: set[str], before: tuple[LogicalNetwork, ...], links: Mapping[str, ip.Link]) -> None:
        uplinks = {uplink(one) for one in before}
        ports = {name: link.nic.bridge for name, link in links.items() if link.nic.bridge in bridges and name not in uplinks}
        if ports:
            raise Conflict(
                "network.in-use",
                subject=f"networks {', '.join(sorted(set(ports.values())))}",
                reason=f"NICs of VMs are on them: {', '.join(sorted(ports))}",
                remedy="Put those NICs on another network, or shut the VMs down.",
            )

    def _held(self) -> Mapping[str, str]:
        folder = self._root.at(FOLDER)
        found = {path.name: path.read_text() for path in folder.glob(f"{PREFIX}*") if path.is_file()}
        extra = folder / MANAGEMENT_VLANS
        return found | ({MANAGEMENT_VLANS: extra.read_text()} if extra.exists() else {})

    def _links(self) -> dict[str, ip.Link]:
        text = self._processes.run(ip.ADDRESSES, timeout_s=TOOL_TIMEOUT_S).stdout
        return {link.nic.name: link for link in ip.links(text)}
