"""libvirt says nothing of the engine VM: what its process and its API say instead (a QEMU that stands still)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ha_broker import limits
from ha_broker.decide import decide, engine_seen
from ha_broker.score import Fitness, score
from ha_broker.state import Guest, HostFacts, LocalVm, Observation, OwnStorage, ProcessState, Work
from tests.ha_broker.observations import GLOBAL, GOOD, NOW_S, name_of, peer, rule, running, seen

GONE = LocalVm("unknown", 0, "no answer within 5 s", "none")
SILENT = "libvirt does not answer (no answer within 5 s)"
HERE = f"{SILENT}; QEMU of the engine VM is here"
EPOCH = "the engine VM runs here with epoch 4, but"


def unseen(process: ProcessState = "runs", **fields: object) -> Observation:
    """The engine VM was started on node2 with epoch 4, and libvirt there does not answer."""
    return running(vm=LocalVm("unknown", 7, "no answer within 5 s", process), **fields)


def silent(**fields: object) -> Observation:
    """… and nobody has got an answer of the engine for that long."""
    return unseen(engine_up=False, **fields)


def unanswered(unanswered_s: float, answered: bool = True, running_s: float = 500.0, still_s: float = 0.0) -> Guest:
    return Guest(running_s, answered, unanswered_s, still_s=still_s)


def test_nothing_is_started_where_libvirt_is_silent() -> None:
    assert rule(seen(vm=GONE)) == ("none", "libvirt-silent", f"{SILENT}: nothing is started from here")


def test_an_engine_that_answers_is_left_alone_whatever_libvirt_does() -> None:
    for process in ("runs", "waits"):
        decision = decide(unseen(process))  # type: ignore[arg-type]
        assert (decision.action, decision.rule) == ("none", "libvirt-silent")
        assert decision.sentence.endswith("and its API answers: it goes on")
    reached = replace(unanswered(300.0), reached_by=("node3",))
    assert decide(silent(guest=reached)).action == "none", "another host's word protects it"


def test_an_engine_that_answers_to_nobody_is_ended_after_its_allowance() -> None:
    early = decide(silent(guest=unanswered(limits.HEALTH_ALLOWANCE_S - 1.0)))
    assert (early.action, early.rule, early.until_s) == ("none", "libvirt-silent", NOW_S + 1.0)
    assert early.sentence == f"{HERE}, its process runs; its API does not answer"
    late = decide(silent(process="waits", guest=unanswered(limits.HEALTH_ALLOWANCE_S)))
    assert (late.action, late.rule, late.again) == ("destroy", "guest-hung", True)
    end = "QEMU is ended, then it is started here again"
    assert late.sentence == f"{EPOCH} its API has answered to no host for 40 s and libvirt does not answer: {end}"


def test_an_engine_that_never_came_up_has_the_time_of_a_boot() -> None:
    booting = silent(guest=unanswered(59.0, False, 59.0))
    assert decide(booting).until_s == NOW_S + 1.0
    decision = decide(silent(guest=unanswered(60.0, False, 60.0)))
    assert (decision.action, decision.rule, decision.again) == ("destroy", "guest-never-up", False)


def test_a_stopped_qemu_is_ended_sooner_because_it_certainly_does_nothing() -> None:
    waits = decide(unseen("stopped", guest=replace(unanswered(3.0, still_s=3.0), reached_by=("node1", "node3"))))
    assert (waits.action, waits.until_s) == ("none", NOW_S + limits.STOPPED_ALLOWANCE_S - 3.0)
    assert waits.sentence == f"{HERE}, its process is stopped: waiting for at most 10 s for it to go on"
    still = replace(unanswered(10.0, still_s=limits.STOPPED_ALLOWANCE_S), reached_by=("node1", "node3"))
    decision = decide(unseen("stopped", guest=still))
    assert (decision.action, decision.rule, decision.again) == ("destroy", "qemu-stopped", True)
    end = "QEMU is ended, then it is started here again"
    assert decision.sentence == f"{EPOCH} its QEMU process has been stopped for 10 s and libvirt does not answer: {end}"
    seen_by_libvirt = running(vm=LocalVm("running", 7, process="stopped"), guest=still)
    assert rule(seen_by_libvirt) == ("destroy", "qemu-stopped", f"{EPOCH} its QEMU process has been stopped for 10 s: {end}")


def test_a_qemu_that_is_stopped_while_it_is_migrated_is_ended() -> None:
    moving = Work("migrate to node3", 20.0, kind="migrate", target="node3")
    for vm in (LocalVm("migrating", 7, process="stopped"), LocalVm("unknown", 7, "no answer", "stopped")):
        early = running(vm=vm, work=moving, guest=unanswered(5.0, still_s=5.0))
        assert name_of(early) == "migrating"
        late = replace(early, guest=unanswered(10.0, still_s=limits.STOPPED_ALLOWANCE_S))
        assert rule(late)[:2] == ("destroy", "qemu-stopped")
        assert decide(replace(late, maintenance=GLOBAL)).action == "none"


def test_a_button_that_nobody_notices_is_followed_by_the_plug_also_where_libvirt_hangs_in_it() -> None:
    pressed = Guest(button_s=limits.SHUTDOWN_ALLOWANCE_S - 1.0)
    late = Guest(button_s=limits.SHUTDOWN_ALLOWANCE_S)
    asking = Work("shut the engine VM down", 15.0, kind="shutdown")
    assert name_of(unseen(guest=pressed)) == "button-pressed"
    assert name_of(unseen(guest=pressed, work=asking)) == "shutdown-asked"
    for observation in (unseen(guest=late), unseen(guest=late, work=asking), running(guest=late, work=asking)):
        decision = decide(observation)
        assert (decision.action, decision.rule, decision.again) == ("destroy", "button-ignored", True)


@pytest.mark.parametrize("process", ["runs", "waits", "stopped"])
def test_a_qemu_that_lost_its_disk_is_ended_also_where_libvirt_is_silent(process: ProcessState) -> None:
    assert rule(unseen(process, storage=OwnStorage(0.0, limits.UNWRITTEN_DESTROY_S)))[:2] == ("destroy", "storage-lost")
    newer = (peer("node1", engine="running", engine_epoch=5), peer("node3"))
    assert rule(unseen(process, peers=newer))[:2] == ("destroy", "superseded")


def test_global_maintenance_leaves_it_alone_unless_its_disk_is_lost() -> None:
    still = unanswered(500.0, still_s=500.0)
    decision = decide(silent(process="stopped", guest=still, maintenance=GLOBAL))
    assert (decision.action, decision.rule) == ("none", "libvirt-silent")
    assert decision.sentence.endswith("global maintenance is on: it is left alone")
    lost = OwnStorage(0.0, limits.UNWRITTEN_DESTROY_S)
    assert decide(silent(guest=still, maintenance=GLOBAL, storage=lost)).action == "destroy"


def test_what_the_slot_says_while_libvirt_is_silent() -> None:
    assert engine_seen(LocalVm("unknown", 7, "", "runs"), False, "running") == "running"
    assert engine_seen(LocalVm("unknown"), False, "running") == "running", "it was not looked at"
    assert engine_seen(GONE, False, "running") == "none", "so that another host starts it"
    assert engine_seen(LocalVm("unknown", 7, "", "waits"), False, "none") == "running", "a new broker finds its process"
    assert engine_seen(GONE, True, "starting") == "starting"


def test_who_has_no_libvirt_is_not_eligible() -> None:
    fit = Fitness("node2", HostFacts(0.5, 2, 8192, "/images/e.raw"), GOOD, 1024, NOW_S)
    assert score(replace(fit, libvirt_silent_s=limits.LIBVIRT_SILENT_S - 0.1)).value > 0
    assert score(replace(fit, libvirt_silent_s=limits.LIBVIRT_SILENT_S)).reasons == ("its libvirt does not answer",)
