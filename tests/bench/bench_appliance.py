"""The core's cost: what a process through our door, data through the codec and a journal line take."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from appliance.codec import decode, encode
from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from appliance.journal import Journal
from appliance.model.cluster import Cluster, EngineVm, Member
from tests.bench.measure import Measured, seconds_a_call

NODES = 16
"""The largest cluster that Trivet is made for."""


def bench_process() -> list[Measured]:
    """Starting a program: the deadline and the process group must not cost more than the program."""
    processes = SystemProcesses()
    ours = seconds_a_call(lambda: processes.run(["/bin/true"], timeout_s=10))
    bare = seconds_a_call(lambda: subprocess.run(["/bin/true"], capture_output=True, check=True))
    return [Measured("start a process and read its output", "ms", ours * 1e3, "subprocess.run", bare * 1e3)]


def bench_codec() -> list[Measured]:
    """Reading a cluster of sixteen nodes."""
    engine = EngineVm("e", "engine.example", "198.18.0.100", 24, "198.18.0.1", (), "52:54:00:00:00:01", 1024, 2, 1 << 30)
    members = tuple(Member(str(i), f"node{i}", f"198.18.0.{10 + i}") for i in range(NODES))
    text = json.dumps(encode(Cluster("c", "bench", members, engine)))
    ours = seconds_a_call(lambda: decode(Cluster, json.loads(text), subject="bench"))
    bare = seconds_a_call(lambda: json.loads(text))
    return [Measured(f"read a cluster of {NODES} nodes, checked", "µs", ours * 1e6, "json.loads alone", bare * 1e6)]


def bench_journal() -> list[Measured]:
    """A line of the journal is a synced write: it should cost what the disk asks and hardly more."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal", SystemClock())
        ours = seconds_a_call(lambda: journal.write("step", "done"))
        line = (Path(folder) / "journal").read_bytes().split(b"\n")[0] + b"\n"
        descriptor = os.open(Path(folder) / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def write() -> None:
            os.write(descriptor, line)
            os.fsync(descriptor)

        bare = seconds_a_call(write)
        os.close(descriptor)
    return [Measured("append a line to the journal, synced", "ms", ours * 1e3, "write + fsync", bare * 1e3)]
