"""The official Python SDK against the real server over TLS."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.request

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types

from tests.engine import world
from tests.engine.sdk_world import connected


@pytest.fixture(scope="module")
def connection(running: world.Running) -> sdk.Connection:
    made = connected(running)
    yield made
    made.close()


def test_it_logs_in(connection: sdk.Connection) -> None:
    assert connection.test(raise_exception=True)
    root = connection.system_service().get()
    assert root.product_info.version.major == 4
    assert root.special_objects.blank_template.id == "00000000-0000-0000-0000-000000000000"


def test_a_wrong_password_is_an_authentication_error(running: world.Running) -> None:
    wrong = sdk.Connection(
        url=f"{running.url}/ovirt-engine/api", username="nobody@internal", password="wrong", ca_file=str(running.guest.ca)
    )
    with pytest.raises(sdk.AuthError, match="access_denied"):
        wrong.test(raise_exception=True)


def test_it_lists_what_there_is(connection: sdk.Connection) -> None:
    system = connection.system_service()
    hosts = system.hosts_service().list()
    assert [host.name for host in hosts] == ["node1", "node2", "node3"]
    assert hosts[0].cpu.topology.cores == 2
    assert hosts[0].version.full_version == "0.1.0"
    vm = system.vms_service().list(search="name=HostedEngine")[0]
    assert vm.status in (types.VmStatus.UP, types.VmStatus.DOWN)
    assert vm.memory == 1024**3
    assert vm.os.boot.devices == [types.BootDevice.HD]
    assert [one.name for one in system.storage_domains_service().list()] == ["hosted_storage", "vmstore"]
    assert [one.name for one in system.data_centers_service().list()] == ["Default"]
    cluster = system.clusters_service().list()[0]
    assert connection.follow_link(cluster.data_center).name == "Default"
    statistics = system.hosts_service().host_service(hosts[0].id).statistics_service().list()
    assert {one.name for one in statistics} >= {"memory.used", "cpu.load.avg.5m"}
    assert connection.follow_link(hosts[0].nics)[0].mac.address == "52:54:00:00:00:11"
    assert system.disks_service().list() == []


def test_errors_are_its_own(connection: sdk.Connection) -> None:
    system = connection.system_service()
    with pytest.raises(sdk.NotFoundError):
        system.vms_service().vm_service("nobody").get()
    with pytest.raises(sdk.Error, match="host has no such field"):
        system.hosts_service().list(search="load > 5")


def test_it_writes_an_event(connection: sdk.Connection) -> None:
    events = connection.system_service().events_service()
    made = events.add(types.Event(origin="sdk", severity=types.LogSeverity.ALERT, description="ß < € & 𝄞", custom_id=77))
    assert events.event_service(made.id).get().description == "ß < € & 𝄞"
    assert events.list(max=1)[0].custom_id == 77


def test_it_makes_changes_and_removes(connection: sdk.Connection) -> None:
    tags = connection.system_service().tags_service()
    made = tags.add(types.Tag(name="sdk", description="ß < €"))
    assert tags.tag_service(made.id).update(types.Tag(comment="later")).comment == "later"
    assert [one.description for one in tags.list() if one.id == made.id] == ["ß < €"]
    vm = connection.system_service().vms_service().list(search="name=HostedEngine")[0]
    assigned = connection.system_service().vms_service().vm_service(vm.id).tags_service()
    assert assigned.add(types.Tag(name="sdk")).id == made.id
    found = connection.system_service().vms_service().list(search="tag=sdk and status=up or name=nobody", max=5)
    assert [one.name for one in found] in (["HostedEngine"], [])
    assigned.tag_service(made.id).remove()
    tags.tag_service(made.id).remove()
    with pytest.raises(sdk.NotFoundError):
        tags.tag_service(made.id).get()
    with pytest.raises(sdk.Error, match=r"Tag \[name\] required for add"):
        tags.add(types.Tag())


def test_it_follows(connection: sdk.Connection) -> None:
    vms = connection.system_service().vms_service()
    vm = vms.list(search="name=HostedEngine", follow="cluster.data_center,nics")[0]
    assert vm.cluster.data_center.name == "Default"
    assert list(vm.nics) == []
    host = connection.system_service().hosts_service().list(follow="statistics")[0]
    assert {one.name for one in host.statistics} >= {"memory.used"}
    assert connection.follow_link(vm.disk_attachments) == []
    assert connection.follow_link(vm.cluster).name == "trivet"
    group = connection.system_service().clusters_service().cluster_service(vm.cluster.id).affinity_groups_service()
    made = group.add(
        types.AffinityGroup(name="sdk", vms_rule=types.AffinityRule(enabled=True, positive=False, enforcing=True))
    )
    assert made.vms_rule.enforcing is True
    group.group_service(made.id).remove()


def test_jobs_and_correlation(connection: sdk.Connection) -> None:
    jobs = connection.system_service().jobs_service()
    made = jobs.add(types.Job(description="of the SDK"), query={"correlation_id": "sdk-1"})
    assert [one.id for one in jobs.list(search="correlation_id=sdk-1")] == [made.id]
    jobs.job_service(made.id).end(succeeded=True)
    assert jobs.job_service(made.id).get().status == types.JobStatus.FINISHED
    assert jobs.job_service(made.id).steps_service().list() == []


def test_expectations_pass_the_server(connection: sdk.Connection) -> None:
    tags = connection.system_service().tags_service()
    for header in ({"Expect": "201-created"}, {"Expect": "202-accepted"}, {"X-Ovirt-Expect": "202-accepted"}):
        tags.tag_service(tags.add(types.Tag(name="expected"), headers=header).id).remove(wait=True)


def test_a_body_of_10_mib_is_answered_over_the_wire(running: world.Running) -> None:
    form = f"grant_type=password&scope=ovirt-app-api&username={world.ADMIN}&password={world.PASSWORD.replace(' ', '+')}"
    request = urllib.request.Request(f"{running.url}/ovirt-engine/sso/oauth/token", form.encode())
    with urllib.request.urlopen(request, context=running.context, timeout=20) as answer:
        token = json.load(answer)["access_token"]
    for path, kind in (("/ovirt-engine/api/events", "application/xml"), ("/login", "application/x-www-form-urlencoded")):
        client = http.client.HTTPSConnection("127.0.0.1", running.port, context=running.context, timeout=30)
        client.request("POST", path, b"x" * 10 * 1024**2, {"Authorization": f"Bearer {token}", "Content-Type": kind})
        got = client.getresponse()
        assert (got.status, got.headers["Trivet-Error"]) == (413, "api.body-too-large")
        client.close()


def test_old_tls_is_refused(running: world.Running) -> None:
    context = running.context
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    urllib.request.urlopen(f"{running.url}/health", context=context, timeout=10).close()
    old = ssl.create_default_context(cafile=str(running.guest.ca))
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{running.url}/health", context=old, timeout=10)


def test_silent_peers_do_not_hold_the_server(running: world.Running) -> None:
    silent = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(20)]  # more than there are threads
    try:
        urllib.request.urlopen(f"{running.url}/health", context=running.context, timeout=25).close()
    finally:
        for one in silent:
            one.close()
