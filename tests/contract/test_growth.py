"""One contract for CPUs and memory of a running VM: the engine's fake host, and the agent's verbs over the fake libvirt and
over QEMU."""

from __future__ import annotations

from dataclasses import replace

from tests.contract.hosts import SPEC, Host
from tests.contract.live_node import NAME, code


def test_cpus_are_plugged_in(host: Host) -> None:
    host.vm_start(SPEC, False)
    for count in (2, 2):
        host.vm_set_cpus(NAME, count)
        assert host.vms()[0].cpus == count
    for wrong in (0, 3):
        assert code(lambda wrong=wrong: host.vm_set_cpus(NAME, wrong)) == "vm.cpus"
    assert host.vms()[0].cpus == 2


def test_memory_is_plugged_in_and_ballooned(host: Host) -> None:
    host.vm_start(SPEC, False)
    assert host.vm_set_memory(NAME, 300) == 384, "in pieces of 128 MiB"
    assert host.vm_set_memory(NAME, 300) == 384
    assert host.vm_set_memory(NAME, 100) == 384, "the balloon takes, nothing is plugged out"
    assert host.vm_set_memory(NAME, 512) == 512
    for wrong in (0, 63, 513):
        assert code(lambda wrong=wrong: host.vm_set_memory(NAME, wrong)) == "vm.memory"


def test_who_has_no_places_does_not_grow(host: Host) -> None:
    assert code(lambda: host.vm_set_cpus(NAME, 1)) == "vm.unknown"
    assert code(lambda: host.vm_set_memory(NAME, 128)) == "vm.unknown"
    fixed = replace(SPEC, cpu=replace(SPEC.cpu, maximum=0), memory=replace(SPEC.memory, maximum_mib=0))
    host.vm_start(fixed, False)
    assert code(lambda: host.vm_set_cpus(NAME, 2)) == "vm.cpus"
    assert code(lambda: host.vm_set_memory(NAME, 129)) == "vm.memory"
    assert host.vm_set_memory(NAME, 100) == 128
