"""The known good state of a cluster, brought about from whatever a test before has left."""

from __future__ import annotations

import time
from typing import Any

from appliance.layout import STANDBY_VM_NAME
from appliance.tools.systemd import WARM_UNITS
from tests.lab.cluster import Cluster, wait

SETTLED_S = 300.0
SAVED_MEMORY_S = 420.0
TRIES = 3
MAKE_S = 600.0
"""One maker: a cold boot of an emulated guest with what CPU nobody else wants."""
NOTES = "/run/trivet/ha-notes.json"
"""A host has three starts in ten minutes (L2). A test run makes more of them than any cluster has faults, so starts of
earlier rows are forgotten before they count against the next."""

FORGET = """
import json, pathlib
file = pathlib.Path("/run/trivet/ha-notes.json")
notes = json.loads(file.read_text())
notes.update({name: [] for name, value in notes.items() if isinstance(value, list)})
file.write_text(json.dumps(notes))
"""


def good_state(cluster: Cluster) -> dict[str, Any]:
    """Bring about the known good state: no fault left, engine up, all hosts alive, all healed, its disk open on every brick,
    no starts on record. Answers the status."""
    cluster.make_whole(SETTLED_S)
    wait("the engine up", SETTLED_S, cluster.health)
    _forget_starts(cluster)
    waited = False
    for _ in range(TRIES):  # while memory is waited for, a brick may come back on which the disk is not open yet
        status = wait("all hosts alive, all healed", SETTLED_S, lambda: _settled(cluster))
        if not _fence_whole(cluster, status):
            _open_anew(cluster, status)
        elif waited or cluster.has_saved_memory():
            break
        else:
            await_saved_memory(cluster)
            waited = True
    return wait("all hosts alive, all healed", SETTLED_S, lambda: _settled(cluster))


def make_in_turn(cluster: Cluster) -> None:
    """Let one node after the other make its saved memory, as far as nothing hinders it: nodes of a lab share the CPUs, and
    three makers at once took 16 min for what takes one of them two. What is not made then is made later, by the timers."""
    *begin, maker = WARM_UNITS
    end = f"systemctl stop {' '.join(WARM_UNITS)}; virsh -c qemu:///system destroy {STANDBY_VM_NAME}"
    cluster.everywhere(end, ok=False)
    for node in cluster.nodes:
        cluster.on(node, "systemctl", "start", maker, ok=False, timeout_s=MAKE_S)
    cluster.everywhere(f"systemctl start {' '.join(begin)}", ok=False)


def await_saved_memory(cluster: Cluster) -> None:
    """Each node makes it once, with what CPU nobody else wants: minutes in which nothing else is worth measuring. A cluster
    without it is no fault of this row: its starts are cold, and other tests tell why."""
    end_s = time.monotonic() + SAVED_MEMORY_S
    while not cluster.has_saved_memory():
        if time.monotonic() > end_s:
            print(f"no saved memory on every node within {SAVED_MEMORY_S:g} s: starts may be cold")
            return
        time.sleep(2)


def _settled(cluster: Cluster) -> dict[str, Any] | None:
    health = cluster.health()
    if health is None:
        return None
    status: dict[str, Any] = cluster.ha(cluster.nodes[0])
    engine, hosts = status["engine"], status["hosts"]
    if engine["state"] != "up" or engine["epoch"] != health["epoch"]:
        return None
    if len(hosts) != len(cluster.nodes) or not all(host["alive"] for host in hosts):
        return None
    return status if cluster.is_safe(engine["host"]) else None


def _fence_whole(cluster: Cluster, status: dict[str, Any]) -> bool:
    fence = cluster.ha(status["engine"]["host"])["fence"]
    return bool(fence["open_on"] == fence["bricks"] == len(cluster.nodes))


def _open_anew(cluster: Cluster, status: dict[str, Any]) -> None:
    """A new QEMU opens the disk on every brick. The broker's own refresh would too, but first it waits for half a minute;
    other tests show that it does."""
    cluster.shell(status["engine"]["host"], "kill -9 $(cat /run/libvirt/qemu/HostedEngine.pid)", ok=False)
    epoch = int(status["engine"]["epoch"])

    def probe() -> bool | None:
        now = _settled(cluster)
        return (now is not None and (now["engine"]["epoch"] > epoch or _fence_whole(cluster, now))) or None

    wait("the engine's disk open on every brick", SETTLED_S, probe)
    _forget_starts(cluster)


def _forget_starts(cluster: Cluster) -> None:
    """On the nodes that have any on record; the broker is stopped meanwhile."""
    forget = f"systemctl stop trivet-ha && python3 -c '{FORGET}' && systemctl reset-failed trivet-ha"
    script = f"grep -q at_s {NOTES} || exit 0; {forget}; systemctl start trivet-ha"
    cluster.everywhere(script)
