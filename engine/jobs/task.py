"""How a step waits for a node's long work."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from appliance.errors import Conflict, Failed, NotFound, Unavailable
from appliance.model.task import TaskState
from engine.jobs.job import Cancelled, Work
from engine.jobs.ports import TaskNode

ASK_EVERY_S = 0.25
"""How often a running task is asked about: a person sees no difference, and the node does not notice it."""
SILENT_LIMIT_S = 60.0
"""A node that does not answer for so long while it works for us is lost to this step. An agent's restart takes seconds."""
LOST_LIMIT = 3
"""Starts of one task that the agent lost: an agent that dies of it each time is not helped by a fourth."""


def task_id(work: Work, what: str) -> str:
    """The id of a step's task: the same after a crash, so that the node knows it again."""
    return f"{work.job_id}-{work.number}-{what}"


def await_task(
    work: Work,
    node: TaskNode,
    task: str,
    start: Callable[[str], TaskState],
    *,
    may_stop: bool = True,
    is_lost: Callable[[], bool] = bool,
) -> Mapping[str, Any]:
    """Start a task (or find it started) and wait for its end, telling progress; its result.

    A task that failed before (an earlier attempt of this step) is begun anew. ``may_stop``: whether it ends when somebody
    cancels the job. ``is_lost``: whether a node that is silent need not be waited for. Raises what made it fail;
    ``Unavailable`` ``node.silent``; :class:`engine.jobs.job.Cancelled` once the task has stopped.
    """
    forget_failed(node, task)
    state = start(task)
    lost = 0
    heard_s = work.clock.monotonic_s()
    while not state.ended or state.state == "lost":
        if state.state == "lost":
            lost += 1
            if lost >= LOST_LIMIT:
                raise Failed(
                    "node.task-lost",
                    subject=state.subject,
                    reason=f"the node's agent ended {lost} times while it worked on it",
                    remedy="Look at the agent's log on that node.",
                )
            state = start(task)
            continue
        work.progress(state.percent)
        if may_stop:
            _stop_if_asked(work, node, task)
        work.clock.sleep(ASK_EVERY_S)
        try:
            state, heard_s = node.task(task), work.clock.monotonic_s()
        except Unavailable:
            if work.clock.monotonic_s() - heard_s > SILENT_LIMIT_S or is_lost():
                raise
    if state.state == "cancelled":
        raise Conflict(
            "node.task-cancelled", subject=state.subject, reason="its task was cancelled on the node", remedy="Try again."
        )
    if state.error is not None:
        raise state.error.as_error()
    return state.result


def forget_failed(node: TaskNode, task: str) -> None:
    """Drop an ended attempt that did not get there, so that its id may be used again."""
    with contextlib.suppress(NotFound):  # the usual case: there was none
        if node.task(task).state in ("failed", "cancelled"):
            node.task_forget(task)


def _stop_if_asked(work: Work, node: TaskNode, task: str) -> None:
    try:
        work.check_cancel()
    except Cancelled:
        node.task_cancel(task)
        while not node.task(task).ended:
            work.clock.sleep(ASK_EVERY_S)
        raise
