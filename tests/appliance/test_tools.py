from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from appliance.errors import Failed
from appliance.model.cluster import Member
from appliance.tools import ip, libvirt_conf, lsblk, proc, systemd
from appliance.tools.block import with_block
from appliance.tools.hosts import with_names
from appliance.tools.networkd import BridgePlan, bridge_files

CPUINFO = """processor\t: 0
model name\t: Intel(R) Xeon(R)
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu vme {flag}

processor\t: 1
model name\t: Intel(R) Xeon(R)
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu vme {flag}

"""


def test_cpuinfo() -> None:
    found = proc.processors(CPUINFO.format(flag="vmx"))
    assert found == proc.Processors("Intel(R) Xeon(R)", 1, 1, 2, True)
    assert not proc.processors(CPUINFO.format(flag="sse")).virtualization
    assert proc.processors("") == proc.Processors("", 1, 1, 1, False)


def test_proc_numbers() -> None:
    assert proc.process_state("77 (qemu-system-x86) T 1 77 77 0") == ("qemu-system-x86", "T")
    assert proc.process_state("77 (a (b) c) S 1 77") == ("a (b) c", "S")
    with pytest.raises(ValueError, match="substring"):
        proc.process_state("")
    before = proc.cpu_times("cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 1 2 3\n")
    after = proc.cpu_times("cpu  30 0 20 150 0 0 0 0 0 0\n")
    assert proc.shares(before, after) == (20.0, 10.0, 70.0)
    assert proc.shares(after, after) == (0.0, 0.0, 100.0)
    assert proc.meminfo_bytes("MemTotal:  16 kB\nHugePages_Total:  3\nodd\n") == {"MemTotal": 16384, "HugePages_Total": 3}
    text = "Inter-|   Receive\n face |bytes\n    lo: 1 0 0 0 0 0 0 0 2 0\n eth0: 30 0 0 0 0 0 0 0 40 0\n"
    assert proc.network_bytes(text) == {"lo": (1, 2), "eth0": (30, 40)}


IP = [
    {"ifname": "lo", "link_type": "loopback", "flags": ["UP"], "mtu": 65536},
    {
        "ifname": "eth0",
        "link_type": "ether",
        "flags": ["BROADCAST", "UP", "LOWER_UP"],
        "operstate": "UP",
        "mtu": 1500,
        "address": "52:54:00:aa:bb:cc",
        "link_netnsid": 0,
        "linkinfo": {"info_kind": "veth"},
        "addr_info": [
            {"family": "inet", "local": "198.18.0.11", "prefixlen": 24, "scope": "global"},
            {"family": "inet6", "local": "2001:db8::11", "prefixlen": 64, "scope": "global", "dynamic": True},
            {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"},
        ],
    },
    {"ifname": "ovirtmgmt", "link_type": "ether", "operstate": "UP", "flags": ["UP"], "linkinfo": {"info_kind": "bridge"}},
]


def test_links() -> None:
    eth0, bridge = ip.links(json.dumps(IP))
    assert eth0.nic.addresses == ("198.18.0.11/24", "2001:db8::11/64")
    assert eth0.leased == ("2001:db8::11/64",)
    assert (eth0.nic.up, eth0.nic.physical, eth0.kind) == (True, True, "veth")
    assert not bridge.nic.physical


def test_a_veth_within_the_same_namespace_is_no_hardware() -> None:
    entry = {key: value for key, value in IP[1].items() if key != "link_netnsid"}
    assert not ip.nics(json.dumps([entry]))[0].physical


def test_routes() -> None:
    text = json.dumps(
        [
            {"dst": "default", "gateway": "198.18.0.1", "protocol": "static"},
            {"dst": "10.0.0.0/8", "gateway": "198.18.0.2", "protocol": "static"},
            {"dst": "10.9.0.0/16", "gateway": "198.18.0.3", "protocol": "dhcp"},
            {"dst": "198.18.0.0/24", "scope": "link"},
        ]
    )
    assert ip.gateways(text) == ("198.18.0.1",)
    assert ip.static_routes(text) == (("10.0.0.0/8", "198.18.0.2"),)


@pytest.mark.parametrize("parse", [ip.links, lsblk.disks, lsblk.signatures])
def test_a_tool_that_writes_no_json_is_a_coded_error(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(Failed) as caught:
        parse("something went wrong")
    assert caught.value.code == "tool.output"


def test_disks_say_what_they_hold() -> None:
    disk = {"type": "disk", "size": 10, "rota": True, "model": " ACME "}
    text = json.dumps(
        {
            "blockdevices": [
                {**disk, "name": "sda", "children": [{"name": "sda1", "mountpoints": ["/"], "fstype": "ext4"}]},
                {**disk, "name": "sdb", "mountpoints": [None], "fstype": None, "pttype": None},
                {**disk, "name": "sdc", "pttype": "gpt"},
                {**disk, "name": "sdd", "fstype": "xfs"},
                {**disk, "name": "sde", "children": [{"name": "sde1"}]},
                {**disk, "name": "zram0"},
                {**disk, "name": "sr0", "type": "rom"},
                {**disk, "name": "sdf", "size": 0},
            ]
        }
    )
    assert [(one.name, one.holds) for one in lsblk.disks(text)] == [
        ("sda", "mounted at /"),
        ("sdb", ""),
        ("sdc", "partition table gpt"),
        ("sdd", "xfs"),
        ("sde", "partitions"),
    ]
    assert lsblk.disks(text)[0].model == "ACME"
    assert lsblk.disks("") == ()


def test_signatures() -> None:
    assert lsblk.signatures("") == ()
    assert lsblk.signatures('{"signatures": [{"type": "xfs"}, {"type": "gpt"}]}') == ("xfs", "gpt")


def test_the_block_is_replaced_and_everything_else_stays() -> None:
    first = with_block("a\nb\n", "x", ("1", "2"))
    assert first.splitlines()[:2] == ["a", "b"]
    assert with_block(first, "x", ("1", "2")) == first
    changed = with_block(first + "c\n", "x", ("3",))
    assert [line for line in changed.splitlines() if not line.startswith("#")] == ["a", "b", "3", "c"]
    assert with_block(changed, "x", ()) == "a\nb\nc\n"


def test_a_block_whose_end_was_removed_swallows_nothing() -> None:
    cut = "a\n# BEGIN trivet x (replaced by trivet-agent)\nforeign\n"
    assert "foreign" in with_block(cut, "x", ("1",))


def test_hosts() -> None:
    members = (Member("1", "node1", "198.18.0.11"), Member("2", "node2", "198.18.0.12"))
    held = "127.0.0.1 localhost\n127.0.1.1 node1.lab node1\n127.0.1.1 node2\n10.0.0.1 other\n"
    made = with_names(held, members, "engine.trivet.lab", "198.18.0.100")
    lines = made.splitlines()
    assert lines[:3] == ["127.0.0.1 localhost", "127.0.1.1 node1.lab", "10.0.0.1 other"]
    assert "198.18.0.11 node1" in lines
    assert "198.18.0.100 engine.trivet.lab engine" in lines
    assert with_names(made, members, "engine.trivet.lab", "198.18.0.100") == made


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/var/lib/trivet/volumes/engine", "var-lib-trivet-volumes-engine"),
        ("/data", "data"),
        ("/", "-"),
        ("/srv/my-bricks//a b/", "srv-my\\x2dbricks-a\\x20b"),
        ("/.x", "\\x2ex"),
    ],
)
def test_paths_are_escaped_as_systemd_does(path: str, unit: str) -> None:
    assert systemd.escape_path(path) == unit


def test_the_mount_unit_names_all_servers() -> None:
    text = systemd.gluster_mount("engine", Path("/var/lib/trivet/volumes/engine"), ("node1", "node2", "node3"))
    assert "What=node1:/engine\n" in text
    assert "backup-volfile-servers=node2:node3" in text
    assert "direct-io-mode=enable" in text, "another host's writes must be seen"
    assert "backup" not in systemd.gluster_mount("engine", Path("/x"), ("node1",))


PLAN = BridgePlan(
    "eth0", "52:54:00:aa:bb:cc", 1500, False, ("198.18.0.11/24",), ("198.18.0.1",), (("10.0.0.0/8", "198.18.0.2"),)
)


def test_bridge_files() -> None:
    files = dict(bridge_files(PLAN))
    assert all(name < "10-" for name in files), "before cloud-init's files"
    netdev = next(text for name, text in files.items() if name.endswith(".netdev"))
    assert "MACAddress=52:54:00:aa:bb:cc" in netdev and "STP=no" in netdev and "ForwardDelaySec=0" in netdev
    port = next(text for name, text in files.items() if name.endswith("-port.network"))
    assert "Name=eth0" in port and "Bridge=ovirtmgmt" in port
    network = files["05-trivet-ovirtmgmt.network"]
    assert "Address=198.18.0.11/24" in network and "Gateway=198.18.0.1" in network
    assert "[Route]\nDestination=10.0.0.0/8\nGateway=198.18.0.2" in network


def test_a_leased_address_stays_leased() -> None:
    from dataclasses import replace

    network = dict(bridge_files(replace(PLAN, dhcp=True, addresses=())))["05-trivet-ovirtmgmt.network"]
    assert "DHCP=ipv4" in network and "Address=" not in network


def test_libvirt_settings_are_blocks() -> None:
    text = libvirt_conf.qemu_conf('user = "x"\n')
    assert text.startswith('user = "x"\n') and "dynamic_ownership = 0" in text
    assert libvirt_conf.qemu_conf(text) == text
    assert "O=abc,OU=node" in libvirt_conf.libvirtd_conf("", "abc")
    assert "max_size = 1048576\nmax_backups = 1\n" in libvirt_conf.virtlogd_conf("")


LIBEXEC = Path(__file__).resolve().parents[2] / "image/elements/trivet-node/static/usr/libexec"
"""Programs of the node's image that are only shell."""


def told_by(folder: Path, program: str, *words: str, **tools: str) -> list[str]:
    """What ``program`` asked of the tools that it starts, which do what is given here besides."""
    for name, then in tools.items():
        (folder / name).write_text(f'#!/bin/sh\necho "${{0##*/}} $*" >>{folder}/told\n{then}\n')
        (folder / name).chmod(0o755)
    subprocess.run([LIBEXEC / program, *words], env={"PATH": str(folder)}, timeout=20, check=False, capture_output=True)
    return (folder / "told").read_text().splitlines()


@pytest.mark.parametrize(("point", "started"), [("/proc", False), ("/proc/nothing", True)])
def test_what_is_not_mounted_is_started(tmp_path: Path, point: str, started: bool) -> None:
    """``sleep`` ends it."""
    tools = {"systemctl": "", "umount": "", "pgrep": "", "sleep": "kill $PPID"}
    told = told_by(tmp_path, "trivet-keep-mounted", "a.mount", point, "3", **tools)
    assert told == (["systemctl start a.mount"] if started else []) + ["sleep 3"]


@pytest.mark.parametrize(
    ("active", "answers", "restarted"), [(True, True, False), (True, False, True), (False, False, False)]
)
def test_a_glusterd_that_does_not_answer_is_restarted(tmp_path: Path, active: bool, answers: bool, restarted: bool) -> None:
    """``sleep`` ends it the fifth time."""
    tools = {
        "systemctl": f"[ $1 != -q ] || exit {int(not active)}",
        "timeout": f"exit {0 if answers else 124}",
        "sleep": f'echo >>{tmp_path}/slept; [ "$(wc -l <{tmp_path}/slept)" -lt 5 ] || kill $PPID',
        "wc": 'exec /usr/bin/wc "$@"',
    }
    told = told_by(tmp_path, "trivet-watch-glusterd", **tools)
    asked = [line for line in told if line.startswith("timeout")]
    assert asked == ["timeout 15 gluster --mode=script pool list"] * (active and (3 if restarted else 4))
    did = [line for line in told if line.startswith("systemctl") and "is-active" not in line]
    kill, again = "systemctl kill --kill-whom=main -s KILL glusterd.service", "systemctl restart glusterd.service"
    assert did == ([kill, again] if restarted else [])
    assert ("sleep 300" in told) is restarted


BRICK = (
    "/usr/sbin/glusterfsd",
    "-s",
    "node1",
    "-p",
    "x.pid",
    "--brick-name",
    "/data/bricks/vmstore",
    "--brick-port",
    "57070",
)


@pytest.mark.parametrize(
    ("command", "noted"),
    [
        (BRICK, 57070),
        (("/usr/bin/something", *BRICK[1:]), 57689),  # the process id is another one's by now
        (BRICK[:-2], 57689),
        (None, 57689),  # it has ended
    ],
)
def test_glusterd_starts_with_the_ports_of_the_bricks_that_run(
    tmp_path: Path, command: tuple[str, ...] | None, noted: int
) -> None:
    """11.1 leaves the port of before in its store when it restarts a brick whose volume was changed meanwhile."""
    pid_file = tmp_path / "run/vols/vmstore/node1-data-bricks-vmstore.pid"
    stored = tmp_path / "vols/vmstore/bricks/node1:-data-bricks-vmstore"
    process = tmp_path / "proc/4711"
    for folder in (pid_file.parent, stored.parent, process):
        folder.mkdir(parents=True)
    pid_file.write_text("4711\n")
    stored.write_text("uuid=1\nlisten-port=57689\nrdma.listen-port=0\n")
    if command is not None:
        (process / "cmdline").write_text("".join(f"{word}\0" for word in command))
    for _ in range(2):
        subprocess.run(
            [LIBEXEC / "trivet-note-brick-ports", tmp_path / "run", tmp_path / "vols", tmp_path / "proc"],
            timeout=20,
            check=True,
        )
        assert stored.read_text() == f"uuid=1\nlisten-port={noted}\nrdma.listen-port=0\n"
    assert [path.name for path in stored.parent.iterdir()] == [stored.name]


def test_the_service_that_keeps_a_mount_quotes_its_unit() -> None:
    name, text = systemd.keep_mounted("a-b", Path("/var/lib/trivet/volumes/a-b"), 3)
    assert name == "trivet-volume-a-b.service"
    assert r'keep-mounted "var-lib-trivet-volumes-a\\x2db.mount" /var/lib/trivet/volumes/a-b 3' in text
