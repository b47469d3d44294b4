"""The routes of disks and tasks: one line each onto the verbs."""

from __future__ import annotations

from appliance.model.disk import DiskCopy, DiskFile, DiskFormat, DiskInfo, DiskMeasure, NewDisk
from appliance.model.task import TaskState
from appliance.verbs.chains import Chains
from appliance.verbs.disk_bitmaps import DiskBitmaps
from appliance.verbs.disks import Disks
from appliance.verbs.tasks import Tasks


class TaskRoutes:
    """Implements :class:`appliance.wire.disk_api.TaskApi`."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    def tasks(self) -> tuple[TaskState, ...]:
        return self._tasks.states()

    def task(self, task: str) -> TaskState:
        return self._tasks.state(task)

    def task_cancel(self, task: str) -> TaskState:
        return self._tasks.cancel(task)

    def task_forget(self, task: str) -> None:
        self._tasks.forget(task)


class DiskRoutes:
    """Implements :class:`appliance.wire.disk_api.DiskApi`."""

    def __init__(self, chains: Chains, disks: Disks, bitmaps: DiskBitmaps) -> None:
        self._chains = chains
        self._disks = disks
        self._bitmaps = bitmaps

    def disk_chain(self, file: DiskFile) -> tuple[DiskInfo, ...]:
        return self._chains.chain(file)

    def disk_measure(self, file: DiskFile, target: DiskFormat) -> DiskMeasure:
        return self._chains.measure(file, target)

    def disk_create(self, task: str, new: NewDisk) -> TaskState:
        return self._disks.create(task, new)

    def disk_copy(self, task: str, copy: DiskCopy) -> TaskState:
        return self._disks.copy(task, copy)

    def disk_move(self, task: str, source: DiskFile, target: DiskFile) -> TaskState:
        return self._disks.move(task, source, target)

    def disk_remove(self, task: str, file: DiskFile, wipe: bool) -> TaskState:
        return self._disks.remove(task, file, wipe)

    def disk_resize(self, task: str, file: DiskFile, size_bytes: int) -> TaskState:
        return self._disks.resize(task, file, size_bytes)

    def disk_check(self, task: str, file: DiskFile, repair: bool) -> TaskState:
        return self._disks.check(task, file, repair)

    def disk_rebase(self, task: str, file: DiskFile, backing: DiskFile | None, unsafe: bool) -> TaskState:
        return self._disks.rebase(task, file, backing, unsafe)

    def disk_commit(self, task: str, file: DiskFile, base: DiskFile) -> TaskState:
        return self._disks.commit(task, file, base)

    def disk_bitmap_add(self, task: str, file: DiskFile, name: str) -> TaskState:
        return self._bitmaps.add(task, file, name)

    def disk_bitmap_remove(self, task: str, file: DiskFile, name: str) -> TaskState:
        return self._bitmaps.remove(task, file, name)

    def disk_checksum(self, task: str, file: DiskFile) -> TaskState:
        return self._disks.checksum(task, file)

    def disk_compare(self, task: str, one: DiskFile, other: DiskFile) -> TaskState:
        return self._disks.compare(task, one, other)
