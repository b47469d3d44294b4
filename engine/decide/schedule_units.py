"""oVirt's scheduling policies and the units they are made of, under oVirt's ids: data, read by the API and the scheduler.

Source of ids, names and factors: the public engine's classes of policy units and of internal cluster policies (4.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UnitType = Literal["filter", "weight", "load_balancing"]
WeightName = Literal["even_cpu", "even_memory", "even_vms", "pack_cpu", "pack_memory", "preferred", "ha", "vms", "hosts"]
"""What is weighed: see schedule_weights."""
BalanceName = Literal["none", "even", "power_saving", "even_vms"]
"""What is balanced: see schedule_balance."""
PolicyName = Literal["none", "evenly_distributed", "power_saving", "vm_evenly_distributed", "cluster_maintenance"]

PARAMETERS: dict[str, str] = {
    "ScaleDown": "100|[1-9]|[1-9][0-9]",
    "HighVmCount": "[0-9]|[1-9][0-9]+",
    "MigrationThreshold": "[2-9]|[1-9][0-9]+",
    "SpmVmGrace": "[0-9]|[1-9][0-9]+",
    "CpuOverCommitDurationMinutes": "[1-9][0-9]*",
    "HighUtilization": "[5-9][0-9]",
    "LowUtilization": "[0-9]|[1-4][0-9]",
    "HostsInReserve": "[0-9]+",
    "EnableAutomaticHostPowerManagement": "true|false",
    "MaxFreeMemoryForOverUtilized": "[1-9][0-9]*",
    "MinFreeMemoryForUnderUtilized": "[1-9][0-9]*",
    "HeSparesCount": "[0-9]+",
    "MaxAllowedSwapUsage": "100|[0-9]|[1-9][0-9]",
    "VCpuToPhysicalCpuRatio": "[0-9]+(\\.[0-9]+)?",
}
"""Property of a policy → what its value must look like."""
BUSY_NAMES = ("CpuOverCommitDurationMinutes", "HighUtilization")
MEMORY_NAMES = ("MaxFreeMemoryForOverUtilized", "MinFreeMemoryForUnderUtilized")


@dataclass(frozen=True)
class Unit:
    """A policy unit. ``means`` is what it weighs or balances here; filters mean what they say, and always apply."""

    id: str
    name: str
    type: UnitType
    description: str
    properties: tuple[str, ...] = ()
    means: WeightName | BalanceName | Literal[""] = ""


UNITS = (
    Unit("12262ab6-9690-4bc3-a2b3-35573b172d54", "PinToHost", "filter", "A pinned VM runs on its hosts only."),
    Unit("27846536-f653-11e5-9ce9-5e5517507c66", "Label", "filter", "Hosts lack a label that the VM has."),
    Unit("6d636bf6-a35c-4f9d-b68d-0731f720cddc", "CPU", "filter", "Hosts have fewer CPUs than the VM."),
    Unit("438b052c-90ab-40e8-9be0-a22560202ea6", "CPU-Level", "filter", "Hosts cannot give the VM's CPU model."),
    Unit("c9ddbb34-0e1d-4061-a8d7-b0893fa80932", "Memory", "filter", "Hosts have too little memory for the VM."),
    Unit("e659c871-0bf1-4ccc-b748-f28f5d08ddda", "Migration", "filter", "A VM does not move to where it is."),
    Unit("84e6ddee-ab0d-42dd-82f0-c297779db566", "VmAffinityGroups", "filter", "Hard affinity of VMs to each other."),
    Unit("e69808a9-8a41-40f1-94ba-dd5d385d82d8", "VmToHostsAffinityGroups", "filter", "Hard affinity of VMs to hosts."),
    Unit("72163d1c-9468-4480-99d9-0888664eb143", "Network", "filter", "Hosts lack a network of the VM."),
    Unit("53bff075-8306-446f-a53b-9c872a29d197", "HostedEngineSpares", "filter", "Memory is kept for the engine VM.",
         ("HeSparesCount",)),
    Unit("0bd8fef9-bcb4-4250-9998-410f01608d9b", "ClusterInMaintenance", "filter", "Only highly available VMs start."),
    Unit("7db4ab05-81ab-42e8-868a-aee2df483edb", "OptimalForCpuEvenDistribution", "weight", "Less busy hosts are better.",
         ("VCpuToPhysicalCpuRatio",), "even_cpu"),
    Unit("4134247a-9c58-4b9a-8593-530bb9e37c59", "OptimalForMemoryEvenDistribution", "weight",
         "Hosts with more memory left are better.", (), "even_memory"),
    Unit("3ba8c988-f779-42c0-90ce-caa8243edee7", "OptimalForEvenGuestDistribution", "weight",
         "Hosts with fewer VMs are better.", ("SpmVmGrace",), "even_vms"),
    Unit("736999d0-1023-46a4-9a75-1316ed50e15b", "OptimalForCpuPowerSaving", "weight",
         "Busier hosts are better, up to HighUtilization.", ("HighUtilization",), "pack_cpu"),
    Unit("9dfe6086-646d-43b8-8eef-4d94de8472c8", "OptimalForMemoryPowerSaving", "weight",
         "Hosts with less memory left are better.", (), "pack_memory"),
    Unit("591cdb81-ba67-45b4-9642-e28f61a97d57", "PreferredHosts", "weight", "The VM's own hosts are better.", (),
         "preferred"),
    Unit("7f262d70-6cac-11e3-981f-0800200c9a66", "OptimalForHaReservation", "weight",
         "Hosts with fewer highly available VMs are better for another one.", ("ScaleDown",), "ha"),
    Unit("84e6ddee-ab0d-42dd-82f0-c297779db567", "VmAffinityGroups", "weight", "Soft affinity of VMs to each other.", (),
         "vms"),
    Unit("427aed70-dae3-48ba-8fe9-a902a9d563c8", "VmToHostsAffinityGroups", "weight", "Soft affinity of VMs to hosts.", (),
         "hosts"),
    Unit("38440000-8cf0-14bd-c43e-10b96e4ef00a", "None", "load_balancing", "Nothing is moved.", (), "none"),
    Unit("7db4ab05-81ab-42e8-868a-aee2df483ed2", "OptimalForEvenDistribution", "load_balancing",
         "Moves VMs from hosts above HighUtilization.", (*BUSY_NAMES, *MEMORY_NAMES), "even"),
    Unit("736999d0-1023-46a4-9a75-1316ed50e151", "OptimalForPowerSaving", "load_balancing",
         "Moves VMs from hosts above HighUtilization, and empties those below LowUtilization.",
         (*BUSY_NAMES, *MEMORY_NAMES, "LowUtilization", "HostsInReserve", "EnableAutomaticHostPowerManagement"),
         "power_saving"),
    Unit("d58c8e32-44e1-418f-9222-52cd887bf9e0", "OptimalForEvenGuestDistribution", "load_balancing",
         "Moves VMs from the host with the most to the one with the fewest.",
         ("HighVmCount", "MigrationThreshold", "SpmVmGrace"), "even_vms"),
)  # fmt: skip
"""Those that mean something here. oVirt has more (swap, NUMA, huge pages …): what we do not do is not listed."""
UNIT = {unit.id: unit for unit in UNITS}


def unit_of(kind: UnitType, means: str) -> Unit:
    """The unit of a type with that meaning; of filters, with that name."""
    return next(unit for unit in UNITS if unit.type == kind and means in (unit.means, unit.name))


@dataclass(frozen=True)
class BuiltInPolicy:
    """A policy that oVirt brings along and nobody changes."""

    id: str
    name: PolicyName
    weights: tuple[tuple[WeightName, int], ...]
    """(what is weighed, factor)."""
    balance: BalanceName
    properties: tuple[tuple[str, str], ...]
    filters: tuple[str, ...]


COMMON = (
    "PinToHost", "Label", "CPU", "CPU-Level", "Memory", "Migration", "VmAffinityGroups", "VmToHostsAffinityGroups",
    "Network", "HostedEngineSpares",
)  # fmt: skip
WISHES: tuple[tuple[WeightName, int], ...] = (("preferred", 99), ("ha", 1), ("vms", 1), ("hosts", 20))
EVEN: tuple[tuple[WeightName, int], ...] = (("even_cpu", 2), ("even_memory", 1), *WISHES)
BUSY = (("CpuOverCommitDurationMinutes", "2"), ("HighUtilization", "80"))
SPARES = ("HeSparesCount", "0")
POLICIES = (
    BuiltInPolicy("b4ed2332-a7ac-4d5f-9596-99a439cb2812", "none", EVEN, "none", BUSY, COMMON),
    BuiltInPolicy("20d25257-b4bd-4589-92a6-c4c5c5d3fd1a", "evenly_distributed", EVEN, "even", (*BUSY, SPARES), COMMON),
    BuiltInPolicy(
        "5a2b0939-7d46-4b73-a469-e9c2c7fc6a53",
        "power_saving",
        (("pack_cpu", 2), ("pack_memory", 1), *WISHES),
        "power_saving",
        (*BUSY, ("LowUtilization", "20"), SPARES),
        COMMON,
    ),
    BuiltInPolicy(
        "8d5d7bec-68de-4a67-b53e-0ac54686d579",
        "vm_evenly_distributed",
        (("even_vms", 2), *WISHES),
        "even_vms",
        (*BUSY, ("HighVmCount", "10"), ("MigrationThreshold", "5"), ("SpmVmGrace", "5"), SPARES),
        COMMON,
    ),
    BuiltInPolicy(
        "7677771e-5eab-422e-83fa-dc04080d21b7",
        "cluster_maintenance",
        EVEN,
        "none",
        BUSY,
        ("ClusterInMaintenance", *COMMON),
    ),
)
"""oVirt's policies, in the order of its list."""
