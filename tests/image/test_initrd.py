"""The engine's initrd: an archive the kernel understands, modules in an order that loads."""

from __future__ import annotations

import stat

import pytest

from appliance.errors import Failed
from image.initrd import Entry, cpio, load_order, module_name, parse_modules_dep

MODULES_DEP = """\
kernel/lib/libcrc32c.ko.xz:
kernel/fs/erofs/erofs.ko.xz: kernel/lib/libcrc32c.ko.xz
kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio.ko.xz kernel/drivers/virtio/virtio-ring.ko.xz
kernel/drivers/virtio/virtio.ko.xz: kernel/drivers/virtio/virtio-ring.ko.xz
kernel/drivers/virtio/virtio-ring.ko.xz:
"""


def test_what_a_module_needs_comes_before_it() -> None:
    order = load_order(parse_modules_dep(MODULES_DEP), ("virtio_blk", "erofs"))
    assert [module_name(path) for path in order] == ["virtio_ring", "virtio", "virtio_blk", "libcrc32c", "erofs"]


def test_a_kernel_without_the_module_is_an_error_that_names_it() -> None:
    with pytest.raises(Failed, match="squashfs") as failed:
        load_order(parse_modules_dep(MODULES_DEP), ("squashfs",))
    assert failed.value.code == "image.module-missing"


def unpacked(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """A reader of "newc" archives, written from cpio(5): path → mode and bytes."""
    found = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * number : at + 14 + 8 * number], 16) for number in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        start = -(-(at + 110 + name_size) // 4) * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, archive[start : start + size])
        at = -(-(start + size) // 4) * 4


def test_the_archive_unpacks_to_what_went_in() -> None:
    entries = [
        Entry("bin", stat.S_IFDIR | 0o755),
        Entry("bin/busybox", stat.S_IFREG | 0o755, b"program"),
        Entry("bin/sh", stat.S_IFLNK | 0o777, b"busybox"),
    ]
    assert unpacked(cpio(entries)) == {entry.path: (entry.mode, entry.data) for entry in entries}


def test_equal_inputs_give_equal_archives() -> None:
    entries = [Entry("init", stat.S_IFREG | 0o755, b"#!/bin/sh\n")]
    assert cpio(entries) == cpio(entries)
    assert cpio(entries).startswith(b"070701") and len(cpio(entries)) % 4 == 0
