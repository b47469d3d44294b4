"""Keep hosts' networks as they are attached: a network that was changed, and a host that was away or installed anew, get
what is missing. Hosts to which nothing was ever attached are left alone: what somebody made there by hand is theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from appliance.model.network import LogicalNetwork
from engine.jobs.host_networks import HostNetworks, SetUpNetworks
from engine.jobs.networks import attached, bridges, missing, network_of
from engine.jobs.places import AWAY
from engine.jobs.ports import HostReport
from engine.jobs.watcher import Watcher
from engine.store.audit import Audit

KEEP_EVERY_S = 30.0
"""Looking at rows; a host is asked when they say something new, or after ``ASK_EVERY_S``."""
ASK_EVERY_S = 600.0
"""Nobody but us changes them, unless by hand; and what could not be made is tried again no more often."""


@dataclass
class NetworkKeeper(Watcher):
    """One for the engine; its turns are taken one after the other."""

    watched: ClassVar[str] = "networks of hosts"
    _looked: dict[str, tuple[tuple[LogicalNetwork, ...], float]] = field(default_factory=dict)
    """Host → what it was to have when it was asked last, and when that was."""
    _lacking: frozenset[tuple[str, tuple[str, ...]]] = frozenset()
    """Hosts, and the required networks that they lack, of which people know."""

    def turn(self) -> None:
        """Look at all hosts, and order what is missing."""
        self._tried("all", self._look)
        self._tried("required", self._warn)

    def _look(self) -> None:
        for report in self.nodes.reports():
            host = self.entities.get("host", report.id)
            if report.is_up and host is not None and host.shown_status not in AWAY:
                self._tried(report.name, lambda report=report: self._host(report))  # type: ignore[misc]

    def _warn(self) -> None:
        """An event for each host that gets no VM because it lacks a network, once for as long as it is so."""
        rows = self.entities.list("network")
        bridges_of, names = {network_of(one).bridge: one.name for one in rows}, {one.id: one.name for one in rows}
        reports, lacking = self.nodes.reports(), set[tuple[str, tuple[str, ...]]]()
        for cluster in self.entities.list("cluster"):
            mine = {one.id for one in self.entities.referring(cluster.key, "host", "cluster")}
            has = {
                one.id: [bridges_of[nic.name] for nic in one.facts.nics if nic.name in bridges_of]
                for one in reports
                if one.id in mine and one.is_up and one.facts is not None
            }
            for host, networks in missing(cluster, names, has).items():
                if networks:
                    lacking.add((host, networks))
                if networks and (host, networks) not in self._lacking:
                    about = {"host": host, "cluster": cluster.id}
                    audit = Audit(self.entities.connection, self.desk.clock)
                    audit.tell("VDS_SET_NONOPERATIONAL_NETWORK", about, {"network": ", ".join(networks)})
        self._lacking = frozenset(lacking)

    def _host(self, report: HostReport) -> None:
        attachments = attached(self.entities, report.id)
        if not attachments:
            self._looked.pop(report.id, None)
            return
        wanted, now_s = bridges(self.entities, attachments), self.desk.clock.monotonic_s()
        before, asked_s = self._looked.get(report.id, ((), 0.0))
        if before == wanted and now_s - asked_s < ASK_EVERY_S:
            return
        has = self.nodes.networks(report.name).networks()
        self._looked[report.id] = (wanted, now_s)
        if sorted(has, key=lambda one: one.name) != list(wanted):
            self.log(f"{report.name} has not the networks that are attached to it: it is set up")
            self._order_now(HostNetworks, SetUpNetworks(report.id))
