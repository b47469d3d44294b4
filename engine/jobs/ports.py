"""The nodes as jobs reach them. Fakes: :mod:`engine.fakes`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from appliance.model.disk import DiskFile, DiskInfo, NewDisk
from appliance.model.task import TaskState


class DiskNode(Protocol):
    """What jobs ask of a node's disks: the part of :class:`appliance.wire.disk_api.DiskApi` and ``TaskApi`` that they use,
    with the same meaning. The fake is :class:`engine.fakes.disk_node.FakeDiskNode`."""

    def task(self, task: str) -> TaskState: ...

    def task_cancel(self, task: str) -> TaskState: ...

    def task_forget(self, task: str) -> None: ...

    def disk_chain(self, file: DiskFile) -> tuple[DiskInfo, ...]: ...

    def disk_create(self, task: str, new: NewDisk) -> TaskState: ...

    def disk_remove(self, task: str, file: DiskFile, wipe: bool) -> TaskState: ...


class Nodes(Protocol):
    """All nodes."""

    def up(self) -> Sequence[str]:
        """Names of the hosts that are up, the least loaded first."""

    def disks(self, host: str) -> DiskNode:
        """That host's disk verbs. Raises ``Unavailable`` when it cannot be reached."""
