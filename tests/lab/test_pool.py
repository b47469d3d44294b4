"""The pool becomes whole again, whatever was restarted in which order."""

from __future__ import annotations

from functools import partial

import pytest

from tests.lab.cluster import Cluster, wait

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600), pytest.mark.cluster]

VOLUMES = ("engine", "vmstore")
GIVEN_UP_S = 30.0
"""Until the others count a node as gone: 5 s of ping-timeout, and a slow machine."""
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
            cluster.shell(other, f"gluster --mode=script volume set vmstore auth.reject 192.0.2.{value}")
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
    cluster.shell(other, "gluster --mode=script volume reset vmstore auth.reject")
    cluster.settled()


def _heals(cluster: Cluster, node: str, volume: str) -> bool:
    said = cluster.on(node, "gluster", "--mode=script", "volume", "heal", volume, ok=False)
    print(f"{node}, heal {volume}: {said.stdout.strip()} {said.stderr.strip()}")  # shown when it stays so
    return "successful" in said.stdout.split()


def _whole(cluster: Cluster) -> bool:
    graphs = " ".join(f"/var/lib/trivet/volumes/{volume}/.meta/graphs/active/*-client-*/private" for volume in VOLUMES)
    count = f"cat {graphs} | grep -c '^connected = 1'"
    wanted = str(len(VOLUMES) * len(cluster.nodes))
    return all(cluster.shell(node, count, ok=False).strip() == wanted for node in cluster.nodes)
