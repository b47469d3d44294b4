"""The VMs, hosts and labels of affinity groups, and the VMs and hosts of labels: assigned and taken away, not made."""

from __future__ import annotations

from engine.api.noun import Noun
from engine.api.nouns.hosts import Hosts
from engine.api.nouns.kept import AffinityLabels
from engine.api.nouns.vms import Vms
from engine.api.stored import Held, Stored


class AffinityVms(Vms):
    """The VMs of an affinity group or label."""

    services, scopes = (
        ("AffinityGroupVms", "AffinityLabelVms"),
        {kind: Held("vms") for kind in ("AffinityGroup", "AffinityLabel")},
    )
    actions = {}
    add, remove, update = Stored.add, Stored.remove, Noun.update


class AffinityHosts(Hosts):
    """The hosts of an affinity group or label."""

    services = ("AffinityGroupHosts", "AffinityLabelHosts")
    scopes = {kind: Held("hosts") for kind in ("AffinityGroup", "AffinityLabel")}
    actions = {}
    add, remove, update = Stored.add, Stored.remove, Noun.update


class AffinityGroupVmLabels(AffinityLabels):
    """The labels whose VMs are in a group."""

    services, scopes = ("AffinityGroupVmLabels",), {"AffinityGroup": Held("vm_labels")}
    update = Noun.update


class AffinityGroupHostLabels(AffinityLabels):
    """The labels whose hosts are in a group."""

    services, scopes = ("AffinityGroupHostLabels",), {"AffinityGroup": Held("host_labels")}
    update = Noun.update
