"""A whole cluster on one machine: ``trivet run`` makes it, ``trivet status`` shows it, ``trivet stop`` leaves nothing of it.

Nothing here is special to the showroom but the nodes: they are lab nodes made from the real image, installed by the real
``trivet install`` from an answers file, as three servers would be.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance import layout
from appliance.codec import decode
from appliance.effects.clock import Clock
from appliance.effects.files import PRIVATE, PUBLIC, write_atomically
from appliance.effects.process import SystemProcesses
from appliance.errors import EXIT_REFUSED, Conflict, Failed, Refused, TrivetError, Unavailable
from appliance.ports import Processes
from image.lab import model, observe
from image.lab.operations import Lab
from image.lab.preflight import port_problem, port_user, refuse
from installer.answers import Answers, ClusterAnswers, EngineAnswers, NodeAnswers, render
from installer.here import health

CHECKOUT = Path(__file__).resolve().parent.parent
RUN_FOLDER = CHECKOUT / "build" / "run"
ANSWERS_ON_NODE = "/root/trivet-answers.toml"
FINISHED_ON_NODE = str(layout.STATE / "install" / "answers.toml")
"""What the installer writes last."""
BRICK_FOLDER = "/data/bricks"
"""On the real file system that a lab node has at /data."""
DATA_DISK_GIB = 1
"""A database of a try needs megabytes, three copies of it lie on one disk, and a heal reads all of it on every node."""

TOKEN_WAIT_S = 120.0  # because an agent makes its token at its first start, some seconds after the node's system is up
ASK_TIMEOUT_S = 30.0  # because a command in a busy emulated node was seen to take several seconds
INSTALL_TIMEOUT_S = 1200.0  # because an installation takes a few minutes on two cores; then something hangs
HEALTH_WAIT_S = 420.0  # because after powering all nodes on, quorum, broker, and an emulated boot follow one another
POLL_S = 1.0  # because a person watches

Say = Callable[[float, str], None]


@dataclass(frozen=True)
class TokenAnswer:
    """What ``trivet node token --json`` prints."""

    token: str


class Showroom:
    """The cluster in the lab ``name``."""

    def __init__(self, name: str, processes: SystemProcesses, clock: Clock) -> None:
        self.lab = Lab(name, processes, clock)
        self.name = name
        self._processes: Processes = processes
        self._clock = clock
        self.folder = RUN_FOLDER / name
        self.ca_file = self.folder / "ca.pem"
        self.password_file = self.folder / "admin-password"

    # --- run ---

    def run(
        self, nodes: int, tree: Path, port: int | None, say: Say, log: Callable[[str], None], ssh_keys: Sequence[str] = ()
    ) -> None:
        """From whatever state to a cluster whose engine answers on this machine's loopback.

        ``ssh_keys``: public keys for root of the nodes and of the engine VM, where they are made by this run.
        """
        say(10, "bringing the nodes up")
        self.lab.up(
            nodes=nodes, tree=lambda: tree, port=port, ssh_keys=ssh_keys, say=lambda part, text: say(10 + part * 0.15, text)
        )
        first = model.nodes_of(self.lab.wanted())[0].name
        if not self._there(first, FINISHED_ON_NODE):
            self._install(first, say, log, ssh_keys)
        self._take(first, str(layout.PKI / "ca.pem"), self.ca_file, PUBLIC)
        self._take(first, str(layout.ADMIN_PASSWORD_FILE), self.password_file, PRIVATE)
        say(90, "opening the way to the engine")
        self._forward()
        say(92, "waiting for the engine to answer")
        self._wait_health(log)

    @property
    def is_up(self) -> bool:
        """Does the lab exist, with whatever power?"""
        return self.lab.file.exists()

    def check_port(self, port: int) -> None:
        """Before anything is built: can the engine be reached at ``port`` of the loopback?

        Raises ``Refused`` (``lab.port-taken``), or ``Conflict`` (``run.no-port``) for a lab that was made without one.
        """
        if not self.is_up:
            user = port_user(self._processes, port)
            if user is not None:
                raise refuse((port_problem(port, user),))
        elif not self.lab.wanted().forward_port:
            raise Conflict(
                "run.no-port",
                subject=f"lab {self.name}",
                reason="it was made with --port 0, so its engine cannot be reached from this machine",
                remedy=f"`trivet stop --name {self.name}`, or choose another --name.",
            )

    def _install(self, first: str, say: Say, log: Callable[[str], None], ssh_keys: Sequence[str]) -> None:
        # Tokens are used up as the nodes join: an answers file that an interrupted run left is the only one with them.
        if not self._there(first, ANSWERS_ON_NODE):
            say(25, "reading the nodes' join tokens")
            text = render(self._answers(ssh_keys), tokens=True)
            write = f"umask 077; cat > {ANSWERS_ON_NODE}.new && mv {ANSWERS_ON_NODE}.new {ANSWERS_ON_NODE}"
            self._on(first, ["sh", "-c", write], text)
        say(27, f"installing the cluster from {first}")
        node, pid = self.lab.running(first)
        argv = self.lab.enter(node, pid, ["trivet", "install", "--json", "--answers", ANSWERS_ON_NODE])
        spoken = Spoken(lambda percent, text: say(27 + percent * 0.62, text), log)
        try:
            self._processes.stream(argv, timeout_s=INSTALL_TIMEOUT_S, line=spoken.line)
        except Failed as failed:
            raise spoken.error(failed.facts.get("status")) or failed from failed
        self._on(first, ["rm", "-f", ANSWERS_ON_NODE])

    def _answers(self, ssh_keys: Sequence[str]) -> Answers:
        lab = self.lab.wanted()
        return Answers(
            cluster=ClusterAnswers(name=self.name),
            engine=EngineAnswers(
                fqdn=model.ENGINE_FQDN,
                address=model.engine_address(lab.index),
                prefix=model.PREFIX_LENGTH,
                data_disk_gib=DATA_DISK_GIB,
                ssh_authorized_keys=tuple(ssh_keys),
            ),
            nodes=tuple(
                NodeAnswers(node.name, node.address, self._token(node.name), model.NODE_NIC, brick_folder=BRICK_FOLDER)
                for node in model.nodes_of(lab)
            ),
        )

    def _token(self, node: str) -> str:
        end_s = self._clock.monotonic_s() + TOKEN_WAIT_S
        while True:
            done = self.lab.exec(node, ["trivet", "node", "token", "--json"], timeout_s=ASK_TIMEOUT_S)
            if done.status == 0:
                return decode(TokenAnswer, json.loads(done.stdout), subject=f"token of {node}", ignore_unknown=True).token
            if self._clock.monotonic_s() > end_s:
                raise Unavailable(
                    "run.no-token",
                    subject=node,
                    reason=f"it has no join token after {TOKEN_WAIT_S:g} s: {(done.stdout or done.stderr).strip()}",
                    remedy=f"`trivet lab logs {node} trivet-agent --name {self.name}` says why.",
                )
            self._clock.sleep(POLL_S)

    def _forward(self) -> None:
        self._processes.run(
            [str(CHECKOUT / "trivet"), "lab", "forward", "--name", self.name, "--json"], timeout_s=ASK_TIMEOUT_S
        )

    def _wait_health(self, log: Callable[[str], None]) -> None:
        end_s = self._clock.monotonic_s() + HEALTH_WAIT_S
        said = ""
        while True:
            try:
                if self.health().get("status") == "up":
                    return
            except Unavailable:
                if self._clock.monotonic_s() > end_s:
                    raise
            sentence = self._decision()
            if sentence and sentence != said:
                log(sentence)
                said = sentence
            self._clock.sleep(POLL_S)

    def _decision(self) -> str:
        status = self.ha()
        hosts = status.get("hosts") if status else None
        if not isinstance(hosts, list):
            return ""
        spoken = [
            f"{host.get('name')}: {host.get('decision')}"
            for host in hosts
            if isinstance(host, dict) and host.get("decision")
        ]
        return spoken[0] if spoken else ""

    # --- what is ---

    def url(self) -> str:
        """Where the engine is reached from this machine."""
        return f"https://127.0.0.1:{self.lab.wanted().forward_port}"

    def health(self) -> dict[str, object]:
        """The engine's own word. Raises ``Unavailable``."""
        return health("127.0.0.1", self.lab.wanted().forward_port, self.ca_file)

    def ha(self) -> dict[str, object] | None:
        """``trivet ha status`` of the first node that can say; None when none can."""
        for node in self.lab.status():
            if node.power == "on":
                done = self.lab.exec(node.name, ["trivet", "ha", "status", "--json"], timeout_s=ASK_TIMEOUT_S)
                if done.status == 0:
                    found = json.loads(done.stdout)
                    return found if isinstance(found, dict) else None
        return None

    # --- stop ---

    def stop(self, say: Say) -> tuple[str, ...]:
        """Remove the lab and what was copied from it; answers what is left all the same (nothing, if all is well)."""
        self.lab.down(say)
        shutil.rmtree(self.folder, ignore_errors=True)
        left = observe.observe(self.name)
        found: list[object] = [*left.namespaces, *left.mounts, *left.cgroups, *left.folders]
        found += [f"process {pid}" for pid in left.pids]
        found += [self.folder] if self.folder.exists() else []
        return tuple(map(str, found))

    # --- a node ---

    def _there(self, node: str, path: str) -> bool:
        return self.lab.exec(node, ["test", "-e", path], timeout_s=ASK_TIMEOUT_S).status == 0

    def _on(self, node: str, argv: Sequence[str], stdin: str | None = None) -> str:
        done = self.lab.exec(node, argv, timeout_s=ASK_TIMEOUT_S, stdin=stdin)
        if done.status:
            raise Failed(
                "run.node-command",
                subject=node,
                reason=f"`{' '.join(argv)}` ended with status {done.status}: {(done.stderr or done.stdout).strip()}",
                remedy=f"`trivet lab shell {node} --name {self.name}` gives a shell there.",
            )
        return done.stdout

    def _take(self, node: str, source: str, target: Path, mode: int) -> None:
        """Copy a small text file out of the node."""
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, self._on(node, ["cat", source]), mode)


class Spoken:
    """Reads what ``trivet install --json`` says: progress lines go on, and the error at its end becomes ours."""

    def __init__(self, say: Say, log: Callable[[str], None]) -> None:
        self._say = say
        self._log = log
        self._rest: list[str] = []

    def line(self, text: str) -> None:
        """One line of its output. Those that are no progress belong to the document at the end."""
        found = _object(text)
        if "percent" in found:
            self._say(float(str(found["percent"])), str(found.get("text", "")))
        elif "log" in found:
            self._log(str(found["log"]))
        else:
            self._rest.append(text)

    def error(self, status: object) -> TrivetError | None:
        """The error that it ended with, if it said one; a refusal stays one (exit ``status`` 2)."""
        start = next((index for index, text in enumerate(self._rest) if text == "{"), len(self._rest))
        found = _object("\n".join(self._rest[start:])).get("error")
        if not isinstance(found, dict):
            return None
        facts = found.get("facts")
        family = Refused if status == EXIT_REFUSED else Failed
        return family(
            str(found.get("code")),
            subject=str(found.get("object")),
            reason=str(found.get("reason")),
            remedy=str(found.get("remedy")),
            facts=facts if isinstance(facts, dict) else None,
        )


def _object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
