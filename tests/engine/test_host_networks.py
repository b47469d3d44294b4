"""Networks of hosts: which bridges attachments mean, what v4's clients ask for, and hosts that have something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.errors import Failed, TrivetError
from appliance.model.network import LogicalNetwork
from appliance.model.node import Nic
from engine.core import Engine
from engine.decide.host_networks import ATTACHMENTS_LIMIT, Attachment, Network, bridge_of, changed, logical
from engine.jobs.keep_networks import NetworkKeeper
from tests.engine import world
from tests.engine.vm_world import CLUSTER, PROFILE, Vms, detail, fake_hosts

HOST, OTHER = (one.id for one in world.MEMBERS[:2])
NAME = world.MEMBERS[0].name
BLUE = Network("n1", "blue", "blue", 30, 1500)
STATIC = {"assignment_method": "static", "ip": {"address": "198.18.30.5", "netmask": "255.255.255.0", "version": "v4"}}
UP = f"hosts/{HOST}/setupnetworks"


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


# which bridges


@pytest.mark.parametrize(
    ("name", "given", "bridge"),
    [
        ("blue", "", "blue"),
        ("blue", "br-blue", "br-blue"),
        ("blue", "no name", "blue"),
        ("A network of our guests", "", "on000000001111"),
        ("sixteen-letters-", "", "on000000001111"),
        ("büro", "", "on000000001111"),
    ],
)
def test_what_a_network_is_called_on_hosts(name: str, given: str, bridge: str) -> None:
    assert bridge_of("00000000-1111-2222-3333-444444444444", name, given)[:14] == bridge


def test_attachments_as_bridges() -> None:
    red = Network("n2", "red", "red")
    attachments = (
        Attachment("a1", "n2", "eth1", ({"assignment_method": "dhcp"},)),
        Attachment("a2", "n1", "eth1", (STATIC, {"assignment_method": "none"})),
    )
    assert logical(attachments, {"n1": BLUE, "n2": red}) == (
        LogicalNetwork("blue", "eth1", 30, 1500, ("198.18.30.5/24",)),
        LogicalNetwork("red", "eth1", dhcp=True),
    )


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ({"assignment_method": "autoconf"}, "by autoconf are not supported"),
        ({"assignment_method": "static", "ip": {"address": "198.18.30.5"}}, "does not appear to be"),
        ({"assignment_method": "static", "ip": {"address": "nonsense", "netmask": "24"}}, "does not appear to be"),
        ({"assignment_method": "static", "ip": {**STATIC["ip"], "gateway": "198.18.30.1"}}, "has a gateway"),  # type: ignore[dict-item]
    ],
)
def test_addresses_that_cannot_be(assignment: Mapping[str, Any], words: str) -> None:
    with pytest.raises(TrivetError, match=words):
        logical([Attachment("a1", "n1", "eth1", (assignment,))], {"n1": BLUE})


def test_two_networks_are_not_on_one_vlan_of_a_nic() -> None:
    networks = {"n1": BLUE, "n3": replace(BLUE, id="n3", bridge="green")}
    with pytest.raises(TrivetError, match="would both be on eth1 with VLAN 30"):
        logical([Attachment("a1", "n1", "eth1"), Attachment("a2", "n3", "eth1")], networks)
    both = logical([Attachment("a1", "n1"), Attachment("a2", "n3")], networks)
    assert [one.name for one in both] == ["blue", "green"], "without a NIC nothing is shared"


def test_a_change_takes_the_place_of_what_it_changes() -> None:
    before = (Attachment("a1", "n1", "eth1"), Attachment("a2", "n2", "eth1"))
    assert changed(before, [Attachment("a1", "n1", "eth2")], [], "h") == (Attachment("a1", "n1", "eth2"), before[1])
    assert changed(before, [Attachment("a9", "n1", "eth2")], ["a2"], "h") == (Attachment("a9", "n1", "eth2"),)
    with pytest.raises(TrivetError, match="only once"):
        changed((), [Attachment("a1", "n1"), Attachment("a2", "n1")], [], "h")
    many = [Attachment(f"a{number}", f"n{number}") for number in range(ATTACHMENTS_LIMIT + 1)]
    with pytest.raises(TrivetError, match="at most"):
        changed((), many, [], "h")


# what clients ask for


def network(vms: Vms, name: str = "blue", **given: Any) -> str:
    status, made = vms.ask("POST", "networks", {"name": name, "data_center": {"name": "Default"}, **given})
    assert status == 201, made
    return str(made["id"])


def on(network_name: str, **given: Any) -> dict[str, Any]:
    wanted = {"network": {"name": network_name}, "host_nic": {"name": "eth1"}, **given}
    return {"modified_network_attachments": {"network_attachment": [wanted]}}


def has(vms: Vms) -> tuple[LogicalNetwork, ...]:
    return vms.nodes.networks(NAME).networks()


def attachments(vms: Vms, below: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = vms.ask("GET", f"hosts/{HOST}{below}/networkattachments")[1].get("network_attachment", [])
    return found


def test_a_network_comes_onto_a_host_and_goes(vms: Vms) -> None:
    blue = network(vms, vlan={"id": 30}, mtu=9000)
    vms.done("POST", UP, on("blue", ip_address_assignments={"ip_address_assignment": [STATIC]}))
    assert has(vms) == (LogicalNetwork("blue", "eth1", 30, 9000, ("198.18.30.5/24",)),)
    management, made = attachments(vms)
    assert management["network"]["id"] == "00000000-0000-0000-0000-000000000009"
    assert (made["network"]["id"], made["in_sync"], made["host"]["id"]) == (blue, "false", HOST)
    nic = made["host_nic"]["id"]
    assert vms.ask("GET", f"hosts/{HOST}/nics/{nic}")[1]["name"] == "eth1"
    assert vms.ask("GET", f"networks/{blue}")[1]["vdsm_name"] == "blue"
    assert [one["id"] for one in attachments(vms, f"/nics/{nic}")] == [made["id"]]
    assert made["ip_address_assignments"]["ip_address_assignment"][0]["ip"]["address"] == "198.18.30.5"
    vms.done("POST", UP, on("blue", id=made["id"], ip_address_assignments={"ip_address_assignment": []}))
    assert has(vms) == (LogicalNetwork("blue", "eth1", 30, 9000),)
    assert [one["id"] for one in attachments(vms)] == [management["id"], made["id"]]
    assert vms.ask("DELETE", f"networks/{blue}")[0] == 409, "a host has it"
    assert [one.code for one in vms.engine.store.events()][:2] == [1104, 1104]
    removed = {"removed_network_attachments": {"network_attachment": [{"id": made["id"]}]}}
    vms.done("POST", UP, removed)
    assert (has(vms), [one["id"] for one in attachments(vms)]) == ((), [management["id"]])
    assert vms.ask("DELETE", f"networks/{blue}")[0] == 200
    assert vms.ask("POST", f"hosts/{HOST}/commitnetconfig", {})[0] == 200


def test_the_collection_does_the_same(vms: Vms) -> None:
    network(vms)
    vms.done("POST", f"hosts/{HOST}/networkattachments", {"network": {"name": "blue"}, "host_nic": {"name": "eth1"}})
    assert has(vms) == (LogicalNetwork("blue", "eth1"),)
    made = attachments(vms)[1]
    carried = {one["name"]: one.get("network", {}).get("id") for one in vms.ask("GET", f"hosts/{HOST}/nics")[1]["host_nic"]}
    management = "00000000-0000-0000-0000-000000000009"
    assert carried == {"eth0": management, "ovirtmgmt": None, "eth1": made["network"]["id"]}
    path = f"hosts/{HOST}/networkattachments/{made['id']}"
    vms.done("PUT", path, {"ip_address_assignments": {"ip_address_assignment": [{"assignment_method": "dhcp"}]}})
    assert has(vms) == (LogicalNetwork("blue", "eth1", dhcp=True),)
    vms.done("DELETE", path)
    assert has(vms) == ()
    assert vms.ask("GET", path)[0] == 404


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"modified_bonds": {"host_nic": [{"name": "bond0"}]}}, "Bonds are not made here"),
        ({"modified_labels": {"network_label": [{"id": "x"}]}}, "Labels of NICs are not supported"),
        (on("ovirtmgmt"), "The management network is what nodes are reached by"),
        (on("nowhere"), "nowhere"),
        (on("blue", host_nic={"name": "eth7"}), "has no NIC eth7"),
        (on("blue", id="nobody"), "nobody"),
        (on("blue", ip_address_assignments={"ip_address_assignment": [{"assignment_method": "autoconf"}]}), "autoconf"),
        ({"removed_network_attachments": {"network_attachment": [{"id": "nobody"}]}}, "nobody"),
    ],
)
def test_what_is_refused_changes_nothing(vms: Vms, given: dict[str, Any], words: str) -> None:
    network(vms)
    status, fault = vms.ask("POST", UP, given)
    assert (status in (400, 404, 409), words in detail(fault)) == (True, True), fault
    assert (has(vms), len(attachments(vms)), len(vms.engine.jobs.list())) == ((), 1, 0)


def test_the_management_network_stays(vms: Vms) -> None:
    (management,) = attachments(vms)
    for given in ({"id": management["id"]}, {"network": {"name": "ovirtmgmt"}}):
        status, fault = vms.ask("POST", UP, {"removed_network_attachments": {"network_attachment": [given]}})
        assert (status, "is what the node is reached by" in detail(fault)) == (409, True)
    assert vms.ask("DELETE", f"hosts/{HOST}/networkattachments/{management['id']}")[0] == 409


def test_what_does_not_come_up_is_as_before(vms: Vms) -> None:
    network(vms)
    vms.nodes.nodes[NAME].fail_with["networks"] = Failed("network.not-up", subject="x", reason="no such VLAN", remedy="-")
    assert vms.ask("POST", UP, on("blue"))[0] in (200, 202)
    vms.work()
    assert "no such VLAN" in str(vms.newest().error)
    assert len(attachments(vms)) == 1
    assert vms.engine.store.events()[0].code == 1105


# hosts that have something else


def test_hosts_get_what_is_attached_to_them(vms: Vms) -> None:
    """A network that was changed, a host on which it went missing; a host of which nothing was said is left alone."""
    blue, log = network(vms), list[str]()
    keeper = NetworkKeeper(vms.engine.store.entities, vms.nodes, vms.engine.desk, log.append)
    vms.done("POST", UP, on("blue"))
    foreign = (LogicalNetwork("by-hand", "eth2"),)
    other = next(one.name for one in world.MEMBERS if one.id == OTHER)
    vms.nodes.networks(other).set_networks(foreign)
    keeper.turn()
    assert (vms.work(), log) == ([], []), "all is well"
    assert vms.ask("PUT", f"networks/{blue}", {"vlan": {"id": 40}})[0] == 200
    keeper.turn()
    vms.work()
    assert vms.newest().status == "finished"
    assert has(vms) == (LogicalNetwork("blue", "eth1", 40),)
    vms.nodes.networks(NAME).set_networks(())
    keeper.turn()
    assert vms.work() == [], "it was asked just now"
    again = NetworkKeeper(vms.engine.store.entities, vms.nodes, vms.engine.desk, log.append)
    again.turn()
    vms.work()
    assert vms.newest().status == "finished"
    assert has(vms) == (LogicalNetwork("blue", "eth1", 40),)
    assert vms.nodes.networks(other).networks() == foreign
    assert len(log) == 2


def test_a_host_without_a_required_network_gets_no_vm(vms: Vms) -> None:
    """Once another one has it; as long as nobody has, it hinders none."""
    blue = network(vms)
    path = f"clusters/{CLUSTER}/networks"
    status, said = vms.ask("POST", path, {"id": blue})
    assert (status, said["required"], said["display"], said["cluster"]["id"]) == (201, "true", "false", CLUSTER)
    keeper = NetworkKeeper(vms.engine.store.entities, vms.nodes, vms.engine.desk, lambda _text: None)
    keeper.turn()
    first, second, third = (vms.made(name=name)["id"] for name in ("first", "second", "third"))
    boot = {"os": {"boot": {"devices": {"device": ["network"]}}}}
    for one in (first, second, third):
        vms.ask("POST", f"vms/{one}/nics", {"name": "nic1", "vnic_profile": {"id": PROFILE}})
        assert vms.ask("PUT", f"vms/{one}", boot)[0] == 200
    vms.done("POST", f"vms/{first}/start", {})
    vms.nodes.more_nics[NAME] = (Nic("blue", "52:54:00:00:01:11", True, 1500, (), "", False),)
    keeper.turn()
    keeper.turn()
    told = [one.description for one in vms.engine.store.events(limit=99) if one.code == 519]
    assert len(told) == 2 and all("blue" in one for one in told), told
    others = [{"id": one.id} for one in world.MEMBERS[1:]]
    vms.ask("POST", f"vms/{second}/start", {"vm": {"placement_policy": {"hosts": {"host": others}}}})
    vms.work()
    assert "without network blue" in str(vms.newest().error)
    assert vms.ask("PUT", f"{path}/{blue}", {"required": False})[1]["required"] == "false"
    assert vms.ask("GET", f"{path}/{blue}")[1]["required"] == "false"
    vms.done("POST", f"vms/{third}/start", {"vm": {"placement_policy": {"hosts": {"host": others}}}})
    assert vms.host_of(third) != NAME
    assert vms.ask("DELETE", f"{path}/{blue}")[0] == 200
    assert vms.ask("GET", f"{path}/{blue}")[0] == 404
    elsewhere = vms.ask("POST", "datacenters", {"name": "elsewhere", "local": False})[1]["id"]
    assert vms.ask("POST", "networks", {"name": "there", "data_center": {"id": elsewhere}})[0] == 201
    status, said = vms.ask("POST", path, {"name": vms.ask("GET", f"networks/{blue}")[1]["name"], "required": False})
    assert (status, said["id"], said["required"]) == (201, blue, "false"), said
    status, said = vms.ask("POST", path, {"name": "there"})
    assert (status, "Network 'there'" in str(said)) == (404, True), said


def test_a_vm_runs_where_its_network_is(vms: Vms) -> None:
    """A network with a name that no interface can have: the bridge that its VM is on is the one that the host has."""
    long = network(vms, "Guests of the second floor")
    profile = vms.ask("POST", "vnicprofiles", {"name": "guests", "network": {"id": long}})[1]["id"]
    vms.done("POST", UP, on("Guests of the second floor"))
    (made,) = has(vms)
    assert made.name == bridge_of(long, "Guests of the second floor")
    vm = vms.made(nics=[{"name": "nic1", "vnic_profile": {"id": profile}}], cluster={"id": CLUSTER})["id"]
    vms.ask("PUT", f"vms/{vm}", {"os": {"boot": {"devices": {"device": ["network"]}}}})
    vms.ask("POST", f"vms/{vm}/start", {})
    vms.work()
    assert "Guests of the second floor" in str(vms.newest().error), "no host has told that it has the bridge"
