"""The data disk with the real tools on plain files, and the steps of the first start cut anywhere."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from appliance.codec import encode
from appliance.effects.clock import FakeClock
from appliance.effects.process import Completed, SystemProcesses
from appliance.errors import Conflict, Refused
from appliance.model.engine_start import EngineStart
from engine.boot import activate as activation
from engine.boot import data, seed
from engine.boot.activate import activate, first_start, record
from engine.boot.files import read
from engine.boot.first_start import STEPS
from engine.layout import Guest, write_private
from engine.store.durable import Store
from engine.store.records import EventRecord
from tests.engine import world

TOOLS = SystemProcesses()
SIZE_BYTES = 32 * 1024 * 1024


def quiet(_text: str) -> None:
    """A log for nobody."""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "data.raw"
    with path.open("wb") as file:
        file.truncate(SIZE_BYTES)
    return path


def test_a_blank_disk_is_formatted_once_and_mounted_ever_after(disk: Path) -> None:
    assert data.settle(disk, TOOLS, quiet).action == "continue-first-start"
    assert data.look(disk, TOOLS).label == "trivet-new"
    born = uuid_of(disk)
    assert data.settle(disk, TOOLS, quiet).action == "continue-first-start"  # the power was cut before the first start's end
    data.mark_ready(disk, TOOLS)
    assert data.settle(disk, TOOLS, quiet).action == "mount"
    assert uuid_of(disk) == born  # formatting anew would have given it another


def uuid_of(disk: Path) -> str:
    return TOOLS.run(["blkid", "-p", "-s", "UUID", "-o", "value", str(disk)], timeout_s=10).stdout


@pytest.mark.parametrize("where", ["first", "last"])
def test_a_disk_with_anything_at_its_ends_is_not_touched(disk: Path, where: str) -> None:
    with disk.open("r+b") as file:
        file.seek(700_000 if where == "first" else SIZE_BYTES - 700_000)
        file.write(b"precious")
    before = disk.read_bytes()
    with pytest.raises(Refused) as error:
        data.settle(disk, TOOLS, quiet)
    assert error.value.code == "data-disk.foreign"
    assert disk.read_bytes() == before


@pytest.mark.parametrize("make", [["mkfs.xfs", "-q"], ["mkfs.ext4", "-q", "-F"], ["mkswap"]])
def test_a_foreign_file_system_is_never_formatted(tmp_path: Path, make: list[str]) -> None:
    path = tmp_path / "foreign.raw"
    with path.open("wb") as file:
        file.truncate(320 * 1024 * 1024)
    TOOLS.run([*make, str(path)], timeout_s=60)
    with path.open("rb") as file:
        before = file.read(SIZE_BYTES)
    with pytest.raises(Refused) as error:
        data.settle(path, TOOLS, quiet)
    assert error.value.code == "data-disk.foreign"
    assert "It was not changed" in error.value.reason
    with path.open("rb") as file:
        assert file.read(SIZE_BYTES) == before


def test_a_damaged_data_disk_is_refused_and_not_formatted(disk: Path) -> None:
    data.settle(disk, TOOLS, quiet)
    data.mark_ready(disk, TOOLS)
    with disk.open("r+b") as file:  # group descriptors and the root folder's inode
        file.seek(4096)
        file.write(b"\xff" * 2_000_000)
    with pytest.raises(Refused) as error:
        data.settle(disk, TOOLS, quiet)
    assert error.value.code == "data-disk.damaged"
    assert data.look(disk, TOOLS).label == "trivet-data"


class Cut(Exception):
    """The power goes."""


@pytest.mark.parametrize("at", range(len(STEPS)))
def test_a_power_cut_in_the_first_start_is_finished_by_the_next(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, guest = FakeClock(), Guest(tmp_path)
    guest.state.mkdir(parents=True)
    given = world.identity()
    write_private(guest.identity_file, json.dumps(encode(given)))

    with monkeypatch.context() as patch:
        patch.setattr(type(STEPS[at]), "do", _cut_at(STEPS[at].name, type(STEPS[at]).do))
        with pytest.raises(Cut):
            first_start(guest, clock, quiet)
    first_start(guest, clock, quiet)
    assert guest.key.read_text() == given.engine_key_pem
    assert stat.S_IMODE(guest.identity.stat().st_mode) == stat.S_IMODE(guest.ca_key.stat().st_mode) == 0o600
    store = Store(guest.database)
    assert [one.principal for one in store.accounts()] == [world.ADMIN]
    assert [one.name for one in store.items("host")] == ["node1", "node2", "node3"]
    store.close()


def _cut_at(name: str, real: object) -> object:
    def do(self: object, *arguments: object) -> None:
        if self.name == name:  # type: ignore[attr-defined]
            raise Cut
        real(self, *arguments)  # type: ignore[operator]

    return do


def test_a_password_hash_that_is_not_argon2id_is_refused(tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    guest.state.mkdir(parents=True)
    wrong = {**encode(world.identity()), "admin_password_hash": "plain"}
    write_private(guest.identity_file, json.dumps(wrong))
    with pytest.raises(Refused) as error:
        first_start(guest, FakeClock(), quiet)
    assert error.value.code == "identity.password-hash"


def test_a_start_that_is_not_newer_does_not_go_active(tmp_path: Path) -> None:
    clock = FakeClock()
    guest = world.ready_guest(tmp_path, clock)
    record(guest, world.START, clock, quiet)  # the unit was restarted: the same start
    write_private(guest.start_id, "boot-2\n")
    with pytest.raises(Conflict) as error:
        record(guest, world.START, clock, quiet)
    assert error.value.code == "engine.stale-epoch"
    newer = type(world.START)(**{**world.START.__dict__, "epoch": 9, "host": "node3"})
    record(guest, newer, clock, quiet)
    store = Store(guest.database)
    assert [(one.epoch, one.host) for one in store.starts()] == [(9, "node3"), (7, "node2")]
    assert store.events()[0].description == "The engine has started on host node3 (epoch 9)."
    store.close()


def test_the_seed_makes_network_names_and_private_copies(tmp_path: Path) -> None:
    guest, folder = Guest(tmp_path / "guest"), tmp_path / "seed"
    folder.mkdir()
    (folder / "trivet-start.json").write_text(json.dumps(encode(world.START)))
    (folder / "trivet-identity.json").write_text('{"secret": 1}')
    assert seed.apply(guest, folder, quiet) == world.START
    assert "Address=198.18.0.100/24" in guest.at("/run/systemd/network/10-trivet.network").read_text()
    assert guest.at("/etc/hostname").read_text() == "engine.trivet.lab\n"
    assert stat.S_IMODE(guest.identity_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(guest.start_file.stat().st_mode) == 0o644
    assert stat.S_IMODE(guest.run.stat().st_mode) == 0o755


@pytest.mark.parametrize("text", ["", "[]", "{", '{"epoch": "7"}', "x" * 2_000_000])
def test_a_broken_seed_is_refused_before_anything_is_written(tmp_path: Path, text: str) -> None:
    guest, folder = Guest(tmp_path / "guest"), tmp_path / "seed"
    folder.mkdir()
    (folder / "trivet-start.json").write_text(text)
    with pytest.raises(Refused) as error:
        seed.apply(guest, folder, quiet)
    assert error.value.code == "seed.invalid"
    assert not guest.root.exists()


@pytest.fixture
def block_device(disk: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    device = Path(TOOLS.run(["losetup", "--find", "--show", str(disk)], timeout_s=10).stdout.strip())
    yield device
    TOOLS.run(["losetup", "--detach", str(device)], timeout_s=10)


def test_a_real_disk_from_blank_to_the_third_start(
    tmp_path: Path, block_device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`trivet engine data`, all of it but the seed's mount, with a real block device, mount and power cut."""

    def given(guest: Guest, _device: Path, _log: object) -> EngineStart:
        return read(EngineStart, guest.start_file, "seed.invalid", seed.REMEDY)

    monkeypatch.setattr(seed, "mount_and_read", given)
    monkeypatch.setattr(activation, "start_later", lambda _guest, _processes: None)  # it would start this machine's ssh
    guest, clock, said = Guest(tmp_path / "guest"), FakeClock(), []
    guest.data_device.parent.mkdir(parents=True)
    guest.data_device.symlink_to(block_device)
    write_private(guest.seed_device, "")
    write_private(guest.start_file, json.dumps(encode(world.START)))
    write_private(guest.identity_file, json.dumps(encode(world.identity())))
    try:
        activate(guest, TOOLS, clock, said.append)
        assert guest.active_file.exists()
        assert data.look(block_device, TOOLS).label == "trivet-data"
        activate(guest, TOOLS, clock, said.append)  # the unit is restarted: the disk is mounted and stays untouched
        store = Store(guest.database)
        store.add_event(EventRecord("normal", "test", "a row", 9801, 1))
        store.close()
        TOOLS.run(["umount", str(guest.state)], timeout_s=30)
        guest.start_id.unlink()  # as after a wake or a boot: /run is new
        with pytest.raises(Conflict):
            activate(guest, TOOLS, clock, said.append)
        newer = dataclasses.replace(world.START, epoch=8)
        write_private(guest.start_file, json.dumps(encode(newer)))
        guest.identity_file.unlink()  # only the first start needs it
        activate(guest, TOOLS, clock, said.append)
        store = Store(guest.database)
        assert [one.epoch for one in store.starts()] == [8, 7]
        assert "a row" in [one.description for one in store.events()]
        store.close()
    finally:
        TOOLS.run(["umount", str(guest.state)], timeout_s=30, ok=None)
    assert sum("formatting" in text for text in said) == 1


class Started(SystemProcesses):
    """Real tools, but no units of this machine."""

    def __init__(self) -> None:
        super().__init__()
        self.units: list[str] = []

    def run(self, argv: Sequence[str], **how: Any) -> Completed:
        if argv[0] in ("systemctl", "udevadm"):
            self.units += argv[3:]
            return Completed(tuple(argv), 0, "", "")
        return super().run(argv, **how)


def test_consoles_come_last_and_show_the_same_key_for_ever(tmp_path: Path) -> None:
    guest, processes = world.ready_guest(tmp_path / "guest", FakeClock()), Started()
    guest.console_host_key.parent.mkdir(mode=0o700)
    guest.console_host_key.with_name("new").write_text("of an activation that was cut short")
    activation.start_later(guest, processes)
    assert {"trivet-engine-vmconsole.socket", "trivet-engine-vmconsole-ssh.socket"} <= set(processes.units)
    key = guest.console_host_key.read_text()
    assert "OPENSSH PRIVATE KEY" in key and stat.S_IMODE(guest.console_host_key.stat().st_mode) == 0o600
    activation.start_later(guest, processes)
    assert guest.console_host_key.read_text() == key
    assert sorted(one.name for one in guest.console_host_key.parent.iterdir()) == [
        "ssh_host_ed25519_key", "ssh_host_ed25519_key.pub",
    ]  # fmt: skip
