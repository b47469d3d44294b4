"""The routes that the broker adds to the agent: the node's own maintenance, and its view of the bricks."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import Unavailable
from appliance.fakes.wire import FakeWire
from gluster.fake import FakePool
from gluster.mounted import GRAPH
from ha_broker.effects.pool import MountedPool
from ha_broker.effects.requests import LOCAL_MAINTENANCE, RequestFiles
from ha_broker.state import Brick
from ha_broker.wire import HaApi, HaNode


def node(tmp_path: Path) -> HaApi:
    implementation = HaNode(tmp_path / "ha" / LOCAL_MAINTENANCE, MountedPool(tmp_path / "mount", "engine", FakePool()))
    return FakeWire().client(HaApi, implementation)


def test_the_setting_is_the_one_that_the_broker_reads(tmp_path: Path) -> None:
    here, broker = node(tmp_path), RequestFiles(tmp_path, tmp_path / "ha")
    assert not broker.local_maintenance()
    for wanted in (True, True, False, False):
        here.ha_local_maintenance(wanted)
        assert here.ha_in_local_maintenance() is broker.local_maintenance() is wanted


def test_bricks_over_the_wire(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        node(tmp_path).ha_bricks()
    assert caught.value.code == "ha.mount-unreadable"
    folder = tmp_path / "mount" / GRAPH / "engine-client-0"
    (folder / "options").mkdir(parents=True)
    (folder / "options/remote-host").write_text("node1")
    (folder / "private").write_text("connected = 1\n")
    assert node(tmp_path).ha_bricks() == (Brick("node1", True, True),)
