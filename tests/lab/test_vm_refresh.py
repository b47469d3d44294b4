"""A brick of `vmstore` restarts under a running VM: the VM is moved, which opens its disks there anew, and then it can spare
another brick."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from ovirtsdk4 import types

from tests.lab.cluster import Cluster, wait
from tests.lab.guest import VMSTORE, await_status, where
from tests.lab.test_vm_faults import another_host_than_the_engine, brought_to, stopped_and_whole
from tests.lab.test_vms import ENOUGH, recording

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200), pytest.mark.cluster, pytest.mark.measured]

MOVED_S = 300.0
"""30 s of steady connections, two minutes at most for the heal, two turns of the keeper, and a migration."""
SEEN_S = 30.0


def not_open(cluster: Cluster, node: str) -> list[str]:
    """The hosts of the bricks on which a node's mount of `vmstore` has not all files open."""
    given = json.dumps({"volume": VMSTORE.name})
    found = cluster.on(node, "trivet", "agent", "call", node, "gluster_mount", given, "--json").json()
    return [one["host"] for one in found if not one["connected"] or not one["open"]]


def kill_brick(cluster: Cluster, node: str) -> None:
    cluster.shell(node, f"kill -9 $(pgrep -f '[g]lusterfsd.*bricks-{VMSTORE.name}')")


def test_a_vm_opens_its_disks_anew_after_a_brick_was_away(cluster: Cluster, system: Any) -> None:
    with recording(cluster, system) as guest:
        stage = brought_to(another_host_than_the_engine(cluster), cluster, guest)
        first, second = stage.others
        assert not_open(cluster, stage.host) == []
        kill_brick(cluster, first)
        wait("the brick missed", SEEN_S, lambda: not_open(cluster, stage.host) == [first] or None)
        guest.serial.await_more(ENOUGH)
        cluster.on(first, "gluster", "--mode=script", "volume", "start", VMSTORE.name, "force")
        began_s = time.time()
        assert not_open(cluster, stage.host) == [first], "its locks are forgotten there"
        (now_on,) = wait(
            "the VM elsewhere",
            MOVED_S,
            lambda: set(found) if (found := where(cluster, guest.id)) and stage.host not in found else None,
        )
        await_status(guest.vm, types.VmStatus.UP)
        print(f"moved from {stage.host} to {now_on} {time.time() - began_s:.0f} s after the brick of {first} was back")
        assert not_open(cluster, now_on) == []
        told = system.events_service().list(search=f"Vms.name={guest.vm.get().name} and type=63")
        assert told, "people are told that it was moved"
        guest.serial.listen(now_on)
        guest.serial.await_more(ENOUGH)
        kill_brick(cluster, second)
        try:
            guest.serial.await_more(ENOUGH)
            assert guest.vm.get().status == types.VmStatus.UP
        finally:
            cluster.on(second, "gluster", "--mode=script", "volume", "start", VMSTORE.name, "force")
        stopped_and_whole(stage)
