"""The official Python SDK at hosts, storage domains and templates: the real server over TLS, the jobs beside it."""

from __future__ import annotations

from typing import Any

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types

from engine.fakes.hosts import FakeNodes
from tests.engine.sdk_world import gone, until
from tests.engine.vm_world import MIB, PROFILE

GIB = 1024**3


def new_vm(system: Any, name: str, **given: Any) -> Any:
    """A VM from Blank with a disk and a NIC; its service."""
    vms = system.vms_service()
    disk = types.Disk(
        name=f"{name}-root",
        provisioned_size=8 * MIB,
        format=types.DiskFormat.COW,
        storage_domains=[types.StorageDomain(name="vmstore")],
    )
    made = vms.add(
        types.Vm(
            name=name,
            cluster=types.Cluster(name="trivet"),
            template=types.Template(name="Blank"),
            memory=256 * MIB,
            nics=[types.Nic(name="nic1", vnic_profile=types.VnicProfile(id=PROFILE))],
            disk_attachments=[
                types.DiskAttachment(disk=disk, interface=types.DiskInterface.VIRTIO_SCSI, bootable=True, active=True)
            ],
            **given,
        )
    )
    vm = vms.vm_service(made.id)
    until(lambda: vm.get().status == types.VmStatus.DOWN)
    return vm


@pytest.mark.timeout(300)
def test_a_host_goes_to_maintenance_and_back(system: Any, hosts: FakeNodes) -> None:
    vm = new_vm(system, "guest")
    vm.start()
    until(lambda: vm.get().status == types.VmStatus.UP)
    source = vm.get(follow="host").host
    host = system.hosts_service().host_service(source.id)
    assert host.get().status == types.HostStatus.UP
    assert {one.name for one in host.nics_service().list()} == {"eth0", "eth1", "ovirtmgmt"}
    assert host.get(all_content=True).hosted_engine.score == 3400
    host.deactivate(reason="new disks")
    until(lambda: host.get().status == types.HostStatus.MAINTENANCE)
    now = vm.get(follow="host")
    assert (now.status, now.host.name != source.name) == (types.VmStatus.UP, True)
    assert hosts.host(now.host.name).vm(vm.get().id) is not None
    events = system.events_service().list(search="type=600")
    assert any("new disks" in one.description for one in events)
    with pytest.raises(sdk.Error, match="already in Maintenance mode"):
        host.deactivate()
    host.activate()
    until(lambda: host.get().status == types.HostStatus.UP)
    pinned = types.VmPlacementPolicy(affinity=types.VmAffinity.PINNED)
    vm.update(types.Vm(placement_policy=pinned))
    there = system.hosts_service().host_service(now.host.id)
    with pytest.raises(sdk.Error, match="VM guest cannot leave it: it is pinned"):
        there.deactivate()
    assert there.get().status == types.HostStatus.UP
    vm.stop()


@pytest.mark.timeout(120)
def test_a_storage_domain(system: Any) -> None:
    domains = system.storage_domains_service()
    found = domains.list(search="name=vmstore")[0]
    assert (found.type, found.storage.type) == (types.StorageDomainType.DATA, types.StorageType.GLUSTERFS)
    assert (found.available, found.used, found.status) == (60 * GIB, 40 * GIB, types.StorageDomainStatus.ACTIVE)
    domain = domains.storage_domain_service(found.id)
    changed = domain.update(types.StorageDomain(description="fast", warning_low_space_indicator=15))
    assert (changed.description, changed.warning_low_space_indicator, changed.name) == ("fast", 15, "vmstore")
    center = system.data_centers_service().list()[0]
    attached = system.data_centers_service().data_center_service(center.id).storage_domains_service()
    mine = attached.storage_domain_service(found.id)
    mine.deactivate()
    until(lambda: mine.get().status == types.StorageDomainStatus.MAINTENANCE)
    disk = types.Disk(name="x", provisioned_size=MIB, format=types.DiskFormat.RAW, storage_domains=[found])
    with pytest.raises(sdk.Error, match="not active"):
        system.disks_service().add(disk)
    mine.activate()
    until(lambda: mine.get().status == types.StorageDomainStatus.ACTIVE)


@pytest.mark.timeout(300)
def test_templates(system: Any) -> None:
    vm, templates, vms = new_vm(system, "golden"), system.templates_service(), system.vms_service()
    made = templates.add(types.Template(name="base", vm=types.Vm(id=vm.get().id), description="golden image"))
    template = templates.template_service(made.id)
    until(lambda: template.get().status == types.TemplateStatus.OK)
    again = types.TemplateVersion(base_template=types.Template(id=made.id), version_name="patched")
    second = templates.add(types.Template(name="base", vm=types.Vm(name="golden"), version=again))
    until(lambda: templates.template_service(second.id).get().status == types.TemplateStatus.OK)
    assert sorted(one.version.version_number for one in templates.list(search="name=base")) == [1, 2]
    (attachment,) = template.disk_attachments_service().list(follow="disk")
    assert (attachment.disk.name, attachment.bootable) == ("golden-root", True)
    cluster = types.Cluster(name="trivet")
    thin = vms.add(types.Vm(name="thin", cluster=cluster, template=types.Template(id=made.id)))
    clone = vms.add(types.Vm(name="clone", cluster=cluster, template=types.Template(id=second.id)), clone=True)
    for one in (thin, clone):
        until(lambda one=one: vms.vm_service(one.id).get().status == types.VmStatus.DOWN)
    assert vms.vm_service(clone.id).get(follow="template").template.name == "Blank"
    assert [one.name for one in vms.vm_service(thin.id).nics_service().list()] == ["nic1"]
    templates.template_service(second.id).remove()
    until(lambda: gone(templates.template_service(second.id)))
    with pytest.raises(sdk.Error, match="being used by the following VMs thin"):
        template.remove()
    vms.vm_service(thin.id).remove()
    until(lambda: gone(vms.vm_service(thin.id)))
    template.remove()
    until(lambda: gone(template))
    with pytest.raises(sdk.Error, match="Blank Template cannot be edited or removed"):
        templates.template_service(templates.list(search="name=Blank")[0].id).remove()
