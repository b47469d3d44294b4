"""The agent's interface for disks on mounted domains, and for the tasks that its long work becomes.

Every verb that changes a disk takes the id of a task, which the caller chose and keeps: asked again with the same id (the
caller crashed, the answer was lost) it answers how the first one is. A start waits a second for the end, so quick work comes
back ``done``; otherwise ask :meth:`TaskApi.task`. An agent that died reports its tasks ``lost``: start those again, same id.
What fails is told by the task's ``error``, not by the start.
"""

from __future__ import annotations

from typing import Protocol

from appliance.model.disk import DiskCopy, DiskFile, DiskFormat, DiskInfo, DiskMeasure, NewDisk
from appliance.model.task import TaskState
from appliance.wire.route import route


class TaskApi(Protocol):
    """Long work. Unknown id: 404 ``task.unknown``; an id that another request had: 409 ``task.differs``."""

    @route("GET", "/v1/tasks", "node")
    def tasks(self) -> tuple[TaskState, ...]: ...

    @route("GET", "/v1/tasks/{task}", "node")
    def task(self, task: str) -> TaskState: ...

    @route("POST", "/v1/tasks/{task}/cancel", "command")
    def task_cancel(self, task: str) -> TaskState:
        """Ask it to stop; it may end ``done`` all the same. Ended already: nothing."""

    @route("POST", "/v1/tasks/{task}/forget", "command")
    def task_forget(self, task: str) -> None:
        """Drop an ended one, so that its id may be used again. Still running: 409 ``task.running``."""


class DiskApi(Protocol):
    """Disks as files. A half-made one never has its final name. Errors of tasks: ``disk.exists``, ``disk.locked`` (a QEMU
    has it open), ``disk.busy``, ``disk.backing``, ``disk.chain``, ``disk.size``, ``disk.shrink``, ``disk.no-space``,
    ``disk.failed``."""

    @route("POST", "/v1/disks/info", "node", 60.0)
    def disk_chain(self, file: DiskFile) -> tuple[DiskInfo, ...]:
        """The disk and all below it, the base last; also while it is in use. 404 ``file.unknown``."""

    @route("POST", "/v1/disks/measure", "node", 60.0)
    def disk_measure(self, file: DiskFile, target: DiskFormat) -> DiskMeasure:
        """The room that a copy in that format takes."""

    @route("POST", "/v1/disks/create", "command", 30.0)
    def disk_create(self, task: str, new: NewDisk) -> TaskState: ...

    @route("POST", "/v1/disks/copy", "command", 30.0)
    def disk_copy(self, task: str, copy: DiskCopy) -> TaskState: ...

    @route("POST", "/v1/disks/move", "command", 30.0)
    def disk_move(self, task: str, source: DiskFile, target: DiskFile) -> TaskState:
        """A disk that lies over nothing; within its domain at once. Others: copy layer by layer, then remove."""

    @route("POST", "/v1/disks/remove", "command", 30.0)
    def disk_remove(self, task: str, file: DiskFile, wipe: bool) -> TaskState:
        """Not there: done. Also removes what broken-off work on this name left."""

    @route("POST", "/v1/disks/resize", "command", 30.0)
    def disk_resize(self, task: str, file: DiskFile, size_bytes: int) -> TaskState:
        """Grow it while no VM runs on it (``vm_disk_resize`` does it live)."""

    @route("POST", "/v1/disks/check", "command", 30.0)
    def disk_check(self, task: str, file: DiskFile, repair: bool) -> TaskState:
        """Result: ``errors``, ``leaks``, ``fixed``."""

    @route("POST", "/v1/disks/rebase", "command", 30.0)
    def disk_rebase(self, task: str, file: DiskFile, backing: DiskFile | None, unsafe: bool) -> TaskState:
        """Put it over another file. ``unsafe``: only the name changes, what a guest sees may change with it."""

    @route("POST", "/v1/disks/commit", "command", 30.0)
    def disk_commit(self, task: str, file: DiskFile, base: DiskFile) -> TaskState:
        """Write the layers from ``file`` down to above ``base`` into ``base``. The layers stay; remove them afterwards."""

    @route("POST", "/v1/disks/bitmap/add", "command", 30.0)
    def disk_bitmap_add(self, task: str, file: DiskFile, name: str) -> TaskState:
        """Remember from now on what is written, while no VM has it open (qcow2 only: ``disk.format``)."""

    @route("POST", "/v1/disks/bitmap/remove", "command", 30.0)
    def disk_bitmap_remove(self, task: str, file: DiskFile, name: str) -> TaskState:
        """Forget it, in all layers of the disk."""

    @route("POST", "/v1/disks/checksum", "node", 30.0)
    def disk_checksum(self, task: str, file: DiskFile) -> TaskState:
        """Result: ``sha256``, ``bytes`` of the file."""

    @route("POST", "/v1/disks/compare", "node", 30.0)
    def disk_compare(self, task: str, one: DiskFile, other: DiskFile) -> TaskState:
        """Result: ``identical``, as a guest would see them."""
