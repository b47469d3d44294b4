"""A fault, what has to come of it, and when each thing happened: for the tests of the fault table and for `make bench`.

:func:`play` brings the cluster into its known good state, injects the fault, waits for the outcome, mends, and checks what
holds after every fault: at most one start, a higher epoch with each start, the database's last row kept, no QEMU of the
engine on two hosts in the end. All times are of this machine's one clock, which is every node's.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from image.lab import disturb, model, observe
from image.lab.operations import Lab
from tests.lab.cluster import Cluster, ssh_into_engine, wait
from tests.lab.good_state import good_state

Outcome = Literal["nothing", "in place", "elsewhere", "anywhere", "moved or restarted", "held", "at most one"]
WATCHED = ("nothing", "held", "at most one")
"""Outcomes for which there is nothing to wait for: the cluster is watched for a while."""

OLD_QEMU_GONE_S = 15.0
"""S3 gives 10 s from the moment the node's broker runs; looking at it through the lab takes the rest."""
WORD_S = 1.0
"""Our word reaches an emulated guest's shell within it; a connection that ends sooner could take it along."""
START_S = 90.0
API_S = 240.0


@dataclass(frozen=True)
class Line:
    """Something that a node's broker wrote down."""

    at_s: float
    node: str
    kind: str
    sentence: str


@dataclass
class Timeline:
    """What happened when, in seconds after the fault. None: it did not happen.

    ``seen_s`` the first line of any broker about it · ``begun_s`` the (last first) start command · ``api_s`` the engine
    answers with the new epoch · ``silent_s`` for how long it had not answered in all · ``extra`` of single rows.
    """

    row: str
    fault_wall_s: float
    seen_s: float | None = None
    begun_s: float | None = None
    api_s: float | None = None
    silent_s: float = 0.0
    started_on: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    extra: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Scene:
    """The cluster just before a fault: ``host`` (A) runs the engine VM, ``others`` (B, C) stand by."""

    cluster: Cluster
    host: str
    others: tuple[str, ...]
    epoch: int
    long: bool
    at_s: float = 0.0

    def __post_init__(self) -> None:
        self.lab = Lab(self.cluster.name, SystemProcesses(), SystemClock())

    def now(self) -> None:
        """The fault happens at this moment (the last call counts)."""
        self.at_s = time.time()

    def power(self, node: str, wanted: str) -> None:
        self.now()
        self.lab.power(node, wanted, lambda _percent, _text: None)

    def freeze(self, node: str) -> None:
        self.now()
        disturb.freeze(self.lab, node)

    def thaw(self, node: str) -> None:
        disturb.thaw(self.lab, node)

    def cut(
        self, node: str, to: str | None = None, direction: model.Direction = "both", only: model.Traffic | None = None
    ) -> None:
        self.now()
        disturb.link(self.lab, node, "cut", to, direction, only)

    def heal(self, node: str) -> None:
        disturb.link(self.lab, node, "heal", None, "both")

    def guest(self, script: str, before: str = "true") -> None:
        """Run ``script`` in the engine VM, once ``before`` is done there; the fault happens now. Does not wait for its end.

        The guest waits for our word: what it says itself right before its kernel dies may never leave it.
        """
        ssh = ssh_into_engine(self.cluster.name, model.engine_address(self.lab.wanted().index))
        whole = f"{before} && echo ready && read -r word && {script}"
        with subprocess.Popen([*ssh, whole], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdin is not None and running.stdout is not None
            try:
                said = running.stdout.readline().strip()
                assert said == "ready", f"the engine VM said {said!r}"
                running.stdin.write("go\n")
                running.stdin.flush()
                self.now()
                time.sleep(WORD_S)
            finally:
                running.kill()  # ssh waits for a guest that may answer no more

    def qemus(self, node: str) -> list[int]:
        """The QEMUs of a node, running or standing still, by their process ids on this machine."""
        pids = programs(self.lab.node(node), "qemu-system-x86")
        return [pid for pid in pids if "guest=HostedEngine," in arguments(pid)]

    def bricks(self, node: str, volume: str = "engine") -> list[int]:
        """The node's brick processes of ``volume``."""
        pids = programs(self.lab.node(node), "glusterfsd")
        return [pid for pid in pids if f"--volfile-id {volume}." in arguments(pid).replace("\0", " ")]

    def lines(self) -> list[Line]:
        """What all brokers have written down since the fault, in order."""
        found = [
            Line(round(event["wall_s"] - self.at_s, 3), node, event["kind"], event["sentence"])
            for node in self.cluster.nodes
            for event in self.cluster.events(node, self.at_s)
        ]
        return sorted(found, key=lambda line: line.at_s)

    def starts(self, kind: str = "start-done") -> list[Line]:
        return [line for line in self.lines() if line.kind == kind]

    def wait_said(self, pattern: str, within_s: float) -> Line:
        """The first line since the fault that matches ``pattern``."""

        def probe() -> Line | None:
            return next((line for line in self.lines() if re.search(pattern, line.sentence)), None)

        return wait(f"a broker says /{pattern}/", within_s, probe)


def arguments(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def programs(node: model.LabNode, name: str) -> list[int]:
    """The processes of a node whose program is called ``name``, read from outside: also while it is frozen."""
    found = []
    for pid in observe.pids_in(observe.node_cgroup(node)):
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() == name[:15]:
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@dataclass(frozen=True)
class Fault:
    """A row of the fault table. ``number`` is the table's; ``inject`` calls :meth:`Scene.now` or something that does.

    ``outcome``: "nothing", "held" (no start before the mending, one behind it), "at most one" (all three watched for
    ``watch_s``), or one start and where; "moved or restarted": where it can be reached again. ``sentence``: what a broker
    has to say about it. ``verify`` runs before the mending, ``after`` behind it; ``set_up`` and ``take_down`` around all.
    """

    number: str
    what: str
    inject: Callable[[Scene], None]
    outcome: Outcome
    sentence: str = ""
    watch_s: float = 0.0
    set_up: Callable[[Cluster], None] = lambda _cluster: None
    take_down: Callable[[Cluster], None] = lambda _cluster: None
    verify: Callable[[Scene, Timeline], None] = lambda _scene, _line: None
    mend: Callable[[Scene], None] = lambda _scene: None
    after: Callable[[Scene, Timeline], None] = lambda _scene, _line: None
    start_bar_s: float | None = None
    api_bar_s: float | None = None


class Watch:
    """Asks the engine every 100 ms from inside the lab's network, as `poller.py` says."""

    def __init__(self, cluster: Cluster) -> None:
        lab = model.switch_namespace(cluster.name)
        index = Lab(cluster.name, SystemProcesses(), SystemClock()).wanted().index
        poller = [sys.executable, "-I", str(Path(__file__).with_name("poller.py"))]
        target = [model.engine_address(index), cluster.ca_file, model.ENGINE_FQDN]
        self.answers: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", lab, *poller, *target], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.answers.append(json.loads(line))

    def up_above(self, epoch: int, since_s: float) -> float | None:
        """Wall time at which an engine with a higher epoch was first asked with success."""
        for answer in list(self.answers):
            if answer["up"] and answer["epoch"] > epoch and answer["wall_s"] >= since_s:
                return float(answer["wall_s"] + answer["took_s"])
        return None

    def silent_s(self, since_s: float) -> float:
        """For how long nobody answered, in all."""
        asked = [answer for answer in list(self.answers) if answer["wall_s"] >= since_s]
        gaps = [b["wall_s"] - a["wall_s"] for a, b in pairwise(asked) if not a["up"]]
        return round(float(sum(gaps)), 2)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(5)


def play(cluster: Cluster, fault: Fault, long: bool = False) -> Timeline:
    """Play one fault from the good state to its mended end; fails where the outcome is not the right one.

    ``long``: spans as the fault table says them, where a test takes shorter ones.
    """
    try:
        fault.set_up(cluster)
        status = good_state(cluster)
        host = str(status["engine"]["host"])
        others = tuple(node for node in cluster.nodes if node != host)
        return _play(Scene(cluster, host, others, int(status["engine"]["epoch"]), long), fault)
    finally:
        fault.take_down(cluster)


def _play(scene: Scene, fault: Fault) -> Timeline:
    cluster = scene.cluster
    row = f"before fault {fault.number} {uuid4()}"
    cluster.write_row(row)
    watch = Watch(cluster)
    timeline = Timeline(fault.number, time.time())
    try:
        try:
            fault.inject(scene)
            timeline.fault_wall_s = scene.at_s
            if fault.outcome in WATCHED:
                time.sleep(fault.watch_s)
            else:
                _await_start(scene, fault, watch, timeline)
            if fault.sentence:
                scene.wait_said(fault.sentence, 20)
            fault.verify(scene, timeline)
            assert fault.outcome != "held" or scene.starts("start-begun") == [], "nothing may be started yet"
        finally:
            mended_s = time.time()
            fault.mend(scene)
        if fault.outcome == "held":
            _await_start(scene, fault, watch, timeline)
            timeline.extra["mended_s"] = round(mended_s - scene.at_s, 2)
        fault.after(scene, timeline)
        _check(scene, fault, timeline, row)
    finally:
        timeline.lines = scene.lines() if scene.at_s else []
        timeline.silent_s = watch.silent_s(scene.at_s)
        watch.end()
        _show(scene, fault, timeline)
    return timeline


def _await_start(scene: Scene, fault: Fault, watch: Watch, timeline: Timeline) -> None:
    if fault.outcome != "moved or restarted":
        within_s = max(START_S, fault.start_bar_s or 0)
        begun = wait(f"a start after {fault.what}", within_s, lambda: next(iter(scene.starts("start-begun")), None))
        timeline.begun_s = begun.at_s

    def answered() -> float | None:
        if fault.outcome != "moved or restarted":
            return watch.up_above(scene.epoch, scene.at_s)
        moved = any(line.kind in ("move-done", "start-done") for line in scene.lines())
        return watch.up_above(scene.epoch - 1, scene.at_s) if moved else None

    up_s = wait(f"the engine up after {fault.what}", API_S, answered)
    timeline.api_s = round(up_s - scene.at_s, 3)


def _check(scene: Scene, fault: Fault, timeline: Timeline, row: str) -> None:
    cluster = scene.cluster
    lines = scene.lines()
    timeline.seen_s = min((line.at_s for line in lines), default=None)
    timeline.started_on = [line.node for line in lines if line.kind == "start-done"]
    health = cluster.wait_health(API_S)
    if fault.outcome == "at most one":
        assert len(timeline.started_on) <= 1, f"at most one start, not {timeline.started_on}"
    elif fault.outcome == "nothing":
        assert timeline.started_on == [], f"nothing may be started: {timeline.started_on}"
        assert health["epoch"] == scene.epoch, "the engine VM must be the one from before"
    elif fault.outcome != "moved or restarted" or timeline.started_on:
        assert len(timeline.started_on) == 1, f"one start, not {timeline.started_on}"
        wanted = {"in place": (scene.host,), "elsewhere": scene.others}.get(fault.outcome, cluster.nodes)
        assert timeline.started_on[0] in wanted, f"started on {timeline.started_on[0]}, expected one of {wanted}"
        assert health["epoch"] > scene.epoch
    assert cluster.has_row(row), "the database lost a row that was written before the fault"
    wait("one QEMU of the engine in the whole cluster", OLD_QEMU_GONE_S, lambda: _one_qemu(scene))
    for bar_s, took_s, what in ((fault.start_bar_s, timeline.begun_s, "start"), (fault.api_bar_s, timeline.api_s, "API")):
        assert bar_s is None or (took_s is not None and took_s <= bar_s), f"{what} after {took_s} s, bar {bar_s} s"


def _one_qemu(scene: Scene) -> bool | None:
    return sum(len(scene.qemus(node)) for node in scene.cluster.nodes) == 1 or None


def _show(scene: Scene, fault: Fault, timeline: Timeline) -> None:
    print(f"row {fault.number}, {fault.what}: engine on {scene.host}, epoch {scene.epoch}; {timeline.extra or ''}")
    print(f"  seen {timeline.seen_s}, start {timeline.begun_s} on {timeline.started_on}, API {timeline.api_s}")
    print(f"  no answer for {timeline.silent_s} s")
    for line in timeline.lines:
        print(f"  {line.at_s:7.2f}  {line.node}  {line.kind}: {line.sentence}")
