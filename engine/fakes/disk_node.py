"""A node's disk verbs over a folder of real files: for jobs' tests, whose processes are killed for real.

Tasks are files, too, so that they outlive the process as an agent's do. A file gets its name only when it is complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.codec import decode, encode
from appliance.errors import Conflict, NotFound, Refused, TrivetError, Unavailable
from appliance.model.disk import DiskBitmap, DiskCopy, DiskFile, DiskInfo, NewDisk
from appliance.model.domain import NoCloudSeed
from appliance.model.task import TaskError, TaskState
from engine.fakes.layers import FakeLayer, FakeLayers, file_at
from engine.fakes.points import nothing as nothing
from engine.fakes.pool_node import refused_by
from engine.fakes.storage_node import refuse_unmounted

SEED_LIMIT_BYTES = 4 * 1024 * 1024
"""Of a CD's texts together, as the real host has it."""


@dataclass
class FakeTasks:
    """A node's tasks as files below ``folder``. ``point`` is called before and after each effect (tests kill there);
    ``fail_with`` is what the next tasks end with, by verb."""

    name: str
    folder: Path
    point: Callable[[str], None] = nothing
    fail_with: dict[str, TrivetError] = field(default_factory=dict)

    def _path(self, file: DiskFile) -> Path:
        refuse_unmounted(self.folder, self.name, file.domain)
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


def grow(path: Path, size_bytes: int) -> None:
    """Make a disk larger. Raises ``Refused`` ``disk.shrink``, ``NotFound`` ``file.unknown``."""
    if not path.exists():
        raise NotFound("file.unknown", subject=path.name, reason="there is no such file", remedy="Look.")
    if path.stat().st_size > size_bytes:
        reason = f"it has {path.stat().st_size} bytes, {size_bytes} would cut it off"
        raise Refused("disk.shrink", subject=path.name, reason=reason, remedy="Disks only grow.")
    os.truncate(path, size_bytes)


@dataclass
class FakeDiskNode(FakeTasks):
    """A node with mounted domains below ``folder``."""

    @property
    def layers(self) -> FakeLayers:
        """The images of the domains."""
        return FakeLayers(self.folder)

    def disk_chain(self, file: DiskFile) -> tuple[DiskInfo, ...]:
        return tuple(self._info(one) for one in self.layers.chain(file))

    def _info(self, layer: FakeLayer) -> DiskInfo:
        status = self._path(layer.file).stat()
        bitmaps = tuple(DiskBitmap(one, is_consistent=one not in layer.broken) for one in layer.bitmaps)
        return DiskInfo(
            layer.file,
            status.st_size,
            status.st_blocks * 512,
            layer.backing,
            merged=layer.merged,
            mirrored=layer.mirrored,
            bitmaps=bitmaps,
        )

    def refuse_in_use(self, file: DiskFile) -> None:
        """As QEMU's locks do: what a VM has open is not touched from beside. Whoever is evicted has lost them."""
        for path in (self.folder / "vms").glob("*/[!.]*"):
            if path.parent.name in refused_by(self.folder):
                continue
            vm = json.loads(path.read_text())
            used = [file_at(one["path"], one.get("format", "raw")) for one in vm["spec"]["disks"] if one["path"]]
            used += [decode(DiskFile, one, subject=path.name) for one in vm.get("mirrors", {}).values()]
            if any(file in [layer.file for layer in self.layers.chain(one)] for one in used if self._path(one).exists()):
                raise Conflict("disk.locked", subject=file.path, reason="a QEMU has it open", remedy="Shut the VM down.")

    def disk_commit(self, task: str, file: DiskFile, base: DiskFile) -> TaskState:
        def act() -> None:
            self.refuse_in_use(file)
            self.layers.fold(file, base)

        return self._run(task, "commit", act)

    def disk_rebase(self, task: str, file: DiskFile, backing: DiskFile | None, unsafe: bool) -> TaskState:
        def act() -> None:
            self.refuse_in_use(file)
            self.layers.put(replace(self.layers.get(file), backing=backing))

        return self._run(task, "rebase", act)

    def disk_bitmap_add(self, task: str, file: DiskFile, name: str) -> TaskState:
        def act() -> None:
            self.refuse_in_use(file)
            if file.format != "qcow2":
                raise Refused("disk.format", subject=file.path, reason="it is raw", remedy="Copy it to a qcow2 disk.")
            layer = self.layers.get(file)
            if name not in layer.bitmaps or name in layer.broken:
                broken = tuple(one for one in layer.broken if one != name)
                self.layers.put(replace(layer, bitmaps={**layer.bitmaps, name: ()}, broken=broken))

        return self._run(task, "bitmap-add", act)

    def disk_bitmap_remove(self, task: str, file: DiskFile, name: str) -> TaskState:
        def act() -> None:
            self.refuse_in_use(file)
            self.layers.forget(file, name)

        return self._run(task, "bitmap-remove", act)

    def disk_resize(self, task: str, file: DiskFile, size_bytes: int) -> TaskState:
        def act() -> None:
            self.refuse_in_use(file)
            grow(self._path(file), size_bytes)

        return self._run(task, "resize", act)

    def disk_create(self, task: str, new: NewDisk) -> TaskState:
        def act() -> None:
            path = self._path(new.file)
            if new.backing is not None:
                self.layers.over(new.file, new.backing, self._path(new.backing).stat().st_size)
                return
            if path.exists():
                if path.stat().st_size != new.size_bytes:
                    raise Conflict(
                        "disk.exists", subject=new.file.path, reason="it is there already", remedy="Another name."
                    )
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".making")
            with draft.open("wb") as out:
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
            below = copy.backing
            data = self.layers.get(copy.source).data if below else self.layers.content(copy.source)
            self.layers.put(FakeLayer(copy.target, below, data))
            draft.rename(path)

        return self._run(task, "copy", act)

    def disk_seed(self, file: DiskFile, seed: NoCloudSeed) -> None:
        """The CD as a JSON of its texts."""
        self.point("before seed")
        if "seed" in self.fail_with:
            raise self.fail_with["seed"]
        _refuse_seed(file, seed)
        path = self._path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".making")
        draft.write_text(json.dumps(encode(seed)))
        self.point("half of seed")
        draft.rename(path)
        self.point("after seed")

    def backing(self, file: DiskFile) -> str:
        """The path of what a disk is a layer over; empty: nothing."""
        below = self.layers.get(file).backing
        return below.path if below is not None else ""

    def guest_bytes(self, file: DiskFile) -> bytes:
        """The bytes below all layers (what is written into those, :class:`FakeLayers` tells). Raises ``NotFound``."""
        return self._path(self.layers.chain(file)[-1].file).read_bytes()

    def disk_remove(self, task: str, file: DiskFile, wipe: bool) -> TaskState:
        def act() -> None:
            path = self._path(file)
            path.with_suffix(".making").unlink(missing_ok=True)
            if path.exists():
                self.refuse_in_use(file)
            path.unlink(missing_ok=True)
            self.layers.remove(file)
            self.point("half of remove")
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()

        return self._run(task, "remove", act)


def _refuse_seed(file: DiskFile, seed: NoCloudSeed) -> None:
    texts = (seed.meta_data, seed.user_data, seed.network_config, seed.vendor_data)
    size_bytes = sum(len(text.encode()) for text in texts)
    if not seed.meta_data:
        raise Refused("seed.empty", subject=file.path, reason="it has no meta-data", remedy="Give it an instance-id.")
    if size_bytes > SEED_LIMIT_BYTES:
        raise Refused("seed.too-large", subject=file.path, reason=f"it has {size_bytes} bytes", remedy="Say less.")
