"""What a boot of an image has to have shown, whatever else the test of it looks at."""

from __future__ import annotations

import subprocess

from image.verify import Verified


def assert_node_is_up(found: Verified, disk_bytes: int) -> None:
    """Its units are up, its agent answers, and its root fills the larger disk."""
    print(f"\nnode under {found.firmware}: answers after {found.answer_s} s, booted after {found.report_s} s; {found.time}")
    assert found.failed_units == "none"
    file_system, size_kib = found.root.split()[:2]
    assert file_system == "ext4" and int(size_kib) * 1024 > disk_bytes, "the root has grown into the larger disk"
    assert "HTTP 4" in found.answer


def no_machine_runs() -> bool:
    """Whether nothing of the machines is left."""
    table = subprocess.run(["ps", "-e", "-o", "args"], capture_output=True, text=True, check=True).stdout
    return not any(line.startswith("qemu-system") and "/run/verify/" in line for line in table.splitlines())
