"""A node's agent and libvirt on real nodes without a pool: joined by hand, bridge, TLS, QEMU's locks, live migration."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.cluster import Answer, trivet, wait

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

LAB = "testnode"
UP_S = 300.0
PYTHON = ("/usr/lib/trivet/venv/bin/python3", "-I", "-c")
DISK = "/data/contract.raw"

JOIN = """
import sys, time
sys.path.insert(0, "/usr/lib/trivet/app")
from appliance import pki
from appliance.model.cluster import Cluster, EngineVm, Member, Membership
from appliance.wire.client import connect
from appliance.wire.definition import JoinApi
from appliance.wire.tls import pin_of
address, other, *tokens = sys.argv[1:]
members = (Member("id-1", "node1", address), Member("id-2", "node2", other))
engine = EngineVm("id-e", "engine.trivet.lab", "198.18.0.100", 24, "", (), "52:54:00:00:00:01", 1024, 2, 1 << 30)
cluster = Cluster("11111111-aaaa-bbbb-cccc-000000000000", "testnode", members, engine)
ca = pki.create_ca(cluster.id, cluster.name, time.time())
for member, token in zip(members, tokens):
    agent = connect(JoinApi, member.address, tls=pin_of(token), name=member.name)
    sans = (member.name, member.address)
    csr = agent.join_csr(token, member.name, member.address)
    signed = pki.sign_csr(ca, csr, "node", name=member.name, sans=sans, now_wall_s=time.time())
    agent.join_accept(token, signed, ca.certificate_pem, cluster, Membership(cluster.id, member.id, member.name))
"""


def on(node: str, *argv: str, ok: bool = True) -> Answer:
    return trivet("lab", "exec", "--name", LAB, node, "--", *argv, ok=ok)


def call(route: str, on_node: str = "node1", **arguments: Any) -> Any:
    """A route, called from node1 with its certificate. An error comes back as its dictionary."""
    text = json.dumps(arguments)
    return json.loads(on("node1", "trivet", "agent", "call", on_node, route, text, "--json", ok=False).stdout)


def spec(name: str, *disks: str) -> dict[str, Any]:
    """A guest without anything to boot: its firmware waits for ever."""
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
        "name": name,
        "memory_mib": 64,
        "cpus": 1,
        "cpu_model": "Nehalem",
        "disks": [{"path": path, "serial": "contract"} for path in disks],
        "nics": [],
    }


def powers(node: str) -> dict[str, str]:
    return {vm["name"]: vm["power"] for vm in call("vms", node)}


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[str, str]]:
    """Two members of one cluster; their addresses."""
    trivet("lab", "down", "--name", LAB)
    trivet("lab", "up", "--name", LAB, "--nodes", "2", "--port", "0", timeout_s=UP_S)
    nodes = trivet("lab", "status", "--name", LAB, "--json").json()["nodes"]
    addresses = (nodes[0]["address"], nodes[1]["address"])
    tokens = [
        wait(f"{node}'s token", 60, lambda node=node: on(node, "trivet", "node", "token", ok=False).stdout.strip() or None)
        for node in ("node1", "node2")
    ]
    on("node1", *PYTHON, JOIN, *addresses, *tokens)
    wait("both agents back as members", 60, members_answer)
    yield addresses
    trivet("lab", "down", "--name", LAB)


def members_answer() -> bool:
    said = on("node1", "trivet", "node", "status", "--json", ok=False).json()
    return bool(said.get("agents")) and all(agent["reachable"] for agent in said["agents"])


def test_a_joined_node_has_no_token_and_knows_itself(pair: tuple[str, str]) -> None:
    refused = on("node2", "trivet", "node", "token", "--json", ok=False)
    assert (refused.status, refused.json()["error"]["code"]) == (2, "join.already-member")
    facts = call("facts", "node2")
    assert facts["name"] == "node2"
    assert all(facts[name] for name in ("gluster_version", "libvirt_version", "qemu_version", "boot_id"))


def test_the_bridge_keeps_the_node_reachable_also_after_a_reboot(pair: tuple[str, str]) -> None:
    for node, address in zip(("node1", "node2"), pair, strict=True):
        before = call("facts", node)["nics"]
        assert call("ensure_management_bridge", node, nic="eth0") is None
        assert call("ensure_management_bridge", node, nic="eth0") is None
        nics = {nic["name"]: nic for nic in call("facts", node)["nics"]}
        assert nics["ovirtmgmt"]["addresses"] == [f"{address}/24"]
        assert nics["eth0"]["bridge"] == "ovirtmgmt" and nics["eth0"]["addresses"] == []
        assert nics["ovirtmgmt"]["mac"] == next(nic["mac"] for nic in before if nic["name"] == "eth0")
    trivet("lab", "power", "--name", LAB, "node2", "reset")
    wait("node2 back", 90, members_answer)
    nics = {nic["name"]: nic for nic in call("facts", "node2")["nics"]}
    assert nics["ovirtmgmt"]["addresses"] == [f"{pair[1]}/24"]


def test_a_killed_or_hanging_agent_is_back(pair: tuple[str, str]) -> None:
    show = ("systemctl", "show", "--property=MainPID", "--value", "trivet-agent")
    before = on("node2", *show).stdout.strip()
    on("node2", "kill", "-KILL", before)
    wait("another agent", 60, lambda: on("node2", *show).stdout.strip() not in (before, "0"))
    wait("it answers", 60, members_answer)
    hung = on("node2", "pgrep", "-P", on("node2", *show).stdout.strip()).stdout.strip()
    on("node2", "kill", "-STOP", hung)
    assert not members_answer()
    wait("another worker", 90, members_answer)


def test_a_second_qemu_does_not_get_the_disk(pair: tuple[str, str]) -> None:
    on("node1", "truncate", "--size=16M", DISK)
    on("node1", "chown", "64055:64055", DISK)
    first, second = spec("contract1", DISK), spec("contract2", DISK)
    try:
        assert call("vm_start", spec=first, paused=True)["power"] == "paused"
        assert call("vm_start", spec=first, paused=True)["power"] == "paused", "asked twice, it is found"
        error = call("vm_start", spec=second, paused=True)["error"]
        assert error["code"] == "vm.disk-locked", error
        assert powers("node1") == {"contract1": "paused"}
        call("vm_resume", name="contract1")
        assert powers("node1") == {"contract1": "running"}
        call("vm_destroy", name="contract1")
        assert call("vm_start", spec=second, paused=False)["power"] == "running"
    finally:
        call("vm_destroy", name="contract1")
        call("vm_destroy", name="contract2")
    assert powers("node1") == {}


def test_live_migration_over_tls_and_nothing_without(pair: tuple[str, str]) -> None:
    members = [{"id": f"id-{i}", "name": f"node{i}", "address": address} for i, address in enumerate(pair, 1)]
    for node in ("node1", "node2"):
        names = {"members": members, "engine_fqdn": "engine.trivet.lab", "engine_address": "198.18.0.100"}
        assert call("set_names", node, **names) is None
        assert call("configure_libvirt", node) is None
        assert call("configure_libvirt", node) is None
    listening = on("node2", "ss", "-Hltn").stdout
    assert ":16514 " in listening and ":16509 " not in listening
    mover = spec("mover")
    try:
        assert call("vm_start", spec=mover, paused=False)["power"] == "running", "also right after libvirtd's restart"
        assert call("vm_migrate", name="mover", target="node2") is None
        assert (powers("node1"), powers("node2")) == ({}, {"mover": "running"})
        assert call("vm_migrate", "node2", name="mover", target="node1") is None
        assert powers("node1") == {"mover": "running"}
        changed = call("configure_libvirt")
        assert changed is None, "settings that are right are right also while a VM runs"
        assert call("vm_migrate", name="mover", target="node7")["error"]["code"] == "vm.migrate"
        assert powers("node1") == {"mover": "running"}
    finally:
        call("vm_destroy", name="mover")
        call("vm_destroy", "node2", name="mover")


def test_libvirt_refuses_a_certificate_of_another_cluster(pair: tuple[str, str]) -> None:
    """Another CA's certificate in the client's place: the listener ends the connection."""
    script = """
import sys, time
sys.path.insert(0, "/usr/lib/trivet/app")
from pathlib import Path
from appliance import pki
folder = Path("/root/foreign"); folder.mkdir(exist_ok=True)
ca, key = pki.create_ca("another-cluster", "x", time.time()), pki.create_key()
csr = pki.create_csr(key, "node1", ("node1",))
(folder / "clientkey.pem").write_text(key)
(folder / "clientcert.pem").write_text(
    pki.sign_csr(ca, csr, "node", name="node1", sans=("node1",), now_wall_s=time.time()))
(folder / "cacert.pem").write_text(Path("/etc/pki/CA/cacert.pem").read_text())
ours = Path("/root/ours"); ours.mkdir(exist_ok=True)
for name in ("CA/cacert.pem", "libvirt/clientcert.pem", "libvirt/private/clientkey.pem"):
    (ours / Path(name).name).write_text((Path("/etc/pki") / name).read_text())
"""
    on("node1", *PYTHON, script)
    uri = "qemu+tls://node2/system"
    good = on("node1", "virsh", "-c", f"{uri}?pkipath=/root/ours", "version")
    assert "QEMU" in good.stdout
    assert on("node1", "virsh", "-c", f"{uri}?pkipath=/root/foreign", "version", ok=False).status != 0
