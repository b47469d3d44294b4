"""Disk images: the arithmetic, the boot loaders' texts, and a small disk made for real."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.effects.process import SystemProcesses
from image import boot
from image.disk import MBR_CODE, Layout, copy_into, esp_bytes, kernel_arguments, make_disk, root_identifier, rounded_up
from image.recipe import ENGINE, MIB, NODE, Recipe

TOOLS = ("sfdisk", "mkfs.vfat", "mcopy", "syslinux", "mke2fs", "mksquashfs")
needs_tools = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS) or not MBR_CODE.exists(), reason="a disk tool is not installed"
)


@pytest.mark.parametrize(("size", "unit", "expected"), [(0, 8, 0), (1, 8, 8), (8, 8, 8), (9, 8, 16)])
def test_rounding(size: int, unit: int, expected: int) -> None:
    assert rounded_up(size, unit) == expected


def test_the_boot_partition_is_never_too_small_for_fat32() -> None:
    assert esp_bytes(0) == 40 * MIB
    assert esp_bytes(60 * MIB + 1) == 65 * MIB


def test_the_root_starts_behind_the_boot_partition_and_the_table_has_room_at_the_end() -> None:
    layout = Layout(esp_bytes=40 * MIB, root_bytes=100 * MIB)
    assert layout.root_start_bytes == 41 * MIB
    assert layout.total_bytes == 142 * MIB


def test_a_node_finds_its_root_by_an_id_that_follows_from_the_inputs() -> None:
    one, other = root_identifier("a"), root_identifier("b")
    assert one == root_identifier("a") != other
    assert kernel_arguments(NODE, one)[0] == f"root=PARTUUID={one}"
    assert not any(word.startswith("root=") for word in kernel_arguments(ENGINE, one))


@pytest.mark.parametrize("recipe", [NODE, ENGINE])
def test_both_boot_loaders_get_the_same_command_line_with_a_serial_console(recipe: Recipe) -> None:
    arguments = kernel_arguments(recipe, uuid.UUID(int=1))
    assert "console=ttyS0,115200" in arguments and "console=tty0" in arguments
    assert f"APPEND {' '.join(arguments)}\n" in boot.syslinux_config(arguments)
    assert f"options {' '.join(arguments)}\n" in boot.loader_entry("Trivet", arguments)


def test_the_boot_prompt_cannot_be_edited() -> None:
    assert "PROMPT 0" in boot.syslinux_config(()) and "editor no" in boot.loader_config()


def test_holes_stay_holes_and_bytes_arrive(tmp_path: Path) -> None:
    part, disk = tmp_path / "part", tmp_path / "disk"
    part.write_bytes(bytes(3 * MIB) + b"end")
    with disk.open("wb") as file:
        file.truncate(10 * MIB)
    copy_into(part, disk, 2 * MIB)
    data = disk.read_bytes()
    assert data[5 * MIB : 5 * MIB + 3] == b"end" and not any(data[: 5 * MIB]) and len(data) == 10 * MIB
    assert disk.stat().st_blocks * 512 < 2 * MIB


@needs_tools
@pytest.mark.parametrize("recipe", [replace(NODE, root_slack_bytes=32 * MIB), ENGINE], ids=["ext4", "squashfs"])
def test_a_small_disk_has_all_its_parts(tmp_path: Path, recipe: Recipe) -> None:
    tree, boot_files, disk = tmp_path / "tree", tmp_path / "boot", tmp_path / "disk"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/hostname").write_text("small\n")
    boot_files.mkdir()
    for name in ("vmlinuz", "initrd", "bootx64.efi"):
        (boot_files / name).write_bytes(name.encode() * 100)

    made = make_disk(SystemProcesses(), recipe, tree, boot_files, "inputs", disk)

    assert disk.stat().st_size == made.total_bytes and sorted(path.name for path in tmp_path.iterdir()) == [
        "boot",
        "disk",
        "tree",
    ]
    listing = subprocess.run(["sfdisk", "--json", disk], capture_output=True, text=True, check=True).stdout
    esp, root = json.loads(listing)["partitiontable"]["partitions"]
    assert esp["type"].lower() == str(boot.ESP_TYPE) and "LegacyBIOSBootable" in esp["attrs"]
    assert root["name"] == f"{recipe.root_label}-root" and root["uuid"].lower() == str(root_identifier("inputs"))
    assert disk.read_bytes()[:400] == MBR_CODE.read_bytes()[:400]
    fat = tmp_path / "fat"
    with disk.open("rb") as file:
        file.seek(esp["start"] * 512)
        fat.write_bytes(file.read(esp["size"] * 512))
        file.seek(root["start"] * 512)
        file_system = tmp_path / "root"
        file_system.write_bytes(file.read(root["size"] * 512))
    entry = subprocess.run(["mtype", "-i", fat, "::/loader/entries/trivet.conf"], capture_output=True, text=True, check=True)
    assert "linux /vmlinuz" in entry.stdout
    names = subprocess.run(["mdir", "-a", "-b", "-i", fat, "::/"], capture_output=True, text=True, check=True).stdout
    assert {"::/vmlinuz", "::/initrd", "::/syslinux.cfg", "::/ldlinux.sys"} <= set(names.lower().split())
    if recipe is ENGINE:
        held = subprocess.run(
            ["unsquashfs", "-cat", file_system, "etc/hostname"], capture_output=True, text=True, check=True
        )
    else:
        held = subprocess.run(
            ["debugfs", "-R", "cat /etc/hostname", file_system], capture_output=True, text=True, check=True
        )
        subprocess.run(["e2fsck", "-fn", file_system], capture_output=True, check=True)
    assert held.stdout == "small\n"
