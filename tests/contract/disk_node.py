"""Disk verbs over two mounted domains in a folder, with the real qemu-img; and looking at what they left."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from appliance import layout
from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from appliance.effects.root import Root
from appliance.model.disk import DiskFile, NewDisk
from appliance.model.task import TaskState
from appliance.verbs.chains import Chains
from appliance.verbs.disk_bitmaps import DiskBitmaps
from appliance.verbs.disks import Disks
from appliance.verbs.mounts import Mounts
from appliance.verbs.tasks import Tasks
from appliance.verbs.volume_files import VolumeFiles

MIB = 1024 * 1024
DOMAINS = ("data", "other")


class Node:
    """The verbs of one node over two mounted domains in a folder."""

    def __init__(self, folder: Path, domains: tuple[str, ...] = DOMAINS) -> None:
        self.root = Root(folder)
        self.places = {name: self.root.at(layout.VOLUMES / name) for name in domains}
        for place in self.places.values():
            place.mkdir(parents=True, exist_ok=True)
        processes = SystemProcesses()
        mounted = self.places.values()
        self.files = VolumeFiles(self.root, Mounts(self.root, processes), is_mount=lambda path: path in mounted)
        self.chains = Chains(self.files, processes)
        self.tasks = Tasks(self.root.at(layout.TASKS), SystemClock())
        self.disks = Disks(self.chains, processes, self.tasks, owner=os.geteuid())
        self.bitmaps = DiskBitmaps(self.chains, processes, self.tasks)
        self.asked = 0

    def next(self) -> str:
        self.asked += 1
        return f"task-{self.asked}"

    def done(self, state: TaskState) -> TaskState:
        while not state.ended:
            time.sleep(0.02)
            state = self.tasks.state(state.id)
        assert state.state == "done", state.error
        return state

    def failed(self, state: TaskState) -> str:
        while not state.ended:
            time.sleep(0.02)
            state = self.tasks.state(state.id)
        assert state.error is not None and state.error.object and state.error.remedy, state
        return state.error.code

    def create(self, path: str, kind: str = "qcow2", size: int = 8 * MIB, backing: DiskFile | None = None) -> DiskFile:
        file = DiskFile("data", path, kind)  # type: ignore[arg-type]
        self.done(self.disks.create(self.next(), NewDisk(file, size, backing=backing)))
        return file

    def at(self, file: DiskFile) -> Path:
        return self.places[file.domain] / file.path

    def write(self, file: DiskFile, *commands: str) -> None:
        words = [word for command in commands for word in ("-c", command)]
        subprocess.run(["qemu-io", "-f", file.format, *words, self.at(file)], check=True, capture_output=True, timeout=20)

    def holds(self, file: DiskFile, *patterns: tuple[int, int, int]) -> None:
        """(byte, offset, length) each as a guest reads it."""
        for byte, offset, length in patterns:
            command = f"read -P {byte} {offset} {length}"
            argv = ["qemu-io", "-f", file.format, "-c", command, str(self.at(file))]
            done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=20)
            assert "verification failed" not in done.stdout, (file, byte, offset, done.stdout)

    def left(self) -> list[str]:
        return sorted(path.name for place in self.places.values() for path in place.rglob("*") if path.name.startswith("."))
