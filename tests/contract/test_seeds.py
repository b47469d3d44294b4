"""One contract for cloud-init's CDs: the engine's fake host, and the agent's verbs with the real genisoimage."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from appliance.codec import decode
from appliance.effects.process import SystemProcesses
from appliance.model.disk import DiskFile
from appliance.model.domain import NoCloudSeed
from appliance.model.task import TaskState
from appliance.tools.seed import guest_seed_files
from appliance.verbs.guest_seed import SEED_LIMIT_BYTES, write_guest_seed
from engine.fakes.disk_node import FakeDiskNode
from tests.contract.disk_node import Node
from tests.contract.live_node import code

FILE = DiskFile("data", "seeds/v1/s1.iso")
SEED = NoCloudSeed('{"instance-id": "1"}\n', "#cloud-config\nusers: [default]\n", "version: 2\n")
OTHER = NoCloudSeed('{"instance-id": "2"}\n', "", "", "#cloud-config\n{}\n")


class Host(Protocol):
    """What the tests ask of a host, and how they look at what it did."""

    def disk_seed(self, file: DiskFile, seed: NoCloudSeed) -> None: ...

    def disk_remove(self, task: str, file: DiskFile, wipe: bool) -> TaskState: ...

    def texts(self) -> Mapping[str, str]:
        """What cloud-init finds on the CD, by name."""

    def left(self) -> list[str]:
        """Everything on the domain."""

    def die_half_way(self) -> None:
        """From now on the process is killed when the CD is written, before it has its name."""


def below(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))


class Fake(FakeDiskNode):
    """The engine's."""

    def texts(self) -> Mapping[str, str]:
        found = json.loads((self.folder / "domains" / FILE.domain / FILE.path).read_text())
        return guest_seed_files(decode(NoCloudSeed, found, subject=FILE.path))

    def left(self) -> list[str]:
        return below(self.folder / "domains" / FILE.domain)

    def die_half_way(self) -> None:
        def point(name: str) -> None:
            if name == "half of seed":
                os.kill(os.getpid(), signal.SIGKILL)

        self.point = point


class Real(Node):
    """The agent's verbs."""

    def disk_seed(self, file: DiskFile, seed: NoCloudSeed) -> None:
        write_guest_seed(self.root, SystemProcesses(), self.files, file, seed, os.geteuid())

    def disk_remove(self, task: str, file: DiskFile, wipe: bool) -> TaskState:
        return self.done(self.disks.remove(task, file, wipe))

    def texts(self) -> Mapping[str, str]:
        iso = str(self.at(FILE))
        listed = subprocess.run(["isoinfo", "-R", "-f", "-i", iso], capture_output=True, text=True, check=True, timeout=20)
        return {name: self._text(name, iso) for name in (line.strip("/") for line in listed.stdout.split())}

    @staticmethod
    def _text(name: str, iso: str) -> str:
        argv = ["isoinfo", "-R", "-x", f"/{name}", "-i", iso]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout

    def left(self) -> list[str]:
        return below(self.places[FILE.domain])

    def die_half_way(self) -> None:
        def kill(_path: Path, _target: Path) -> Path:
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError("killed")

        Path.replace = kill  # type: ignore[method-assign, assignment] # in a child that does not come back


NEEDS_TOOLS = pytest.mark.skipif(
    not (shutil.which("genisoimage") and shutil.which("qemu-img")), reason="`make dev` installs genisoimage and qemu-img"
)


@pytest.fixture(params=["fake", pytest.param("real", marks=NEEDS_TOOLS)])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    if request.param == "real":
        return Real(tmp_path)
    (tmp_path / "domains" / FILE.domain).mkdir(parents=True)
    return Fake("node1", tmp_path)


def killed(act: Callable[[], None]) -> int:
    """What ended a child that did it."""
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_it_has_what_was_said_last(host: Host) -> None:
    for _ in range(2):
        host.disk_seed(FILE, SEED)
    assert host.texts() == {"meta-data": SEED.meta_data, "user-data": SEED.user_data, "network-config": "version: 2\n"}
    host.disk_seed(FILE, OTHER)
    assert host.texts() == {
        "meta-data": OTHER.meta_data,
        "user-data": "#cloud-config\n{}\n",  # cloud-init wants one
        "vendor-data": OTHER.vendor_data,
    }
    assert host.left() == ["seeds", "seeds/v1", FILE.path]


def test_it_goes_with_its_folder(host: Host) -> None:
    host.disk_seed(FILE, SEED)
    for task in ("one", "two"):
        assert host.disk_remove(task, FILE, False).state == "done"
        assert host.left() == ["seeds"]


def test_what_is_no_cd(host: Host) -> None:
    assert code(lambda: host.disk_seed(FILE, NoCloudSeed("", "x"))) == "seed.empty"
    too_large = NoCloudSeed("x", "x" * SEED_LIMIT_BYTES)
    assert code(lambda: host.disk_seed(FILE, too_large)) == "seed.too-large"
    assert host.left() == []


def test_nothing_of_a_broken_off_one_stays(host: Host) -> None:
    """It has passwords' hashes: what a kill left under another name goes with the file, too."""

    def write() -> None:
        host.die_half_way()
        host.disk_seed(FILE, SEED)

    assert killed(write) == -signal.SIGKILL
    assert FILE.path not in host.left() and len(host.left()) == 3, "something is half-made"
    assert host.disk_remove("one", FILE, False).state == "done"
    assert host.left() == ["seeds"]
