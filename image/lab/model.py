"""What a lab is: names, numbers and paths, all derived from the lab's name and its network index. Pure."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from appliance import layout
from appliance.errors import Conflict, NotFound, Refused

DEFAULT_LAB: Final = "trivet"
DEFAULT_NODES: Final = 3
MAXIMUM_NODES: Final = 16
"""Because a cluster of this product has 3 to 16 nodes; addresses .10 + i stay below the engine's .100."""
MAXIMUM_LABS: Final = 256
"""Because a lab's index is the third number of 198.18.N.0/24, and only 198.18.0.0/16 is used."""
LONGEST_FAULT_S: Final = 3600.0
"""Because the command waits for the fault's end; whoever wants a longer one ends it with a second command."""

STATE_ROOT: Final = Path("/var/lib/trivet-lab")
RUN_ROOT: Final = Path("/run/trivet-lab")
CGROUP_FOLDER: Final = "trivet-lab"
BRIDGE: Final = "br0"
NODE_NIC: Final = "eth0"
PREFIX_LENGTH: Final = 24

Direction = Literal["in", "out", "both"]
Power = Literal["on", "off", "frozen"]
Traffic = Literal["storage", "management"]
"""Gluster's connections, or everything else. On metal they may have networks of their own; a lab node has one NIC."""

_NAME = re.compile(r"[a-z][a-z0-9]{0,15}")


@dataclass(frozen=True)
class Drop:
    """Frames that the switch throws away: from the port ``source`` to the port ``target``; ``None`` means any. ``only``: of
    this traffic."""

    source: str | None
    target: str | None
    only: Traffic | None = None


@dataclass(frozen=True)
class LabFile:
    """What is wanted of a lab, as ``lab.json`` keeps it. What *is* is read from the kernel.

    ``cut`` names the nodes whose cable is pulled; ``drops`` are partial cuts. Both outlive a power cycle, as on metal.
    ``frozen`` names the nodes that stand still: no process of theirs runs, no frame enters or leaves them.
    """

    name: str
    index: int
    nodes: int
    tree: Path
    forward_port: int
    cut: tuple[str, ...] = ()
    drops: tuple[Drop, ...] = ()
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabNode:
    """One node: everything that is derived from its lab and number."""

    lab: str
    index: int
    number: int

    @property
    def name(self) -> str:
        """What people, Gluster and the switch's port call it."""
        return f"node{self.number}"

    @property
    def address(self) -> str:
        """Its management address."""
        return f"198.18.{self.index}.{10 + self.number}"

    @property
    def namespace(self) -> str:
        """Its network namespace, also the name of the container."""
        return f"{prefix(self.lab)}{self.name}"

    @property
    def folder(self) -> Path:
        """Holds ``upper`` (its system disk), ``work``, ``root`` (mount point), ``data`` (bricks) and ``console.log``."""
        return STATE_ROOT / self.lab / self.name

    @property
    def root(self) -> Path:
        """Where its overlay is mounted."""
        return self.folder / "root"

    @property
    def data(self) -> Path:
        """The real folder behind the node's ``/data``."""
        return self.folder / "data"

    @property
    def console(self) -> Path:
        """What the container wrote to its console."""
        return self.folder / "console.log"

    @property
    def uuid(self) -> str:
        """A number of its own that stays the same when the lab is made anew."""
        return str(uuid.UUID(bytes=hashlib.sha256(self.namespace.encode()).digest()[:16], version=4))

    @property
    def machine_id(self) -> str:
        """For ``/etc/machine-id``."""
        return self.uuid.replace("-", "")

    @property
    def mac(self) -> str:
        """Of its only NIC: locally administered, fixed, so that a power cycle does not look like another machine."""
        return f"02:54:56:{self.index:02x}:00:{self.number:02x}"


def prefix(lab: str) -> str:
    """What every kernel object of the lab starts with. Lab names have no hyphen, so no prefix is another's prefix."""
    return f"trivet-{lab}-"


def switch_namespace(lab: str) -> str:
    """The network namespace with the lab's switch."""
    return f"{prefix(lab)}sw"


def switch_address(index: int) -> str:
    """The switch's own address: where this machine stands in the lab."""
    return f"198.18.{index}.1"


def engine_address(index: int) -> str:
    """Where the lab's engine VM answers."""
    return f"198.18.{index}.100"


ENGINE_FQDN: Final = "engine.trivet.lab"


def check_name(name: str) -> str:
    """``name`` if it can name a lab, else ``Refused`` (``lab.name-invalid``)."""
    if not _NAME.fullmatch(name):
        raise Refused(
            "lab.name-invalid",
            subject=f"lab {name!r}",
            reason="a lab's name is 1 to 16 small letters and digits, beginning with a letter",
            remedy="Choose such a name with --name.",
        )
    return name


def nodes_of(lab: LabFile) -> tuple[LabNode, ...]:
    """The nodes of a lab."""
    return tuple(LabNode(lab.name, lab.index, number) for number in range(1, lab.nodes + 1))


def without(lab: LabFile, name: str) -> LabFile:
    """The lab without its last node, ``name``, and without the faults that touch it."""
    drops = tuple(one for one in lab.drops if name not in (one.source, one.target))
    cut, frozen = (tuple(one for one in names if one != name) for names in (lab.cut, lab.frozen))
    return replace(lab, nodes=lab.nodes - 1, cut=cut, drops=drops, frozen=frozen)


def find_node(lab: LabFile, name: str) -> LabNode:
    """The node called ``name``, else ``NotFound`` (``lab.node-unknown``)."""
    for node in nodes_of(lab):
        if node.name == name:
            return node
    raise NotFound(
        "lab.node-unknown",
        subject=f"node {name}",
        reason=f"lab {lab.name} has no such node; it has {', '.join(node.name for node in nodes_of(lab))}",
        remedy="`trivet lab status` lists the nodes.",
    )


def node_is_off(node: LabNode) -> Conflict:
    """The error of asking a node that is off."""
    return Conflict(
        "lab.node-off",
        subject=f"node {node.name}",
        reason=f"it is off in lab {node.lab}",
        remedy=f"`trivet lab power {node.name} on --name {node.lab}` starts it.",
    )


def not_up(name: str) -> Conflict:
    """The error of using a lab that does not exist."""
    return Conflict(
        "lab.not-up",
        subject=f"lab {name}",
        reason="it is not up",
        remedy=f"`trivet lab up --name {name}` makes it.",
    )


def check_nodes(count: int) -> int:
    """``count`` if a lab can have so many nodes, else ``Refused`` (``lab.nodes-invalid``)."""
    if not 1 <= count <= MAXIMUM_NODES:
        raise Refused(
            "lab.nodes-invalid",
            subject=f"{count} nodes",
            reason=f"a lab has 1 to {MAXIMUM_NODES} nodes",
            remedy="Choose such a number with --nodes.",
        )
    return count


def free_index(name: str, taken: frozenset[int]) -> int:
    """The network index of a new lab: 0 for the default lab, else the lowest free one from 1."""
    wanted = range(MAXIMUM_LABS) if name == DEFAULT_LAB else range(1, MAXIMUM_LABS)
    for index in wanted:
        if index not in taken:
            return index
    raise Refused(
        "lab.too-many",
        subject=f"lab {name}",
        reason=f"all {MAXIMUM_LABS} lab networks are in use",
        remedy="`trivet lab down --name …` removes one.",
    )


def cut_link(lab: LabFile, node: str, to: str | None, direction: Direction, only: Traffic | None = None) -> LabFile:
    """``lab`` with the cable of ``node`` pulled; or only the frames of a direction, a peer or a traffic dropped."""
    if to is None and direction == "both" and only is None:
        return replace(lab, cut=tuple(sorted({*lab.cut, node})))
    return replace(lab, drops=_sorted({*lab.drops, *_drops(node, to, direction, only)}))


def heal_link(lab: LabFile, node: str, to: str | None, direction: Direction, only: Traffic | None = None) -> LabFile:
    """``lab`` without those cuts of ``node``. With none of the three said: without any cut that touches it."""
    if to is None and direction == "both" and only is None:
        return replace(
            lab,
            cut=tuple(name for name in lab.cut if name != node),
            drops=tuple(drop for drop in lab.drops if node not in (drop.source, drop.target)),
        )
    return replace(lab, drops=_sorted({*lab.drops} - _drops(node, to, direction, only)))


def _drops(node: str, to: str | None, direction: Direction, only: Traffic | None) -> set[Drop]:
    out, into = Drop(node, to, only), Drop(to, node, only)
    return {"out": {out}, "in": {into}, "both": {out, into}}[direction]


def _sorted(drops: set[Drop]) -> tuple[Drop, ...]:
    return tuple(sorted(drops, key=lambda drop: (drop.source or "", drop.target or "", drop.only or "")))


def freeze(lab: LabFile, node: str) -> LabFile:
    """``lab`` with ``node`` standing still."""
    return replace(lab, frozen=tuple(sorted({*lab.frozen, node})))


def thaw(lab: LabFile, node: str) -> LabFile:
    """``lab`` with ``node`` going on (or off: what is off does not stand still)."""
    return replace(lab, frozen=tuple(name for name in lab.frozen if name != node))


def node_is_frozen(node: LabNode) -> Conflict:
    """The error of asking a node that stands still."""
    return Conflict(
        "lab.node-frozen",
        subject=f"node {node.name}",
        reason=f"it is frozen in lab {node.lab}: no process of it runs",
        remedy=f"`trivet lab power {node.name} thaw --name {node.lab}` lets it go on.",
    )


def check_duration(seconds: float) -> float:
    """``seconds`` if a fault may last so long, else ``Refused`` (``lab.duration-invalid``)."""
    if not 0 < seconds <= LONGEST_FAULT_S:
        raise Refused(
            "lab.duration-invalid",
            subject=f"{seconds:g} s",
            reason=f"a fault that ends by itself lasts more than 0 and at most {LONGEST_FAULT_S:g} s",
            remedy="Choose such a number with --for, or end the fault yourself.",
        )
    return seconds


def default_port() -> int:
    """The port of this machine on which the engine is reached."""
    return layout.ENGINE_FORWARD_PORT
