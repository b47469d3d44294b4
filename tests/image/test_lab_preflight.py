"""Can a lab run here: the judgement, and what it reads."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.effects.process import SystemProcesses
from appliance.errors import Refused
from image.lab import preflight
from image.lab.preflight import Facts, judge, refuse

GOOD = Facts(
    missing_tools=(),
    failed_probes=(),
    missing_devices=(),
    cgroup2=True,
    cgroup_kill=True,
    file_system="ext4",
    free_bytes=100 * 2**30,
    available_memory_bytes=15 * 2**30,
    port=8443,
    port_user=None,
)


def test_a_machine_that_has_everything_has_no_problem() -> None:
    assert judge(GOOD, 3) == ()


@pytest.mark.parametrize(
    ("facts", "code", "words"),
    [
        (replace(GOOD, missing_tools=("nft",)), "lab.tool-missing", "nft"),
        (replace(GOOD, failed_probes=(("overlay file system", "unknown type"),)), "lab.kernel-feature", "overlay"),
        (replace(GOOD, missing_devices=("/dev/fuse",)), "lab.device-missing", "/dev/fuse"),
        (replace(GOOD, cgroup2=False), "lab.kernel-feature", "cgroup v2"),
        (replace(GOOD, cgroup_kill=False), "lab.kernel-feature", "cgroup.kill"),
        (replace(GOOD, file_system="overlay"), "lab.brick-filesystem", "overlay"),
        (replace(GOOD, free_bytes=2**30), "lab.disk-too-small", "1.0 GiB free"),
        (replace(GOOD, available_memory_bytes=2**30), "lab.memory-too-small", "1.0 GiB"),
        (replace(GOOD, port_user="nginx (process 7)"), "lab.port-taken", "nginx (process 7)"),
    ],
)
def test_each_missing_thing_is_named_with_its_code_and_a_remedy(facts: Facts, code: str, words: str) -> None:
    (problem,) = judge(facts, 3)
    assert problem.code == code
    assert words in problem.what
    assert problem.remedy
    assert refuse((problem,)).code == code


def test_all_missing_things_are_named_at_once() -> None:
    facts = replace(GOOD, missing_tools=("nft", "ip"), free_bytes=0, port_user="nginx (process 7)")
    error = refuse(judge(facts, 3))
    assert error.code == "lab.cannot-run"
    for words in ("nft", "ip is not", "0.0 GiB free", "nginx"):
        assert words in error.reason
    problems = error.facts["problems"]
    assert isinstance(problems, list)
    assert [problem["code"] for problem in problems] == [
        "lab.tool-missing",
        "lab.tool-missing",
        "lab.disk-too-small",
        "lab.port-taken",
    ]


def test_more_nodes_need_more_memory() -> None:
    facts = replace(GOOD, available_memory_bytes=5 * 2**30)
    assert judge(facts, 3) == ()
    assert [problem.code for problem in judge(facts, 16)] == ["lab.memory-too-small"]


def test_the_listener_is_named_as_ss_names_it() -> None:
    line = 'LISTEN 0 511 127.0.0.1:8443 0.0.0.0:* users:(("nginx",pid=812,fd=6),("nginx",pid=811,fd=6))'
    assert preflight.parse_port_user(line) == "nginx (process 812)"
    assert preflight.parse_port_user("") == "a program that this machine does not name"


def test_a_taken_port_is_found_and_a_free_one_is_free() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert preflight.port_user(SystemProcesses(), port) is not None
    assert preflight.port_user(SystemProcesses(), port) is None


def test_available_memory_is_read_in_bytes() -> None:
    assert preflight.available_memory("MemTotal: 9 kB\nMemAvailable:    2048 kB\n") == 2 * 2**20
    assert preflight.available_memory("") == 0


def test_a_folder_without_systemd_is_not_a_node_tree(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        preflight.check_tree(tmp_path)
    assert refused.value.code == "lab.tree-missing"
    assert str(tmp_path) in refused.value.reason
    (tmp_path / "usr/lib/systemd").mkdir(parents=True)
    (tmp_path / "usr/lib/systemd/systemd").touch()
    preflight.check_tree(tmp_path)


def test_this_machine_is_looked_at_and_its_port_left_alone_when_none_is_wanted() -> None:
    facts = preflight.gather(SystemProcesses(), port=0, port_is_ours=False)
    assert facts.port_user is None
    assert facts.free_bytes > 0
    assert facts.available_memory_bytes > 0
