"""What the API serves: every noun, by the services of the model that it answers for. Routes, links, OpenAPI and the list
of what is covered come from here and the model."""

from __future__ import annotations

from collections.abc import Mapping

from engine.api.noun import Noun
from engine.api.nouns import (
    affinity,
    built_in,
    cluster_networks,
    disk_snapshots,
    disks,
    domains,
    events,
    fence_agents,
    groups,
    host_networks,
    host_parts,
    hosts,
    image_transfers,
    jobs,
    kept,
    people,
    places,
    root,
    scheduling,
    ssh_keys,
    templates,
    unregistered,
    vm_backups,
    vm_devices,
    vm_guest,
    vm_screens,
    vm_snapshots,
    vm_watchdogs,
    vms,
)

NOUNS: tuple[type[Noun], ...] = (
    root.Root,
    *people.PEOPLE,
    *groups.GROUPS,
    places.DataCenters,
    places.Clusters,
    cluster_networks.ClusterNetworks,
    domains.StorageDomains,
    domains.AttachedStorageDomains,
    *unregistered.NOUNS,
    hosts.Hosts,
    host_parts.HostNics,
    *fence_agents.FENCE_AGENTS,
    host_networks.NetworkAttachments,
    host_parts.Statistics,
    vms.Vms,
    vm_guest.ReportedDevices,
    *vm_devices.DEVICES,
    *vm_screens.SCREENS_AND_DRIVES,
    *vm_watchdogs.WATCHDOGS_OF,
    *vm_snapshots.SNAPSHOTS,
    *vm_backups.BACKUPS,
    events.Events,
    *templates.READ,
    disks.Disks,
    disk_snapshots.DiskSnapshots,
    image_transfers.ImageTransfers,
    jobs.Jobs,
    jobs.Steps,
    *kept.KEPT,
    *ssh_keys.SSH_KEYS,
    *scheduling.SCHEDULING,
    affinity.AffinityVms,
    affinity.AffinityHosts,
    affinity.AffinityGroupVmLabels,
    affinity.AffinityGroupHostLabels,
    built_in.OperatingSystems,
    built_in.ClusterLevels,
    built_in.NetworkFilters,
    built_in.Icons,
    built_in.Domains,
)


def nouns() -> Mapping[str, Noun]:
    """Service → the noun that serves it."""
    found: dict[str, Noun] = {}
    for kind in NOUNS:
        noun = kind()
        for service in kind.services:
            if service in found:
                raise ValueError(f"{service} is served twice")
            found[service] = noun
    return found
