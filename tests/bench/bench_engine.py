"""The engine's API over the real server (TLS on loopback, two workers with threads, as in the engine VM): lists, single
objects, memory, and how the cost grows.

Baselines of the same run: decoding the same list with json alone stands under the lists, the server's /health under single
objects, Python with flask under memory.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.api_world import JSON, TYPED, XML, Client, flask_mib, memory_mib, served
from tests.bench.curves import Curve, curves_plot
from tests.bench.measure import Measured

VMS = "/ovirt-engine/api/vms"
SHOP = 1_000
SIZES = (100, SHOP, 5_000)
LIST_BOUNDS_MS = {XML: 150.0, JSON: 120.0, TYPED: 40.0}
NAMES = {XML: "XML", JSON: "v4 JSON", TYPED: "typed"}
CLIENTS = 4
"""Connections that ask for single objects at once; each asks so often:"""
QUESTIONS = 500
SINGLE_BOUND = 500.0
P99_BOUND_MS = 50.0
MEMORY_BOUND_MIB = 300.0
PLOT = Path(__file__).resolve().parents[2] / "docs/api-costs.svg"


def bench_engine_api() -> list[Measured]:
    """1,000 VMs, 32 hosts, 3,000 disks."""
    with served(SHOP) as running:
        client = Client(running)
        rows = [_list(client, accept) for accept in NAMES]
        client.get(f"{VMS}?search=name%3Dvm{SHOP // 2:05}")
        one = f"{VMS}/{json.loads(client.body)['vm'][0]['id']}"
        health = _asked([Client(running) for _ in range(CLIENTS)], "/health")
        single = _asked([Client(running) for _ in range(CLIENTS)], one)
        memory = memory_mib(running)
    beside = f"{CLIENTS} connections to /health"
    return [
        *rows,
        Measured("single VMs", "1/s", _rate(single), beside, _rate(health), "higher", SINGLE_BOUND),
        Measured("single VM, p99", "ms", _p99(single), beside, _p99(health), bound=P99_BOUND_MS),
        Measured(
            "memory of the web server", "MiB", memory, "Python with flask imported", flask_mib(), bound=MEMORY_BOUND_MIB
        ),
    ]


def bench_engine_growth() -> list[Measured]:
    """The same lists with 100, 1,000 and 5,000 VMs: docs/api-costs.svg. Linear would be a ratio of 1."""
    took: dict[str, list[tuple[float, float]]] = {accept: [] for accept in NAMES}
    for vms in SIZES:
        with served(vms) as running:
            client = Client(running)
            for accept in NAMES:
                took[accept].append((vms, client.list_ms(VMS, accept)))
    curves = [Curve(NAMES[accept], tuple(points)) for accept, points in took.items()]
    PLOT.write_text(curves_plot("Listing all VMs", "VMs", "ms", curves))
    return [
        Measured(
            f"list {SIZES[-1]:,} VMs, {name}, for each VM", "µs", _each_us(points[-1]), f"with {SHOP:,}", _each_us(points[1])
        )
        for name, points in ((NAMES[accept], found) for accept, found in took.items())
    ]


def _list(client: Client, accept: str) -> Measured:
    ours = client.list_ms(VMS, accept)
    client.get(VMS, JSON)
    text = client.body
    began_s = time.perf_counter()
    json.loads(text)
    alone_ms = (time.perf_counter() - began_s) * 1e3
    what = f"list {SHOP:,} VMs, {NAMES[accept]}"
    return Measured(what, "ms", ours, "json.loads of the v4 answer", alone_ms, bound=LIST_BOUNDS_MS[accept])


def _asked(clients: list[Client], path: str) -> tuple[float, list[float]]:
    """Every client asks :data:`QUESTIONS` times, all at once: (seconds in all, milliseconds of each)."""
    began_s = time.perf_counter()
    with ThreadPoolExecutor(len(clients)) as pool:
        each = list(pool.map(lambda client: [client.timed_ms(path, JSON) for _ in range(QUESTIONS)], clients))
    return time.perf_counter() - began_s, sorted(one for found in each for one in found)


def _rate(asked: tuple[float, list[float]]) -> float:
    return len(asked[1]) / asked[0]


def _p99(asked: tuple[float, list[float]]) -> float:
    return asked[1][int(len(asked[1]) * 0.99)]


def _each_us(point: tuple[float, float]) -> float:
    return point[1] / point[0] * 1e3
