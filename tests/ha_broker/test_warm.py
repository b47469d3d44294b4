"""Saved memory: when it is woken, when not, and that whatever goes wrong ends in a cold start."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from appliance import layout
from appliance.effects.clock import FakeClock
from appliance.errors import Conflict, Failed, TrivetError, Unavailable
from appliance.fakes.libvirt import DiskLocks, FakeLibvirt
from appliance.model.vm import VmSpec
from appliance.verbs.vms import VmVerbs
from ha_broker.effects.libvirt_vm import LibvirtEngineVm
from ha_broker.effects.qemu_process import EngineProcess
from ha_broker.effects.waking import Waking, WatchedHealth
from ha_broker.engine_vm import vm_spec
from ha_broker.sim.given import cluster_of
from ha_broker.warm.facts import FAILED, PANIC, READY, STANDBY_NAME, Machine, Saved, file_name, machine, standby, why_not
from ha_broker.warm.make import LOOK_EVERY_S, SETTLE_S, Maker
from ha_broker.warm.shelf import HEADER_BYTES, MAGIC, Shelf, checked, checksum, rename_inside

SPEC = replace(
    vm_spec(cluster_of(("node1", "node2", "node3")), "/images/trivet-engine-1.raw"),
    id="33333333-0000-4000-8000-000000000001",
)
MACHINE = machine(SPEC, "a" * 64, "4f.1", False)
DATA = str(layout.ENGINE_DATA_DISK)


def saved(**changes: object) -> Saved:
    made = Saved("x.memory", MACHINE, 1, 1, "", "2026-11-23T18:00:00+00:00", "10.0.13", 0.6)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_standby_has_nothing_of_the_engine_but_its_hardware() -> None:
    vm = standby(SPEC)
    assert (vm.name, len(vm.name)) == (STANDBY_NAME, len(layout.ENGINE_VM_NAME))
    assert vm.id != SPEC.id
    assert [disk.path for disk in vm.disks] == ["/images/trivet-engine-1.raw"]
    assert [(nic.bridge, nic.mac) for nic in vm.nics] == [("", SPEC.nics[0].mac)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": "b" * 64}, "another engine image"),
        ({"cpu_model": "Haswell"}, "CPU model Haswell"),
        ({"qemu": "50.2"}, "another QEMU"),
        ({"domain": "c" * 64}, "other devices"),
    ],
)
def test_memory_of_another_machine_is_not_woken(change: dict[str, str], words: str) -> None:
    assert why_not(saved(), MACHINE) == ""
    assert words in why_not(saved(machine=replace(MACHINE, **change)), MACHINE)
    assert "has been made yet" in why_not(None, MACHINE)


def test_every_fact_of_the_machine_is_in_its_key_and_the_name_says_what_it_is() -> None:
    for other in (
        replace(SPEC, memory_mib=2048),
        replace(SPEC, cpus=4),
        replace(SPEC, cpu_model="Haswell"),
        replace(SPEC, nics=(replace(SPEC.nics[0], mac="52:54:00:00:00:99"),)),
    ):
        assert machine(other, "a" * 64, "4f.1", False) != MACHINE
    assert machine(SPEC, "a" * 64, "4f.1", True) != MACHINE
    assert file_name(MACHINE, "10.0.13").startswith("engine-aaaaaaaaaaaa-qemu10.0.13-Nehalem-")


# --- files


def memory_file(path: Path, name: str = STANDBY_NAME, body: bytes = b"pages") -> None:
    text = f"<domain><name>{name}</name><uuid>{standby(SPEC).id}</uuid></domain>\0".encode()
    head = struct.pack("<16sIII", MAGIC, 2, len(text), 1).ljust(HEADER_BYTES, b"\0")
    path.write_bytes(head + text + body)


def test_the_vm_is_renamed_in_place_and_nothing_else_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    memory_file(path, body=STANDBY_NAME.encode())
    rename_inside(path, ((STANDBY_NAME, SPEC.name), (standby(SPEC).id, SPEC.id)))
    data = path.read_bytes()
    assert f"<name>{SPEC.name}</name><uuid>{SPEC.id}</uuid>".encode() in data
    assert data.endswith(STANDBY_NAME.encode()), "memory itself stays as it is"


@pytest.mark.parametrize("damage", [b"", b"NotLibvirtAtAll!" + bytes(200)])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "memory"
    path.write_bytes(damage)
    with pytest.raises(Failed) as error:
        rename_inside(path, ((STANDBY_NAME, SPEC.name),))
    assert error.value.code == "ha.warm-format"
    assert path.read_bytes() == damage


def test_the_checksum_sees_every_page_and_where_it_is(tmp_path: Path) -> None:
    path, sums = tmp_path / "memory", set()
    for at, data in ((0, b"x"), (0, b"y"), (1 << 20, b"x")):
        with path.open("wb") as file:
            file.truncate(4 << 20)
            file.seek(at)
            file.write(data)
        sums.add(checksum(path))
    assert len(sums) == 3


# --- the wake


@dataclass
class FixedMachine:
    machine: Machine = MACHINE

    def wanted(self, _spec: VmSpec) -> Machine:
        return self.machine


@dataclass
class Node:
    """A node with good saved memory, over libvirt's fake."""

    folder: Path
    locks: DiskLocks = field(default_factory=DiskLocks)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        run = self.folder / "run"
        shelf_folder = self.folder / "warm"
        run.mkdir()
        shelf_folder.mkdir()
        self.shelf = Shelf(shelf_folder, run)
        self.libvirt = FakeLibvirt("node1", self.locks)
        self.verbs = VmVerbs(self.libvirt, accelerated=lambda: False)
        self.machine = FixedMachine()
        self.waking = Waking(self.shelf, self.machine, FakeClock(), self.said.append)
        self.vm = LibvirtEngineVm(self.verbs, EngineProcess(run), self.waking)
        self.console = self.folder / "console"
        self.memory_mib = 8192
        self.in_maintenance = False

    def maker(self, said: str = READY) -> Maker:
        console = self.console

        class Sleeper(FakeClock):
            def sleep(self, seconds: float) -> None:
                super().sleep(seconds)
                console.write_text(f"trivet: {said}\n")

        return Maker(
            Files(self.libvirt, self.verbs),
            self.shelf,
            Sleeper(),
            SPEC,
            MACHINE,
            console,
            lambda: self.memory_mib,
            print,
            lambda: self.in_maintenance,
        )

    def make(self) -> Saved:
        made = self.maker().make()
        path = str(self.shelf.path(made))
        source = next(iter(self.libvirt.saved.values()))
        self.libvirt.saved = {path: source.replace(STANDBY_NAME, SPEC.name).replace(standby(SPEC).id, SPEC.id)}
        return made


class Files:
    """The VM verbs, with files where libvirt would write memory, and guests that use CPU time."""

    def __init__(self, libvirt: FakeLibvirt, verbs: VmVerbs) -> None:
        self._libvirt = libvirt
        self._verbs = verbs

    def __getattr__(self, name: str) -> Callable[..., object]:
        return getattr(self._verbs, name)  # type: ignore[no-any-return]

    def save(self, name: str, path: str) -> None:
        self._verbs.save(name, path)
        memory_file(Path(path))

    def resume(self, name: str) -> None:
        self._verbs.resume(name)
        self._libvirt.vms[name] = replace(self._libvirt.vms[name], cpu_time_s=self._libvirt.vms[name].cpu_time_s + 1)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_start_wakes_and_takes_the_disks_lock(node: Node) -> None:
    made = node.make()
    assert node.libvirt.vms == {}, "the standby VM is gone"
    assert [path.name for path in node.shelf.folder.iterdir()].count(made.file) == 1
    node.vm.start_paused(SPEC)
    assert node.vm.engine_vm().power == "paused"
    assert node.locks.holders == {DATA: f"node1/{SPEC.name}"}
    assert 'bridge="ovirtmgmt"' in node.libvirt.xml[SPEC.name]
    assert "woken" in node.said[-1]


def test_without_memory_it_boots_cold_and_says_why(node: Node) -> None:
    node.vm.start_paused(SPEC)
    assert node.vm.engine_vm().power == "paused"
    assert node.said == ["the engine VM boots cold: no saved memory has been made yet"]


def test_a_lock_refused_at_the_attach_is_a_standby_and_leaves_nothing(node: Node) -> None:
    node.make()
    node.locks.holders[DATA] = "node2/HostedEngine"
    with pytest.raises(Conflict) as error:
        node.vm.start_paused(SPEC)
    assert error.value.code == "vm.disk-locked"
    assert node.libvirt.vms == {}
    assert node.shelf.why_not(MACHINE) == "", "the memory is good and is used again"


def test_a_volume_that_is_not_there_says_nothing_against_the_memory(node: Node) -> None:
    node.make()
    reason = "Transport endpoint is not connected"
    node.libvirt.fail["attach"] = Unavailable("vm.disk-unreachable", subject="VM", reason=reason, remedy="Wait.")
    with pytest.raises(Unavailable):
        node.vm.start_paused(SPEC)
    assert node.libvirt.vms == {}
    assert node.shelf.why_not(MACHINE) == "", "it is woken as soon as the volume is back"


@pytest.mark.parametrize(
    "broken",
    [
        Failed("vm.restore", subject="VM", reason="broken stream", remedy="Look."),
        Unavailable("libvirt.deadline", subject="libvirt", reason="did not answer within 12 s", remedy="Look."),
    ],
)
def test_a_restore_that_fails_or_hangs_is_followed_by_a_cold_boot(node: Node, broken: TrivetError) -> None:
    node.make()
    node.libvirt.fail["restore"] = broken
    node.vm.start_paused(SPEC)
    assert node.vm.engine_vm().power == "paused"
    assert "boots cold, because its wake failed" in node.said[-1]
    assert broken.reason in node.waking.text(SPEC)


def test_a_damaged_file_is_noticed_beside_the_restore(node: Node) -> None:
    made = node.make()
    path = node.shelf.path(made)
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert node.shelf.why_not(MACHINE) == "", "the cheap look sees nothing"
    with pytest.raises(Failed):
        checked(path, made)
    node.vm.start_paused(SPEC)
    assert "checksum" in node.said[-1]
    assert node.locks.holders == {DATA: f"node1/{SPEC.name}"}
    assert node.shelf.saved() is None


def test_an_engine_that_was_woken_and_never_came_up_boots_the_next_time(node: Node) -> None:
    node.make()
    node.vm.start_paused(SPEC)
    node.vm.destroy()
    node.vm.start_paused(SPEC)
    assert "has not come up yet" in node.said[-1]
    node.vm.destroy()

    class Up:
        def epoch_up(self, _deadline_s: float) -> int | None:
            return 7

    assert WatchedHealth(Up(), node.shelf).epoch_up(1) == 7
    node.vm.start_paused(SPEC)
    assert "woken" in node.said[-1]


# --- the maker


def test_the_maker_leaves_memory_for_the_engine(node: Node) -> None:
    node.memory_mib = 2000
    with pytest.raises(Unavailable) as error:
        node.make()
    assert error.value.code == "ha.warm-memory"
    assert node.libvirt.vms == {}


def test_a_node_in_maintenance_begins_nothing_and_gives_way(node: Node) -> None:
    node.in_maintenance = True
    with pytest.raises(Conflict) as error:
        node.maker().make()
    assert error.value.code == "ha.warm-maintenance" and not node.libvirt.vms
    node.in_maintenance = False
    maker = node.maker()
    real = maker.verbs.start

    def meanwhile(spec: VmSpec, paused: bool) -> object:
        found = real(spec, paused)
        node.in_maintenance = True
        return found

    maker.verbs.start = meanwhile  # type: ignore[method-assign, assignment]
    with pytest.raises(Conflict) as error:
        maker.make()
    assert error.value.code == "ha.warm-maintenance"
    assert not node.libvirt.vms and list(node.shelf.folder.iterdir()) == []


def test_the_maker_gives_way_to_a_start_of_the_engine(node: Node) -> None:
    maker = node.maker()
    real = maker.verbs.start

    def both(spec: VmSpec, paused: bool) -> object:
        found = real(spec, paused)
        node.verbs.start(SPEC, True)
        return found

    maker.verbs.start = both  # type: ignore[method-assign, assignment]
    with pytest.raises(Conflict) as error:
        maker.make()
    assert error.value.code == "ha.warm-engine-starts"
    assert list(node.libvirt.vms) == [SPEC.name]
    assert list(node.shelf.folder.iterdir()) == []


@pytest.mark.parametrize("said", [f"{FAILED}: trivet-engine-web.service", f"[    0.052000] {PANIC}: IO-APIC + timer"])
def test_a_guest_that_will_never_be_ready_is_not_waited_for(node: Node, said: str) -> None:
    maker = node.maker(said)
    began_s = maker.clock.monotonic_s()
    with pytest.raises(Unavailable) as error:
        maker.make()
    assert error.value.code == "ha.warm-standby"
    assert said in error.value.reason
    assert node.libvirt.vms == {}
    assert maker.clock.monotonic_s() - began_s < 2 * LOOK_EVERY_S + SETTLE_S


def test_a_full_disk_leaves_what_was_there(node: Node) -> None:
    made = node.make()
    node.libvirt.fail["save"] = Failed("vm.save", subject="VM", reason="No space left on device", remedy="Free some.")
    with pytest.raises(Failed):
        node.maker().make()
    assert node.libvirt.vms == {}
    assert node.shelf.saved() == made


def test_new_memory_replaces_the_old(node: Node) -> None:
    node.make()
    (node.shelf.folder / "engine-old.memory").write_text("old")
    made = node.make()
    assert sorted(path.name for path in node.shelf.folder.iterdir()) == sorted([made.file, "saved.json"])
