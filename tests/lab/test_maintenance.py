"""Planned work costs nothing: maintenance of the engine's host, bricks that restart, all three nodes one after another.

A client in the lab's network asks the engine every 100 ms all the while.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cluster import Cluster, wait

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900), pytest.mark.usefixtures("at_rest")]

UNAVAILABLE_S = 3.0
"""In total, over a rolling restart of three nodes: the bar of the issue."""
COMMAND_S = 700.0
BACK_S = 240.0
REFRESHED_S = 240.0
SLOW_S = 1.0
"""An answer that takes longer counts as time without the engine."""
PATIENCE_S = "10"
"""What the client gives a question: less than browsers and the SDKs give theirs."""
EMULATED_S = 3.0
"""A moved engine runs on a CPU that has to translate its programs anew: nothing is lost, but for a second or two answers are
slow. On metal it stands still for 300 ms (``libvirt_migration.DOWNTIME_MS``)."""
OFF_S = 90.0
FQDN = "engine.trivet.lab"
OTHER_VM = "planned-work"


@dataclass(frozen=True)
class Asked:
    """A question of the client: when, for how long, whether "up" came, and what went wrong."""

    wall_s: float
    took_s: float
    up: bool
    error: str

    @property
    def end_s(self) -> float:
        return self.wall_s + self.took_s


def failures(asked: Sequence[Asked]) -> list[Asked]:
    return [one for one in asked if not one.up]


def unavailable_s(asked: Sequence[Asked]) -> float:
    """What the client waited in vain or for longer than a second: from the begin of the first failed question of a row to
    the end of the next good one, and the whole of each answer that took so long."""
    total_s, down_s = 0.0, None
    for one in asked:
        if not one.up:
            down_s = one.wall_s if down_s is None else down_s
        elif down_s is not None:
            total_s, down_s = total_s + one.end_s - down_s, None
        elif one.took_s > SLOW_S:
            total_s += one.took_s
    return total_s if down_s is None else float("inf")


@contextmanager
def client(cluster: Cluster, tmp_path: Path) -> Iterator[list[Asked]]:
    """Ask the engine until the end of the block; then the list is filled."""
    status = cluster.lab("status", "--json").json()
    program = [sys.executable, "-u", "-m", "tests.lab.poller", status["engine_address"], cluster.ca_file, FQDN, PATIENCE_S]
    out = tmp_path / "asked.jsonl"
    asked: list[Asked] = []
    with out.open("w") as file:
        running = subprocess.Popen(["ip", "netns", "exec", status["switch_namespace"], *program], stdout=file)
        try:
            wait("the client's first answers", 120, lambda: out.read_text().count('"up": true') >= 5 or None)
            yield asked
            time.sleep(2 * EMULATED_S)
        finally:
            running.terminate()
            running.wait(10)
    for line in out.read_text().splitlines():
        if line.endswith("}"):
            said = json.loads(line)
            asked.append(Asked(said["wall_s"], said["took_s"], said["up"], said.get("error", "")))
    slowest = sorted((one.took_s for one in asked), reverse=True)[:3]
    print(
        f"client: {len(asked)} asked, {len(failures(asked))} failed, {unavailable_s(asked):.1f} s in all, slowest {slowest}"
    )


def keep(what: str, asked: Sequence[Asked], bar_s: float) -> None:
    """For the report, when this is measured (``TRIVET_MEASURED`` names the file)."""
    if "TRIVET_MEASURED" not in os.environ:
        return
    file = Path(os.environ["TRIVET_MEASURED"])
    seen = {
        "what": what,
        "asked": len(asked),
        "failed": len(failures(asked)),
        "unavailable_s": round(unavailable_s(asked), 1),
        "slowest_s": max(one.took_s for one in asked),
        "bar_s": bar_s,
    }
    before = json.loads(file.read_text()) if file.exists() else []
    file.write_text(json.dumps([*before, seen], ensure_ascii=False, indent=1))


def maintenance(cluster: Cluster, by: str, state: str, node: str) -> Any:
    """Give the command on ``by``; what it answers."""
    done = cluster.on(by, "trivet", "node", "maintenance", state, node, "--json", ok=False, timeout_s=COMMAND_S)
    assert done.status == 0, f"{done.stdout}{done.stderr}"
    return done.json()


def host(cluster: Cluster, node: str, by: str) -> Any:
    return next(one for one in cluster.ha(by)["hosts"] if one["name"] == node)


def small_vm(cluster: Cluster) -> dict[str, Any]:
    spec = {
        "id": "5f1c2a34-0000-4000-8000-000000000042",
        "name": OTHER_VM,
        "memory_mib": 64,
        "cpus": 1,
        "cpu_model": "Nehalem",
        "disks": [],
        "nics": [],
        "firmware": "bios",
        "on_reboot": "restart",
        "serial_log": "",
    }
    return {"spec": spec, "paused": False}


def test_maintenance_of_the_engines_host_costs_nothing(cluster: Cluster, tmp_path: Path) -> None:
    before = cluster.settled()
    node = before["host"]
    others = [name for name in cluster.nodes if name != node]
    cluster.on(node, "trivet", "agent", "call", node, "vm_start", json.dumps(small_vm(cluster)))
    began_s = time.time()
    moved: dict[str, str] = {}
    try:
        with client(cluster, tmp_path) as asked:
            done = maintenance(cluster, others[0], "on", node)
            moved = done["moved"]
            print(f"maintenance of {node}: {done['took_s']:.1f} s, moved {moved}")
        assert set(moved) == {"HostedEngine", OTHER_VM} and node not in moved.values()
        assert cluster.guests(node) == []
        assert OTHER_VM in cluster.guests(moved[OTHER_VM])
        keep("maintenance of the engine's host", asked, EMULATED_S)
        assert failures(asked) == [], "a question was not answered"
        assert unavailable_s(asked) <= EMULATED_S
        assert cluster.engine()["epoch"] == before["epoch"], "it was moved, not started anew"
        assert not [e for name in cluster.nodes for e in cluster.events(name, began_s) if e["kind"] == "start-begun"]
        shown = host(cluster, node, others[1])
        assert (shown["maintenance"], shown["score"]) == (True, 0)
        second = next(name for name in others if name != moved["HostedEngine"])
        refused = cluster.on(second, "trivet", "node", "maintenance", "on", second, "--json", ok=False, timeout_s=COMMAND_S)
        error = refused.json()["error"]
        assert (refused.status, error["code"]) == (2, "node.maintenance-refused")
        assert f"{node} is in maintenance already" in error["reason"]
        assert maintenance(cluster, node, "on", node)["moved"] == {}, "given again, it finds nothing left to do"
    finally:
        maintenance(cluster, others[1], "off", node)
        for name in cluster.nodes:
            cluster.on(name, "trivet", "agent", "call", name, "vm_destroy", json.dumps({"name": OTHER_VM}))
    wait(f"{node} able to run the engine again", 30, lambda: host(cluster, node, others[0])["score"] > 0 or None)


def test_bricks_that_restart_are_followed_by_a_refresh(cluster: Cluster) -> None:
    before = cluster.settled()
    began_s = time.time()
    for node in [name for name in cluster.nodes if name != before["host"]]:
        cluster.shell(node, "kill -9 $(pgrep -f '[g]lusterfsd.*bricks-engine')", ok=False)
        wait("the holder misses the brick", 30, lambda: fence(cluster)["open_on"] == 2 or None)
        cluster.on(node, "gluster", "--mode=script", "volume", "start", "engine", "force")
        restarted_s = time.time()
        wait("the disk open on all bricks again", REFRESHED_S, lambda: fence(cluster)["open_on"] == 3 or None)
        print(f"brick of {node} restarted: open on 3 of 3 bricks after {time.time() - restarted_s:.0f} s")
    assert cluster.wait_health(60)["epoch"] == before["epoch"]
    happened = [event["kind"] for name in cluster.nodes for event in cluster.events(name, began_s)]
    assert "start-begun" not in happened
    assert happened.count("move-done") >= 2


def fence(cluster: Cluster) -> Any:
    """As the holder sees it."""
    for node in cluster.nodes:
        if cluster.has_engine(node):
            return cluster.ha(node)["fence"]
    return {"open_on": 0}


@pytest.mark.measured
def test_all_nodes_restart_one_after_another(cluster: Cluster, tmp_path: Path) -> None:
    before = cluster.settled()
    began_s = time.time()
    with client(cluster, tmp_path) as asked:
        for number, node in enumerate(cluster.nodes):
            by = cluster.nodes[number - 1]
            done = maintenance(cluster, by, "on", node)
            print(f"{node}: in maintenance after {done['took_s']:.0f} s ({done['waited_s']:.0f} s of them waited)")
            restart(cluster, node)
            wait(f"{node} still in maintenance after its restart", BACK_S, lambda n=node, b=by: back(cluster, n, b) or None)  # type: ignore[misc]
            maintenance(cluster, by, "off", node)
    keep("all three nodes restarted one after another", asked, UNAVAILABLE_S)
    assert failures(asked) == []
    assert unavailable_s(asked) <= UNAVAILABLE_S
    assert cluster.settled()["epoch"] == before["epoch"], "the engine never stopped"
    assert not [e for name in cluster.nodes for e in cluster.events(name, began_s) if e["kind"] == "start-begun"]


def restart(cluster: Cluster, node: str) -> None:
    """As somebody who restarts a server does it: it is told to end, not cut off."""
    cluster.shell(node, "systemctl poweroff", ok=False)
    wait(f"{node} off", OFF_S, lambda: cluster.power_of(node) == "off" or None)
    cluster.power(node, "on")


def back(cluster: Cluster, node: str, by: str) -> bool:
    shown = host(cluster, node, by)
    return bool(shown["alive"] and shown["maintenance"])
