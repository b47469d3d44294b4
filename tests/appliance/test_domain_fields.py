"""Every field of a VM's specification does something, and what comes out is what libvirt's schema allows."""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from appliance.errors import Refused
from appliance.model.vm import VmDisk, VmSpec
from appliance.model.vm_parts import CpuLayout, CpuPin, MemoryLayout, Watchdog
from appliance.tools.domain_disks import label_of
from appliance.tools.domain_xml import CDROMS_LIMIT, DISKS_LIMIT, IDE_LIMIT, domain_xml
from tests.appliance.test_domain_xml import ENGINE, GOLDEN, PLAIN
from tests.appliance.vm_specs import GROWING, OLD, SERVER

SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
SPECS = {"server": SERVER, "old": OLD, "growing": GROWING, "engine": ENGINE, "plain": PLAIN}


@pytest.mark.parametrize("name", ["server", "old", "growing"])
def test_golden(name: str) -> None:
    path, made = GOLDEN / f"{name}.xml", domain_xml(SPECS[name], accelerated=False)
    if os.environ.get("TRIVET_GOLDEN") == "write":
        path.write_text(made)
    assert made == path.read_text()


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("accelerated", [True, False])
def test_libvirts_schema_allows_it(name: str, accelerated: bool) -> None:
    schema = etree.RelaxNG(file=str(SCHEMA))
    # the watchdog itco is younger than the schema of Debian 12's libvirt
    document = etree.fromstring(domain_xml(SPECS[name], accelerated=accelerated).replace('"itco"', '"i6300esb"'))
    assert schema.validate(document), schema.error_log.last_error


def parts(value: object, rebuild: Any = lambda part: part) -> Iterator[tuple[Any, Any]]:
    """Every dataclass within ``value``, with a function that gives the whole with another in its place."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value, rebuild
        for field in dataclasses.fields(value):
            inner = getattr(value, field.name)

            def whole(part: Any, name: str = field.name, value: Any = value, rebuild: Any = rebuild) -> Any:
                return rebuild(replace(value, **{name: part}))

            yield from parts(inner, whole)
    elif isinstance(value, tuple):
        for index, inner in enumerate(value):

            def among(part: Any, index: int = index, value: Any = value, rebuild: Any = rebuild) -> Any:
                return rebuild((*value[:index], part, *value[index + 1 :]))

            yield from parts(inner, among)


def default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def all_fields(kind: type, seen: set[type]) -> Iterator[tuple[str, str]]:
    if kind in seen:
        return
    seen.add(kind)
    for field, hint in typing.get_type_hints(kind).items():
        yield kind.__name__, field
        for inner in (hint, *typing.get_args(hint)):
            if dataclasses.is_dataclass(inner) and isinstance(inner, type):
                yield from all_fields(inner, seen)


def made(spec: VmSpec) -> str | None:
    try:
        return domain_xml(spec, accelerated=False)
    except Refused:
        return None  # alone it makes no sense: the generator has looked at it, too


def test_no_field_is_left_unexercised() -> None:
    """In some golden VM each field differs from its default, and taking that difference away changes the domain."""
    needed = set(all_fields(VmSpec, set()))
    effective = set()
    for spec in (SERVER, OLD, GROWING, ENGINE):
        whole = domain_xml(spec, accelerated=False)
        for part, rebuild in parts(spec):
            for field in dataclasses.fields(part):
                value, name = getattr(part, field.name), (type(part).__name__, field.name)
                plain = default(field)
                required = plain is dataclasses.MISSING  # then everything else shows it
                if required or (value != plain and made(rebuild(replace(part, **{field.name: plain}))) != whole):
                    effective.add(name)
    assert needed - effective == set()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (replace(PLAIN, cpu=CpuLayout(maximum=4, sockets=1, cores=3, threads=1)), "are not 4"),
        (replace(PLAIN, cpus=2, cpu=CpuLayout(maximum=1)), "at most 1"),
        (replace(PLAIN, cpu=CpuLayout(pins=(CpuPin(1, "0"),))), "pinned"),
        (replace(PLAIN, memory=MemoryLayout(maximum_mib=256)), "at most 256"),
        (replace(PLAIN, memory=MemoryLayout(guaranteed_mib=1024)), "guaranteed"),
        (replace(PLAIN, firmware="bios", secure_boot=True), "BIOS"),
        (replace(PLAIN, firmware="bios", nvram="/x"), "BIOS"),
        (replace(PLAIN, machine="pc"), "q35"),
        (replace(OLD, hotplug_ports=1), "q35"),
        (replace(OLD, watchdog=Watchdog("itco")), "q35"),
        (replace(OLD, disks=(VmDisk("/a", "a", bus="sata"),)), "SATA"),
        (replace(PLAIN, disks=(VmDisk("/a", "a", bus="ide"),)), "IDE"),
        (replace(PLAIN, disks=(VmDisk("/a", "a", bus="sata", read_only=True),)), "read-only"),
        (replace(PLAIN, disks=(VmDisk("", "a"),)), "not absolute"),
        (replace(PLAIN, disks=(VmDisk("/a", "a"),) * (DISKS_LIMIT + 1)), "more than"),
        (replace(PLAIN, disks=(VmDisk("/a", "a", bus="cdrom"),) * (CDROMS_LIMIT + 1)), "more than"),
        (replace(OLD, disks=(VmDisk("/a", "a", bus="ide"),) * (IDE_LIMIT + 1)), "more than"),
    ],
)
def test_what_does_not_go_together_is_refused(wrong: VmSpec, words: str) -> None:
    with pytest.raises(Refused) as caught:
        domain_xml(wrong, accelerated=False)
    assert caught.value.code == "vm.spec" and words in caught.value.reason


def test_labels_go_on_after_z() -> None:
    assert [label_of("sd", number) for number in (0, 25, 26, 51, 52, 701, 702)] == [
        "sda", "sdz", "sdaa", "sdaz", "sdba", "sdzz", "sdaaa",
    ]  # fmt: skip
