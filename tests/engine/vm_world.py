"""VMs to test with: an engine whose jobs are worked off over fake hosts when a test says so, and short ways to ask it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from appliance.effects.clock import SystemClock
from engine.core import Engine
from engine.fakes.disk_node import FakeDiskNode
from engine.fakes.hosts import FakeNodes
from engine.fakes.vm_node import FakeVm
from engine.inventory import derived_id
from engine.jobs.follow_vms import VmFollower
from engine.store.jobs import JobRecord
from tests.engine import world
from tests.engine.job_world import work_off

API = "/ovirt-engine/api"
CLUSTER = world.CLUSTER.id
DOMAIN = derived_id(CLUSTER, "storage-domain:vmstore")
PROFILE = derived_id(CLUSTER, "vnic-profile")
BLANK = "00000000-0000-0000-0000-000000000000"
MIB, GIB = 1024**2, 1024**3


def fake_hosts(folder: Path) -> FakeNodes:
    """The members of the cluster, over one folder."""
    ids = {one.name: one.id for one in world.MEMBERS}
    return FakeNodes({name: FakeDiskNode(name, folder) for name in ids}, ids=ids, cluster_id=CLUSTER)


@dataclass
class Vms:
    """The API as an administrator asks it (JSON), and the hosts."""

    engine: Engine
    client: FlaskClient
    token: str
    nodes: FakeNodes
    seen: set[str] = field(default_factory=set)

    def ask(self, method: str, path: str, body: Any = None, *, token: str = "") -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {token or self.token}", "Accept": "application/json"}
        data = None if body is None else json.dumps(body)
        kind = None if body is None else "application/json"
        answer = self.client.open(f"{API}/{path}", method=method, data=data, content_type=kind, headers=headers)
        return answer.status_code, answer.get_json(silent=True) or {}

    def made(self, **given: Any) -> dict[str, Any]:
        """A new VM, from Blank."""
        body = {"name": "web1", "cluster": {"id": CLUSTER}, "template": {"name": "Blank"}, **given}
        status, found = self.ask("POST", "vms", body)
        assert status in (201, 202), found
        if status == 202:
            self.work()
            assert self.newest().status == "finished"
        return found

    def vm(self, identifier: str) -> dict[str, Any]:
        status, found = self.ask("GET", f"vms/{identifier}")
        assert status == 200
        return found

    def work(self) -> list[str]:
        """Let the jobs process do all that was ordered; its log."""
        return work_off(self.engine.store, self.nodes)

    def done(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Ask for a job and let it be done; its record must say that it is finished."""
        status, found = self.ask(method, path, body)
        assert status in (200, 201, 202), found
        self.work()
        job = self.newest()
        assert (job.state, job.status) == ("ended", "finished"), job.error
        return found

    def newest(self) -> JobRecord:
        """The job that was ordered since this was asked last: there must be one. (The engine's clock stands still here.)"""
        found = [one for one in self.engine.jobs.list() if one.id not in self.seen]
        self.seen |= {one.id for one in found}
        assert len(found) == 1, [one.description for one in found]
        return found[0]

    def look(self) -> None:
        """Every host that answers tells which VMs it has, as the follower asks it; those that do not are silent."""
        follower = VmFollower(self.engine.store, SystemClock())
        for name, identifier in self.nodes.ids.items():
            if not self.nodes.is_up(name):
                follower.silent(identifier)
            else:
                follower.heard(identifier, self.nodes.host(name).vms(), follower.now_ms() + 1)

    def started(self, **given: Any) -> str:
        """A VM with a disk and a NIC that is up; its id."""
        vm = self.made(
            **{"disk_attachments": [NEW_DISK], "nics": [{"name": "nic1", "vnic_profile": {"id": PROFILE}}], **given}
        )
        self.done("POST", f"vms/{vm['id']}/start", {})
        self.look()
        assert self.vm(vm["id"])["status"] == "up"
        return str(vm["id"])

    def host_of(self, identifier: str) -> str:
        """The hosts that have it, in words: one, or something is wrong."""
        return ",".join(name for name in self.nodes.nodes if self.nodes.host(name).vm(identifier))

    def running(self, identifier: str) -> FakeVm:
        found = self.nodes.host(self.host_of(identifier)).vm(identifier)
        assert found is not None
        return found

    def codes(self, identifier: str) -> list[int]:
        """The events of a VM, the oldest first."""
        found = [one.code for one in self.engine.store.events() if one.vm_id == identifier or
                 one.refs.get("vm", {}).get("id") == identifier]  # fmt: skip
        return found[::-1]


def detail(fault: dict[str, Any]) -> str:
    """What a Fault says, wherever it is."""
    return str((fault.get("fault") or fault).get("detail", ""))


NEW_DISK = {
    "bootable": True, "interface": "virtio_scsi",
    "disk": {"name": "root", "provisioned_size": 8 * MIB, "format": "cow", "storage_domains": [{"id": DOMAIN}]},
}  # fmt: skip
