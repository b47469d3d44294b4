"""The engine's seed disk: its texts, its fixed size, written in place."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from appliance import layout
from appliance.effects.process import SystemProcesses
from appliance.errors import Refused
from appliance.model.cluster import Cluster, EngineVm, Member
from appliance.model.engine_start import EngineIdentity, EngineStart
from appliance.tools import seed as texts
from appliance.verbs.seed import render_seed

VM = EngineVm("e1", "engine.trivet.lab", "198.18.0.100", 24, "198.18.0.1", (), "52:54:00:00:00:01", 1024, 2, 1 << 30)
CLUSTER = Cluster("c1", "trivet", (Member("n1", "node1", "198.18.0.11"),), VM)
START = EngineStart(7, "node1", "198.18.0.100", 24, "198.18.0.1", (), "engine.trivet.lab", (("node1", "198.18.0.11"),))


def identity(keys: tuple[str, ...] = ()) -> EngineIdentity:
    return EngineIdentity(CLUSTER, "$argon2id$…", "ca", "ca key", "pem", "key", keys)


def test_without_keys_nothing_starts_ssh() -> None:
    config = json.loads(texts.user_data(()).removeprefix("#cloud-config\n"))
    assert config == {"users": []}


def test_keys_go_to_the_data_disk_because_the_root_forgets() -> None:
    config = json.loads(texts.user_data(("ssh-ed25519 AAAA me",)).removeprefix("#cloud-config\n"))
    assert config["write_files"] == [
        {"path": "/var/lib/trivet-engine/ssh/authorized_keys", "permissions": "0600", "content": "ssh-ed25519 AAAA me\n"}
    ]
    assert config["runcmd"] == [["systemctl", "start", "ssh.service"]]


def test_start_and_identity_are_read_back_as_they_were() -> None:
    files = texts.seed_files(START, identity(), "c1")
    assert json.loads(files[layout.ENGINE_START_FILE])["epoch"] == 7
    assert json.loads(files[texts.IDENTITY_NAME])["ca_key_pem"] == "ca key"
    assert json.loads(files["meta-data"])["instance-id"] == "c1"


@pytest.mark.skipif(shutil.which("genisoimage") is None, reason="genisoimage is not installed")
def test_the_seed_is_written_in_place_and_keeps_its_size(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    render_seed(SystemProcesses(), path, START, identity(), "c1", scratch=tmp_path / "run")
    first = path.stat()
    with path.open("rb") as held:  # a paused QEMU holds the file open
        render_seed(SystemProcesses(), path, START, identity(("ssh-ed25519 AAAA me",) * 10), "c1", scratch=tmp_path / "run")
        assert b"ssh-ed25519" in held.read()
    second = path.stat()
    assert (first.st_ino, first.st_size) == (second.st_ino, second.st_size) and second.st_size == texts.SEED_BYTES
    assert stat.S_IMODE(second.st_mode) == 0o600
    assert os.listdir(tmp_path / "run") == []
    listing = subprocess.run(["isoinfo", "-J", "-f", "-i", path], capture_output=True, text=True, check=True).stdout
    assert {"/meta-data", "/user-data", "/trivet-start.json", "/trivet-identity.json"} == set(listing.split())


@pytest.mark.skipif(shutil.which("genisoimage") is None, reason="genisoimage is not installed")
def test_a_seed_that_does_not_fit_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    path.write_bytes(b"old")
    with pytest.raises(Refused, match="its disk only 1048576") as refused:
        render_seed(SystemProcesses(), path, START, identity(("x" * texts.SEED_BYTES,)), "c1", scratch=tmp_path)
    assert refused.value.code == "seed.too-large"
    assert path.read_bytes() == b"old"
