"""Checkpoints of disks that no VM has open: bitmaps in qcow2 files of what was written since."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.errors import Refused
from appliance.model.disk import DiskFile, DiskInfo
from appliance.model.task import TaskState
from appliance.ports import Processes
from appliance.tools import qemu_img
from appliance.tools.bitmaps import layers_with
from appliance.verbs.chains import Chains, coded, named
from appliance.verbs.tasks import Control, Tasks

BITMAP_TIMEOUT_S = 60.0
"""A bitmap of 8 TiB has 16 MiB; stalls of the volume make it long."""


class DiskBitmaps:
    """Verbs over files; QEMU's own lock keeps others away meanwhile (``disk.locked``)."""

    def __init__(self, chains: Chains, processes: Processes, tasks: Tasks) -> None:
        self._chains = chains
        self._processes = processes
        self._tasks = tasks

    def add(self, task: str, file: DiskFile, name: str) -> TaskState:
        """From now on what is written is remembered under that name. Remembered already: nothing. Error:
        ``disk.format``."""

        def work(control: Control) -> None:
            if file.format != "qcow2":
                reason = "a raw disk has no room for what is remembered of it"
                raise Refused("disk.format", subject=named(file), reason=reason, remedy="Copy it to a qcow2 disk.")
            held = self._chains.look(file).bitmap(name)
            if held is not None and not held.is_good:
                self._bitmap(file, name, "--remove")
            if held is None or not held.is_good:
                self._bitmap(file, name, "--add")

        return self._tasks.start(task, "disk.bitmap-add", named(file), [file, name], work)

    def remove(self, task: str, file: DiskFile, name: str) -> TaskState:
        """Forget it, in all layers that have it. None has: nothing."""

        def work(control: Control) -> None:
            for one in self._chains.chain(file):
                if one.bitmap(name) is not None:
                    self._bitmap(one.file, name, "--remove")

        return self._tasks.start(task, "disk.bitmap-remove", named(file), [file, name], work)

    def _bitmap(self, file: DiskFile, name: str, how: str) -> None:
        argv = qemu_img.tethered(qemu_img.bitmap_argv(self._chains.require(file), name, how))
        done = self._processes.run(argv, timeout_s=BITMAP_TIMEOUT_S, ok=None)
        if done.status != 0:
            raise coded(done, file)


def overlay_with(
    processes: Processes, chains: Chains, chain: tuple[DiskInfo, ...], name: str, place: Path, owner: int
) -> None:
    """Make ``place``, an empty layer over the disk, which has under ``name`` all that its layers remember: to be read only.
    Raises ``Conflict`` (``disk.bitmap-lost``), what reading the disk raises."""
    top = chain[0]
    layers = layers_with(chain, name)
    below = (str(chains.require(top.file)), top.file.format)
    steps = [qemu_img.overlay_argv(place, top.virtual_bytes, below), qemu_img.bitmap_argv(place, name, "--add")]
    steps += [qemu_img.merge_bitmap_argv(place, name, chains.require(one), one.format) for one in layers]
    for argv in steps:
        done = processes.run(qemu_img.tethered(argv), timeout_s=BITMAP_TIMEOUT_S, ok=None)
        if done.status != 0:
            raise coded(done, top.file)
    place.chmod(0o640)
    os.chown(place, owner, -1)
