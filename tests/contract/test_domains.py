"""Storage domains: the node's verbs and the engine's fake of them do the same. systemd is a script here (a test may not
mount); everything below it is real files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance import layout
from appliance.agent.context import AgentContext
from appliance.agent.host_routes import DomainRoutes
from appliance.effects.clock import FakeClock
from appliance.effects.root import Root
from appliance.errors import TrivetError
from appliance.fakes.libvirt import FakeLibvirt
from appliance.fakes.process import ScriptedProcesses
from appliance.model.domain import MARK, DomainMark
from appliance.tools.systemd import mount_unit_name
from appliance.verbs.mounts import Mounts
from appliance.verbs.volume_files import VolumeFiles
from appliance.wire.definition import VolumeFile
from engine.fakes.storage_node import FakeStorageNode
from engine.jobs.ports import StorageNode

DOMAIN = "0f1c4c1e-9c8e-4c4e-8b0e-0d5f7a1c2b3d"
MINE, THEIRS = DomainMark(DOMAIN, "data", "posixfs"), DomainMark("another", "theirs", "posixfs")


class RealNode(DomainRoutes):
    """The agent's routes; a mount is there when systemd was last told to start it."""

    def __init__(self, folder: Path) -> None:
        self._root = Root(folder)
        self._processes = ScriptedProcesses({"systemctl": ""})
        mounts = Mounts(self._root, self._processes)
        self._mounts, self._files = mounts, VolumeFiles(self._root, mounts, is_mount=self._is_mount)
        super().__init__(
            AgentContext(self._root, self._processes, FakeClock(), FakeLibvirt(), None, None), mounts, self._files
        )

    def _is_mount(self, place: Path) -> bool:
        unit = mount_unit_name(layout.VOLUMES / place.name)
        said = [argv for argv in self._processes.ran if argv[-1] == unit and argv[1] in ("start", "disable")]
        return bool(said) and said[-1][1] == "start"

    def mount_volume(self, volume: str, servers: tuple[str, ...]) -> None:
        self._mounts.mount(volume, servers)

    def list_files(self, volume: str, path: str) -> tuple[VolumeFile, ...]:
        return self._files.listing(volume, path)


@pytest.fixture(params=["fake", "real"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> StorageNode:
    return FakeStorageNode("node1", tmp_path) if request.param == "fake" else RealNode(tmp_path)


def code(call: Callable[[], object]) -> str:
    with pytest.raises(TrivetError) as caught:
        call()
    return caught.value.code


def test_a_volume(node: StorageNode) -> None:
    node.mount_volume("fast", ("node1", "node2"))
    node.mount_volume("fast", ("node1", "node2"))
    assert (node.domain("fast").mounted, node.domain("fast").answers, node.domain("fast").mark) == (True, True, None)
    node.domain_unmount("fast")
    node.domain_unmount("fast")
    assert (node.domain("fast").mounted, node.domain("fast").answers) == (False, False)
    assert code(lambda: node.mount_volume("fast", ())) == "volume.servers"
    assert code(lambda: node.mount_volume("../x", ("node1",))) == "volume.name"


def test_a_file_system_and_a_folder(node: StorageNode) -> None:
    node.domain_mount_posix(DOMAIN, "nas:/export", "nfs4", "soft")
    node.domain_mount_local("local", "/srv/vms")
    assert {one.domain: one.mounted for one in node.domains()} == {DOMAIN: True, "local": True}
    state = node.domain(DOMAIN)
    assert 0 < state.free_bytes <= state.total_bytes
    node.domain_unmount(DOMAIN)
    assert {one.domain: one.mounted for one in node.domains()} == {DOMAIN: False, "local": True}


def test_marks(node: StorageNode) -> None:
    node.domain_unmount("never")
    assert code(lambda: node.domain_mark(DOMAIN, MINE)) == "volume.not-mounted"
    assert code(lambda: node.list_files(DOMAIN, ".")) == "volume.not-mounted"
    node.domain_mount_posix(DOMAIN, "nas:/export", "nfs4", "")
    assert node.list_files(DOMAIN, ".") == ()
    node.domain_mark(DOMAIN, MINE)
    node.domain_mark(DOMAIN, MINE)
    assert node.domain(DOMAIN).mark == MINE
    assert [one.path for one in node.list_files(DOMAIN, ".")] == [MARK]
    assert code(lambda: node.domain_mark(DOMAIN, THEIRS)) == "domain.foreign"
    assert code(lambda: node.domain_unmark(DOMAIN, THEIRS.id)) == "domain.foreign"
    node.domain_unmark(DOMAIN, MINE.id)
    node.domain_unmark(DOMAIN, MINE.id)
    assert node.domain(DOMAIN).mark is None
