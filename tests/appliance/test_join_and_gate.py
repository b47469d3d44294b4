"""Who may call, and who may join: judged without a network."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import layout
from appliance.agent.gate import BareGate, MemberGate
from appliance.agent.join import DELAYED_AT_ONCE, LONGEST_DELAY_S, PRESET_SECRET, JoinDoor
from appliance.effects.clock import FakeClock
from appliance.effects.root import Root
from appliance.errors import Conflict, Denied, Failed, Refused, TrivetError
from appliance.model.cluster import Membership
from appliance.model.stale_call import StaleCall
from appliance.verbs.epoch import EpochStore, StaleCalls
from appliance.verbs.membership import MemberNames, MembershipFiles
from appliance.wire.server import Caller
from tests.appliance.agents import CLUSTER_ID, cluster

NODE = Caller("node2", "cluster-id", "node")
ENGINE = Caller("engine", "cluster-id", "engine")


@pytest.fixture
def door(tmp_path: Path) -> JoinDoor:
    return JoinDoor(Root(tmp_path), FakeClock())


@pytest.fixture
def epochs(tmp_path: Path) -> EpochStore:
    return EpochStore(tmp_path / "state" / "epoch.json")


def code(call: object) -> str:
    assert callable(call)
    with pytest.raises(TrivetError) as caught:
        call()
    return caught.value.code


def test_the_token_is_stable_until_used(door: JoinDoor, tmp_path: Path) -> None:
    token = door.prepare("node1")
    secret, _, pin = token.partition(".")
    assert len(secret) == 16 and door.fingerprint().startswith(pin) and len(pin) == 16
    assert door.prepare("node1") == token == door.token()
    door.admit(token)
    door.admit(secret)
    assert (tmp_path / "var/lib/trivet/pki/bare.key").stat().st_mode & 0o777 == 0o600


def test_wrong_tokens_are_answered_slower_and_slower_up_to_a_bound(tmp_path: Path) -> None:
    clock = FakeClock()
    door = JoinDoor(Root(tmp_path), clock)
    token = door.prepare("node1")
    waits = []
    for _ in range(7):
        began_s = clock.monotonic_s()
        with pytest.raises(Denied) as caught:
            door.admit("wrong")
        assert caught.value.code == "join.token-wrong"
        waits.append(clock.monotonic_s() - began_s)
    assert waits == [0.5, 1.0, 2.0, 4.0, LONGEST_DELAY_S, LONGEST_DELAY_S, LONGEST_DELAY_S]
    began_s = clock.monotonic_s()
    door.admit(token)
    assert clock.monotonic_s() == began_s, "the right one never waits"
    with pytest.raises(Denied):
        door.admit("wrong")
    assert clock.monotonic_s() - began_s == 0.5


def test_wrong_tokens_cannot_take_all_threads(tmp_path: Path) -> None:
    gate, waiting = threading.Event(), []

    class StuckClock(FakeClock):
        def sleep(self, seconds: float) -> None:
            waiting.append(seconds)
            gate.wait(10)

    door = JoinDoor(Root(tmp_path), StuckClock())
    door.prepare("node1")
    threads = [threading.Thread(target=lambda: code(lambda: door.admit("wrong"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(0.5)
    assert len(waiting) == DELAYED_AT_ONCE
    assert sum(thread.is_alive() for thread in threads) == DELAYED_AT_ONCE
    gate.set()


def test_an_empty_token_opens_nothing(door: JoinDoor) -> None:
    door.prepare("node1")
    assert code(lambda: door.admit("")) == "join.token-wrong"
    door.use_up()
    assert code(lambda: door.admit("")) == "join.token-wrong"
    assert code(lambda: door.admit("ä")) == "join.token-wrong"


def test_a_used_token_is_told_apart_from_a_wrong_one(door: JoinDoor) -> None:
    token = door.prepare("node1")
    door.use_up()
    assert code(lambda: door.admit(token)) == "join.token-used"
    again = door.prepare("node1")
    assert again != token
    assert code(lambda: door.admit(token)) == "join.token-used"
    door.admit(again)


def test_a_secret_given_by_cloud_init(door: JoinDoor, tmp_path: Path) -> None:
    preset = tmp_path / PRESET_SECRET.lstrip("/")
    preset.parent.mkdir(parents=True)
    preset.write_text("short\n")
    assert code(lambda: door.prepare("node1")) == "join.secret-short"
    preset.write_text("a-long-enough-secret\n")
    assert door.prepare("node1").startswith("a-long-enough-secret.")
    door.admit("a-long-enough-secret")


def test_a_bare_node_answers_nothing_but_joining() -> None:
    gate = BareGate()
    gate.admit("join", Caller(), None)
    for access in ("node", "command"):
        with pytest.raises(Conflict) as caught:
            gate.admit(access, NODE, None)  # type: ignore[arg-type]
        assert caught.value.code == "agent.bare"


@pytest.fixture
def stale(tmp_path: Path) -> StaleCalls:
    return StaleCalls(tmp_path / "run" / "stale-call.json", FakeClock())


def test_a_member_admits_by_certificate(epochs: EpochStore, stale: StaleCalls) -> None:
    gate = MemberGate("cluster-id", epochs, stale, lambda: ("node1", "node2"))
    gate.admit("node", NODE, None)
    gate.admit("command", NODE, None)
    gate.admit("node", ENGINE, None)
    gate.admit("command", ENGINE, 1)
    assert code(lambda: gate.admit("join", NODE, None)) == "join.already-member"
    assert code(lambda: gate.admit("node", Caller(), None)) == "agent.certificate-missing"
    assert code(lambda: gate.admit("node", Caller("x", "other", "node"), None)) == "agent.other-cluster"
    assert code(lambda: gate.admit("node", Caller("x", "cluster-id", "ca"), None)) == "agent.certificate-unit"
    assert code(lambda: gate.admit("command", ENGINE, None)) == "engine.epoch-missing"


def test_a_certificate_outlives_its_nodes_membership(epochs: EpochStore, stale: StaleCalls, tmp_path: Path) -> None:
    files = MembershipFiles(Root(tmp_path))
    both = cluster()
    files.write(both, Membership(CLUSTER_ID, "id-1", "node1"))
    gate = MemberGate("cluster-id", epochs, stale, MemberNames(Root(tmp_path)))
    gate.admit("command", NODE, None)
    files.replace_cluster(replace(both, members=both.members[:1]))
    assert code(lambda: gate.admit("node", NODE, None)) == "agent.no-member"
    gate.admit("node", ENGINE, None)
    files.replace_cluster(both)
    gate.admit("node", NODE, None)


def test_a_refused_caller_cannot_raise_the_epoch(epochs: EpochStore, stale: StaleCalls) -> None:
    gate = MemberGate("cluster-id", epochs, stale, lambda: ("node1", "node2"))
    assert code(lambda: gate.admit("command", Caller("x", "other", "engine"), 99)) == "agent.other-cluster"
    assert epochs.highest() == 0


def test_the_epoch_never_goes_back(epochs: EpochStore, stale: StaleCalls, tmp_path: Path) -> None:
    gate = MemberGate("cluster-id", epochs, stale, lambda: ("node1", "node2"))
    gate.admit("command", ENGINE, 5)
    gate.admit("command", ENGINE, 5)
    for caller in (ENGINE, NODE):
        assert code(lambda who=caller: gate.admit("node", who, 4)) == "engine.stale-epoch"
    assert epochs.raise_to(3) == 5
    assert EpochStore(tmp_path / "state" / "epoch.json").highest() == 5


def test_a_refused_engine_is_said_with_its_code_and_noted_for_the_broker(
    epochs: EpochStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault 46."""
    clock = FakeClock()
    stale = StaleCalls(tmp_path / "run" / "stale-call.json", clock)
    gate = MemberGate("cluster-id", epochs, stale, lambda: ("node1", "node2"))
    gate.admit("command", ENGINE, 5)
    assert (stale.last(), capsys.readouterr().err) == (None, "")
    for _ in range(5):
        assert code(lambda: gate.admit("command", ENGINE, 4)) == "engine.stale-epoch"
        clock.sleep(20)
    refused = StaleCall(ENGINE.name, 4, 5, clock.monotonic_s() - 20)
    assert stale.last() == refused == StaleCalls(tmp_path / "run" / "stale-call.json", clock).last()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2, "once a minute"
    assert lines[0].startswith("engine.stale-epoch: security: an engine with epoch 4")
    assert code(lambda: gate.admit("command", Caller("x", "other", "engine"), 3)) == "agent.other-cluster"
    assert stale.last() == refused, "who is not of this cluster is no old engine of it"


def test_a_refusal_that_cannot_be_noted_is_a_refusal(
    epochs: EpochStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").write_text("not a folder")
    stale = StaleCalls(tmp_path / "run" / "stale-call.json", FakeClock())
    gate = MemberGate("cluster-id", epochs, stale, lambda: ("node1", "node2"))
    gate.admit("command", ENGINE, 5)
    assert code(lambda: gate.admit("command", ENGINE, 4)) == "engine.stale-epoch"
    assert "no alert will tell of the refused engine" in capsys.readouterr().err
    assert stale.last() is None
    damaged = tmp_path / "damaged.json"
    damaged.write_text('{"caller": 4}')
    assert StaleCalls(damaged, FakeClock()).last() is None


def test_a_damaged_epoch_file_is_an_error_and_never_zero(epochs: EpochStore, tmp_path: Path) -> None:
    epochs.raise_to(7)
    path = tmp_path / "state" / "epoch.json"
    for text in ("", "{}", '{"epoch": "7"}', '{"epoch": -1}', '{"epoch": true}', "[7]"):
        path.write_text(text)
        with pytest.raises(Failed) as caught:
            epochs.admit(1)
        assert caught.value.code == "engine.epoch-damaged"


def test_many_threads_raise_to_the_highest(epochs: EpochStore) -> None:
    threads = [threading.Thread(target=epochs.raise_to, args=(number,)) for number in range(1, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert epochs.highest() == 29


def test_the_token_file_is_private(door: JoinDoor, tmp_path: Path) -> None:
    door.prepare("node1")
    assert (tmp_path / str(layout.JOIN_TOKEN_FILE).lstrip("/")).stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refused):
        (tmp_path / "etc/trivet").mkdir(parents=True)
        (tmp_path / "etc/trivet/join-secret").write_text("x")
        door.prepare("node1")
