"""The own user's resident memory, summed."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.effects.own_memory import PAGE_BYTES, resident_bytes


def test_resident_pages_of_all_own_processes_are_summed(tmp_path: Path) -> None:
    for pid, pages in (("1", 100), ("22", 23)):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "statm").write_text(f"5000 {pages} 7 1 0 9 0\n")
    (tmp_path / "net").mkdir()
    (tmp_path / "33").mkdir()  # a process that ended between two looks
    assert resident_bytes(tmp_path) == 123 * PAGE_BYTES


def test_this_process_counts() -> None:
    assert resident_bytes() > int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2
