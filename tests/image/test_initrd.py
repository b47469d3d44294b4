"""The engine's initrd: an archive the kernel understands, modules in an order that loads."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

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


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed")
def test_the_archive_unpacks_to_what_went_in(tmp_path: Path) -> None:
    entries = [
        Entry("bin", stat.S_IFDIR | 0o755),
        Entry("bin/busybox", stat.S_IFREG | 0o755, b"program"),
        Entry("bin/sh", stat.S_IFLNK | 0o777, b"busybox"),
    ]
    subprocess.run(["cpio", "-idm", "--quiet"], cwd=tmp_path, input=cpio(entries), check=True)
    assert (tmp_path / "bin/sh").readlink() == Path("busybox")
    assert (tmp_path / "bin/sh").read_bytes() == b"program"
    assert stat.S_IMODE((tmp_path / "bin/busybox").stat().st_mode) == 0o755


def test_equal_inputs_give_equal_archives() -> None:
    entries = [Entry("init", stat.S_IFREG | 0o755, b"#!/bin/sh\n")]
    assert cpio(entries) == cpio(entries)
    assert cpio(entries).startswith(b"070701") and len(cpio(entries)) % 4 == 0
