"""Modules of oVirt's Ansible collection against the real server: a playbook does what it says, and a second time nothing."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types

from engine.fakes.hosts import FakeNodes
from tests.engine import world
from tests.engine.sdk_world import connected

COLLECTIONS = world.REPOSITORY / "build/ansible"
PROGRAMS = world.REPOSITORY / "build/venv/bin"
PLAYBOOKS = Path(__file__).parent / "playbooks"
LIMIT_S = 280.0
"""A task is a process of Python, with two seconds of imports."""
RECAP = re.compile(r"ok=(\d+)\s+changed=(\d+)\s+unreachable=0\s+failed=(\d+)")


@dataclass(frozen=True)
class Played:
    """What the recap of a playbook says, and all that was printed."""

    ok: int
    changed: int
    failed: int
    text: str


def play(running: world.Running, folder: Path, name: str) -> Played:
    """Run ``playbooks/NAME.yml`` as an administrator would, with the login in the environment that the modules read."""
    config = folder / "ansible.cfg"
    config.write_text(f"[defaults]\ncollections_path = {COLLECTIONS}\nlocal_tmp = {folder / 'tmp'}\ninventory =\n")
    environment = {
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_NOCOLOR": "1",
        "OVIRT_URL": f"{running.url}/ovirt-engine/api",
        "OVIRT_USERNAME": world.ADMIN,
        "OVIRT_PASSWORD": world.PASSWORD,
        "OVIRT_CAFILE": str(running.guest.ca),
    }
    argv = [str(PROGRAMS / "ansible-playbook"), "-v", "-i", "localhost,", "-c", "local", str(PLAYBOOKS / f"{name}.yml")]
    argv += ["-e", f"ansible_python_interpreter={PROGRAMS / 'python'}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S, env=environment, check=False, cwd=folder)
    found = RECAP.search(done.stdout)
    assert found, f"{done.stdout[-5000:]}\n{done.stderr[-3000:]}"
    return Played(int(found[1]), int(found[2]), int(found[3]), done.stdout)


@pytest.fixture(scope="module")
def ann(running: world.Running) -> None:
    """A person, made with a password; the collection's module cannot send one."""
    with closing(connected(running)) as connection:
        users = connection.system_service().users_service()
        domain = types.Domain(name="internal-authz")
        made = users.add(types.User(user_name="ann@internal-authz", domain=domain, password="quite a long one"))
        assert [one.id for one in users.list(search="usrname=ann@internal-authz")] == [made.id]
        with pytest.raises(sdk.Error, match="Send a password"):
            users.add(types.User(user_name="ben@internal-authz", domain=domain))


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("ann", "hosts")
@pytest.mark.parametrize(("name", "tasks"), [("shop", 13), ("vm", 4)])
def test_a_playbook_is_done_once(running: world.Running, tmp_path: Path, name: str, tasks: int) -> None:
    first = play(running, tmp_path, name)
    assert first.failed == 0, first.text[-6000:]
    assert first.changed >= tasks, first.text
    again = play(running, tmp_path, name)
    assert (again.failed, again.changed) == (0, 0), again.text[-6000:]
    assert again.ok == first.ok


@pytest.mark.timeout(600)
def test_a_host_gets_networks_and_loses_one(running: world.Running, tmp_path: Path, hosts: FakeNodes) -> None:
    def on_the_host() -> list[tuple[str, str, int, tuple[str, ...]]]:
        found = hosts.networks("node1").networks()
        return [(one.name, one.nic, one.vlan, one.addresses) for one in found]

    first = play(running, tmp_path, "host_network")
    assert (first.failed, first.changed) == (0, 3), first.text[-6000:]
    plain = ("plain", "eth1", 0, ())
    assert on_the_host() == [("guests", "eth1", 30, ("198.18.30.5/24",)), plain]
    again = play(running, tmp_path, "host_network")
    assert (again.failed, again.changed) == (0, 0), again.text[-6000:]
    gone = play(running, tmp_path, "host_network_gone")
    assert (gone.failed, gone.changed) == (0, 1), gone.text[-6000:]
    assert on_the_host() == [plain]


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("hosts")
def test_a_vm_is_taken_down_again(running: world.Running, tmp_path: Path) -> None:
    assert play(running, tmp_path, "vm").failed == 0
    gone = play(running, tmp_path, "vm_gone")
    assert gone.failed == 0, gone.text[-6000:]
    assert gone.changed >= 3
