"""Storage domains and cloud-init's CD: units, marks, room, and what is refused."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from appliance import layout
from appliance.effects.process import SystemProcesses
from appliance.effects.root import Root
from appliance.errors import Failed, TrivetError
from appliance.fakes.process import ScriptedProcesses
from appliance.model.disk import DiskFile
from appliance.model.domain import DomainMark, NoCloudSeed
from appliance.tools.systemd import MountSource, domain_mount
from appliance.verbs.domains import MARK, Domains
from appliance.verbs.guest_seed import SEED_LIMIT_BYTES, write_guest_seed
from appliance.verbs.mounts import UNITS, Mounts
from appliance.verbs.volume_files import VolumeFiles

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "units"
MINE = DomainMark("id-1", "data", "posixfs")


def code(call: object) -> str:
    assert callable(call)
    with pytest.raises(TrivetError) as caught:
        call()
    assert caught.value.subject and caught.value.reason and caught.value.remedy
    return caught.value.code


class Place:
    def __init__(self, folder: Path) -> None:
        self.root = Root(folder)
        self.processes = ScriptedProcesses({"systemctl": ""})
        self.mounts = Mounts(self.root, self.processes)
        self.mounted: set[Path] = set()
        self.files = VolumeFiles(self.root, self.mounts, is_mount=lambda path: path in self.mounted)
        self.domains = Domains(self.root, self.processes, self.mounts, self.files)

    def at(self, domain: str) -> Path:
        return self.root.at(layout.VOLUMES / domain)

    def mount(self, domain: str) -> None:
        self.at(domain).mkdir(parents=True, exist_ok=True)
        self.mounted.add(self.at(domain))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("posix-nfs", MountSource("filer.lab:/a%b", "nfs4", "vers=4.2,soft")),
        ("posix-xfs", MountSource("/dev/sdb", "xfs", "")),
        ("local", MountSource("/srv/vms", "none", "bind")),
    ],
)
def test_golden_units(name: str, source: MountSource) -> None:
    path, made = GOLDEN / f"{name}.mount", domain_mount("data", layout.VOLUMES / "data", source)
    if os.environ.get("TRIVET_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(made)
    assert made == path.read_text()


def test_mounted_lastingly_and_unmounted(place: Place) -> None:
    domain = "0f1c4c1e-9c8e-4c4e-8b0e-0d5f7a1c2b3d"
    place.domains.mount_posix(domain, "/dev/sdb", "xfs", "noatime")
    unit = f"var-lib-trivet-volumes-{domain.replace('-', chr(92) + 'x2d')}.mount"
    assert "Options=noatime" in place.root.at(f"{UNITS}/{unit}").read_text()
    assert ("systemctl", "daemon-reload") in place.processes.ran
    assert ("systemctl", "start", unit) in place.processes.ran
    before = len(place.processes.ran)
    place.domains.mount_posix(domain, "/dev/sdb", "xfs", "noatime")
    assert ("systemctl", "daemon-reload") not in place.processes.ran[before:]
    place.domains.unmount(domain)
    assert ("systemctl", "disable", "--now", unit) in place.processes.ran
    place.domains.unmount("never")


def test_a_local_folder_is_made(place: Place) -> None:
    place.domains.mount_local("local", "/srv/vms")
    assert place.root.at("/srv/vms").is_dir()
    for wrong in ("srv", "/", "/var/lib", "/var/lib/trivet/volumes/x", "/a/../b", "/a b"):
        assert code(lambda wrong=wrong: place.domains.mount_local("local", wrong)) == "domain.mount"


@pytest.mark.parametrize(
    ("device", "kind", "options"),
    [
        ("a b", "xfs", ""),
        ("/d\nWhat=x", "xfs", ""),
        ("/d", "x fs", ""),
        ("/d", "xfs", "a b"),
        ("", "xfs", ""),
        ("/d", "", ""),
    ],
)
def test_what_cannot_be_a_mount(place: Place, device: str, kind: str, options: str) -> None:
    assert code(lambda: place.domains.mount_posix("data", device, kind, options)) == "domain.mount"
    assert code(lambda: place.domains.mount_posix("../x", "/d", "xfs", "")) == "volume.name"
    assert place.processes.ran == []


def test_a_mount_that_fails_says_so(place: Place) -> None:
    failure = Failed("process.failed", subject="systemctl", reason="no such device", remedy="look")
    place.processes.answers["systemctl start"] = failure
    assert code(lambda: place.domains.mount_posix("data", "/dev/sdz", "xfs", "")) == "process.failed"


def test_marks(place: Place) -> None:
    assert code(lambda: place.domains.mark("data", MINE)) == "volume.not-mounted"
    place.mount("data")
    assert place.domains.state("data").mark is None
    place.domains.mark("data", MINE)
    place.domains.mark("data", DomainMark("id-1", "renamed", "posixfs"))
    state = place.domains.state("data")
    assert state.mark is not None and state.mark.name == "renamed"
    assert state.mounted and state.answers and state.total_bytes >= state.free_bytes > 0
    assert code(lambda: place.domains.mark("data", DomainMark("id-2", "data", "posixfs"))) == "domain.foreign"
    assert code(lambda: place.domains.unmark("data", "id-2")) == "domain.foreign"
    place.domains.unmark("data", "id-1")
    place.domains.unmark("data", "id-1")
    assert not (place.at("data") / MARK).exists()


def test_states_of_all(place: Place) -> None:
    assert place.domains.states() == ()
    place.mount("data")
    place.at("gone").mkdir()
    found = {one.domain: (one.mounted, one.answers) for one in place.domains.states()}
    assert found == {"data": (True, True), "gone": (False, False)}


def test_cloud_inits_cd(place: Place) -> None:
    place.mount("data")
    file = DiskFile("data", "seeds/vm1.iso")
    seed = NoCloudSeed('{"instance-id": "1"}\n', "#cloud-config\nusers: [default]\n", "version: 2\n")

    def write(seed: NoCloudSeed) -> None:
        write_guest_seed(place.root, SystemProcesses(), place.files, file, seed, os.geteuid())

    for _ in range(2):
        write(seed)
    iso = place.at("data") / "seeds/vm1.iso"
    assert iso.stat().st_mode & 0o777 == 0o600
    assert b"cidata" in iso.read_bytes()[32768:34816]
    for name, text in {"user-data": seed.user_data, "network-config": seed.network_config}.items():
        argv = ["isoinfo", "-R", "-x", f"/{name}", "-i", str(iso)]
        assert subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout == text
    assert list(place.root.at(layout.RUN).iterdir()) == [], "no secret stays behind"
    assert code(lambda: write(NoCloudSeed("", "x"))) == "seed.empty"
    assert code(lambda: write(NoCloudSeed("x", "x" * SEED_LIMIT_BYTES))) == "seed.too-large"
