"""The test guest's image out of a small OS layer: the same bytes each time, nothing done twice, all it needs inside."""

from __future__ import annotations

import json
import lzma
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from image.build import Builder, Quiet
from image.disk import MBR_CODE
from image.guest import cloud
from image.guest.build import APPLETS, CODE, FILES, LIBC, MODULES, GuestBuilder, entries, packages
from image.manifest import check_sums
from image.recipe import CHECKOUT, ENGINE, MIB

TOOLS = ("gcc", "sfdisk", "mkfs.vfat", "mcopy", "syslinux")
needs_tools = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS) or not (MBR_CODE.exists() and LIBC.exists()),
    reason="a disk tool or the C library is not installed",
)
needs_squashfs = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in (*TOOLS, "mksquashfs", "unsquashfs")),
    reason="squashfs-tools is not installed",
)
LAYER_FILES = ("usr/bin/busybox", "usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/libc.so.6",
               "usr/lib/x86_64-linux-gnu/libresolv.so.2")  # fmt: skip


def make_layer(layer: Path) -> None:
    """What the build takes out of an engine's OS layer, in small."""
    modules = layer / "root/usr/lib/modules/6.1"
    modules.mkdir(parents=True)
    (modules / "modules.dep").write_text("".join(f"{name}.ko.xz:\n" for name in MODULES))
    for name in MODULES:
        (modules / f"{name}.ko.xz").write_bytes(lzma.compress(name.encode()))
    for name in LAYER_FILES:
        (layer / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (layer / "root" / name).write_bytes(name.encode())
    (layer / "boot").mkdir()
    for name in ("vmlinuz", "initrd", "bootx64.efi"):
        (layer / "boot" / name).write_bytes(name.encode() * 1000)
    (layer / "packages.json").write_text('{"debian": {"bash": "5", "busybox": "1"}, "python": {}}')


def guest(folder: Path) -> GuestBuilder:
    engine = Builder(SystemProcesses(), SystemClock(), Quiet(), {}, folder / "cache", folder / "images", folder / "logs")
    if not engine.os_layer(ENGINE).exists():
        make_layer(engine.os_layer(ENGINE))
    return GuestBuilder(SystemProcesses(), Quiet(), engine, folder / "cache", folder / "images")


@needs_tools
def test_a_second_build_reuses_the_image_and_another_machine_makes_the_same_bytes(tmp_path: Path) -> None:
    first = guest(tmp_path / "one").build()
    again = guest(tmp_path / "one").build()
    other = guest(tmp_path / "other").build()
    assert not first.reused and again.reused and again.manifest == first.manifest
    assert not other.reused and other.manifest == first.manifest
    assert other.image.read_bytes() == first.image.read_bytes()
    assert first.manifest.size_bytes <= 64 * MIB and first.image.stat().st_blocks * 512 < 4 * MIB
    assert check_sums(first.image).debian == {"busybox": "1"}
    assert sorted(path.name for path in first.image.parent.iterdir()) == [
        "SHA256SUMS", f"{first.image.stem}.manifest.json", first.image.name,
    ]  # fmt: skip
    assert first.image.name in (first.image.parent / "SHA256SUMS").read_text()


@needs_tools
def test_a_failed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image.guest.build.COMPILE", ("gcc", "--no-such-option"))
    with pytest.raises(Exception, match="no-such-option"):
        guest(tmp_path).build()
    assert list((tmp_path / "images").iterdir()) == []


@needs_tools
def test_the_boot_partition_is_the_only_one_and_both_firmware_kinds_find_their_loader(tmp_path: Path) -> None:
    image = guest(tmp_path).build().image
    script = subprocess.run(["sfdisk", "--dump", image], capture_output=True, text=True, check=True).stdout
    assert script.count("start=") == 1 and "LegacyBIOSBootable" in script
    with image.open("rb") as file:
        assert file.read(400) == MBR_CODE.read_bytes()[:400]
    at = f"{image}@@1M"
    listing = subprocess.run(["mdir", "-/", "-a", "-b", "-i", at, "::/"], capture_output=True, text=True, check=True).stdout
    assert {"::/ldlinux.sys", "::/vmlinuz", "::/initrd", "::/efi/boot/bootx64.efi"} <= set(listing.lower().split())


def test_the_initrd_holds_the_modules_the_scripts_and_what_they_call(tmp_path: Path) -> None:
    make_layer(tmp_path)
    found = {entry.path: entry for entry in entries(tmp_path / "root", b"recorder")}
    assert [path for path in found if path.startswith("modules/")] == [
        f"modules/{number:02}-{name}.ko" for number, name in enumerate(MODULES)
    ]
    assert found["bin/recorder"].data == b"recorder" and found["init"].data.startswith(b"#!/bin/sh\n")
    folders = {path for path, entry in found.items() if entry.mode & 0o040000}
    assert all(str(Path(path).parent) in {".", *folders} for path in found), "a file's folder comes with it"


SCRIPTS = ("init", "guest.sh", "power-button", "dhcp")


def test_every_applet_is_used_and_every_file_is_hashed() -> None:
    text = "\n".join((FILES / name).read_text() for name in SCRIPTS)
    unused = [applet for applet in APPLETS if not re.search(rf"(?m)(^|[\s;&|(/]){re.escape(applet)}\s", text)]
    assert unused == []
    assert {f"files/{path.name}" for path in FILES.iterdir()} | {"build.py", "cloud.py"} == {*CODE, *cloud.CODE}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_are_shell(name: str) -> None:
    subprocess.run(["sh", "-n", FILES / name], check=True, capture_output=True)
    assert os.access(FILES / name, os.X_OK) == (name != "guest.sh")


@needs_squashfs
def test_the_cloud_guest_is_the_engines_layer_with_its_masks_off(tmp_path: Path) -> None:
    engine = guest(tmp_path).engine
    layer = engine.os_layer(ENGINE)
    for name in (*cloud.ENGINES_OWN, "etc/cloud/cloud.cfg"):
        (layer / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (layer / "root" / name).write_text("the engine's")
    builder = cloud.CloudGuestBuilder(SystemProcesses(), Quiet(), engine, tmp_path / "cache", tmp_path / "images")
    built = builder.build()
    assert builder.build().reused and built.manifest.debian == {"bash": "5", "busybox": "1"}
    dump = subprocess.run(["sfdisk", "--json", built.image], capture_output=True, text=True, check=True).stdout
    root = json.loads(dump)["partitiontable"]["partitions"][1]
    with built.image.open("rb") as file, (tmp_path / "root.squashfs").open("wb") as out:
        file.seek(root["start"] * 512)
        out.write(file.read(root["size"] * 512))
    listing = ["unsquashfs", "-l", "-d", "", str(tmp_path / "root.squashfs")]
    files = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split()
    assert {"/etc/cloud/cloud.cfg", "/etc/cloud/cloud.cfg.d/10_trivet-guest.cfg"} <= set(files)
    assert not {f"/{name}" for name in cloud.ENGINES_OWN} & set(files)
    assert root["name"] == "trivet-engine-root", "as the initrd looks for it"
    assert all((layer / "root" / name).exists() for name in cloud.ENGINES_OWN), "the layer is as it was"


def test_only_packages_that_are_inside_are_named() -> None:
    assert packages({"busybox": "1", "python3": "3", "linux-image-6": "6"}) == {"busybox": "1", "linux-image-6": "6"}


def test_the_compiler_and_its_library_are_among_the_build_machines_packages() -> None:
    assert {"gcc", "libc6-dev"} <= set((CHECKOUT / "image/host_packages.txt").read_text().split())
