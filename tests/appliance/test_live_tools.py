"""What libvirt says of running VMs, read: statistics, guest agents, descriptions (as libvirt 11 and QEMU 10 give them)."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from appliance.model.vm import VmDisk
from appliance.model.vm_live import GuestNic
from appliance.tools.guest_info import guest_info
from appliance.tools.live_xml import LiveDomain, device_names, snapshot_xml, with_cd, with_link, with_ticket
from appliance.tools.vm_statistics import vm_statistics

LIVE = """
<domain type='qemu' id='3'>
  <name>web</name>
  <metadata><t:vm xmlns:t='urn:trivet:vm' guaranteed-mib='64'/></metadata>
  <maxMemory slots='16' unit='KiB'>524288</maxMemory>
  <memory unit='KiB'>131072</memory>
  <vcpu placement='static' current='1'>2</vcpu>
  <os><type arch='x86_64' machine='pc-q35-10.0'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <source file='/v/s2' index='5'/>
      <backingStore type='file' index='4'>
        <source file='/v/s1'/>
        <backingStore type='file' index='1'><source file='/v/a'/><backingStore/></backingStore>
      </backingStore>
      <target dev='sda' bus='scsi'/>
      <serial>a</serial>
      <address type='drive' controller='0' bus='0' target='0' unit='0'/>
    </disk>
    <disk type='file' device='cdrom'>
      <target dev='sdb' bus='sata'/><serial>cd</serial>
      <address type='drive' controller='0' bus='0' target='0' unit='0'/>
    </disk>
    <interface type='bridge'>
      <mac address='56:6f:00:00:00:01'/><source bridge='vms'/><target dev='vnet7'/><link state='down'/>
    </interface>
    <graphics type='vnc' port='5900' listen='127.0.0.1'/>
  </devices>
</domain>
"""
NUMBERS = {
    "cpu.time": 2_500_000_000,
    "cpu.user": 1_000_000_000,
    "cpu.system": 500_000_000,
    "vcpu.current": 1,
    "vcpu.maximum": 2,
    "balloon.current": 131072,
    "balloon.maximum": 131072,
    "balloon.rss": 70000,
    "balloon.unused": 90000,
    "net.count": 1,
    "net.0.name": "vnet7",
    "net.0.rx.bytes": 10,
    "net.0.tx.drop": 2,
    "block.count": 3,
    "block.0.name": "sda",
    "block.0.path": "/v/s2",
    "block.0.rd.reqs": 7,
    "block.0.wr.times": 3_000_000_000,
    "block.0.capacity": 8388608,
    "block.1.name": "sdb",
    "block.2.name": "sdz",
}


def test_statistics() -> None:
    names = device_names(LIVE)
    assert not names.cover(NUMBERS), "sdz came this moment"
    found = vm_statistics("id", "web", NUMBERS, names)
    assert (found.cpu_time_s, found.cpu_user_s, found.cpus, found.cpus_maximum) == (2.5, 1.0, 1, 2)
    assert (found.memory_kib, found.memory_rss_kib, found.memory_unused_kib, found.swap_in_kib) == (131072, 70000, 90000, 0)
    a, cd = found.disks
    assert (a.disk, a.path, a.read_requests, a.write_time_s, a.capacity_bytes) == ("a", "/v/s2", 7, 3.0, 8388608)
    assert (cd.disk, cd.path) == ("cd", "")
    (nic,) = found.nics
    assert (nic.mac, nic.received_bytes, nic.sent_drops) == ("56:6f:00:00:00:01", 10, 2)
    assert names.cover({key: value for key, value in NUMBERS.items() if value != "sdz"})


def test_a_vm_in_the_middle_of_a_job_tells_less() -> None:
    found = vm_statistics("id", "web", {}, device_names("<domain><devices/></domain>"))
    assert (found.disks, found.nics, found.memory_kib) == ((), (), 0)


def test_what_a_guest_agent_tells() -> None:
    said = {
        "hostname": "web.lab", "os.id": "debian", "os.pretty-name": "Debian GNU/Linux 13", "os.version-id": "13",
        "os.kernel-release": "6.12", "os.machine": "x86_64", "timezone.name": "CET", "timezone.offset": 3600,
        "user.count": 1, "user.0.name": "root",
        "if.count": 2, "if.0.name": "lo", "if.1.name": "eth0", "if.1.hwaddr": "56:6F:00:00:00:01", "if.1.addr.count": 1,
        "if.1.addr.0.addr": "198.18.9.9", "if.1.addr.0.prefix": 24,
    }  # fmt: skip
    found = guest_info(said)
    assert (found.agent, found.hostname, found.os_name, found.os_version) == (True, "web.lab", "Debian GNU/Linux 13", "13")
    assert (found.time_zone, found.time_zone_offset_s, found.users) == ("CET", 3600, ("root",))
    assert found.nics == (GuestNic("eth0", "56:6f:00:00:00:01", ("198.18.9.9/24",)),)
    assert guest_info({}).agent, "one that tells nothing is there all the same"


def test_a_description_is_read() -> None:
    domain = LiveDomain(LIVE)
    assert (domain.memory_mib, domain.memory_maximum_mib, domain.guaranteed_mib, domain.cpus) == (128, 512, 64, (1, 2))
    disk = domain.disk("a")
    assert disk is not None and disk.label == "sda"
    assert [(layer.path, layer.name) for layer in disk.layers] == [
        ("/v/s2", "sda[5]"), ("/v/s1", "sda[4]"), ("/v/a", "sda[1]"),
    ]  # fmt: skip
    cd = domain.disk("cd")
    assert cd is not None and cd.path == "" and domain.labels() == ("sda", "sdb")
    bare = LiveDomain("<domain><devices/></domain>")
    assert (bare.memory_mib, bare.memory_maximum_mib, bare.guaranteed_mib, bare.cpus) == (0, 0, 0, (1, 1))
    assert bare.graphics() is None and bare.nic("x") is None


def test_a_new_disk_gets_a_free_place() -> None:
    element = Xml.fromstring(LiveDomain(LIVE).new_disk(VmDisk("/v/b", "b")))
    target, address = element.find("target"), element.find("address")
    assert target is not None and target.get("dev") == "sdc", "labels are one for SCSI and SATA"
    assert address is not None and address.get("unit") == "1", "units are each bus's own"


def test_pieces_are_changed_and_the_rest_stays() -> None:
    domain = LiveDomain(LIVE)
    nic, cd, screen = domain.nic("56:6F:00:00:00:01"), domain.disk("cd"), domain.graphics()
    assert nic is not None and cd is not None and screen is not None
    moved = Xml.fromstring(with_link(nic, "other", True))
    assert [element.attrib for element in moved] == [
        {"address": "56:6f:00:00:00:01"}, {"bridge": "other"}, {"dev": "vnet7"}, {"state": "up"},
    ]  # fmt: skip
    assert "vms" in with_link(nic, "", False)
    assert 'file="/x.iso"' in with_cd(cd.element, "/x.iso") and "source" not in with_cd(cd.element, "")
    assert 'passwd="abc"' in with_ticket(screen, "abc", "2030-01-01T00:00:00")
    assert "1970" in with_ticket(screen, "", "2030-01-01T00:00:00")
    assert screen.get("passwd") is None, "what was read is not changed"


def test_a_snapshot_names_every_disk() -> None:
    made = Xml.fromstring(snapshot_xml("s", {"sda": "/v/new"}, ("sdb",), ""))
    assert [(disk.get("name"), disk.get("snapshot")) for disk in made.findall("disks/disk")] == [
        ("sda", "external"), ("sdb", "no"),
    ]  # fmt: skip
    memory = Xml.fromstring(snapshot_xml("s", {"sda": "/v/new"}, (), "/v/memory")).find("memory")
    assert memory is not None and memory.attrib == {"snapshot": "external", "file": "/v/memory"}
