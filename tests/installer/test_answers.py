"""The answers file at the door: what is right passes, everything else is refused with file, key and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import NotFound, Refused
from installer import answers

GOOD = """\
[cluster]
name = "rack1"

[engine]
fqdn = "engine.example.org"
address = "198.18.0.100"
prefix = 24
gateway = "198.18.0.1"
dns = ["198.18.0.1"]
ssh_authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@desk"]

[[nodes]]
name = "node1"
address = "198.18.0.11"
token = "ABCDEFGHIJKLMNOP.0123456789abcdef"
nic = "eth0"
brick_folder = "/data/bricks"

[[nodes]]
name = "node2"
address = "198.18.0.12"
token = "QRSTUVWXYZ234567.0123456789abcdef"
nic = "eth0"
brick_disk = "/dev/vdb"

[[nodes]]
name = "node3"
address = "node3.example.org"
token = "ABCDEFGHIJKLMNOP"
nic = "eth0"
brick_folder = "/data/bricks"
"""


def refused(text: str) -> Refused:
    with pytest.raises(Refused) as caught:
        answers.parse(text, "answers.toml")
    assert caught.value.subject == "answers.toml"
    assert caught.value.exit_code == 2
    return caught.value


def test_good_answers_with_defaults() -> None:
    read = answers.parse(GOOD, "answers.toml")
    assert read.cluster.clock_skew_s == 5.0
    assert read.engine.memory_mib == 1024
    assert [node.name for node in read.nodes] == ["node1", "node2", "node3"]
    assert read.nodes[1].brick_disk == "/dev/vdb"


def test_tokens_do_not_show_in_repr() -> None:
    assert "ABCDEFGH" not in repr(answers.parse(GOOD, "answers.toml"))


def test_written_back_without_tokens() -> None:
    written = answers.render(answers.parse(GOOD, "answers.toml"))
    assert "ABCDEFGH" not in written and "QRSTUVW" not in written
    filled = written.replace('token = ""', 'token = "ABCDEFGHIJKLMNOP"')
    again = answers.parse(filled, "written.toml")
    assert again.engine == answers.parse(GOOD, "answers.toml").engine
    assert answers.render(again) == written


def test_not_toml_names_the_line() -> None:
    error = refused(GOOD.replace('fqdn = "engine.example.org"', "fqdn = engine"))
    assert error.code == "answers.not-toml"
    assert "line 5" in error.reason


@pytest.mark.parametrize(
    ("old", "new", "code", "key", "line"),
    [
        ("prefix = 24", "prefix = 24\nmemroy_mib = 1", "answers.unknown-key", "engine.memroy_mib", 8),
        ('name = "node2"\n', 'name = "node2"\nadress = "x"\n', "answers.unknown-key", "nodes[1].adress", 21),
        ('fqdn = "engine.example.org"\n', "", "answers.missing-key", "engine.fqdn", 4),
        ("prefix = 24", 'prefix = "24"', "answers.wrong-type", "engine.prefix", 7),
        ('"198.18.0.12"', '"198.18.0.11"', "answers.duplicate-address", "nodes[1].address", 21),
        ('name = "node2"', 'name = "node1"', "answers.duplicate-name", "nodes[1].name", 20),
        ('name = "node2"', 'name = "engine"', "answers.duplicate-name", "nodes[1].name", 20),
        ('name = "node2"', 'name = "Node 2"', "answers.invalid-name", "nodes[1].name", 20),
        ('name = "rack1"', 'name = ""', "answers.invalid-name", "cluster.name", 2),
        ('fqdn = "engine.example.org"', 'fqdn = "engine"', "answers.invalid-name", "engine.fqdn", 5),
        ('"198.18.0.12"', '"198.18.0.312"', "answers.invalid-address", "nodes[1].address", 21),
        ('"198.18.0.100"', '"198.18.0.300"', "answers.invalid-address", "engine.address", 6),
        ('"198.18.0.100"', '"198.18.0.255"', "answers.invalid-address", "engine.address", 6),
        ('"198.18.0.100"', '"198.18.0.12"', "answers.duplicate-address", "nodes[1].address", 21),
        ('"198.18.0.100"', '"198.19.0.100"', "answers.outside-subnet", "engine.gateway", 8),
        ('"198.18.0.12"', '"198.18.1.12"', "answers.outside-subnet", "nodes[1].address", 21),
        ("prefix = 24", "prefix = 99", "answers.invalid-prefix", "engine.prefix", 7),
        ("prefix = 24", "prefix = 24\nmemory_mib = 128", "answers.out-of-range", "engine.memory_mib", 8),
        ("prefix = 24", "prefix = 24\ndata_disk_gib = 0", "answers.out-of-range", "engine.data_disk_gib", 8),
        ('name = "rack1"', 'name = "rack1"\nclock_skew_s = 0.0', "answers.out-of-range", "cluster.clock_skew_s", 3),
        ('brick_disk = "/dev/vdb"\n', "", "answers.brick", "nodes[1]", 19),
        ('brick_disk = "/dev/vdb"', 'brick_disk = "/dev/vdb"\nbrick_folder = "/x"', "answers.brick", "nodes[1]", 19),
        ('brick_disk = "/dev/vdb"', 'brick_disk = "/etc/passwd"', "answers.invalid-path", "nodes[1].brick_disk", 24),
        ('brick_disk = "/dev/vdb"', 'brick_folder = "/a/../b"', "answers.invalid-path", "nodes[1].brick_folder", 24),
        ('token = "Q', 'token = "q ', "answers.invalid-token", "nodes[1].token", 22),
        ('nic = "eth0"\nbrick_disk', 'nic = "eth0;x"\nbrick_disk', "answers.invalid-nic", "nodes[1].nic", 23),
        ('"ssh-ed25519 AAAA', '"AAAA', "answers.invalid-ssh-key", "engine.ssh_authorized_keys[0]", 10),
    ],
)
def test_refusals_name_key_and_line(old: str, new: str, code: str, key: str, line: int) -> None:
    assert old in GOOD
    error = refused(GOOD.replace(old, new, 1))
    assert (error.code, error.facts["attribute"]) == (code, key)
    assert error.facts["line"] == line
    assert error.reason.startswith(f"line {line}: ")


def test_a_wrong_token_is_not_repeated_in_the_error() -> None:
    assert "QRSTUV" not in str(refused(GOOD.replace("QRSTUVWXYZ234567", "QRSTUVWXYZ23 567")))


def test_fewer_than_three_nodes() -> None:
    error = refused(GOOD[: GOOD.rindex("[[nodes]]")])
    assert error.code == "answers.too-few-nodes"
    assert "2 node(s)" in error.reason


def test_file_that_others_can_read(tmp_path: Path) -> None:
    file = tmp_path / "answers.toml"
    file.write_text(GOOD)
    file.chmod(0o644)
    with pytest.raises(Refused) as caught:
        answers.read(file)
    assert caught.value.code == "answers.readable-by-others"
    assert caught.value.remedy == f"chmod 600 {file}"
    file.chmod(0o600)
    assert answers.read(file).cluster.name == "rack1"


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        answers.read(tmp_path / "none.toml")
    assert caught.value.code == "answers.missing"


def test_file_that_is_not_text(tmp_path: Path) -> None:
    file = tmp_path / "answers.toml"
    file.write_bytes(b"\xff\xfe\x00")
    file.chmod(0o600)
    with pytest.raises(Refused) as caught:
        answers.read(file)
    assert caught.value.code == "answers.not-toml"
