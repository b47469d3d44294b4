"""What a broker tells: events for people and programs, decisions when they change, alerts when they begin and end."""

from __future__ import annotations

from appliance.model.ha import HaAlert, HaDecision
from ha_broker import limits
from ha_broker.alerts import alerts
from ha_broker.heard import Heard
from ha_broker.ports import Event, Ports
from ha_broker.state import Decision, Observation


class Teller:
    """Remembers what was told, so that nothing is told twice."""

    def __init__(self, ports: Ports, host: str) -> None:
        self._ports = ports
        self._host = host
        self._last = Decision("none", "", "")
        self._findings: dict[str, str] = {}
        self._alerts: dict[tuple[str, str], HaAlert] = {}
        self._heard = Heard()
        self.decisions: tuple[HaDecision, ...] = ()
        """The last ones, the newest at the end."""

    @property
    def alerts(self) -> tuple[HaAlert, ...]:
        """Those that stand."""
        return tuple(self._alerts.values())

    def event(self, kind: str, sentence: str, epoch: int = 0, code: str = "", subject: str = "") -> None:
        """Into the event log."""
        self._ports.events.write(Event(self._ports.clock.wall_s(), self._host, kind, epoch, sentence, code, subject))

    def turn(self, decision: Decision, seen: Observation) -> None:
        """All that this turn has to tell."""
        self._decided(decision, seen)
        self._hear(seen)
        self._found(seen)
        self._alert(decision, seen)

    def fault(self, what: str, sentence: str) -> None:
        """A finding about this host itself, told once; empty: it is over."""
        if sentence and self._findings.get(f"own {what}") != sentence:
            self.event("finding", sentence, subject=self._host)
        self._findings[f"own {what}"] = sentence

    def _decided(self, decision: Decision, seen: Observation) -> None:
        if decision.rule != self._last.rule or decision.sentence != self._last.sentence:
            self._keep((HaDecision(self._ports.clock.wall_s(), self._host, decision.sentence, decision.action),))
            if decision.action != "start":  # a start that was begun has an event of its own
                self.event("decided", decision.sentence, seen.epoch_known)
        self._last = decision

    def _hear(self, seen: Observation) -> None:
        heard = self._heard.new(seen, self._ports.clock.wall_s())
        if heard:
            self._keep(heard)

    def _keep(self, decisions: tuple[HaDecision, ...]) -> None:
        self.decisions = (*self.decisions, *decisions)[-limits.DECISIONS_KEPT :]

    def _found(self, seen: Observation) -> None:
        for peer in seen.peers:
            if peer.finding == self._findings.get(peer.name, ""):
                continue
            if peer.finding:
                then = "" if peer.newer else "; the host counts as silent"
                self.event("finding", f"slot of {peer.name}: {peer.finding}{then}")
            self._findings[peer.name] = peer.finding

    def _alert(self, decision: Decision, seen: Observation) -> None:
        standing = alerts(seen, decision)
        if not standing and not self._alerts:
            return
        now = {(alert.code, alert.subject): alert for alert in standing}
        for key, alert in now.items():
            if key not in self._alerts or self._alerts[key].sentence != alert.sentence:
                self.event("alert", alert.sentence, seen.epoch_known, alert.code, alert.subject)
        for key, alert in self._alerts.items():
            if key not in now:
                self.event("alert-over", f"over: {alert.sentence}", seen.epoch_known, alert.code, alert.subject)
        self._alerts = now
