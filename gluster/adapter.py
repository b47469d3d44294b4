"""The one contact with Gluster: the PyPI package glustercli, every command through our process port with a deadline.

glustercli runs everything through one function, ``glustercli.cli.utils.execute(cmd) -> (status, stdout, stderr)``, which
waits for ever. :class:`GlusterPool` puts a function of its own in that place: the command line stays glustercli's, while
deadline, environment and the ending of whole process groups come from :mod:`appliance.effects.process`. A test makes
sure that this seam is still where we think it is. Which pool and deadline a call has travels in a context variable, so
that threads may use the adapter side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from glustercli.cli import heal as heal_cli
from glustercli.cli import peer as peer_cli
from glustercli.cli import utils
from glustercli.cli import volume as volume_cli

from appliance import layout
from appliance.effects.clock import Clock
from appliance.errors import Failed, NotFound, TrivetError, Unavailable
from appliance.ports import Processes
from gluster import parse
from gluster.model import BrickHeal, BrickState, Capacity, Peer, Volume, VolumeSpec
from gluster.ports import CHANGE_DEADLINE_S, HEAL_DEADLINE_S, READ_DEADLINE_S

T = TypeVar("T")

BUSY_PAUSE_S = 0.4
"""Between two tries when another node's command holds the pool: such a command takes 0.05 to 0.1 s (measured)."""

CAPACITY_DEADLINE_S = 2.0
"""For ``df`` on a mounted volume: it stalls while a vanished brick is waited for; the bricks' own numbers do then."""

BUSY_WORDS = ("another transaction is in progress", "locking failed", "please try again after some time")
DOWN_WORDS = ("connection failed", "gluster daemon is operational")
UNKNOWN_VOLUME_WORDS = ("does not exist",)


@dataclass(frozen=True)
class _Call:
    processes: Processes
    timeout_s: float


_call: ContextVar[_Call] = ContextVar("gluster_call")


def _execute(words: Sequence[str]) -> tuple[int, str, str]:
    """In the place of glustercli's own: same command line, same answer, but bounded."""
    call = _call.get()
    done = call.processes.run([utils.GLUSTERCMD, "--mode=script", *words], timeout_s=call.timeout_s, ok=None)
    return done.status, done.stdout, done.stderr


utils.execute = _execute


class GlusterPool:
    """The real :class:`gluster.ports.Pool`: this node's glusterd. Owns nothing; may be used from several threads."""

    def __init__(self, processes: Processes, clock: Clock) -> None:
        self._processes = processes
        self._clock = clock

    def peers(self) -> tuple[Peer, ...]:
        return parse.peers(self._read("pool list", lambda: utils.gluster_execute_xml(["pool", "list"])))

    def volumes(self) -> tuple[Volume, ...]:
        return parse.volumes(self._read("volume info", lambda: utils.volume_execute_xml(["info"])))

    def brick_states(self) -> Mapping[str, tuple[BrickState, ...]]:
        return parse.brick_states(self._read("volume status", lambda: utils.volume_execute_xml(["status", "all", "detail"])))

    def heal_summary(self, volume: str) -> tuple[BrickHeal, ...]:
        xml = self._run(
            f"volume {volume}: heal info", HEAL_DEADLINE_S, lambda: utils.heal_execute_xml([volume, "info", "summary"])
        )
        return parse.heal_summary(xml)

    def split_brain_files(self, volume: str) -> tuple[str, ...]:
        xml = self._run(
            f"volume {volume}: heal info", HEAL_DEADLINE_S, lambda: utils.heal_execute_xml([volume, "info", "split-brain"])
        )
        return parse.split_brain_files(xml)

    def capacity(self, volume: str) -> Capacity | None:
        mount = layout.VOLUMES / volume
        done = self._processes.run(
            ["df", "-B1", "--output=fstype,size,used,avail", str(mount)], timeout_s=CAPACITY_DEADLINE_S, ok=None
        )
        return parse.capacity(done.stdout) if done.status == 0 else None

    def probe(self, name: str) -> None:
        self._change(f"peer {name}", lambda: peer_cli.probe(name))

    def detach(self, name: str, force: bool) -> None:
        words = ["detach", name, *(["force"] if force else [])]  # glustercli's own detach knows no force
        self._change(f"peer {name}", lambda: utils.peer_execute(words))

    def create(self, spec: VolumeSpec) -> None:
        # force: Gluster's own check takes a half-made volume's folder for a foreign one; ours (verbs) has looked before
        self._change(
            f"volume {spec.name}",
            lambda: volume_cli.create(spec.name, [str(place) for place in spec.bricks], replica=spec.replica, force=True),
        )

    def set_options(self, volume: str, options: Mapping[str, str]) -> None:
        self._change(f"volume {volume}", lambda: volume_cli.optset(volume, dict(options)))

    def start(self, volume: str) -> None:
        self._change(f"volume {volume}", lambda: volume_cli.start(volume, force=True))

    def heal(self, volume: str) -> None:
        self._change(f"volume {volume}", lambda: heal_cli.heal_execute([volume]))

    def _read(self, subject: str, call: Callable[[], str]) -> str:
        return self._run(subject, READ_DEADLINE_S, call)

    def _change(self, subject: str, call: Callable[[], str]) -> str:
        return self._run(subject, CHANGE_DEADLINE_S, call)

    def _run(self, subject: str, deadline_s: float, call: Callable[[], str]) -> str:
        """``call`` within ``deadline_s``, tried again while another node's command holds the pool."""
        until_s = self._clock.monotonic_s() + deadline_s
        while True:
            left_s = until_s - self._clock.monotonic_s()
            try:
                with self._bounded(max(left_s, BUSY_PAUSE_S)):
                    return call()
            except utils.GlusterCmdException as error:
                failure = _failure(subject, error)
            except TrivetError as error:
                raise _of_process(subject, error, deadline_s) from error
            if failure.code != "gluster.busy" or left_s < 2 * BUSY_PAUSE_S:
                raise failure
            self._clock.sleep(BUSY_PAUSE_S)

    @contextmanager
    def _bounded(self, timeout_s: float) -> Iterator[None]:
        token = _call.set(_Call(self._processes, timeout_s))
        try:
            yield
        finally:
            _call.reset(token)


def _failure(subject: str, error: Exception) -> TrivetError:
    """What glustercli raised, as an error of ours. It carries (status, stdout, stderr)."""
    detail = error.args[0] if error.args else ""
    status, *said = detail if isinstance(detail, tuple) else (1, str(detail))
    words = " ".join(parse.error_words(str(part)) for part in said if part).strip()
    lower = words.lower()
    if any(word in lower for word in DOWN_WORDS):
        return Unavailable(
            "gluster.daemon-down",
            subject="glusterd of this node",
            reason="it does not answer on its socket",
            remedy="See why: `systemctl status glusterd` and /var/log/glusterfs/glusterd.log.",
            facts={"said": words},
        )
    if any(word in lower for word in BUSY_WORDS):
        return Unavailable(
            "gluster.busy",
            subject=subject,
            reason=f"another command held the pool until the deadline: {words}",
            remedy="Try again. If it stays so, restart glusterd on the node that holds the lock; bricks go on meanwhile.",
        )
    if any(word in lower for word in UNKNOWN_VOLUME_WORDS) and subject.startswith("volume") and "option" not in lower:
        return NotFound(
            "gluster.volume-unknown", subject=subject, reason=words, remedy="`trivet gluster status` lists the volumes."
        )
    return Failed(
        "gluster.failed",
        subject=subject,
        reason=words or f"Gluster ended with status {status} and said nothing",
        remedy="Look into /var/log/glusterfs/glusterd.log of this node and of the peers.",
    )


def _of_process(subject: str, error: TrivetError, deadline_s: float) -> TrivetError:
    """An error of the process port, as one of Gluster's where that says more."""
    if error.code == "process.deadline":
        return Unavailable(
            "gluster.deadline",
            subject=subject,
            reason=f"Gluster did not answer within {deadline_s:g} s",
            remedy="A peer or brick is probably gone and not given up yet: ask again in some seconds.",
            facts={"timeout_s": deadline_s},
        )
    if error.code == "process.missing":
        return Unavailable(
            "gluster.missing",
            subject="gluster",
            reason="the program is not installed here",
            remedy="Run this on a node (the node image has it).",
        )
    return error
