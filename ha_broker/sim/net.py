"""The simulated networks: two of them, each a set of directed links between hosts that may be cut or lose packets."""

from __future__ import annotations

from random import Random
from typing import Final

MANAGEMENT: Final = "management"
STORAGE: Final = "storage"
NETWORKS: Final = (MANAGEMENT, STORAGE)

LOSS_THAT_CUTS: Final = 0.9
"""A TCP connection with 5 s of user time-out does not live through more than this share of lost packets."""


class Net:
    """Which packets pass. A cut is silent: nobody is told."""

    def __init__(self, names: tuple[str, ...], rng: Random) -> None:
        self._names = names
        self._rng = rng
        self._cut: set[tuple[str, str, str]] = set()
        self._loss: dict[tuple[str, str, str], float] = {}

    def set_link(self, network: str, source: str, target: str, up: bool) -> None:
        """One direction of one link."""
        (self._cut.discard if up else self._cut.add)((network, source, target))

    def set_loss(self, network: str, source: str, target: str, share: float) -> None:
        """Share of packets lost in that direction."""
        if share > 0:
            self._loss[network, source, target] = share
        else:
            self._loss.pop((network, source, target), None)

    def up(self, network: str, one: str, other: str) -> bool:
        """Whether a TCP connection between them lives: both directions pass."""
        if one == other:
            return True
        return self.passes(network, one, other) and self.passes(network, other, one)

    def passes(self, network: str, source: str, target: str) -> bool:
        """Whether enough packets pass in that direction."""
        link = (network, source, target)
        return link not in self._cut and self._loss.get(link, 0.0) < LOSS_THAT_CUTS

    def answers(self, network: str, one: str, other: str) -> bool:
        """Whether one short question is answered in time: as ``up``, and the lost packets were resent in time."""
        if not self.up(network, one, other):
            return False
        if not self._loss:
            return True
        loss = self._loss.get((network, one, other), 0.0) + self._loss.get((network, other, one), 0.0)
        return loss == 0.0 or self._rng.random() >= min(loss, 1.0) ** 2

    def delay_s(self, network: str, host: str) -> float:
        """Additional seconds of a call of that host over that network: resent packets."""
        if not self._loss:
            return 0.0
        worst = max((share for (net, a, b), share in self._loss.items() if net == network and host in (a, b)), default=0.0)
        return self._rng.expovariate(1 / (2 * worst)) if worst else 0.0

    def mend(self) -> None:
        """All links of both networks are good."""
        self._cut.clear()
        self._loss.clear()

    @property
    def cuts(self) -> frozenset[tuple[str, str, str]]:
        """(network, source, target) of every cut direction."""
        return frozenset(self._cut)
