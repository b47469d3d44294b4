"""The running cluster as its users meet it: the interfaces that scripts rely on, the official SDK, and what it costs."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import ovirtsdk4
import pytest

from appliance.effects.libvirt_host import PREFERRED_GROUP_NICENESS
from tests.lab.cluster import Cluster, trivet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

MIB = 1 << 20
NODE_BUDGET_BYTES = 250 * MIB
ENGINE_BUDGET_BYTES = 300 * MIB
ENGINE_VM_MIB = 1024
SECOND_RUN_S = 240.0


def test_the_second_run_finds_everything_there(cluster: Cluster) -> None:
    before = cluster.engine()
    began_s = time.monotonic()
    trivet("run", "--name", cluster.name, timeout_s=SECOND_RUN_S)
    print(f"second run: {time.monotonic() - began_s:.0f} s")
    assert cluster.engine()["epoch"] == before["epoch"], "a second run must not restart the engine"


def test_status_names_what_scripts_need(cluster: Cluster) -> None:
    status = cluster.status()
    assert status["engine"]["state"] == "up"
    assert status["url"].startswith("https://127.0.0.1:")
    password_file = Path(status["password_file"])
    assert password_file.stat().st_mode & 0o077 == 0
    with urllib.request.urlopen(status["url"].rstrip("/") + "/health", context=cluster.tls, timeout=10) as answer:
        health = json.loads(answer.read())
    assert health["status"] == "up"
    assert health["host"] in cluster.nodes
    assert health["epoch"] >= 1
    assert health["version"]
    nodes = cluster.lab("status", "--json").json()["nodes"]
    assert [(node["name"], node["power"]) for node in nodes] == [(name, "on") for name in cluster.nodes]
    assert all(node["address"].startswith("198.18.") for node in nodes)


def test_every_node_tells_the_same_of_the_engine(cluster: Cluster) -> None:
    health = cluster.settled()
    for node in cluster.nodes:
        said = cluster.ha(node)
        assert (said["engine"]["state"], said["engine"]["host"], said["engine"]["epoch"]) == (
            "up",
            health["host"],
            health["epoch"],
        )
        assert said["engine"]["since"]
        assert said["maintenance"] == "none"
        assert [host["name"] for host in said["hosts"]] == sorted(cluster.nodes)
        for host in said["hosts"]:
            assert host["alive"] is True
            assert host["score"] > 0
            assert host["decision"]


def test_the_official_sdk_lists_hosts_and_vms(cluster: Cluster) -> None:
    cluster.settled()
    connection = ovirtsdk4.Connection(
        url=cluster.url.rstrip("/") + "/ovirt-engine/api",
        username="admin@internal",
        password=cluster.password,
        ca_file=cluster.status()["ca_file"],
    )
    with connection:
        system = connection.system_service()
        hosts = system.hosts_service().list()
        assert sorted(host.name for host in hosts) == sorted(cluster.nodes)
        assert {host.status for host in hosts} == {ovirtsdk4.types.HostStatus.UP}
        for host in hosts:
            assert host.memory > 0
            assert host.version.full_version
        engine_vm = next(vm for vm in system.vms_service().list() if vm.name == "HostedEngine")
        assert engine_vm.status == ovirtsdk4.types.VmStatus.UP
        assert engine_vm.memory == ENGINE_VM_MIB * MIB
        runs_on = next(host for host in hosts if host.id == engine_vm.host.id)
        assert runs_on.name == cluster.engine()["host"]
        domains = {domain.name: domain for domain in system.storage_domains_service().list()}
        assert domains["vmstore"].available > 0
        assert system.data_centers_service().list()
        assert system.clusters_service().list()


def test_memory_stays_within_the_budget(cluster: Cluster) -> None:
    host = cluster.settled()["host"]
    for node in cluster.nodes:
        used = cluster.resident_bytes(node)
        print(f"{node}: {used / MIB:.0f} MiB resident in Trivet's programs")
        assert 20 * MIB < used <= NODE_BUDGET_BYTES
    inside = cluster.overview()["programs_resident_bytes"]
    print(f"engine VM: {inside / MIB:.0f} MiB resident in Trivet's programs")
    assert 20 * MIB < inside <= ENGINE_BUDGET_BYTES
    vms = json.loads(cluster.on(host, "trivet", "agent", "call", host, "vms", "--json").stdout)
    engine_vm = next(vm for vm in _listed(vms) if vm["name"] == "HostedEngine")
    assert engine_vm["memory_mib"] == ENGINE_VM_MIB


def _listed(answer: object) -> list[dict[str, object]]:
    if isinstance(answer, dict):
        answer = answer.get("result", answer)
    assert isinstance(answer, list), answer
    return answer


def test_maintenance_is_obeyed_and_taken_back(cluster: Cluster) -> None:
    before = cluster.settled()
    node = before["host"]
    other = next(name for name in cluster.nodes if name != node)
    cluster.on(other, "trivet", "ha", "maintenance", "on")
    try:
        assert cluster.ha(node)["maintenance"] == "global"
    finally:
        cluster.on(node, "trivet", "ha", "maintenance", "off")
    assert cluster.engine()["epoch"] == before["epoch"]


def test_secrets_are_in_no_log_and_no_argument(cluster: Cluster) -> None:
    cluster.settled()
    for node in cluster.nodes:
        script = (
            "journalctl --no-pager -q; cat /var/log/libvirt/qemu/*.log /var/lib/trivet/ha/*.jsonl; "
            "cat /var/lib/trivet/journal/* 2>/dev/null; cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
        )
        seen = cluster.shell(node, script, ok=False)
        assert len(seen) > 1000
        assert cluster.password not in seen
        assert "PRIVATE KEY" not in seen


def test_the_engine_vm_gets_cpu_time_before_others(cluster: Cluster) -> None:
    """Its QEMU's session, which the kernel weighs as a group where there are no cgroups for VMs, as in a lab node."""
    host = str(cluster.engine()["host"])
    shown = cluster.shell(host, "cat /proc/$(cat /run/libvirt/qemu/HostedEngine.pid)/autogroup")
    assert shown.split()[-1] == str(PREFERRED_GROUP_NICENESS)
