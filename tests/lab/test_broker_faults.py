"""When the broker itself is the fault: killed, hung, crash-looping, without disk space, on a node at its limits.

In all of these the engine VM is fine, so it must not be restarted; only a broker that cannot be kept alive loses it, and
then to another host.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cluster import Cluster, wait

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600), pytest.mark.usefixtures("at_rest")]

UNIT = "trivet-ha.service"
DROP_IN = Path(f"/run/systemd/system/{UNIT}.d/broken.conf")
BROKEN = r"[Service]\nExecStart=\nExecStart=/bin/false\n"
BACK_AFTER_KILL_S = 15.0
WATCHDOG_S = 10.0
BACK_AFTER_HANG_S = WATCHDOG_S + 20.0
"""The unit's watchdog time, the end of the old one (2 s) and the start of a new one under emulation."""
STUCK_S = 2 * WATCHDOG_S
GONE_AFTER_CRASH_LOOP_S = 90.0
"""Six starts a second apart, two readings of the board, a migration; seconds each, on a machine that does more."""
LOAD = 100
LOAD_S = 40.0
LOAD_SEEN = 40.0
"""What the one-minute average shows after 40 s of 100 runnable processes: 100 x (1 - e^(-40/60)) = 49, less a slow start."""


@dataclass(frozen=True)
class Broker:
    """The broker's process as its systemd knows it, and the engine VM's QEMU beside it."""

    pid: int
    restarts: int
    qemu: str


def broker(cluster: Cluster, node: str) -> Broker:
    """How it is now; pid 0: it is not running."""
    shown = cluster.shell(
        node,
        f"systemctl show --property=MainPID --property=NRestarts {UNIT}; cat /run/libvirt/qemu/HostedEngine.pid 2>/dev/null",
        ok=False,
    )
    lines = shown.split()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    return Broker(int(found["MainPID"]), int(found["NRestarts"]), "".join(line for line in lines if "=" not in line))


def now_s(cluster: Cluster, node: str) -> float:
    """Wall time as ``node`` has it."""
    return float(cluster.shell(node, "date +%s.%N"))


def kinds(cluster: Cluster, since_s: float) -> dict[str, list[str]]:
    """What each node's broker has done since then."""
    return {node: [event["kind"] for event in cluster.events(node, since_s)] for node in cluster.nodes}


def fresh(cluster: Cluster, node: str) -> Any:
    """The broker's own word on the engine, once it has turned again and found the engine VM up on ``node``."""

    def probe() -> Any:
        said = cluster.ha(node)
        found = "error" not in said and (said["engine"]["state"], said["engine"]["host"]) == ("up", node)
        return said if found else None

    return wait(f"the broker of {node} has the engine VM in its eyes again", 60, probe)


def assert_untouched(cluster: Cluster, before: dict[str, Any], qemu: str, since_s: float) -> None:
    """The same QEMU, the same epoch, and nobody has started anything."""
    after = cluster.engine()
    assert (after["host"], after["epoch"]) == (before["host"], before["epoch"])
    assert broker(cluster, before["host"]).qemu == qemu
    assert not any(kind in ("start-done", "destroyed") for done in kinds(cluster, since_s).values() for kind in done)


def test_a_killed_broker_comes_back_and_adopts_the_engine(cluster: Cluster) -> None:
    before = cluster.settled()
    node = before["host"]
    was = broker(cluster, node)
    since_s = now_s(cluster, node)
    cluster.shell(node, f"kill -KILL {was.pid}")
    found = wait("another broker", BACK_AFTER_KILL_S, lambda: _another(cluster, node, was))
    said = fresh(cluster, node)
    print(f"broker killed: turning again {now_s(cluster, node) - since_s:.1f} s later, restart {found.restarts}")
    assert said["engine"]["epoch"] == before["epoch"], "it has adopted the VM with the epoch of its notes"
    assert_untouched(cluster, before, was.qemu, since_s)


def test_a_hung_broker_is_ended_by_its_watchdog(cluster: Cluster) -> None:
    """Stopped as a debugger would stop it: meanwhile others call its host silent, and the disk's lock refuses them."""
    before = cluster.settled()
    node = before["host"]
    was = broker(cluster, node)
    since_s = now_s(cluster, node)
    cluster.shell(node, f"kill -STOP {was.pid}")
    wait("another broker", BACK_AFTER_HANG_S, lambda: _another(cluster, node, was))
    took_s = now_s(cluster, node) - since_s
    fresh(cluster, node)
    journal = cluster.shell(node, f"journalctl --no-pager -q -o cat -u {UNIT} --since=@{since_s:.0f}")
    print(f"broker hung: another one {took_s:.1f} s later; meanwhile: {kinds(cluster, since_s)}")
    assert took_s >= WATCHDOG_S / 2, "it was ended before its watchdog could have struck"
    assert "Watchdog timeout" in journal
    assert "Fatal Python error: Aborted" in journal, "the stacks of its threads, for whoever looks for the cause"
    assert_untouched(cluster, before, was.qemu, since_s)


def test_a_stuck_volume_is_no_hung_broker(cluster: Cluster) -> None:
    """The FUSE client of a standby stands still, and with it every thread that touches the volume, but not the loop."""
    before = cluster.settled()
    node = next(name for name in cluster.nodes if name != before["host"])
    was = broker(cluster, node)
    client = cluster.shell(node, "pgrep -f '[g]lusterfs .*/var/lib/trivet/volumes/engine'").split()
    assert len(client) == 1, client
    since_s = now_s(cluster, node)
    cluster.shell(node, f"kill -STOP {client[0]}")
    try:
        ages_s = []
        end_s = time.monotonic() + STUCK_S
        while time.monotonic() < end_s:
            time.sleep(1)
            ages_s.append(cluster.ha(node)["broker_age_s"])
    finally:
        cluster.shell(node, f"kill -CONT {client[0]}")
    print(f"volume stuck for {STUCK_S:g} s: the broker's last turn was never older than {max(ages_s):.1f} s")
    assert max(ages_s) < WATCHDOG_S / 2
    now = broker(cluster, node)
    assert (now.pid, now.restarts) == (was.pid, was.restarts)
    assert_untouched(cluster, before, broker(cluster, before["host"]).qemu, since_s)
    wait(f"{node} alive again", 60, lambda: _alive(cluster, before["host"], node) or None)


def test_a_full_disk_degrades_the_broker_and_no_more(cluster: Cluster) -> None:
    before = cluster.settled()
    node = before["host"]
    other = next(name for name in cluster.nodes if name != node)
    since_s = now_s(cluster, node)
    with full_disk(cluster, node):
        more = cluster.on(node, "sh", "-c", "echo more > /var/lib/trivet/ha/more", ok=False)
        assert more.status != 0, "the disk must be full"
        was = broker(cluster, node)
        cluster.shell(node, f"kill -KILL {was.pid}")
        now = wait("another broker", BACK_AFTER_KILL_S, lambda: _another(cluster, node, was))
        assert fresh(cluster, node)["engine"]["epoch"] == before["epoch"]
        for wanted, state in (("on", "global"), ("off", "none")):
            cluster.on(other, "trivet", "ha", "maintenance", wanted)
            wait(f"{node} has heard of it", 30, lambda state=state: cluster.ha(node)["maintenance"] == state or None)  # type: ignore[misc]
        assert broker(cluster, node).pid == now.pid, "it turns on without space"
        told = [alert["code"] for alert in cluster.ha(node)["alerts"]]
        assert "ha.state-disk" in told, "where everybody looks: the journal is on the same full disk"
    written = wait("what it could not write, in its event file", 30, lambda: _disk_alerts(cluster, node, since_s))
    print(f"/var full: kept in memory and written later: {written}")
    assert_untouched(cluster, before, was.qemu, since_s)


def test_load_is_no_failover(cluster: Cluster) -> None:
    """The processes are one session, so that the kernel weighs them as a group: on metal they are in a slice of their own,
    where the broker's CPU weight counts; lab nodes have no cgroup for processors."""
    before = cluster.settled()
    node = before["host"]
    was = {name: broker(cluster, name) for name in cluster.nodes}
    priority = cluster.shell(node, f"ps -o ni= -p {was[node].pid}; systemctl show --value --property=OOMScoreAdjust {UNIT}")
    assert priority.split() == ["-15", "-900"]
    since_s = now_s(cluster, node)
    burn = f"for n in $(seq {LOAD}); do timeout {LOAD_S:g} sh -c 'while :; do :; done' & done; wait; cat /proc/loadavg"
    seen = float(cluster.shell(node, burn, timeout_s=LOAD_S + 60).split()[0])
    ages_s = {name: cluster.ha(name)["broker_age_s"] for name in cluster.nodes}
    print(f"load {seen:g}: brokers' last turns {ages_s} s ago; events: {kinds(cluster, since_s)}")
    assert seen >= LOAD_SEEN
    assert_untouched(cluster, before, was[node].qemu, since_s)
    assert not any("start-begun" in done for done in kinds(cluster, since_s).values())
    for name in cluster.nodes:
        now = broker(cluster, name)
        assert (now.pid, now.restarts) == (was[name].pid, was[name].restarts), "no watchdog struck"


def test_a_crash_looping_broker_hands_the_engine_over(cluster: Cluster) -> None:
    before = cluster.settled()
    node = before["host"]
    others = tuple(name for name in cluster.nodes if name != node)
    since_s = now_s(cluster, node)
    try:
        cluster.shell(node, f"mkdir -p {DROP_IN.parent} && printf '{BROKEN}' > {DROP_IN} && systemctl daemon-reload")
        cluster.shell(node, f"systemctl kill --signal=KILL --kill-whom=main {UNIT}")
        wait("the engine VM gone from there", GONE_AFTER_CRASH_LOOP_S, lambda: not cluster.has_engine(node) or None)
        gone_s = now_s(cluster, node) - since_s
        after = wait("the engine up elsewhere", 180, lambda: _elsewhere(cluster, node))
        print(f"crash loop: engine VM gone after {gone_s:.1f} s, on {after['host']} with epoch {after['epoch']} "
              f"(was {before['epoch']})")  # fmt: skip
        assert after["host"] in others
        assert after["epoch"] == before["epoch"], "it was migrated: no restart"
        alerts = [event.get("code") for event in cluster.events(node, since_s) if event["kind"] == "alert"]
        assert "ha.broker-crash-loop" in alerts, alerts  # and once more each time that it was tried again in vain
        assert cluster.shell(node, f"systemctl is-failed {UNIT}", ok=False).strip() == "failed"
        assert "active" in cluster.shell(node, "systemctl is-active trivet-ha-retry.timer", ok=False).split()
        wait(f"{node} is no candidate any more", 30, lambda: not _alive(cluster, after["host"], node) or None)
    finally:
        cluster.shell(node, f"rm -f {DROP_IN}; systemctl daemon-reload; systemctl start trivet-ha-retry.service || "
                      f"{{ systemctl reset-failed {UNIT}; systemctl start {UNIT}; }}", ok=False)  # fmt: skip
    wait(f"{node} back as a standby", 60, lambda: _alive(cluster, after["host"], node) or None)
    cluster.settled()
    now = cluster.ha(node)["engine"]
    assert (now["host"], now["epoch"]) == (after["host"], after["epoch"]), "its return must not move the engine"


def _another(cluster: Cluster, node: str, was: Broker) -> Broker | None:
    found = broker(cluster, node)
    return found if found.pid not in (0, was.pid) else None


def _alive(cluster: Cluster, asked: str, node: str) -> bool:
    return bool(next(host["alive"] for host in cluster.ha(asked)["hosts"] if host["name"] == node))


def _elsewhere(cluster: Cluster, node: str) -> dict[str, Any] | None:
    """The engine's /health, and the host that really has it: nothing tells the engine that it was migrated."""
    said = cluster.health()
    holders = [name for name in cluster.nodes if name != node and cluster.has_engine(name)]
    return {**said, "host": holders[0]} if said is not None and len(holders) == 1 else None


def _disk_alerts(cluster: Cluster, node: str, since_s: float) -> list[str] | None:
    """The alert of the full disk, which was raised while nothing could be written, and its end."""
    said = [event["kind"] for event in cluster.events(node, since_s) if event.get("code") == "ha.state-disk"]
    return said if said == ["alert", "alert-over"] else None


@contextmanager
def full_disk(cluster: Cluster, node: str) -> Iterator[None]:
    """/var/lib/trivet and /var/log on small file systems without a free byte; what was written there comes back afterwards.

    The volumes mounted below and the saved memory (larger than all else, and only read) are bound into it, so that only
    space is missing.
    """
    begin = """set -e
mkdir -p /var/lib/trivet/warm
for place in lib/trivet log; do
    mkdir -p /run/full/$place
    mount -t tmpfs -o size=48m,mode=0711 full /run/full/$place
    tar --create --one-file-system --exclude='./warm/*' --directory=/var/$place . |
        tar --extract --directory=/run/full/$place
done
for below in volumes/engine volumes/vmstore warm; do mount --bind /var/lib/trivet/$below /run/full/lib/trivet/$below; done
mount --rbind /run/full/lib/trivet /var/lib/trivet
mount --bind /run/full/log /var/log
events=/var/lib/trivet/ha/events.jsonl
slack=$(( (4096 - $(stat --format=%s $events) % 4096) % 4096 ))
head -c $slack /dev/zero | tr '\\0' '\\n' >> $events  # or some lines would still fit into its last page
for place in lib/trivet log; do cat /dev/zero > /var/$place/filler 2>/dev/null || true; done
"""
    end = """rm -f /run/full/*/filler /run/full/lib/trivet/filler
sleep 3
umount -l /var/log
umount -R -l /var/lib/trivet
cp -a --one-file-system /run/full/lib/trivet/. /var/lib/trivet/
umount -R -l /run/full/lib/trivet
umount -l /run/full/log
"""
    try:
        cluster.shell(node, begin)
        yield
    finally:
        cluster.shell(node, end)
