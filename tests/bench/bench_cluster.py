"""The whole thing on three real nodes: how long it takes to be there, to come back, and what it costs in memory.

Baselines of the same run: the engine image booted alone (nothing beside it, no Gluster) stands under the failovers, because
under emulation the boot is most of them; a bare lab stands under the run.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from tests.bench.measure import Measured
from tests.lab.cluster import Cluster, trivet
from tests.lab.test_cluster import ENGINE_BUDGET_BYTES, MIB, NODE_BUDGET_BYTES

LAB = "bench"
PORT = "8463"
UP_S = 900.0
RUN_S = 1500.0
FIRST_RUN_BOUND_S = 240.0
"""The bound of a second `make run`: the images are there, nodes and cluster are not."""
BOOT_BOUND_S = 35.0
START_BOUND_S = {"QEMU killed": 3.0, "power cut": 10.0}
API_BOUND_S = {"QEMU killed": None, "power cut": 60.0}


@cache
def boot_alone_s() -> float:
    """Seconds from QEMU's start to /health of the engine image by itself (BIOS, empty data disk)."""
    verified = trivet("image", "verify", "engine", "--firmware", "bios", "--json", timeout_s=RUN_S).json()
    return float(verified["boots"][0]["answer_s"])


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    """Append the seconds that the block took."""
    began_s = time.monotonic()
    yield
    into.append(time.monotonic() - began_s)


def failover(cluster: Cluster, what: str, since_s: float, epoch: int, nodes: tuple[str, ...]) -> list[Measured]:
    """Rows for a fault at wall time ``since_s``: to the start command, to the API."""
    begun = cluster.first_event(nodes, "start-begun", since_s, 60)
    cluster.wait_health(300, above_epoch=epoch)
    api_s = time.time() - since_s
    alone = ("engine image booted alone", boot_alone_s())
    return [
        Measured(f"{what} → start begins", "s", begun["wall_s"] - since_s, *alone, bound=START_BOUND_S[what]),
        Measured(f"{what} → API answers", "s", api_s, *alone, bound=API_BOUND_S[what]),
    ]


def bench_cluster() -> list[Measured]:
    """Run, memory, QEMU killed, power cut."""
    import_only = subprocess.run(
        [sys.executable, "-c", "import flask, resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"],
        capture_output=True,
        text=True,
        check=True,
    )
    python_bytes = int(import_only.stdout)
    trivet("image", "build", "node", timeout_s=RUN_S)
    rows = [Measured("engine image boots to /health", "s", boot_alone_s(), "itself", boot_alone_s(), bound=BOOT_BOUND_S)]
    trivet("stop", "--name", LAB)
    bare: list[float] = []
    run: list[float] = []
    again: list[float] = []
    try:
        with timed(bare):
            trivet("lab", "up", "--name", LAB, "--nodes", "3", "--port", PORT, timeout_s=UP_S)
        with timed(run):
            trivet("run", "--name", LAB, timeout_s=RUN_S)
        with timed(again):
            trivet("run", "--name", LAB, timeout_s=RUN_S)
        lab_up = ("three bare nodes up", bare[0])
        rows.append(Measured("run, images there", "s", bare[0] + run[0], *lab_up, bound=FIRST_RUN_BOUND_S))
        rows.append(Measured("run, cluster there", "s", again[0], *lab_up))
        cluster = Cluster(LAB)
        before = cluster.settled()
        python = ("Python with flask imported", python_bytes / MIB)
        used = max(cluster.resident_bytes(node) for node in cluster.nodes)
        rows.append(Measured("memory of a node's programs", "MiB", used / MIB, *python, bound=NODE_BUDGET_BYTES / MIB))
        used = cluster.overview()["programs_resident_bytes"]
        rows.append(Measured("memory of the engine's programs", "MiB", used / MIB, *python, bound=ENGINE_BUDGET_BYTES / MIB))
        killed_s = float(cluster.shell(before["host"], "date +%s.%N; kill -9 $(cat /run/libvirt/qemu/HostedEngine.pid)"))
        rows += failover(cluster, "QEMU killed", killed_s, before["epoch"], cluster.nodes)
        before = cluster.settled()
        others = tuple(node for node in cluster.nodes if node != before["host"])
        cut_s = cluster.power(before["host"], "off")
        rows += failover(cluster, "power cut", cut_s, before["epoch"], others)
    finally:
        trivet("stop", "--name", LAB)
    return rows
