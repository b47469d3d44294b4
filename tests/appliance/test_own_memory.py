"""The resident memory of Trivet's programs, summed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from appliance.effects.own_memory import PAGE_BYTES, resident_bytes


def process(proc: Path, pid: int, program: str, pages: int) -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "cmdline").write_bytes(f"{program}\0-I\0".encode())
    (proc / str(pid) / "statm").write_text(f"5000 {pages} 7 1 0 9 0\n")


def test_resident_pages_of_all_own_programs_are_summed(tmp_path: Path) -> None:
    process(tmp_path, 1, "/usr/lib/trivet/venv/bin/python3", 100)
    process(tmp_path, 22, "/usr/lib/trivet/venv/bin/gunicorn", 23)
    process(tmp_path, 23, "/usr/bin/python3", 1000)
    (tmp_path / "net").mkdir()
    (tmp_path / "33").mkdir()  # a process that ended between two looks
    assert resident_bytes(tmp_path) == 123 * PAGE_BYTES


def test_a_running_program_counts(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python3").symlink_to(sys.executable)
    assert resident_bytes(venv=venv) == 0
    argv = [venv / "bin/python3", "-c", "print(flush=True); input()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        assert resident_bytes(venv=venv) > 100 * os.sysconf("SC_PAGE_SIZE")
        running.kill()
