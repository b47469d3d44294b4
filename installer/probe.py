"""Ask all nodes at once what they are. Nothing is changed; whatever a node answers, or fails to, becomes data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from appliance import layout
from appliance.effects.clock import Clock
from appliance.errors import TrivetError, Unavailable
from appliance.model.cluster import Cluster, Member
from appliance.model.node import FolderFacts, NodeFacts
from appliance.tools.addresses import is_address
from appliance.wire.definition import JoinApi, Reached
from installer.answers import Answers, NodeAnswers
from installer.ports import Agents, InstallingNode

S = TypeVar("S")
T = TypeVar("T")
State = Literal["bare", "member", "silent"]

RESUME_WAIT_S = (
    30.0  # because an agent that goes over to mutual TLS restarts, in about two seconds; a loaded one takes longer
)
POLL_S = 1.0  # because nobody waits for a fraction of a second here


@dataclass(frozen=True)
class NodeView:
    """A node as the probe saw it. ``address`` is the resolved IP, empty when the name in the answers does not resolve.

    ``folder`` and ``reaches`` are asked of bare nodes only: a member passed those checks when it was bare, and holds our own
    bricks since. ``reaches``: (name asked for, what came of it). ``skew_s``: its clock minus the installing node's.
    """

    name: str
    address: str
    state: State
    facts: NodeFacts | None = None
    skew_s: float = 0.0
    folder: FolderFacts | None = None
    reaches: tuple[tuple[str, Reached], ...] = ()
    engine_answered: bool = False
    fingerprint: str = ""
    error: TrivetError | None = None


@dataclass(frozen=True)
class View:
    """All that the preflight judges. ``here`` names the node that installs, empty when it is none of them."""

    nodes: tuple[NodeView, ...]
    here: str
    cluster_id: str
    fqdn_resolves_to: str
    engine_image_problem: str


def look(answers: Answers, draft: Cluster | None, agents: Agents, here: InstallingNode, clock: Clock) -> View:
    """Observe every node, in parallel. ``draft`` is the cluster of an interrupted run of the same installation."""
    addresses = {node.name: here.resolve(node.address) for node in answers.nodes}

    def first(node: NodeAnswers) -> NodeView:
        return _meet(node, addresses[node.name], draft, agents, clock)

    met = at_once(first, answers.nodes)

    def second(index: int) -> NodeView:
        return _inspect(answers, answers.nodes[index], met[index], addresses, agents)

    return View(
        nodes=tuple(at_once(second, range(len(met)))),
        here=next((name for name, address in addresses.items() if address and here.has_address(address)), ""),
        cluster_id=draft.id if draft else "",
        fqdn_resolves_to=here.resolve(answers.engine.fqdn),
        engine_image_problem=here.engine_image_problem(),
    )


def at_once(ask: Callable[[S], T], items: Sequence[S]) -> list[T]:
    """``ask`` of every item, side by side; the first error that any raised is raised."""
    with ThreadPoolExecutor(max_workers=max(1, len(items))) as pool:
        return list(pool.map(ask, items))


def _meet(node: NodeAnswers, address: str, draft: Cluster | None, agents: Agents, clock: Clock) -> NodeView:
    """Which state the node is in, and its facts. After an interrupted run its agent may just be restarting as a member's."""
    if not address:
        return NodeView(node.name, "", "silent")
    end_s = clock.monotonic_s() + (RESUME_WAIT_S if draft else 0)
    view = _meet_once(node, address, draft, agents, clock)
    while isinstance(view.error, Unavailable) and clock.monotonic_s() < end_s:
        clock.sleep(POLL_S)
        view = _meet_once(node, address, draft, agents, clock)
    # It may have come back as a member just between the two questions: then the second one was refused.
    return _meet_once(node, address, draft, agents, clock) if draft and view.error else view


def _meet_once(node: NodeAnswers, address: str, draft: Cluster | None, agents: Agents, clock: Clock) -> NodeView:
    """A member of this cluster no longer knows its token, so its certificate is tried first."""
    member = draft.member(node.name) if draft else None
    if member is not None:
        view = _met_member(node, member, agents, clock)
        if view is not None:
            return view
    asked_s = clock.wall_s()
    try:
        hello = agents.bare(node.name, address, node.token).join_hello(token=node.token)
    except TrivetError as error:
        return NodeView(node.name, address, "silent", error=error)
    skew_s = _skew(hello.facts, asked_s, clock.wall_s())
    return NodeView(node.name, address, "bare", hello.facts, skew_s, fingerprint=hello.fingerprint)


def _met_member(node: NodeAnswers, member: Member, agents: Agents, clock: Clock) -> NodeView | None:
    asked_s = clock.wall_s()
    try:
        facts = agents.node(member).facts()
    except TrivetError:
        return None  # still bare, or silent: asking with the token tells which, and its error is the one that helps
    return NodeView(node.name, member.address, "member", facts, _skew(facts, asked_s, clock.wall_s()))


def _skew(facts: NodeFacts, asked_s: float, answered_s: float) -> float:
    return facts.wall_s - (asked_s + answered_s) / 2


def _inspect(answers: Answers, node: NodeAnswers, view: NodeView, addresses: dict[str, str], agents: Agents) -> NodeView:
    if view.state != "bare":
        return view
    api = agents.bare(node.name, view.address, node.token)
    try:
        return replace(view, **_found(answers, node, addresses, api))
    except TrivetError as error:
        return replace(view, state="silent", error=error)


def _found(answers: Answers, node: NodeAnswers, addresses: dict[str, str], api: JoinApi) -> dict[str, Any]:
    others = [other for other in answers.nodes if other.name != node.name and addresses[other.name]]
    reaches = [
        (other.name, api.join_reach(token=node.token, name=addresses[other.name], port=layout.AGENT_PORT))
        for other in others
    ]
    # The installing node resolved them; a name that only some of the nodes resolve is told apart by asking each.
    reaches += [
        (other.address, api.join_reach(token=node.token, name=other.address, port=layout.AGENT_PORT))
        for other in others
        if not is_address(other.address)
    ]
    engine = api.join_reach(token=node.token, name=answers.engine.address, port=layout.ENGINE_PORT)
    return {
        "folder": api.join_folder(token=node.token, path=node.brick_folder) if node.brick_folder else None,
        "reaches": tuple(reaches),
        "engine_answered": engine.answered,
    }
