"""One contract for libvirt, spoken by the fake and by libvirt's own test driver; the lab adds QEMU (tests/lab)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from appliance.effects.libvirt_host import LibvirtHost
from appliance.errors import Conflict, Failed, NotFound, TrivetError
from appliance.fakes.libvirt import FakeLibvirt
from appliance.model.vm import VmState
from appliance.ports import Hypervisor

NAME = "contract"


def small(name: str = NAME) -> str:
    return (
        f"<domain type='test'><name>{name}</name><uuid>{uuid.uuid5(uuid.NAMESPACE_DNS, name)}</uuid>"
        "<memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain>"
    )


@pytest.fixture(params=["fake", "test-driver"])
def libvirt(request: pytest.FixtureRequest) -> Iterator[Hypervisor]:
    hypervisor: Hypervisor = FakeLibvirt() if request.param == "fake" else LibvirtHost("test:///default")
    yield hypervisor
    for vm in hypervisor.domains():
        if vm.name.startswith(NAME):
            hypervisor.destroy(vm.name)


def found(libvirt: Hypervisor, name: str = NAME) -> VmState | None:
    listed = next((vm for vm in libvirt.domains() if vm.name == name), None)
    alone = libvirt.domain(name)
    assert (alone is None) is (listed is None)
    assert alone is None or listed is None or (alone.id, alone.power, alone.pid) == (listed.id, listed.power, listed.pid)
    return alone


def code(error: pytest.ExceptionInfo[TrivetError]) -> str:
    assert error.value.subject and error.value.reason and error.value.remedy
    return error.value.code


def test_a_started_vm_is_listed_as_it_was_asked_for(libvirt: Hypervisor) -> None:
    libvirt.start(small(), paused=False)
    vm = found(libvirt)
    assert vm is not None
    assert (vm.power, vm.memory_mib, vm.cpus) == ("running", 64, 1)
    assert vm.id == str(uuid.uuid5(uuid.NAMESPACE_DNS, NAME))


@pytest.mark.parametrize("libvirt", ["fake"], indirect=True)  # the test driver cannot start paused: tests/lab asks QEMU
def test_paused_then_resumed(libvirt: Hypervisor) -> None:
    libvirt.start(small(), paused=True)
    vm = found(libvirt)
    assert vm is not None and vm.power == "paused"
    libvirt.resume(NAME)
    vm = found(libvirt)
    assert vm is not None and vm.power == "running"


def test_a_running_vm_is_paused_described_and_counted(libvirt: Hypervisor) -> None:
    libvirt.start(small(), paused=False)
    libvirt.pause(NAME)
    vm = found(libvirt)
    assert vm is not None and vm.power == "paused"
    assert f"<name>{NAME}</name>" in libvirt.domain_xml(NAME)
    libvirt.resume(NAME)
    assert NAME in [one.name for one in libvirt.statistics()]


def test_a_destroyed_vm_is_gone_for_good(libvirt: Hypervisor) -> None:
    libvirt.start(small(), paused=False)
    libvirt.destroy(NAME)
    assert found(libvirt) is None
    libvirt.start(small(), paused=False)
    assert found(libvirt) is not None


def test_the_list_is_sorted_by_name(libvirt: Hypervisor) -> None:
    for suffix in "cab":
        libvirt.start(small(NAME + suffix), paused=False)
    names = [vm.name for vm in libvirt.domains()]
    assert names == sorted(names) and len([name for name in names if name.startswith(NAME)]) == 3


def test_starting_twice_is_a_conflict(libvirt: Hypervisor) -> None:
    libvirt.start(small(), paused=False)
    with pytest.raises(Conflict) as error:
        libvirt.start(small(), paused=False)
    assert code(error) == "vm.exists"


def test_an_unknown_vm(libvirt: Hypervisor) -> None:
    for act in (libvirt.resume, libvirt.shutdown, libvirt.destroy, libvirt.pause, libvirt.domain_xml):
        with pytest.raises(NotFound) as error:
            act("contract-nobody")
        assert code(error) == "vm.unknown"
        assert "contract-nobody" in error.value.subject
    with pytest.raises(NotFound) as error:
        libvirt.migrate("contract-nobody", "node2", 5.0)
    assert code(error) == "vm.unknown"


def test_a_migration_that_cannot_be_leaves_the_vm(libvirt: Hypervisor) -> None:
    libvirt.start(small(), paused=False)
    with pytest.raises(Failed) as error:
        libvirt.migrate(NAME, "host.invalid", 5.0)
    assert code(error) == "vm.migrate"
    vm = found(libvirt)
    assert vm is not None and vm.power == "running"


def test_the_version_has_three_numbers(libvirt: Hypervisor) -> None:
    assert len([int(part) for part in libvirt.version().split(".")]) == 3
