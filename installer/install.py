"""An installation from its answers file to the running engine: ask, judge, plan, run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance import layout
from appliance.effects.clock import Clock
from appliance.errors import Conflict
from appliance.journal import Journal, Log, Progress, Runner
from appliance.model.cluster import Cluster
from installer.answers import Answers
from installer.plan import cluster_of, steps_of
from installer.ports import Agents, InstallingNode, World
from installer.preflight import judge, refusal
from installer.probe import View, look
from installer.steps.step import InstallStep

JOURNAL_NAME = "install.jsonl"
ADMIN_USER = "admin@internal"


@dataclass(frozen=True)
class Prepared:
    """An installation that nothing stands in the way of: what was seen, and what will be done."""

    answers: Answers
    view: View
    cluster: Cluster
    steps: tuple[InstallStep, ...]


@dataclass(frozen=True)
class Installed:
    """What a finished installation hands over."""

    cluster_name: str
    url: str
    user: str
    password_file: str
    ca_file: str
    engine_state: str
    engine_host: str
    engine_epoch: int
    nodes: tuple[str, ...]


def prepare(answers: Answers, installing: InstallingNode, agents_of: Callable[[str], Agents], clock: Clock) -> Prepared:
    """Look at all nodes, judge, plan. Changes nothing. ``agents_of``: cluster id (empty: none yet) → agents.

    Raises ``Refused`` (``install.preflight``, all problems at once) and ``Conflict`` (``install.other-answers``).
    """
    draft = installing.draft()
    view = look(answers, draft, agents_of(draft.id if draft else ""), installing, clock)
    problems = judge(answers, view)
    if problems:
        raise refusal(problems, answers.cluster.name)
    cluster = cluster_of(answers, view, draft, installing)
    return Prepared(answers, view, cluster, steps_of(answers, cluster, view.here))


def execute(
    prepared: Prepared,
    installing: InstallingNode,
    agents: Agents,
    clock: Clock,
    journal: Journal,
    observer: Callable[[Progress], None],
    log: Log,
) -> Installed:
    """Run the steps that are not done yet. May be interrupted anywhere; preparing and executing again goes on."""
    world = World(prepared.answers, prepared.cluster, agents, installing, clock)
    Runner[World](journal, clock, observer, log).run(prepared.steps, world)
    member = prepared.cluster.member(prepared.view.here)
    assert member is not None  # the preflight refuses an installation from elsewhere
    engine = agents.node(member).ha_status().engine
    return Installed(
        cluster_name=prepared.cluster.name,
        url=f"https://{prepared.cluster.engine.fqdn}/",
        user=ADMIN_USER,
        password_file=str(layout.ADMIN_PASSWORD_FILE),
        ca_file=str(layout.PKI / "ca.pem"),
        engine_state=engine.state,
        engine_host=engine.host,
        engine_epoch=engine.epoch,
        nodes=tuple(one.name for one in prepared.cluster.members),
    )


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the one installation of this machine. Raises ``Conflict`` (``install.running``) when another process does."""
    lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                "install.running",
                subject="installation",
                reason="another `trivet install` is running on this node",
                remedy="Wait for it, or end it; both work on the same journal.",
            ) from error
        yield
    finally:
        os.close(descriptor)
