"""The commands that a lab consists of, and the seed of a node."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from image.lab import plan
from image.lab.model import Drop, LabFile, LabNode
from image.lab.seed import LAB_MARK_BEGIN, seed

LAB = LabFile("trivet", 0, 3, Path("/tree"), 8443)
NODE = LabNode("trivet", 0, 2)


def test_without_drops_the_switch_loses_its_table() -> None:
    assert plan.drop_rules(LAB) == "table bridge trivet_lab\ndelete table bridge trivet_lab\n"


def test_each_kind_of_drop_is_a_rule_of_its_hook() -> None:
    lab = replace(LAB, drops=(Drop("node1", "node2"), Drop(None, "node3"), Drop("node2", None)))
    assert plan.drop_rules(lab) == (
        "table bridge trivet_lab\n"
        "delete table bridge trivet_lab\n"
        "table bridge trivet_lab {\n"
        "  chain prerouting {\n"
        "    type filter hook prerouting priority 0;\n"
        '    iifname "node2" drop\n'
        "  }\n"
        "  chain forward {\n"
        "    type filter hook forward priority 0;\n"
        '    iifname "node1" oifname "node2" drop\n'
        "  }\n"
        "  chain postrouting {\n"
        "    type filter hook postrouting priority 0;\n"
        '    oifname "node3" drop\n'
        "  }\n"
        "}\n"
    )


def test_one_traffic_is_told_apart_by_its_ports() -> None:
    rules = plan.drop_rules(replace(LAB, drops=(Drop("node1", None, "storage"), Drop(None, "node1", "management"))))
    assert '    iifname "node1" jump storage\n' in rules
    assert '    oifname "node1" jump management\n' in rules
    storage, management = (
        rules.partition(f"chain {name} {{")[2].partition("}\n  chain")[0] for name in ("storage", "management")
    )
    assert storage.count(" drop\n") == len(plan.STORAGE)
    assert management.count(" return\n") == len(plan.STORAGE)
    assert management.rstrip().endswith("ether type != arp drop\n  ".rstrip())
    assert "chain management" not in plan.drop_rules(replace(LAB, drops=(Drop("node1", None, "storage"),)))


def test_no_frame_enters_or_leaves_a_frozen_node() -> None:
    rules = plan.drop_rules(replace(LAB, frozen=("node3",)))
    assert '    iifname "node3" drop\n' in rules
    assert '    oifname "node3" drop\n' in rules


def test_every_network_command_names_a_namespace_of_the_lab() -> None:
    commands = [*plan.switch_up(LAB), *plan.plug(NODE), plan.port(NODE, up=False), plan.remove_cable(NODE)]
    for argv in commands:
        assert any(word.startswith("trivet-trivet-") for word in argv), argv


def test_a_node_may_not_touch_this_machines_clock_and_modules() -> None:
    argv = plan.boot(NODE)
    assert "--drop-capability=CAP_SYS_TIME,CAP_SYS_MODULE" in argv
    assert "--network-namespace-path=/run/netns/trivet-trivet-node2" in argv
    assert plan.NSPAWN_ENVIRONMENT["SYSTEMD_NSPAWN_API_VFS_WRITABLE"] == "network"


def test_a_command_in_a_node_gets_nothing_of_our_environment_and_dies_with_its_caller() -> None:
    argv = plan.enter(123, Path("/cg/exec"), ["true"], extra=("TERM=dumb",))
    assert argv[-1] == "true"
    assert argv[argv.index("env") + 1] == "-i"
    assert argv[argv.index("--pdeathsig") + 1] == "KILL"
    assert argv[argv.index("--bounding-set") + 1] == "-sys_time,-sys_module"
    assert "/cg/exec/cgroup.procs" in argv


def test_the_journal_of_a_node_that_is_off_is_read_from_its_disk() -> None:
    assert plan.journal("trivet-ha", follow=False, lines=5, folder=Path("/d"))[-4:] == [
        "--unit",
        "trivet-ha",
        "--directory",
        "/d",
    ]


def test_the_seed_is_a_nocloud_seed_with_a_fixed_address() -> None:
    files = {
        str(file.path): file for file in seed(NODE, [LabNode("trivet", 0, n) for n in (1, 2, 3)], ["ssh-ed25519 AAA me"])
    }
    network = json.loads(files["var/lib/cloud/seed/nocloud/network-config"].text)
    assert network["version"] == 2
    assert network["ethernets"]["eth0"]["addresses"] == ["198.18.0.12/24"]
    assert "local-hostname: node2\n" in files["var/lib/cloud/seed/nocloud/meta-data"].text
    user_data = files["var/lib/cloud/seed/nocloud/user-data"]
    assert user_data.text.startswith("#cloud-config\n")
    assert json.loads(user_data.text.partition("\n")[2])["ssh_authorized_keys"] == ["ssh-ed25519 AAA me"]
    assert user_data.mode == 0o600


def test_nodes_know_their_peers_by_name_and_ask_no_name_server() -> None:
    files = {str(file.path): file.text for file in seed(NODE, [LabNode("trivet", 0, n) for n in (1, 2, 3)])}
    assert files["etc/resolv.conf"] == ""
    for line in ("198.18.0.11 node1", "198.18.0.13 node3", "198.18.0.100 engine.trivet.lab"):
        assert line in files["etc/hosts"].splitlines()


def test_what_libvirt_needs_in_a_container_is_added_to_the_images_files_and_marked() -> None:
    files = {str(file.path): file for file in seed(NODE, [NODE])}
    qemu = files["etc/libvirt/qemu.conf"]
    assert qemu.append
    assert LAB_MARK_BEGIN in qemu.text
    assert "remember_owner = 0" in qemu.text
    assert f'host_uuid = "{NODE.uuid}"' in files["etc/libvirt/libvirtd.conf"].text
