"""The one way to start a process: argv, a deadline, an explicit environment, and an error one can paste.

Every other module that needs a tool goes through :class:`SystemProcesses` (ruff bans ``subprocess`` elsewhere).
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from appliance.errors import Conflict, Failed, Unavailable

BASE_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
}
"""What every child gets: a fixed search path and language, because parsers depend on both."""

KILL_GRACE_S = 2.0
"""After the deadline the process group gets SIGTERM, this much time, then SIGKILL: enough to remove a lock file."""

KILL_WAIT_S = 2.0
"""How long to wait after SIGKILL: death takes milliseconds, except for a process stuck in the kernel on a stalled
volume. Nobody may wait for that one, because whoever calls has a deadline of his own."""

READ_BYTES = 65536
"""How much of a pipe is read at once: a Linux pipe holds no more."""

CANCEL_LOOK_S = 0.3
"""How often a streamed tool that says nothing is looked at for whether it is still wanted."""

STREAM_TAIL_LINES = 40
"""How many of the last lines of a streamed tool are kept for its error: what fits a screen."""

STDERR_TAIL_CHARACTERS = 2000
"""How much of a failed tool's last words goes into the error: a screenful, not a log."""


_LINE_END = re.compile(r"\r?\n|\r(?=[^\n])")
"""A carriage return at the end of what has come so far may be the first half of an end of line: it waits for the rest."""


@dataclass(frozen=True)
class Completed:
    """What a finished process left: its command, exit status and decoded output."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


def pasteable(argv: Sequence[str]) -> str:
    """The command as one can paste it into a shell."""
    return shlex.join(argv)


class SystemProcesses:
    """Runs real processes. The fake beside it is :class:`appliance.fakes.process.ScriptedProcesses`."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ok: Sequence[int] | None = (0,),
    ) -> Completed:
        """Run ``argv`` to its end and return its output.

        ``ok`` lists the exit statuses that count as success, ``None`` accepts any. Raises ``Failed``
        (``process.failed``, ``process.missing``, ``process.not-started``, ``process.no-folder``) and ``Unavailable``
        (``process.deadline``); at the deadline the whole process group is ended. A run ends when nobody holds the output
        any more: a tool that leaves a daemon behind must not lend it stdout.
        """
        child = self._start(argv, env=env, cwd=cwd, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL)
        try:
            stdout, stderr = child.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired as expired:
            raise deadline_error(argv, timeout_s, ended=end_group(child)) from expired
        except BaseException:
            end_group(child)
            raise
        completed = Completed(tuple(argv), child.returncode, stdout, stderr)
        if ok is not None and completed.status not in ok:
            raise failure(completed)
        return completed

    def stream(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        line: Callable[[str], None],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ok: Sequence[int] = (0,),
        cancelled: Callable[[], bool] | None = None,
    ) -> int:
        """Run ``argv`` with stderr folded into stdout, handing each line to ``line`` as it appears.

        A line that a lone carriage return ends is one, too: so tools write their progress. ``cancelled`` is asked every
        0.3 s; once it says yes, the process group is ended (``Conflict`` ``process.cancelled``). Same errors as
        :meth:`run`; the deadline is for the whole run. For long tools whose log is watched live.
        """
        child = self._start(argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        deadline_s = time.monotonic() + timeout_s
        tail: deque[str] = deque(maxlen=STREAM_TAIL_LINES)
        try:
            for text in _lines(child, argv, deadline_s, timeout_s, cancelled or _never):
                tail.append(text)
                line(text)
            child.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired as expired:
            raise deadline_error(argv, timeout_s, ended=end_group(child)) from expired
        except BaseException:
            end_group(child)
            raise
        _close_pipes(child)
        if child.returncode not in ok:
            raise failure(Completed(tuple(argv), child.returncode, "", "\n".join(tail)))
        return child.returncode

    def become(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> NoReturn:
        """Replace this program by ``argv``, on our own terminal, input and output (a shell, a followed log).

        Signals, terminal and exit status are then ``argv``'s without anybody between. Raises ``Failed`` when it cannot
        be started.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            os.execvpe(argv[0], list(argv), {**BASE_ENVIRONMENT, **(env or {})})  # noqa: S606 (this is the door)
        except OSError as error:
            raise _not_started(argv, None, error) from error

    @staticmethod
    def _start(
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None,
        cwd: Path | None,
        stdin: int,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(
                list(argv),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**BASE_ENVIRONMENT, **(env or {})},
                cwd=cwd,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise _not_started(argv, cwd, error) from error


def _not_started(argv: Sequence[str], cwd: Path | None, error: OSError) -> Failed:
    facts = {"argv": list(argv)}
    if cwd is not None and not cwd.is_dir():
        return Failed(
            "process.no-folder",
            subject=str(cwd),
            reason=f"the folder to run {argv[0]} in does not exist",
            remedy=f"Make it, then: {pasteable(argv)}",
            facts=facts,
        )
    if isinstance(error, FileNotFoundError):
        return Failed(
            "process.missing",
            subject=argv[0],
            reason="this program is not installed here",
            remedy="Install it; on a build machine `make dev` does.",
            facts=facts,
        )
    return Failed(
        "process.not-started",
        subject=argv[0],
        reason=f"the system refused to start it ({error.strerror or error})",
        remedy=f"Run it by hand: {pasteable(argv)}",
        facts=facts,
    )


def _never() -> bool:
    return False


def _lines(
    child: subprocess.Popen[str], argv: Sequence[str], deadline_s: float, timeout_s: float, cancelled: Callable[[], bool]
) -> Iterator[str]:
    """The lines of ``child``'s output as they come, until its end. Raises ``TimeoutExpired`` at ``deadline_s``.

    It reads the pipe itself: a blocking read would know no deadline, and a second thread that closes the pipe
    under the reader turns the deadline into whatever error the reader then meets.
    """
    assert child.stdout is not None
    pipe = child.stdout.fileno()
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    held = ""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise subprocess.TimeoutExpired(list(argv), timeout_s)
            if cancelled():
                raise _cancelled(argv)
            if not selector.select(min(left_s, CANCEL_LOOK_S)):
                continue
            chunk = os.read(pipe, READ_BYTES)
            held += decoder.decode(chunk, final=not chunk)
            *whole, held = _LINE_END.split(held)
            yield from whole
            if not chunk:
                break
    if held:
        yield held.removesuffix("\r")


def _cancelled(argv: Sequence[str]) -> Conflict:
    return Conflict(
        "process.cancelled",
        subject=argv[0],
        reason="it was ended before it had finished, as asked",
        remedy="Start it again if it is wanted after all.",
    )


def end_group(child: subprocess.Popen[str]) -> bool:
    """End ``child`` and everything it started: SIGTERM, a grace, SIGKILL. Was it gone within KILL_WAIT_S?

    False means that the kernel holds it (uninterruptible, as on a stalled mount): it dies when the kernel lets go of it.
    """
    for number, wait_s in ((signal.SIGTERM, KILL_GRACE_S), (signal.SIGKILL, KILL_WAIT_S)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(wait_s)
    _close_pipes(child)
    return child.returncode is not None


def _close_pipes(child: subprocess.Popen[str]) -> None:
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # what it did not read before it died
                pipe.close()


def deadline_error(argv: Sequence[str], timeout_s: float, *, ended: bool = True) -> Unavailable:
    """The error for a process that had to be ended at its deadline; not ``ended``: the kernel still holds it."""
    fate = "was ended" if ended else "cannot be ended yet (it hangs in the kernel, as on a stalled mount)"
    return Unavailable(
        "process.deadline",
        subject=argv[0],
        reason=f"did not finish within {timeout_s:g} s and {fate}: {pasteable(argv)}",
        remedy="Run the command by hand to see what it waits for.",
        facts={"argv": list(argv), "timeout_s": timeout_s, "ended": ended},
    )


def failure(completed: Completed) -> Failed:
    """The error for a process that ended with a status nobody expected."""
    last_words = (completed.stderr.strip() or completed.stdout.strip())[-STDERR_TAIL_CHARACTERS:]
    status = completed.status
    ended = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    return Failed(
        "process.failed",
        subject=completed.argv[0],
        reason=f"{ended}: {last_words or 'it said nothing'}",
        remedy=f"Run it by hand: {pasteable(completed.argv)}",
        facts={"argv": list(completed.argv), "status": status, "stderr": last_words},
    )
