"""Host verbs over fakes and a temporary root."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from appliance import layout
from appliance.effects.clock import FakeClock
from appliance.effects.process import Completed
from appliance.effects.root import Root
from appliance.errors import Conflict, Failed, Refused, TrivetError
from appliance.fakes.libvirt import FakeLibvirt
from appliance.fakes.process import Answer, ScriptedProcesses
from appliance.model.cluster import Member, Membership
from appliance.verbs.brick_disk import BrickDisk
from appliance.verbs.bridge import SETTLE_TIMEOUT_S, Bridge
from appliance.verbs.facts import Facts, hardware_virtualization
from appliance.verbs.folders import file_system_of, folder_facts
from appliance.verbs.libvirt_settings import LibvirtSettings
from appliance.verbs.membership import MembershipFiles
from appliance.verbs.mounts import Mounts
from appliance.verbs.names import set_names
from appliance.verbs.reach import reach
from appliance.verbs.statistics import Statistics
from appliance.verbs.units import Units
from appliance.verbs.vms import VmVerbs
from tests.appliance.agents import CLUSTER_ID, Certificates, cluster, make_member, node_root
from tests.appliance.test_domain_xml import ENGINE
from tests.appliance.test_tools import CPUINFO, IP


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return node_root(tmp_path / "root")


def code(call: object) -> str:
    assert callable(call)
    with pytest.raises(TrivetError) as caught:
        call()
    assert caught.value.subject and caught.value.reason and caught.value.remedy
    return caught.value.code


# facts and statistics


def test_facts(root: Root) -> None:
    processes = ScriptedProcesses(
        {
            "ip": json.dumps(IP),
            "lsblk": Completed((), 32, "", "no block devices"),
            "glusterd": "glusterfs 11.1\nmore",
            "libvirtd": Failed("process.missing", subject="libvirtd", reason="missing", remedy="install"),
            "qemu-system-x86_64": "QEMU emulator version 10.0.2 (Debian)",
        }
    )
    peers = root.at("/var/lib/glusterd/peers")
    peers.mkdir(parents=True)
    (peers / "b").write_text("uuid=1\nstate=3\nhostname1=node3\n")
    (peers / "a").write_text("uuid=2\nhostname1=node2\n")
    facts = Facts(root, processes, FakeClock())
    found = facts.read(Membership("c", "n", "node1"))
    assert (found.name, found.cluster_id, found.node_id) == ("node1", "c", "n")
    assert (found.gluster_version, found.libvirt_version, found.qemu_version) == ("11.1", "", "10.0.2")
    assert found.gluster_peers == ("node2", "node3")
    assert found.disks == ()
    assert [nic.name for nic in found.nics] == ["eth0", "ovirtmgmt"]
    facts.read(None)
    assert sum(words[0] == "glusterd" for words in processes.ran) == 1


def test_a_tool_that_fails_fails_the_facts(root: Root) -> None:
    quiet: dict[str, Answer] = dict.fromkeys(("lsblk", "glusterd", "libvirtd", "qemu-system-x86_64"), "")
    processes = ScriptedProcesses({**quiet, "ip": Completed(("ip",), 1, "", "boom")})
    assert code(lambda: Facts(root, processes, FakeClock()).read(None)) == "process.failed"


def test_virtualization_needs_the_flag_and_a_device_that_opens(tmp_path: Path) -> None:
    root = Root(tmp_path)
    (tmp_path / "proc").mkdir()
    cpuinfo, device = tmp_path / "proc/cpuinfo", tmp_path / "kvm"
    cpuinfo.write_text(CPUINFO.format(flag="vmx"))
    assert not hardware_virtualization(root, "/kvm")
    device.write_text("")
    assert hardware_virtualization(root, "/kvm")
    cpuinfo.write_text(CPUINFO.format(flag="none"))
    assert not hardware_virtualization(root, "/kvm")


def test_statistics(root: Root) -> None:
    statistics = Statistics(root)
    first, second = statistics.read(), statistics.read()
    assert first.memory_total_bytes > first.memory_available_bytes > 0
    assert first.cpu_user_percent + first.cpu_system_percent + first.cpu_idle_percent == pytest.approx(100, abs=0.3)
    assert second.uptime_s >= first.uptime_s > 0
    assert "lo" not in [nic.name for nic in first.nics]


# folders, names, units, reaching


def test_folder_facts(root: Root) -> None:
    root.at("/data/bricks").mkdir(parents=True)
    found = folder_facts(root, "/data/bricks")
    assert (found.exists, found.empty, found.on_root_file_system) == (True, True, True)
    assert found.free_bytes > 0 and found.file_system
    root.at("/data/bricks/x").write_text("")
    assert not folder_facts(root, "/data/bricks").empty
    missing = folder_facts(root, "/data/later/still")
    assert (missing.exists, missing.empty) == (False, True)
    assert code(lambda: folder_facts(root, "data")) == "folder.path"


def test_file_system_of_takes_the_last_mount_over_the_longest_prefix(tmp_path: Path) -> None:
    point = str(tmp_path)
    text = (
        "1 0 8:1 / / rw - ext4 /dev/a rw\n"
        f"2 1 8:2 / {point} rw shared:1 - xfs /dev/b rw\n"
        f"3 2 8:3 / {point} rw - overlay overlay rw\n"
        "not a mount\n"
    )
    assert file_system_of(tmp_path, text) == "overlay"
    assert file_system_of(Path("/"), text) == "ext4"


def test_names_change_the_file_once(root: Root) -> None:
    root.at("/etc").mkdir()
    members = (Member("1", "node1", "198.18.0.11"),)
    assert set_names(root, members, "engine.trivet.lab", "198.18.0.100")
    assert not set_names(root, members, "engine.trivet.lab", "198.18.0.100")
    assert root.at("/etc/hosts").stat().st_mode & 0o777 == 0o644
    for name, address in (("node1\n6.6.6.6 bank", "198.18.0.11"), ("node1", "198.18.0"), ("", "198.18.0.11")):
        wrong = (Member("1", name, address),)
        assert code(lambda w=wrong: set_names(root, w, "engine", "198.18.0.100")) == "names.invalid"


def test_units() -> None:
    processes = ScriptedProcesses({"systemctl": "", "systemctl show": "active\n"})
    units = Units(processes)
    assert units.act("glusterd", "enable-start") == "active"
    assert processes.ran[0] == ("systemctl", "enable", "--now", "glusterd.service")
    assert code(lambda: units.act("ssh", "stop-disable")) == "unit.not-allowed"
    assert code(lambda: units.act("--root=/", "state")) == "unit.not-allowed"
    assert len(processes.ran) == 2


def test_reach() -> None:
    assert code(lambda: reach("localhost", 0)) == "reach.port"
    assert reach("no-such-name.invalid", 80).resolved == ""
    assert reach("127.0.0.1", 1) == reach("127.0.0.1", 1)
    assert not reach("127.0.0.1", 1).answered


# the bridge


class Networkd:
    """networkd's part: after a reconfigure the bridge has the addresses (or never does)."""

    def __init__(self, works: bool = True) -> None:
        self.works, self.moved = works, False
        self.processes = ScriptedProcesses(
            {
                "ip": lambda words: json.dumps(self.links()),
                "ip -json -4 route": json.dumps([{"dst": "default", "gateway": "198.18.0.1"}]),
                "ip -json -6 route": "[]",
                "ip link delete": "",
                "networkctl reload": "",
                "networkctl reconfigure": self.reconfigure,
            }
        )

    def reconfigure(self, _words: tuple[str, ...]) -> str:
        self.moved = self.works
        return ""

    def links(self) -> list[dict[str, object]]:
        eth0, bridge = dict(IP[1]), dict(IP[2])
        if not self.moved:
            return [eth0]
        bridge["addr_info"], eth0["addr_info"], eth0["master"] = eth0["addr_info"], [], "ovirtmgmt"
        return [eth0, bridge]


def test_the_bridge_takes_the_addresses_over_once(root: Root) -> None:
    networkd = Networkd()
    bridge = Bridge(root, networkd.processes, FakeClock())
    bridge.ensure("eth0")
    files = sorted(path.name for path in root.at("/etc/systemd/network").iterdir())
    assert files == ["05-trivet-ovirtmgmt-port.network", "05-trivet-ovirtmgmt.netdev", "05-trivet-ovirtmgmt.network"]
    assert (
        "Address=198.18.0.11/24\nGateway=198.18.0.1"
        in root.at(
            "/etc/systemd/network",
        )
        .joinpath(files[2])
        .read_text()
    )
    ran = len(networkd.processes.ran)
    bridge.ensure("eth0")
    assert len(networkd.processes.ran) == ran + 1, "the second call only looks"


def test_a_bridge_that_does_not_come_up_is_put_back(root: Root) -> None:
    networkd, clock = Networkd(works=False), FakeClock()
    began_s = clock.monotonic_s()
    assert code(lambda: Bridge(root, networkd.processes, clock).ensure("eth0")) == "bridge.not-up"
    assert clock.monotonic_s() - began_s == pytest.approx(SETTLE_TIMEOUT_S)
    assert list(root.at("/etc/systemd/network").iterdir()) == []
    assert networkd.processes.ran[-1] == ("networkctl", "reconfigure", "eth0")


def test_a_bridge_over_nothing_useful_is_refused(root: Root) -> None:
    networkd = Networkd()
    bridge = Bridge(root, networkd.processes, FakeClock())
    assert code(lambda: bridge.ensure("eth9")) == "nic.unknown"
    naked = [{**IP[1], "addr_info": []}]
    taken = [{**IP[1], "master": "br0"}]
    for links, wanted in ((naked, "nic.no-address"), (taken, "nic.in-use")):
        processes = ScriptedProcesses({"ip": json.dumps(links)})
        assert code(lambda p=processes: Bridge(root, p, FakeClock()).ensure("eth0")) == wanted
    assert not root.at("/etc/systemd/network").exists()


# disks for bricks


def disk_tools(
    root: Root, entry: dict[str, object], signatures: str = "", label: str = "", first: bytes = b""
) -> ScriptedProcesses:
    root.at("/dev").mkdir(exist_ok=True)
    root.at("/dev/sdb").write_bytes(first or bytes(4096))
    return ScriptedProcesses(
        {
            "lsblk": json.dumps({"blockdevices": [{"name": "sdb", "type": "disk", "size": 10, **entry}]}),
            "wipefs": signatures,
            "blkid": "1111-2222\n",
            "blkid --probe --output export": label,
            "mkfs.xfs": "",
            "systemctl": "",
        }
    )


def test_a_blank_disk_is_formatted_and_mounted_lastingly(root: Root) -> None:
    processes = disk_tools(root, {})
    BrickDisk(root, processes).prepare("/dev/sdb", "/data")
    assert ("mkfs.xfs", "-i", "size=512", "-L", "trivet-brick", "/dev/sdb") in processes.ran
    unit = root.at("/etc/systemd/system/data.mount").read_text()
    assert "What=/dev/disk/by-uuid/1111-2222\nWhere=/data\n" in unit
    assert processes.ran[-1] == ("systemctl", "enable", "--now", "data.mount")


@pytest.mark.parametrize(
    ("entry", "signatures", "first"),
    [
        ({"pttype": "gpt"}, "", b""),
        ({"fstype": "ext4"}, "", b""),
        ({"children": [{"name": "sdb1"}]}, "", b""),
        ({"mountpoints": ["/home"]}, "", b""),
        ({}, '{"signatures": [{"type": "LVM2_member"}]}', b""),
        ({}, "", bytes(3000) + b"x"),
    ],
)
def test_a_disk_that_holds_anything_is_never_formatted(
    root: Root, entry: dict[str, object], signatures: str, first: bytes
) -> None:
    processes = disk_tools(root, entry, signatures, first=first)
    assert code(lambda: BrickDisk(root, processes).prepare("/dev/sdb", "/data")) == "disk.holds-data"
    assert not any(words[0] in ("mkfs.xfs", "systemctl") for words in processes.ran)


def test_an_interrupted_preparation_goes_on_without_formatting_again(root: Root) -> None:
    processes = disk_tools(root, {"fstype": "xfs"}, label="LABEL=trivet-brick\nTYPE=xfs\n")
    BrickDisk(root, processes).prepare("/dev/sdb", "/data")
    assert not any(words[0] == "mkfs.xfs" for words in processes.ran)
    assert root.at("/etc/systemd/system/data.mount").exists()


def test_a_mounted_brick_disk_is_left_alone_and_nonsense_refused(root: Root) -> None:
    processes = disk_tools(root, {"mountpoints": ["/data"]})
    BrickDisk(root, processes).prepare("/dev/sdb", "/data")
    assert len(processes.ran) == 1
    for device, point in (("sdb", "/data"), ("/dev/sdb", "data"), ("/dev/sdb", "/")):
        assert code(lambda d=device, p=point: BrickDisk(root, processes).prepare(d, p)) == "disk.path"
    gone = ScriptedProcesses({"lsblk": Completed((), 32, "", "not a block device")})
    assert code(lambda: BrickDisk(root, gone).prepare("/dev/sdz", "/data")) == "disk.unknown"


# mounts


def test_a_volume_is_mounted_by_units_that_try_again(root: Root) -> None:
    processes = ScriptedProcesses({"systemctl": ""})
    Mounts(root, processes).mount("engine", ("node1", "node2"))
    folder = root.at("/etc/systemd/system")
    assert sorted(path.name for path in folder.iterdir()) == [
        "trivet-volume-engine.service",
        "var-lib-trivet-volumes-engine.mount",
    ]
    keep = (folder / "trivet-volume-engine.service").read_text()
    assert 'trivet-keep-mounted "var-lib-trivet-volumes-engine.mount" /var/lib/trivet/volumes/engine 3' in keep
    assert ("systemctl", "start", "var-lib-trivet-volumes-engine.mount") in processes.ran
    assert root.at(layout.STATE).stat().st_mode & 0o777 == 0o711, "QEMU passes through"
    before = len(processes.ran)
    Mounts(root, processes).mount("engine", ("node1", "node2"))
    assert ("systemctl", "daemon-reload") not in processes.ran[before:]


def test_a_dead_fuse_client_is_taken_away_first(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = ScriptedProcesses({"systemctl": ""})
    mounts = Mounts(root, processes)
    mounts.mount("engine", ("node1",))
    monkeypatch.setattr(mounts, "_is_dead", lambda _point: True)
    before = len(processes.ran)
    mounts.mount("engine", ("node1",))
    assert processes.ran[before] == ("systemctl", "stop", "var-lib-trivet-volumes-engine.mount")


def test_mount_refusals(root: Root) -> None:
    mounts = Mounts(root, ScriptedProcesses())
    for volume in ("../etc", "", "Engine", "a" * 70):
        assert code(lambda v=volume: mounts.mount(v, ("node1",))) == "volume.name"
    for servers in ((), ("node1,evil=1",), ("node1\nOptions=suid",)):
        assert code(lambda s=servers: mounts.mount("engine", s)) == "volume.servers"
    mounts.unmount("engine")


def test_libvirt_settings_are_written_once(tmp_path: Path) -> None:
    root = node_root(tmp_path / "root")
    fake = FakeLibvirt()
    processes = ScriptedProcesses({"systemctl": "", "systemctl is-active": Completed((), 3, "inactive\n", "")})
    settings = LibvirtSettings(root, processes, fake)
    assert code(settings.configure) == "node.bare"
    make_member(root, Certificates(tmp_path / "pki"))
    if os.geteuid() != 0:
        pytest.skip("QEMU's key gets another owner")
    settings.configure()
    key = root.at("/etc/pki/qemu/server-key.pem").stat()
    assert (key.st_uid, key.st_mode & 0o777) == (layout.QEMU_UID, 0o600)
    assert root.at("/etc/pki/qemu").stat().st_mode & 0o005 == 0o005, "QEMU gets there"
    assert CLUSTER_ID in root.at("/etc/libvirt/libvirtd.conf").read_text()
    started = [words[1:] for words in processes.ran if words[1] != "is-active"]
    assert started == [
        ("enable", "libvirtd-tls.socket"),
        ("stop", "libvirtd.service"),
        ("try-restart", "virtlogd.service"),
        ("start", "libvirtd.socket", "libvirtd-tls.socket"),
        ("start", "libvirtd.service"),
    ]
    processes.answers["systemctl is-active"] = "active\n"
    before = len(processes.ran)
    settings.configure()
    assert len(processes.ran) == before + 1
    root.at("/etc/libvirt/qemu.conf").write_text("changed\n")
    VmVerbs(fake, lambda: False).start(ENGINE, paused=False)
    assert code(settings.configure) == "libvirt.vms-run"
    assert root.at("/etc/libvirt/qemu.conf").read_text() == "changed\n"


def test_membership_files(root: Root) -> None:
    files = MembershipFiles(root)
    assert files.membership() is None and files.cluster() is None
    assert code(files.require) == "node.bare"
    assert code(files.tls) == "node.bare"
    files.write(cluster(), Membership(CLUSTER_ID, "id-1", "node1"))
    assert files.require() == (cluster(), Membership(CLUSTER_ID, "id-1", "node1"))
    assert code(lambda: files.replace_cluster(cluster("other"))) == "cluster.other"
    files.replace_cluster(cluster(name="renamed"))
    assert files.require()[0].name == "renamed"
    root.at(layout.CLUSTER_FILE).write_text("{")
    assert code(files.cluster) == "node.state-damaged"


def test_conflicts_and_refusals_promise_exit_code_2() -> None:
    assert Conflict.exit_code == Refused.exit_code == 2
