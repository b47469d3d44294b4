"""Disk images on plain files: partition table, FAT boot partition, root file system. No loop device, no mount.

The parts are made as files of their own, then copied to their place; the boot code comes last. Needs sfdisk, mkfs.vfat,
mtools, syslinux, mke2fs and mksquashfs of the build machine.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.ports import Processes
from appliance.version import VERSION
from image import boot
from image.recipe import MIB, Recipe, RootKind

NAMESPACE: Final = uuid.UUID("6a3c7a52-0d0f-4b3e-9a0f-3c1a3f2b6f10")
"""Ours, for identifiers derived from the inputs' hash: equal inputs give equal disks."""

START_BYTES: Final = 1 * MIB
"""First partition: where every partitioning tool of the last ten years puts it (alignment)."""

END_BYTES: Final = 1 * MIB
"""Behind the root: room for the table's copy at the end of the disk."""

FAT32_LEAST_BYTES: Final = 40 * MIB
"""FAT32 needs 65,525 clusters, at 512 bytes 33 MiB with its tables; UEFI promises to read FAT32."""

ESP_SPARE_BYTES: Final = 4 * MIB
EXT4_OVERHEAD: Final = 1.10
"""Inode tables, journal and rounding of files to blocks, as measured on the node's tree (6 to 8 %)."""

SQUASHFS_COMPRESSION: Final = ("-comp", "zstd", "-Xcompression-level", "9", "-b", "32768")
"""Small blocks: a boot reads a little of many files. QEMU's CPU time to /health, emulated: 35 to 40 s with 128 KiB, 31 to
34 s with 32 KiB, 33 to 37 s with lz4 at 128 KiB (which packs ten times slower)."""

SQUASHFS_ARGUMENTS: Final = (*SQUASHFS_COMPRESSION, "-no-progress", "-noappend", "-quiet")
COPY_TIMEOUT_S: Final = 600.0
MAKE_TIMEOUT_S: Final = 900.0
"""Half a gigabyte takes 5 s here; slow disks get their time."""

NO_TIMES: Final = {"SOURCE_DATE_EPOCH": "315532800"}
"""1980, the first year of FAT: mtools (also when syslinux calls it) writes this instead of the time of the build."""

MBR_CODE: Final = Path("/usr/lib/syslinux/mbr/gptmbr.bin")
MBR_CODE_BYTES: Final = 440


@dataclass(frozen=True)
class Layout:
    """Where things are on the disk, in bytes."""

    esp_bytes: int
    root_bytes: int

    @property
    def root_start_bytes(self) -> int:
        return START_BYTES + self.esp_bytes

    @property
    def total_bytes(self) -> int:
        return self.root_start_bytes + self.root_bytes + END_BYTES


def rounded_up(size_bytes: int, unit_bytes: int) -> int:
    """The next multiple of ``unit_bytes``."""
    return -(-size_bytes // unit_bytes) * unit_bytes


def esp_bytes(boot_files_bytes: int) -> int:
    """How large the boot partition must be for files of that size together."""
    return rounded_up(max(FAT32_LEAST_BYTES, boot_files_bytes + ESP_SPARE_BYTES), MIB)


def root_identifier(inputs_sha256: str) -> uuid.UUID:
    """The root partition's id: the kernel finds its root by it, so an older installation on another disk is never taken."""
    return uuid.uuid5(NAMESPACE, f"root {inputs_sha256}")


def kernel_arguments(recipe: Recipe, root: uuid.UUID) -> tuple[str, ...]:
    """The kernel's command line. The engine's initrd finds its root by name; the node's by partition id."""
    if recipe.root is RootKind.EXT4:
        return (f"root=PARTUUID={root}", *recipe.kernel_arguments)
    return recipe.kernel_arguments


def make_disk(
    processes: Processes, recipe: Recipe, tree: Path, boot_files: Path, inputs_sha256: str, target: Path
) -> Layout:
    """Write the disk image of ``tree`` to ``target`` (sparse). The parts lie beside it while they are made."""
    root_id = root_identifier(inputs_sha256)
    squashfs = target.with_name(target.name + ".root")
    esp = target.with_name(target.name + ".esp")
    try:
        if recipe.root is RootKind.SQUASHFS:
            processes.run(["mksquashfs", str(tree), str(squashfs), *SQUASHFS_ARGUMENTS], timeout_s=MAKE_TIMEOUT_S)
            root_bytes = rounded_up(squashfs.stat().st_size, MIB)
        else:
            root_bytes = rounded_up(int(tree_bytes(processes, tree) * EXT4_OVERHEAD) + recipe.root_slack_bytes, 64 * MIB)
        arguments = kernel_arguments(recipe, root_id)
        layout = Layout(make_esp(processes, recipe.kind.value, boot_files, arguments, esp), root_bytes)
        root = boot.root_line(root_id, recipe.root_label, layout.root_start_bytes, root_bytes)
        start_disk(processes, layout, inputs_sha256, esp, target, root)
        if recipe.root is RootKind.SQUASHFS:
            copy_into(squashfs, target, layout.root_start_bytes)
        else:
            make_ext4(processes, recipe, tree, target, layout, uuid.uuid5(NAMESPACE, f"file system {inputs_sha256}"))
        write_boot_code(target)
    finally:
        for part in (squashfs, esp):
            part.unlink(missing_ok=True)
    return layout


def make_boot_disk(
    processes: Processes, name: str, boot_files: Path, arguments: tuple[str, ...], inputs_sha256: str, target: Path
) -> Layout:
    """Write a disk image that is a boot partition and nothing else: what runs lives in its initrd."""
    esp = target.with_name(target.name + ".esp")
    try:
        layout = Layout(make_esp(processes, name, boot_files, arguments, esp), root_bytes=0)
        start_disk(processes, layout, inputs_sha256, esp, target)
        write_boot_code(target)
    finally:
        esp.unlink(missing_ok=True)
    return layout


def start_disk(
    processes: Processes, layout: Layout, inputs_sha256: str, esp: Path, target: Path, more_partitions: str = ""
) -> None:
    """Make ``target`` with its partition table and the boot partition of ``esp``."""
    target.unlink(missing_ok=True)
    with target.open("wb") as file:
        file.truncate(layout.total_bytes)
    disk_id, esp_id = (uuid.uuid5(NAMESPACE, f"{what} {inputs_sha256}") for what in ("disk", "esp"))
    script = boot.partition_script(disk_id, esp_id, layout.esp_bytes, START_BYTES) + more_partitions
    processes.run(["sfdisk", "--quiet", str(target)], timeout_s=COPY_TIMEOUT_S, stdin=script)
    copy_into(esp, target, START_BYTES)


def tree_bytes(processes: Processes, tree: Path) -> int:
    """How much disk the files of ``tree`` take (each hard link once)."""
    return int(processes.run(["du", "-sx", "--block-size=1", str(tree)], timeout_s=COPY_TIMEOUT_S).stdout.split()[0])


def make_esp(processes: Processes, name: str, boot_files: Path, arguments: tuple[str, ...], esp: Path) -> int:
    """Make the FAT partition with both boot loaders at ``esp`` and return its size in bytes. Equal inputs, equal bytes."""

    def run(argv: list[str], stdin: str | None = None) -> None:
        processes.run(argv, timeout_s=COPY_TIMEOUT_S, stdin=stdin, env=NO_TIMES)

    size = esp_bytes(sum(path.stat().st_size for path in boot_files.iterdir()))
    esp.unlink(missing_ok=True)
    with esp.open("wb") as file:
        file.truncate(size)
    label = f"TRIVET-{name[:3]}".upper()
    run(["mkfs.vfat", "--invariant", "-F", "32", "-s", "1", "-n", label, str(esp)])
    run(["mmd", "-i", str(esp), "::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries"])
    for name_there, place in (
        ("vmlinuz", "::/vmlinuz"),
        ("initrd", "::/initrd"),
        ("bootx64.efi", "::/EFI/BOOT/BOOTX64.EFI"),
    ):
        run(["mcopy", "-i", str(esp), str(boot_files / name_there), place])
    for place, text in texts(name, arguments).items():
        run(["mcopy", "-i", str(esp), "-", place], stdin=text)
    run(["syslinux", "--install", str(esp)])
    return size


def texts(name: str, arguments: tuple[str, ...]) -> Mapping[str, str]:
    """The boot loaders' text files by their place on the FAT partition."""
    return {
        "::/syslinux.cfg": boot.syslinux_config(arguments),
        "::/loader/loader.conf": boot.loader_config(),
        "::/loader/entries/trivet.conf": boot.loader_entry(f"Trivet {name} {VERSION}", arguments),
    }


def make_ext4(processes: Processes, recipe: Recipe, tree: Path, target: Path, layout: Layout, identifier: uuid.UUID) -> None:
    """Make the ext4 root inside ``target``, filled from ``tree``."""
    extended = f"offset={layout.root_start_bytes},hash_seed={identifier},lazy_itable_init=1,lazy_journal_init=1"
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", recipe.root_label, "-U", str(identifier), "-E", extended]
    argv += ["-d", str(tree), str(target), f"{layout.root_bytes // 1024}k"]
    processes.run(argv, timeout_s=MAKE_TIMEOUT_S)


def copy_into(part: Path, disk: Path, offset_bytes: int) -> None:
    """Copy a part to its place on the disk, leaving holes where it has none but zeros."""
    zeros = bytes(MIB)
    with part.open("rb") as source, disk.open("r+b") as target:
        position = offset_bytes
        while chunk := source.read(MIB):
            if chunk != zeros[: len(chunk)]:
                os.pwrite(target.fileno(), chunk, position)
            position += len(chunk)


def write_boot_code(disk: Path) -> None:
    """The first sector's program: finds the marked partition and starts syslinux there."""
    code = MBR_CODE.read_bytes()[:MBR_CODE_BYTES]
    with disk.open("r+b") as file:
        file.write(code)
