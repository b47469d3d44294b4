"""A node's disk verbs over a folder of real files: for jobs' tests, whose processes are killed for real.

Tasks are files, too, so that they outlive the process as an agent's do. A file gets its name only when it is complete.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from appliance.codec import decode, encode
from appliance.errors import Conflict, NotFound, TrivetError, Unavailable
from appliance.model.disk import DiskCopy, DiskFile, DiskInfo, NewDisk
from appliance.model.task import TaskError, TaskState

OVER = b"over "
"""How a layer's file begins here; the path of what is below follows."""


def nothing(_where: str) -> None:
    """No interruption."""


@dataclass
class FakeTasks:
    """A node's tasks as files below ``folder``. ``point`` is called before and after each effect (tests kill there);
    ``fail_with`` is what the next tasks end with, by verb."""

    name: str
    folder: Path
    point: Callable[[str], None] = nothing
    fail_with: dict[str, TrivetError] = field(default_factory=dict)

    def _path(self, file: DiskFile) -> Path:
        return self.folder / "domains" / file.domain / file.path

    def _task_file(self, task: str) -> Path:
        return self.folder / "tasks" / self.name / task

    def task(self, task: str) -> TaskState:
        path = self._task_file(task)
        if not path.exists():
            raise NotFound("task.unknown", subject=f"task {task}", reason="there is none", remedy="Start it.")
        return decode(TaskState, json.loads(path.read_text()), subject=f"task {task}")

    def task_cancel(self, task: str) -> TaskState:
        return self.task(task)  # tasks here have ended when they have been started

    def task_forget(self, task: str) -> None:
        self._task_file(task).unlink(missing_ok=True)

    def _run(self, task: str, verb: str, act: Callable[[], None]) -> TaskState:
        if self._task_file(task).exists():
            return self.task(task)
        self.point(f"before {verb}")
        state = TaskState(task, verb, task, "done", 100.0)
        try:
            if verb in self.fail_with:
                raise self.fail_with[verb]
            act()
        except TrivetError as error:
            if isinstance(error, Unavailable):
                raise  # the node does not answer: there is no task
            state = TaskState(task, verb, task, "failed", error=TaskError.of(error))
        self.point(f"after {verb}")
        path = self._task_file(task)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(encode(state)))
        draft.rename(path)
        return state


@dataclass
class FakeDiskNode(FakeTasks):
    """A node with mounted domains below ``folder``."""

    def disk_chain(self, file: DiskFile) -> tuple[DiskInfo, ...]:
        path = self._path(file)
        if not path.exists():
            raise NotFound("file.unknown", subject=file.path, reason="there is no such file", remedy="Look at the domain.")
        status = path.stat()
        return (DiskInfo(file, status.st_size, status.st_blocks * 512),)

    def disk_create(self, task: str, new: NewDisk) -> TaskState:
        def act() -> None:
            path = self._path(new.file)
            if path.exists():
                if path.stat().st_size != new.size_bytes:
                    raise Conflict(
                        "disk.exists", subject=new.file.path, reason="it is there already", remedy="Another name."
                    )
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".making")
            with draft.open("wb") as out:
                if new.backing is not None:
                    self.guest_bytes(new.backing)  # it must be there
                    out.write(OVER + new.backing.path.encode() + b"\n")
                out.truncate(new.size_bytes)
            self.point("half of create")
            draft.rename(path)

        return self._run(task, "create", act)

    def disk_copy(self, task: str, copy: DiskCopy) -> TaskState:
        def act() -> None:
            path = self._path(copy.target)
            content = self.guest_bytes(copy.source)
            if path.exists():
                if path.read_bytes() != content:
                    raise Conflict(
                        "disk.exists", subject=copy.target.path, reason="it is there already", remedy="Another name."
                    )
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".making")
            draft.write_bytes(content)
            self.point("half of copy")
            draft.rename(path)

        return self._run(task, "copy", act)

    def backing(self, file: DiskFile) -> str:
        """The path of what a disk is a layer over; empty: nothing."""
        with self._path(file).open("rb") as data:
            line = data.readline(4096)
        return line.removeprefix(OVER).decode().strip() if line.startswith(OVER) else ""

    def guest_bytes(self, file: DiskFile) -> bytes:
        """What a guest sees (nothing is written into a layer here). Raises ``NotFound`` ``file.unknown``."""
        self.disk_chain(file)
        below = self.backing(file)
        return self.guest_bytes(DiskFile(file.domain, below)) if below else self._path(file).read_bytes()

    def disk_remove(self, task: str, file: DiskFile, wipe: bool) -> TaskState:
        def act() -> None:
            path = self._path(file)
            path.with_suffix(".making").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            self.point("half of remove")
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()

        return self._run(task, "remove", act)
