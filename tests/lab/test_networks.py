"""A logical network on real nodes: bridges over a second NIC that carry packets, a VM on them, and what is refused
meanwhile. Untagged: the kernel of the machines of the build knows no VLANs (tests/appliance/test_networks.py)."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types

from appliance.layout import AGENT_PORT
from image.lab.model import prefix
from tests.lab.cluster import Cluster, wait
from tests.lab.guest import MIB, await_status
from tests.lab.test_vms import a_vm

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

NIC = "eth1"
ENDS = {"node1": "198.18.77.1", "node2": "198.18.77.2"}
"""Nodes with a second NIC, the two ends of one cable, and their addresses in the network."""
TOLD_S = 90.0
"""A host tells of its NICs twice a minute."""
ASK = "import socket; print(socket.create_connection(({address!r}, {port}), 5).getsockname()[0])"


@pytest.fixture
def cable(cluster: Cluster) -> Iterator[None]:
    """A cable between two nodes, which have a second NIC by it."""
    first, second = (f"{prefix(cluster.name)}{node}" for node in ENDS)
    make = ["ip", "link", "add", NIC, "netns", first, "type", "veth", "peer", "name", NIC, "netns", second]
    subprocess.run(make, check=True)
    yield
    subprocess.run(["ip", "-n", first, "link", "delete", NIC], check=True)


@pytest.fixture
def network(system: Any) -> Iterator[Any]:
    """A logical network of the cluster, optional there; with a profile for VMs."""
    networks, name = system.networks_service(), f"lan{uuid.uuid4().hex[:6]}"
    made = networks.add(types.Network(name=name, data_center=types.DataCenter(name="Default"), mtu=1400))
    clusters = system.clusters_service()
    of_cluster = clusters.cluster_service(clusters.list()[0].id).networks_service()
    of_cluster.add(types.Network(id=made.id, required=False))
    yield made
    of_cluster.network_service(made.id).remove()
    for profile in system.vnic_profiles_service().list():
        if profile.network.id == made.id:
            system.vnic_profiles_service().profile_service(profile.id).remove()
    networks.network_service(made.id).remove()


def set_up(host: Any, network: Any, address: str) -> None:
    ip = types.Ip(address=address, netmask="255.255.255.0", version=types.IpVersion.V4)
    own = types.IpAddressAssignment(assignment_method=types.BootProtocol.STATIC, ip=ip)
    on = types.NetworkAttachment(network=network, host_nic=types.HostNic(name=NIC), ip_address_assignments=[own])
    host.setup_networks(modified_network_attachments=[on], check_connectivity=True, commit_on_success=True)


def has_nic(host: Any) -> bool | None:
    return NIC in {one.name for one in host.nics_service().list()} or None


def ports(cluster: Cluster, node: str, bridge: str) -> set[str]:
    """What is plugged into a bridge; empty too when there is none."""
    lines = cluster.shell(node, f"ip -o link show master {bridge}", ok=False).splitlines()
    return {line.split(": ")[1].partition("@")[0] for line in lines}


@pytest.mark.usefixtures("cable")
def test_a_network_over_a_second_nic(cluster: Cluster, system: Any, network: Any) -> None:
    hosts = system.hosts_service()
    found = {one.name: hosts.host_service(one.id) for one in hosts.list() if one.name in ENDS}
    for name, host in found.items():
        wait(f"{name} told of {NIC}", TOLD_S, partial(has_nic, host))
    for name, host in found.items():
        set_up(host, types.Network(id=network.id), ENDS[name])
        assert ports(cluster, name, network.name) == {NIC}
    ask = ASK.format(address=ENDS["node2"], port=AGENT_PORT)
    assert cluster.on("node1", "python3", "-c", ask).stdout.strip() == ENDS["node1"], "through both bridges and the cable"
    attachments = found["node1"].network_attachments_service()
    (mine,) = (one for one in attachments.list() if one.network.id == network.id)
    wait("in sync", TOLD_S, lambda: attachments.attachment_service(mine.id).get().in_sync or None)
    profile = system.vnic_profiles_service().add(types.VnicProfile(name=network.name, network=types.Network(id=network.id)))
    boot = types.OperatingSystem(boot=types.Boot(devices=[types.BootDevice.NETWORK]))
    with a_vm(cluster, system, "lan", memory=64 * MIB, os=boot) as vm:
        nic = types.Nic(name="nic1", interface=types.NicInterface.VIRTIO, vnic_profile=types.VnicProfile(id=profile.id))
        vm.nics_service().add(nic)
        vm.start()
        await_status(vm, types.VmStatus.UP)
        where = vm.get(follow="host").host.name
        assert where in ENDS, "it runs where its network is"
        plugged = ports(cluster, where, network.name) - {NIC}
        assert len(plugged) == 1 and plugged.pop().startswith("vnet")
        there = found[where].network_attachments_service()
        (attached,) = (one for one in there.list() if one.network.id == network.id)
        with pytest.raises(sdk.Error, match="NICs of VMs are on them"):
            there.attachment_service(attached.id).remove()
        assert ports(cluster, where, network.name) >= {NIC}, "nothing has changed"
    for name, host in found.items():
        all_of_it = host.network_attachments_service()
        for one in all_of_it.list():
            if one.network.id == network.id:
                all_of_it.attachment_service(one.id).remove()
        assert cluster.shell(name, f"ip link show {network.name}", ok=False) == ""
