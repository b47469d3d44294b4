"""Who may call this node's agent: a look at certificate and epoch. An engine that is refused for its epoch is noted."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from appliance.errors import Conflict, Denied, Refused
from appliance.verbs.epoch import STALE_EPOCH, EpochStore, StaleCalls
from appliance.wire.definition import EPOCH_HEADER, Access
from appliance.wire.server import Caller
from appliance.wire.tls import other_cluster

UNITS = ("node", "engine")


class BareGate:
    """Of a node without a cluster: nothing but the join routes, whose token is judged where they are implemented."""

    def admit(self, access: Access, caller: Caller, epoch: int | None) -> None:
        del caller, epoch
        if access != "join":
            raise Conflict(
                "agent.bare",
                subject="this node",
                reason="it is not a member of a cluster yet and answers only the join routes",
                remedy="Join it with its token: `trivet node token` prints it there.",
            )


@dataclass(frozen=True)
class MemberGate:
    """Of a member: callers show a certificate of this cluster (its CA was checked by TLS), an old epoch commands nobody."""

    cluster_id: str
    epochs: EpochStore
    stale: StaleCalls
    members: Callable[[], Collection[str]]
    """The names of the nodes that are members now: a certificate outlives its node's membership."""

    def admit(self, access: Access, caller: Caller, epoch: int | None) -> None:
        if access == "join":
            raise Conflict(
                "join.already-member",
                subject="this node",
                reason=f"it is a member of cluster {self.cluster_id} already",
                remedy="To move it to another cluster, remove it from this one first.",
                facts={"cluster_id": self.cluster_id},
            )
        self._admit_certificate(caller)
        if epoch is not None:
            self._admit_epoch(caller, epoch)
        elif access == "command" and caller.unit == "engine":
            raise Refused(
                "engine.epoch-missing",
                subject=f"engine {caller.name}",
                reason=f"it sent no {EPOCH_HEADER} header, which every command of an engine needs",
                remedy="Send the epoch that the engine was started with.",
            )

    def _admit_epoch(self, caller: Caller, epoch: int) -> None:
        try:
            self.epochs.admit(epoch)
        except Conflict as refused:
            if refused.code == STALE_EPOCH:
                self.stale.note(caller.name, epoch, self.epochs.highest())
            raise

    def _admit_certificate(self, caller: Caller) -> None:
        if not caller.cluster_id:
            raise Denied(
                "agent.certificate-missing",
                subject="the caller",
                reason="it showed no certificate, and this route needs one of this cluster",
                remedy="Call with the node's or the engine's certificate.",
            )
        if caller.cluster_id != self.cluster_id:
            raise other_cluster(caller.name or "the caller", f"its certificate names cluster {caller.cluster_id}")
        if caller.unit not in UNITS:
            raise Denied(
                "agent.certificate-unit",
                subject=caller.name,
                reason=f"its certificate is for {caller.unit or 'nothing'!r}; node and engine may call",
                remedy="Call with the node's or the engine's certificate.",
            )
        if caller.unit == "node" and caller.name not in self.members():
            raise Denied(
                "agent.no-member",
                subject=caller.name,
                reason="its certificate is of this cluster, but it is no member any more",
                remedy="Add it again: `trivet node leave` on it makes it bare, POST …/hosts takes it in.",
            )
