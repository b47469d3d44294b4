"""Small initrds as cpio archives: busybox, a few kernel modules and one script. The engine VM's is made here.

Not initramfs-tools: its udev alone takes longer under emulation than this whole initrd, and the VM's hardware is known.
"""

from __future__ import annotations

import lzma
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.errors import Failed

MODULES: Final = ("virtio_blk", "squashfs", "overlay")
"""What the kernel needs before the root is there; virtio itself is built into Debian's cloud kernel."""

LIBRARIES: Final = ("libresolv.so.2", "libc.so.6")
"""What Debian's busybox is linked to."""

APPLETS: Final = ("sh", "mount", "insmod", "mkdir", "sleep", "grep", "switch_root", "poweroff", "[")
"""What ``boot/init`` calls."""

FOLDERS: Final = ("bin", "modules", "proc", "sys", "dev", "lower", "memory", "root", "lib64", "lib")


@dataclass(frozen=True)
class Entry:
    """One file of a cpio archive: its path, mode with file type, and bytes (of a symbolic link: the target)."""

    path: str
    mode: int
    data: bytes = b""


def cpio(entries: Iterable[Entry]) -> bytes:
    """The entries as a "newc" archive, as the kernel unpacks it. Owner root, no times: equal inputs, equal bytes."""
    out = bytearray()
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.path.encode() + b"\0"
        fields = (number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, 0, 0, len(name), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out += b"\0" * (-len(out) % 4)
        out += entry.data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def load_order(dependencies: Mapping[str, tuple[str, ...]], wanted: Iterable[str]) -> tuple[str, ...]:
    """Paths of the modules ``wanted`` (by name), each after what it depends on.

    ``dependencies`` is modules.dep: path → paths. Raises ``Failed`` (``image.module-missing``).
    """
    by_name = {module_name(path): path for path in dependencies}
    ordered: list[str] = []

    def add(path: str) -> None:
        for needed in dependencies[path]:
            add(needed)
        if path not in ordered:
            ordered.append(path)

    for name in wanted:
        if name not in by_name:
            raise Failed(
                "image.module-missing",
                subject=f"kernel module {name}",
                reason="the image's kernel does not have it, and the VM cannot do its work without it",
                remedy="Check the kernel package in image/elements/trivet-engine.",
            )
        add(by_name[name])
    return tuple(ordered)


def module_name(path: str) -> str:
    """``kernel/fs/squashfs/squashfs.ko.xz`` → ``squashfs``; modules are called with underscores."""
    return path.rsplit("/", 1)[-1].partition(".")[0].replace("-", "_")


def parse_modules_dep(text: str) -> dict[str, tuple[str, ...]]:
    """modules.dep as a mapping from path to the paths it depends on."""
    lines = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {path: tuple(needed.split()) for path, _, needed in lines}


def engine_initrd(tree: Path, modules: Path, init: Path) -> bytes:
    """The archive for the kernel whose modules are in ``modules``, with busybox out of ``tree``."""
    entries = [Entry(folder, stat.S_IFDIR | 0o755) for folder in FOLDERS]
    entries.append(Entry("lib/x86_64-linux-gnu", stat.S_IFDIR | 0o755))
    entries.append(Entry("init", stat.S_IFREG | 0o755, init.read_bytes()))
    entries += busybox_entries(tree)
    entries += [Entry(f"bin/{applet}", stat.S_IFLNK | 0o777, b"busybox") for applet in APPLETS]
    entries += module_entries(modules, MODULES)
    return cpio(entries)


def busybox_entries(tree: Path) -> list[Entry]:
    """Busybox out of ``tree``, and what Debian links it to; its folders are the caller's."""
    entries = [
        Entry("bin/busybox", stat.S_IFREG | 0o755, (tree / "usr/bin/busybox").read_bytes()),
        Entry("lib64/ld-linux-x86-64.so.2", stat.S_IFREG | 0o755, (tree / "usr/lib64/ld-linux-x86-64.so.2").read_bytes()),
    ]
    for name in LIBRARIES:
        library = tree / "usr/lib/x86_64-linux-gnu" / name
        entries.append(Entry(f"lib/x86_64-linux-gnu/{name}", stat.S_IFREG | 0o755, library.read_bytes()))
    return entries


def module_entries(modules: Path, wanted: Iterable[str]) -> list[Entry]:
    """The modules ``wanted`` of the kernel whose modules are in ``modules``, named in the order in which they load."""
    order = load_order(parse_modules_dep((modules / "modules.dep").read_text()), wanted)
    return [
        Entry(f"modules/{number:02}-{module_name(path)}.ko", stat.S_IFREG | 0o644, _unpacked(modules / path))
        for number, path in enumerate(order)
    ]


def _unpacked(module: Path) -> bytes:
    data = module.read_bytes()
    return lzma.decompress(data) if module.suffix == ".xz" else data
