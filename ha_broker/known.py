"""What this node's broker last said, and an error beside it when that is old or nothing at all."""

from __future__ import annotations

from pathlib import Path

from appliance.effects.clock import Clock
from appliance.effects.root import Root
from appliance.errors import TrivetError, Unavailable
from appliance.model.ha import EngineHa, HaStatus, HostHa
from appliance.verbs.ha_status import read_status
from appliance.verbs.membership import MembershipFiles
from ha_broker import limits


def known(path: Path, clock: Clock, root: Root = Root()) -> tuple[HaStatus, TrivetError | None]:  # noqa: B008 - frozen
    """The last status of this node's broker, and the error ``ha.broker-silent`` when it is stale or missing. Then the
    members come from the node's own files: raises ``Conflict`` (``node.bare``) when it is no member."""
    try:
        status = read_status(path, clock)
    except TrivetError as error:
        return _members(root), silent(error.reason)
    if status.broker_age_s <= limits.BROKER_SILENT_S:
        return status, None
    return status, silent(f"it finished its last turn {status.broker_age_s:.0f} s ago; what is shown is from then")


def silent(reason: str) -> Unavailable:
    """The error that this node's broker says nothing (new)."""
    remedy = "`systemctl status trivet-ha` and `journalctl -u trivet-ha` on this node say why; other nodes' brokers go on."
    return Unavailable("ha.broker-silent", subject="the broker of this node", reason=reason, remedy=remedy)


def _members(root: Root) -> HaStatus:
    """What is known without a broker: who the members are."""
    cluster, own = MembershipFiles(root).require()
    names = sorted(member.name for member in cluster.members)
    hosts = tuple(HostHa(name, False, 0, ("not known: this node's broker is silent",), "", False, 0.0) for name in names)
    engine = EngineHa("unknown", "", 0, "", cluster.engine.address, cluster.engine.fqdn)
    return HaStatus(engine, "none", hosts, (), 0.0, host=own.name)
