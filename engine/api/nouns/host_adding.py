"""Hosts that come and go: a node is looked at before anything is ordered, so that what cannot be is refused at the door.

What a client sends as proof: ``root_password`` carries the node's one-time join token, because v4's clients have a field
for a
secret that only who stands before the server knows, and the node shows no other; ``ssh.fingerprint`` pins its certificate
when
the token does not. Refused with the reason: public keys (they prove who *we* are, which the node learns by its certificate).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from appliance.errors import Conflict, TrivetError, Unavailable
from appliance.version import VERSION
from appliance.wire.definition import JoinHello
from engine.api import work
from engine.api.documents import Object
from engine.api.noun import Call, Done, Made
from engine.core import Engine
from engine.decide.host_join import Problem, accelerated, token_of, unfit, unfit_name, unsaid
from engine.jobs.enrol import TOKEN
from engine.jobs.host_install import AddHost, HostAdd, HostInstall, InstallHost
from engine.jobs.host_remove import LOOK, HostRemove, removal_of

if TYPE_CHECKING:
    from engine.api.nouns.hosts import Hosts

KEPT = (
    "comment", "description", "display", "external_status", "override_iptables", "power_management", "vgpu_placement",
)  # fmt: skip
"""What is kept of a new host's body, besides its name and where it is."""
SAID: Mapping[str, tuple[str, str]] = {
    "agent.unreachable": ("host.unreachable", "it does not answer: {reason}"),
    "join.token-wrong": ("host.token-wrong", "root_password is not the join token that it shows"),
    "join.token-used": ("host.token-used", "its token was used already; each opens it once"),
    "join.fingerprint": (
        "host.fingerprint",
        "the node at that address has another certificate than the token says: {reason}",
    ),
}
"""What a node says at its door → what the caller is told. Nobody's session is wrong here, so none of it is a 401 or 403."""


def add(noun: Hosts, call: Call, given: dict[str, Any]) -> Made:
    """Answered when the node was looked at and its installation is ordered; the host is ``installing`` then."""
    engine, name = call.engine, str(given["name"])
    token = _token(given, name)
    address = _resolved(engine, name, str(given["address"]))
    cluster_id = str((given.get("cluster") or {}).get("id") or engine.founded.id)
    wanted = AddHost(str(uuid.uuid4()), name, address, cluster_id, {})
    HostAdd().check(noun.entities(call), wanted)
    found = _looked_at(engine, name, address, token)
    wanted = AddHost(wanted.host_id, name, address, cluster_id, _kept(given, found.fingerprint))
    with engine.store.connection.transaction():
        job = engine.desk.order(HostAdd, wanted, owner_id=call.account.id, correlation_id=call.correlation_id)
        host = noun.entities(call).change("host", wanted.host_id, lambda one: one.with_body(**{TOKEN: token}))
    return Made(noun.show(call, host), job.id)


def install(noun: Hosts, call: Call, identifier: str, given: Object) -> Done:
    """Once more, with a new token if it is no member yet (``root_password``)."""
    wanted = InstallHost(identifier, given.get("activate") is not False)
    host = noun.entities(call).need("host", identifier)
    token = _token(given, host.name) if given.get("root_password") else ""
    with call.engine.store.connection.transaction():
        job = call.engine.desk.order(HostInstall, wanted, owner_id=call.account.id, correlation_id=call.correlation_id)
        if token:
            noun.entities(call).change("host", identifier, lambda one: one.with_body(**{TOKEN: token}))
    return work.told(job)


def remove(noun: Hosts, call: Call, identifier: str, given: Object) -> Done:
    """Answered when it is certain that it can go. ``force``: although it does not answer."""
    host = noun.mine(call, identifier)
    force = bool(call.parameters.flag("force")) or bool(given.get("force"))
    return work.told(work.accepted(call, HostRemove, removal_of(call.engine.founded, host, force), LOOK))


def _token(given: Mapping[str, Any], name: str) -> str:
    token = token_of(str(given.get("root_password") or ""), str((given.get("ssh") or {}).get("fingerprint") or ""))
    _refuse(name, unsaid(token))
    return token


def _resolved(engine: Engine, name: str, wanted: str) -> str:
    address = engine.resolve(wanted)
    if not address:
        why = f"its address {wanted[:200]!r} is none, and no name that the engine's name service knows"
        _refuse(name, Problem("host.address", why, "Give an IP address."))
    _refuse(name, unfit_name(name, address, engine.cluster))
    return address


def _looked_at(engine: Engine, name: str, address: str, token: str) -> JoinHello:
    """What the node says of itself, if nothing of it is in the way."""
    began_s = engine.clock.wall_s()
    try:
        found = engine.bare(address, token).join_hello(token)
    except TrivetError as error:
        raise _said(engine, name, address, error) from error
    skew_s = found.facts.wall_s - (began_s + engine.clock.wall_s()) / 2
    view = engine.view()
    known = {one.member.name: one.facts for one in view.hosts}
    problems = list(unfit(found.facts, address, view.cluster, VERSION, skew_s, accelerated(known)))
    if problems:
        raise _refusal(name, problems)
    return found


def _said(engine: Engine, name: str, address: str, error: TrivetError) -> TrivetError:
    """A node's refusal, in the words of who wants to add it. A member's certificate is another than the bare node's was: so
    whoever is not who the token says is asked whether it is a member, without a secret."""
    told = _membership(engine, address, error)
    if told is not None:
        return told
    code, why = SAID.get(error.code, (f"host.{error.code.replace('.', '-')}", "{reason}"))
    kind = Unavailable if isinstance(error, Unavailable) else Conflict
    reason = f"Cannot add Host. {why.format(reason=error.reason)}"
    return kind(code, subject=f"host {name}", reason=reason, remedy=error.remedy, facts=error.facts)


def _membership(engine: Engine, address: str, error: TrivetError) -> Conflict | None:
    """That it is a member, if it is one."""
    cluster_id = error.facts.get("cluster_id")
    if error.code == "join.fingerprint":
        try:
            engine.bare(address, "").join_hello("")
        except TrivetError as second:
            cluster_id = second.facts.get("cluster_id")
    if not cluster_id:
        return None
    is_ours = cluster_id == engine.founded.id
    whose = "this cluster already, or was when it was removed" if is_ours else f"another cluster ({cluster_id})"
    return Conflict(
        "host.member",
        subject=f"host at {address}",
        reason=f"Cannot add Host. It is a member of {whose}",
        remedy="Run `trivet node leave` on it: then it is bare, and shows a new token.",
        facts={"cluster_id": cluster_id},
    )


def _kept(given: Mapping[str, Any], fingerprint: str) -> dict[str, Any]:
    port = (given.get("ssh") or {}).get("port") or 22
    kept = {name: given[name] for name in KEPT if given.get(name) is not None}
    if (given.get("spm") or {}).get("priority") is not None:
        kept["spm"] = {"priority": given["spm"]["priority"]}
    return {**kept, "ssh": {"port": port, "fingerprint": fingerprint}}


def _refuse(name: str, problem: Problem | None) -> None:
    if problem is not None:
        raise _refusal(name, [problem])


def _refusal(name: str, problems: list[Problem]) -> Conflict:
    reason = "; ".join(one.reason for one in problems)
    remedy = " ".join(one.remedy for one in problems)
    facts = {"problems": [vars(one) for one in problems]}
    return Conflict(
        problems[0].code, subject=f"host {name}", reason=f"Cannot add Host. {reason}", remedy=remedy, facts=facts
    )
