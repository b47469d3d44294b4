"""The official SDK at what other things are made of (a template's NICs, the labels of an affinity group), at events that are
dismissed, and at guests that are frozen."""

from __future__ import annotations

from typing import Any

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types

from appliance.errors import Failed
from engine.fakes.hosts import FakeNodes
from tests.engine.sdk_world import gone, until
from tests.engine.test_sdk_places import new_vm
from tests.engine.vm_world import PROFILE

pytestmark = [pytest.mark.usefixtures("hosts"), pytest.mark.timeout(300)]


def test_the_nics_of_a_template_are_those_of_its_vms(system: Any) -> None:
    vm, templates, vms = new_vm(system, "golden"), system.templates_service(), system.vms_service()
    made = templates.add(types.Template(name="with-nics", vm=types.Vm(id=vm.get().id)))
    template = templates.template_service(made.id)
    until(lambda: template.get().status == types.TemplateStatus.OK)
    nics = template.nics_service()
    profile = types.VnicProfile(id=PROFILE)
    added = nics.add(types.Nic(name="nic2", interface=types.NicInterface.E1000, vnic_profile=profile))
    assert (added.name, added.interface, added.vnic_profile.id) == ("nic2", types.NicInterface.E1000, PROFILE)
    assert (added.mac, added.template.id) == (None, made.id)
    with pytest.raises(sdk.Error, match=r"NIC nic1 of template with-nics.*name is already in use"):
        nics.add(types.Nic(name="nic1"))
    nic = nics.nic_service(added.id)
    changed = nic.update(types.Nic(name="outside", vnic_profile=types.VnicProfile()))
    assert (changed.name, changed.interface, changed.vnic_profile) == ("outside", types.NicInterface.E1000, None)
    with pytest.raises(sdk.Error, match="name is already in use"):
        nic.update(types.Nic(name="nic1"))
    nics.nic_service(next(one.id for one in nics.list() if one.name == "nic1")).remove()
    assert [one.name for one in nics.list()] == ["outside"]
    cluster = types.Cluster(name="trivet")
    thin = vms.vm_service(vms.add(types.Vm(name="thin", cluster=cluster, template=types.Template(id=made.id))).id)
    until(lambda: thin.get().status == types.VmStatus.DOWN)
    (its,) = thin.nics_service().list()
    assert (its.name, its.interface) == ("outside", types.NicInterface.E1000)
    assert its.mac.address
    blank = templates.template_service(templates.list(search="name=Blank")[0].id)
    with pytest.raises(sdk.Error, match="Blank Template cannot be edited"):
        blank.nics_service().add(types.Nic(name="nic1"))
    assert blank.nics_service().list() == []


def test_the_vms_of_a_label_are_in_its_groups(system: Any) -> None:
    labels = system.affinity_labels_service()
    label = labels.add(types.AffinityLabel(name="web"))
    cluster = system.clusters_service().list()[0]
    groups = system.clusters_service().cluster_service(cluster.id).affinity_groups_service()
    apart = types.AffinityRule(enabled=True, enforcing=True, positive=False)
    made = groups.add(types.AffinityGroup(name="apart", vms_rule=apart))
    group = groups.group_service(made.id)
    group.vm_labels_service().add(types.AffinityLabel(id=label.id))
    group.host_labels_service().add(types.AffinityLabel(name="web"))
    group.host_labels_service().label_service(label.id).remove()
    assert [one.name for one in group.vm_labels_service().list()] == ["web"]
    assert group.host_labels_service().list() == []
    assert [one.id for one in group.get().vm_labels] == [label.id]
    vms = [new_vm(system, f"web{number}") for number in range(4)]
    for vm in vms:
        vm.affinity_labels_service().add(types.AffinityLabel(id=label.id))
    for vm in vms[:3]:
        vm.start()
        until(lambda vm=vm: vm.get().status == types.VmStatus.UP)
    assert len({vm.get().host.id for vm in vms[:3]}) == 3, "apart, because all have the label"
    with pytest.raises(sdk.Error, match="affinity group apart keeps it apart from"):
        vms[3].start()
    with pytest.raises(sdk.Error, match="apart"):
        labels.label_service(label.id).remove()
    group.vm_labels_service().label_service(label.id).remove()
    vms[3].start()
    until(lambda: vms[3].get().status == types.VmStatus.UP)
    group.remove()
    labels.label_service(label.id).remove()


def test_an_event_is_dismissed(system: Any) -> None:
    events = system.events_service()
    told = types.Event(origin="backup", severity=types.LogSeverity.NORMAL, custom_id=7, description="all is saved")
    made = events.event_service(events.add(told).id)
    assert made.get().description == "all is saved"
    made.remove()
    assert gone(made)
    with pytest.raises(sdk.NotFoundError):
        made.remove()


def test_a_guest_holds_back_its_writes_for_a_backup(system: Any, hosts: FakeNodes) -> None:
    vm = new_vm(system, "frozen")
    with pytest.raises(sdk.Error, match="Cannot freeze VM"):
        vm.freeze_filesystems()
    vm.start()
    until(lambda: vm.get().status == types.VmStatus.UP)
    node = hosts.host(vm.get(follow="host").host.name)

    def asked() -> tuple[str, ...]:
        found = node.vm(vm.get().id)
        assert found is not None
        return found.asked

    vm.freeze_filesystems()
    assert asked() == ("freeze",)
    assert vm.get().status == types.VmStatus.UP
    node.fail_with["freeze"] = Failed("vm.freeze", subject="VM frozen", reason="it is frozen already", remedy="Thaw it.")
    with pytest.raises(sdk.Error, match="it is frozen already"):
        vm.freeze_filesystems()
    assert asked() == ("freeze",), "what was frozen before stays so"
    vm.thaw_filesystems()
    assert asked() == ("freeze", "thaw")
    with pytest.raises(sdk.Error, match="it is frozen already"):
        vm.freeze_filesystems()
    assert asked() == ("freeze", "thaw", "thaw"), "what may have been frozen by this is thawed"
    assert (vm.get().status, node.fail_with.pop("freeze").code) == (types.VmStatus.UP, "vm.freeze")
    told = {one.code for one in system.events_service().list(search="Vms.name=frozen and severity!=alert")}
    assert {10767, 10768, 10770} <= told
    vm.stop()
