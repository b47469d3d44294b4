"""The domain XML against golden files (TRIVET_GOLDEN=write writes them anew; read the diff)."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from appliance.errors import Refused
from appliance.model.vm import VmDisk, VmNic, VmSpec
from appliance.tools.domain_xml import domain_xml

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "domain"
ENGINE = VmSpec(
    id="11111111-2222-3333-4444-555555555555",
    name="HostedEngine",
    memory_mib=1024,
    cpus=2,
    cpu_model="Nehalem",
    disks=(
        VmDisk("/usr/lib/trivet/images/trivet-engine-0.1.0.raw", "root", bus="virtio", read_only=True, boot_order=1),
        VmDisk("/var/lib/trivet/volumes/engine/engine-vm/data.raw", "trivet-data"),
        VmDisk("/var/lib/trivet/volumes/engine/engine-vm/seed.iso", "seed", bus="cdrom", read_only=True),
    ),
    nics=(VmNic("ovirtmgmt", "52:54:00:12:34:56"),),
    serial_log="/var/log/libvirt/qemu/HostedEngine-console.log",
)
PLAIN = VmSpec(
    "66666666-2222-3333-4444-555555555555", "web", 512, 1, "Nehalem", (VmDisk("/d.qcow2", "", "qcow2"),), (), "uefi"
)


@pytest.mark.parametrize(
    ("name", "spec", "accelerated"),
    [("engine-emulated", ENGINE, False), ("engine-kvm", ENGINE, True), ("plain-uefi", PLAIN, False)],
)
def test_golden(name: str, spec: VmSpec, accelerated: bool) -> None:
    path = GOLDEN / f"{name}.xml"
    made = domain_xml(spec, accelerated=accelerated)
    if os.environ.get("TRIVET_GOLDEN") == "write":
        path.write_text(made)
    assert made == path.read_text()


def test_a_writable_disk_stops_the_guest_on_an_error_and_a_read_only_one_is_never_locked() -> None:
    disks = Xml.fromstring(domain_xml(ENGINE, accelerated=False)).findall("devices/disk")
    drivers = [disk.find("driver") for disk in disks]
    assert all(driver is not None for driver in drivers)
    writable = [driver.attrib for disk, driver in zip(disks, drivers, strict=True) if disk.find("readonly") is None]
    assert writable == [
        {
            "name": "qemu",
            "type": "raw",
            "cache": "none",
            "io": "io_uring",
            "error_policy": "stop",
            "rerror_policy": "stop",
            "discard": "unmap",
        }
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        replace(ENGINE, name=""),
        replace(ENGINE, name="a/b"),
        replace(ENGINE, memory_mib=0),
        replace(ENGINE, cpus=0),
        replace(ENGINE, disks=(VmDisk("data.raw", "s"),)),
    ],
)
def test_what_no_guest_can_have_is_refused(wrong: VmSpec) -> None:
    with pytest.raises(Refused) as caught:
        domain_xml(wrong, accelerated=False)
    assert caught.value.code == "vm.spec"


def test_text_from_outside_is_escaped() -> None:
    name = 'a<b>&"c'
    assert Xml.fromstring(domain_xml(replace(ENGINE, name=name), accelerated=False)).findtext("name") == name
