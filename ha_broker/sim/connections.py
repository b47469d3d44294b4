"""Who is connected to which brick: the TCP connections between every host's mount and every brick, on virtual time.

A connection that cannot carry is in *limbo*: nothing arrives, nobody has given up yet, and every call of that mount that
needs the brick stalls. After ``LOSS_S`` both ends have given up (*down*): the brick releases what that client had locked,
the client goes on without the brick. A process that ends while its host lives is noticed at
once, because its kernel says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

LOSS_S: Final = 5.6
"""Measured on the real volume: link cut → lock free, and the others' calls going on. Both ends give up together."""

BLIP_S: Final = 4.5
"""A link that carries again within this time finds its connections alive: the last try to send a lost frame before both
ends give up (5 s) is at 4.5 s, as the nodes' least retransmission time is 0.3 s (with the kernel's 0.2 s: at 3.0 s)."""

RECONNECT_S: Final = 3.0
"""The client asks for a lost brick again this often."""

CONNECT_S: Final = 0.3
"""A new mount is connected when ``mount`` returns."""

NEVER: Final = float("inf")

State = Literal["up", "limbo", "down"]


class Stalled(Exception):
    """The call does not return now; the simulated world tries it again later."""


class Connection:
    """One mount's connection to one brick. ``due_s``: when limbo ends in a loss, or when a lost one is up again."""

    __slots__ = ("brick", "client", "doomed", "due_s", "new", "since_s", "state")

    def __init__(self, client: str, brick: str) -> None:
        self.client = client
        self.brick = brick
        self.state: State = "up"
        self.since_s = 0.0
        self.due_s = NEVER
        self.new = False
        """The client is a new process: it does not wait before it asks."""
        self.doomed = False
        """One of its ends is not the process any more that it was opened by: it dies as soon as it carries again."""


class Connections:
    """All of them. ``lost`` and ``found`` are told (client, brick) at the instant of the change."""

    def __init__(
        self,
        clients: tuple[str, ...],
        bricks: tuple[str, ...],
        lost: Callable[[str, str], None],
        found: Callable[[str, str], None],
    ) -> None:
        self.clients = clients
        self.bricks = bricks
        self.now_s = 0.0
        self.next_s = NEVER
        """When the next change comes by itself."""
        self.off: set[str] = set()
        """Hosts without power."""
        self.frozen: set[str] = set()
        """Hosts that stand still, memory intact."""
        self.cuts: set[tuple[str, str]] = set()
        """(source, target) of every direction that drops all frames."""
        self.dead_bricks: set[str] = set()
        self.dead_clients: set[str] = set()
        self.rejected: set[str] = set()
        """Hosts evicted by ``auth.reject``."""
        self._lost = lost
        self._found = found
        self.of: dict[str, list[Connection]] = {c: [Connection(c, b) for b in bricks] for c in clients}
        self._all = [one for mine in self.of.values() for one in mine]

    def carries(self, one: str, other: str) -> bool:
        """Frames pass in both directions between these two hosts, both living."""
        if one in self.off or other in self.off:
            return False
        if one == other:
            return True
        if one in self.frozen or other in self.frozen:
            return False
        return (one, other) not in self.cuts and (other, one) not in self.cuts

    def willing(self, client: str, brick: str) -> bool:
        """Both processes are there, and the brick takes this client."""
        return client not in self.dead_clients and brick not in self.dead_bricks and client not in self.rejected

    def doom(self, client: str | None = None, brick: str | None = None) -> None:
        """That process ended: its connections in limbo will not be taken up again."""
        for one in self._all:
            if one.client == client or one.brick == brick:
                one.doomed = True
                one.new |= one.client == client

    def up(self, client: str) -> list[str]:
        """The bricks that this host's mount is connected to, without those in limbo."""
        return [one.brick for one in self.of[client] if one.state == "up"]

    def stall_s(self, client: str) -> float:
        """Until when calls of this mount stall if nothing else changes; 0: they do not."""
        return max((one.due_s for one in self.of[client] if one.state == "limbo"), default=0.0)

    def update(self) -> None:
        """Something changed: power, links, processes, rejection."""
        for one in self._all:
            self._update(one)
        self.next_s = min(one.due_s for one in self._all)

    def _update(self, one: Connection) -> None:
        carries, willing = self.carries(one.client, one.brick), self.willing(one.client, one.brick)
        if one.state == "down":
            if not (carries and willing):
                one.due_s = NEVER
            elif one.due_s == NEVER:
                one.due_s = self.now_s + (CONNECT_S if one.new else RECONNECT_S)
            return
        if carries:
            if not willing or one.doomed:
                self._down(one)
            elif one.state == "limbo" and self.now_s - one.since_s <= BLIP_S:
                one.state, one.due_s = "up", NEVER
        elif one.client == one.brick:
            self._down(one)  # both ends lost their power
        elif one.state == "up":
            one.state, one.since_s, one.due_s = "limbo", self.now_s, self.now_s + LOSS_S

    def _down(self, one: Connection) -> None:
        one.state, one.doomed = "down", False
        usable = self.carries(one.client, one.brick) and self.willing(one.client, one.brick)
        one.due_s = self.now_s + RECONNECT_S if usable else NEVER
        self._lost(one.client, one.brick)

    def advance(self, now_s: float) -> bool:
        """Time passes to ``now_s``; answers whether anything changed."""
        changed = False
        while self.next_s <= now_s:
            changed = True
            self.now_s = self.next_s
            for one in self._all:
                if one.due_s > self.now_s:
                    continue
                if one.state == "limbo":
                    self._down(one)
                else:
                    one.state, one.due_s, one.doomed, one.new = "up", NEVER, False, False
                    self._found(one.client, one.brick)
            self.next_s = min(one.due_s for one in self._all)
        self.now_s = now_s
        return changed
