"""Disks on mounted domains: made, copied, changed, removed. Each verb is a task; see :mod:`appliance.verbs.tasks`."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from appliance import layout
from appliance.effects import disk_bytes
from appliance.effects.files import make_folders, sync_folder
from appliance.errors import Conflict, Failed, Refused
from appliance.model.disk import DiskCopy, DiskFile, NewDisk
from appliance.model.task import TaskState
from appliance.ports import Processes
from appliance.tools import qemu_img
from appliance.tools.bitmaps import carried
from appliance.verbs.chains import Chains, named, need_made_by, of_words
from appliance.verbs.tasks import Control, Tasks, Work

DISK_MODE = 0o660
BASE_S = 180.0
"""What the smallest work may take: two dozen stalls of a volume of 6 s each, or a node under full load."""
SLOWEST_BYTES_S = 2 * 1024 * 1024
"""… and for each byte of the disk: a tenth of what three bricks on one old disk carry, so that only a hang is ended."""


class Disks:
    """Verbs over files. One piece of work at a time for each file: whoever comes second is refused (``disk.busy``)."""

    def __init__(self, chains: Chains, processes: Processes, tasks: Tasks, owner: int = layout.QEMU_UID) -> None:
        self._chains = chains
        self._processes = processes
        self._tasks = tasks
        self._owner = owner
        self._busy: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def create(self, task: str, new: NewDisk) -> TaskState:
        """Make a disk. Errors: ``disk.exists``, ``disk.size``, ``disk.backing``, ``disk.no-space``."""

        def work(control: Control) -> None:
            if new.size_bytes < 512 and new.backing is None:
                raise Refused("disk.size", subject=named(new.file), reason="it has no size", remedy="Give at least 512.")
            if new.preallocation == "metadata" and new.file.format == "raw":
                reason = "a raw disk has no metadata that could be laid out beforehand"
                raise Refused("disk.preallocation", subject=named(new.file), reason=reason, remedy="Use off or falloc.")
            below = self._backing(new.file, new.backing)

            def argv(beside: Path) -> tuple[str, ...]:
                return qemu_img.create_argv(beside, new.file.format, new.size_bytes, new.preallocation, below)

            def remember(beside: Path) -> None:
                """As libvirt does it for a VM that runs: what is remembered below is remembered here, too."""
                for one in self._chains.look(new.backing).bitmaps if new.backing is not None else ():
                    if one.is_good:
                        self._run(control, new.file, qemu_img.bitmap_argv(beside, one.name, "--add"), 0)

            size = new.size_bytes if new.preallocation in ("falloc", "full") else 0
            self._make(control, task, new.file, argv, size, remember)

        return self._start(task, "disk.create", new.file, new, work)

    def copy(self, task: str, copy: DiskCopy) -> TaskState:
        """Copy, convert, collapse; progress in percent. Errors as of :meth:`create`, and ``disk.locked``."""

        def work(control: Control) -> None:
            size = self._chains.chain(copy.source)[0].virtual_bytes
            self._copy(control, task, copy, size)

        return self._start(task, "disk.copy", copy.target, copy, work)

    def move(self, task: str, source: DiskFile, target: DiskFile) -> TaskState:
        """Move a disk that lies over nothing: a new name within its domain, else a copy and the removal of the source.
        Errors: ``disk.backing`` (copy such a chain layer by layer), ``disk.exists``, ``disk.locked``."""

        def work(control: Control) -> None:
            if source.format != target.format:
                reason = f"it is {source.format} and would become {target.format}"
                raise Refused("disk.format", subject=named(source), reason=reason, remedy="Copy it; a copy may differ.")
            place = self._chains.place(source)
            if not place.exists() and self._made(task, target):
                return  # the same task, asked again after it had got so far
            found = self._chains.look(source)
            if found.backing is not None:
                reason = f"it lies over {found.backing.path}"
                raise Refused("disk.backing", subject=named(source), reason=reason, remedy="Copy it layer by layer.")
            self._chains.refuse_in_use(source)
            if source.domain == target.domain:
                self._rename(task, source, target)
            else:
                self._copy(control, task, DiskCopy(source, target), found.virtual_bytes)
                self._unlink(place)

        return self._start(task, "disk.move", source, [source, target], work)

    def remove(self, task: str, file: DiskFile, wipe: bool) -> TaskState:
        """Remove it, what broken-off work left beside it, and its folder if nothing else is in it. ``wipe``: its data is
        overwritten with zeros first; its name is gone before that. Not there: nothing. Error: ``disk.locked``."""

        def work(control: Control) -> None:
            place = self._chains.place(file)
            hidden = place.with_name(f".{place.name}.wipe")
            if place.exists():
                self._chains.refuse_in_use(file)
                if wipe:
                    place.replace(hidden)
                    sync_folder(place.parent)
                else:
                    self._unlink(place)
            if hidden.exists():
                disk_bytes.zero(hidden, _watch(control))
                self._unlink(hidden)
            self._sweep(place)
            if len(Path(file.path).parts) > 1:  # never the domain's own folder
                leave_no_empty_folder(place.parent)

        return self._start(task, "disk.remove", file, [file, wipe], work)

    def resize(self, task: str, file: DiskFile, size_bytes: int) -> TaskState:
        """Grow it while no VM has it open. Errors: ``disk.shrink``, ``disk.locked``, ``disk.no-space``."""

        def work(control: Control) -> None:
            found = self._chains.chain(file)[0]
            if size_bytes < found.virtual_bytes:
                reason = f"it has {found.virtual_bytes} bytes, {size_bytes} would cut it off"
                raise Refused("disk.shrink", subject=named(file), reason=reason, remedy="Copy it to a smaller one.")
            if size_bytes > found.virtual_bytes:
                self._run(control, file, qemu_img.resize_argv(self._chains.require(file), file.format, size_bytes), 0)

        return self._start(task, "disk.resize", file, [file, size_bytes], work)

    def check(self, task: str, file: DiskFile, repair: bool) -> TaskState:
        """Result ``errors``, ``leaks``, ``fixed``; of a raw disk all 0: it has nothing to check."""

        def work(control: Control) -> Mapping[str, object]:
            size = self._chains.chain(file)[0].virtual_bytes
            if file.format == "raw":
                return {"errors": 0, "leaks": 0, "fixed": 0}
            argv = qemu_img.check_argv(self._chains.require(file), file.format, repair)
            lines = self._run(control, file, argv, size, ok=qemu_img.CHECK_OK)
            return qemu_img.parse_check("\n".join(lines)).__dict__

        return self._start(task, "disk.check", file, [file, repair], work)

    def rebase(self, task: str, file: DiskFile, backing: DiskFile | None, unsafe: bool) -> TaskState:
        """Put it over another file, or over none. ``unsafe``: only the name of what is below changes."""

        def work(control: Control) -> None:
            size = self._chains.look(file).virtual_bytes if unsafe else self._chains.chain(file)[0].virtual_bytes
            below = self._backing(file, backing)
            self._run(control, file, qemu_img.rebase_argv(self._chains.require(file), file.format, below, unsafe), size)

        return self._start(task, "disk.rebase", file, [file, backing, unsafe], work)

    def commit(self, task: str, file: DiskFile, base: DiskFile) -> TaskState:
        """Write ``file`` and the layers down to above ``base`` into ``base``, while no VM has one of them open. It stays.
        Errors: ``disk.chain`` (``base`` is not below it), ``disk.locked``."""

        def work(control: Control) -> None:
            chain = self._chains.chain(file)
            if base not in [one.file for one in chain[1:]]:
                raise Refused("disk.chain", subject=named(file), reason=f"{base.path} is not below it", remedy="Look again.")
            top, bottom = self._chains.require(file), self._chains.require(base)
            below = os.path.relpath(bottom, top.parent)
            # -b is compared with the names in the headers: a relative one for the file right below, else the whole path
            name = Path(below) if chain[1].file == base else bottom
            self._run(control, file, qemu_img.commit_argv(top, file.format, name), chain[0].virtual_bytes)
            at = [one.file for one in chain].index(base)
            for one in carried(chain[:at], chain[at]):
                if one.is_new:
                    self._run(control, base, qemu_img.bitmap_argv(bottom, one.name, "--add"), 0)
                for layer in one.layers:
                    source = self._chains.require(layer)
                    self._run(control, base, qemu_img.merge_bitmap_argv(bottom, one.name, source, layer.format), 0)

        return self._start(task, "disk.commit", file, [file, base], work)

    def checksum(self, task: str, file: DiskFile) -> TaskState:
        """Result ``sha256`` and ``bytes`` of the file as it lies there (of a raw disk: what the guest sees)."""

        def work(control: Control) -> Mapping[str, object]:
            place = self._chains.require(file)
            return {"sha256": disk_bytes.sha256(place, _watch(control)), "bytes": place.stat().st_size}

        return self._start(task, "disk.checksum", file, file, work)

    def compare(self, task: str, one: DiskFile, other: DiskFile) -> TaskState:
        """Result ``identical``: whether a guest would see the same on both."""

        def work(control: Control) -> Mapping[str, object]:
            size = self._chains.chain(one)[0].virtual_bytes + self._chains.chain(other)[0].virtual_bytes
            places = [(self._chains.require(file), file.format) for file in (one, other)]
            argv = qemu_img.compare_argv(places[0], places[1])
            lines = self._run(control, one, argv, size, ok=qemu_img.COMPARE_OK)
            return {"identical": any("Images are identical" in line for line in lines)}

        return self._start(task, "disk.compare", one, [one, other], work)

    # the steps

    def _start(self, task: str, kind: str, file: DiskFile, asked: object, work: Work) -> TaskState:
        def alone(control: Control) -> Mapping[str, object] | None:
            with self._alone(file):
                try:
                    return work(control)
                except OSError as error:
                    raise of_words(error.strerror or str(error), file) from error

        return self._tasks.start(task, kind, named(file), asked, alone)

    @contextmanager
    def _alone(self, file: DiskFile) -> Iterator[None]:
        key = (file.domain, os.path.normpath(file.path))
        with self._lock:
            if key in self._busy:
                reason = "another task works on it"
                raise Conflict("disk.busy", subject=named(file), reason=reason, remedy="Wait for that one to end.")
            self._busy.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(key)

    def _backing(self, file: DiskFile, backing: DiskFile | None) -> qemu_img.Below | None:
        if backing is None:
            return None
        self._chains.chain(backing)
        return self._chains.relative(file, backing)

    def _copy(self, control: Control, task: str, copy: DiskCopy, size_bytes: int) -> None:
        source = (self._chains.require(copy.source), copy.source.format)
        below = self._backing(copy.target, copy.backing)

        def argv(beside: Path) -> tuple[str, ...]:
            return qemu_img.convert_argv(source, (beside, copy.target.format), copy.preallocation, below)

        self._make(control, task, copy.target, argv, size_bytes)

    def _make(
        self,
        control: Control,
        task: str,
        target: DiskFile,
        argv: Callable[[Path], tuple[str, ...]],
        size_bytes: int,
        complete: Callable[[Path], None] | None = None,
    ) -> None:
        """Make ``target`` under another name; it has its own when it is complete."""
        if self._made(task, target):
            return
        place = self._chains.place(target)
        make_folders(place.parent, 0o755)
        self._sweep(place)
        beside = place.with_name(f".{place.name}.{task}.new")
        try:
            self._run(control, target, argv(beside), size_bytes)
            if complete is not None:
                complete(beside)
            control.check()
            disk_bytes.seal(beside, place, self._owner, DISK_MODE, task)
        finally:
            beside.unlink(missing_ok=True)

    def _made(self, task: str, target: DiskFile) -> bool:
        """Whether this very task has made it already. Raises ``Conflict`` (``disk.exists``): another one has."""
        place = self._chains.place(target)
        if not place.exists():
            return False
        need_made_by(task, place, target)
        return True

    def _rename(self, task: str, source: DiskFile, target: DiskFile) -> None:
        if self._made(task, target):
            return
        old, new = self._chains.require(source), self._chains.place(target)
        make_folders(new.parent, 0o755)
        disk_bytes.seal(old, new, self._owner, DISK_MODE, task)
        sync_folder(old.parent)

    def _run(
        self, control: Control, file: DiskFile, argv: tuple[str, ...], size_bytes: int, ok: tuple[int, ...] = (0,)
    ) -> list[str]:
        """Run qemu-img to its end; its lines that are no progress."""
        said: list[str] = []

        def line(text: str) -> None:
            percent = qemu_img.progress(text)
            if percent is not None:
                control.at(percent)
            elif text.strip():
                said.append(text)

        timeout_s = BASE_S + size_bytes / SLOWEST_BYTES_S
        try:
            self._processes.stream(
                qemu_img.tethered(argv), timeout_s=timeout_s, line=line, ok=ok, cancelled=control.cancelled
            )
        except Failed as error:
            raise (of_words("\n".join(said), file) if error.code == "process.failed" else error) from error
        return said

    @staticmethod
    def _unlink(place: Path) -> None:
        place.unlink(missing_ok=True)
        sync_folder(place.parent)

    @staticmethod
    def _sweep(place: Path) -> None:
        """What work on this name left that was broken off by the end of its agent."""
        for left in place.parent.glob(f".{_plain(place.name)}.*.new"):
            left.unlink(missing_ok=True)


def leave_no_empty_folder(folder: Path) -> None:
    """It goes, unless something is in it."""
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
            raise


def _watch(control: Control) -> disk_bytes.Watch:
    def watch(percent: float) -> None:
        control.at(percent)
        control.check()

    return watch


def _plain(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)
