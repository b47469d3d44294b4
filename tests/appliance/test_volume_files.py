from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from appliance import layout
from appliance.effects.root import Root
from appliance.errors import TrivetError
from appliance.fakes.process import ScriptedProcesses
from appliance.verbs import volume_files
from appliance.verbs.mounts import Mounts
from appliance.verbs.volume_files import CONTENT_LIMIT_BYTES, VolumeFiles

MIB = 1024 * 1024


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = Root(tmp_path).at(layout.VOLUMES / "engine")
    place.mkdir(parents=True)
    return place


@pytest.fixture
def files(tmp_path: Path, place: Path) -> VolumeFiles:
    root = Root(tmp_path)
    return VolumeFiles(root, Mounts(root, ScriptedProcesses()), is_mount=lambda path: path == place)


def code(call: object) -> str:
    assert callable(call)
    with pytest.raises(TrivetError) as caught:
        call()
    return caught.value.code


def test_write_list_remove(files: VolumeFiles, place: Path) -> None:
    files.make_folder("engine", "engine-vm/deep", os.geteuid(), 0o750)
    files.write("engine", "engine-vm/epoch", "7\n", 0o600)
    files.write("engine", "engine-vm/epoch", "8\n", 0o600)
    assert (place / "engine-vm/epoch").read_text() == "8\n"
    assert (place / "engine-vm/epoch").stat().st_mode & 0o777 == 0o600
    assert (place / "engine-vm/deep").stat().st_mode & 0o777 == 0o750
    listed = files.listing("engine", "engine-vm")
    assert [(one.path, one.size_bytes) for one in listed if not one.is_folder] == [("engine-vm/epoch", 2)]
    assert [one.path for one in listed] == ["engine-vm/deep", "engine-vm/epoch"], "nothing half-written stays"
    assert [one.path for one in files.listing("engine", ".")] == ["engine-vm"]
    assert code(lambda: files.remove("engine", "engine-vm")) == "folder.not-empty"
    files.remove("engine", "engine-vm/epoch")
    files.remove("engine", "engine-vm/epoch")
    files.remove("engine", "engine-vm/deep")
    files.remove("engine", "engine-vm")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\0b", "link/x", "file-link"])
def test_no_path_leaves_the_volume(files: VolumeFiles, place: Path, tmp_path: Path, path: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (place / "link").symlink_to(outside)
    (place / "file-link").symlink_to(outside / "target")
    assert code(lambda: files.write("engine", path, "evil", 0o644)) == "file.path"
    assert code(lambda: files.remove("engine", path)) == "file.path"
    assert code(lambda: files.make_disk("engine", path, MIB)) == "file.path"
    assert code(lambda: files.make_folder("engine", path, 0, 0o755)) == "file.path"
    assert list(outside.iterdir()) == []


def test_the_volume_itself_is_not_removed(files: VolumeFiles) -> None:
    for path in (".", ""):
        assert code(lambda p=path: files.remove("engine", p)) == "file.path"


def test_a_disk_is_sparse_and_never_changed(files: VolumeFiles, place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("QEMU's files get another owner")
    files.make_disk("engine", "data.raw", 64 * MIB)
    found = (place / "data.raw").stat()
    assert (found.st_size, found.st_uid, found.st_gid) == (64 * MIB, layout.QEMU_UID, layout.QEMU_UID)
    assert found.st_blocks * 512 < MIB
    (place / "data.raw").write_bytes(b"data" + bytes(64 * MIB - 4))
    files.make_disk("engine", "data.raw", 64 * MIB)
    assert (place / "data.raw").read_bytes()[:4] == b"data"
    assert code(lambda: files.make_disk("engine", "data.raw", 65 * MIB)) == "file.exists"
    assert code(lambda: files.make_disk("engine", "other.raw", 0)) == "file.size"


def test_nothing_is_written_where_no_volume_is_mounted(files: VolumeFiles, tmp_path: Path) -> None:
    folder = Root(tmp_path).at(layout.VOLUMES / "vmstore")
    folder.mkdir()
    assert code(lambda: files.write("vmstore", "x", "y", 0o644)) == "volume.not-mounted"
    assert list(folder.iterdir()) == []
    assert code(lambda: files.write("../engine", "x", "y", 0o644)) == "volume.name"


def test_limits_and_what_is_not_there(files: VolumeFiles) -> None:
    assert code(lambda: files.write("engine", "big", "ä" * (CONTENT_LIMIT_BYTES // 2 + 1), 0o644)) == "file.too-large"
    files.write("engine", "just", "x" * CONTENT_LIMIT_BYTES, 0o644)
    assert code(lambda: files.listing("engine", "nowhere")) == "file.unknown"
    assert code(lambda: files.write("engine", "nowhere/x", "y", 0o644)) == "file.unknown"


def test_a_stalled_volume_is_left_at_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stalled = threading.Event()
    monkeypatch.setattr(volume_files, "FILE_TIMEOUT_S", 0.05)
    root = Root(tmp_path)
    files = VolumeFiles(root, Mounts(root, ScriptedProcesses()), is_mount=lambda _path: stalled.wait(10))
    assert code(lambda: files.listing("engine", ".")) == "volume.deadline"
    stalled.set()


def test_a_file_of_a_foreign_domain_is_read_with_care(files: VolumeFiles, place: Path) -> None:
    (place / "good").write_text("é\n")
    (place / "binary").write_bytes(b"\xff\xfe")
    (place / "large").write_bytes(b"x" * (CONTENT_LIMIT_BYTES + 1))
    (place / "folder").mkdir()
    os.mkfifo(place / "pipe")
    (place / "link").symlink_to("/etc/passwd")
    assert files.read("engine", "good") == "é\n"
    wrong = {"binary": "file.content", "large": "file.too-large", "folder": "file.content", "pipe": "file.content",
             "link": "file.path", "none": "file.unknown", "../x": "file.path"}  # fmt: skip
    assert {path: code(lambda path=path: files.read("engine", path)) for path in wrong} == wrong
