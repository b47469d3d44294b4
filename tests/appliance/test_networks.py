"""Logical networks: the files that networkd gets, what is refused, and that what does not work is put back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from appliance.effects.clock import FakeClock
from appliance.effects.root import Root
from appliance.errors import TrivetError
from appliance.fakes.libvirt import FakeLibvirt
from appliance.fakes.process import ScriptedProcesses
from appliance.model.network import LogicalNetwork
from appliance.tools.networkd import FOLDER
from appliance.tools.networkd_networks import MANAGEMENT_VLANS, devices, network_files
from appliance.verbs.hardware import capabilities, hardware, host_nics
from appliance.verbs.networks import Networks

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "networks"
NETWORKS = (
    LogicalNetwork("vms", "eth1"),
    LogicalNetwork("storage", "eth1", 20, 9000, ("198.18.20.5/24", "2001:db8::5/64")),
    LogicalNetwork("guests", "eth0", 30),
    LogicalNetwork("leased", "eth2", dhcp=True),
    LogicalNetwork("alone"),
)


def test_golden() -> None:
    made = "".join(f"== {name}\n{text}" for name, text in sorted(network_files(NETWORKS, "eth0").items()))
    path = GOLDEN / "several.txt"
    if os.environ.get("TRIVET_GOLDEN") == "write":
        path.write_text(made)
    assert made == path.read_text()


class Kernel(ScriptedProcesses):
    """A kernel with networkd: it makes what the files in its folder say. ``knows_vlans`` is False on some."""

    def __init__(self, root: Root, knows_vlans: bool = True) -> None:
        super().__init__({"networkctl reload": self.reload, "networkctl reconfigure": "", "ip link delete": self.delete})
        self.answers["ip"] = lambda _argv: json.dumps(list(self.links.values()))
        self.folder, self.knows_vlans = root.at(FOLDER), knows_vlans
        self.links: dict[str, dict[str, Any]] = {}
        for name in ("eth0", "eth1", "eth2"):
            self.add(name)
        self.add("ovirtmgmt", kind="bridge", address="198.18.0.11")
        self.links["eth0"]["master"] = "ovirtmgmt"

    def add(self, name: str, kind: str = "", address: str = "", master: str = "") -> None:
        link: dict[str, Any] = {"ifname": name, "link_type": "ether", "flags": ["UP"], "operstate": "UP", "mtu": 1500}
        link["linkinfo"] = {"info_kind": kind}
        link["addr_info"] = [{"local": address, "prefixlen": 24, "scope": "global"}] if address else []
        self.links[name] = link | ({"master": master} if master else {})

    def reload(self, _argv: tuple[str, ...]) -> str:
        texts = {path.name: path.read_text() for path in self.folder.glob("06-*")}
        for name, text in texts.items():
            device = text.partition("Name=")[2].partition("\n")[0]
            if name.endswith(".netdev") and device not in self.links and (self.knows_vlans or "Kind=vlan" not in text):
                self.add(device, "bridge" if "Kind=bridge" in text else "vlan")
        for name, text in texts.items():
            device = text.partition("Name=")[2].partition("\n")[0]
            if name.endswith(".network") and device in self.links and "Bridge=" in text:
                self.links[device]["master"] = text.partition("Bridge=")[2].partition("\n")[0]
        return ""

    def delete(self, argv: tuple[str, ...]) -> str:
        self.links.pop(argv[-1], None)
        for link in self.links.values():
            if link.get("master") == argv[-1]:
                del link["master"]
        return ""


@pytest.fixture
def root(tmp_path: Path) -> Root:
    Root(tmp_path).at(FOLDER).mkdir(parents=True)
    return Root(tmp_path)


def files(root: Root) -> dict[str, str]:
    folder = root.at(FOLDER)
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def code(call: object) -> str:
    assert callable(call)
    with pytest.raises(TrivetError) as caught:
        call()
    assert caught.value.subject and caught.value.reason and caught.value.remedy
    return caught.value.code


def test_they_are_made_changed_and_removed(root: Root) -> None:
    kernel = Kernel(root)
    networks = Networks(root, kernel, FakeClock())
    assert networks.wanted() == ()
    networks.ensure(NETWORKS)
    assert networks.wanted() == NETWORKS
    assert devices(NETWORKS) <= set(kernel.links)
    assert files(root) == dict(network_files(NETWORKS, "eth0")) and MANAGEMENT_VLANS in files(root)
    ran = len(kernel.ran)
    networks.ensure(NETWORKS)
    assert [argv[0] for argv in kernel.ran[ran:]] == ["ip"], "nothing but a look"
    networks.ensure(NETWORKS[:1])
    assert files(root) == dict(network_files(NETWORKS[:1], "eth0"))
    assert devices(NETWORKS[1:]) & set(kernel.links) == set()
    networks.ensure(())
    assert files(root) == {} and set(kernel.links) == {"eth0", "eth1", "eth2", "ovirtmgmt"}


def test_what_does_not_come_up_is_put_back(root: Root) -> None:
    kernel = Kernel(root, knows_vlans=False)
    networks = Networks(root, kernel, FakeClock())
    networks.ensure(NETWORKS[:1])
    before, links = files(root), set(kernel.links)
    assert code(lambda: networks.ensure(NETWORKS)) == "network.not-up"
    assert (files(root), set(kernel.links), networks.wanted()) == (before, links, NETWORKS[:1])


def test_one_that_vms_are_on_stays(root: Root) -> None:
    kernel = Kernel(root)
    networks = Networks(root, kernel, FakeClock())
    networks.ensure(NETWORKS)
    kernel.add("vnet0", master="vms")
    assert code(lambda: networks.ensure(NETWORKS[1:])) == "network.in-use"
    assert networks.wanted() == NETWORKS


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ((LogicalNetwork("ovirtmgmt", "eth1"),), "network.definition"),
        ((LogicalNetwork("a" * 16, "eth1"),), "network.definition"),
        ((LogicalNetwork("a/b", "eth1"),), "network.definition"),
        ((LogicalNetwork("a", "eth1", 4095),), "network.definition"),
        ((LogicalNetwork("a", "", 5),), "network.definition"),
        ((LogicalNetwork("a", "interface-long", 5),), "network.definition"),
        ((LogicalNetwork("a", "eth1", mtu=10),), "network.definition"),
        ((LogicalNetwork("a", "eth1", addresses=("x",)),), "network.definition"),
        ((LogicalNetwork("a", "eth1"), LogicalNetwork("a", "eth2")), "network.definition"),
        ((LogicalNetwork("a", "eth1", 5), LogicalNetwork("b", "eth1", 5)), "network.definition"),
        ((LogicalNetwork("a", "eth9"),), "nic.unknown"),
        ((LogicalNetwork("a", "eth0"),), "nic.in-use"),
        ((LogicalNetwork("a", "ovirtmgmt"),), "nic.in-use"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_changed(
    root: Root, wrong: tuple[LogicalNetwork, ...], expected: str
) -> None:
    kernel = Kernel(root)
    assert code(lambda: Networks(root, kernel, FakeClock()).ensure(wrong)) == expected
    assert files(root) == {} and [argv[0] for argv in kernel.ran] == ["ip"]


def test_nics_and_hardware(tmp_path: Path) -> None:
    root = Root(tmp_path)
    nic = root.at("/sys/class/net/eth0")
    (nic / "statistics").mkdir(parents=True)
    for name, text in {"address": "52:54:00:aa:bb:cc", "carrier": "1", "speed": "10000", "mtu": "9000"}.items():
        (nic / name).write_text(f"{text}\n")
    (nic / "statistics/rx_bytes").write_text("7\n")
    (nic / "statistics/tx_dropped").write_text("3\n")
    root.at("/sys/class/net/bonding_masters").write_text("")
    (found,) = host_nics(root)
    assert (found.name, found.carrier, found.speed_mbit_s, found.mtu, found.bridge) == ("eth0", True, 10000, 9000, "")
    assert (found.received_bytes, found.sent_drops, found.physical) == (7, 3, False)
    (nic / "speed").write_text("-1\n")
    assert host_nics(root)[0].speed_mbit_s == 0
    root.at("/sys/class/dmi/id").mkdir(parents=True)
    root.at("/sys/class/dmi/id/sys_vendor").write_text("ACME\n")
    assert (hardware(root).manufacturer, hardware(root).uuid) == ("ACME", "")


def test_the_nics_of_this_machine() -> None:
    names = [nic.name for nic in host_nics(Root())]
    assert names == sorted(set(os.listdir("/sys/class/net")) - {"lo", "bonding_masters"})


def test_capabilities(tmp_path: Path) -> None:
    root = Root(tmp_path)
    root.at("/proc").mkdir()
    root.at("/proc/cpuinfo").write_text("processor : 0\nflags : sse\n")
    found = capabilities(root, FakeLibvirt())
    assert (found.accelerated, found.cpu_models, found.machine, found.uefi) == (False, ("Nehalem",), "pc-q35-10.0", True)
