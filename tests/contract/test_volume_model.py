"""The simulator's volume against a real one: the same sequences of locks, cuts, restarts and writes, and the same outcomes.

Every sequence runs at once on two volumes: with the options of ``engine``, and sharded; one also without strict locks.
What is compared is who may open and who may write, after every step. Where the two differ, the model is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import DOWN_S, UP_S, begin
from tests.contract.volume_model import ModelBench
from tests.contract.volume_real import RealBench, RealPool
from tests.lab.cluster import trivet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

LAB = "testmodel"
A, B, C = "node1", "node2", "node3"
HOSTS = (A, B, C)
LOST_S = 8.0
"""Longer than any connection lives without an answer (5.6 s)."""
BACK_S = 7.0
"""A lost brick is asked for again every 3 s; a started one needs a moment more."""

Bench = RealBench | ModelBench
Told = list[tuple[str, dict[str, str]]]


@pytest.fixture(scope="module")
def pool(request: pytest.FixtureRequest) -> Iterator[RealPool]:
    mine = os.environ.get("TRIVET_TEST_MODEL_LAB")
    if not mine:
        request.getfixturevalue("alone")
        begin("killed_install", request)
        trivet("lab", "down", "--name", LAB, timeout_s=DOWN_S)
        trivet("lab", "up", "--name", LAB, "--nodes", "3", "--port", "0", timeout_s=UP_S)
    made = RealPool(mine or LAB)
    if "shard" not in made.nodes[A].shell("gluster volume list"):
        made.make()
    yield made
    made.stop()
    if not mine:
        trivet("lab", "down", "--name", LAB, timeout_s=DOWN_S)


class Story:
    """Runs one sequence on one bench and keeps what it told."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.told: Told = []

    def say(self, label: str, found: dict[str, str]) -> None:
        self.told.append((label, found))

    def writes(self, *handles: str) -> None:
        for handle in handles:
            for beyond in (False, True):
                self.say(f"{handle} writes {'beyond' if beyond else 'below'}", self.bench.write(handle, beyond))

    def opens(self, handle: str, host: str) -> None:
        self.say(f"{handle} opens on {host}", self.bench.open(handle, host))

    def isolate(self, host: str) -> None:
        for other in HOSTS:
            if other != host:
                self.bench.cut(host, other)
                self.bench.cut(other, host)

    def rejoin(self, host: str) -> None:
        for other in HOSTS:
            if other != host:
                self.bench.mend(host, other)
                self.bench.mend(other, host)

    def restart_brick(self, host: str) -> None:
        self.bench.kill_brick(host)
        self.bench.wait(0.5)
        self.bench.start_brick(host)
        self.bench.wait(BACK_S)


def one_holder(story: Story) -> None:
    """The lock refuses a second holder and is free after a close."""
    story.opens("a", A)
    story.writes("a")
    story.opens("b", B)
    story.bench.close("a")
    story.opens("c", C)
    story.writes("c")


def take_over(story: Story) -> None:
    """A cut holder loses the disk to another and comes back."""
    story.opens("a", A)
    story.isolate(A)
    story.bench.wait(LOST_S)
    story.writes("a")
    story.opens("a1", A)
    story.opens("b", B)
    story.writes("b")
    story.rejoin(A)
    story.bench.wait(BACK_S)
    story.writes("a", "b")
    story.opens("a2", A)


def take_over_in_silence(story: Story) -> None:
    """The same, but the old holder does not write while it is cut off."""
    story.opens("a", A)
    story.writes("a")
    story.isolate(A)
    story.bench.wait(LOST_S)
    story.opens("b", B)
    story.writes("b")
    story.rejoin(A)
    story.bench.wait(BACK_S)
    story.writes("a", "b")


def short_blip(story: Story) -> None:
    """Links that are back after 2 s."""
    story.opens("a", A)
    story.writes("a")
    story.isolate(A)
    story.bench.wait(2)
    story.rejoin(A)
    story.writes("a")
    story.bench.wait(BACK_S)
    story.writes("a")
    story.opens("b", B)


def one_way_out(story: Story) -> None:
    """What A sends is lost, what it is sent arrives."""
    story.opens("a", A)
    for other in (B, C):
        story.bench.cut(A, other)
    story.bench.wait(LOST_S)
    story.writes("a")
    story.opens("b", B)
    story.writes("b")
    story.rejoin(A)
    story.bench.wait(BACK_S)
    story.writes("a", "b")


def one_way_in(story: Story) -> None:
    """What is sent to A is lost, what it sends arrives."""
    story.opens("a", A)
    for other in (B, C):
        story.bench.cut(other, A)
    story.bench.wait(LOST_S)
    story.writes("a")
    story.opens("b", B)
    story.writes("b")
    story.rejoin(A)
    story.bench.wait(BACK_S)
    story.writes("a", "b")


def not_transitive(story: Story) -> None:
    """A and B do not see each other, both see C."""
    story.opens("a", A)
    story.bench.cut(A, B)
    story.bench.cut(B, A)
    story.bench.wait(LOST_S)
    story.writes("a")
    story.opens("b", B)
    story.bench.mend(A, B)
    story.bench.mend(B, A)
    story.bench.wait(BACK_S)
    story.writes("a")
    story.opens("b2", B)


def two_restarts(story: Story) -> None:
    """Two bricks restart, one after the other, and the file stays open."""
    story.opens("a", A)
    story.restart_brick(B)
    story.writes("a")
    story.bench.healed()
    story.restart_brick(C)
    story.writes("a")
    story.opens("b", B)
    story.bench.close("a")
    story.opens("a2", A)
    story.writes("a2")


def refreshed(story: Story) -> None:
    """Between the restarts the file is opened anew, as a migration does it."""
    story.opens("a", A)
    story.restart_brick(B)
    story.writes("a")
    story.bench.healed()
    story.say("b opens without lock", story.bench.open("b", B, take=False))
    story.say("a gives the lock back", story.bench.drop("a"))
    story.say("b takes it", story.bench.take("b"))
    story.say("a takes it again", story.bench.take("a"))
    story.bench.close("a")
    story.restart_brick(C)
    story.writes("b")


def last_brick(story: Story) -> None:
    """The brick that QEMU's question goes to restarts: without the gate a second writer comes in."""
    story.opens("a", A)
    story.restart_brick(C)
    story.writes("a")
    story.opens("b", B)
    story.say("QEMU alone opens on node2", story.bench.open_without_gate("q", B))
    story.writes("a")


def evicted(story: Story) -> None:
    """A healthy holder is evicted, and let in again."""
    story.opens("a", A)
    story.bench.reject(A)
    story.bench.wait(2)
    story.writes("a")
    story.opens("b", B)
    story.writes("b")
    story.bench.accept(A)
    story.bench.start_client(A)
    story.writes("a", "b")
    story.opens("a2", A)


def mount_crashes(story: Story) -> None:
    """The holder's FUSE client is killed."""
    story.opens("a", A)
    story.bench.kill_client(A)
    story.bench.wait(1)
    story.writes("a")
    story.opens("b", B)
    story.bench.start_client(A)
    story.writes("b")
    story.opens("a2", A)


def opened_without_one_brick(story: Story) -> None:
    """The file is opened while a brick is away: there it is never locked, and yet written."""
    story.bench.kill_brick(C)
    story.bench.wait(1)
    story.opens("a", A)
    story.bench.start_brick(C)
    story.bench.wait(BACK_S)
    story.writes("a")
    story.bench.healed()
    story.restart_brick(B)
    story.writes("a")
    story.bench.cut(A, C)
    story.bench.cut(C, A)
    story.bench.wait(LOST_S)
    story.writes("a")


def three_faults_at_once(story: Story) -> None:
    """The limit of the fence: opened without brick C (so not locked there), brick B restarted, and B cut off from A, all
    before the file is opened anew. No brick that B reaches knows of A, and A still has its majority."""
    story.bench.kill_brick(C)
    story.bench.wait(1)
    story.opens("a", A)
    story.bench.start_brick(C)
    story.bench.wait(BACK_S)
    story.writes("a")
    story.restart_brick(B)
    story.bench.cut(A, B)
    story.bench.cut(B, A)
    story.bench.wait(LOST_S)
    story.opens("b", B)
    story.writes("a", "b")


SEQUENCES: tuple[Callable[[Story], None], ...] = (
    one_holder,
    take_over,
    short_blip,
    one_way_out,
    one_way_in,
    not_transitive,
    two_restarts,
    refreshed,
    last_brick,
    opened_without_one_brick,
    mount_crashes,
    evicted,
    three_faults_at_once,
)
REFUSED = ("EBADFD", "ENOTCONN", "EROFS", "EIO")
"""Which of them a refused write ends in depends on which brick's answer comes last; a guest sees an I/O error."""


def outcome(said: str) -> str:
    return "refused" if said in REFUSED else said


def compare(pool: RealPool, sequence: Callable[[Story], None], strict: bool) -> None:
    real, model = Story(RealBench(pool)), Story(ModelBench(HOSTS, strict))
    sequence(model)
    try:
        sequence(real)
    finally:
        for host in HOSTS:
            real.rejoin(host)
        pool.connected()
    different = []
    for (label, found), (_, modelled) in zip(real.told, model.told, strict=True):
        for kind, said in found.items():
            line = f"{label:28} {kind:7} real {said:9} model {modelled[kind]}"
            print(line)
            if outcome(said) != outcome(modelled[kind]):
                different.append(line)
    assert not different, "\n".join(different)


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: sequence.__name__)
def test_the_model_does_what_the_volume_does(pool: RealPool, sequence: Callable[[Story], None]) -> None:
    compare(pool, sequence, strict=True)


def test_without_strict_locks_both_show_the_damage(pool: RealPool) -> None:
    pool.strict(False)
    try:
        compare(pool, take_over_in_silence, strict=False)
    finally:
        pool.strict(True)
