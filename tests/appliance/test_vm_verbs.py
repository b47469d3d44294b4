"""VMs through the verbs, on libvirt's fake: idempotent, and the disk's lock decides."""

from __future__ import annotations

from appliance.errors import NotFound, Unavailable
from appliance.fakes.libvirt import DiskLocks, FakeLibvirt
from appliance.verbs.vms import VmVerbs
from tests.appliance.test_domain_xml import ENGINE
from tests.appliance.test_verbs import code


def verbs(node: str = "node1", locks: DiskLocks | None = None) -> tuple[VmVerbs, FakeLibvirt]:
    fake = FakeLibvirt(node, locks or DiskLocks())
    return VmVerbs(fake, accelerated=lambda: False), fake


def test_starting_twice_finds_it_running() -> None:
    vms, fake = verbs()
    first = vms.start(ENGINE, paused=True)
    assert (first.power, first.memory_mib, first.cpus) == ("paused", 1024, 2)
    assert vms.start(ENGINE, paused=False) == first
    vms.resume("HostedEngine")
    vms.resume("HostedEngine")
    assert vms.vms()[0].power == "running"
    assert 'type="qemu"' in fake.xml["HostedEngine"]


def test_the_disk_lock_is_one_for_all_nodes() -> None:
    locks = DiskLocks()
    (here, one), (there, _) = verbs("node1", locks), verbs("node2", locks)
    here.start(ENGINE, paused=True)
    assert code(lambda: there.start(ENGINE, paused=True)) == "vm.disk-locked"
    assert there.vms() == ()
    one.vanish("HostedEngine")
    assert there.start(ENGINE, paused=True).power == "paused"


def test_another_vm_of_that_name_is_a_conflict() -> None:
    from dataclasses import replace

    vms, _ = verbs()
    vms.start(ENGINE, paused=False)
    other = replace(ENGINE, id="99999999-2222-3333-4444-555555555555")
    assert code(lambda: vms.start(other, paused=False)) == "vm.exists"


def test_a_vm_that_stopped_on_an_io_error_is_never_resumed() -> None:
    vms, fake = verbs()
    vms.start(ENGINE, paused=False)
    fake.set_power("HostedEngine", "paused-io-error")
    assert code(lambda: vms.resume("HostedEngine")) == "vm.io-error"
    assert vms.vms()[0].power == "paused-io-error"
    assert code(lambda: vms.migrate("HostedEngine", "node2")) == "vm.not-running"


def test_a_vm_that_ran_out_of_space_goes_on() -> None:
    vms, fake = verbs()
    vms.start(ENGINE, paused=False)
    fake.set_power("HostedEngine", "paused-no-space")
    vms.resume("HostedEngine")
    assert vms.vms()[0].power == "running"


def test_what_is_not_there() -> None:
    vms, _ = verbs()
    vms.shutdown("nobody")
    vms.destroy("nobody")
    assert code(lambda: vms.resume("nobody")) == "vm.unknown"
    assert code(lambda: vms.migrate("nobody", "node2")) == "vm.unknown"


def test_a_vm_that_ends_between_look_and_call_is_as_asked() -> None:
    vms, fake = verbs()
    vms.start(ENGINE, paused=False)
    fake.fail["destroy"] = NotFound("vm.unknown", subject="VM", reason="gone", remedy="none")
    vms.destroy("HostedEngine")
    fake.fail["destroy"] = Unavailable("libvirt.deadline", subject="libvirt", reason="hangs", remedy="look")
    assert code(lambda: vms.destroy("HostedEngine")) == "libvirt.deadline"


def test_migration_moves_vm_and_lock() -> None:
    locks = DiskLocks()
    (here, one), (there, two) = verbs("node1", locks), verbs("node2", locks)
    one.peers["node2"] = two
    here.start(ENGINE, paused=False)
    here.migrate("HostedEngine", "node2")
    assert here.vms() == () and there.vms()[0].power == "running"
    assert set(locks.holders.values()) == {"node2/HostedEngine"}


# libvirt's settings, membership, HA status
