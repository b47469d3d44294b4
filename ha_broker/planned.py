"""Taking a node out of service and back: looks, waits, moves, and undoes what it did when it is broken off.

Runs on whichever node the command was given, over the agents. Nothing is kept but the node's own setting, so the same
command given again goes on where the first one stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from appliance import layout
from appliance.effects.clock import Clock
from appliance.errors import Conflict, Failed, TrivetError, Unavailable
from appliance.model.vm import VmState
from ha_broker.maintenance import Objection, View, objections, place

POLL_S: Final = 1.0
"""A look at the whole cluster costs each agent some milliseconds, and Gluster's processes 0.1 s."""
WHOLE_DEADLINE_S: Final = 600.0
"""How long is waited for healing and refresh: the engine disk of 4 GiB was healed in 30 s on an idle machine and in 170 s on
an overloaded one, and a refresh follows; more than ten minutes is a matter for a person."""
HAND_OVER_FIRST_S: Final = 12.0
"""The broker of the node hands the engine VM over by itself, seconds after it reads the setting. Later than this it cannot,
and the agent is asked to move the VM."""
HAND_OVER_DEADLINE_S: Final = 120.0
"""From the setting until the engine VM has left: one migration (1.3 to 9 s seen), one failure and another try."""
SETTING_DEADLINE_S: Final = 30.0
"""Until the setting is on the board: outlasts three stalls of the volume."""

Say = Callable[[float, str], None]
"""Percent and text."""


class Nodes(Protocol):
    """The members, through their agents. Raises :class:`TrivetError` of the agent asked."""

    def view(self) -> View:
        """Everything, asked in parallel."""

    def vms(self, node: str) -> tuple[VmState, ...]: ...

    def set_local_maintenance(self, node: str, on: bool) -> None: ...

    def in_local_maintenance(self, node: str) -> bool: ...

    def told(self, node: str) -> bool:
        """Whether the board says that ``node`` is in local maintenance."""

    def migrate(self, node: str, vm: str, target: str) -> None: ...

    def destroy(self, node: str, vm: str) -> None: ...

    def heal(self) -> None:
        """Let the self-heal daemons look now."""


@dataclass(frozen=True)
class Outcome:
    """``moved``: VM → the host that runs it now (the engine VM included)."""

    node: str
    maintenance: bool
    moved: dict[str, str]
    took_s: float
    waited_s: float


class Planned:
    """``trivet node maintenance``. ``engine_memory_mib``: what the engine VM takes on the host it moves to."""

    def __init__(self, nodes: Nodes, clock: Clock, say: Say, log: Callable[[str], None], engine_memory_mib: int) -> None:
        self._nodes = nodes
        self._clock = clock
        self._say = say
        self._log = log
        self._engine_memory_mib = engine_memory_mib

    def on(self, node: str, force: bool) -> Outcome:
        """Take ``node`` out. Raises ``Conflict`` (``node.maintenance-refused``), ``Unavailable``
        (``node.maintenance-deadline``), ``Failed`` (``node.hand-over``), and what an agent says."""
        began_s = self._clock.monotonic_s()
        self._say(0, f"looking whether {node} may be taken out of service")
        view = self._whole(node, force)
        waited_s = self._clock.monotonic_s() - began_s
        placement = place(view, node, self._engine_memory_mib)
        if placement.left:
            text = "; ".join(f"VM {vm.name} fits nowhere ({why})" for vm, why in placement.left)
            raise _refused(node, text, "Shut these VMs down, or make room on another host.")
        kept = self._nodes.in_local_maintenance(node)
        self._nodes.set_local_maintenance(node, True)
        moved: dict[str, str] = {}
        try:
            self._say(30, f"{node} is in local maintenance")
            self._nodes.destroy(node, layout.STANDBY_VM_NAME)  # its memory is saved after the work
            if view.engine_host == node:
                moved[layout.ENGINE_VM_NAME] = self._hand_over(node)
            for number, move in enumerate(placement.moves):
                self._say(60 + 35 * number / len(placement.moves), f"VM {move.vm.name} moves to {move.target}")
                self._nodes.migrate(node, move.vm.name, move.target)
                moved[move.vm.name] = move.target
            self._until_told(node, True)
        except BaseException:  # Ctrl-C as well: half a maintenance is none
            if not kept:
                self._nodes.set_local_maintenance(node, False)
                self._log(f"{node} is in service again; what was moved ({', '.join(moved) or 'nothing'}) stays where it is")
            raise
        took_s = self._clock.monotonic_s() - began_s
        self._say(100, f"{node} may be worked on")
        return Outcome(node, True, moved, took_s, waited_s)

    def off(self, node: str) -> Outcome:
        """Take ``node`` back into service."""
        began_s = self._clock.monotonic_s()
        self._nodes.set_local_maintenance(node, False)
        self._say(50, f"the setting is off, waiting for the broker of {node}")
        self._until_told(node, False)
        self._say(100, f"{node} is in service")
        return Outcome(node, False, {}, self._clock.monotonic_s() - began_s, 0.0)

    def _whole(self, node: str, force: bool) -> View:
        """Wait until nothing stands against it. The view in which that is so."""
        began_s = self._clock.monotonic_s()
        until_s = began_s + WHOLE_DEADLINE_S
        said: tuple[Objection, ...] = ()
        while True:
            view = self._nodes.view()
            mine = view.host(node)
            if not mine.answers:
                raise _refused(node, f"it does not answer: {mine.reason}", "Maintenance is set on a node that runs.")
            against = objections(view, node)
            if not against:
                return view
            if force:
                for one in against:
                    self._log(f"passed over by --force: {one.sentence}")
                return view
            lasting = [one.sentence for one in against if not one.passes]
            if lasting:
                raise _refused(node, "; ".join(lasting), "`--force` takes the node out all the same.")
            if self._clock.monotonic_s() >= until_s:
                raise _too_late(node, against)
            if against != said:
                if not said:
                    self._nodes.heal()
                share = (self._clock.monotonic_s() - began_s) / WHOLE_DEADLINE_S
                self._say(25.0 * share, f"waiting for {len(against)} thing{'s' if len(against) > 1 else ''}")
                for one in against:
                    self._log(f"waiting: {one.sentence}")
                said = against
            self._clock.sleep(POLL_S)

    def _hand_over(self, node: str) -> str:
        """Wait until the engine VM has left; the host that runs it then."""
        began_s = self._clock.monotonic_s()
        asked, seen = False, ""
        while True:
            for_s = self._clock.monotonic_s() - began_s
            here = [vm for vm in self._nodes.vms(node) if vm.name == layout.ENGINE_VM_NAME]
            if not here:
                return self._new_home(node, began_s)
            if for_s >= HAND_OVER_DEADLINE_S:
                raise _stuck(node, f"it is still on {node} after {HAND_OVER_DEADLINE_S:g} s ({here[0].power})")
            if not asked and for_s >= HAND_OVER_FIRST_S and here[0].power == "running":
                asked = True
                self._move_engine(node)
            if here[0].power != seen:
                seen = here[0].power
                self._say(30 + 30 * for_s / HAND_OVER_DEADLINE_S, f"the engine VM leaves {node} ({seen})")
            self._clock.sleep(POLL_S / 2)

    def _move_engine(self, node: str) -> None:
        targets = [host for host in self._nodes.view().hosts if host.name != node and host.eligible]
        if not targets:
            raise _stuck(node, "no other host can run it")
        target = max(targets, key=lambda host: (host.score, host.name)).name
        self._log(
            f"the broker of {node} has not begun to hand the engine VM over: its agent is asked to move it to {target}"
        )
        self._nodes.migrate(node, layout.ENGINE_VM_NAME, target)

    def _new_home(self, node: str, began_s: float) -> str:
        while True:
            home = self._nodes.view().engine_host
            if home and home != node:
                self._say(60, f"the engine VM runs on {home}")
                return home
            if self._clock.monotonic_s() - began_s >= HAND_OVER_DEADLINE_S:
                raise _stuck(node, f"it has left {node}, and no host says that it runs there")
            self._clock.sleep(POLL_S)

    def _until_told(self, node: str, wanted: bool) -> None:
        until_s = self._clock.monotonic_s() + SETTING_DEADLINE_S
        while self._nodes.told(node) is not wanted:
            if self._clock.monotonic_s() >= until_s:
                raise Unavailable(
                    "ha.maintenance-deadline",
                    subject=f"maintenance of {node}",
                    reason=f"its broker did not put the setting on the board within {SETTING_DEADLINE_S:g} s",
                    remedy=f"`systemctl status trivet-ha` on {node}; then give the command again.",
                )
            self._clock.sleep(POLL_S)


def _refused(node: str, reason: str, remedy: str) -> TrivetError:
    return Conflict("node.maintenance-refused", subject=f"maintenance of {node}", reason=reason, remedy=remedy)


def _too_late(node: str, against: tuple[Objection, ...]) -> TrivetError:
    return Unavailable(
        "node.maintenance-deadline",
        subject=f"maintenance of {node}",
        reason=f"after {WHOLE_DEADLINE_S:g} s it still holds: {'; '.join(one.sentence for one in against)}",
        remedy="`trivet gluster status` and `trivet ha status` say how it goes on; give the command again.",
    )


def _stuck(node: str, reason: str) -> TrivetError:
    return Failed(
        "node.hand-over",
        subject=f"the engine VM on {node}",
        reason=reason,
        remedy="`trivet ha status` says what the brokers make of it.",
    )
