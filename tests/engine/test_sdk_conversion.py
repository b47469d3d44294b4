"""What a converter of other hypervisors' VMs does through the official SDK: checks, a disk under an id of its own, a VM as
an OVF; and what is told of a VM when all of it is asked for."""

from __future__ import annotations

import uuid
from typing import Any

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types

from engine.api import ovf
from tests.engine.sdk_world import until
from tests.engine.vm_world import MIB

pytestmark = pytest.mark.usefixtures("hosts")

OVF = """<?xml version='1.0' encoding='utf-8'?>
<ovf:Envelope xmlns:rasd='{rasd}' xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xmlns:ovf='{ovf}'
    xmlns:ovirt='http://www.ovirt.org/ovf' ovf:version='0.9'>
  <!-- written by a converter -->
  <References><File ovf:href='{volume}' ovf:id='{volume}' ovf:description='converted'/></References>
  <NetworkSection><Info>List of networks</Info><Network ovf:name='ovirtmgmt'/></NetworkSection>
  <DiskSection><Info>List of Virtual Disks</Info>
    <Disk ovf:diskId='{disk}' ovf:size='1' ovf:capacity='8388608' ovf:fileRef='{volume}' ovf:parentRef=''
        ovf:volume-format='COW' ovf:volume-type='Sparse' ovf:disk-interface='VirtIO' ovf:boot='True'/>
  </DiskSection>
  <VirtualSystem ovf:id='{vm}'>
    <Name>{name}</Name><TemplateId>00000000-0000-0000-0000-000000000000</TemplateId><TemplateName>Blank</TemplateName>
    <Description>from elsewhere</Description><Domain/><TimeZone/><VmType>1</VmType><BiosType>2</BiosType>
    <OperatingSystemSection ovf:id='{vm}' ovf:required='false' ovirt:id='1301'><Info>Debian</Info>
      <Description>OtherLinux</Description></OperatingSystemSection>
    <VirtualHardwareSection><Info>2 CPU, 256 Memory</Info>
      <Item><rasd:Caption>2 virtual cpu</rasd:Caption><rasd:ResourceType>3</rasd:ResourceType>
        <rasd:num_of_sockets>1</rasd:num_of_sockets><rasd:cpu_per_socket>2</rasd:cpu_per_socket></Item>
      <Item><rasd:ResourceType>4</rasd:ResourceType><rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits>
        <rasd:VirtualQuantity>256</rasd:VirtualQuantity></Item>
      <Item><rasd:Caption>Graphical Controller</rasd:Caption><rasd:ResourceType>32768</rasd:ResourceType></Item>
      <Item><rasd:Caption>Drive 1</rasd:Caption><rasd:ResourceType>17</rasd:ResourceType>
        <rasd:HostResource>{volume}</rasd:HostResource><BootOrder>1</BootOrder></Item>
      <Item><rasd:Caption>Ethernet adapter on ovirtmgmt</rasd:Caption><rasd:ResourceType>10</rasd:ResourceType>
        <rasd:ResourceSubType>3</rasd:ResourceSubType><rasd:Connection>ovirtmgmt</rasd:Connection>
        <rasd:Name>eth0</rasd:Name><rasd:MACAddress>52:54:00:AA:BB:01</rasd:MACAddress></Item>
      <Item><rasd:ResourceType>10</rasd:ResourceType><rasd:ResourceSubType>2</rasd:ResourceSubType>
        <rasd:Connection>VM Network</rasd:Connection><rasd:Name>eth1</rasd:Name></Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</ovf:Envelope>
"""


def described(disk: str, name: str) -> str:
    ids = {"disk": disk, "volume": str(uuid.uuid4()), "vm": str(uuid.uuid4())}
    return OVF.format(ovf=ovf.OVF, rasd=ovf.RASD, name=name, **ids)


def as_ovf(connection: Any, text: str) -> types.Vm:
    """The whole cluster goes along, as it was read."""
    cluster = connection.system_service().clusters_service().list()[0]
    configuration = types.Configuration(type=types.ConfigurationType.OVA, data=text)
    return types.Vm(cluster=cluster, initialization=types.Initialization(configuration=configuration))


def new_disk(name: str) -> types.Disk:
    """Under an id of the client's own choice."""
    return types.Disk(
        id=str(uuid.uuid4()),
        name=name,
        format=types.DiskFormat.COW,
        initial_size=8 * MIB,
        provisioned_size=8 * MIB,
        sparse=True,
        storage_domains=[types.StorageDomain(name="vmstore")],
    )


def add_disk(system: Any, disk: types.Disk) -> None:
    disks = system.disks_service()
    assert disks.add(disk).id == disk.id
    until(lambda: disks.disk_service(disk.id).get().status == types.DiskStatus.OK)


def test_a_converted_vm_comes_as_it_was(system: Any) -> None:
    connection = system._connection
    centers = system.data_centers_service().list(search="storage.name=vmstore", case_sensitive=True)
    assert "vmstore" in [one.name for one in connection.follow_link(centers[0].storage_domains)]
    assert [one.name for one in connection.follow_link(centers[0].clusters)] == ["trivet"]
    disk, disks = new_disk("converted-sda"), system.disks_service()
    wanted = disk.id
    with pytest.raises(sdk.NotFoundError):
        disks.disk_service(wanted).get()
    add_disk(system, disk)
    with pytest.raises(sdk.Error, match="409"):
        disks.add(disk)
    disk.id = "mine"
    with pytest.raises(sdk.Error, match="it is no UUID"):
        disks.add(disk)
    vms = system.vms_service()
    elsewhere = system.data_centers_service().add(types.DataCenter(name="elsewhere", local=False))
    system.networks_service().add(types.Network(name="VM Network", data_center=types.DataCenter(id=elsewhere.id)))
    made = vms.add(as_ovf(connection, described(wanted, "converted")))
    vm = vms.vm_service(made.id)
    assert (made.name, made.description, made.memory) == ("converted", "from elsewhere", 256 * MIB)
    assert (made.bios.type, made.os.type) == (types.BiosType.Q35_OVMF, "debian_9")
    assert (made.cpu.topology.sockets, made.cpu.topology.cores) == (1, 2)
    (attached,) = vm.disk_attachments_service().list()
    assert (attached.disk.id, attached.bootable, attached.interface) == (wanted, True, types.DiskInterface.VIRTIO)
    nics = {one.name: one for one in vm.nics_service().list()}
    assert nics["eth0"].mac.address == "52:54:00:aa:bb:01"
    assert nics["eth0"].vnic_profile is not None
    assert (nics["eth1"].interface, nics["eth1"].vnic_profile) == (types.NicInterface.E1000, None), "it is elsewhere"
    assert vm.get().initialization is None
    vm.start()
    until(lambda: vm.get().status == types.VmStatus.UP)


def test_all_of_a_vm_is_told_as_an_ovf(system: Any) -> None:
    disk, vms = new_disk("told-sda"), system.vms_service()
    add_disk(system, disk)
    vms.add(as_ovf(system._connection, described(disk.id, "told").replace("AA:BB:01", "AA:BB:03")))
    (found,) = vms.list(search="name=told", all_content=True)
    configuration = found.initialization.configuration
    assert configuration.type == types.ConfigurationType.OVF
    attachment = vms.vm_service(found.id).disk_attachments_service().list()[0]
    again = ovf.vm_of(configuration.data, {"1301": "debian_9"})
    assert (again["name"], again["memory"], again["bios"], again["os"]) == (
        "told",
        256 * MIB,
        {"type": "q35_ovmf"},
        {"type": "debian_9"},
    )
    assert again["disk_attachments"] == [
        {"disk": {"id": attachment.disk.id}, "interface": "virtio", "bootable": True, "active": True}
    ]
    assert [(one["name"], one["network"]["name"]) for one in again["nics"]] == [("eth0", "ovirtmgmt"), ("eth1", "")]
    assert vms.vm_service(found.id).get(all_content=True).initialization.configuration.data == configuration.data
    assert vms.list(search="name=told")[0].initialization is None


GOOD = described(str(uuid.uuid4()), "bad").replace("AA:BB:01", "AA:BB:02")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("no xml", "not well-formed", id="no XML"),
        pytest.param("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "DOCTYPE", id="a DOCTYPE"),
        pytest.param("<Envelope/>", "no virtual system", id="no system"),
        pytest.param(described("../../etc", "bad"), "the disk id", id="a path"),
        pytest.param(GOOD.replace(">256<", ">much<"), "not a number", id="no number"),
        pytest.param("<a><VirtualSystem>" + "<Item/>" * 1_001 + "</VirtualSystem></a>", "more than 1000", id="too much"),
        pytest.param("<a>" + "x" * ovf.TEXT_LIMIT_CHARACTERS + "</a>", "characters", id="too long"),
        pytest.param(GOOD, "there is none", id="a disk that is not there"),
    ],
)
def test_a_bad_ovf_is_refused_and_nothing_is_made(system: Any, text: str, why: str) -> None:
    connection = system._connection
    before = {one.id for one in system.vms_service().list()}
    with pytest.raises(sdk.Error, match=why):
        system.vms_service().add(as_ovf(connection, text))
    assert {one.id for one in system.vms_service().list()} == before
