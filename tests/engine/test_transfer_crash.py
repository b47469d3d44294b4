"""``kill -9`` of the jobs process anywhere in an image transfer's life: each phase is reached or left wholly, nothing is
served for nobody, and the disk is held exactly while the transfer lasts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from appliance.effects.clock import SystemClock
from appliance.errors import Failed, TrivetError
from appliance.model.disk import DiskFile
from engine.fakes.hosts import FakeNodes
from engine.fakes.layers import FakeLayer, FakeLayers
from engine.jobs.desk import Desk
from engine.jobs.keep_transfers import TransferKeeper
from engine.jobs.transfer_end import CancelTransfer, FinalizeTransfer, TransferCancel, TransferFinalize
from engine.jobs.transfer_open import (
    PauseTransfer,
    ResumeTransfer,
    StartTransfer,
    TransferPause,
    TransferResume,
    TransferStart,
)  # fmt: skip
from engine.jobs.transfers import KIND
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import LOCK
from tests.engine.crash import DATABASE, HOSTS, kill_case, order
from tests.engine.job_world import MIB, desk_of, files, nodes_at, open_store, work_off

T = "11111111-2222-4333-8444-555555555555"
START = StartTransfer(T, "99999999-2222-4333-8444-555555555555", "d1", "upload", "raw", "admin", "c")
IMAGE = "vmstore/images/d1/i1"
FILE = DiskFile("vmstore", "images/d1/i1")
BROKEN = Failed("image.broken", subject="it", reason="it breaks here", remedy="Mend it.")


start, resume = order(TransferStart, START), order(TransferResume, ResumeTransfer(T))
pause = order(TransferPause, PauseTransfer(T))
finalize, cancel = order(TransferFinalize, FinalizeTransfer(T)), order(TransferCancel, CancelTransfer(T))
download = order(TransferStart, replace(START, direction="download"))


def foreign(folder: Path) -> None:
    """What was uploaded lies over a file of somebody else."""
    layers = FakeLayers(folder)
    other = DiskFile("vmstore", "images/other/i9")
    layers.put(FakeLayer(other), MIB)
    layers.put(FakeLayer(FILE, other))


def grown(folder: Path) -> None:
    with FakeLayers(folder).place(FILE).open("r+b") as out:
        out.truncate(16 * MIB)


def nothing(_folder: Path) -> None:
    return None


@dataclass(frozen=True)
class Case:
    """``served``: by how many hosts at the end; ``disk``: what it is then, ``None``: gone."""

    name: str
    order: Callable[[Desk], str]
    before: tuple[Callable[[Desk], str], ...]
    status: str
    phase: str
    disk: str | None
    served: int = 0
    uploaded: Callable[[Path], None] = nothing
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    places: int = 6


CASES = (
    Case("start", start, (), "finished", "transferring", "locked", 1),
    Case("start-fails", start, (), "failed", "finished_failure", "ok", fail_with={"image-open": BROKEN}),
    Case("pause", pause, (start,), "finished", "paused_user", "locked", places=4),
    Case("resume", resume, (start, pause), "finished", "transferring", "locked", 1),
    Case("resume-fails", resume, (start, pause), "failed", "paused_system", "locked", fail_with={"image-open": BROKEN}),
    Case("finalize", finalize, (start,), "finished", "finished_success", "ok"),
    Case("finalize-paused", finalize, (start, pause), "finished", "finished_success", "ok"),
    Case("finalize-foreign", finalize, (start,), "finished", "finished_failure", "illegal", uploaded=foreign),
    Case("finalize-grown", finalize, (start,), "finished", "finished_failure", "illegal", uploaded=grown),
    Case("cancel", cancel, (start,), "finished", "finished_cleanup", None),
    Case("cancel-fails", cancel, (start,), "failed", "finished_failure", "illegal", fail_with={"remove": BROKEN}),
    Case("cancel-download", cancel, (download,), "finished", "finished_cleanup", "ok", places=4),
)


def prepare(folder: Path, case: Case) -> None:
    store = open_store(folder / DATABASE)
    body = {"image_id": "i1", "format": "raw", "provisioned_size": 8 * MIB}
    store.entities.add(Entity("disk", "d1", "data", body, {"storage_domains": ("s1",)}, status="ok"))
    for host in ("node1", "node2"):
        store.entities.add(Entity("host", host, host, {}, {"cluster": ("c1",)}))
    FakeLayers(folder / HOSTS).put(FakeLayer(FILE), 8 * MIB)
    for earlier in case.before:
        earlier(desk_of(store))
        work_off(store, nodes_at(folder / HOSTS))
    case.uploaded(folder / HOSTS)
    store.close()


def served(nodes: FakeNodes) -> list[str]:
    return [name for name in nodes.nodes for _one in nodes.images(name).image_tickets()]


def check(case: Case, folder: Path, job_id: str, where: str) -> None:
    store, nodes = Store(folder / DATABASE), nodes_at(folder / HOSTS)
    job = desk_of(store).jobs.need(job_id)
    assert (job.state, job.status) == ("ended", case.status), (where, job.error)
    row, disk = store.entities.need(KIND, T), store.entities.get("disk", "d1")
    assert row.status == case.phase, where
    assert (disk.shown_status if disk else None) == case.disk, where
    assert (IMAGE in files(folder / HOSTS)) == (disk is not None), where
    TransferKeeper(store.entities, nodes, desk_of(store), lambda _text: None).turn()
    assert len(served(nodes)) == case.served, where
    assert store.entities.need(KIND, T).status == case.phase, f"{where}: the keeper finds all as it should be"
    assert (row.body.get("transfer_url") is not None) == (case.phase == "transferring"), where
    held = {(kind, identifier) for kind, identifier in store.connection.rows(LOCK.select(LOCK.kind, LOCK.id))}
    assert held == ({("disk", "d1"), ("storage_domain", "s1")} if case.disk == "locked" else set()), where
    hold = desk_of(store).jobs.need(T)
    ends = {"finished_success": "finished", "finished_failure": "failed", "finished_cleanup": "aborted"}
    assert hold.status == ends.get(case.phase, "started"), where
    store.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    kill_case(tmp_path, case, prepare, check)


@dataclass
class Kept:
    """A transfer that is under way, and the keeper."""

    store: Store
    nodes: FakeNodes
    keeper: TransferKeeper

    def turn(self) -> Entity:
        self.keeper.turn()
        work_off(self.store, self.nodes)
        return self.store.entities.need(KIND, T)

    def host(self) -> str:
        return str(self.store.entities.need(KIND, T).body["trivet_host"])


def kept(folder: Path, begin: Callable[[Desk], str] = start) -> Kept:
    prepare(folder, Case("kept", begin, (begin,), "", "", ""))
    store, nodes = Store(folder / DATABASE), nodes_at(folder / HOSTS)
    return Kept(store, nodes, TransferKeeper(store.entities, nodes, desk_of(store), lambda _text: None))


def test_what_a_host_says_is_shown_and_its_ticket_renewed(tmp_path: Path) -> None:
    one = kept(tmp_path)
    one.nodes.images(one.host()).said(T, is_active=True, idle_s=0, transferred_bytes=5 * MIB)
    row = one.turn()
    assert (row.status, row.body["active"], row.body["transferred"]) == ("transferring", True, 5 * MIB)
    held = one.nodes.images(one.host()).held(T)
    assert held is not None and held.extended_s == 300


@pytest.mark.parametrize(
    ("begin", "phase", "disk"),
    [(start, "paused_system", "locked"), (download, "finished_failure", "ok"),
     (order(TransferStart, replace(START, policy="cancel")), "finished_failure", None),
     (order(TransferStart, replace(START, direction="download", policy="pause")), "paused_system", "locked")],
)  # fmt: skip
def test_who_is_silent_too_long_is_stopped_as_the_policy_says(
    begin: Callable[[Desk], str], phase: str, disk: str | None, tmp_path: Path
) -> None:
    one = kept(tmp_path, begin)
    one.nodes.images(one.host()).said(T, idle_s=61)
    assert one.turn().status == "transferring", "it was begun just now: the client has its time from then"
    one.store.entities.change(KIND, T, lambda row: row.with_body(trivet_extended_ms=0))
    assert one.turn().status == phase
    found = one.store.entities.get("disk", "d1")
    assert (found.shown_status if found else None) == disk
    assert served(one.nodes) == []


def test_a_daemon_that_died_pauses_and_another_host_resumes(tmp_path: Path) -> None:
    one = kept(tmp_path)
    first = one.host()
    one.nodes.images(first).said(T, is_served=False)
    assert one.turn().status == "paused_system"
    one.nodes.down.add(first)
    resume(desk_of(one.store))
    work_off(one.store, one.nodes)
    assert one.turn().status == "transferring" and one.host() != first


def test_a_lost_host_pauses_and_is_swept_when_it_is_back(tmp_path: Path) -> None:
    one = kept(tmp_path)
    first = one.host()
    one.nodes.down.add(first)
    assert one.turn().status == "paused_system"
    resume(desk_of(one.store))
    work_off(one.store, one.nodes)
    assert one.turn().status == "paused_system", "the lost host may still write: its lock is seen by the other"
    one.nodes.down.discard(first)
    assert served(one.nodes) == [first]
    one.keeper._swept_s = float("-inf")
    one.turn()
    assert served(one.nodes) == []
    resume(desk_of(one.store))
    work_off(one.store, one.nodes)
    assert one.turn().status == "transferring"


def test_an_ended_one_is_shown_for_some_minutes(tmp_path: Path) -> None:
    one = kept(tmp_path)
    finalize(desk_of(one.store))
    work_off(one.store, one.nodes)
    assert one.turn().status == "finished_success"
    past = int(SystemClock().wall_s() * 1000) - 16 * 60 * 1000
    one.store.entities.change(KIND, T, lambda row: row.with_body(trivet_ended_ms=past))
    one.keeper.turn()
    assert one.store.entities.get(KIND, T) is None
