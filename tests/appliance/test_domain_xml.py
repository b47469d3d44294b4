"""The domain XML against golden files (TRIVET_GOLDEN=write writes them anew; read the diff)."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from appliance.errors import Refused
from appliance.model.vm import VmDisk, VmNic, VmSpec
from appliance.tools.domain_xml import awake_with_disks, awake_xml, domain_xml

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


SAVED = replace(
    ENGINE,
    disks=(
        VmDisk("/v/images/a/1", "a", "qcow2", boot_order=1),
        VmDisk("/v/images/b/1", "b", "raw", "virtio"),
        VmDisk("/v/x.iso", "cd", bus="cdrom"),
    ),
)


def sources(xml: str) -> dict[str, tuple[str, str]]:
    """Serial → (file, format) of what a domain has."""
    found = {}
    for disk in Xml.fromstring(xml).findall("devices/disk"):
        source, driver = disk.find("source"), disk.find("driver")
        assert source is not None and driver is not None
        found[disk.findtext("serial") or ""] = (source.get("file", ""), driver.get("type", ""))
    return found


def test_memory_goes_on_with_the_files_of_now_and_all_else_as_the_guest_saw_it() -> None:
    saved = domain_xml(SAVED, accelerated=False)
    below = '<backingStore type="file"><format type="raw"/><source file="/v/images/b/0"/></backingStore>'
    saved = saved.replace('<source file="/v/images/b/1" />', f'<source file="/v/images/b/1" />{below}')
    assert "/v/images/b/0" in saved
    a, b, cd = SAVED.disks
    now = replace(SAVED, disks=(replace(b, path="/v/images/b/2", format="qcow2"), a, replace(cd, path="/v/y.iso")))
    awake = awake_with_disks(saved, now)
    expected = {"a": ("/v/images/a/1", "qcow2"), "b": ("/v/images/b/2", "qcow2"), "cd": ("/v/y.iso", "raw")}
    assert sources(awake) == expected
    assert "/v/images/b/0" not in awake, "libvirt finds what is below by itself"
    for path in ("target", "address", "serial"):
        shown = [[one.attrib for one in Xml.fromstring(xml).iter(path)] for xml in (saved, awake)]
        assert shown[0] == shown[1]
    assert sources(awake_with_disks(awake, SAVED)) == sources(saved)
    assert awake_with_disks(saved, SAVED).count("<backingStore") == 1, "what has not changed stays as it is"


def test_a_disc_that_has_gone_is_in_no_drive_and_no_hindrance() -> None:
    saved = domain_xml(SAVED, accelerated=False)
    empty = (replace(SAVED.disks[2], path=""),)
    for discs in ((), empty):
        awake = awake_with_disks(saved, replace(SAVED, disks=(*SAVED.disks[:2], *discs)))
        assert "/v/x.iso" not in awake
        drive = next(one for one in Xml.fromstring(awake).iter("disk") if one.findtext("serial") == "cd")
        assert (drive.get("device"), drive.find("source"), drive.find("target") is None) == ("cdrom", None, False)
        assert sources(awake_with_disks(awake, SAVED)) == sources(saved), "it may be put in again"


@pytest.mark.parametrize("left", [SAVED.disks[1:], (replace(SAVED.disks[0], serial=""), *SAVED.disks[1:])])
def test_memory_with_another_disk_does_not_go_on(left: tuple[VmDisk, ...]) -> None:
    with pytest.raises(Refused) as caught:
        awake_with_disks(domain_xml(SAVED, accelerated=False), replace(SAVED, disks=left))
    assert (caught.value.code, " a " in caught.value.reason) == ("vm.saved-memory", True)


def test_the_engine_wakes_with_the_disks_of_its_memory() -> None:
    """It has no data disk there yet, and disks without serials; what it was saved with is what it wakes with."""
    root = VmDisk("/root-1.raw", "", bus="virtio", read_only=True)
    saved = domain_xml(replace(ENGINE, disks=(root,)), accelerated=False)
    now = replace(ENGINE, disks=(replace(root, path="/root-2.raw"), VmDisk("/data.raw", "trivet-data")))
    assert sources(awake_xml(saved, now)) == {"": ("/root-1.raw", "raw")}
