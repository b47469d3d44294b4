"""Reading the kernel's tables, and the small acts on files and locks."""

from __future__ import annotations

import threading
from pathlib import Path, PurePosixPath

import pytest

from appliance.errors import Failed
from image.lab import ground, observe
from image.lab.observe import Observed
from image.lab.seed import SeedFile

MOUNTINFO = """\
21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 21 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw
40 21 0:50 / /var/lib/trivet-lab/a/node1/root rw,relatime - overlay trivet-a-node1 rw,lowerdir=/x
41 40 0:51 / /var/lib/trivet-lab/a/node1/root/proc rw shared:1 - proc proc rw
42 21 0:52 / /var/lib/trivet-lab/ab/node1/root rw - overlay trivet-ab-node1 rw
43 21 8:1 / /srv/with\\040blank rw - xfs /dev/sdb1 rw
"""


def test_mount_points_are_read_with_their_escapes() -> None:
    mounts = observe.parse_mountinfo(MOUNTINFO)
    assert mounts[-1] == observe.Mount(Path("/srv/with blank"), "xfs", "/dev/sdb1")
    assert mounts[3].kind == "proc"


def test_mounts_of_a_lab_are_its_own_deepest_first() -> None:
    mounts = observe.parse_mountinfo(MOUNTINFO)
    root = Path("/var/lib/trivet-lab/a/node1/root")
    assert observe.mounts_below(mounts, Path("/var/lib/trivet-lab/a")) == (root / "proc", root)


def test_the_file_system_of_a_folder_is_that_of_the_nearest_mount() -> None:
    mounts = observe.parse_mountinfo(MOUNTINFO)
    assert observe.filesystem_of(mounts, Path("/srv/with blank/x")) == "xfs"
    assert observe.filesystem_of(mounts, Path("/var/lib")) == "ext4"


@pytest.mark.parametrize(
    ("status", "init"),
    [
        ("Name:\tsystemd\nNSpid:\t3917\t1\n", True),
        ("NSpid:\t1\n", False),
        ("NSpid:\t40\t17\n", False),
        ("Name:\tx\n", False),
    ],
)
def test_a_nodes_init_is_process_1_of_a_namespace_below_ours(status: str, init: bool) -> None:
    assert observe.is_init(status) is init


def test_nothing_is_nothing() -> None:
    assert Observed((), (), (), (), ()).nothing
    assert not Observed((), (), (), (), (Path("/run/trivet-lab/a"),)).nothing


def test_the_seed_replaces_links_and_does_not_follow_them(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/resolv.conf").symlink_to(outside)
    ground.write_seed(root, [SeedFile(PurePosixPath("etc/resolv.conf"), "", mode=0o644)])
    assert outside.read_text() == "mine"
    assert (root / "etc/resolv.conf").read_text() == ""
    assert not (root / "etc/resolv.conf").is_symlink()


def test_a_folder_link_that_leads_out_of_the_tree_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "etc").symlink_to(tmp_path / "outside")
    with pytest.raises(Failed) as failed:
        ground.write_seed(root, [SeedFile(PurePosixPath("etc/hosts"), "x")])
    assert failed.value.code == "lab.tree-invalid"
    assert list((tmp_path / "outside").iterdir()) == []


def test_an_appended_block_is_there_once_however_often_the_seed_is_written(tmp_path: Path) -> None:
    target = tmp_path / "etc/qemu.conf"
    target.parent.mkdir()
    target.write_text("of the image\n")
    for _ in range(2):
        ground.write_seed(tmp_path, [SeedFile(PurePosixPath("etc/qemu.conf"), "block\n", append=True, mode=0o600)])
    assert target.read_text() == "of the image\nblock\n"
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_replaced_file_leaves_no_other_behind(tmp_path: Path) -> None:
    ground.replace_file(tmp_path / "new/lab.json", "1")
    ground.replace_file(tmp_path / "new/lab.json", "2")
    assert [(file.name, file.read_text()) for file in (tmp_path / "new").iterdir()] == [("lab.json", "2")]


def test_a_lock_can_be_removed_by_its_holder_and_taken_again(tmp_path: Path) -> None:
    lock = tmp_path / "run/lock"
    with ground.locked(lock):
        lock.unlink()
    with ground.locked(lock):
        assert lock.exists()


def test_a_held_lock_keeps_another_out_until_it_is_released(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    entered = threading.Event()

    def other() -> None:
        with ground.locked(lock):
            entered.set()

    waiting = threading.Thread(target=other, daemon=True)
    with ground.locked(lock):
        waiting.start()
        assert not entered.wait(0.2)
    assert entered.wait(5)


def test_a_removed_folder_takes_an_empty_parent_along_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "labs/a/x").mkdir(parents=True)
    (tmp_path / "labs/b").mkdir()
    ground.remove_folder(tmp_path / "labs/a")
    assert (tmp_path / "labs/b").is_dir()
    ground.remove_folder(tmp_path / "labs/b")
    assert not (tmp_path / "labs").exists()
    assert tmp_path.exists()
