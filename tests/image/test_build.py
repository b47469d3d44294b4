"""The build's promises: nothing is done twice, nothing half-made gets a final name, two builds do not meet."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from appliance.errors import Failed, Refused
from image import build, hashing, workshop
from image.disk import MBR_CODE
from image.manifest import check_sums, manifest_path
from image.recipe import ENGINE, MIB, NODE, Kind

TOOLS = ("sfdisk", "mkfs.vfat", "mcopy", "syslinux", "mksquashfs")
needs_tools = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS) or not MBR_CODE.exists(), reason="a disk tool is not installed"
)


class Heard:
    """A report that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.percents: list[float] = []

    def progress(self, percent: float, elapsed_s: float, text: str) -> None:
        self.percents.append(percent)
        self.lines.append(text)

    def log(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def heard() -> Heard:
    return Heard()


def builder(tmp_path: Path, heard: Heard, images: Path | None = None) -> build.Builder:
    return build.Builder(
        SystemProcesses(), SystemClock(), heard, {}, tmp_path / "cache", images or tmp_path / "images", tmp_path / "logs"
    )


@pytest.fixture
def tiny(tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> build.Builder:
    """A builder whose OS layer and tree are there already, and small; only the disk image is left to make."""
    monkeypatch.setattr(workshop, "SPACE_CACHE_BYTES", 0)
    monkeypatch.setattr(workshop, "SPACE_IMAGES_BYTES", 0)
    monkeypatch.setattr(workshop, "ALMOST_FULL_BYTES", 0)
    one = builder(tmp_path, heard)
    boot = one.os_layer(ENGINE) / "boot"
    boot.mkdir(parents=True)
    for name in ("vmlinuz", "initrd", "bootx64.efi"):
        (boot / name).write_bytes(os.urandom(3 * MIB))
    (one.os_layer(ENGINE) / "packages.json").write_text('{"debian": {"bash": "5"}, "python": {}}')
    (one.tree_path(ENGINE) / "etc").mkdir(parents=True)
    return one


@needs_tools
def test_a_second_build_reuses_everything(tiny: build.Builder, tmp_path: Path, heard: Heard) -> None:
    first = tiny.build(Kind.ENGINE)
    written = first.image.stat().st_mtime_ns
    again = builder(tmp_path, heard).build(Kind.ENGINE)
    assert not first.reused and again.reused and again.manifest == first.manifest
    assert first.image.stat().st_mtime_ns == written
    assert heard.percents[0] == 0.0 and heard.percents[-1] == 100.0
    assert sorted(path.name for path in first.image.parent.iterdir()) == [
        "SHA256SUMS",
        "trivet-engine-0.1.0.manifest.json",
        "trivet-engine-0.1.0.raw",
    ]


@needs_tools
def test_an_altered_image_is_noticed_and_made_again(tiny: build.Builder, tmp_path: Path, heard: Heard) -> None:
    image = tiny.build(Kind.ENGINE).image
    with image.open("r+b") as file:
        file.seek(image.stat().st_size // 2)
        file.write(b"altered")
    assert not builder(tmp_path, heard).build(Kind.ENGINE).reused
    assert any("truncated or altered" in line for line in heard.lines)
    check_sums(image)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 16 MiB that gets full."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@needs_tools
def test_a_full_disk_leaves_nothing_under_a_final_name(
    tiny: build.Builder, tmp_path: Path, small_disk: Path, heard: Heard
) -> None:
    with pytest.raises(Failed) as failed:
        builder(tmp_path, heard, images=small_disk).build(Kind.ENGINE)
    assert failed.value.code == "image.disk-full" and failed.value.exit_code == 1
    assert str(small_disk) in failed.value.reason and "Free" in failed.value.remedy
    assert list(small_disk.iterdir()) == []


@needs_tools
def test_a_full_disk_leaves_the_image_before_as_it_was(
    tiny: build.Builder, tmp_path: Path, small_disk: Path, heard: Heard
) -> None:
    image = small_disk / ENGINE.file_name
    made = tiny.build(Kind.ENGINE)
    manifest_path(image).write_text(manifest_path(made.image).read_text().replace(made.manifest.inputs_sha256, "other"))
    image.write_bytes(b"the older image")
    with pytest.raises(Failed):
        builder(tmp_path, heard, images=small_disk).build(Kind.ENGINE)
    assert image.read_bytes() == b"the older image"
    assert sorted(path.name for path in small_disk.iterdir()) == sorted([image.name, manifest_path(image).name])


def test_too_little_space_is_refused_before_anything_is_done(
    tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop, "SPACE_CACHE_BYTES", 1 << 60)
    with pytest.raises(Refused, match="a build needs") as refused:
        builder(tmp_path, heard).build(Kind.ENGINE)
    assert refused.value.code == "image.disk-full" and refused.value.facts["needed_bytes"] == 1 << 60
    assert not (tmp_path / "cache/os").exists() and list((tmp_path / "images").iterdir()) == []


@needs_tools
def test_a_second_build_waits_for_the_first_and_says_so(tiny: build.Builder, tmp_path: Path, heard: Heard) -> None:
    lock = tmp_path / "cache/lock"
    lock.write_text("4711")
    with lock.open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = threading.Thread(target=lambda: tiny.build(Kind.ENGINE))
        second.start()
        second.join(0.3)
        assert second.is_alive() and heard.lines == ["another build is running (process 4711); waiting for it"]
        fcntl.flock(held, fcntl.LOCK_UN)
    second.join(60)
    assert tiny.image_path(ENGINE).exists()


def test_the_node_is_another_when_the_engine_inside_it_is(
    tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = builder(tmp_path, heard)
    hashes = {kind: before.inputs_sha256(recipe) for kind, recipe in (("node", NODE), ("engine", ENGINE))}
    real = hashing.code_sha256
    monkeypatch.setattr(hashing, "code_sha256", lambda recipe: real(recipe) + ("x" if recipe is ENGINE else ""))
    after = builder(tmp_path, heard)
    assert after.inputs_sha256(ENGINE) != hashes["engine"] and after.inputs_sha256(NODE) != hashes["node"]
    assert after.os_layer(NODE) == before.os_layer(NODE)


def test_old_trees_go_except_those_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trees = tmp_path / "cache/tree"
    for age, name in enumerate(("node-new", "node-a", "node-b", "node-c", "node-d", "engine-x")):
        (trees / name).mkdir(parents=True)
        os.utime(trees / name, (1_000_000 - age, 1_000_000 - age))
    monkeypatch.setattr(workshop, "all_mounts", lambda: f"overlay / overlay rw,lowerdir={trees / 'node-c'},upperdir=u")
    workshop.prune(SystemProcesses(), trees / "node-new", workshop.KEPT_TREES)
    assert sorted(path.name for path in trees.iterdir()) == ["engine-x", "node-a", "node-b", "node-c", "node-new"]
