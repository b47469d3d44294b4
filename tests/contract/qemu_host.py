"""A libvirtd of its own with the node image's QEMU, in namespaces of its own over the image's OS layer."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import libvirt

START_LIMIT_S = 300.0
"""At its first start libvirt asks QEMU what it can do, for each machine: a minute on a busy machine."""

UP = r"""
tree=$1 folder=$2
ip link set lo up
mkdir -p "$folder/over" "$folder/root" "$folder/run" "$folder/cache"
mount -t tmpfs tmpfs "$folder/over"
mkdir "$folder/over/upper" "$folder/over/work"
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$folder/over/upper,workdir=$folder/over/work" "$folder/root"
root="$folder/root"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t proc proc "$root/proc"
mkdir -p "$root$folder/disks" "$root/run/libvirt" "$root/var/cache/libvirt"
mount --bind "$folder/disks" "$root$folder/disks"
mount --bind "$folder/run" "$root/run/libvirt"
mount --bind "$folder/cache" "$root/var/cache/libvirt"
cat > "$root/etc/libvirt/qemu.conf" <<END
security_driver = "none"
namespaces = []
dynamic_ownership = 0
remember_owner = 0
user = "root"
group = "root"
cgroup_controllers = []
END
cat > "$root/etc/libvirt/virtlogd.conf" <<END
max_size = 16384
max_backups = 1
END
cat > "$root/etc/libvirt/libvirtd.conf" <<END
auth_unix_rw = "none"
host_uuid = "5b1f4c1e-9c8e-4c4e-8b0e-0d5f7a1c2b3d"
END
ip link add br-one type bridge
ip link add br-two type bridge
chroot "$root" /usr/sbin/virtlogd &
# not exec: this shell is process 1, and buries the QEMUs that libvirtd leaves to it
chroot "$root" /usr/sbin/libvirtd &
wait
"""


@contextmanager
def qemu_host(tree: Path, folder: Path) -> Iterator[str]:
    """libvirt's address. ``folder / "disks"`` is at the same path inside; there are bridges br-one and br-two."""
    (folder / "disks").mkdir()
    argv = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "--",
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-euc",
        UP,
        "sh",
        str(tree),
        str(folder),
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            uri = f"qemu+unix:///system?socket={folder}/run/libvirt-sock"
            _wait(process, uri, folder / "log")
            yield uri
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()


def _wait(process: subprocess.Popen[bytes], uri: str, log: Path) -> None:
    end_s = time.monotonic() + START_LIMIT_S
    while True:
        try:
            libvirt.open(uri).close()
            return
        except libvirt.libvirtError:
            if process.poll() is not None or time.monotonic() > end_s:
                raise AssertionError(f"libvirtd did not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.2)
