"""The one way to start a process: argv, a deadline, an explicit environment, and an error one can paste.

Every other module that needs a tool goes through :class:`SystemProcesses` (ruff bans ``subprocess`` elsewhere).
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Failed, Unavailable

BASE_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
}
"""What every child gets: a fixed search path and language, because parsers depend on both."""

KILL_GRACE_S = 2.0
"""After the deadline the process group gets SIGTERM, this much time, then SIGKILL: enough to remove a lock file."""

STDERR_TAIL_CHARACTERS = 2000
"""How much of a failed tool's last words goes into the error: a screenful, not a log."""


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
        (``process.failed``, ``process.missing``) and ``Unavailable`` (``process.deadline``); at the deadline the whole
        process group is ended.
        """
        child = self._start(argv, env=env, cwd=cwd, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL)
        try:
            stdout, stderr = child.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired as expired:
            end_group(child)
            raise deadline_error(argv, timeout_s) from expired
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
    ) -> int:
        """Run ``argv`` with stderr folded into stdout, handing each line to ``line`` as it appears.

        Same errors as :meth:`run`; the deadline is for the whole run. For long tools whose log is watched live.
        """
        child = self._start(argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        expired = False

        def expire(_signal: int = 0, _frame: object = None) -> None:
            nonlocal expired
            expired = True
            end_group(child)

        from threading import Timer  # local: only long-running tools need a watcher thread

        timer = Timer(timeout_s, expire)
        timer.daemon = True
        timer.start()
        tail: list[str] = []
        try:
            assert child.stdout is not None
            for text in child.stdout:
                tail = [*tail[-40:], text]
                line(text.rstrip("\n"))
            child.wait()
        except BaseException:
            end_group(child)
            raise
        finally:
            timer.cancel()
        if expired:
            raise deadline_error(argv, timeout_s)
        if child.returncode not in ok:
            raise failure(Completed(tuple(argv), child.returncode, "", "".join(tail)))
        return child.returncode

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
        except FileNotFoundError as missing:
            raise Failed(
                "process.missing",
                subject=argv[0],
                reason="this program is not installed here",
                remedy="Install it; on a build machine `make dev` does.",
                facts={"argv": list(argv)},
            ) from missing


def end_group(child: subprocess.Popen[str]) -> None:
    """End ``child`` and everything it started: SIGTERM, a grace, SIGKILL. Waits for the child."""
    for number, wait_s in ((signal.SIGTERM, KILL_GRACE_S), (signal.SIGKILL, None)):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            pass
        try:
            child.wait(wait_s)
        except subprocess.TimeoutExpired:
            continue
    if child.stdout is not None:
        child.stdout.close()


def deadline_error(argv: Sequence[str], timeout_s: float) -> Unavailable:
    """The error for a process that had to be ended at its deadline."""
    return Unavailable(
        "process.deadline",
        subject=argv[0],
        reason=f"did not finish within {timeout_s:g} s and was ended: {pasteable(argv)}",
        remedy="Run the command by hand to see what it waits for.",
        facts={"argv": list(argv), "timeout_s": timeout_s},
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
