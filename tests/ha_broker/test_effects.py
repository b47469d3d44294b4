"""The real ports, on temporary folders, a local HTTPS server's answers and real threads."""

from __future__ import annotations

import json
import resource
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from appliance import layout
from appliance.effects.clock import FakeClock, SystemClock
from appliance.errors import Conflict, Failed, Refused, Unavailable
from appliance.model.ha import EngineHa, HaStatus
from appliance.model.vm import VmSpec, VmState
from appliance.verbs.epoch import EpochStore
from appliance.verbs.ha_status import read_status
from ha_broker import cli, limits
from ha_broker.board import SLOT_BYTES, from_bytes, to_bytes
from ha_broker.effects.libvirt_vm import LibvirtEngineVm
from ha_broker.effects.node import BootNotes, EventFile, RunStatus
from ha_broker.effects.qemu_process import EngineProcess
from ha_broker.effects.requests import MAINTENANCE_REQUEST, RequestFiles
from ha_broker.effects.threads import ThreadsBeside
from ha_broker.effects.volume import NodeEpochs, VolumeBoard
from ha_broker.engine_vm import engine_start, next_epoch, vm_spec
from ha_broker.known import known
from ha_broker.monitors.health import epoch_of
from ha_broker.monitors.host import check_image, newest_image
from ha_broker.ports import Event, HostFacts, call
from ha_broker.score import Fitness, score
from ha_broker.sim.given import cluster_of
from ha_broker.state import Attempt, Held, LocalVm, Notes, OwnStorage, Slot

CLUSTER = cluster_of(("node1", "node2", "node3"))
GOOD = OwnStorage(60.0, 0.5)


# --- threads


def test_a_procedure_in_a_thread() -> None:
    beside = ThreadsBeside(SystemClock())
    assert beside.ask("a", partial(call, lambda: 42))
    beside.settle(5)
    result = beside.take("a")
    assert result is not None
    assert (result.value, result.error) == (42, None)
    assert beside.take("a") is None


def test_one_key_is_under_way_once_and_never_blocks_the_loop() -> None:
    beside = ThreadsBeside(SystemClock())
    gate = threading.Event()
    assert beside.ask("slow", partial(call, gate.wait))
    assert not beside.ask("slow", partial(call, gate.wait))
    began_s = time.monotonic()
    beside.settle(0.05)
    assert time.monotonic() - began_s < 2
    assert (beside.pending_s("slow") or 0) > 0
    gate.set()
    beside.settle(5)
    assert not beside.ask("slow", partial(call, gate.wait)), "the result was not taken yet"
    assert beside.take("slow") is not None
    assert beside.pending_s("slow") is None


def test_an_error_is_handed_over() -> None:
    def fail() -> int:
        raise OSError("no such luck")

    beside = ThreadsBeside(SystemClock())
    beside.ask("bad", partial(call, fail))
    beside.settle(5)
    result = beside.take("bad")
    assert result is not None
    assert str(result.error) == "no such luck"


# --- volume


def test_slots_on_a_real_file_system(tmp_path: Path) -> None:
    board = VolumeBoard(tmp_path, "node1")
    assert board.read("node2") is None
    slot = Slot("node1", "boot", 1, 1000)
    board.write(to_bytes(slot))
    board.write(to_bytes(slot))
    assert (tmp_path / "node1.slot").stat().st_size == SLOT_BYTES
    data = board.read("node1")
    assert data is not None
    assert from_bytes("node1", data) == slot
    (tmp_path / "node3.slot").write_bytes(b"short")
    assert board.read("node3") == b"short"


def test_an_unmounted_volume_is_an_error_and_not_an_empty_board(tmp_path: Path) -> None:
    board = VolumeBoard(tmp_path / "board", "node1")
    with pytest.raises(OSError, match="not mounted"):
        board.read("node2")
    with pytest.raises(FileNotFoundError):
        board.write(bytes(SLOT_BYTES))


def test_epochs(tmp_path: Path) -> None:
    epochs = NodeEpochs(tmp_path / "epoch", EpochStore(tmp_path / "epoch.json"))
    assert (epochs.read_record(), epochs.local()) == (0, 0)
    epochs.write_record(7)
    assert epochs.read_record() == 7
    assert epochs.raise_local(7) == 7
    assert epochs.raise_local(5) == 7
    for garbage in (b"{}", b"\xff\xfe", b"", b'{"epoch": -1}', b'{"epoch": "7"}'):
        (tmp_path / "epoch").write_bytes(garbage)
        with pytest.raises(Failed) as caught:
            epochs.read_record()
        assert caught.value.code == "ha.epoch-record-damaged"


def test_the_next_epoch_is_above_everything_heard_of() -> None:
    assert next_epoch(3, 5, {"node2": 4}, 3) == 6
    assert next_epoch(9, 5, {}, 3) == 10
    assert next_epoch(None, 5, {"node2": 8}, 3) == 9
    with pytest.raises(Failed) as caught:
        next_epoch(None, 5, {}, 3)
    assert caught.value.code == "ha.epoch-unknown"
    assert "only 1 of 3 agents" in caught.value.reason


# --- this node


def test_notes_hold_for_one_boot(tmp_path: Path) -> None:
    notes = Notes(Held(3, 77, "2026"), (Attempt(5.0, "done"),))
    BootNotes(tmp_path / "ha" / "notes.json", "boot-1").save(notes)
    assert BootNotes(tmp_path / "ha" / "notes.json", "boot-1").load() == notes
    assert BootNotes(tmp_path / "ha" / "notes.json", "boot-2").load() == Notes()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"boot_id": "b", "attempts": 4}'])
def test_damaged_notes_are_told_and_forgotten(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.json").write_text(content)
    assert BootNotes(tmp_path / "notes.json", "b").load() == Notes()
    assert "cannot be used" in capsys.readouterr().err


def test_notes_that_cannot_be_written_are_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    notes = BootNotes(tmp_path / "file" / "notes.json", "b")
    notes.save(Notes())
    notes.save(Notes())
    assert capsys.readouterr().err.count("cannot be written") == 1


def test_events_of_a_full_disk_are_kept_and_written_later(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "events.jsonl"
    log = EventFile(path)
    log.write(Event(1.5, "node1", "decided", 0, "before"))
    size = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))  # room for a part of a line, as on a disk that fills up
    try:
        log.write(Event(2.5, "node1", "decided", 0, "meanwhile 1"))
        log.write(Event(3.5, "node1", "decided", 0, "meanwhile 2"))
        assert path.stat().st_size == size, "no half line"
        assert "No space left" in log.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert capsys.readouterr().err.count("cannot be written") == 1
    assert log.flush() == "", "the broker tries at each turn"
    log.write(Event(4.5, "node1", "decided", 0, "after"))
    sentences = [json.loads(line)["sentence"] for line in path.read_text().splitlines()]
    assert sentences == ["before", "meanwhile 1", "meanwhile 2", "after"]


def test_a_status_that_cannot_be_written_does_not_stop_the_broker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    status = RunStatus(tmp_path / "file" / "status.json", FakeClock())
    for _ in range(2):
        status.write(HaStatus(EngineHa("up", "node1", 3, ""), "none", (), (), 0.0))
    assert capsys.readouterr().err.count("cannot be written") == 1


def test_events_are_lines_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EVENTS_MAX_BYTES", 500)
    log = EventFile(tmp_path / "events.jsonl")
    for number in range(30):
        log.write(Event(1.5, "node1", "start-begun", number, "nobody has it"))
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    newest = {"wall_s": 1.5, "host": "node1", "kind": "start-begun", "epoch": 29, "sentence": "nobody has it"}
    assert json.loads(lines[-1]) == {**newest, "code": "", "subject": ""}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.jsonl", "events.old.jsonl"]
    assert (tmp_path / "events.jsonl").stat().st_size < 800


def test_a_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    requests = RequestFiles(tmp_path, tmp_path)
    assert requests.maintenance() is None
    (tmp_path / MAINTENANCE_REQUEST).write_text('{"maintenance": "global"}')
    assert requests.maintenance() == "global"
    requests.done()
    assert requests.maintenance() is None
    (tmp_path / MAINTENANCE_REQUEST).write_text('{"maintenance": "perhaps"}')
    assert requests.maintenance() is None
    assert not (tmp_path / MAINTENANCE_REQUEST).exists()
    assert "no request" in capsys.readouterr().err


class _Verbs:
    def __init__(self, power: str) -> None:
        self.power = power
        self.started: list[tuple[VmSpec, bool]] = []
        self.preferred: list[str] = []
        self.silent = False

    def find(self, name: str) -> VmState | None:
        assert name == layout.ENGINE_VM_NAME, "what other VMs do is not asked: one that stands still would tell nothing"
        return VmState("e", name, self.power, 1, 1, 0.0, 9)  # type: ignore[arg-type]

    def start(self, spec: VmSpec, paused: bool) -> VmState:
        self.started.append((spec, paused))
        found = self.find(spec.name)
        assert found is not None
        return found

    def wake(self, spec: VmSpec, saved: str, end: Callable[[], None]) -> VmState:
        raise AssertionError("there is no saved memory")

    def resume(self, name: str) -> None: ...

    def prefer(self, name: str) -> None:
        if self.silent:
            raise Unavailable("libvirt.silent", subject="libvirt", reason="it does not answer", remedy="Wait.")
        self.preferred.append(name)

    def destroy(self, name: str) -> None: ...

    def shutdown(self, name: str) -> None: ...

    def migrate(self, name: str, target: str) -> None:
        self.migrated = (name, target)


def test_the_engine_vm_is_looked_at_alone(tmp_path: Path) -> None:
    verbs = _Verbs("paused")
    vm = LibvirtEngineVm(verbs, EngineProcess(tmp_path))
    spec = vm_spec(CLUSTER, "/images/e.raw")
    assert vm.engine_vm() == LocalVm("paused", 9)
    assert vm.start_paused(spec) == 9
    assert verbs.started == [(spec, True)]


def test_the_engine_vm_gets_cpu_time_before_others_once_for_each_process(tmp_path: Path) -> None:
    verbs = _Verbs("running")
    vm = LibvirtEngineVm(verbs, EngineProcess(tmp_path))
    verbs.silent = True
    assert vm.engine_vm() == LocalVm("running", 9), "without it, all is only slower"
    verbs.silent = False
    for _ in range(3):
        vm.engine_vm()
    assert verbs.preferred == [layout.ENGINE_VM_NAME]


def test_a_running_vm_is_no_paused_start(tmp_path: Path) -> None:
    with pytest.raises(Conflict) as caught:
        LibvirtEngineVm(_Verbs("running"), EngineProcess(tmp_path)).start_paused(vm_spec(CLUSTER, "/images/e.raw"))
    assert caught.value.code == "ha.vm-active"


def test_what_libvirt_and_the_guest_are_told() -> None:
    spec = vm_spec(CLUSTER, "/images/e.raw")
    assert [(disk.path, disk.read_only) for disk in spec.disks] == [
        ("/images/e.raw", True),
        (str(layout.ENGINE_DATA_DISK), False),
        (str(layout.ENGINE_SEED_DISK), True),
    ]
    assert (spec.name, spec.memory_mib, spec.disks[1].serial) == ("HostedEngine", 1024, "trivet-data")
    start = engine_start(CLUSTER, 4, "node2")
    assert (start.epoch, start.host, len(start.hosts)) == (4, "node2", 3)


# --- score and monitors

IMAGE = HostFacts(0.5, 2, 8192, "/images/e.raw")


def test_scores() -> None:
    assert score(Fitness("node1", IMAGE, GOOD, 1024, 0.0)).value == limits.BASE_SCORE
    loaded = score(Fitness("node1", HostFacts(6.0, 2, 8192, "/i"), GOOD, 1024, 0.0))
    assert (loaded.value, loaded.reasons) == (800, ("load 6.0 on 2 CPUs: -200",))
    assert score(Fitness("node1", HostFacts(100.0, 2, 8192, "/i"), GOOD, 1024, 0.0)).value == 600
    failures = (Attempt(0.0, "failed"), Attempt(1.0, "failed"), Attempt(2.0, "locked"))
    failed = score(Fitness("node1", IMAGE, GOOD, 1024, 100.0, Notes(None, failures)))
    assert (failed.value, failed.reasons) == (500, ("2 failed starts in the last 10 min: -500",))
    assert score(Fitness("node1", IMAGE, GOOD, 1024, 700.0, Notes(None, failures))).value == limits.BASE_SCORE


def test_what_makes_a_host_ineligible() -> None:
    small = HostFacts(0.5, 2, 1000, "/i")
    assert score(Fitness("node1", small, GOOD, 1024, 0.0)).reasons == ("1000 MiB of memory available, 1280 MiB needed",)
    assert score(Fitness("node1", small, GOOD, 1024, 0.0, engine_here=True)).value == limits.BASE_SCORE
    bare = HostFacts(0.5, 2, 8192, "", "no engine image in /x")
    assert score(Fitness("node1", bare, GOOD, 1024, 0.0)).reasons == ("no engine image in /x",)
    refused = score(Fitness("node1", IMAGE, OwnStorage(0.0, 3.0, 1.0, "Read-only file system"), 1024, 0.0))
    assert (refused.value, refused.reasons) == (0, ("the volume engine is not writable from here (Read-only file system)",))


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"status": "up", "epoch": 7, "host": "node2"}', 7),
        (200, b'{"status": "starting", "epoch": 7}', None),
        (503, b'{"status": "up", "epoch": 7}', None),
        (200, b'{"status": "up", "epoch": true}', None),
        (200, b"<html>", None),
        (200, b"[]", None),
    ],
)
def test_health_answers(status: int, body: bytes, expected: int | None) -> None:
    assert epoch_of(status, body) == expected


def test_the_newest_image_and_its_checksum(tmp_path: Path) -> None:
    assert newest_image(tmp_path) == ""
    for version in ("0.9.0", "0.10.0"):
        (tmp_path / f"trivet-engine-{version}.raw").write_bytes(b"image")
    image = Path(newest_image(tmp_path))
    assert image.name == "trivet-engine-0.10.0.raw"
    with pytest.raises(Refused) as caught:
        check_image(image)
    assert caught.value.code == "ha.image-manifest"
    manifest = tmp_path / "trivet-engine-0.10.0.manifest.json"
    manifest.write_text('{"sha256": "6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d"}')
    check_image(image)
    image.write_bytes(b"imagf")
    with pytest.raises(Refused) as caught:
        check_image(image)
    assert caught.value.code == "ha.image-damaged"


# --- status file and command line

STATUS = HaStatus(EngineHa("up", "node2", 7, "2026-01-01T00:00:00+00:00"), "none", (), (), 0.0)


def test_the_status_file_is_what_the_reader_expects(tmp_path: Path) -> None:
    clock = FakeClock()
    RunStatus(tmp_path / "s.json", clock).write(STATUS)
    clock.sleep(2)
    assert read_status(tmp_path / "s.json", clock).broker_age_s == pytest.approx(2)
    assert known(tmp_path / "s.json", clock)[1] is None
    clock.sleep(10)
    status, error = known(tmp_path / "s.json", clock)
    assert status.engine == STATUS.engine
    assert error is not None
    assert error.code == "ha.broker-silent"


def test_maintenance_needs_a_broker(tmp_path: Path) -> None:
    clock = FakeClock()
    RunStatus(tmp_path / "s.json", clock).write(STATUS)
    clock.sleep(60)
    with pytest.raises(Unavailable) as caught:
        cli.set_maintenance("global", tmp_path / "r.json", tmp_path / "s.json", clock)
    assert caught.value.code == "ha.broker-silent"
    assert not (tmp_path / "r.json").exists()


def test_maintenance_that_does_not_reach_the_board_is_taken_back(tmp_path: Path) -> None:
    clock = FakeClock()
    RunStatus(tmp_path / "s.json", clock).write(STATUS)
    with pytest.raises(Unavailable) as caught:
        cli.set_maintenance("global", tmp_path / "r.json", tmp_path / "s.json", clock)
    assert caught.value.code == "ha.maintenance-deadline"
    assert not (tmp_path / "r.json").exists()


def test_maintenance_is_done_when_the_broker_took_the_request(tmp_path: Path) -> None:
    class Served(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            (tmp_path / "r.json").unlink()

    clock = Served()
    RunStatus(tmp_path / "s.json", clock).write(STATUS)
    cli.set_maintenance("global", tmp_path / "r.json", tmp_path / "s.json", clock)
    assert clock.monotonic_s() < 1001
