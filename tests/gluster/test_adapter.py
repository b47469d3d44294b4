"""The adapter over recordings and scripted answers: command lines, deadlines, errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from glustercli.cli import utils, volume

from appliance.effects.clock import FakeClock
from appliance.effects.process import Completed, deadline_error
from appliance.errors import Failed, NotFound, TrivetError, Unavailable
from gluster import adapter
from gluster.adapter import GlusterPool
from gluster.model import BrickPlace, VolumeSpec
from gluster.ports import CHANGE_DEADLINE_S, HEAL_DEADLINE_S, READ_DEADLINE_S
from tests.gluster.recorded import Scripted

DONE = Completed(("gluster",), 0, "success", "")


def said(stderr: str, status: int = 1, stdout: str = "") -> Completed:
    return Completed(("gluster",), status, stdout, stderr)


def pool(processes: Scripted) -> GlusterPool:
    return GlusterPool(processes, FakeClock())


def test_glustercli_starts_processes_only_through_our_seam() -> None:
    assert utils.execute is adapter._execute
    with pytest.raises(LookupError):
        volume.info()  # outside of a bounded call there is no way to run anything


def test_readings_have_their_deadlines() -> None:
    processes = Scripted()
    real = pool(processes)
    real.peers()
    real.volumes()
    real.brick_states()
    real.heal_summary("engine")
    assert [timeout_s for _, timeout_s in processes.calls] == [READ_DEADLINE_S] * 3 + [HEAL_DEADLINE_S]
    assert all(argv[:2] == ("gluster", "--mode=script") and argv[-1] == "--xml" for argv, _ in processes.calls)


def test_changes_are_glusterclis_command_lines() -> None:
    processes = Scripted(answers={"gluster": DONE})
    real = pool(processes)
    spec = VolumeSpec("engine", 3, tuple(BrickPlace(f"node{i}", "/b/engine") for i in (1, 2, 3)))
    real.probe("node2")
    real.create(spec)
    real.set_options("engine", {"features.shard": "off"})
    real.start("engine")
    real.heal("engine")
    real.detach("node2", force=False)
    real.detach("node2", force=True)
    assert [" ".join(argv[2:]) for argv, _ in processes.calls] == [
        "peer probe node2",
        "volume create engine replica 3 node1:/b/engine node2:/b/engine node3:/b/engine force",
        "volume set engine features.shard off",
        "volume start engine force",
        "volume heal engine",
        "peer detach node2",
        "peer detach node2 force",
    ]
    assert {timeout_s for _, timeout_s in processes.calls} == {CHANGE_DEADLINE_S}


@pytest.mark.parametrize(
    ("answer", "family", "code"),
    [
        (said("Connection failed. Please check if gluster daemon is operational."), Unavailable, "gluster.daemon-down"),
        (said("volume set: failed: Volume engine does not exist"), NotFound, "gluster.volume-unknown"),
        (said("volume set: failed: option : nfs.x does not exist"), Failed, "gluster.failed"),
        (said("", 244), Failed, "gluster.failed"),
    ],
)
def test_what_gluster_says_becomes_a_coded_error(answer: Completed, family: type[TrivetError], code: str) -> None:
    with pytest.raises(family) as caught:
        pool(Scripted(answers={"gluster": answer})).set_options("engine", {"a.b": "c"})
    assert caught.value.code == code
    assert caught.value.reason


def test_the_error_inside_of_xml_is_read() -> None:
    xml = (
        "<cliOutput><opRet>-1</opRet><opErrno>5</opErrno><opErrstr>vmstore: Not able to fetch volfile</opErrstr></cliOutput>"
    )
    for answer in (said("", 251, xml), said("", 0, xml)):
        with pytest.raises(Failed) as caught:
            pool(Scripted(answers={"gluster": answer})).heal_summary("vmstore")
        assert caught.value.reason == "vmstore: Not able to fetch volfile"


def test_the_deadline_is_a_coded_error() -> None:
    late = Scripted(errors={"gluster volume heal": deadline_error(["gluster"], HEAL_DEADLINE_S)})
    with pytest.raises(Unavailable) as caught:
        pool(late).heal_summary("engine")
    assert caught.value.code == "gluster.deadline"
    assert f"within {HEAL_DEADLINE_S:g} s" in caught.value.reason


def test_without_the_program_it_says_so() -> None:
    missing = Failed("process.missing", subject="gluster", reason="not installed", remedy="Install it.")
    with pytest.raises(Unavailable) as caught:
        pool(Scripted(errors={"gluster": missing})).peers()
    assert caught.value.code == "gluster.missing"


def test_a_busy_pool_is_tried_again_until_the_deadline() -> None:
    busy = Scripted(
        answers={"gluster": said("Another transaction is in progress for engine. Please try again after some time.")}
    )
    clock = FakeClock()
    began_s = clock.monotonic_s()
    with pytest.raises(Unavailable) as caught:
        GlusterPool(busy, clock).brick_states()
    assert caught.value.code == "gluster.busy"
    assert len(busy.calls) > 5
    assert clock.monotonic_s() - began_s <= READ_DEADLINE_S


def test_a_pool_that_becomes_free_answers() -> None:
    class Freed(Scripted):
        def run(self, argv: object, **settings: object) -> Completed:  # type: ignore[override]
            self.calls.append(((), 0.0))
            return said("Locking failed on node2.") if len(self.calls) < 3 else DONE

    freed = Freed()
    pool(freed).start("engine")
    assert len(freed.calls) == 3


def test_capacity_without_a_mount() -> None:
    assert pool(Scripted()).capacity("engine") is None


def test_two_pools_in_two_threads_do_not_mix() -> None:
    one, two = Scripted("healthy"), Scripted("isolated")
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda each: [pool(each).peers() for _ in range(20)], (one, two)))
    assert {peer.connected for peers in answers[0] for peer in peers} == {True}
    assert {peer.connected for peers in answers[1] for peer in peers} == {False}
