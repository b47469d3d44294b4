"""The pool becomes whole again, whatever was restarted in which order."""

from __future__ import annotations

from functools import partial

import pytest

from gluster.model import NOBODY, REJECT
from tests.lab.cluster import Cluster, wait

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600), pytest.mark.cluster]

VOLUMES = ("engine", "vmstore")
EACH = 6
"""Bricks that a node's mounts reach: three of each volume."""
GIVEN_UP_S = 30.0
"""Until the others count a node as gone: 5 s of ping-timeout, and a slow machine."""
TOLD_S = 240.0
"""Until a brick that shuts its host out lets it in: the engine waits for 60 s, looks every 15 s, and is emulated."""
BACK_S = 60.0
"""Until each mount has each brick again: clients try every 3 s, and old ports are looked at every 5 s."""
HEALS_S = 180.0
"""Until all self-heal daemons take orders: glusterd ends and begins its own several times after an absence; seen: 10 s."""

HEALERS = """
pgrep -a -f -- '--process-name glustershd'; gluster volume status engine shd; gluster volume status vmstore shd
ss -tnp | grep glusterfs; grep '^[[]' /var/log/glusterfs/glustershd.log | tail -n 60
"""
"""What is shown of a node when no heal can be ordered."""


def test_every_mount_has_every_brick_again_after_a_change_an_absence_and_a_restart_of_glusterd(cluster: Cluster) -> None:
    """glusterd restarts the brick of a volume that was changed without its node, and does not store the new port."""
    host = cluster.settled()["host"]
    away, other = (node for node in cluster.nodes if node != host)
    for value in ("1", "2"):
        cluster.link(away, "cut")
        try:
            wait("the node counts as gone", GIVEN_UP_S, lambda: "Disconnected" in cluster.shell(other, "gluster pool list"))
            cluster.shell(other, f"gluster --mode=script volume set vmstore {REJECT} 192.0.2.{value}0")
        finally:
            cluster.link(away, "heal")
        wait(f"every brick, after change {value}", BACK_S, partial(_whole, cluster))
        # the next one reads the store, and it is asked when the node is away the next time
        cluster.on(away, "systemctl", "restart", "glusterd.service")
    cluster.link(away, "cut")
    wait("the node counts as gone", GIVEN_UP_S, lambda: "Disconnected" in cluster.shell(other, "gluster pool list"))
    cluster.link(away, "heal")
    wait("every brick, after the restart", BACK_S, partial(_whole, cluster))
    for volume in VOLUMES:
        try:
            wait(f"a heal of {volume} can be ordered", HEALS_S, partial(_heals, cluster, away, volume))
        except AssertionError:
            for node in cluster.nodes:
                print(node, cluster.shell(node, HEALERS, ok=False))
            raise
    cluster.shell(other, f"gluster --mode=script volume set vmstore {REJECT} {NOBODY}")  # a reset brings old values back
    cluster.settled()


def test_a_brick_that_shuts_its_host_out_is_told_anew(cluster: Cluster) -> None:
    """One that was started while its own host was refused is brought back to that by a reset, which people try first."""
    host = cluster.settled()["host"]
    shut, other = (node for node in cluster.nodes if node != host)
    address = cluster.shell(shut, f"getent ahostsv4 {shut} | cut -d' ' -f1 | head -n 1").strip()
    cluster.shell(other, f"gluster --mode=script volume set vmstore {REJECT} {address}")
    cluster.shell(shut, "pkill -KILL -f -- '[g]lusterfsd .*--volfile-id vmstore' && sleep 1")
    cluster.shell(shut, "gluster --mode=script volume start vmstore force")
    cluster.shell(other, f"gluster --mode=script volume reset vmstore {REJECT}")
    wait("its own brick does not let it in, which ends its mount", BACK_S, lambda: _connected(cluster, shut) < EACH or None)
    wait("every brick", TOLD_S, partial(_whole, cluster))
    assert f"Letting {shut} reach every brick" in cluster.call("GET", "/ovirt-engine/api/jobs")
    heal = partial(_heals, cluster, other)
    assert all(wait(f"a heal of {volume} can be ordered", HEALS_S, partial(heal, volume)) for volume in VOLUMES)
    cluster.settled()


def _heals(cluster: Cluster, node: str, volume: str) -> bool:
    said = cluster.on(node, "gluster", "--mode=script", "volume", "heal", volume, ok=False)
    print(f"{node}, heal {volume}: {said.stdout.strip()} {said.stderr.strip()}")  # shown when it stays so
    return "successful" in said.stdout.split()


def _whole(cluster: Cluster) -> bool:
    return all(_connected(cluster, node) == EACH for node in cluster.nodes)


def _connected(cluster: Cluster, node: str) -> int:
    """How many bricks the mounts of ``node`` reach."""
    graphs = " ".join(f"/var/lib/trivet/volumes/{volume}/.meta/graphs/active/*-client-*/private" for volume in VOLUMES)
    return int(cluster.shell(node, f"cat {graphs} | grep -c '^connected = 1'", ok=False).strip() or 0)
